// The exponential, with the argument reduced before anything is rounded.
//
// x = n ln 2 + r with n = rint(x log2 e), so exp(x) = 2^n exp(r), |r| <= 0.35.  Peers subtract the
// maximum first, and the rounding of x - max is magnified by exp; here (but for few.inl, whose
// small terms show in a sum alone) the maximum only chooses the power of two: with the frame's N,
// exp(x) 2^-N is exact in its scaling.  n (ln 2 rounded to T) is a multiple of the last place of ln
// 2, so x - n ln 2 is exact in one fused step and only the small second part rounds (Cody & Waite).
// (mantissa, exponent) pairs: Dukhan & Ablavatski, arXiv 2001.04438.
//
// The floats of slices go down to eighths of a power of two, |r| <= 0.044, so that three terms of
// the polynomial do (a table of powers: Tang, ACM TOMS 15, 1989), which one register holds.

template <class T>
struct exp_constants;

template <>
struct exp_constants<float> {
  static constexpr float log2e = 0x1.715476p+0f;
  // Adding `magic` rounds to an integer, whose bits then stand at the end of the significand.
  static constexpr float magic = 0x1.8p+23f;
  static constexpr int mantissa = 23, bias = 127;
  // The same for the frames of slices, to an eighth.
  static constexpr int eighths = 3;
  static constexpr float frame_magic = 0x1.8p+20f;
  // Results are kept scaled by 2^headroom: entries down to the smallest subnormal of the final
  // result are still normal numbers, and the last multiplication does the gradual underflow,
  // rounding once. At `lowest`, where the final result rounds to 0, the biased exponent is 0 and so
  // is the power.
  static constexpr int headroom = 25, lowest = -headroom - bias;
  // Beyond |max| = direct the frame subtracts the maximum instead: exact wherever it matters
  // (Sterbenz).
  static constexpr float direct = 1024;
#if SOFTMAX_LEVEL == 2
  static constexpr float ln2[3] = {0x1.63p-1f, -0x1.bdp-13f, -0x1.05c61p-29f};
#else
  static constexpr float ln2[2] = {0x1.62e43p-1f, -0x1.05c61p-29f};
#endif
  static constexpr float poly[] = {0x1.fffff8p-2f, 0x1.55548cp-3f, 0x1.555b8ep-5f, 0x1.123d3ap-7f,
                                   0x1.685eecp-10f};
  // (exp(r) - 1 - r) / r^2 for r up to half an eighth of ln 2: exp(r) with relative error 2^-32,
  // and coarsely, 2^-25.
  static constexpr float near[] = {0x1p-1f, 0x1.555c7ep-3f, 0x1.555dacp-5f};
  static constexpr float coarse[] = {0x1.000876p-1f, 0x1.555662p-3f};
  // The bits of 2^(j/8) times 0x1.89cb7cp+0, but for those of an exponent in eighths: j << 20.  Of
  // all floats this factor rounds the eight best, to a twentieth of half a unit.  It stands in all
  // exponentials of a slice and cancels in their quotients.  Twice, for indices of four bits.
  alignas(64) static constexpr int32_t powers[16] = {
      0x44e5be, 0x46b7da, 0x4a26de, 0x4f5829, 0x4b3a3e, 0x47d424, 0x459202, 0x448e45,
      0x44e5be, 0x46b7da, 0x4a26de, 0x4f5829, 0x4b3a3e, 0x47d424, 0x459202, 0x448e45};
  static constexpr double unit = 0x1.89cb7cp+0;
  static constexpr int frame_lowest = lowest + 1;  // the smallest normal power
};

template <>
struct exp_constants<double> {
  static constexpr double log2e = 0x1.71547652b82fep+0;
  static constexpr double magic = 0x1.8p+52;
  static constexpr int mantissa = 52, bias = 1023;
  static constexpr double frame_magic = magic, unit = 1;
  static constexpr int headroom = 256, lowest = -headroom - bias, frame_lowest = lowest;
  static constexpr double direct = 4096;
#if SOFTMAX_LEVEL == 2
  static constexpr double ln2[3] = {0x1.62e42fefa0000p-1, 0x1.cf79abc9e0000p-40,
                                    0x1.d9cc01f97b57ap-79};
#else
  static constexpr double ln2[2] = {0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56};
#endif
  static constexpr double poly[] = {
      0x1.000000000000cp-1,  0x1.5555555555514p-3,  0x1.555555554fe0fp-5,  0x1.111111112156ep-7,
      0x1.6c16c1860884dp-10, 0x1.a01a014c90b83p-13, 0x1.a01995a9abe28p-16, 0x1.71ded963e5cccp-19,
      0x1.28b1133cf8ecbp-22, 0x1.adf75510cf10bp-26};
};

