// Precise: the operations whose results cancel or that few call.  Each slice is widened to double
// as a whole; sums are compensated.  For float and the 16-bit types every step is then exact for
// the purpose.

// The sum of a[i] b[i] as if in twice the precision (Ogita, Rump & Oishi's Dot2).
inline Pair dot(const double* a, const double* b, int64_t n) {
  constexpr int W = kWidth<double>;
  vec<double> sum = splat(0.0), low = splat(0.0);
  for (int64_t i = 0; i < n; i += W) {
    const int here = n - i < W ? int(n - i) : W;
    const vec<double> x = here == W ? load(a + i) : load_first(a + i, here, splat(0.0));
    const vec<double> y = here == W ? load(b + i) : load_first(b + i, here, splat(0.0));
    const vec<double> term = x * y;
    vec<double> next, error;
    two_sum(sum, term, next, error);
    low = low + (error + product_error(x, y, term));
    sum = next;
  }
  double total = 0, rest = 0;
  for (int j = 0; j < W; ++j) {
    const double next = total + sum[j], t = next - total;
    rest += ((total - (next - t)) + (sum[j] - t)) + low[j];
    total = next;
  }
  const double result = total + rest;
  return {result, rest - (result - total)};
}

struct Exponentials;
struct Terms;

inline Pair operator+(Pair a, Pair b) {
  const double sum = a.hi + b.hi, t = sum - a.hi;
  const double error = ((a.hi - (sum - t)) + (b.hi - t)) + (a.lo + b.lo);
  const double whole = sum + error;
  return {whole, error - (whole - sum)};
}

// A slice in double with the exponentials of its entries, all in one scale.
struct PreciseSlice {
  int64_t n = 0;
  double* x = nullptr;                   // -inf for entries that do not take part
  double *e = nullptr, *e_lo = nullptr;  // exponentials in two parts
  double max = -std::numeric_limits<double>::infinity();
  int64_t top = 0;         // the position of one maximum
  Pair sum{0, 0};          // of e
  double rest = 0;         // the sum without the top entry, relative to the top entry
  bool any = false;        // an entry takes part
  bool undefined = false;  // no distribution: a nan, several +inf, nothing but -inf
};

template <class D>
void load_slice(const Job& job, const Slice& slice, PreciseSlice& s) {
  s.n = job.n;
  s.x = scratch<double>(padded<double>(job.n));
  gather<D>(slice.x, job.x.along, job.n, s.x);
  s.any = takes_part(job, slice);
  if (slice.where) leave_out(s.x, slice.where, job.where.along, job.n);
}

inline Pair quotient(Pair a, Pair b) {
  const double q = a.hi / b.hi;
  const double low = (std::fma(-q, b.hi, a.hi) + (a.lo - q * b.lo)) / b.hi;
  return Pair{q, 0} + Pair{low, 0};
}

inline double product(Pair a, Pair b) {
  const double p = a.hi * b.hi;
  return p + (std::fma(a.hi, b.hi, -p) + (a.lo * b.hi + a.hi * b.lo));
}

inline Pair sum_of(const double* a, int64_t n) {
  Pair sum = {0, 0};
  constexpr int W = kWidth<double>;
  vec<double> total = splat(0.0), low = splat(0.0);
  for (int64_t i = 0; i < n; i += W) {  // `a` is padded with zeros
    vec<double> next, error;
    two_sum(total, load(a + i), next, error);
    low = low + error;
    total = next;
  }
  for (int j = 0; j < W; ++j) sum = sum + Pair{total[j], low[j]};
  return sum;
}

template <bool Shifted, bool Tempered>
void exp_pairs(PreciseSlice& s, const Frame<double>& given) {
  const Frame<double> frame = given;  // in registers: the stores could otherwise alias it
  const vec<double> lowest = splat(-std::numeric_limits<double>::infinity());
  for_groups<double>(s.n, [&](auto size, int64_t i, int count) INLINE_LAMBDA {
    constexpr int K = decltype(size)::value, W = kWidth<double>;
    group<double, K> hi, lo;
    exp_scaled_pair<Shifted, Tempered>(load_group<K>(s.x + i, count, lowest), frame, hi, lo);
    EACH store(s.e + i + k * W, hi.v[k]);
    EACH store(s.e_lo + i + k * W, lo.v[k]);
  });
}

