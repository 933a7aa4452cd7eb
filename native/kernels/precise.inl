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

struct Terms;

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
    case Op::entropy:
      exponentiate(s, inverse, slice.temperature);
      return write<D>(slice.y, entropy(s, inverse, limit));
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
