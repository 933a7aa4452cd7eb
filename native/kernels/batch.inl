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

// Sixteen rows, or the last few.
template <class D, class T, bool Tempered>
class Batch {
  static constexpr int W = kWidth<T>, K = kBatch / W;
  // 16-bit rows are widened in a scratch row, where their results go too; rows with a mask pass
  // through one.
  static constexpr bool kWidens = !std::is_same_v<D, T>;
  // Of floats, as for long rows, the largest entry shows while they are summed.
  static constexpr int64_t kGuessed = sizeof(T) == 4 ? kGroup<T> * W : kBatchRow + 1;

 public:
  Batch(const Job& job, int64_t first, int count, Outgoing<T>* outgoing)
      : job_(job),
        first_(first),
        count_(count),
        n_(job.n),
        room_(padded<T>(n_)),
        outgoing_(outgoing) {
    const bool stages = kWidens || job.where.data;
    T* staged = stages ? scratch<T>(kBatch * room_) : nullptr;
    for (int r = 0; r < count; ++r) {
      const Slice slice = slice_at(job, first + r);
      T* row = staged + r * room_;
      next_[r] = slice.x + kBatch * n_ * int64_t(sizeof(D));
      result_[r] = job.op == Op::logsumexp ? nullptr : slice.y;
      if (stages) stage<D>(job, slice, 0, n_, row);
      x_[r] = stages ? row : (const T*)slice.x;
      y_[r] = kWidens ? row : (T*)slice.y;
    }
    lanes_.count = count;
  }

  // False, and nothing written, if a row is out of the ordinary; with `guess` also if one rises far
  // above its first entries.
  bool run(bool guess) {
    guesses_ = guess && n_ >= kGuessed;
    if (!find_frames()) return false;
    reduce();
    if (guesses_ && !find_max()) return false;
    // Beside a nan, what takes no part is still 0.
    if (job_.where.data && !lanes_.are_numbers()) return false;
    lanes_.correct();
    if (job_.notes && !lanes_.note(*job_.notes, first_)) return false;
    if (job_.op == Op::softmax) return scale_rows();
    if (job_.op == Op::log_softmax) return shift_rows();
    return job_.notes || store_logsumexps();
  }

 private:
  const Job& job_;
  const int64_t first_;
  const int count_;
  const int64_t n_, room_;
  Outgoing<T>* outgoing_;  // or null where results are written at once
  bool guesses_;
  const T* x_[kBatch];
  T* y_[kBatch];
  const char *next_[kBatch], *result_[kBatch];  // the same row of the next batch, and the result's
  T* kept_;
  SliceLanes<T, K, Tempered> lanes_;
  Sums<T> sums_[kBatch];
  vec<T> largest_[kBatch];  // the largest entry of each row is among these lanes

  // What is known of each row, one to a lane, as numbers.
  struct Numbers {
    alignas(64) T of[kBatch];
    explicit Numbers(const group<T, K>& lanes) { EACH store(of + k * W, lanes.v[k]); }
    T operator[](int r) const { return of[r]; }
  };

  INLINE group<T, K> largest_of_each() const {
    group<T, K> found;
    EACH found.v[k] = fold_each(largest_ + k * W, kLarger<T>);
    return found;
  }

  bool find_frames() {
    for (int r = 0; r < count_; ++r)
      largest_[r] = guesses_         ? load(x_[r])
                    : n_ >= kLongRow ? largest_lanes_of_long(x_[r], n_)
                                     : largest_lanes(x_[r], n_);
    for (int r = count_; r < kBatch; ++r) largest_[r] = splat(T(0));
    lanes_.max = largest_of_each();
    return set_temperatures(job_, first_, lanes_) && lanes_.find_frames();
  }

  bool find_max() { return lanes_.find_max(largest_of_each()); }

