// Elementwise: the two-class case.

// 1 / (1 + exp(-x)), times 2^-headroom above and below, so that no exponential overflows and the
// quotient alone underflows.  With exp(-x) = power (1 + a) the sum is power + 1 first, with what
// that loses, so that it is rounded once.
template <class T, int K>
INLINE group<T, K> sigmoid(const group<T, K>& x) {
  using C = exp_constants<T>;
  const T one = T(power_of_two(-C::headroom));
  const vec<T> lowest = splat(T(C::lowest * 0.693147180559945309));
  Frame<T> frame;
  frame.floor = single<T>(splat(T((C::headroom - C::bias) * 0.693147180559945309)));
  frame.rounder = single<T>(splat(C::magic + T(C::bias - C::headroom)));
  group<T, K> z, power, lost, base, rest;
  EACH z.v[k] = -larger(lowest, x.v[k]);
  const group<T, K> r = reduce_argument<false, false>(z, frame, power, lost);
  group<T, K> a = exp_tail(r);
  EACH a.v[k] = fma(a.v[k], r.v[k], splat(T(1)));
  EACH a.v[k] = a.v[k] * r.v[k];
  EACH base.v[k] = power.v[k] + one;
  EACH rest.v[k] = one - (base.v[k] - power.v[k]);
  EACH a.v[k] = base.v[k] + fma(power.v[k], a.v[k], rest.v[k]);
  EACH a.v[k] = one / a.v[k];
  return a;
}

// R / s^2, for s up to 1/3.
template <class T>
struct atanh_constants;

template <>
struct atanh_constants<float> {
  static constexpr float poly[] = {0x1.555500p-1f, 0x1.99d27cp-2f, 0x1.1eb612p-2f, 0x1.1ef86cp-2f};
};

template <>
struct atanh_constants<double> {
  static constexpr double poly[] = {
      0x1.5555555555535p-1, 0x1.99999999a0841p-2, 0x1.2492492085709p-2, 0x1.c71c741f8f647p-3,
      0x1.745cb39afc72cp-3, 0x1.3b1de32da3765p-3, 0x1.106768198fbc2p-3, 0x1.efdd8b42fef7dp-4,
      0x1.559c2c2f9038cp-4, 0x1.5c8a787b577aap-3};
};

// max(x, 0) + log(1 + e) with e = exp(-|x|), both of the same sign.  With s = e / (2 + e) the
// logarithm is 2 atanh(s) = e - s (e - R), where R = 2 s^2 (1 / 3 + s^2 / 5 + ...) is a polynomial
// in s^2 up to 1/9: e itself leads, and what is rounded before is multiplied by s.
template <class T, int K>
INLINE group<T, K> softplus(const group<T, K>& x) {
  using C = exp_constants<T>;
  Frame<T> frame;
  frame.floor = single<T>(splat(T(C::lowest * 0.693147180559945309)));
  frame.rounder = single<T>(splat(C::magic + T(C::headroom + C::bias)));
  const T unscale = T(power_of_two(-C::headroom));
  group<T, K> e, s, z, tail;
  EACH e.v[k] = -absolute<T>(x.v[k]);
  e = exp_whole<false, false>(e, frame);
  EACH e.v[k] = e.v[k] * unscale;
  EACH s.v[k] = e.v[k] / (T(2) + e.v[k]);
  EACH z.v[k] = s.v[k] * s.v[k];
  constexpr auto& poly = atanh_constants<T>::poly;
  constexpr int terms = int(sizeof(poly) / sizeof(T));
  EACH tail.v[k] = splat(poly[terms - 1]);
  _Pragma("GCC unroll 16") for (int i = terms - 2; i >= 0; --i) EACH tail.v[k] =
      fma(tail.v[k], z.v[k], splat(poly[i]));
  EACH tail.v[k] = e.v[k] - tail.v[k] * z.v[k];
  EACH tail.v[k] = fma(-s.v[k], tail.v[k], e.v[k]);
  EACH tail.v[k] = tail.v[k] + larger(splat(T(0)), x.v[k]);
  return tail;
}

