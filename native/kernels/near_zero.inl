// Logarithms of sums of floats next to zero, where the rounding of float exponentials would show:
// once more, from exponentials in two parts.  How those of a slice are added up depends on nothing
// but how many there are.

// Exponentials to 2^-55 in the frame of 0, which no entry is far above.
INLINE Exponent<double, false, false> exponent_around_zero() {
  State unit;
  return {frame_around(0.0, Inverse<double>(), unit)};
}

// The same to 2^-79, from the table of 2^(k / 2048) and five terms in |r| < 2^-12.5, of which all
// but the first are small enough for one rounding.
struct FullExponent {
  static constexpr double inverse = kTable / 0x1.62e42fefa39efp-1, lowest = -700;
  static constexpr double poly[] = {1 / 2.0, 1 / 6.0, 1 / 24.0, 1 / 120.0};
  const Pair* const powers = powers_of_two();

  template <int K>
  INLINE void operator()(const group<double, K>& x, group<double, K>& e,
                         group<double, K>& low) const {
    using C = exp_constants<double>;
    EACH {
      const vec<double> z = larger(x.v[k], splat(lowest));
      const vec<double> t = fma(z, splat(inverse), splat(C::magic)), n = t - C::magic;
      const vec<double> a = z - n * kTableStep[0], b = n * kTableStep[1], r = a - b;
      vec<double> rest = splat(poly[3]);
      _Pragma("GCC unroll 4") for (int i = 2; i >= 0; --i) rest = fma(rest, r, splat(poly[i]));
      rest = fma(r * r, rest, ((a - r) - b) - n * kTableStep[2]);
      const vec<uint64_t> k_bits = (vec<uint64_t>)t;
      vec<double> base, base_lo;
      for (int l = 0; l < kWidth<double>; ++l) {
        const Pair& power = powers[k_bits[l] % kTable];
        base[l] = power.hi, base_lo[l] = power.lo;
      }
      const vec<double> scale =
          (vec<double>)((k_bits / kTable + (C::bias + C::headroom)) << C::mantissa);
      const vec<double> growth = base * r, sum = base + growth, none = splat(0.0);
      const vec<double> lost = (growth - (sum - base)) + product_error(base, r, growth);
      const vec<double> more = lost + fma(base, rest, fma(base_lo, r, base_lo));
      e.v[k] = x.v[k] > lowest ? sum * scale : none;
      low.v[k] = x.v[k] > lowest ? more * scale : none;
    }
  }
};

// Running sums of such terms, each less than four.  They begin at two, whose exponent no term
// exceeds, so that what a sum loses is known from one subtraction; and all being multiples of
// their last place, sums add up without rounding.
template <int K>
struct PreciseSums {
  group<double, K> sum, rest;

  INLINE PreciseSums() { EACH sum.v[k] = splat(Sums<double>::start), rest.v[k] = splat(0.0); }
  template <class E>
  INLINE void add(const group<double, K>& x, const E& exponent) {
    group<double, K> term, low;
    exponent(x, term, low);
    EACH {
      const vec<double> longer = sum.v[k] + term.v[k];
      rest.v[k] = rest.v[k] + ((term.v[k] - (longer - sum.v[k])) + low.v[k]);
      sum.v[k] = longer;
    }
  }
  INLINE vec<double> whole(int k) const { return sum.v[k] - Sums<double>::start; }
};

// Sums of the entries of a slice, in lanes.
template <class D, class E>
Pair sum_in_lanes(const Job& job, const Slice& slice, const E& exponent) {
  constexpr int K = kLanes / kWidth<double>;
  PreciseSums<K> sums;
  for (int64_t first = 0; first < job.n; first += kChunk) {
    const int64_t count = chunk_length(job, first / kChunk);
    const float* x = entries<D, float>(job, slice, first, count);
    for (int64_t i = 0; i < count; i += kLanes) {
      group<double, K> entry;
      widen(load_group<K / 2>(x + i, int(std::min<int64_t>(count - i, kLanes)),
                              splat(-std::numeric_limits<float>::infinity())),
            entry.v);
      sums.add(entry, exponent);
    }
  }
  vec<double> whole = sums.whole(0);
  for (int k = 1; k < K; ++k) whole = whole + sums.whole(k);
  vec<double>* const rest = sums.rest.v;
  for (int half = K / 2; half >= 1; half /= 2)
    for (int k = 0; k < half; ++k) rest[k] = rest[k] + rest[k + half];
  return {fold(whole, kSum)[0], fold(rest[0], kSum)[0]};
}

// So few entries are added up in one lane, beside those of other slices.
constexpr int64_t kFewEntries = 24;
struct PlacedEntries;