// Exponentials of (x - max) / T; at a limit of T, or with one +inf, they are 0 and 1.
inline void exponentiate(PreciseSlice& s, const Inverse<double>& inverse, double temperature) {
  const double inf = std::numeric_limits<double>::infinity();
  const int64_t room = padded<double>(s.n);
  s.e = scratch<double, Exponentials>(2 * room);
  s.e_lo = s.e + room;
  s.max = row_max(s.x, s.n);
  int64_t infinities = 0, missing = 0;
  for (int64_t i = 0; i < s.n; ++i) {
    infinities += s.x[i] == inf;
    missing += s.x[i] != s.x[i];
  }
  s.undefined = missing > 0 || infinities > 1 || (s.max == -inf && s.any);
  if (s.undefined || s.max == -inf) {
    std::fill(s.e, s.e + 2 * room, 0.0);
    return;
  }
  while (s.x[s.top] != s.max) ++s.top;
  // What stands behind the last entry counts for nothing.
  for (double* part : {s.e, s.e_lo}) std::fill(part + s.n, part + room, 0.0);
  if (infinities == 0 && temperature > 0 && temperature < inf) {
    State unit;
    const Frame<double> frame = frame_around(s.max, inverse, unit);
    const bool shifted = unit.shift != 0;
    if (inverse.tempered)
      shifted ? exp_pairs<true, true>(s, frame) : exp_pairs<false, true>(s, frame);
    else
      shifted ? exp_pairs<true, false>(s, frame) : exp_pairs<false, false>(s, frame);
    const Pair top = {s.e[s.top], s.e_lo[s.top]};
    s.e[s.top] = s.e_lo[s.top] = 0;
    const Pair others = sum_of(s.e, s.n) + sum_of(s.e_lo, s.n);
    s.e[s.top] = top.hi;
    s.e_lo[s.top] = top.lo;
    s.sum = others + top;
    s.rest = quotient(others, top).hi;
    return;
  }
  double count = 0;
  for (int64_t i = 0; i < s.n; ++i) {
    s.e[i] = (temperature == inf && infinities == 0 ? s.x[i] != -inf : s.x[i] == s.max) ? 1 : 0;
    s.e_lo[i] = 0;
    count += s.e[i];
  }
  s.sum = {count, 0};
  s.rest = count - 1;
}

// L + sum of p (max - x) / T: no term is negative.
inline double entropy(const PreciseSlice& s, const Inverse<double>& inverse, bool limit) {
  if (s.undefined) return std::numeric_limits<double>::quiet_NaN();
  if (s.max == -std::numeric_limits<double>::infinity()) return 0;
  double* z = scratch<double, Terms>(s.n);
  for (int64_t i = 0; i < s.n; ++i)
    z[i] = s.e[i] > 0 && s.x[i] != s.max && !limit ? (s.max - s.x[i]) * inverse.hi : 0;
  return log1p(splat(s.rest))[0] + quotient(dot(s.e, z, s.n), s.sum).hi;
}

// c - c_top in two parts, 0 where e is 0.
inline void take_relative(const PreciseSlice& s, double* c, double* c_lo) {
  const vec<double> top = splat(-c[s.top]), none = splat(0.0);
  for (int64_t i = 0; i < s.n; i += kWidth<double>) {
    const auto counts = load(s.e + i) > none;
    vec<double> hi, lo;
    two_sum(load(c + i), top, hi, lo);
    store(c + i, counts ? hi : none);
    store(c_lo + i, counts ? lo : none);
  }
}

// y = p (c - mean) / T.
inline void write_slopes(const PreciseSlice& s, const double* c, const double* c_lo, Pair mean,
                         double temperature, double* y) {
  const Pair share = quotient({1, 0}, s.sum);
  const vec<double> hi = splat(share.hi), lo = splat(share.lo), none = splat(0.0);
  const vec<double> mean_hi = splat(-mean.hi), mean_lo = splat(-mean.lo);
  for (int64_t i = 0; i < s.n; i += kWidth<double>) {
    const vec<double> e = load(s.e + i), p = e * hi;
    const vec<double> p_lo = product_error(e, hi, p) + (e * lo + load(s.e_lo + i) * hi);
    vec<double> d, d_lo;
    two_sum(load(c + i), mean_hi, d, d_lo);
    d_lo = d_lo + (load(c_lo + i) + mean_lo);
    vec<double> slope = p * d;
    slope = slope + (product_error(p, d, slope) + (p_lo * d + p * d_lo));
    // At temperature 0 the limit is flat: 0, not 0 / 0.
    if (temperature != 1) slope = slope == none ? slope : slope / temperature;
    store(y + i, e > none ? slope : none);
  }
}