  // The sums of all rows' exponentials, which are kept where they are needed again.
  void reduce() {
    const bool apart = n_ <= kApart, keeps = apart || job_.op == Op::softmax;
    kept_ = place_of_kept(keeps);
    const Numbers rounder(lanes_.frame.rounder), floor(lanes_.frame.floor),
        inverse(lanes_.frame.inverse), inverse_lo(lanes_.frame.inverse_lo);
    for (int r = 0; r < count_; ++r) {
      Frame<T> frame;
      frame.rounder = single<T>(splat(rounder[r]));
      frame.floor = single<T>(splat(floor[r]));
      frame.inverse = single<T>(splat(inverse[r]));
      frame.inverse_lo = single<T>(splat(inverse_lo[r]));
      const auto reduce_row = [&](const auto& beside) INLINE_LAMBDA {
        const Room<T> room = {kept_ + (keeps ? r * room_ : 0)};
        if (apart)
          largest_[r] = exp_row<Tempered>(x_[r], room.e, n_, frame, beside);
        else if (keeps)
          sums_[r] =
              sum_terms<false, Tempered, true, true>(x_[r], room, n_, frame, beside, largest_ + r);
        else
          sums_[r] =
              sum_terms<false, Tempered, false, true>(x_[r], room, n_, frame, beside, largest_ + r);
      };
      using Fetch = Ahead<T, int(sizeof(D))>;
      if (outgoing_)
        reduce_row(Passing<T>{{next_[r]}, outgoing_->row(r)});
      else
        reduce_row(job_.fetch_ahead ? Fetch{next_[r], result_[r]} : Fetch());
    }
    if (outgoing_) outgoing_->deliver(count_);
    if (apart)
      for (int r = 0; r < count_; ++r) sums_[r] = sum_row(kept_ + r * room_, n_);
    totals_of(sums_, lanes_.sum, lanes_.sum_lo);
  }

  // Results that wait have two places by turns, each with a vector of room before it.
  T* place_of_kept(bool keeps) const {
    if (!keeps) return scratch<T, Kept>(2 * kGroup<T> * W);
    const int64_t rows = kBatch * room_;
    if (!outgoing_) return scratch<T, Kept>(rows);
    T* first = scratch<T, Kept>(2 * (W + rows)) + W;
    return outgoing_->kept == first ? first + rows + W : first;
  }

  bool scale_rows() {
    const LaneScale<T, K> scale = lanes_.scale(job_.notes, first_);
    const Numbers factor(scale.factor), factor_lo(scale.factor_lo), kept(scale.kept),
        top(scale.top);
    for (int r = 0; r < count_; ++r) {
      const Scale<T> row = {factor[r], factor_lo[r], kept[r], top[r]};
      if (outgoing_)
        outgoing_->y[r] = y_[r], outgoing_->scale[r] = row;
      else
        scale_row(kept_ + r * room_, y_[r], n_, row);
    }
    if (outgoing_) outgoing_->wait(kept_, room_, n_, count_);
    return true;
  }

  bool shift_rows() {
    group<T, K> hi, lo;
    if (!lanes_.log_rest(hi, lo)) return false;
    const Numbers max(lanes_.max), log(hi), log_lo(lo), inverse(lanes_.frame.inverse),
        inverse_lo(lanes_.frame.inverse_lo);
    for (int r = 0; r < count_; ++r)
      log_softmax_row<Tempered>(x_[r], y_[r], n_, max[r],
                                Inverse<T>{inverse[r], inverse_lo[r], Tempered}, log[r], log_lo[r]);
    return true;
  }

  bool store_logsumexps() {
    group<T, K> result;
    if (!lanes_.logsumexp(result)) return false;
    const Numbers log(result);
    for (int r = 0; r < count_; ++r) *y_[r] = log[r];
    return true;
  }
};

template <class D, class T, bool Tempered>
bool run_batch(const Job& job, int64_t first, int count, Outgoing<T>* outgoing) {
  Batch<D, T, Tempered> batch(job, first, count, outgoing);
  return batch.run(true) || batch.run(false);
}

template <class D, class T>
void run_batch(const Job& job, int64_t first, int count, Outgoing<T>* outgoing = nullptr) {
  const bool done =
      count > 2 && (job.temperature.data ? run_batch<D, T, true>(job, first, count, outgoing)
                                         : run_batch<D, T, false>(job, first, count, outgoing));
  if (done) {
    if constexpr (!std::is_same_v<D, T>) {
      const int64_t length = job.op == Op::logsumexp ? 1 : job.n;
      for (int r = 0; r < count; ++r)
        scatter<D>(scratch<T>(0) + r * padded<T>(job.n), length, slice_at(job, first + r).y,
                   job.y.along);
    }
    return;
  }
  if (outgoing) outgoing->deliver(0);  // single rows are kept where it holds what waits
  for (int r = 0; r < count; ++r) run_slice<D, T>(job, first + r);
}
