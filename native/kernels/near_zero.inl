// Logarithms of sums of floats next to zero, where the rounding of float exponentials would show:
// once more, from exponentials in two parts, good to 2^-57.  How those of a slice are added up
// depends on nothing but how many there are.

// As entries are near zero or below, exponentials stay as they are.
INLINE Frame<double> frame_next_to_zero() {
  State unit;
  return frame_around(0.0, Inverse<double>(), unit);
}

// Running sums of terms in two parts, each less than four.  Sums begin above any term, as those of
// doubles do (reduce.inl); as multiples of their last place they add up without rounding.
template <int K>
struct PreciseSums {
  group<double, K> sum, rest;

  INLINE PreciseSums() { EACH sum.v[k] = splat(Sums<double>::start), rest.v[k] = splat(0.0); }
  INLINE void add(const group<double, K>& x, const Frame<double>& frame) {
    group<double, K> term, low;
    exp_scaled_pair<false, false>(x, frame, term, low);
    EACH {
      const vec<double> longer = sum.v[k] + term.v[k];
      rest.v[k] = rest.v[k] + ((term.v[k] - (longer - sum.v[k])) + low.v[k]);
      sum.v[k] = longer;
    }
  }
  INLINE vec<double> whole(int k) const { return sum.v[k] - Sums<double>::start; }
};

struct NextToZero;

// So few entries are added up in one lane, beside those of other slices; more, in their own lanes.
constexpr int64_t kFewEntries = 24;

// Those of a slice, kColumns apart.
template <class D>
INLINE void place_entries(const Job& job, const Slice& slice, double* to) {
  const int64_t n = job.n, step = job.x.along;
  for (int64_t j = 0; j < n; ++j) to[j * kColumns] = widened(*(const D*)(slice.x + j * step));
  for (int64_t j = 0; slice.where && j < n; ++j)
    if (!slice.where[j * job.where.along])
      to[j * kColumns] = -std::numeric_limits<double>::infinity();
}

// The sums of two vectors of slices.
INLINE void sum_beside(const double* x, int64_t n, const Frame<double>& frame, double* whole,
                       double* rest) {
  constexpr int K = 2, W = kWidth<double>;
  PreciseSums<K> sums;
  for (int64_t j = 0; j < n; ++j)
    sums.add(load_group<K>(x + j * kColumns, K * W, splat(0.0)), frame);
  EACH store(whole + k * W, sums.whole(k)), store(rest + k * W, sums.rest.v[k]);
}

template <class D>
Pair sum_in_lanes(const Job& job, const Slice& slice, const Frame<double>& frame) {
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
      sums.add(entry, frame);
    }
  }
  vec<double> whole = sums.whole(0);
  for (int k = 1; k < K; ++k) whole = whole + sums.whole(k);
  vec<double>* const rest = sums.rest.v;
  for (int half = K / 2; half >= 1; half /= 2)
    for (int k = 0; k < half; ++k) rest[k] = rest[k] + rest[k + half];
  return {fold(whole, kSum)[0], fold(rest[0], kSum)[0]};
}

// Nearer to zero than this, what is left of them is not enough for a float.
constexpr double kTinyLogarithm = 0x1p-32;

// Such a logarithm.
template <class D>
double tiny_logarithm(const Job& job, const Slice& slice) {
  Pair sum = {0, 0};
  for (int64_t first = 0; first < job.n; first += kChunk) {
    const int64_t count = chunk_length(job, first / kChunk);
    sum = sum + sum_of_exponentials(entries<D, float>(job, slice, first, count), count);
  }
  return logarithm_next_to_zero(sum);
}

// The logarithms of sums next to 1, which are still scaled.
INLINE vec<double> logarithms_next_to_zero(const double* hi, const double* lo) {
  const double unscale = power_of_two(-exp_constants<double>::headroom);
  const vec<double> sum = load(hi) * unscale, rest = load(lo) * unscale, whole = sum + rest;
  return log_of(whole, rest - (whole - sum), splat(0.0));
}

// Of `count` slices, kColumns at most, which stand place[i] slices behind the first.
template <class D>
void settle_next_to_zero(const Job& job, const Slice& first, const int* place, int count,
                         float* result) {
  constexpr int W = kWidth<double>;
  const int64_t n = job.n, next = job.x.stride[job.dims - 1];
  const int64_t where_next = job.where.stride[job.dims - 1];
  const auto slice_of = [&](int i) INLINE_LAMBDA {
    Slice slice = first;
    slice.x += place[i] * next;
    if (slice.where) slice.where += place[i] * where_next;
    return slice;
  };
  const Frame<double> frame = frame_next_to_zero();
  alignas(kVectorBytes) double hi[kColumns], lo[kColumns], log[kColumns];
  if (n <= kFewEntries) {
    double* entries = scratch<double, NextToZero>(n * kColumns);
    for (int i = 0; i < count; ++i) place_entries<D>(job, slice_of(i), entries + i);
    for (int i = 0; i < count; i += 2 * W) sum_beside(entries + i, n, frame, hi + i, lo + i);
  } else {
    for (int i = 0; i < count; ++i) {
      const Pair sum = sum_in_lanes<D>(job, slice_of(i), frame);
      std::fill(hi + i, hi + (i + W) / W * W, sum.hi);  // to the end of a vector
      std::fill(lo + i, lo + (i + W) / W * W, sum.lo);
    }
  }
  for (int i = 0; i < count; i += W) store(log + i, logarithms_next_to_zero(hi + i, lo + i));
  for (int i = 0; i < count; ++i) {
    if (std::fabs(log[i]) < kTinyLogarithm) log[i] = tiny_logarithm<D>(job, slice_of(i));
    result[place[i]] = float(log[i]);
  }
}

// Of slices first .. first + count - 1, a tile or a batch, the results that are next to zero.
inline __attribute__((noinline)) void settle_next_to_zero(const Job& job, int64_t first, int count,
                                                          float* result) {
  int found[kColumns], near = 0;
  for (int i = 0; i < count; ++i) {  // without a branch
    found[near] = i;
    near += std::fabs(result[i]) <= next_to_zero(job.n);
  }
  with_types(job.dtype, [&](auto d, auto t) {
    if constexpr (sizeof t == 4)
      settle_next_to_zero<decltype(d)>(job, slice_at(job, first), found, near, result);
  });
}

// Of a slice alone.
template <class D>
float settle_next_to_zero(const Job& job, const Slice& slice) {
  constexpr int none = 0;
  float result;
  settle_next_to_zero<D>(job, slice, &none, 1, &result);
  return result;
}
