// The short-row traversal: contiguous slices of up to about a hundred entries, transposed in
// registers into the columns of a small tile, and back.

// Entries of a row that 128 bits hold.
template <class T>
constexpr int kPiece = 16 / int(sizeof(T));

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

// Pieces of half a vector; where a vector is one piece nothing asks.
constexpr int kHalf = kPieces > 1 ? kPieces / 2 : 1;

// The even or the odd ones (Odd = 1) of the 128 bits in two vectors, and their way back: 128 bits
// of each by turns, from their lower or their upper halves (Upper = 1).
template <class T, int Odd>
constexpr int every_other(int lane) {
  const int piece = lane / kPiece<T>;
  return piece / kHalf * kWidth<T> + (piece % kHalf * 2 + Odd) * kPiece<T> + lane % kPiece<T>;
}
template <class T, int Upper>
constexpr int by_turns(int lane) {
  const int piece = lane / kPiece<T>;
  return piece % 2 * kWidth<T> + (piece / 2 + Upper * kHalf) * kPiece<T> + lane % kPiece<T>;
}
template <int Odd, class T, int... I>
INLINE vec<T> take_every_other(vec<T> a, vec<T> b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, every_other<T, Odd>(I)...);
}
template <int Upper, class T, int... I>
INLINE vec<T> take_by_turns(vec<T> a, vec<T> b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, by_turns<T, Upper>(I)...);
}

// Of twice kPiece vectors with pairs of pieces, v[i] from RowPieces::place(i), to as many columns,
// and back.
template <class T>
INLINE void transpose_pairs(vec<T>* v) {
  constexpr int P = kPiece<T>;
  const std::make_integer_sequence<int, kWidth<T>> lanes;
  transpose(v);
  transpose(v + P);
  for (int i = 0; i < P; ++i) {
    const vec<T> first = v[i], second = v[P + i];
    v[i] = take_every_other<0, T>(first, second, lanes);
    v[P + i] = take_every_other<1, T>(first, second, lanes);
  }
}
template <class T>
INLINE void transpose_back(vec<T>* v) {
  constexpr int P = kPiece<T>;
  const std::make_integer_sequence<int, kWidth<T>> lanes;
  for (int i = 0; i < P; ++i) {
    const vec<T> first = v[i], second = v[P + i];
    v[i] = take_by_turns<0, T>(first, second, lanes);
    v[P + i] = take_by_turns<1, T>(first, second, lanes);
  }
  transpose(v);
  transpose(v + P);
}

// Rows of n entries, of which one vector holds a piece each: those that are kPiece rows apart.
template <class T>
struct RowPieces {
  T* row[kPieces];
  int64_t n;

  RowPieces(T* first, int64_t length) : n(length) {
    for (int g = 0; g < kPieces; ++g) row[g] = first + g * kPiece<T> * n;
  }

  // Where vector i of those that hold pairs begins: the first kPiece have the first half of the
  // rows.
  INLINE T* const* place(int i) const { return row + i / kPiece<T> * kHalf; }
};

// Calls pairs(c), where vectors hold them, for twice as many columns from c on as a piece has, and
// pieces(c) for as many: all n, some twice.
template <class T, class Pairs, class Pieces>
INLINE void for_pieces(int64_t n, Pairs pairs, Pieces pieces) {
  constexpr int P = kPiece<T>;
  int64_t j = 0;
  if constexpr (kPieces > 1)
    if (n >= 2 * P)
      for (; n - j > P; j += 2 * P) pairs(std::min(j, n - 2 * P));
  for (; j < n; j += P) pieces(std::min(j, n - P));
}

// Of rows shorter than a piece, both ways.
template <class T>
__attribute__((noinline)) void turn_entries(const T* x, int64_t n, T* tile, int columns) {
  for (int64_t j = 0; j < n; ++j)
    for (int r = 0; r < kWidth<T>; ++r) tile[j * columns + r] = x[r * n + j];
}
template <class T>
__attribute__((noinline)) void turn_entries_back(const T* tile, int columns, int64_t n, T* y) {
  for (int64_t j = 0; j < n; ++j)
    for (int r = 0; r < kWidth<T>; ++r) y[r * n + j] = tile[j * columns + r];
}

