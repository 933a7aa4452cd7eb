// Many slices at once, one per lane: their frames, and what follows from their sums.  The same
// steps as for a single slice (reduce.inl, rows.inl), so that a slice gives the same bits wherever
// it stands.  What is infinite is left out of a tile, and written by the row traversal afterwards.

// Numbers per slice: K vectors of T in double precision are K or 2 K vectors.
template <class T, int K>
constexpr int kWide = K * int(sizeof(double) / sizeof(T));

template <int K>
INLINE void widen(const group<float, K>& g, vec<double>* to) {
  EACH to[2 * k] = widen_low(g.v[k]), to[2 * k + 1] = widen_high(g.v[k]);
}
template <int K>
INLINE void widen(const group<double, K>& g, vec<double>* to) {
  EACH to[k] = g.v[k];
}
template <int K>
INLINE void narrowed(const vec<double>* from, group<float, K>& g) {
  EACH g.v[k] = narrow(from[2 * k], from[2 * k + 1]);
}
template <int K>
INLINE void narrowed(const vec<double>* from, group<double, K>& g) {
  EACH g.v[k] = from[k];
}

// Whether the condition holds in the first `count` lanes.
template <class T>
INLINE bool all_of(vec<bits<T>> holds, int count) {
  return !any_set<T>(~holds & first_lanes<T>(count));
}

template <class T, int K>
struct LaneScale {
  group<T, K> factor, factor_lo, kept, top;  // as Scale in maps.inl

  // Of the slices of vector k.
  INLINE vec<T> of(int k, vec<T> e) const {
    const vec<T> y = product(e, factor.v[k], factor_lo.v[k]);
    return e == kept.v[k] ? top.v[k] : y;
  }
};

template <class T, int K, bool Tempered>
struct SliceLanes {
  static constexpr int W = kWidth<T>, M = kWide<T, K>;
  using C = exp_constants<T>;

  int count;  // lanes that exist
  // Of lanes that were adjusted: what their entries are counted from, and which hold nothing.
  bool adjusted = false;
  group<T, K> shift;
  vec<bits<T>> empty[K];
  uint64_t odd = 0;  // the same, a bit to a lane
  group<T, K> max, kept;
  Frame<T, K> frame;
  vec<double> sum[M], sum_lo[M], top[M], top_lo[M];  // as the exponentials are scaled
  vec<double> lost[M];                               // by rounding the largest of them
  vec<double> log[M];                                // of the sums, relative to the largest terms
  vec<double> inverse[M];                            // 1 / sum, where there are notes
  bool apart = false;     // whether sums of all but the largest entries were taken apart:
  vec<double> others[M];  // these

  // From the maxima; false if one is out of the ordinary.
  bool find_frames() {
    const vec<T> lowest = splat(std::numeric_limits<T>::lowest());
    vec<bits<T>> ordinary = splat(bits<T>(-1));
    EACH {
      const vec<T> z = Tempered ? max.v[k] * frame.inverse.v[k] : max.v[k];
      ordinary &= ((z > -C::direct) & (z < C::direct)) | ~first_lanes<T>(count - k * W);
      const vec<T> power = (z * C::log2e + C::magic) - C::magic;
      vec<T> floor = (power + T(C::frame_lowest)) * T(0.693147180559945309);
      if (Tempered) floor = floor / frame.inverse.v[k];
      frame.floor.v[k] = floor > lowest ? floor : lowest;
      frame.rounder.v[k] = C::frame_magic - power + T(C::headroom + C::bias);
      frame.shift.v[k] = splat(T(0));
    }
    return !any_set<T>(~ordinary);
  }

  // Makes those out of the ordinary fit: what is huge is counted from the largest entry, as rows
  // do it, and what is infinite is left out.  Entries are to be adjusted, too.
  void adjust() {
    adjusted = true;
    EACH {
      const vec<T> z = Tempered ? max.v[k] * frame.inverse.v[k] : max.v[k];
      const vec<bits<T>> beyond = ~((z > -C::direct) & (z < C::direct));
      // What is counted from these does not overflow.
      const vec<bits<T>> huge = absolute<T>(max.v[k]) < T(0x1p100);
      empty[k] = beyond & ~huge;
      shift.v[k] = beyond & huge ? max.v[k] : splat(T(0));
      max.v[k] = beyond ? splat(T(0)) : max.v[k];
      for (int r = 0; r < W && k * W + r < count; ++r)
        odd |= uint64_t(empty[k][r] != 0) << (k * W + r);
    }
    find_frames();
  }
  INLINE vec<T> adjusted_entries(int k, vec<T> x) const {
    return empty[k] ? splat(T(0)) : x - shift.v[k];
  }

