// The batch traversal: sixteen contiguous rows at a time.  Each row is reduced and mapped by
// itself, but what is done once a row (its frame, the correction of its sum, divisions, logarithms)
// is done for the sixteen together: for rows up to a few thousand entries that is most of the
// waiting.

constexpr int kBatch = 16;

template <class T, bool Tempered>
bool run_batch(const Job& job, int64_t first, int count) {
  constexpr int W = kWidth<T>, K = kBatch / W;
  const int64_t n = job.n, room = padded<T>(n);
  const T* x[kBatch];
  T* y[kBatch];
  SliceLanes<T, K, Tempered> lanes;
  lanes.count = count;
  alignas(64) T max[kBatch] = {}, rounder[kBatch], floor[kBatch], inverse[kBatch],
                inverse_lo[kBatch];
  alignas(64) double sum[kBatch] = {}, sum_lo[kBatch] = {};
  for (int r = 0; r < count; ++r) {
    const Slice slice = slice_at(job, first + r);
    x[r] = (const T*)slice.x;
    y[r] = (T*)slice.y;
    max[r] = row_max(x[r], n);
  }
  if (!set_temperatures(job, first, lanes)) return false;
  EACH lanes.max.v[k] = load(max + k * W);
  if (!lanes.find_frames()) return false;
  EACH store(rounder + k * W, lanes.frame.rounder.v[k]);
  EACH store(floor + k * W, lanes.frame.floor.v[k]);
  EACH store(inverse + k * W, lanes.frame.inverse.v[k]);
  EACH store(inverse_lo + k * W, lanes.frame.inverse_lo.v[k]);

  const bool keeps = job.op == Op::softmax, reduces = job.op == Op::logsumexp;
  T* kept = scratch<T, Kept>(keeps ? kBatch * room : 2 * kGroup<T> * W);
  for (int r = 0; r < count; ++r) {
    Frame<T> frame;
    frame.rounder = single<T>(splat(rounder[r]));
    frame.floor = single<T>(splat(floor[r]));
    frame.inverse = single<T>(splat(inverse[r]));
    frame.inverse_lo = single<T>(splat(inverse_lo[r]));
    const Ahead<T> ahead =
        job.fetch_ahead ? Ahead<T>{x[r] + kBatch * n, reduces ? nullptr : y[r]} : Ahead<T>();
    const Pair total =
        keeps ? sum_terms<false, Tempered, true>(x[r], Room<T>{kept + r * room}, n, frame, ahead)
              : sum_terms<false, Tempered, false>(x[r], Room<T>{kept}, n, frame, ahead);
    sum[r] = total.hi;
    sum_lo[r] = total.lo;
  }
  for (int j = 0; j < lanes.M; ++j) {
    lanes.sum[j] = load(sum + j * kWidth<double>);
    lanes.sum_lo[j] = load(sum_lo + j * kWidth<double>);
  }
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

template <class T>
void run_batches(const Job& job, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i += kBatch) {
    const int count = int(end - i < kBatch ? end - i : kBatch);
    const bool done = count > 2 && (job.temperature.data ? run_batch<T, true>(job, i, count)
                                                         : run_batch<T, false>(job, i, count));
    if (!done)
      for (int r = 0; r < count; ++r) run_slice<T, T>(job, i + r);
  }
}
