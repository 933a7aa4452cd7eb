// Logarithms that keep their relative accuracy next to zero.
//
// log(1 + x) for x >= 0: u + c = 1 + x exactly; u = 2^k m with m in [sqrt(1/2), sqrt(2)); with f =
// m - 1 and s = f / (2 + f), log(1 + f) = 2 atanh(s), a short polynomial in s^2 (the scheme of
// fdlibm's log1p).

template <class T>
struct log_constants;

template <>
struct log_constants<float> {
  static constexpr float ln2_hi = 0x1.62e3p-1f, ln2_lo = 0x1.2fefa2p-17f;
  static constexpr int32_t one = 0x3f800000, root_half = 0x3f3504f3, fraction = 0x007fffff;
  static constexpr float poly[] = {0x1.555554p-1f, 0x1.999bd4p-2f, 0x1.23f1a4p-2f, 0x1.ec1ce8p-3f};
};

template <>
struct log_constants<double> {
  static constexpr double ln2_hi = 0x1.62e42feep-1, ln2_lo = 0x1.a39ef35793c76p-33;
  static constexpr int64_t one = 0x3ff0000000000000, root_half = 0x3fe6a09e667f3bcd,
                           fraction = 0x000fffffffffffff;
  static constexpr double poly[] = {
      0x1.5555555555555p-1, 0x1.9999999999d0ep-2, 0x1.2492492439b6ep-2, 0x1.c71c724b3e078p-3,
      0x1.745ce1cccd1ffp-3, 0x1.3b202545acc0cp-3, 0x1.0f67147924510p-3, 0x1.0f107fffb5fb7p-3};
};

// log((u + c) 2^n) for u > 0 and a far smaller c.
template <class V>
INLINE V log_of(V u, V c, V n) {
  using T = std::remove_reference_t<decltype(V{}[0])>;
  using C = log_constants<T>;
  using E = exp_constants<T>;
  using B = vec<bits<T>>;
  B raised = (B)u + (C::one - C::root_half);
  // The exponent as a number: put it at the end of `magic`, whose unit is 1, and subtract that
  // again.
  B k_bits = (raised >> E::mantissa) - bits<T>(E::bias);
  V k = ((V)(k_bits + (B)splat(E::magic)) - E::magic) + n;
  V f = (V)((raised & C::fraction) + C::root_half) - T(1);
  V s = f / (T(2) + f), z = s * s;
  constexpr int terms = int(sizeof(C::poly) / sizeof(T));
  V r = splat(C::poly[terms - 1]);
  _Pragma("GCC unroll 16") for (int i = terms - 2; i >= 0; --i) r = fma(r, z, splat(C::poly[i]));
  r = r * z;
  V half_square = T(0.5) * f * f;
  V low = fma(k, splat(C::ln2_lo), c / u);
  V log = k * C::ln2_hi - ((half_square - (s * (half_square + r) + low)) - f);
  // At infinity the low part has no meaning; a nan stays one.
  return u < std::numeric_limits<T>::infinity() ? log : u;
}

template <class V>
INLINE V log1p(V x) {
  using T = std::remove_reference_t<decltype(V{}[0])>;
  V u, c;
  two_sum(splat(T(1)), x, u, c);
  return log_of(u, c, splat(T(0)));
}

// b 2^k as near to a as their bits show, and k.
struct Raised {
  vec<double> b, k;

  INLINE Raised(vec<double> a, vec<double> from) {
    using E = exp_constants<double>;
    using B = vec<uint64_t>;
    const B steps = ((B)a - (B)from + (uint64_t(1) << (E::mantissa - 1))) >> E::mantissa;
    k = (vec<double>)(steps + (B)splat(E::magic)) - E::magic;
    b = (vec<double>)((B)from + (steps << E::mantissa));
  }

  // k ln 2 + 2 atanh(s), with a relative error of 2^-35: for what ends as a float.
  INLINE vec<double> logarithm(vec<double> s) const {
    constexpr double ln2 = 0x1.62e42fefa39efp-1;
    constexpr double poly[] = {0x1.5555541c49d6ep-1, 0x1.999be43753aa2p-2, 0x1.23e7f8f18d5d6p-2,
                               0x1.edbdb0a386fe4p-3};
    const vec<double> z = s * s;
    vec<double> p = splat(poly[3]);
    _Pragma("GCC unroll 4") for (int i = 2; i >= 0; --i) p = fma(p, z, splat(poly[i]));
    return fma(k, splat(ln2), fma(p, z * s, s + s));
  }
};

// log(a / b) for a >= b: s = (a - b 2^k) / (a + b 2^k).
INLINE vec<double> log_quotient(vec<double> a, vec<double> b) {
  const Raised raised(a, b);
  return raised.logarithm((a - raised.b) / (a + raised.b));
}

// A slice's sum and its largest term, each in two parts; floats do without the second ones.
struct SumAndTop {
  vec<double> sum, sum_lo, top, top_lo;
};

// The sum over all entries but the largest.
template <class T>
INLINE vec<double> others_in(const SumAndTop& s) {
  return sizeof(T) == 4 ? s.sum - s.top : (s.sum - s.top) + (s.sum_lo - s.top_lo);
}

// Where it is less than this, relative to the largest, it is lost in the last places of the sum.
template <class T>
constexpr double kTinyRest = sizeof(T) == 4 ? 0x1p-26 : 0x1p-40;

template <class T>
INLINE vec<int64_t> shows_others(const SumAndTop& s) {
  return others_in<T>(s) > kTinyRest<T> * s.top;
}

// The logarithm of the sum, relative to the largest: to its last digit where the others show.
template <class T>
INLINE vec<double> log_of_sum(const SumAndTop& s) {
  return sizeof(T) == 4 ? log_quotient(s.sum, s.top) : log1p(others_in<T>(s) / s.top);
}

// `log` where the others show; else the logarithm from what they are when summed apart.
template <class T>
INLINE vec<double> log_apart(const SumAndTop& s, vec<double> others, vec<double> log) {
  const vec<double> rest = others / s.top, log1p_of_tiny = fma(rest * -0.5, rest, rest);
  return shows_others<T>(s) ? log : log1p_of_tiny;
}