  // The largest entries, counted from zero.
  void largest(vec<double>* m) const {
    widen(max, m);
    if (!adjusted) return;
    vec<double> from[M];
    widen(shift, from);
    for (int j = 0; j < M; ++j) m[j] = m[j] + from[j];
  }

  // The largest entries, where `max` held but those of the first entries; false where the frames do
  // not serve (see kLargestRise).
  bool find_max(const group<T, K>& largest) {
    bool near = true;
    EACH {
      const vec<T> rise = (largest.v[k] - max.v[k]) * frame.inverse.v[k];
      const vec<T> z = largest.v[k] * frame.inverse.v[k];
      near &= all_of<T>((rise < T(kLargestRise * 0.69)) & (z < C::direct), count - k * W);
    }
    max = largest;
    return near;
  }

  // The exponentials of the largest entries: see `corrected` in reduce.inl.
  void find_top() {
    group<T, K> hi, lo;
    exp_scaled_pair<false, Tempered>(max, frame, hi, lo);
    widen(hi, top);
    widen(lo, top_lo);
    if constexpr (sizeof(T) == 4) {
      kept = hi;
      for (int j = 0; j < M; ++j) {
        lost[j] = top_lo[j];
        top[j] = top[j] + top_lo[j];
        top_lo[j] = splat(0.0);
      }
    } else {
      kept = exp_scaled<false, Tempered>(max, frame);
      for (int j = 0; j < M; ++j) lost[j] = (hi.v[j] - kept.v[j]) + lo.v[j];
    }
  }

  // The sums as they were added up, with what the largest term lost.
  void correct() {
    for (int j = 0; j < M; ++j) {
      if constexpr (sizeof(T) == 4) {
        sum[j] = sum[j] + lost[j];
      } else {
        const vec<double> low = sum_lo[j] + lost[j], total = sum[j] + low;
        sum_lo[j] = low - (total - sum[j]);
        sum[j] = total;
      }
    }
  }

  // Whether no slice has a nan.
  bool are_numbers() const {
    bool numbers = true;
    for (int j = 0; j < M; ++j)
      numbers &= all_of<double>(sum[j] == sum[j], count - j * kWidth<double>);
    return numbers;
  }

  // How exponentials become probabilities, times the slices' factors where there are notes of them.
  LaneScale<T, K> scale(const SliceNotes* notes, int64_t first) const {
    LaneScale<T, K> s;
    vec<double> whole[M], low[M], share[M];
    for (int j = 0; j < M; ++j) {
      whole[j] = notes ? inverse[j] : 1 / sum[j];
      if constexpr (sizeof(T) == 4) {
        share[j] = top[j] * whole[j];
      } else {
        low[j] = (residual(splat(1.0), whole[j], sum[j]) - whole[j] * sum_lo[j]) * whole[j];
        share[j] = top[j] / sum[j];
        share[j] =
            share[j] +
            (residual(top[j], share[j], sum[j]) + (top_lo[j] - share[j] * sum_lo[j])) / sum[j];
      }
    }
    narrowed(share, s.top);
    const vec<T> none = splat(std::numeric_limits<T>::quiet_NaN());
    EACH s.kept.v[k] = s.top.v[k] > T(0.5) ? kept.v[k] : none;
    if (notes && notes->factor) {
      for (int j = 0; j < M; ++j) {
        const vec<double> w = load_lanes(notes->factor + (first - notes->first), j, count);
        const vec<double> product = whole[j] * w;
        if constexpr (sizeof(T) == 8) low[j] = product_error(whole[j], w, product) + low[j] * w;
        whole[j] = product;
        share[j] = share[j] * w;
      }
      narrowed(share, s.top);
    }
    narrowed(whole, s.factor);
    if constexpr (sizeof(T) == 4) {
      widen(s.factor, low);
      for (int j = 0; j < M; ++j) low[j] = whole[j] - low[j];
    }
    narrowed(low, s.factor_lo);
    return s;
  }

  INLINE SumAndTop sum_and_top(int j) const { return {sum[j], sum_lo[j], top[j], top_lo[j]}; }

