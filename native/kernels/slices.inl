// Many slices at once, one per lane: their frames, and what follows from their sums.  The same
// steps as for a single slice (reduce.inl, row_state.inl), so that a slice gives the same bits
// wherever it stands.  What is infinite is left out of a tile, and written by the row traversal
// afterwards.

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

// A vector of T's numbers in double precision as a sum of two.
template <class T>
INLINE void in_two_parts(const vec<double>* whole, group<T, 1>& hi, group<T, 1>& lo) {
  constexpr int H = kWide<T, 1>;
  vec<double> rest[H];
  narrowed(whole, hi);
  widen(hi, rest);
  for (int h = 0; h < H; ++h) rest[h] = whole[h] - rest[h];
  narrowed(rest, lo);
}

// Whether the condition holds in the first `count` lanes.
template <class T>
INLINE bool all_of(vec<bits<T>> holds, int count) {
  return !any_set<T>(~holds & first_lanes<T>(count));
}

// Slices of a tile that are left to others, a bit to a lane.
struct Left {
  uint64_t odd = 0;   // out of the ordinary (odd.inl)
  uint64_t near = 0;  // their logarithms next to zero, where the rounding of float exponentials
                      // would show (near_zero.inl)
};

template <class T, int K, bool Tempered>
struct SliceLanes {
  static constexpr int W = kWidth<T>, H = kWide<T, 1>, M = K * H;
  using C = exp_constants<T>;

