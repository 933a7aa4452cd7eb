// The batch traversal: sixteen contiguous rows at a time, or 32 short ones.  Each row is reduced
// and mapped by itself, but what is done once a row (its frame, the correction of its sum,
// divisions, logarithms) is done for all of them together: for rows up to a few thousand entries
// that is most of the waiting.

// The totals of all rows, one to a lane.
template <int Rows>
INLINE void totals_of(const vec<double>* rows, vec<double>* sum, vec<double>*) {
  constexpr int W = kWidth<double>;
  for (int j = 0; j < Rows / W; ++j) sum[j] = fold_each(rows + j * W, kSum);
}
template <int Rows>
INLINE void totals_of(const Pair* rows, vec<double>* sum, vec<double>* low) {
  constexpr int W = kWidth<double>;
  for (int r = 0; r < Rows; ++r) sum[r / W][r % W] = rows[r].hi, low[r / W][r % W] = rows[r].lo;
}

// Whether a map serves only results that wait, with no temperature: that of logarithms (table.inl).
template <class Map>
constexpr bool kOnlyWaiting = false;
template <class T>
constexpr bool kOnlyWaiting<Shift<T>> = true;

// Some of a bundle's rows, `Rows` at most.
template <class D, class T, bool Tempered, int Rows>
class Batch {
  static constexpr int W = kWidth<T>, K = Rows / W;
  // 16-bit rows, and rows with a mask, pass through a scratch row.
  static constexpr bool kWidens = !std::is_same_v<D, T>;
  // Of floats, as for long rows, the largest entry shows while exponentials are made.
  static constexpr int64_t kGuessed =
      sizeof(T) == 4 ? kGroup<T> * W : std::numeric_limits<int64_t>::max();
  // Whether there is code for each length of the last, partial group.
  static constexpr bool kKnowsRest = sizeof(T) == 4 && !Tempered && kVectorBytes > 16;

 public:
  Batch(const Job& job, int64_t first, int count)
      : job_(job),
        first_(first),
        count_(count),
        n_(job.n),
        room_(padded<T>(n_)),
        rows_(std::min<int64_t>(Rows, job.bundle)),
        staged_(kWidens || job.where.data ? scratch<T>(rows_ * room_) : nullptr) {
    find_starts(job.x, source_);
    find_starts(job.y, result_);
    if (staged_)
      for (int r = 0; r < count; ++r)
        stage<D>(job, slice_at(job, first + r), 0, n_, staged_ + r * room_);
    lanes_.count = count;
    lanes_.coarse = job.only_sums();
  }

  // Whether frames can come from there.
  bool offers(Frames frames) const {
    if (frames == Frames::exact) return true;
    if (n_ < kGuessed || !may_guess_frames(job_.notes, first_, count_)) return false;
    return frames == Frames::guessed || (sizeof(T) == 4 && !Tempered && common_frame().known());
  }

  // False, and nothing written, if a row is out of the ordinary; unless frames are exact, also if
  // one does not serve.  Where `outgoing` is null results are written at once.
  template <class Map>
  bool run(Frames frames, Outgoing<T, Map>* outgoing) {
    frames_ = frames;
    if (!find_frames(outgoing != nullptr)) return false;
    reduce(outgoing);
    if (frames_ != Frames::exact && !(find_max() && lanes_.leave_room(job_.notes, first_)))
      return false;
    // Beside a nan, what takes no part is still 0.
    if (job_.where.data && !lanes_.are_numbers()) return false;
    lanes_.find_top();
    lanes_.correct();
    if (job_.sink.data && !lanes_.add_sinks(job_, first_)) return false;
    if (needs_others<T>(job_) && !lanes_.show_others()) {
      if (job_.sink.data) return false;
      sum_others();
    }
    if (job_.notes) lanes_.note(*job_.notes, first_);
    if constexpr (kOnlyWaiting<Map>)
      shift_rows(outgoing);
    else if (job_.op == Op::softmax)
      scale_rows(outgoing);
    else if (job_.op == Op::log_softmax)
      shift_rows(outgoing);
    else if (job_.only_sums())
      store_logsumexps();
    return true;
  }

  // What the batches behind may take their frames from.
  void settle_common_frame() const {
    if constexpr (sizeof(T) == 4 && !Tempered)
      common_frame().settle(Numbers(lanes_.max).of, count_);
  }

