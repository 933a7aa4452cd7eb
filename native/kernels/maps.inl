// The maps: from the entries of a row, or their kept exponentials, to its results.

// How scaled exponentials become probabilities: times `factor`, but for the largest.  Where that
// one takes more than half, and its own rounding shows in the product (as 1.0000001, say), it is
// set on its own.
template <class T>
struct Scale {
  T factor, factor_lo;
  // Entries whose exponential equals `kept`, or that are marked with it (Outgoing::put), get `top`;
  // a nan in `kept` matches none.
  T kept = std::numeric_limits<T>::quiet_NaN(), top;
  bool dominated = kept == kept;

  INLINE vec<T> usual(vec<T> e) const { return product(e, splat(factor), splat(factor_lo)); }
  INLINE vec<T> with_top(vec<T> e, vec<T> y) const { return e == splat(kept) ? splat(top) : y; }
  INLINE vec<T> operator()(vec<T> e) const { return dominated ? with_top(e, usual(e)) : usual(e); }
};

// One to a lane.
template <class T>
struct ScaleLanes {
  vec<T> factor, factor_lo, kept, top;

  static INLINE ScaleLanes of(const Scale<T>& s) {
    return {splat(s.factor), splat(s.factor_lo), splat(s.kept), splat(s.top)};
  }

  template <bool Dominated = true>
  INLINE vec<T> operator()(vec<T> e) const {
    vec<T> y = product(e, factor, factor_lo);
    return Dominated ? (e == kept ? top : y) : y;
  }
};

// Whether one of them sets entries on their own.
template <int K, class T>
INLINE bool any_dominated(const ScaleLanes<T>* scale) {
  vec<bits<T>> any{};
  EACH any |= scale[k].kept == scale[k].kept;
  return any_set<T>(any);
}

// The scale of a slice's exponentials in the frame of `unit`.
template <class T>
Scale<T> scale_of(const SliceMap& map, const State& unit) {
  const State& all = map.state;
  const double power = relative_scale(all, unit) * power_of_two(exp_constants<T>::headroom);
  const double s = all.s * power, s_lo = all.s_lo * power, w = map.factor;
  const double inverse = map.inverse == 0 ? 1 / s : map.inverse / power, whole = inverse * w;
  const T none = std::numeric_limits<T>::quiet_NaN();
  if (map.one_part) return {T(whole), T(-0.0), none, none};  // see SliceLanes::scale_in_one_part
  double whole_lo = whole - double(T(whole)), top = all.top * power * inverse;
  if constexpr (sizeof(T) == 8) {
    const double low = (std::fma(-inverse, s, 1.0) - inverse * s_lo) * inverse;
    whole_lo = std::fma(inverse, w, -whole) + low * w;
    top = all.top / all.s;
    top += (std::fma(-top, all.s, all.top) + (all.top_lo - top * all.s_lo)) / all.s;
  }
  // As it stands in the frame of `unit`.
  const T kept = T(all.kept * power_of_two(int64_t(all.n - unit.n)));
  const bool shows =
      T(top) > T(0.5) && product(splat(kept), splat(T(whole)), splat(T(whole_lo)))[0] != T(top * w);
  return {T(whole), T(whole_lo), shows ? kept : none, T(top * w)};
}

// y = e / S from exponentials that were kept; `roomy` says that whole groups may be read.  Results
// of 16 bits are rounded on the way.
template <bool Dominated, class D, class T>
void scale_row(const T* e, D* y, int64_t n, const Scale<T>& scale, bool roomy) {
  const ScaleLanes<T> scaled = ScaleLanes<T>::of(scale);
  if constexpr (std::is_same_v<D, T>)
    if (n >= kLongRow) {
      const int64_t lead = to_alignment(y);
      store_first(y, int(lead), scaled.template operator()<Dominated>(load(e)));
      e += lead;
      y += lead;
      n -= lead;
    }
  for_groups<T>(n, [&](auto size, int64_t i, int count) INLINE_LAMBDA {
    constexpr int K = decltype(size)::value;
    group<T, K> v = load_group<K>(e + i, roomy ? K * kWidth<T> : count, scaled.factor);
    EACH v.v[k] = scaled.template operator()<Dominated>(v.v[k]);
    store_entries(y + i, count, v);
  });
}

template <class D, class T>
void scale_row(const T* e, D* y, int64_t n, const Scale<T>& scale, bool roomy = true) {
  scale.dominated ? scale_row<true>(e, y, n, scale, roomy)
                  : scale_row<false>(e, y, n, scale, roomy);
}