// Copies the entries of a slice to every kColumns-th place.
template <class D>
INLINE void place_entries(const Job& job, const Slice& slice, double* to) {
  const int64_t n = job.n, step = job.x.along;
  for (int64_t j = 0; j < n; ++j) to[j * kColumns] = widened(*(const D*)(slice.x + j * step));
  for (int64_t j = 0; slice.where && j < n; ++j)
    if (!slice.where[j * job.where.along])
      to[j * kColumns] = -std::numeric_limits<double>::infinity();
}

// The sums of slices slice_of(0) .. slice_of(count - 1), kColumns at most, each in two parts; what
// stands behind these means nothing.
template <class D, class SliceOf>
INLINE void sums_next_to_one(const Job& job, SliceOf slice_of, int count, double* whole,
                             double* rest) {
  constexpr int W = kWidth<double>, K = 2;
  const auto around_zero = exponent_around_zero();
  if (job.n > kFewEntries) {
    for (int i = 0; i < count; ++i) {
      const Pair sum = sum_in_lanes<D>(job, slice_of(i), around_zero);
      whole[i] = sum.hi, rest[i] = sum.lo;
    }
    return;
  }
  double* placed = scratch<double, PlacedEntries>(job.n * kColumns);
  for (int i = 0; i < count; ++i) place_entries<D>(job, slice_of(i), placed + i);
  for (int i = 0; i < count; i += K * W) {
    PreciseSums<K> sums;
    for (int64_t j = 0; j < job.n; ++j)
      sums.add(load_group<K>(placed + j * kColumns + i, K * W, splat(0.0)), around_zero);
    EACH store(whole + i + k * W, sums.whole(k)), store(rest + i + k * W, sums.rest.v[k]);
  }
}

// The logarithms of sums next to 1, which are still scaled.
INLINE vec<double> logarithms_next_to_zero(vec<double> whole, vec<double> rest) {
  const double unscale = power_of_two(-exp_constants<double>::headroom);
  const vec<double> u = (whole + rest) * unscale;
  return log_of(u, rest * unscale - (u - whole * unscale), splat(0.0));
}

// The logarithms of slices' sums, which are next to zero.  Those nearer than `tiny`, of which the
// first sum does not tell enough for a float, are added up in full.
template <class D, class SliceOf>
void logarithms_of_sums(const Job& job, SliceOf slice_of, int count, double* result) {
  constexpr int W = kWidth<double>;
  constexpr double tiny = 0x1p-32;
  double whole[kColumns] = {}, rest[kColumns] = {};
  sums_next_to_one<D>(job, slice_of, count, whole, rest);
  for (int i = 0; i < count; i += W)
    store(result + i, logarithms_next_to_zero(load(whole + i), load(rest + i)));
  for (int i = 0; i < count; ++i) {
    if (std::fabs(result[i]) >= tiny) continue;
    const Pair sum = sum_in_lanes<D>(job, slice_of(i), FullExponent());
    result[i] = logarithms_next_to_zero(splat(sum.hi), splat(sum.lo))[0];
  }
}

// Slices whose results are next to zero, of several tiles: of few entries as many as have lanes
// take little longer together than one.
template <class D>
class NextToZero {
  const Job& job_;
  int64_t slice_[kColumns];
  int count_ = 0;

  __attribute__((noinline)) void take_again() {
    if constexpr (sizeof(widened(D())) == 4) {  // of doubles there are none
      const auto slice_of = [&](int i) { return slice_at(job_, slice_[i]); };
      double exact[kColumns];
      logarithms_of_sums<D>(job_, slice_of, count_, exact);
      for (int i = 0; i < count_; ++i) round_to(*(D*)slice_of(i).y, float(exact[i]));
    }
    count_ = 0;
  }

 public:
  explicit NextToZero(const Job& job) : job_(job) {}

  // Lanes of a tile that begins with slice `first`; at last `settle`.
  INLINE void add(int64_t first, uint64_t lanes) {
    for (; lanes; lanes &= lanes - 1) {
      slice_[count_++] = first + std::countr_zero(lanes);
      if (count_ == kColumns) take_again();
    }
    if (job_.n > kFewEntries) settle();  // while they are near
  }

  INLINE void settle() {
    if (count_ > 0) take_again();
  }
};

template <class D>
void settle_next_to_zero(const Job& job, int64_t first, uint64_t lanes) {
  NextToZero<D> results(job);
  results.add(first, lanes);
  results.settle();
}

// Of a slice alone.
template <class D>
float settle_next_to_zero(const Job& job, const Slice& slice) {
  double result[kWidth<double>];
  logarithms_of_sums<D>(job, [&](int) { return slice; }, 1, result);
  return float(result[0]);
}