// p (c - sum of p c) / T, with c taken relative to the top entry's, so that a p near 1 does not
// cancel.
template <class D>
void derivative(const Job& job, const Slice& slice, const PreciseSlice& s) {
  const int64_t room = padded<double>(s.n);
  double* c = scratch<double, Terms>(2 * room);
  double* c_lo = c + room;
  if (s.undefined || !(s.sum.hi > 0)) {
    std::fill(c, c + s.n, s.undefined ? std::numeric_limits<double>::quiet_NaN() : 0.0);
  } else {
    gather<D>(slice.second, job.second.along, s.n, c);
    std::fill(c + s.n, c + room, 0.0);
    take_relative(s, c, c_lo);
    const Pair sum = dot(s.e, c, s.n) + (dot(s.e_lo, c, s.n) + dot(s.e, c_lo, s.n));
    write_slopes(s, c, c_lo, quotient(sum, s.sum), slice.temperature, c);
  }
  if (slice.where)
    for (int64_t i = 0; i < s.n; ++i)
      if (!slice.where[i * job.where.along]) c[i] = 0;
  if constexpr (sizeof(D) == 8) {
    scatter<D>(c, s.n, slice.y, job.y.along);
  } else {
    float* f = scratch<float>(s.n);
    for (int64_t i = 0; i < s.n; ++i) f[i] = float(c[i]);
    scatter<D>(f, s.n, slice.y, job.y.along);
  }
}

inline void negate(PreciseSlice& s) {
  for (int64_t i = 0; i < s.n; ++i)
    if (s.x[i] == s.x[i]) s.x[i] = -s.x[i];
}

inline bool has_nan(const PreciseSlice& s) {
  bool found = false;
  for (int64_t i = 0; i < s.n; ++i) found |= s.x[i] != s.x[i];
  return found;
}

// max + log(sum exp(k (x - max))) / k for k > 0.
inline double smooth_max(PreciseSlice& s, double k) {
  const double inf = std::numeric_limits<double>::infinity();
  s.max = row_max(s.x, s.n);
  if (has_nan(s)) return std::numeric_limits<double>::quiet_NaN();
  if (k == inf || s.max == inf || s.max == -inf) return s.max;
  exponentiate(s, Inverse<double>{k, 0, k != 1}, 1);
  return s.max + log1p(splat(s.rest))[0] / k;
}

// max + log(mean exp(omega (x - max))) / omega for omega > 0.  Of an exponential near 1 it is
// exp(...) - 1 that says something, in extended precision.
inline double mellowmax(PreciseSlice& s, double omega, int64_t count) {
  const double inf = std::numeric_limits<double>::infinity();
  if (count == 0 || has_nan(s)) return std::numeric_limits<double>::quiet_NaN();
  s.max = row_max(s.x, s.n);
  if (omega == inf || s.max == inf || s.max == -inf) return s.max;
  exponentiate(s, Inverse<double>{omega, 0, omega != 1}, 1);
  const double scale = s.e[s.top];
  if (s.sum.hi / scale < 0.5 * double(count))
    return s.max + double(logl(((long double)s.sum.hi + s.sum.lo) / scale / count) / omega);
  long double growth = 0;
  for (int64_t i = 0; i < s.n; ++i) growth += expm1l(omega * ((long double)s.x[i] - s.max));
  // Entries that do not take part read as -inf and have counted as -1.
  growth += (long double)(s.n - count);
  return double(s.max + log1pl(growth / count) / omega);
}

inline double mean_of(const PreciseSlice& s, const Job& job, const Slice& slice, int64_t count) {
  if (count == 0) return std::numeric_limits<double>::quiet_NaN();
  // `lost` gathers what rounding took: large entries may cancel and leave the small ones.
  long double sum = 0, lost = 0;
  for (int64_t i = 0; i < s.n; ++i) {
    if (slice.where && !slice.where[i * job.where.along]) continue;
    const long double x = s.x[i], longer = sum + x, seen = longer - sum;
    lost += (sum - (longer - seen)) + (x - seen);
    sum = longer;
  }
  const bool finite = lost - lost == 0;  // no infinity, no nan among the entries
  return double((finite ? sum + lost : sum) / count);
}

// The running log-sum-exp.  The largest entry so far is kept apart from the rest, both relative to
// a reference that moves only when it must.
template <class D>
void cumulative(const Job& job, const Slice& slice, const PreciseSlice& s) {
  const double inf = std::numeric_limits<double>::infinity();
  double max = -inf, reference = -inf;
  long double top = 0, rest = 0;
  bool undefined = false;
  for (int64_t j = 0; j < s.n; ++j) {
    const int64_t i = job.reverse ? s.n - 1 - j : j;
    const double x = s.x[i];
    undefined |= x != x;
    if (x > -inf && x < inf) {
      if (x > reference + 20 || reference == -inf) {
        const long double factor = reference == -inf ? 0 : expl((long double)reference - x);
        top *= factor;
        rest *= factor;
        reference = x;
      }
      const long double e = expl((long double)x - reference);
      if (x > max) {
        rest += top;
        top = e;
      } else {
        rest += e;
      }
    }
    max = x > max ? x : max;
    double result = max;
    if (undefined)
      result = std::numeric_limits<double>::quiet_NaN();
    else if (max > -inf && max < inf)
      result = double(max + log1pl(rest / top));
    s.x[i] = result;
  }
  for (int64_t i = 0; i < s.n; ++i) {
    char* y = slice.y + i * job.y.along;
    if constexpr (sizeof(D) == 8)
      round_to(*(D*)y, s.x[i]);
    else
      round_to(*(D*)y, float(s.x[i]));
  }
}