// K vectors side by side, one operation at a time: a chain of dependent steps keeps the units busy
// only if several chains advance together.  What returns a group has to be INLINE: GCC 12 returns a
// group of one in a register whose upper part it has cleared.
template <class T, int K>
struct group {
  vec<T> v[K];

  // A of them, from `first` on.
  template <int A>
  INLINE group<T, A> part(int first) const {
    group<T, A> g;
    for (int k = 0; k < A; ++k) g.v[k] = v[first + k];
    return g;
  }
  template <int A>
  INLINE void put(int first, const group<T, A>& g) {
    for (int k = 0; k < A; ++k) v[first + k] = g.v[k];
  }
};

// Of K vectors, those whose exponentials are computed side by side: of floats fewer where the
// constants take most of sixteen registers; the chains of doubles are too long for that.
constexpr int kFloatsAbreast = SOFTMAX_LEVEL == 2 ? 1 : SOFTMAX_LEVEL == 3 ? 2 : 8;
template <class T, int K>
constexpr int kAbreast = sizeof(T) == 8 || K <= kFloatsAbreast ? K
                         : K % kFloatsAbreast == 0             ? kFloatsAbreast
                                                               : 1;

template <class T>
INLINE group<T, 1> single(vec<T> v) {
  group<T, 1> g;
  g.v[0] = v;
  return g;
}

#define EACH _Pragma("GCC unroll 8") for (int k = 0; k < K; ++k)

// How entries are turned into numbers near 1: exp((x - shift) / temperature) 2^(headroom - N), for
// floats times `unit`.  One frame for all vectors of a group (F = 1: a row), or one for each (F =
// K: columns).
template <class T, int F = 1>
struct Frame {
  group<T, F> shift;    // 0, or the maximum where that is beyond `direct`
  group<T, F> floor;    // entries below, -inf among them, give 0
  group<T, F> rounder;  // magic constant that also carries -N, the headroom and the bias
  group<T, F> inverse, inverse_lo;  // 1 / temperature, in two parts

  // That of A vectors from `first` on.
  template <int A>
  INLINE auto part(int first) const {
    if constexpr (F == 1)
      return *this;
    else
      return Frame<T, A>{shift.template part<A>(first), floor.template part<A>(first),
                         rounder.template part<A>(first), inverse.template part<A>(first),
                         inverse_lo.template part<A>(first)};
  }
};

// What f makes of K vectors of floats, with AVX2 a few at a time: it gets those, their frame and
// the number of the first.
template <int K, int F, class Exp>
INLINE group<float, K> in_parts(const group<float, K>& x, const Frame<float, F>& frame, Exp f) {
  constexpr int A = SOFTMAX_LEVEL == 3 ? kAbreast<float, K> : K;
  group<float, K> e;
  _Pragma("GCC unroll 16") for (int first = 0; first < K; first += A)
      e.put(first, f(x.template part<A>(first), frame.template part<A>(first), first));
  return e;
}

#define OF(member) frame.member.v[F == 1 ? 0 : k]

