// Reduce: sums of columns, in the same sixteen lanes and the same tree as those of rows
// (reduce.inl), which so have the same bits.

// The running sums of a vector of columns, and what rounding took from them.
template <class T>
struct ColumnSum;

template <>
struct ColumnSum<float> {
  vec<double> low, high;

  static INLINE ColumnSum of(const float* e) {
    return {load_wide(e), load_wide(e + kWidth<double>)};
  }
  INLINE ColumnSum with(const ColumnSum& other) const {
    return {low + other.low, high + other.high};
  }
  INLINE void add(const float* e) { *this = with(of(e)); }
  INLINE ColumnSum settled() const { return *this; }
  INLINE void total(vec<double>* hi, vec<double>*) const { hi[0] = low, hi[1] = high; }
};

template <>
struct ColumnSum<double> {
  vec<double> sum, error;

  static INLINE ColumnSum of(const double* e) {
    ColumnSum first = {splat(Sums<double>::start), splat(0.0)};
    first.add(e);
    return first;
  }
  INLINE void add(const double* e) {
    const vec<double> term = load(e), longer = sum + term;
    error = error + (term - (longer - sum));
    sum = longer;
  }
  INLINE ColumnSum settled() const { return {sum - Sums<double>::start, error}; }
  INLINE ColumnSum with(const ColumnSum& other) const {
    const vec<double> s = sum + other.sum, t = s - sum;
    return {s, (error + other.error) + ((sum - (s - t)) + (other.sum - t))};
  }
  INLINE void total(vec<double>* hi, vec<double>* lo) const {
    *hi = sum + error;
    *lo = error - (*hi - sum);
  }
};

// The sums of a tile's columns: sixteen for each vector of them, of which row i goes to sum i mod
// 16, so that of a short tile some stay empty and take no part in the final tree.  Rows come in
// blocks, from memory, whose sums pass through registers.
template <class T, int K>
class ColumnSums {
  static constexpr int columns = K * kWidth<T>;

  ColumnSum<T> lane_[K][kLanes];

  // Sum l of vector k with the rows of a block that belong to it.
  template <bool First>
  INLINE ColumnSum<T> lane(const T* e, int64_t rows, int k, int l) const {
    ColumnSum<T> sum = First ? ColumnSum<T>::of(e + l * columns) : lane_[k][l];
    for (int64_t i = First ? l + kLanes : l; i < rows; i += kLanes) sum.add(e + i * columns);
    return sum;
  }

  // The tree over the sums L, L + Step, L + 2 Step ... below `used`.
  template <bool First, int L, int Step>
  INLINE ColumnSum<T> tree(const T* e, int64_t rows, int k, int used) const {
    if constexpr (Step == kLanes) {
      return lane<First>(e, rows, k, L).settled();
    } else {
      const ColumnSum<T> first = tree<First, L, 2 * Step>(e, rows, k, used);
      return L + Step < used ? first.with(tree<First, L + Step, 2 * Step>(e, rows, k, used))
                             : first;
    }
  }

 public:
  static constexpr int64_t kBlock = 4 * kLanes;

  // A whole block.
  template <bool First>
  void add(const T* e) {
    for (int k = 0; k < K; ++k)
      for (int l = 0; l < kLanes; ++l) lane_[k][l] = lane<First>(e + k * kWidth<T>, kBlock, k, l);
  }

  // With the last rows, a block at most.
  template <bool First>
  INLINE void total(const T* e, int64_t rows, vec<double>* sum, vec<double>* low) const {
    const int used = First ? int(std::min<int64_t>(rows, kLanes)) : kLanes;
    for (int k = 0; k < K; ++k) {
      const int at = k * kWide<T, 1>;
      tree<First, 0, 1>(e + k * kWidth<T>, rows, k, used).total(sum + at, low + at);
    }
  }
};