// log |sum of w exp(x)| and the sum's sign.  The reference is the entry whose term is the largest.
inline double weighted_logsumexp(const Job& job, const Slice& slice, PreciseSlice& s,
                                 double& sign) {
  const double inf = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  double* w = scratch<double, Terms>(s.n);
  if (job.second.data)
    gather<double>(slice.second, job.second.along, s.n, w);
  else
    std::fill(w, w + s.n, 1.0);
  double reference = -inf, largest = -inf, highest = -inf;
  bool up = false, down = false, undefined = false;
  for (int64_t i = 0; i < s.n; ++i) {
    // A weight of 0 leaves its entry out, whatever it is; so does `where`.
    const bool out = w[i] == 0 || (slice.where && !slice.where[i * job.where.along]);
    if (out) s.x[i] = -inf, w[i] = 0;
    undefined |= s.x[i] != s.x[i] || w[i] != w[i];
    if (out || undefined) continue;
    const bool infinite_weight = w[i] == inf || w[i] == -inf;
    undefined |= infinite_weight && s.x[i] == -inf;
    if (s.x[i] == inf || infinite_weight) (w[i] > 0 ? up : down) = true;
    const double size = s.x[i] + std::log(std::fabs(w[i]));
    if (size > largest) largest = size, reference = s.x[i];
    highest = s.x[i] > highest ? s.x[i] : highest;
  }
  sign = nan;
  if (undefined || (up && down)) return nan;
  sign = up ? 1 : down ? -1 : 0;
  if (up || down) return inf;
  if (largest == -inf) return -inf;
  long double sum = 0;
  if (highest - reference < 600 && std::fabs(largest - reference) < 600) {
    double* e = scratch<double, Exponentials>(padded<double>(s.n));
    State unit;
    const Frame<double> frame = frame_around(reference, Inverse<double>(), unit);
    const ScaledSum scaled =
        sum_exp<true>(s.x, Room<double>{e}, s.n, reference, frame, unit.shift != 0, false, {});
    const Pair terms = dot(e, w, s.n);
    sum = ((long double)terms.hi + terms.lo) / ((long double)scaled.top.hi + scaled.top.lo);
  } else {
    for (int64_t i = 0; i < s.n; ++i)
      if (w[i] != 0) sum += w[i] * expl((long double)s.x[i] - reference);
  }
  sign = sum > 0 ? 1 : sum < 0 ? -1 : 0;
  if (sum == 0) return -inf;
  return double(reference + logl(fabsl(sum)));
}

template <class D>
INLINE void write(char* y, double value) {
  if constexpr (sizeof(D) == 8)
    round_to(*(D*)y, value);
  else
    round_to(*(D*)y, float(value));
}

template <class D>
void run_precise(const Job& job, const Slice& slice) {
  PreciseSlice s;
  load_slice<D>(job, slice, s);
  int64_t count = job.n;
  if (slice.where) {
    count = 0;
    for (int64_t i = 0; i < job.n; ++i) count += slice.where[i * job.where.along] ? 1 : 0;
  }
  const bool limit = !(slice.temperature > 0 && slice.temperature < 1 / 0.0);
  const Inverse<double> inverse =
      limit ? Inverse<double>() : Inverse<double>::of(slice.temperature);
  double sign = job.factor < 0 ? -1 : 1, result;
  switch (job.op) {
    case Op::cumulative_logsumexp:
      return cumulative<D>(job, slice, s);
    case Op::derivative:
      exponentiate(s, inverse, slice.temperature);
      return derivative<D>(job, slice, s);
    case Op::entropy:
      exponentiate(s, inverse, slice.temperature);
      return write<D>(slice.y, entropy(s, inverse, limit));
    case Op::weighted_logsumexp:
      result = weighted_logsumexp(job, slice, s, sign);
      if (slice.sign)
        write<D>(slice.sign, sign);
      else if (sign < 0)
        result = std::numeric_limits<double>::quiet_NaN();
      return write<D>(slice.y, result);
    default:
      break;
  }
  if (job.factor == 0) return write<D>(slice.y, mean_of(s, job, slice, count));
  if (sign < 0) {
    negate(s);
    if (slice.where) leave_out(s.x, slice.where, job.where.along, job.n);
  }
  result = job.op == Op::smooth_max ? smooth_max(s, std::fabs(job.factor))
                                    : mellowmax(s, std::fabs(job.factor), count);
  write<D>(slice.y, sign * result);
}
