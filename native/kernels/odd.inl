// Slices of a tile that are out of the ordinary (SliceLanes::adjust): entries that are adjusted,
// and slices that are left out.

template <class T, int K, bool Tempered>
void adjust_entries(const SliceLanes<T, K, Tempered>& lanes, T* turned, int64_t n) {
  for (T* v = turned; v < turned + n * K * kWidth<T>; v += K * kWidth<T>)
    EACH store(v + k * kWidth<T>, lanes.adjusted_entries(k, load(v + k * kWidth<T>)));
}

// Slices of a tile that are left out of it, a bit to a lane: their results are written when those
// of the others are.
struct OddEntries;

// What only serves a loss is not written.
inline bool overwrites(const Job& job, const Slice& slice) {
  return job.op != Op::logsumexp && slice.x == slice.y;
}

// Keeps the entries of those that will be overwritten; false where all slices should go one by one.
inline bool leave_odd(const Job& job, int64_t first, uint64_t odd) {
  constexpr int64_t most = 1 << 19;  // bytes
  const int64_t n = job.n, item = item_size(job.dtype), bytes = std::popcount(odd) * n * item;
  if (job.notes && job.notes->z_loss != 0) return false;  // factors are changed once
  if (!overwrites(job, slice_at(job, first))) return true;
  if (bytes > most) return false;
  char* kept = scratch<char, OddEntries>(bytes);
  for (; odd; odd &= odd - 1) {
    const char* x = slice_at(job, first + std::countr_zero(odd)).x;
    for (int64_t i = 0; i < n; ++i, kept += item)
      std::memcpy(kept, x + i * job.x.along, size_t(item));
  }
  return true;
}

// `results`: where contiguous ones wait.
template <class D, class T>
void run_odd(const Job& job, int64_t first, uint64_t odd, T* results = nullptr) {
  const int64_t n = job.n;
  const char* kept = scratch<char, OddEntries>(0);
  for (; odd; odd &= odd - 1) {
    const int lane = std::countr_zero(odd);
    const Slice slice = slice_at(job, first + lane);
    if (overwrites(job, slice))
      for (int64_t i = 0; i < n; ++i, kept += sizeof(D))
        std::memcpy(slice.y + i * job.y.along, kept, sizeof(D));
    run_slice<D, T>(job, first + lane);
    if (results) std::memcpy(results + lane * n, slice.y, size_t(n) * sizeof(T));
  }
}
