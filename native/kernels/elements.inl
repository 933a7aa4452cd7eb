// Elementwise: the two-class case, from exp(-|x|), which never overflows.

template <class T>
struct TwoClass {
  vec<T> e;       // exp(-|x|)
  vec<T> scaled;  // times 2^headroom, where exp itself is subnormal or 0
};

template <class T>
INLINE TwoClass<T> exp_of_minus_abs(vec<T> x) {
  using C = exp_constants<T>;
  Frame<T> frame;
  frame.floor = single<T>(splat(T(C::lowest * 0.693147180559945309)));
  frame.rounder = single<T>(splat(C::magic + T(C::headroom + C::bias)));
  const vec<T> scaled = exp_scaled<false, false>(single<T>(-absolute<T>(x)), frame).v[0];
  return {scaled * T(power_of_two(-C::headroom)), scaled};
}

// 1 / (1 + e) for x > 0, e / (1 + e) for x < 0.
template <class T>
INLINE vec<T> sigmoid(vec<T> x) {
  using C = exp_constants<T>;
  const TwoClass<T> two = exp_of_minus_abs<T>(x);
  const vec<T> sum = T(1) + two.e, error = two.e - (sum - T(1));
  const vec<T> inverse = T(1) / sum;
  const vec<T> low = inverse * (residual(splat(T(1)), inverse, sum) - inverse * error);
  const T unscale = T(power_of_two(-C::headroom));
  const vec<T> numerator = x > T(0) ? splat(T(power_of_two(C::headroom))) : two.scaled;
  return product(numerator, inverse * unscale, low * unscale);
}

// max(x, 0) + log(1 + e): both terms have the same sign.
template <class T>
INLINE vec<T> softplus(vec<T> x) {
  return larger(x, splat(T(0))) + log1p(exp_of_minus_abs<T>(x).e) * (x == x ? splat(T(1)) : x);
}

template <class T>
INLINE vec<T> log_sigmoid(vec<T> x) {
  return -softplus<T>(-x);
}

// log(p / (1 - p)), around 1/2 as 2 atanh(2 p - 1); in extended precision, one number at a time.
inline double logit(double p) {
  const long double x = p, s = 2 * x - 1;
  if (s > -0.5L && s < 0.5L) return double(2 * atanhl(s));
  return double(logl(x) - log1pl(-x));
}

template <class T, class F>
INLINE void each_vector(const T* x, T* y, int64_t n, F f) {
  constexpr int W = kWidth<T>;
  int64_t i = 0;
  for (; i + W <= n; i += W) store(y + i, f(load(x + i)));
  if (i < n) store_first(y + i, int(n - i), f(load_first(x + i, int(n - i), splat(T(0)))));
}

template <class T>
void run_contiguous(Op op, const T* x, T* y, int64_t n) {
  switch (op) {
    case Op::sigmoid:
      return each_vector(x, y, n, [](vec<T> v) INLINE_LAMBDA { return sigmoid<T>(v); });
    case Op::log_sigmoid:
      return each_vector(x, y, n, [](vec<T> v) INLINE_LAMBDA { return log_sigmoid<T>(v); });
    case Op::softplus:
      return each_vector(x, y, n, [](vec<T> v) INLINE_LAMBDA { return softplus<T>(v); });
    default:
      for (int64_t i = 0; i < n; ++i) y[i] = T(logit(double(x[i])));
  }
}

template <class D, class T>
void run_elements(Op op, const char* x, int64_t x_step, char* y, int64_t y_step, int64_t n) {
  if (std::is_same_v<D, T> && x_step == int64_t(sizeof(D)) && y_step == x_step)
    return run_contiguous(op, (const T*)x, (T*)y, n);
  constexpr int64_t block = 1024;
  T buffer[block];
  for (int64_t i = 0; i < n; i += block) {
    const int64_t count = n - i < block ? n - i : block;
    gather<D>(x + i * x_step, x_step, count, buffer);
    run_contiguous(op, buffer, buffer, count);
    scatter<D>(buffer, count, y + i * y_step, y_step);
  }
}