  // Rows that are left to `run_odd`.
  uint64_t odd() const { return lanes_.left.odd; }

 private:
  const Job& job_;
  const int64_t first_;
  const int count_;
  const int64_t n_, room_, rows_;  // entries, with room for whole groups, and rows of a batch
  Frames frames_;
  T* staged_;  // or null where entries are taken as they lie
  const char* source_[Rows];
  char* result_[Rows];
  T* kept_;
  SliceLanes<T, K, Tempered> lanes_;
  typename Sums<T>::Condensed sums_[Rows];
  vec<T> largest_[Rows];  // the largest entry of each row is among these lanes

  // Where a row would begin that does not exist nobody asks.
  template <class P>
  void find_starts(const Operand& array, P* starts) const {
    if (job_.dims == 1)
      for (int r = 0; r < Rows; ++r) starts[r] = array.data + (first_ + r) * array.stride[0];
    else
      for (int r = 0; r < Rows; ++r) starts[r] = start_of(job_, array, first_ + r);
  }

  INLINE const T* x(int r) const { return staged_ ? staged_ + r * room_ : (const T*)source_[r]; }
  INLINE D* y(int r) const { return (D*)result_[r]; }

  // What to fetch while a row is summed: the same row of the next batch, or rather one a few rows
  // behind, since the next batch may begin with the first entries of all; and where results go.
  INLINE Ahead<T, int(sizeof(D))> ahead(int r) const {
    constexpr int64_t behind = 4;
    if (!job_.fetch_ahead) return {};
    return {source_[r] + (rows_ + behind) * n_ * int64_t(sizeof(D)),
            job_.fetch_results ? result_[r] : nullptr};
  }

  // What comes next fetched, and a row that waits delivered.
  template <int Lag, class Map>
  INLINE auto passing(int r, Outgoing<T, Map>& outgoing) const {
    Ahead<T> next = ahead(r);
    if (!outgoing.near) next.result = nullptr;
    return Passing<T, typename Outgoing<T, Map>::Row, Lag>{next, outgoing.row(r)};
  }

  // What is known of each row, one to a lane, as numbers.
  struct Numbers {
    alignas(64) T of[Rows];
    explicit Numbers(const group<T, K>& lanes) { EACH store(of + k * W, lanes.v[k]); }
    T operator[](int r) const { return of[r]; }
  };

  static INLINE group<T, K> largest_of_each(const vec<T>* lanes) {
    group<T, K> found;
    EACH found.v[k] = fold_each(lanes + k * W, kLarger<T>);
    return found;
  }

  // The lanes of a batch's rows that do not exist follow the first.
  bool find_frames(bool waits) {
    vec<T> largest[Rows];
    if (frames_ == Frames::common) {
      take_common_frame();
      return true;
    }
    if (frames_ == Frames::guessed) {
      _Pragma("GCC unroll 16") for (int r = 0; r < Rows; ++r) largest[r] =
          load(x(r < count_ ? r : 0));
      lanes_.max = largest_of_each(largest);
    } else {
      for (int r = 0; r < count_; ++r)
        largest[r] = n_ >= kLongRow ? largest_lanes_of_long(x(r), n_) : largest_lanes(x(r), n_);
      std::fill(largest + count_, largest + Rows, largest[0]);
      lanes_.max = largest_of_each(largest);
    }
    if (!set_temperatures(job_, first_, lanes_)) return false;
    return lanes_.find_frames() || (frames_ == Frames::exact && adjust(waits));
  }

  // Rows out of the ordinary (see SliceLanes) are adjusted in a copy, which is gone when the next
  // batch takes its place.
  bool adjust(bool waits) {
    lanes_.adjust();
    if (waits && (lanes_.left.odd || job_.op == Op::log_softmax)) return false;
    if (lanes_.left.odd && !leave_odd(job_, first_, lanes_.left.odd)) return false;
    const Numbers shift(lanes_.shift);
    T* rows = staged_ ? staged_ : scratch<T>(rows_ * room_);
    for (int r = 0; r < count_; ++r) {
      const T* from = x(r);
      const bool odd = lanes_.left.odd >> r & 1;
      for (int64_t i = 0; i < n_; ++i) rows[r * room_ + i] = odd ? T(0) : from[i] - shift[r];
    }
    staged_ = rows;
    return true;
  }

