// Arithmetic on whole vectors: folds over lanes, and sums and products with what they lose.

template <class V, int... I>
INLINE V rotated(V v, std::integer_sequence<int, I...>, auto by) {
  constexpr int W = sizeof...(I);
  return __builtin_shufflevector(v, v, (I + decltype(by)::value) % W...);
}

// f applied to all lanes, as a tree: lane i with lane i + W / 2, then W / 4, ...  Every lane gets
// the result.
template <class V, class F, int Half = int(sizeof(V) / sizeof(V{}[0])) / 2>
INLINE V fold(V v, F f) {
  if constexpr (Half == 0) {
    return v;
  } else {
    constexpr int W = sizeof(V) / sizeof(V{}[0]);
    const V other =
        rotated(v, std::make_integer_sequence<int, W>(), std::integral_constant<int, Half>());
    return fold<V, F, Half / 2>(f(v, other), f);
  }
}

// Lanes of one halving step over a pair of vectors: the first (or second) half of each segment.
template <int Segment, bool Second, class V, int... I>
INLINE V halves(V a, V b, std::integer_sequence<int, I...>) {
  constexpr int H = Segment / 2;
  return __builtin_shufflevector(a, b, (I / H * Segment + I % H + (Second ? H : 0))...);
}

// Folds as many vectors as one has lanes; lane i of the result is the fold of v[i], by the same
// tree as `fold`.
template <class V, class F, int Segment = int(sizeof(V) / sizeof(V{}[0]))>
INLINE V fold_each(const V* v, F f) {
  constexpr int W = sizeof(V) / sizeof(V{}[0]);
  if constexpr (Segment == 1) {
    return v[0];
  } else {
    constexpr auto lanes = std::make_integer_sequence<int, W>();
    V folded[Segment / 2];
    _Pragma("GCC unroll 8") for (int i = 0; i < Segment / 2; ++i) folded[i] =
        f(halves<Segment, false>(v[2 * i], v[2 * i + 1], lanes),
          halves<Segment, true>(v[2 * i], v[2 * i + 1], lanes));
    return fold_each<V, F, Segment / 2>(folded, f);
  }
}

// The lower halves of the lanes of a, then of b.
template <int... I>
INLINE vec<int32_t> low_halves(vec<int64_t> a, vec<int64_t> b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector((vec<int32_t>)a, (vec<int32_t>)b, (2 * I)...);
}
INLINE vec<int32_t> low_halves(vec<int64_t> a, vec<int64_t> b) {
  return low_halves(a, b, std::make_integer_sequence<int, kWidth<int32_t>>());
}

template <class T>
INLINE bool any_set(vec<bits<T>> mask) {
#if SOFTMAX_LEVEL == 4
  return _mm512_test_epi64_mask((__m512i)mask, (__m512i)mask) != 0;
#elif SOFTMAX_LEVEL == 3
  return !_mm256_testz_si256((__m256i)mask, (__m256i)mask);
#elif SOFTMAX_LEVEL == 2
  return !_mm_testz_si128((__m128i)mask, (__m128i)mask);
#else
  return fold(mask, [](auto a, auto b) INLINE_LAMBDA { return a | b; })[0] != 0;
#endif
}

// Which lanes of a mask are set, a bit to a lane.
INLINE uint64_t set_lanes(vec<int32_t> mask) {
#if SOFTMAX_LEVEL == 4
  return _mm512_movepi32_mask((__m512i)mask);
#elif SOFTMAX_LEVEL == 3
  return uint64_t(_mm256_movemask_ps((__m256)mask));
#elif SOFTMAX_LEVEL == 2
  return uint64_t(_mm_movemask_ps((__m128)mask));
#else
  const vec<int32_t> bit = {1, 2, 4, 8};
  return uint64_t(fold(mask & bit, [](auto a, auto b) INLINE_LAMBDA { return a | b; })[0]);
#endif
}

template <class T>
INLINE vec<T> absolute(vec<T> v) {
  return (vec<T>)((vec<bits<T>>)v & std::numeric_limits<bits<T>>::max());
}

// a b - product, exactly, where product is the rounded a b.
#if SOFTMAX_LEVEL == 2
INLINE vec<float> product_error(vec<float> a, vec<float> b, vec<float> product) {
  vec<double> low = widen_low(a) * widen_low(b) - widen_low(product);
  vec<double> high = widen_high(a) * widen_high(b) - widen_high(product);
  return narrow(low, high);
}
INLINE vec<double> product_error(vec<double> a, vec<double> b, vec<double> product) {
  // Dekker: split each factor into halves whose products are exact.
  const double splitter = 0x1.0000002p+27;
  vec<double> ca = a * splitter, cb = b * splitter;
  vec<double> ah = ca - (ca - a), bh = cb - (cb - b);
  vec<double> al = a - ah, bl = b - bh;
  vec<double> error = ((ah * bh - product) + ah * bl + al * bh) + al * bl;
  return error == error ? error : splat(0.0);  // of numbers too large to be split
}
#else
template <class V>
INLINE V product_error(V a, V b, V product) {
  return fma(a, b, -product);
}
#endif

// a (b + b_lo), rounded once.
template <class V>
INLINE V product(V a, V b, V b_lo) {
#if SOFTMAX_LEVEL == 2
  V p = a * b;
  return p + (product_error(a, b, p) + a * b_lo);
#else
  return fma(a, b, a * b_lo);
#endif
}

// The same where it may be too large, of which no error can be taken.
template <class V>
INLINE V product_or_infinity(V a, V b, V b_lo) {
  V p = product(a, b, b_lo);
#if SOFTMAX_LEVEL == 2
  p = p == p ? p : a * b;
#endif
  return p;
}

// Exactly a - q s, where q is the rounded a / s.
template <class V>
INLINE V residual(V a, V q, V s) {
  V p = q * s;
  return (a - p) - product_error(q, s, p);
}

// Two numbers whose exact sum is a + b.
template <class V>
INLINE void two_sum(V a, V b, V& sum, V& error) {
  sum = a + b;
  V t = sum - a;
  error = (a - (sum - t)) + (b - t);
}