// The argument x = n ln 2 + r + lost in the frame, where `lost` is what r could not hold; the power
// of two comes as a number, ready to multiply with.
template <bool Shifted, bool Tempered, class T, int K, int F>
INLINE group<T, K> reduce_argument(const group<T, K>& x, const Frame<T, F>& frame,
                                   group<T, K>& power, group<T, K>& lost) {
  using C = exp_constants<T>;
  group<T, K> entry, z, low, t, n, exact, r;
  EACH entry.v[k] = Shifted ? x.v[k] - OF(shift) : x.v[k];
  EACH z.v[k] = larger(OF(floor), entry.v[k]);
  if constexpr (Tempered) {
    group<T, K> d = z;
    EACH z.v[k] = d.v[k] * OF(inverse);
    EACH low.v[k] = fma(d.v[k], OF(inverse_lo), product_error(d.v[k], OF(inverse), z.v[k]));
  }
  EACH t.v[k] = fma(z.v[k], splat(C::log2e), OF(rounder));
  EACH n.v[k] = t.v[k] - OF(rounder);
  EACH exact.v[k] = fma(n.v[k], splat(-C::ln2[0]), z.v[k]);
#if SOFTMAX_LEVEL == 2
  // The products with the first two parts are exact; the third is added to what the second leaves.
  EACH r.v[k] = exact.v[k] - n.v[k] * C::ln2[1];
  EACH lost.v[k] = (exact.v[k] - r.v[k]) - n.v[k] * C::ln2[1];
  EACH low.v[k] = (Tempered ? low.v[k] : splat(T(0))) - n.v[k] * C::ln2[2];
  EACH exact.v[k] = r.v[k];
  EACH r.v[k] = exact.v[k] + low.v[k];
  EACH lost.v[k] = lost.v[k] + ((exact.v[k] - r.v[k]) + low.v[k]);
#else
  if constexpr (Tempered) {
    EACH low.v[k] = fma(n.v[k], splat(-C::ln2[1]), low.v[k]);
    EACH r.v[k] = exact.v[k] + low.v[k];
    EACH lost.v[k] = (exact.v[k] - r.v[k]) + low.v[k];
  } else {
    EACH r.v[k] = fma(n.v[k], splat(-C::ln2[1]), exact.v[k]);
    EACH lost.v[k] = fma(n.v[k], splat(-C::ln2[1]), exact.v[k] - r.v[k]);
  }
#endif
  // The integer in t is relative to N and biased: moved up it is the power of two.
  EACH power.v[k] = (vec<T>)((vec<bits<T>>)t.v[k] << C::mantissa);
  // At temperatures so high that the floor is out of range -inf is below it all the same.
  if constexpr (Tempered) EACH power.v[k] = entry.v[k] < OF(floor) ? splat(T(0)) : power.v[k];
  return r;
}

// (exp(r) - 1 - r) / r^2
template <class T, int K>
INLINE group<T, K> exp_tail(const group<T, K>& r) {
  using C = exp_constants<T>;
  constexpr int terms = int(sizeof(C::poly) / sizeof(T));
  group<T, K> q;
  EACH q.v[k] = splat(C::poly[terms - 1]);
  _Pragma("GCC unroll 16") for (int i = terms - 2; i >= 0; --i) EACH q.v[k] =
      fma(q.v[k], r.v[k], splat(C::poly[i]));
  return q;
}

// exp(x) in the frame: with p = exp(r) - 1 and a power of two (times `unit`) it is power (1 + p).
// Coarse exponentials show in nothing but the logarithm of their sum, max + log(sum / exp(max)).
// They leave out a term of the polynomial and, where r is one fused step, the second part of ln 2:
// that is, 2^-28.4 of x.
template <bool Shifted, bool Tempered, bool Coarse = false, int K, int F>
INLINE group<float, K> exp_abreast(const group<float, K>& x, const Frame<float, F>& frame,
                                   group<float, K>* lost = nullptr) {
  using C = exp_constants<float>;
  group<float, K> d, z, low, t, n, r, q, square, p, power, e;
  EACH d.v[k] = Shifted ? x.v[k] - OF(shift) : x.v[k];
  z = d;
  if constexpr (Tempered) {
    EACH z.v[k] = d.v[k] * OF(inverse);
    EACH low.v[k] = fma(d.v[k], OF(inverse_lo), product_error(d.v[k], OF(inverse), z.v[k]));
  }
  EACH t.v[k] = fma(z.v[k], splat(C::log2e), OF(rounder));
  EACH n.v[k] = t.v[k] - OF(rounder);
  EACH r.v[k] = fma(n.v[k], splat(-C::ln2[0]), z.v[k]);
  constexpr int parts = int(sizeof C::ln2 / sizeof(float));
  constexpr int steps = Coarse && parts == 2 ? 1 : parts;
  for (int i = 1; i < steps; ++i) EACH r.v[k] = fma(n.v[k], splat(-C::ln2[i]), r.v[k]);
  if constexpr (Tempered) EACH r.v[k] = r.v[k] + low.v[k];
  // The integer in t is relative to N and biased: moved up it is the exponent.
  EACH power.v[k] = (vec<float>)(((vec<uint32_t>)t.v[k] << (C::mantissa - C::eighths)) +
                                 (vec<uint32_t>)look_up(C::powers, (vec<int32_t>)t.v[k]));
  if constexpr (Coarse) {
    EACH q.v[k] = fma(r.v[k], splat(C::coarse[1]), splat(C::coarse[0]));
  } else {
    EACH q.v[k] = fma(r.v[k], splat(C::near[2]), splat(C::near[1]));
    EACH q.v[k] = fma(q.v[k], r.v[k], splat(C::near[0]));
  }
  EACH square.v[k] = r.v[k] * r.v[k];
  EACH p.v[k] = fma(q.v[k], square.v[k], r.v[k]);
  EACH e.v[k] = fma(power.v[k], p.v[k], power.v[k]);
  if (lost) EACH lost->v[k] = fma(power.v[k], p.v[k], power.v[k] - e.v[k]);
  EACH e.v[k] = d.v[k] < OF(floor) ? splat(0.0f) : e.v[k];
  return e;
}