template <class T, int K>
INLINE group<T, K> log_sigmoid(group<T, K> x) {
  EACH x.v[k] = -x.v[k];
  x = softplus(x);
  EACH x.v[k] = -x.v[k];
  return x;
}

// log(p / (1 - p)), around 1/2 as 2 atanh(2 p - 1); in extended precision, one number at a time.
inline double logit(double p) {
  const long double x = p, s = 2 * x - 1;
  if (s > -0.5L && s < 0.5L) return double(2 * atanhl(s));
  return double(logl(x) - log1pl(-x));
}

// Entries are fetched so many bytes ahead of results that are streamed: whether the hardware sees
// them coming depends on where in memory the loop happens to lie.
constexpr int64_t kStreamAhead = 2048;

// `Streams`: y begins with a line, and results are written past the caches.
template <bool Streams, class D, class T, class F>
INLINE void each_group(const D* x, D* y, int64_t n, F f) {
  constexpr int K = 4, W = kWidth<T>;
  const auto apply = [&](const D* from, auto put) INLINE_LAMBDA {
    group<T, K> v;
    EACH v.v[k] = load_widened(from + k * W);
    v = f(v);
    EACH put(k * W, v.v[k]);
  };
  const Ahead<T, int(sizeof(D))> ahead = {Streams ? (const char*)x + kStreamAhead : nullptr};
  int64_t i = 0;
  for (; i + K * W <= n; i += K * W) {
    ahead.template meanwhile<K>(i);
    apply(x + i, [&](int at, vec<T> v) INLINE_LAMBDA {
      if constexpr (Streams)
        stream(y + i + at, v);
      else
        store_rounded(y + i + at, v);
    });
  }
  if (i < n) {
    D tail[K * W] = {};
    std::memcpy(tail, x + i, size_t(n - i) * sizeof(D));
    apply(tail, [&](int at, vec<T> v) INLINE_LAMBDA { store_rounded(tail + at, v); });
    std::memcpy(y + i, tail, size_t(n - i) * sizeof(D));
  }
}

template <bool Streams, class D, class T>
void run_contiguous(Op op, const D* x, D* y, int64_t n) {
  constexpr int K = 4;
  using G = group<T, K>;
  const auto each = [&](auto f) { each_group<Streams, D, T>(x, y, n, f); };
  switch (op) {
    case Op::sigmoid:
      return each([](const G& v) INLINE_LAMBDA { return sigmoid(v); });
    case Op::log_sigmoid:
      return each([](const G& v) INLINE_LAMBDA { return log_sigmoid(v); });
    case Op::softplus:
      return each([](const G& v) INLINE_LAMBDA { return softplus(v); });
    default:
      for (int64_t i = 0; i < n; ++i) round_to(y[i], T(logit(double(widened(x[i])))));
  }
}

template <class D, class T>
void run_elements(Op op, bool stream, const char* x, int64_t x_step, char* y, int64_t y_step,
                  int64_t n) {
  if (x_step == int64_t(sizeof(D)) && y_step == x_step) {
    int64_t lead = 0;
    if constexpr (std::is_same_v<D, float>)
      if (stream) {
        lead = std::min(n, to_alignment((const D*)y));
        run_contiguous<true, D, T>(op, (const D*)x + lead, (D*)y + lead, n - lead);
        n = lead;
      }
    return run_contiguous<false, D, T>(op, (const D*)x, (D*)y, n);
  }
  constexpr int64_t block = 1024;
  T buffer[block];
  for (int64_t i = 0; i < n; i += block) {
    const int64_t count = n - i < block ? n - i : block;
    gather<D>(x + i * x_step, x_step, count, buffer);
    run_contiguous<false, T, T>(op, buffer, buffer, count);
    scatter<D>(buffer, count, y + i * y_step, y_step);
  }
}