// As many contiguous rows of n entries as a vector has lanes, one to a lane of n vectors `columns`
// elements apart; gives their largest entries.  A last piece that does not fit overlaps the one
// before.
template <class T>
INLINE vec<T> turn_rows(const T* x, int64_t n, T* tile, int columns) {
  constexpr int P = kPiece<T>;
  vec<T> top = splat(-std::numeric_limits<T>::infinity());
  if (n < P) {
    turn_entries(x, n, tile, columns);
    for (int64_t j = 0; j < n; ++j) top = larger(load(tile + j * columns), top);
    return top;
  }
  const RowPieces<const T> rows(x, n);
  const auto take = [&](int64_t c, vec<T> v) INLINE_LAMBDA {
    store(tile + c * columns, v);
    top = larger(v, top);
  };
  for_pieces<T>(
      n,
      [&](auto c) INLINE_LAMBDA {
        vec<T> v[2 * P];
        for (int i = 0; i < 2 * P; ++i) v[i] = load_pairs(rows.place(i), i % P * n + c);
        transpose_pairs<T>(v);
        for (int i = 0; i < 2 * P; ++i) take(c + i, v[i]);
      },
      [&](int64_t c) INLINE_LAMBDA {
        vec<T> v[P];
        for (int i = 0; i < P; ++i) v[i] = load_pieces(rows.row, i * n + c);
        transpose(v);
        for (int i = 0; i < P; ++i) take(c + i, v[i]);
      });
  return top;
}

// The way back, through f(j, v), where v are entries j.
template <class T, class F>
INLINE void turn_columns(const T* tile, int columns, int64_t n, T* y, F f) {
  constexpr int W = kWidth<T>, P = kPiece<T>;
  if (n < P) {
    alignas(kVectorBytes) T results[(P - 1) * W];
    for (int64_t j = 0; j < n; ++j) store(results + j * W, f(j, load(tile + j * columns)));
    return turn_entries_back(results, W, n, y);
  }
  const RowPieces<T> rows(y, n);
  const auto result = [&](int64_t c) INLINE_LAMBDA { return f(c, load(tile + c * columns)); };
  for_pieces<T>(
      n,
      [&](auto c) INLINE_LAMBDA {
        vec<T> v[2 * P];
        for (int i = 0; i < 2 * P; ++i) v[i] = result(c + i);
        transpose_back<T>(v);
        for (int i = 0; i < 2 * P; ++i) store_pairs(rows.place(i), i % P * n + c, v[i]);
      },
      [&](int64_t c) INLINE_LAMBDA {
        vec<T> v[P];
        for (int i = 0; i < P; ++i) v[i] = result(c + i);
        transpose(v);
        for (int i = 0; i < P; ++i) store_pieces(rows.row, i * n + c, v[i]);
      });
}

struct LastRows;
struct Results;

// rows x n, contiguous, into n rows of `columns` entries.  Calls largest(r, v) with the largest
// entries of rows r, r + 1 ...; copies of the last row fill up its vectors.
template <class T, class F>
INLINE void rows_to_columns(const T* x, int64_t n, int rows, T* tile, int columns, F largest) {
  constexpr int W = kWidth<T>;
  for (int r = 0; r < rows; r += W) {
    const T* from = x + r * n;
    if (const int here = rows - r; here < W) {
      T* padded = scratch<T, LastRows>(W * n);
      for (int i = 0; i < W; ++i)
        std::memcpy(padded + i * n, from + std::min(i, here - 1) * n, size_t(n) * sizeof(T));
      from = padded;
    }
    largest(r, turn_rows(from, n, tile + r, columns));
  }
}

// The way back; map_of(k) makes, for vector k of the rows, what makes results of their entries j.
template <class T, class F>
INLINE void columns_to_rows(const T* tile, int columns, int64_t n, int rows, T* y, F map_of) {
  constexpr int W = kWidth<T>;
  for (int r = 0; r < rows; r += W) {
    const int here = std::min(rows - r, W);
    T* to = here == W ? y + r * n : scratch<T, LastRows>(W * n);
    turn_columns(tile + r, columns, n, to, map_of(r / W));
    if (here < W) std::memcpy(y + r * n, to, size_t(here * n) * sizeof(T));
  }
}