  void take_common_frame() {
    if constexpr (sizeof(T) == 4) {
      const CommonFrame& common = common_frame();
      set_temperatures(job_, first_, lanes_);
      EACH {
        lanes_.max.v[k] = splat(common.lowest);
        lanes_.frame.shift.v[k] = splat(0.0f);
        lanes_.frame.floor.v[k] = splat(common.floor);
        lanes_.frame.rounder.v[k] = splat(common.rounder);
      }
    }
  }

  bool find_max() {
    for (int r = count_; r < Rows; ++r) largest_[r] = largest_[0];
    return lanes_.find_max(largest_of_each(largest_));
  }

  // The frames of all rows, as numbers.
  struct RowFrames {
    Numbers rounder, floor, inverse, inverse_lo;

    explicit RowFrames(const Frame<T, K>& lanes)
        : rounder(lanes.rounder),
          floor(lanes.floor),
          inverse(lanes.inverse),
          inverse_lo(lanes.inverse_lo) {}
    INLINE Frame<T> of(int r) const {
      Frame<T> frame;
      frame.rounder = single<T>(splat(rounder[r]));
      frame.floor = single<T>(splat(floor[r]));
      frame.inverse = single<T>(splat(inverse[r]));
      frame.inverse_lo = single<T>(splat(inverse_lo[r]));
      return frame;
    }
  };

  // The sums of all rows' exponentials, which are kept where they are needed again.
  template <class Map>
  void reduce(Outgoing<T, Map>* outgoing) {
    kept_ = place_of_kept(outgoing);
    const RowFrames frames(lanes_.frame);
    constexpr int group = kGroup<T> * W;
    constexpr std::integral_constant<int, -1> any;
    const auto sum = [&](auto beside_of, auto coarse) INLINE_LAMBDA {
      constexpr bool kCoarse = decltype(coarse)::value;
      if constexpr (kKnowsRest)
        with_rest<T>(n_,
                     [&](auto rest) INLINE_LAMBDA { sum_rows<kCoarse>(frames, rest, beside_of); });
      else
        sum_rows<kCoarse>(frames, any, beside_of);
    };
    static_assert(!(kWidens && kOnlyWaiting<Map>));  // of 16 bits nothing waits
    if constexpr (!kOnlyWaiting<Map>)
      if (kWidens || !outgoing)
        with_coarseness(lanes_, [&](auto coarse) INLINE_LAMBDA {
          sum([&](int r) INLINE_LAMBDA { return ahead(r); }, coarse);
        });
    if constexpr (!kWidens)
      if (outgoing) {
        if (n_ > 2 * group && outgoing->obstructs(x(0)))
          sum_rows<false>(frames, any,
                          [&](int r) INLINE_LAMBDA { return passing<group>(r, *outgoing); });
        else
          sum([&](int r) INLINE_LAMBDA { return passing<0>(r, *outgoing); }, std::false_type());
        outgoing->deliver(count_);
      }
    std::fill(sums_ + count_, sums_ + Rows, sums_[0]);
    totals_of<Rows>(sums_, lanes_.sum, lanes_.sum_lo);
  }

  // Row by row its exponentials and, beside those of the next, which keep other units busy, their
  // sum.  What else happens beside row r is beside_of(r).
  template <bool Coarse, class Rest, class BesideOf>
  INLINE void sum_rows(const RowFrames& frames, Rest rest, BesideOf beside_of) {
    Sums<T> sums;
    for (int r = 0; r < count_; ++r) {
      const auto beside = beside_of(r);
      const auto compute = [&](auto adds_up, const T* e) INLINE_LAMBDA {
        largest_[r] = exp_row<Tempered, Coarse, decltype(adds_up)::value>(
            x(r), kept(r), n_, rest, frames.of(r), beside, e, sums);
      };
      if (r == 0) {
        compute(std::false_type(), nullptr);
      } else {
        compute(std::true_type(), kept(r - 1));
        sums_[r - 1] = sums.condensed();
      }
      beside.finish(n_);
    }
    sums_[count_ - 1] = sum_row(kept(count_ - 1), n_).condensed();
  }

