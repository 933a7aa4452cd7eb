// Exponentials of doubles, and of floats in double, for sums whose terms may cancel or that are
// next to 1.  Those of doubles come in two numbers, e and what it could not hold, `low`.

// One slice in all lanes, or a slice in each.
template <class T, bool Shifted, bool Tempered>
struct Exponent;

// exp(x / T) 2^(headroom - N) for float entries: t = 4 x log2(e) / T - origin, where origin is 4 N,
// is one fused step in double, so nothing is split.  Of t = whole + f comes 2^(whole/4) 2^(f/4).
template <bool Shifted, bool Tempered>
struct Exponent<float, Shifted, Tempered> {
  // A kept float is a normal number while 2^(t/4) is above 2^-226.
  static constexpr int headroom = 100;
  static constexpr int bias = 4 * (headroom + exp_constants<double>::bias);
  static constexpr double magic = exp_constants<double>::magic + bias;
  // Where products are rounded, or too large, the largest entry is subtracted first, in double.
  static constexpr bool subtracts = Shifted || SOFTMAX_LEVEL == 2;
  static constexpr double direct = 0x1p30;
  // The bits of 2^(j / 4), but for those of an exponent in quarters: j << 50.  Twice, for look_up.
  alignas(64) static constexpr int64_t powers[8] = {
      0, -0xf901f5ce48eb, -0x15f619980c433, -0x1176066a52c53,
      0, -0xf901f5ce48eb, -0x15f619980c433, -0x1176066a52c53};
  // (2^(f/4) - 1) / f for |f| <= 1/2, that is 2^(f/4) with relative error 2^-50.3 (minimax).
  static constexpr double poly[] = {
      0x1.62e42fefa3a03p-3,  0x1.ebfbdff834790p-7,  0x1.c6b08d701ec96p-11, 0x1.3b2ab636462f3p-15,
      0x1.5d8801034c29fp-20, 0x1.431e5d227c33ap-25, 0x1.ffad7282c9da2p-31};

  vec<double> scale, origin, max;

  // For entries up to `largest`, with 1 / T.
  INLINE Exponent(vec<double> largest, vec<double> inverse)
      : scale(scale_of(inverse)), origin(splat(0.0)), max(largest) {
    constexpr double fours = 4 * exp_constants<double>::magic;
    if constexpr (!subtracts) origin = (max * scale + fours) - fours;
  }

  // 4 log2(e) / T, or the largest number.
  static INLINE vec<double> scale_of(vec<double> inverse) {
    const vec<double> most = splat(std::numeric_limits<double>::max());
    const vec<double> scale = inverse * (4 * exp_constants<double>::log2e);
    return scale < most ? scale : most;
  }

  // Exponentials are 2^(headroom - n) exp(-shift) times what they stand for.
  vec<double> n() const { return origin / 4; }
  vec<double> shift() const { return subtracts ? max : splat(0.0); }

  template <int K>
  INLINE void operator()(const group<double, K>& x, group<double, K>& e, group<double, K>&) const {
    constexpr int terms = int(sizeof poly / sizeof(double));
    group<double, K> t, whole, f, power;
    EACH t.v[k] = fma(subtracts ? x.v[k] - max : x.v[k], scale, -origin);
    EACH t.v[k] = larger(splat(double(-bias)), t.v[k]);
    EACH whole.v[k] = t.v[k] + magic;
    EACH power.v[k] = (vec<double>)(((vec<uint64_t>)whole.v[k] << 50) +
                                    (vec<uint64_t>)look_up(powers, (vec<int64_t>)whole.v[k]));
    EACH f.v[k] = fraction(t.v[k], whole.v[k] - magic);
    EACH e.v[k] = splat(poly[terms - 1]);
    _Pragma("GCC unroll 16") for (int i = terms - 2; i >= 0; --i) EACH e.v[k] =
        fma(e.v[k], f.v[k], splat(poly[i]));
    EACH e.v[k] = fma(e.v[k] * f.v[k], power.v[k], power.v[k]);
  }
};

template <bool Shifted, bool Tempered>
struct Exponent<double, Shifted, Tempered> {
  using C = exp_constants<double>;
  static constexpr int headroom = C::headroom;

  Frame<double> frame;

  vec<double> n() const { return (C::magic + (C::headroom + C::bias)) - frame.rounder.v[0]; }
  vec<double> shift() const { return frame.shift.v[0]; }

  template <int K>
  INLINE void operator()(const group<double, K>& x, group<double, K>& e,
                         group<double, K>& low) const {
    exp_scaled_pair<Shifted, Tempered>(x, frame, e, low);
  }
};
