// Logarithms of sums of few floats.  Exponentials, counted from the largest entry, become whole
// numbers, in a unit of about 2^-27.  A vector holds twice as many of these as of doubles, and they
// add up without rounding in any order: those of many slices, one to a lane (few_tile.inl), or of
// one slice.  The logarithm takes no more than floats, too.

constexpr int64_t kFew = 16;

// Of fewer entries than this, which are near the logarithm of their sum and of which one is exact,
// results need not be taken again from 0.5 on: their unit is half as large, and exponentials are
// not coarse.
constexpr int64_t kFewer = 8;

// Whether all that a job of floats asks for are such.
inline bool sums_few(const Job& job) { return job.only_sums() && job.n > 0 && job.n <= kFew; }

// As kNextToZero.
INLINE float few_next_to_zero(int64_t n) { return n < kFewer ? kNextToZero / 2 : kNextToZero; }

// The largest term is `unit` (exp_constants) times two to so many.
constexpr int few_scale(int64_t n) { return n < kFewer ? 27 : 26; }
static_assert(kFew * exp_constants<float>::unit < 1 << (31 - few_scale(kFew)));
static_assert((kFewer - 1) * exp_constants<float>::unit < 1 << (31 - few_scale(kFewer - 1)));

// Numbers for look_up, which takes their bits.
struct FewTable {
  alignas(64) int32_t bits[16];

  constexpr FewTable(const float (&numbers)[8]) : bits() {
    for (int i = 0; i < 16; ++i) bits[i] = std::bit_cast<int32_t>(numbers[i % 8]);
  }
  INLINE vec<int32_t> operator[](vec<int32_t> index) const { return look_up(bits, index); }
};

struct few_constants {
  // Of sums at each eighth of a power of two from `unit` on: 1 / s, and log(s / unit), of which
  // the first are so chosen that the second are multiples of 2^-20, to 2^-33.
  static constexpr FewTable inverse =
      FewTable({0x1.4ce578p-1f, 0x1.33bec8p-1f, 0x1.1e13d8p-1f, 0x1.0bd242p-1f, 0x1.ecedcep-2f,
                0x1.b7f20ap-2f, 0x1.8d8462p-2f, 0x1.6a7312p-2f});
  static constexpr FewTable log =
      FewTable({-0x1.4ep-13f, 0x1.412p-4f, 0x1.3616p-3f, 0x1.bd23p-3f, 0x1.33aa4p-2f, 0x1.a81bcp-2f,
                0x1.07fa4p-1f, 0x1.37432p-1f});
  static constexpr float ln2_hi = 0x1.62e42p-1f, ln2_lo = 0x1.fdf474p-22f;  // the first, too
  // (log(1 + f) - f) / f^2 for |f| <= 1/16: the logarithm to 2^-30.6.
  static constexpr float poly[] = {-0x1.ffffap-2f, 0x1.5554f6p-2f, -0x1.010c2ep-2f, 0x1.9b7fa2p-3f};
};

// Of slices one to a lane: the largest entries, nan passed over, and the sums of all terms, with
// the bits that any of them has: of a nan, or beside infinity, the sign.
struct FewSums {
  vec<float> top;
  vec<uint32_t> sum{}, bits{};

  INLINE vec<int32_t> without_number() const { return (vec<int32_t>)bits < 0; }
  // Those whose logarithms are not known from these.
  INLINE uint64_t odd() const {
    return set_lanes(without_number() & (top == std::numeric_limits<float>::infinity()));
  }
};

// How the terms are counted.
INLINE Frame<float> few_frame(int64_t n, vec<float> top) {
  using E = exp_constants<float>;
  const float most = std::numeric_limits<float>::max();
  Frame<float> frame;
  frame.shift = single<float>(absolute<float>(top) <= most ? top : splat(0.0f));
  frame.floor = single<float>(splat(-40.0f));  // less is nothing
  frame.rounder = single<float>(splat(E::frame_magic + float(few_scale(n) + E::bias)));
  return frame;
}