  int count;            // lanes that exist
  bool coarse = false;  // whether exponentials are (see exp_abreast)
  Left left;            // lanes that are not done here
  // Of lanes that were adjusted: what their entries are counted from, and which hold nothing.
  bool adjusted = false;
  group<T, K> shift;
  vec<bits<T>> empty[K];
  group<T, K> max, kept;
  Frame<T, K> frame;
  vec<double> sum[M], top[M];        // as the exponentials are scaled
  vec<double> sum_lo[M], top_lo[M];  // the second parts of doubles' sums
  vec<double> lost[M];               // by rounding the largest exponential
  bool apart = false;      // whether sums of all but the largest entries were taken apart:
  vec<double> others[M];   // these
  vec<double> inverse[M];  // 1 / sum, where there are notes

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
        left.odd |= uint64_t(empty[k][r] != 0) << (k * W + r);
    }
    find_frames();
  }
  INLINE vec<T> adjusted_entries(int k, vec<T> x) const {
    return empty[k] ? splat(T(0)) : x - shift.v[k];
  }

  // The largest entries of vector k, counted from zero.
  INLINE void largest_of(int k, vec<double>* m) const {
    widen(single<T>(max.v[k]), m);
    if (!adjusted) return;
    vec<double> from[H];
    widen(single<T>(shift.v[k]), from);
    for (int h = 0; h < H; ++h) m[h] = m[h] + from[h];
  }

  // The largest entries, where `max` held what frames were guessed from; false where these do not
  // serve: a largest entry lies below, or too far above (see kLargestRise).
  bool find_max(const group<T, K>& largest) {
    bool near = true;
    EACH {
      const vec<T> rise = (largest.v[k] - max.v[k]) * frame.inverse.v[k];
      const vec<T> z = largest.v[k] * frame.inverse.v[k];
      const vec<bits<T>> serves = (rise >= 0) & (rise < T(kLargestRise * 0.69)) & (z < C::direct);
      near &= all_of<T>(serves, count - k * W);
    }
    max = largest;
    return near;
  }

  // Whether the second parts of what scales results are normal numbers, as in other frames.
  bool leave_room(const SliceNotes* notes, int64_t first) const {
    if (!notes || !notes->factor) return true;
    bool normal = true;
    for (int j = 0; j < M; ++j) {
      const vec<double> factor = load_factors(*notes, first, j, count);
      normal &=
          all_of<double>((factor == 0) | (sum[j] * 0x1p-100 <= factor), count - j * kWidth<double>);
    }
    return normal;
  }

  // The exponentials of the largest entries: see `corrected` in reduce.inl.
  void find_top() {
    group<T, K> hi, lo;
    exp_scaled_pair<false, Tempered>(max, frame, hi, lo);
    widen(hi, top);
    if constexpr (sizeof(T) == 4) {
      kept = hi;
      widen(lo, lost);
      for (int j = 0; j < M; ++j) top[j] = top[j] + lost[j];
      if constexpr (!Tempered)
        if (coarse) {
          vec<double> summed[M];
          widen(exp_scaled<false, false, true>(max, frame), summed);
          for (int j = 0; j < M; ++j) lost[j] = top[j] - summed[j];
        }
    } else {
      widen(lo, top_lo);
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

  // Adds the sinks of slices first .. first + count - 1 to the sums; false where one cannot join
  // its entries (see Sinks) or the frames do not serve.
  bool add_sinks(const Job& job, int64_t first) {
    EACH if (adjusted && any_set<T>(shift.v[k] != 0)) return false;
    constexpr int W = kWidth<double>;
    alignas(64) double sink[M * W], inverse[M * W], inverse_lo[M * W] = {};
    std::fill(sink, sink + M * W, -std::numeric_limits<double>::infinity());
    std::fill(inverse, inverse + M * W, 1.0);
    for (int c = 0; c < count; ++c) {
      if (left.odd >> c & 1) continue;
      const Slice slice = slice_at(job, first + c);
      sink[c] = slice.sink;
      if (!Tempered) continue;
      const Inverse<double> of = Inverse<double>::of(slice.temperature);
      inverse[c] = of.hi, inverse_lo[c] = of.lo;
    }
    group<T, K> powers;
    EACH powers.v[k] = (C::frame_magic + T(C::headroom + C::bias)) - frame.rounder.v[k];
    vec<double> n[M], m[M];
    widen(powers, n);
    widen(max, m);
    bool near = true;
    for (int j = 0; j < M; ++j) {
      const Sinks sinks = {load(sink + j * W), load(inverse + j * W), load(inverse_lo + j * W)};
      sinks.add_to<T>(sum[j], sum_lo[j], n[j]);
      const vec<int64_t> fits = ~(sum[j] >= kLargestSum * power_of_two(C::headroom));
      near &= all_of<double>(sinks.near(m[j], n[j]) & fits, count - j * W);
    }
    return near;
  }

  // Whether no slice has a nan.
  bool are_numbers() const {
    bool numbers = true;
    for (int j = 0; j < M; ++j)
      numbers &= all_of<double>(sum[j] == sum[j], count - j * kWidth<double>);
    return numbers;
  }

  INLINE SumAndTop sum_and_top(int j) const {
    if constexpr (sizeof(T) == 4)
      return {sum[j], vec<double>{}, top[j], vec<double>{}};
    else
      return {sum[j], sum_lo[j], top[j], top_lo[j]};
  }

  // Whether all but the largest entries of each slice show in its sum, or there is a nan.
  bool show_others() const {
    const bool whole = count == K * W;
    vec<double> most = splat(-1.0);
    for (int j = 0; j < M; ++j) {
      const SumAndTop s = sum_and_top(j);
      const vec<double> lacks = fma(splat(kTinyRest<T>), s.top, -others_in<T>(s));
      const vec<int64_t> exist = first_lanes<double>(count - j * kWidth<double>);
      most = larger(whole ? lacks : select<double>(exist, lacks, most), most);
    }
    return !any_set<double>(most >= 0);
  }

  // The sums of all but the largest entries, taken apart where they do not show in those of all.
  void take_apart(const vec<double>* found) {
    apart = true;
    for (int j = 0; j < M; ++j) {
      const SumAndTop s = sum_and_top(j);
      others[j] = shows_others<T>(s) ? others_in<T>(s) : found[j];
    }
  }

  // The logarithms of the sums of vector k, relative to the largest terms.
  INLINE void logarithms(int k, vec<double>* log) const {
    for (int h = 0; h < H; ++h) log[h] = log_of_sum<T>(sum_and_top(k * H + h));
    if (!apart) return;
    for (int h = 0; h < H; ++h) {
      const int j = k * H + h;
      log[h] = log_apart<T>(sum_and_top(j), others[j], log[h]);
    }
  }

  // What a loss needs to know of the slices of vector k, and 1 / sum.
  INLINE void known(int k, NoteLanes* notes, vec<double>* reciprocal) const {
    vec<double> m[H];
    largest_of(k, m);
    for (int h = 0; h < H; ++h) {
      const int j = k * H + h;
      const SumAndTop s = sum_and_top(j);
      reciprocal[h] = 1 / sum[j];
      notes[h] = {m[h], log_of_sum<T>(s), top[j] * reciprocal[h], others_in<T>(s) * reciprocal[h]};
    }
    if (!apart) return;
    for (int h = 0; h < H; ++h) {
      const int j = k * H + h;
      notes[h].log_rest = log_apart<T>(sum_and_top(j), others[j], notes[h].log_rest);
      notes[h].others = others[j] * reciprocal[h];
    }
  }

  // Leaves the notes of slices first .. first + count - 1, and `inverse`, which their scales need.
  void note(const SliceNotes& notes, int64_t first) {
    EACH {
      NoteLanes lanes[H];
      known(k, lanes, inverse + k * H);
      for (int h = 0; h < H; ++h) note_lanes(notes, first, k * H + h, count, lanes[h]);
    }
  }

  // How exponentials of vector k become probabilities, times factors if there are any; `reciprocal`
  // is 1 / sum where it is known.
  INLINE ScaleLanes<T> scale(int k, const vec<double>* reciprocal,
                             const vec<double>* factor) const {
    vec<double> whole[H], low[H], share[H];
    for (int h = 0; h < H; ++h) {
      const int j = k * H + h;
      whole[h] = reciprocal ? reciprocal[h] : 1 / sum[j];
      if constexpr (sizeof(T) == 4) {
        share[h] = top[j] * whole[h];
      } else {
        low[h] = (residual(splat(1.0), whole[h], sum[j]) - whole[h] * sum_lo[j]) * whole[h];
        share[h] = top[j] / sum[j];
        share[h] =
            share[h] +
            (residual(top[j], share[h], sum[j]) + (top_lo[j] - share[h] * sum_lo[j])) / sum[j];
      }
    }
    group<T, 1> of_top, of_all, of_all_lo;
    narrowed(share, of_top);
    const vec<bits<T>> dominated = of_top.v[0] > T(0.5);
    if (factor) {
      for (int h = 0; h < H; ++h) {
        const vec<double> product = whole[h] * factor[h];
        if constexpr (sizeof(T) == 8)
          low[h] = product_error(whole[h], factor[h], product) + low[h] * factor[h];
        whole[h] = product;
        share[h] = share[h] * factor[h];
      }
      narrowed(share, of_top);
    }
    narrowed(whole, of_all);
    if constexpr (sizeof(T) == 4) {
      widen(of_all, low);
      for (int h = 0; h < H; ++h) low[h] = whole[h] - low[h];
    }
    narrowed(low, of_all_lo);
    const vec<T> none = splat(std::numeric_limits<T>::quiet_NaN());
    const vec<bits<T>> shows =
        dominated & (product(kept.v[k], of_all.v[0], of_all_lo.v[0]) != of_top.v[0]);
    return {of_all.v[0], of_all_lo.v[0], shows ? kept.v[k] : none, of_top.v[0]};
  }

  // The same of floats with reciprocals in one part, and none set on its own: -0 as the other part
  // changes nothing, not even the sign of a zero.
  static INLINE ScaleLanes<T> scale_in_one_part(const vec<double>* reciprocal) {
    group<T, 1> factor;
    narrowed(reciprocal, factor);
    const vec<T> none = splat(std::numeric_limits<T>::quiet_NaN());
    return {factor.v[0], splat(T(-0.0)), none, none};
  }

  // Of all vectors, where there may be notes of the slices, from `first` on.
  INLINE void scales(const SliceNotes* notes, int64_t first, ScaleLanes<T>* to) const {
    const bool factors = notes && notes->factor;
    vec<double> factor[M];
    for (int j = 0; j < M && factors; ++j) factor[j] = load_factors(*notes, first, j, count);
    if (notes && notes->one_part) {
      for (int j = 0; j < M; ++j) factor[j] = factors ? inverse[j] * factor[j] : inverse[j];
      EACH to[k] = scale_in_one_part(factor + k * H);
      return;
    }
    EACH to[k] = scale(k, notes ? inverse + k * H : nullptr, factors ? factor + k * H : nullptr);
  }

  // How entries of vector k become logarithms.
  INLINE ShiftLanes<T, Tempered> shift_to_logarithms(int k) const {
    vec<double> log[H];
    group<T, 1> hi, lo;
    logarithms(k, log);
    in_two_parts(log, hi, lo);
    return {max.v[k], frame.inverse.v[k], frame.inverse_lo.v[k], hi.v[0], lo.v[0]};
  }

  // The logarithms of sums; those of floats that are next to zero are `left`.
  void logsumexp(group<T, K>& result) {
    EACH {
      vec<double> m[H], log[H];
      group<T, 1> rounded;
      largest_of(k, m);
      logarithms(k, log);
      for (int h = 0; h < H; ++h) m[h] = m[h] + log[h];
      narrowed(m, rounded);
      result.v[k] = rounded.v[0];
    }
    if constexpr (sizeof(T) == 4) {
      EACH left.near |= set_lanes(absolute<T>(result.v[k]) <= kNextToZero) << (k * W);
      left.near &= ~left.odd & (~uint64_t(0) >> (64 - count));
    }
  }
};

// Calls f with whether these slices' exponentials are coarse, as a type.
template <class T, int K, bool Tempered, class F>
INLINE void with_coarseness(const SliceLanes<T, K, Tempered>& lanes, F f) {
  if constexpr (sizeof(T) == 4 && !Tempered)
    if (lanes.coarse) return f(std::true_type());
  f(std::false_type());
}

// Whether the sums of all but the largest entries are needed however small they are.  Not for a
// logsumexp of floats: from 0.5 on half a unit is 2^-25, and nearer to zero it is taken again.
static_assert(kTinyRest<float> < 0x1p-25);
template <class T>
bool needs_others(const Job& job) {
  return job.notes || job.op == Op::log_softmax || (job.op == Op::logsumexp && sizeof(T) == 8);
}

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