// y = exp(x / T) / S, the exponentials computed again.  `Streams`: y begins with a line, and whole
// groups are written past the caches.
template <bool Streams, bool Shifted, bool Tempered, class T>
void softmax_row(const T* x, T* y, int64_t n, const Frame<T>& frame, const Scale<T>& scale) {
  const ScaleLanes<T> scaled = ScaleLanes<T>::of(scale);
  for_groups<T>(n, [&](auto size, int64_t i, int count) INLINE_LAMBDA {
    constexpr int K = decltype(size)::value;
    group<T, K> v = load_group<K>(x + i, count, splat(-std::numeric_limits<T>::infinity()));
    v = exp_scaled<Shifted, Tempered>(v, frame);
    if (scale.dominated)
      EACH v.v[k] = scaled(v.v[k]);
    else
      EACH v.v[k] = scaled.template operator()<false>(v.v[k]);
    if (Streams && count == kGroup<T> * kWidth<T>)
      EACH stream(y + i + k * kWidth<T>, v.v[k]);
    else
      store_group(y + i, count, v);
  });
}

template <bool Shifted, bool Tempered, class T>
void softmax_row(const T* x, T* y, int64_t n, const Frame<T>& frame, const Scale<T>& scale,
                 bool streams) {
  if constexpr (sizeof(T) == 4)
    if (streams) {
      const int64_t lead = std::min(n, to_alignment(y));
      softmax_row<true, Shifted, Tempered>(x + lead, y + lead, n - lead, frame, scale);
      n = lead;
    }
  softmax_row<false, Shifted, Tempered>(x, y, n, frame, scale);
}

// (x - m) / T for x <= m.  Where x - m overflows, the two are divided apart; they have opposite
// signs, and nothing cancels.
template <bool Tempered, class T, int K>
INLINE group<T, K> centred(const group<T, K>& x, vec<T> m, vec<T> inverse, vec<T> inverse_lo) {
  group<T, K> z;
  EACH z.v[k] = x.v[k] - m;
  if constexpr (Tempered) {
    const vec<T> lowest = splat(-std::numeric_limits<T>::infinity());
    EACH z.v[k] = z.v[k] == lowest ? x.v[k] * inverse - m * inverse
                                   : product_or_infinity(z.v[k], inverse, inverse_lo);
  }
  return z;
}

// How entries become logarithms, at temperature 1.
template <class T>
struct Shift {
  static constexpr bool dominated = false;  // none is set on its own
  T max, log, log_lo;

  INLINE vec<T> usual(vec<T> x) const { return ((x - max) - log) - log_lo; }
  INLINE vec<T> with_top(vec<T>, vec<T> y) const { return y; }
  INLINE vec<T> operator()(vec<T> x) const { return usual(x); }
};

// The same at any temperature, one to a lane.
template <class T, bool Tempered>
struct ShiftLanes {
  vec<T> max, inverse, inverse_lo, log, log_lo;

  INLINE vec<T> operator()(vec<T> x) const {
    return (centred<Tempered>(single<T>(x), max, inverse, inverse_lo).v[0] - log) - log_lo;
  }
};

// y = (x - m) / T - L: both terms have the same sign, so nothing cancels.
template <bool Tempered, class E, class D, class T>
void log_softmax_row(const E* x, D* y, int64_t n, T m, const Inverse<T>& inverse, T log_rest,
                     T log_rest_lo) {
  const vec<T> hi = splat(inverse.hi), lo = splat(inverse.lo);
  for_groups<T>(n, [&](auto size, int64_t i, int count) INLINE_LAMBDA {
    constexpr int K = decltype(size)::value;
    group<T, K> v = load_entries<K, T>(x + i, count);
    v = centred<Tempered>(v, splat(m), hi, lo);
    EACH v.v[k] = (v.v[k] - log_rest) - log_rest_lo;
    store_entries(y + i, count, v);
  });
}

template <class T>
void flat_row(const T* x, T* y, int64_t n, const SliceMap& map) {
  const T pick = T(map.pick), top = T(map.top), rest = T(map.rest);
  const T lowest = -std::numeric_limits<T>::infinity();
  for (int64_t i = 0; i < n; ++i)
    y[i] = (pick != pick ? x[i] != lowest : x[i] == pick) ? top : rest;
}