// Beside what exponentials are off by, x - top is rounded, by 2^-23 of the term where it still
// shows most.  Of entries made for it results were up to 1.83 units off (7 entries), and 1.57 (16).
template <bool Coarse, int K>
INLINE void add_few(const group<float, K>& x, const Frame<float>& frame, FewSums& sums) {
  const group<float, K> e = exp_scaled<true, false, Coarse>(x, frame);
  EACH {
    const vec<uint32_t> term = (vec<uint32_t>)nearest(e.v[k]);
    sums.sum += term, sums.bits |= term;
  }
}

// a b - 1, which is rounded once; on the way of all sums, so in one step where there is one.
INLINE vec<float> product_less_one(vec<float> a, vec<float> b) {
#if SOFTMAX_LEVEL == 2
  return -residual(splat(1.0f), a, b);
#else
  return fma(a, b, splat(-1.0f));
#endif
}

// top + log(sum / exp(top)), the sum being 2^k / inverse (1 + f).
INLINE vec<float> logarithms_of_few(int64_t n, const FewSums& of) {
  using C = few_constants;
  using E = exp_constants<float>;
  constexpr int eighth = E::mantissa - E::eighths;
  const auto as_float = [](vec<int32_t> v)
                            INLINE_LAMBDA { return __builtin_convertvector(v, vec<float>); };
  const uint32_t scale = few_scale(n),
                 one = std::bit_cast<uint32_t>(float(E::unit)) + (scale << E::mantissa);
  const vec<float> hi = as_float((vec<int32_t>)of.sum);
  const vec<float> lo = as_float((vec<int32_t>)(of.sum - (vec<uint32_t>)nearest(hi)));
  const vec<int32_t> above = (vec<int32_t>)((vec<uint32_t>)hi - (one - (1 << (eighth - 1))));
  const vec<int32_t> step = above >> eighth, power = above >> E::mantissa;
  const vec<float> inverse = (vec<float>)((vec<uint32_t>)C::inverse[step] -
                                          (((vec<uint32_t>)power + scale) << E::mantissa));
  const vec<float> k = as_float(power), f = fma(lo, inverse, product_less_one(hi, inverse));
  vec<float> q = splat(C::poly[3]);
  _Pragma("GCC unroll 4") for (int i = 2; i >= 0; --i) q = fma(q, f, splat(C::poly[i]));
  const vec<float> rest = fma(k, splat(C::ln2_lo), fma(f * f, q, f));
  const vec<float> log = fma(k, splat(C::ln2_hi), (vec<float>)C::log[step]);
  vec<float> result, lost;
  two_sum(of.top, log, result, lost);
  result = result + (lost + rest);
  result = of.top == -std::numeric_limits<float>::infinity() ? of.top : result;
  return of.without_number() ? splat(std::numeric_limits<float>::quiet_NaN()) : result;
}

// The result of one slice; false where it is odd.
template <class D>
bool run_few_alone(const Job& job, const Slice& slice) {
  constexpr int K = kFew / kWidth<float>;
  const int64_t n = job.n;
  const vec<float> lowest = splat(-std::numeric_limits<float>::infinity());
  const group<float, K> x = load_group<K>(entries<D, float>(job, slice, 0, n), int(n), lowest);
  vec<float> top = lowest;
  EACH top = larger(x.v[k], top);
  FewSums sums = {splat(horizontal_max<float>(top))};
  const Frame<float> frame = few_frame(n, sums.top);
  n < kFewer ? add_few<false>(x, frame, sums) : add_few<true>(x, frame, sums);
  sums.sum = fold(sums.sum, kSum);
  sums.bits = fold(sums.bits, [](auto a, auto b) INLINE_LAMBDA { return a | b; });
  if (sums.odd()) return false;
  const float result = logarithms_of_few(n, sums)[0];
  round_to(*(D*)slice.y,
           std::fabs(result) <= few_next_to_zero(n) ? settle_next_to_zero<D>(job, slice) : result);
  return true;
}
