// Weighted logsumexp: log |sum of w exp(x)| and the sum's sign.  The weights stand beside the
// entries (weighing.inl).

struct WeightedLog {
  vec<double> log, sign;
  vec<int64_t> ordinary;   // lanes in which it holds,
  vec<int64_t> near_zero;  // but for those of floats up to kNearZero
};

// Below this, relative to the largest exponential, terms may be missing that had small exponentials
// and large weights.
constexpr double kSmallestSum = 0x1p-20;

// Up to this, logarithms of floats may have lost what entries are apart.
constexpr double kNearZero = 0x1p-25;

template <class T>
INLINE WeightedLog weighted_log(vec<double> sum, vec<double> low, vec<double> n,
                                vec<double> shift) {
  const double unscale = power_of_two(-Exponent<T, false, false>::headroom);
  const vec<double> none = splat(0.0), inf = splat(std::numeric_limits<double>::infinity());
  const vec<double> size = absolute<double>(sum) * unscale;
  const vec<double> size_low = (sum < none ? -low : low) * unscale;
  const vec<double> log = shift + log_of(size, size_low, n);
  vec<int64_t> near_zero{};
  if constexpr (sizeof(T) == 4) near_zero = absolute<double>(log) <= splat(kNearZero);
  return {log, sum < none ? splat(-1.0) : splat(1.0), (size > kSmallestSum) & (size < inf),
          near_zero};
}

// What a sum near 1 is more than that: the weights' part, and that of the entries that take part.
struct BeyondOne {
  long double weights = 0, entries = 0;
  double size = 0;  // of the entries' terms, which may cancel

  template <class D, class B>
  void add(const D* x, const B* w, int64_t n) {
    for (int64_t i = 0; i < n; ++i) weights += widened(w[i]);
    for (int64_t i = 0; i < n; ++i) {
      if (widened(w[i]) == 0) continue;
      const double term = double(widened(w[i])) * std::expm1(double(widened(x[i])));
      entries += term;
      size += std::fabs(term);
    }
  }
  // Whether it is known better than the sum.
  bool is_precise() const { return size < 1; }
  // The logarithm of a sum near `sign`.
  double log(double sign) const { return std::log1p(double(sign * ((weights - sign) + entries))); }
};

// The same for any weights and entries, counted from the entry whose term is the largest.
inline double largest_term_first(const Job& job, const Slice& slice, PreciseSlice& s, double* w,
                                 double& sign) {
  const double inf = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
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
    const ScaledSum scaled = sum_exp<true>(s.x, Room<double>{e}, s.n, reference, frame,
                                           unit.shift != 0, false, Ahead<double>());
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
void write_weighted(const Slice& slice, double result, double sign) {
  if (slice.sign)
    write<D>(slice.sign, sign);
  else if (sign < 0)
    result = std::numeric_limits<double>::quiet_NaN();
  write<D>(slice.y, result);
}

// B is how weights are stored.
template <class D, class T, class B>
void run_weighted(const Job& job, const Slice& slice) {
  const int64_t chunks = (job.n + kChunk - 1) / kChunk;
  if (chunks > 0) {
    State one;
    std::vector<State> several;
    if (chunks > 1) several.resize(size_t(chunks));
    State* states = chunks > 1 ? several.data() : &one;
    const auto each_chunk = [&](auto f) {
      for (int64_t i = 0; i < chunks; ++i) {
        const int64_t first = i * kChunk, count = chunk_length(job, i);
        const D* x = entries<D, D>(job, slice, first, count);
        f(i, x, beside<B>(job, slice, first, count), first, count);
      }
    };
    each_chunk([&](int64_t i, const D* x, const B* w, int64_t first, int64_t count) {
      states[i] = weigh_chunk<false, 1>(job, slice, x, w, count, (double*)nullptr,
                                        ahead_of<D>(job, slice, first, count, false));
    });
    const State all = weighed_together(states, chunks);
    if (all.ordinary()) {
      const WeightedLog result =
          weighted_log<T>(splat(all.along), splat(all.along_lo), splat(all.n), splat(all.shift));
      double log = result.log[0];
      if (result.ordinary[0] && result.near_zero[0]) {
        BeyondOne rest;
        each_chunk([&](int64_t, const D* x, const B* w, int64_t, int64_t count) {
          rest.add(x, w, count);
        });
        if (rest.is_precise()) log = rest.log(result.sign[0]);
      }
      if (result.ordinary[0]) return write_weighted<D>(slice, log, result.sign[0]);
    }
  }
  double* w = scratch<double, Terms>(job.n);
  gather<B>(slice.second, job.second.along, job.n, w);
  PreciseSlice s;
  load_slice<D>(job, slice, s);
  double sign;
  const double result = largest_term_first(job, slice, s, w, sign);
  write_weighted<D>(slice, result, sign);
}

// C is what weights are computed in.
template <class D, class T, class B, class C>
void weigh_strips(const Job& job, int64_t first, int bundle) {
  for_strips<false, D, T, B, C>(
      job, first, bundle,
      [&](Strip<T, false>& strip, const C* w) {
        strip.find_max();
        WeightedLog results[Strip<T, false>::M];
        for (int m = 0; m < Strip<T, false>::M; ++m) {
          const auto exponent = strip.template exponent<false>(m);
          const Weights<vec<double>> sums =
              strip.template weigh_part<false>(exponent, m, w, nullptr, splat(0.0));
          results[m] = weighted_log<T>(sums.along, sums.along_lo, exponent.n(), exponent.shift());
          strip.ordinary[m] &= results[m].ordinary & ~results[m].near_zero;
        }
        for (int r = 0; r < strip.count; ++r) {
          const Slice slice = slice_at(job, strip.first + r);
          const int m = r / kWidth<double>, lane = r % kWidth<double>;
          if (strip.is_ordinary(r))
            write_weighted<D>(slice, results[m].log[lane], results[m].sign[lane]);
          else
            run_weighted<D, T, B>(job, slice);
        }
      },
      [](const Slice&, int64_t, int, const T*) {});
}

// Calls f with the types of the weights: those of the entries, or double.
template <class D, class T, class F>
void with_weights(const Job& job, F f) {
  job.wide_second ? f(double(), double()) : f(D(), T());
}
