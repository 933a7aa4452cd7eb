// What losses ask of a row besides its softmax: sums of terms in double, and places.

// A sum of terms that are not negative, in the lanes and by the tree of all sums (reduce.inl).
template <class T>
struct TermSum;

// Rounding takes nothing from it that matters for what ends as a float.
template <>
struct TermSum<float> {
  Sums<float> sums;

  INLINE TermSum() {}
  INLINE void add(int m, vec<double> term, vec<double>) { sums.lane[m] = sums.lane[m] + term; }
  INLINE Pair total() { return sums.total(); }
};

template <>
struct TermSum<double> {
  static constexpr int W = kWidth<double>, M = kLanes / W;
  vec<double> sum[M] = {}, low[M] = {};

  // With what rounding took from the term.
  INLINE void add(int m, vec<double> term, vec<double> lost) {
    vec<double> next, error;
    two_sum(sum[m], term, next, error);
    low[m] = low[m] + (error + lost);
    sum[m] = next;
  }
  INLINE Pair total() {
    double a[kLanes], b[kLanes];
    for (int m = 0; m < M; ++m) store(a + m * W, sum[m]), store(b + m * W, low[m]);
    const Pair total = tree_of_pairs(a, b);
    // What is infinite has no low part.
    return a[0] - a[0] == 0 ? total : Pair{a[0], 0};
  }
};

// Calls f(m, x, y) with vector m of sixteen entries of two arrays as doubles, the last of which are
// filled up with `rest` and `beside`.
template <class T, class F>
INLINE void for_wide_pairs(const T* x, const T* y, int64_t count, T rest, T beside, F f) {
  constexpr int K = kLanes / kWidth<T>, M = kLanes / kWidth<double>;
  for (int64_t i = 0; i < count; i += kLanes) {
    const int here = int(std::min<int64_t>(count - i, kLanes));
    vec<double> first[M], second[M];
    widen(load_group<K>(x + i, here, splat(rest)), first);
    widen(load_group<K>(y + i, here, splat(beside)), second);
    for (int m = 0; m < M; ++m) f(m, first[m], second[m]);
  }
}

// The sum of how far entries are below the largest, times a share.
template <class T>
double sum_of_gaps(const T* x, int64_t n, double share) {
  const T max = row_max(x, n);
  const vec<double> most = splat(double(max)), none = splat(0.0), part = splat(share);
  TermSum<T> sum;
  for_wide_pairs(x, x, n, max, max, [&](int m, vec<double> entry, vec<double>) INLINE_LAMBDA {
    const vec<double> gap = entry == most ? none : most - entry, term = part * gap;
    sum.add(m, term, product_error(part, gap, term));
  });
  return sum.total().hi;
}

// Where the first entry that equals v is, of n among which there is one; without a branch that
// nobody can foretell.
template <class T>
int64_t position_of(const T* x, int64_t n, T v) {
  int64_t i = 0, found = n - 1;
  while (i + kWidth<T> < n && !any_set<T>(load(x + i) == v)) i += kWidth<T>;
  for (int64_t j = std::min<int64_t>(i + kWidth<T>, n) - 1; j >= i; --j)
    found = x[j] == v ? j : found;
  return found;
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
