// Small products of matrices: a tile of the result at a time is held in registers while what it is
// the sum of passes.

constexpr int kTileLines = 4;
constexpr int kTileVectors = SOFTMAX_LEVEL == 4 ? 4 : 2;

// V vectors of neighbours, of which the last may be a part.
template <class T, int V>
struct Neighbours {
  vec<T> v[V];
  int last;  // entries of the last one

  INLINE void load_whole(const T* p) {
    _Pragma("GCC unroll 4") for (int j = 0; j < V; ++j) v[j] = load(p + j * kWidth<T>);
  }
  INLINE void load_from(const T* p) {
    _Pragma("GCC unroll 4") for (int j = 0; j < V - 1; ++j) v[j] = load(p + j * kWidth<T>);
    v[V - 1] = load_first(p + (V - 1) * kWidth<T>, last, splat(T(0)));
  }
  INLINE void store_to(T* p) const {
    _Pragma("GCC unroll 4") for (int j = 0; j < V - 1; ++j) store(p + j * kWidth<T>, v[j]);
    store_first(p + (V - 1) * kWidth<T>, last, v[V - 1]);
  }
  INLINE void add(T factor, const Neighbours& other) {
    const vec<T> f = splat(factor);
    _Pragma("GCC unroll 4") for (int j = 0; j < V; ++j) v[j] = fma(f, other.v[j], v[j]);
  }
};

// Calls f with the number of vectors that `count` columns fill, at most `Most`, as a type.
template <class T, int Most, class F>
INLINE void with_vectors(int64_t count, F f) {
  const int vectors = int((count + kWidth<T> - 1) / kWidth<T>);
  const int last = int(count - (vectors - 1) * kWidth<T>);
  if constexpr (Most > 1)
    if (vectors < Most) return with_vectors<T, Most - 1>(count, f);
  f(std::integral_constant<int, Most>(), last);
}

// Where the factor of row r on line i stands: at r * row + i * line.
template <class T>
struct Factors {
  const T* data;
  int64_t row, line;
};

// Rows of neighbours.
template <class T>
struct Lines {
  T* data;
  int64_t step;
};

// Adds to a tile, from `line` and `column` on, the rows times its factors.  Rows that are `Padded`
// go on to the end of their last vector.
template <class T, int V, bool Padded>
void add_tile(const Factors<T>& factors, const Lines<const T>& rows, int64_t count, int lines,
              int last, const Lines<T>& out) {
  Neighbours<T, V> sum[kTileLines], row;
  const T* factor[kTileLines];
  for (int i = 0; i < kTileLines; ++i)
    factor[i] = factors.data + std::min(i, lines - 1) * factors.line;
  row.last = last;
  _Pragma("GCC unroll 4") for (auto& s : sum) {
    s.last = last;
    _Pragma("GCC unroll 4") for (auto& v : s.v) v = splat(T(0));
  }
  for (int64_t r = 0; r < count; ++r) {
    const T* p = rows.data + r * rows.step;
    Padded ? row.load_whole(p) : row.load_from(p);
    _Pragma("GCC unroll 4") for (int i = 0; i < kTileLines; ++i) sum[i].add(
        factor[i][r * factors.row], row);
  }
  // Unrolled, for what is chosen by a variable cannot stay in registers.
  _Pragma("GCC unroll 4") for (int i = 0; i < kTileLines; ++i) {
    if (i == lines) return;
    T* place = out.data + i * out.step;
    row.load_from(place);
    row.add(T(1), sum[i]);
    row.store_to(place);
  }
}

// Adds to `lines` lines of `columns` numbers the sum of `count` rows times their factors; with
// `Upper`, where these are rows of a symmetric matrix, leaves out what lies wholly below its
// diagonal.
template <class T, bool Padded, bool Upper = false>
void add_product(const Factors<T>& factors, const Lines<const T>& rows, int64_t count,
                 int64_t lines, int64_t columns, const Lines<T>& out) {
  constexpr int64_t W = kWidth<T>;
  for (int64_t line = 0; line < lines; line += kTileLines)
    for (int64_t column = Upper ? line / W * W : 0; column < columns; column += kTileVectors * W)
      with_vectors<T, kTileVectors>(
          std::min(kTileVectors * W, columns - column), [&](auto vectors, int last) {
            add_tile<T, vectors.value, Padded>(
                {factors.data + line * factors.line, factors.row, factors.line},
                {rows.data + column, rows.step}, count,
                int(std::min<int64_t>(kTileLines, lines - line)), last,
                {out.data + line * out.step + column, out.step});
          });
}
