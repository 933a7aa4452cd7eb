// Groups: how a contiguous row is walked, in vectors that advance together, and its largest entry.

// Lanes of the sums of a row (reduce.inl).
constexpr int kLanes = 16;

// Vectors that advance together; a multiple of the sixteen lanes of the sums.
template <class T>
constexpr int kGroup = kLanes / kWidth<T> > 4 ? kLanes / kWidth<T> : 4;

// Room for n entries in whole groups, wherever in the first vector one starts.
template <class T>
INLINE int64_t padded(int64_t n) {
  constexpr int64_t group = kGroup<T> * kWidth<T>;
  return (n + group - 1) / group * group + kWidth<T>;
}

// Calls f for the `rest` entries from i in as few vectors as hold them, up to four; if these are
// not enough, in all eight, of which the last may be empty.
template <int K, class T, class F>
INLINE void for_rest(int64_t i, int rest, F f) {
  constexpr int less = K > 4 ? K / 2 : K - 1, most = less * kWidth<T>;
  if constexpr (less > 0)
    if (rest <= most) return for_rest<less, T>(i, rest, f);
  if (rest <= most) __builtin_unreachable();  // so many vectors are whole
  f(std::integral_constant<int, K>(), i, rest);
}

// Calls f(size, offset, count) with a constant number of vectors, an integral_constant: full
// groups, then the rest, of which the last vectors may be partial or empty.
template <class T, class F>
INLINE void for_groups(int64_t n, F f) {
  constexpr int K = kGroup<T>, W = kWidth<T>;
  int64_t i = 0;
  for (; i + K * W <= n; i += K * W) f(std::integral_constant<int, K>(), i, K * W);
  if (i < n) for_rest<K, T>(i, int(n - i), f);
}

// The same where it is known how many vectors the rest takes: another such constant, or -1.
template <class T, class Rest, class F>
INLINE void for_groups(int64_t n, Rest rest, F f) {
  constexpr int K = kGroup<T>, W = kWidth<T>, R = Rest::value;
  static_assert(R < 0 || K <= 4);  // where for_rest takes as few
  if constexpr (R < 0) return for_groups<T>(n, f);
  int64_t i = 0;
  for (; i + K * W <= n; i += K * W) f(std::integral_constant<int, K>(), i, K * W);
  if constexpr (R > 0) f(rest, i, int(n - i));
}

// Calls f with that constant: rows of one length need not ask for it one by one.
template <class T, int R = kGroup<T>, class F>
INLINE void with_rest(int64_t n, F f) {
  constexpr int W = kWidth<T>;
  if constexpr (R > 0)
    if (n % (kGroup<T> * W) <= (R - 1) * W) return with_rest<T, R - 1>(n, f);
  f(std::integral_constant<int, R>());
}

// `count` of the K vectors' elements exist in memory, or more; the others read as `rest`.
template <int K, class T>
INLINE group<T, K> load_group(const T* p, int count, vec<T> rest) {
  constexpr int W = kWidth<T>;
  group<T, K> x;
  if (count >= K * W) {
    EACH x.v[k] = load(p + k * W);
  } else {
    EACH {
      int here = count - k * W;
      x.v[k] = here >= W ? load(p + k * W) : here > 0 ? load_first(p + k * W, here, rest) : rest;
    }
  }
  return x;
}

template <int K, class T>
INLINE void store_group(T* p, int count, const group<T, K>& x) {
  constexpr int W = kWidth<T>;
  if (count == K * W) {
    EACH store(p + k * W, x.v[k]);
  } else {
    EACH {
      int here = count - k * W;
      if (here >= W)
        store(p + k * W, x.v[k]);
      else if (here > 0)
        store_first(p + k * W, here, x.v[k]);
    }
  }
}

// Rows longer than this leave the first-level cache.
constexpr int64_t kNearRow = 4096;

// Rows of this length are worth a few steps to where their vectors no longer cross cache lines.
constexpr int64_t kLongRow = 512;

// Elements from p to the next address that is a multiple of a vector.
template <class T>
INLINE int64_t to_alignment(const T* p) {
  return int64_t(-uintptr_t(p) % kVectorBytes / sizeof(T));
}

template <class T>
constexpr auto kLarger = [](vec<T> a, vec<T> b) INLINE_LAMBDA { return larger(a, b); };

template <class T>
INLINE T horizontal_max(vec<T> v) {
  return fold(v, kLarger<T>)[0];
}

// A vector among whose lanes is the largest entry; nan is passed over (the sum will find it).
template <class T>
INLINE vec<T> largest_lanes(const T* x, int64_t n) {
  constexpr int K = kGroup<T>;
  const vec<T> lowest = splat(-std::numeric_limits<T>::infinity());
  group<T, K> m;
  EACH m.v[k] = lowest;
  for_groups<T>(n, [&](auto size, int64_t i, int count) INLINE_LAMBDA {
    constexpr int G = decltype(size)::value;
    group<T, G> v = load_group<G>(x + i, count, lowest);
    _Pragma("GCC unroll 8") for (int k = 0; k < G; ++k) m.v[k] = larger(v.v[k], m.v[k]);
  });
  for (int k = 1; k < K; ++k) m.v[0] = larger(m.v[k], m.v[0]);
  return m.v[0];
}

// The same for long rows: the first vector as it lies, the others aligned; entries seen twice do no
// harm.
template <class T>
vec<T> largest_lanes_of_long(const T* x, int64_t n) {
  const int64_t lead = to_alignment(x);
  return larger(load(x), largest_lanes(x + lead, n - lead));
}

template <class T>
T row_max(const T* x, int64_t n) {
  return horizontal_max<T>(n >= kLongRow ? largest_lanes_of_long(x, n) : largest_lanes(x, n));
}

// Where v, a number, first stands in x; n if nowhere.  In short rows without a branch that nobody
// can foretell.
template <class T>
int64_t position_of(const T* x, int64_t n, T v) {
  constexpr int K = 8, W = kWidth<T>;
  int64_t first = 0;
  for (; first + K * W < n; first += K * W) {
    vec<bits<T>> found = load(x + first) == v;
    for (int k = 1; k < K; ++k) found |= load(x + first + k * W) == v;
    if (any_set<T>(found)) break;
  }
  const int count = int(std::min<int64_t>(n - first, K * W)), whole = count / W * W;
  const auto lanes = [](int i) INLINE_LAMBDA { return lane_numbers<T>() + bits<T>(i); };
  const vec<T> last = load_first(x + first + whole, count - whole, splat(v));
  vec<bits<T>> at = last == v ? lanes(whole) : lanes(count);
  for (int i = whole - W; i >= 0; i -= W) at = load(x + first + i) == v ? lanes(i) : at;
  return first + fold(at, [](auto a, auto b) INLINE_LAMBDA { return a < b ? a : b; })[0];
}

// The largest entry of a row and where it first stands, which is looked for in one block alone;
// what place a row of nan gives means nothing.
template <class T>
struct Largest {
  T value = -std::numeric_limits<T>::infinity();
  int64_t place = 0;
};
template <class T>
Largest<T> find_largest(const T* x, int64_t n) {
  constexpr int64_t kBlock = 2048;
  Largest<T> largest;
  for (int64_t i = 0; i < n; i += kBlock) {
    const T value = row_max(x + i, std::min(n - i, kBlock));
    if (value > largest.value) largest = {value, i};
  }
  const int64_t block = largest.place;
  largest.place += position_of(x + block, std::min(n - block, kBlock), largest.value);
  return largest;
}
