// Logarithms of sums next to zero, where the rounding of float exponentials would show.

template <class D, class T>
void run_bundle(const Job& job, int64_t first, int count);

// Contiguous rows of doubles, whose logarithms of sums have the same bits in any traversal.
inline Job rows_of_doubles(double* rows, int64_t n, int count, double* result) {
  Job job = {};
  job.op = Op::logsumexp, job.dtype = DType::f64;
  job.n = n, job.slices = job.run = count;
  job.dims = 1, job.shape[0] = count;
  job.x.data = (char*)rows, job.x.along = sizeof(double);
  job.x.stride[0] = n * int64_t(sizeof(double));
  job.y.data = (char*)result, job.y.stride[0] = sizeof(double);
  const bool turned = n <= 64, batched = n <= kBatchRow && count > 2;
  if (turned || batched) job.traversal = turned ? Traversal::short_rows : Traversal::batches;
  job.bundle = turned ? kColumns : batched ? kBatch : 1;
  return job;
}

// Of slices first .. first + count - 1, a tile or a batch of one chunk each, the results that are
// next to zero: once more, in double.
inline __attribute__((noinline)) void settle_next_to_zero(const Job& job, int64_t first, int count,
                                                          float* result) {
  constexpr int64_t room = 1 << 15;  // entries
  int found[kColumns], near = 0;
  for (int i = 0; i < count; ++i) {  // without a branch
    found[near] = i;
    near += std::fabs(result[i]) <= next_to_zero(job.n);
  }
  const int64_t n = job.n, together = std::max<int64_t>(room / n, 1);
  for (int at = 0; at < near; at += int(together)) {
    const int here = int(std::min<int64_t>(near - at, together));
    double* rows = scratch<double>(here * n);  // which contiguous doubles do not pass through
    with_types(job.dtype, [&](auto d, auto) {
      for (int r = 0; r < here; ++r) {
        const Slice slice = slice_at(job, first + found[at + r]);
        gather<decltype(d)>(slice.x, job.x.along, n, rows + r * n);
        if (slice.where) leave_out(rows + r * n, slice.where, job.where.along, n);
      }
    });
    double precise[kColumns];
    const Job wide = rows_of_doubles(rows, n, here, precise);
    for (int r = 0; r < here; r += int(wide.bundle))
      run_bundle<double, double>(wide, r, int(std::min<int64_t>(here - r, wide.bundle)));
    for (int r = 0; r < here; ++r) result[found[at + r]] = float(precise[r]);
  }
}
