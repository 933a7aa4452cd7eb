// The short-row traversal: contiguous slices of a few entries, transposed in registers into the
// columns of a small tile, and back.

// Entries of a row that one 128-bit register holds, and rows that one vector holds such pieces of.
template <class T>
constexpr int kPiece = 16 / int(sizeof(T));

template <class T>
struct piece_of {
  typedef T type __attribute__((vector_size(16)));
};

// Lanes of the interleaving step: within each 128 bits, `Size` elements of a, then as many of b,
// from the lower half (Upper = 0) or the upper half.
template <int W, int P, int Size, int Upper>
constexpr int interleaved(int lane) {
  const int base = lane / P * P, within = lane % P, chosen = within / Size;
  const int from = chosen / 2 * Size + within % Size + Upper * (P / 2);
  return (chosen % 2) * W + base + from;
}

template <int Size, int Upper, class T, int... I>
INLINE vec<T> interleave(vec<T> a, vec<T> b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, interleaved<kWidth<T>, kPiece<T>, Size, Upper>(I)...);
}

template <int Size, int Upper, class T>
INLINE vec<T> interleave(vec<T> a, vec<T> b) {
  return interleave<Size, Upper, T>(a, b, std::make_integer_sequence<int, kWidth<T>>());
}

// Transposes the squares of kPiece x kPiece elements that stand in each 128 bits of the vectors.
INLINE void transpose(vec<float>* v) {
  const vec<float> a = interleave<1, 0, float>(v[0], v[1]), b = interleave<1, 1, float>(v[0], v[1]);
  const vec<float> c = interleave<1, 0, float>(v[2], v[3]), d = interleave<1, 1, float>(v[2], v[3]);
  v[0] = interleave<2, 0, float>(a, c);
  v[1] = interleave<2, 1, float>(a, c);
  v[2] = interleave<2, 0, float>(b, d);
  v[3] = interleave<2, 1, float>(b, d);
}
INLINE void transpose(vec<double>* v) {
  const vec<double> a = interleave<1, 0, double>(v[0], v[1]);
  v[1] = interleave<1, 1, double>(v[0], v[1]);
  v[0] = a;
}

template <class V, class Q, int... I>
INLINE V joined(Q a, Q b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, I...);
}

// A vector of 128-bit pieces, `step` elements apart in memory.
template <class T, int Bytes = kVectorBytes>
INLINE auto gather_pieces(const T* p, int64_t step) {
  if constexpr (Bytes == 16) {
    typename piece_of<T>::type v;
    __builtin_memcpy(&v, p, 16);
    return v;
  } else {
    constexpr int lanes = Bytes / int(sizeof(T));
    const auto a = gather_pieces<T, Bytes / 2>(p, step);
    const auto b = gather_pieces<T, Bytes / 2>(p + Bytes / 32 * step, step);
    typedef T joined_type __attribute__((vector_size(Bytes)));
    return joined<joined_type>(a, b, std::make_integer_sequence<int, lanes>());
  }
}

template <class V, int First, class T, int... I>
INLINE V part(vec<T> v, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(v, v, (First + I)...);
}

template <class T, int G = 0>
INLINE void scatter_pieces(T* p, int64_t step, vec<T> v) {
  constexpr int P = kPiece<T>;
  const auto piece =
      part<typename piece_of<T>::type, G * P, T>(v, std::make_integer_sequence<int, P>());
  __builtin_memcpy(p + G * step, &piece, 16);
  if constexpr ((G + 1) * P < kWidth<T>) scatter_pieces<T, G + 1>(p, step, v);
}

// rows x n, contiguous, into n rows of `columns` entries.  A last piece that does not fit overlaps
// the one before.
template <class T>
INLINE void rows_to_columns(const T* x, int64_t n, int rows, T* tile, int columns) {
  constexpr int W = kWidth<T>, P = kPiece<T>;
  int r = 0;
  if (n >= P)
    for (; r + W <= rows; r += W)
      for (int64_t j = 0; j < n; j += P) {
        const int64_t c = j + P <= n ? j : n - P;
        vec<T> v[P];
        for (int k = 0; k < P; ++k) v[k] = gather_pieces<T>(x + (r + k) * n + c, P * n);
        transpose(v);
        for (int k = 0; k < P; ++k) store(tile + (c + k) * columns + r, v[k]);
      }
  for (; r < rows; ++r)
    for (int64_t j = 0; j < n; ++j) tile[j * columns + r] = x[r * n + j];
}

template <class T>
INLINE void columns_to_rows(const T* tile, int columns, int64_t n, int rows, T* y) {
  constexpr int W = kWidth<T>, P = kPiece<T>;
  int r = 0;
  if (n >= P)
    for (; r + W <= rows; r += W)
      for (int64_t j = 0; j < n; j += P) {
        const int64_t c = j + P <= n ? j : n - P;
        vec<T> v[P];
        for (int k = 0; k < P; ++k) v[k] = load(tile + (c + k) * columns + r);
        transpose(v);
        for (int k = 0; k < P; ++k) scatter_pieces<T>(y + (r + k) * n + c, P * n, v[k]);
      }
  for (; r < rows; ++r)
    for (int64_t j = 0; j < n; ++j) y[r * n + j] = tile[j * columns + r];
}

// A copy of `count` slices as numbers, -inf where they take no part.
template <class D, class T>
const T* staged_rows(const Job& job, int64_t first, int count) {
  const int64_t n = job.n;
  T* rows = scratch<T>(count * n);
  widen_run((const D*)slice_at(job, first).x, rows, count * n);
  const Operand& where = job.where;
  if (!where.data) return rows;
  if (where.along == 1 && where.stride[0] == n && job.dims == 1)
    leave_out(rows, slice_at(job, first).where, 1, count * n);
  else
    for (int r = 0; r < count; ++r)
      leave_out(rows + r * n, slice_at(job, first + r).where, where.along, n);
  return rows;
}

template <class D, class T>
void run_short_rows(const Job& job, int64_t first, int bundle) {
  constexpr int K = 4, columns = K * kWidth<T>;
  constexpr bool widens = !std::is_same_v<D, T>;
  const int64_t n = job.n;
  for (int64_t i = first; i < first + bundle; i += columns) {
    const int count = int(std::min<int64_t>(first + bundle - i, columns));
    const Slice slice = slice_at(job, i);
    const bool reduces = job.op == Op::logsumexp;
    T* buffer = scratch<T, Turned>(columns * n);
    const T* rows = (const T*)slice.x;
    if (widens || slice.where) rows = staged_rows<D, T>(job, i, count);
    rows_to_columns(rows, n, count, buffer, columns);
    T* kept = job.op == Op::softmax ? buffer : nullptr;
    Tile<T, T> tile = {buffer, columns, buffer, columns, kept, n};
    if (job.fetch_ahead && !widens) {
      tile.next = (const T*)slice.x + count * n, tile.next_step = columns;
      if (!reduces) tile.result = (const T*)slice.y, tile.result_step = columns;
    }
    const bool done = job.temperature.data ? run_tile<K, true, D>(job, tile, i, count)
                                           : run_tile<K, false, D>(job, tile, i, count);
    if (!done) {
      for (int r = 0; r < count; ++r) run_slice<D, T>(job, i + r);
      continue;
    }
    if (reduces && job.notes) continue;
    T* y = widens ? scratch<T>(columns * n) : (T*)slice.y;
    if (reduces)
      std::memcpy(y, buffer, size_t(count) * sizeof(T));
    else
      columns_to_rows(buffer, columns, n, count, y);
    if constexpr (widens) round_run(y, (D*)slice.y, reduces ? count : count * n);
  }
}
