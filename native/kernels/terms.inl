// What losses ask of a row besides its softmax: sums of terms in double.

// A sum of terms that are not negative, in the lanes and by the tree of all sums (reduce.inl).
template <class T>
struct TermSum;

// Rounding takes nothing from it that matters for what ends as a float.
template <>
struct TermSum<float> {
  Sums<float> sums;

  INLINE TermSum() {}
  INLINE void add(int m, vec<double> term) { sums.lane[m] = sums.lane[m] + term; }
  INLINE void add_product(int m, vec<double> a, vec<double> b) {
    sums.lane[m] = fma(a, b, sums.lane[m]);
  }
  INLINE double total() { return sums.total().hi; }
};

template <>
struct TermSum<double> {
  static constexpr int W = kWidth<double>, M = kLanes / W;
  vec<double> sum[M] = {}, low[M] = {};

  // With what rounding took from the term.
  INLINE void add(int m, vec<double> term, vec<double> lost = splat(0.0)) {
    vec<double> next, error;
    two_sum(sum[m], term, next, error);
    low[m] = low[m] + (error + lost);
    sum[m] = next;
  }
  INLINE void add_product(int m, vec<double> a, vec<double> b) {
    const vec<double> term = a * b;
    add(m, term, product_error(a, b, term));
  }
  INLINE double total() {
    double a[kLanes], b[kLanes];
    for (int m = 0; m < M; ++m) store(a + m * W, sum[m]), store(b + m * W, low[m]);
    const Pair total = tree_of_pairs(a, b);
    // What is infinite has no low part.
    return a[0] - a[0] == 0 ? total.hi : a[0];
  }
};

// Sixteen entries as doubles, of which `here` exist; the others read as `rest`.
template <class T>
INLINE void load_lanes_of(const T* x, int64_t here, T rest, vec<double>* to) {
  if (here < kLanes) return widen(load_group<kLanes / kWidth<T>>(x, int(here), splat(rest)), to);
  for (int m = 0; m < kLanes / kWidth<double>; ++m) to[m] = load_wide(x + m * kWidth<double>);
}

// The sum of how far entries are below the largest, times a share.  `Careful`: the largest is not
// below itself where it is infinite.
template <bool Careful, class T>
double sum_of_gaps(const T* x, int64_t n, T max, double share) {
  const vec<double> most = splat(double(max)), part = splat(share);
  TermSum<T> sum;
  for (int64_t i = 0; i < n; i += kLanes) {
    vec<double> entry[kLanes / kWidth<double>];
    load_lanes_of(x + i, n - i, max, entry);
    for (int m = 0; m < kLanes / kWidth<double>; ++m) {
      const vec<double> gap = most - entry[m];
      sum.add_product(m, part, Careful ? (entry[m] == most ? splat(0.0) : gap) : gap);
    }
  }
  return sum.total();
}
template <class T>
double sum_of_gaps(const T* x, int64_t n, double share) {
  const T max = row_max(x, n);
  const double sum = sum_of_gaps<false>(x, n, max, share);
  return sum == sum ? sum : sum_of_gaps<true>(x, n, max, share);
}

// The sum of a row of a target; nan where an entry is negative or nan.
template <class T, class D>
double sum_of_target(const D* t, int64_t n) {
  constexpr int W = kWidth<T>, H = kWide<T, 1>;
  vec<double> sum[H] = {};
  vec<bits<T>> wrong{};
  const auto add = [&](vec<T> v) INLINE_LAMBDA {
    vec<double> wide[H];
    widen(single<T>(v), wide);
    for (int h = 0; h < H; ++h) sum[h] = sum[h] + wide[h];
    wrong |= ~(v >= splat(T(0)));
  };
  int64_t i = 0;
  for (; i + W <= n; i += W) add(load_widened(t + i));
  if (i < n) add(load_entries<1, T>(t + i, int(n - i)).v[0]);
  for (int h = 1; h < H; ++h) sum[0] = sum[0] + sum[h];
  return any_set<T>(wrong) ? std::numeric_limits<double>::quiet_NaN() : fold(sum[0], kSum)[0];
}