// A map that is the same for all entries.
template <class Map>
INLINE auto for_all(const Map& map) {
  return [map](int64_t, auto v) INLINE_LAMBDA { return map(v); };
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

// Rows as the columns of a tile: see Tile.
template <class T>
struct TurnedRows {
  T* turned;
  int64_t n;
  const T* x;  // as rows
  T* y;        // their results
  T* kept;     // `turned` where exponentials take the place of entries, else null
  Meanwhile<T> meanwhile;
  Delivery<T> outgoing{};  // what is streamed while they are summed

  // Whole vectors: what lanes without a row hold does not matter.
  template <int K>
  INLINE group<T, K> row(int64_t i, int) const {
    return load_group<K>(turned + i * K * kWidth<T>, K * kWidth<T>, splat(T(0)));
  }
};

struct TurnedAgain;

// The tile with entries where it holds exponentials.
template <class T, int K, bool Tempered>
TurnedRows<T> entries_again(const TurnedRows<T>& rows, const SliceLanes<T, K, Tempered>& lanes) {
  constexpr int columns = K * kWidth<T>;
  TurnedRows<T> again = rows;
  if (!rows.kept) return again;
  again.turned = scratch<T, TurnedAgain>(columns * rows.n);
  again.kept = nullptr;
  rows_to_columns(rows.x, rows.n, lanes.count, again.turned, columns,
                  [](int, vec<T>) INLINE_LAMBDA {});
  if (lanes.adjusted) adjust_entries(lanes, again.turned, rows.n);
  return again;
}

template <class T, int K, bool Tempered>
INLINE void write_scaled(const TurnedRows<T>& rows, const SliceLanes<T, K, Tempered>& lanes,
                         const ScaleLanes<T>* scale) {
  columns_to_rows(rows.turned, K * kWidth<T>, rows.n, lanes.count, rows.y,
                  [&](int k) INLINE_LAMBDA { return for_all(scale[k]); });
}

template <class T, int K, bool Tempered>
INLINE void write_logarithms(const TurnedRows<T>& rows, const SliceLanes<T, K, Tempered>& lanes,
                             const ShiftLanes<T, Tempered>* shift) {
  columns_to_rows(rows.turned, K * kWidth<T>, rows.n, lanes.count, rows.y,
                  [&](int k) INLINE_LAMBDA { return for_all(shift[k]); });
}

template <class T, int K>
INLINE void write_singles(const TurnedRows<T>& rows, int count, const group<T, K>& v) {
  store_entries(rows.y, count, v);
}

// Slices from `first` on, contiguous rows at x, into a tile; false if the temperature of one is a
// limit.
template <int K, bool Tempered, class T>
bool turn(const Job& job, const T* x, int64_t first, T* turned, SliceLanes<T, K, Tempered>& lanes) {
  if (!set_temperatures(job, first, lanes)) return false;
  rows_to_columns(x, job.n, lanes.count, turned, K * kWidth<T>,
                  [&](int r, vec<T> top) INLINE_LAMBDA { lanes.max.v[r / kWidth<T>] = top; });
  if (!lanes.find_frames()) {
    lanes.adjust();
    adjust_entries(lanes, turned, job.n);
  }
  lanes.find_top();
  return true;
}

// What is fetched while a tile from slice `first` on is summed: what is stored behind it, and where
// its results go: as many bytes a step as a row of this tile has, as it is stored.
template <int K, class T>
Meanwhile<T> beside_tile(const Job& job, int64_t first, int count, char* result) {
  const int64_t item = item_size(job.dtype), step = K * kWidth<T> * item / int64_t(sizeof(T));
  Meanwhile<T> meanwhile;
  if (!job.fetch_ahead) return meanwhile;
  meanwhile.room = job.room;
  meanwhile.next = {(const T*)(slice_at(job, first).x + count * job.n * item), step};
  if (job.fetch_results) meanwhile.result = {(T*)result, step};
  return meanwhile;
}

// Slices first .. first + count - 1, contiguous rows, as a tile; false, and nothing written, if one
// is out of the ordinary.  With `outgoing` results wait in its room, to be taken.  `left` says
// which rows are not done.
template <int K, bool Tempered, class T>
bool run_turned(const Job& job, const T* x, T* y, int64_t first, int count,
                OutgoingTile<T>* outgoing, Left& left) {
  constexpr int columns = K * kWidth<T>;
  const int64_t n = job.n;
  T* turned = scratch<T, Turned>(columns * n);
  SliceLanes<T, K, Tempered> lanes;
  lanes.count = count;
  lanes.coarse = job.only_sums();
  if (!turn(job, x, first, turned, lanes)) return false;
  if (lanes.left.odd && !leave_odd(job, first, lanes.left.odd)) return false;
  TurnedRows<T> rows = {turned, n, x, y, job.op == Op::log_softmax ? nullptr : turned, {}};
  rows.meanwhile =
      beside_tile<K, T>(job, first, count, outgoing ? nullptr : slice_at(job, first).y);
  if (outgoing) rows.outgoing = outgoing->lines();
  if (rows.kept)
    with_coarseness(lanes, [&](auto coarse) INLINE_LAMBDA {
      sum_columns<true, false, decltype(coarse)::value>(rows, lanes);
    });
  else
    sum_columns<false, false>(rows, lanes);
  if (outgoing) {
    outgoing->finish(columns * n);
    rows.y = outgoing->room(y);
  }
  const bool done = finish_tile(job, rows, lanes, first);
  left = lanes.left;
  return done;
}

// Rows up to this length are turned as four vectors side by side: what is done once a row is most
// of their time.  Of longer ones two vectors stay in the first-level cache beside what goes, and
// what comes where it has room. Only the longer ones are streamed: the shortest gain nothing.
constexpr int64_t kShortest = 24;
static_assert(kShortest >= kWidth<float>);  // see OutgoingTile::take

constexpr int vectors_of_tile(int64_t n) { return n <= kShortest ? 4 : 2; }

// How many rows are turned at a time.
template <class T>
constexpr int64_t short_tile(int64_t n) {
  return vectors_of_tile(n) * kWidth<T>;
}

// The same in as many vectors as rows of this length, or so few of them, want; slices of a tile
// that is out of the ordinary are worked on one by one.
template <class D, class T>
bool run_short_tile(const Job& job, const T* x, T* y, int64_t first, int count,
                    OutgoingTile<T>* outgoing, Left& left) {
  const auto run = [&](auto tempered) {
    constexpr bool kTempered = decltype(tempered)::value;
    return vectors_of_tile(job.n) == 4 && count > 2 * kWidth<T>
               ? run_turned<4, kTempered>(job, x, y, first, count, outgoing, left)
               : run_turned<2, kTempered>(job, x, y, first, count, outgoing, left);
  };
  const bool done = job.temperature.data ? run(std::true_type()) : run(std::false_type());
  for (int r = 0; r < count && !done; ++r) run_slice<D, T>(job, first + r);
  return done;
}

// Slices first .. first + slices - 1, tile by tile.
template <class D, class T>
void run_short_rows(const Job& job, int64_t first, int64_t slices,
                    OutgoingTile<T>* outgoing = nullptr) {
  constexpr bool widens = !std::is_same_v<D, T>;
  const int64_t n = job.n, most = short_tile<T>(n);
  NextToZero<D> next_to_zero(job);
  for (int64_t i = first; i < first + slices; i += most) {
    const int count = int(std::min(first + slices - i, most));
    const Slice slice = slice_at(job, i);
    const T* x = widens || slice.where ? staged_rows<D, T>(job, i, count) : (const T*)slice.x;
    T* y = widens ? scratch<T, Results>(most * n) : (T*)slice.y;
    Left left;
    if (!run_short_tile<D>(job, x, y, i, count, outgoing, left)) continue;
    if constexpr (widens)
      if (job.op != Op::logsumexp || job.only_sums())
        round_run(y, (D*)slice.y, job.op == Op::logsumexp ? count : count * n);
    if (left.odd) run_odd<D, T>(job, i, left.odd, outgoing ? outgoing->room(y) : nullptr);
    if (left.near) next_to_zero.add(i, left.near);
    if (outgoing) outgoing->take(y, count * n);
  }
  next_to_zero.settle();
}

// The same, of results that exceed the caches.
template <class T>
void stream_short_rows(const Job& job, int64_t first, int64_t slices) {
  OutgoingTile<T> outgoing(kColumns * job.n);
  run_short_rows<T, T>(job, first, slices, &outgoing);
  outgoing.settle();
}