#undef OF

// The same of any number.
template <bool Shifted, bool Tempered, bool Coarse = false, int K, int F>
INLINE group<float, K> exp_scaled(const group<float, K>& x, const Frame<float, F>& frame) {
  return in_parts(x, frame, [](const auto& part, const auto& its, int) INLINE_LAMBDA {
    return exp_abreast<Shifted, Tempered, Coarse>(part, its);
  });
}

// The polynomial alone: doubles, and floats that stand for themselves.
template <bool Shifted, bool Tempered, class T, int K, int F>
INLINE group<T, K> exp_whole(const group<T, K>& x, const Frame<T, F>& frame) {
  group<T, K> power, lost;
  const group<T, K> r = reduce_argument<Shifted, Tempered>(x, frame, power, lost);
  group<T, K> p = exp_tail(r);
  EACH p.v[k] = fma(p.v[k], r.v[k], splat(T(1)));
  EACH p.v[k] = fma(p.v[k], r.v[k], splat(T(1)));
  // A multiplication, unlike an addition of bits, lets a nan through.
  EACH p.v[k] = p.v[k] * power.v[k];
  return p;
}

// Doubles are never coarse.
template <bool Shifted, bool Tempered, bool = false, int K, int F>
INLINE group<double, K> exp_scaled(const group<double, K>& x, const Frame<double, F>& frame) {
  return exp_whole<Shifted, Tempered>(x, frame);
}

// The same from the even and the odd terms, which do not wait for each other.
template <int K>
INLINE group<double, K> exp_tail(const group<double, K>& r, const group<double, K>& square) {
  using C = exp_constants<double>;
  constexpr int terms = int(sizeof(C::poly) / sizeof(double));
  static_assert(terms % 2 == 0);
  group<double, K> even, odd;
  EACH even.v[k] = splat(C::poly[terms - 2]);
  EACH odd.v[k] = splat(C::poly[terms - 1]);
  _Pragma("GCC unroll 16") for (int i = terms - 4; i >= 0; i -= 2) {
    EACH even.v[k] = fma(even.v[k], square.v[k], splat(C::poly[i]));
    EACH odd.v[k] = fma(odd.v[k], square.v[k], splat(C::poly[i + 1]));
  }
  EACH even.v[k] = fma(odd.v[k], r.v[k], even.v[k]);
  return even;
}

// The same exponential as a sum of two numbers, to about a twelfth of a unit of the first.
template <bool Shifted, bool Tempered, int K, int F>
INLINE void exp_scaled_pair(const group<float, K>& x, const Frame<float, F>& frame,
                            group<float, K>& hi, group<float, K>& lo) {
  hi = in_parts(x, frame, [&](auto part, const auto& its, int first) INLINE_LAMBDA {
    auto low = part;
    part = exp_abreast<Shifted, Tempered>(part, its, &low);
    lo.put(first, low);
    return part;
  });
}

template <bool Shifted, bool Tempered, int K, int F>
INLINE void exp_scaled_pair(const group<double, K>& x, const Frame<double, F>& frame,
                            group<double, K>& hi, group<double, K>& lo) {
  using T = double;
  group<T, K> power, lost;
  const group<T, K> r = reduce_argument<Shifted, Tempered>(x, frame, power, lost);
  group<T, K> square;
  EACH square.v[k] = r.v[k] * r.v[k];
  const group<T, K> q = exp_tail(r, square);
  EACH {
    const vec<T> one_plus = T(1) + r.v[k];
    const vec<T> rest = (r.v[k] - (one_plus - T(1))) + lost.v[k];
    const vec<T> tail = fma(q.v[k], square.v[k], rest);
    const vec<T> p = one_plus + tail;
    hi.v[k] = p * power.v[k];
    lo.v[k] = (tail - (p - one_plus)) * power.v[k];
  }
}
