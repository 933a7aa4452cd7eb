// The batch traversal: sixteen contiguous rows at a time.  Each row is reduced and mapped by
// itself, but what is done once a row (its frame, the correction of its sum, divisions, logarithms)
// is done for the sixteen together: for rows up to a few thousand entries that is most of the
// waiting.

// The totals of all rows' sums, one to a lane.
INLINE void totals_of(Sums<float>* rows, vec<double>* sum, vec<double>* low) {
  constexpr int W = kWidth<double>;
  vec<double> last[kBatch];
  for (int r = 0; r < kBatch; ++r) last[r] = rows[r].last_lanes();
  for (int j = 0; j < kBatch / W; ++j) {
    sum[j] = fold_each(last + j * W, kSum);
    low[j] = splat(0.0);
  }
}
INLINE void totals_of(Sums<double>* rows, vec<double>* sum, vec<double>* low) {
  constexpr int W = kWidth<double>;
  for (int r = 0; r < kBatch; ++r) {
    const Pair total = rows[r].total();
    sum[r / W][r % W] = total.hi;
    low[r / W][r % W] = total.lo;
  }
}

// Up to this length the exponentials of all rows come first and then their sums: a row by itself
// would wait for its sum longer than it computes.
constexpr int64_t kApart = 256;

template <class D, class T, bool Tempered>
bool run_batch(const Job& job, int64_t first, int count) {
  constexpr int W = kWidth<T>, K = kBatch / W;
  const int64_t n = job.n, room = padded<T>(n);
  const T* x[kBatch];
  T* y[kBatch];
  T* staged = std::is_same_v<D, T> ? nullptr : scratch<T>(kBatch * room);
  SliceLanes<T, K, Tempered> lanes;
  lanes.count = count;
  alignas(64) T max[kBatch], rounder[kBatch], floor[kBatch], inverse[kBatch], inverse_lo[kBatch];
  vec<T> largest[kBatch];
  Sums<T> sums[kBatch];
  for (int r = 0; r < count; ++r) {
    const Slice slice = slice_at(job, first + r);
    if constexpr (std::is_same_v<D, T>) {
      x[r] = (const T*)slice.x;
      y[r] = (T*)slice.y;
    } else {  // 16-bit rows are widened in a scratch row, where their results go too
      x[r] = y[r] = staged + r * room;
      gather<D>(slice.x, job.x.along, n, y[r]);
    }
    largest[r] = n >= kLongRow ? largest_lanes_of_long(x[r], n) : largest_lanes(x[r], n);
  }
  for (int r = count; r < kBatch; ++r) largest[r] = splat(T(0));
  EACH lanes.max.v[k] = fold_each(largest + k * W, kLarger<T>);
  EACH store(max + k * W, lanes.max.v[k]);
  if (!set_temperatures(job, first, lanes)) return false;
  if (!lanes.find_frames()) return false;
  EACH store(rounder + k * W, lanes.frame.rounder.v[k]);
  EACH store(floor + k * W, lanes.frame.floor.v[k]);
  EACH store(inverse + k * W, lanes.frame.inverse.v[k]);
  EACH store(inverse_lo + k * W, lanes.frame.inverse_lo.v[k]);

  const bool reduces = job.op == Op::logsumexp, apart = n <= kApart;
  const bool keeps = job.op == Op::softmax || apart;
  T* kept = scratch<T, Kept>(keeps ? kBatch * room : 2 * kGroup<T> * W);
  for (int r = 0; r < count; ++r) {
    Frame<T> frame;
    frame.rounder = single<T>(splat(rounder[r]));
    frame.floor = single<T>(splat(floor[r]));
    frame.inverse = single<T>(splat(inverse[r]));
    frame.inverse_lo = single<T>(splat(inverse_lo[r]));
    const Ahead<T> ahead = job.fetch_ahead && !staged
                               ? Ahead<T>{x[r] + kBatch * n, reduces ? nullptr : y[r]}
                               : Ahead<T>();
    if (apart) {
      exp_row<Tempered>(x[r], kept + r * room, n, frame, ahead);
      continue;
    }
    sums[r] =
        keeps ? sum_terms<false, Tempered, true>(x[r], Room<T>{kept + r * room}, n, frame, ahead)
              : sum_terms<false, Tempered, false>(x[r], Room<T>{kept}, n, frame, ahead);
  }
  if (apart)
    for (int r = 0; r < count; ++r) sums[r] = sum_row(kept + r * room, n);
  totals_of(sums, lanes.sum, lanes.sum_lo);
  lanes.correct();
  if (job.notes && !lanes.note(*job.notes, first)) return false;
  if (job.notes && reduces) return true;

  if (job.op == Op::softmax) {
    const LaneScale<T, K> scale = lanes.scale(job.notes, first);
    alignas(64) T factor[kBatch], factor_lo[kBatch], largest[kBatch], top[kBatch];
    EACH store(factor + k * W, scale.factor.v[k]);
    EACH store(factor_lo + k * W, scale.factor_lo.v[k]);
    EACH store(largest + k * W, scale.kept.v[k]);
    EACH store(top + k * W, scale.top.v[k]);
    for (int r = 0; r < count; ++r) {
      const Scale<T> one = {factor[r], factor_lo[r], largest[r], top[r]};
      scale_row(kept + r * room, y[r], n, one);
    }
    return true;
  }
  group<T, K> hi, lo;
  alignas(64) T log[kBatch], log_lo[kBatch];
  if (job.op == Op::logsumexp) {
    if (!lanes.logsumexp(hi)) return false;
    EACH store(log + k * W, hi.v[k]);
    for (int r = 0; r < count; ++r) *y[r] = log[r];
    return true;
  }
  if (!lanes.log_rest(hi, lo)) return false;
  EACH store(log + k * W, hi.v[k]);
  EACH store(log_lo + k * W, lo.v[k]);
  for (int r = 0; r < count; ++r)
    log_softmax_row<Tempered>(x[r], y[r], n, max[r],
                              Inverse<T>{inverse[r], inverse_lo[r], Tempered}, log[r], log_lo[r]);
  return true;
}

template <class D, class T>
void run_batch(const Job& job, int64_t first, int count) {
  const bool done = count > 2 && (job.temperature.data ? run_batch<D, T, true>(job, first, count)
                                                       : run_batch<D, T, false>(job, first, count));
  if (done) {
    if constexpr (!std::is_same_v<D, T>) {
      const int64_t length = job.op == Op::logsumexp ? 1 : job.n;
      for (int r = 0; r < count; ++r)
        scatter<D>(scratch<T>(0) + r * padded<T>(job.n), length, slice_at(job, first + r).y,
                   job.y.along);
    }
    return;
  }
  for (int r = 0; r < count; ++r) run_slice<D, T>(job, first + r);
}
