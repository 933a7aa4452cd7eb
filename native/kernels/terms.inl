// What losses ask of a row besides its softmax: sums of terms in double.

// Vectors of double that hold the sixteen lanes of a row's sums.
constexpr int kLaneVectors = kLanes / kWidth<double>;

// A running sum of terms that are not negative, one to a lane.
template <class T>
struct Term;

// Rounding takes nothing from it that matters for what ends as a float.
template <>
struct Term<float> {
  vec<double> sum{};

  INLINE Term() {}
  INLINE void add(vec<double> term) { sum = sum + term; }
  INLINE void add_product(vec<double> a, vec<double> b) { sum = fma(a, b, sum); }
};

template <>
struct Term<double> {
  vec<double> sum{}, low{};

  // With what rounding took from the term.
  INLINE void add(vec<double> term, vec<double> lost = splat(0.0)) {
    vec<double> next, error;
    two_sum(sum, term, next, error);
    low = low + (error + lost);
    sum = next;
  }
  INLINE void add_product(vec<double> a, vec<double> b) {
    const vec<double> term = a * b;
    add(term, product_error(a, b, term));
  }
};

INLINE void take_lane(const Term<float>& from, int lane, Term<float>& to, int place) {
  to.sum[place] = from.sum[lane];
}
INLINE void take_lane(const Term<double>& from, int lane, Term<double>& to, int place) {
  to.sum[place] = from.sum[lane], to.low[place] = from.low[lane];
}

// The total of sixteen of them, by the tree of all sums (reduce.inl).
INLINE double total_of(const Term<float>* lane) {
  Sums<float> sums;
  for (int m = 0; m < kLaneVectors; ++m) sums.lane[m] = lane[m].sum;
  return sums.total().hi;
}
INLINE double total_of(const Term<double>* lane) {
  constexpr int W = kWidth<double>;
  double a[kLanes], b[kLanes];
  for (int m = 0; m < kLaneVectors; ++m)
    store(a + m * W, lane[m].sum), store(b + m * W, lane[m].low);
  const double total = tree_of_pairs(a, b).hi;
  // What is infinite, or too large to be split where nothing is fused, has no low part.
  return total - total == 0 ? total : a[0];
}

// Sixteen entries as doubles, of which `here` exist; the others read as `rest`.
template <class T>
INLINE void load_sixteen(const T* x, int64_t here, T rest, vec<double>* to) {
  if (here < kLanes) return widen(load_group<kLanes / kWidth<T>>(x, int(here), splat(rest)), to);
  for (int m = 0; m < kLaneVectors; ++m) to[m] = load_wide(x + m * kWidth<double>);
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