  // The logarithms of the sums, relative to the largest terms, and for `notes` the inverse sums;
  // false if all but the largest entries of a slice do not show and must be summed apart.
  bool find_logarithms(bool notes) {
    vec<int64_t> show = splat(int64_t(-1));
    const auto find = [&](auto with) INLINE_LAMBDA {
      for (int j = 0; j < M; ++j) {
        const SumAndTop s = sum_and_top(j);
        log[j] = with.value ? log_of_sum<T>(s, inverse[j]) : log_of_sum<T>(s);
        show &= shows_others<T>(s) | ~first_lanes<double>(count - j * kWidth<double>);
      }
    };
    notes ? find(std::true_type()) : find(std::false_type());
    return !any_set<double>(~show);
  }

  // The sums of all but the largest entries, taken apart where they do not show in those of all.
  void take_apart(const vec<double>* found) {
    apart = true;
    for (int j = 0; j < M; ++j) {
      const SumAndTop s = sum_and_top(j);
      others[j] = shows_others<T>(s) ? others_in<T>(s) : found[j];
      log[j] = log_apart<T>(s, others[j], log[j]);
    }
  }

  // The logarithms in two parts of type T.
  void split_logarithms(group<T, K>& hi, group<T, K>& lo) const {
    vec<double> low[M];
    narrowed(log, hi);
    widen(hi, low);
    for (int j = 0; j < M; ++j) low[j] = log[j] - low[j];
    narrowed(low, lo);
  }

  // Leaves the notes of slices first .. first + count - 1.
  void note(const SliceNotes& notes, int64_t first) const {
    vec<double> m[M];
    largest(m);
    for (int j = 0; j < M; ++j) {
      const vec<double> rest = apart ? others[j] : others_in<T>(sum_and_top(j));
      note_lanes(notes, first, j, count, {m[j], log[j], top[j] * inverse[j], rest * inverse[j]});
    }
  }

  // The logarithms of the results of vector k, from `split_logarithms`.
  INLINE vec<T> logarithm(int k, vec<T> x, const group<T, K>& hi, const group<T, K>& lo) const {
    const group<T, 1> z =
        centred<Tempered>(single<T>(x), max.v[k], frame.inverse.v[k], frame.inverse_lo.v[k]);
    return (z.v[0] - hi.v[k]) - lo.v[k];
  }

  // Near zero the rounding of float exponentials would show: alone(i) is the result of such a
  // slice.
  template <class F>
  void logsumexp(group<T, K>& result, F alone) const {
    vec<double> m[M];
    largest(m);
    for (int j = 0; j < M; ++j) m[j] = m[j] + log[j];
    narrowed(m, result);
    vec<bits<T>> near{};
    EACH near |= absolute<T>(result.v[k]) <= T(0.5);
    if (sizeof(T) == 4 && any_set<T>(near))
      for (int i = 0; i < count; ++i) {
        T& one = ((T*)result.v)[i];
        if (std::fabs(one) <= T(0.5)) one = alone(i);
      }
  }
};

// Whether what is asked for are logarithms of sums, or made of them.
inline bool needs_logarithms(const Job& job) { return job.notes || job.op != Op::softmax; }

// The temperatures of slices first .. first + lanes.count - 1; false if one is a limit.
template <class T, int K, bool Tempered>
bool set_temperatures(const Job& job, int64_t first, SliceLanes<T, K, Tempered>& lanes) {
  if constexpr (!Tempered) {
    EACH lanes.frame.inverse.v[k] = splat(T(1));
    EACH lanes.frame.inverse_lo.v[k] = splat(T(0));
    return true;
  }
  T hi[K * kWidth<T>], lo[K * kWidth<T>] = {};
  std::fill(hi, hi + K * kWidth<T>, T(1));
  for (int c = 0; c < lanes.count; ++c) {
    const double temperature = slice_at(job, first + c).temperature;
    if (!(temperature > 0 && temperature < std::numeric_limits<double>::infinity())) return false;
    const Inverse<T> inverse = Inverse<T>::of(temperature);
    hi[c] = inverse.hi;
    lo[c] = inverse.lo;
  }
  EACH lanes.frame.inverse.v[k] = load(hi + k * kWidth<T>);
  EACH lanes.frame.inverse_lo.v[k] = load(lo + k * kWidth<T>);
  return true;
}