  // Those of rows where they do not show in the sum of all.
  void sum_others() {
    vec<double> found[decltype(lanes_)::M];
    const Numbers max(lanes_.max), rounder(lanes_.frame.rounder), inverse(lanes_.frame.inverse),
        inverse_lo(lanes_.frame.inverse_lo);
    for (int r = 0; r < count_; ++r) {
      const int j = r / kWidth<double>, lane = r % kWidth<double>;
      if (shows_others<T>(lanes_.sum_and_top(j))[lane]) continue;
      const State rest =
          reduce_others(x(r), n_, max[r], T(0), Inverse<T>{inverse[r], inverse_lo[r], Tempered});
      using C = exp_constants<T>;
      State frame;
      frame.n = C::frame_magic + T(C::headroom + C::bias) - rounder[r];
      found[j][lane] = sum_in_frame(rest, frame) * power_of_two(C::headroom);
    }
    lanes_.take_apart(found);
  }

  // Where a row's exponentials are: those of a softmax until they are scaled, others until they are
  // summed beside the next row's.
  INLINE T* kept(int r) const { return kept_ + (job_.op == Op::softmax ? r : r % 2) * room_; }

  // Exponentials that wait have two places by turns, each with a vector of room before it.
  template <class Map>
  T* place_of_kept(Outgoing<T, Map>* outgoing) const {
    // The same for all batches of a job, the last of which may be a small one.
    const int64_t rows = std::min(kLargeBatch, job_.bundle);
    const int64_t room = (job_.op == Op::softmax ? rows : 2) * room_;
    if (!outgoing) return scratch<T, Kept>(room);
    T* first = scratch<T, Kept>(2 * (W + room)) + W;
    return outgoing->from[0] == first ? first + room + W : first;
  }

  // Has rows, whose maps are set, wait until the next batch is summed.
  template <class Map, class F>
  void postpone(Outgoing<T, Map>& outgoing, F from) {
    for (int r = 0; r < count_; ++r) {
      outgoing.from[r] = from(r);
      outgoing.y[r] = (T*)result_[r];
    }
    outgoing.n = n_;
    outgoing.count = count_;
  }

  void scale_rows(Outgoing<T, Scale<T>>* outgoing) {
    group<T, K> factors, factors_lo, equal_to, tops;
    ScaleLanes<T> scale[K];
    lanes_.scales(job_.notes, first_, scale);
    EACH factors.v[k] = scale[k].factor, factors_lo.v[k] = scale[k].factor_lo;
    EACH equal_to.v[k] = scale[k].kept, tops.v[k] = scale[k].top;
    const Numbers factor(factors), factor_lo(factors_lo), equal(equal_to), top(tops);
    const auto of_row = [&](int r) { return Scale<T>{factor[r], factor_lo[r], equal[r], top[r]}; };
    const auto exponentials = [&](int r) { return kept(r); };
    if (outgoing) {
      for (int r = 0; r < count_; ++r) outgoing->map[r] = of_row(r);
      return postpone(*outgoing, exponentials);
    }
    for (int r = 0; r < count_; ++r) scale_row(exponentials(r), y(r), n_, of_row(r));
  }

  template <class Map>
  void shift_rows(Outgoing<T, Map>* outgoing) {
    group<T, K> hi, lo;
    ShiftLanes<T, Tempered> shift[K];
    EACH shift[k] = lanes_.shift_to_logarithms(k);
    EACH hi.v[k] = shift[k].log, lo.v[k] = shift[k].log_lo;
    const Numbers max(lanes_.max), log(hi), log_lo(lo), inverse(lanes_.frame.inverse),
        inverse_lo(lanes_.frame.inverse_lo);
    if constexpr (kOnlyWaiting<Map>) {
      for (int r = 0; r < count_; ++r) outgoing->map[r] = {max[r], log[r], log_lo[r]};
      postpone(*outgoing, [&](int r) { return x(r); });
    } else {
      for (int r = 0; r < count_; ++r) {
        const Inverse<T> scale = {inverse[r], inverse_lo[r], Tempered};
        log_softmax_row<Tempered>(x(r), y(r), n_, max[r], scale, log[r], log_lo[r]);
      }
    }
  }

  void store_logsumexps() {
    group<T, K> result;
    lanes_.logsumexp(result);
    const Numbers log(result);
    for (int r = 0; r < count_; ++r) round_to(*y(r), log[r]);
    if (lanes_.left.near) settle_next_to_zero<D>(job_, first_, lanes_.left.near);
  }
};
