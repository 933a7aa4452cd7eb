// The column traversal: a tile of neighbouring slices at once, one per lane, for an axis that is
// not the contiguous one.  The tile is read row by row.  Of floats once, in a guessed frame; else
// it stays in the cache between the maximum and the sum.  What the map needs again is kept near.

// Sums the exponentials, keeping them if Keep.  With `largest` the entries come from where they
// lie, and the largest of each column is looked for on the way; else from their copy, if there is
// one.
template <bool Keep, bool Looks, bool Coarse = false, class Columns, class T, int K, bool Tempered>
void sum_columns(const Columns& of, SliceLanes<T, K, Tempered>& lanes,
                 group<T, K>* largest = nullptr) {
  const Columns tile = of;  // a copy, which no store can change
  const Frame<T, K> frame = lanes.frame;
  const int count = lanes.count;
  using Sums = ColumnSums<T, K>;
  Sums sums;
  constexpr int columns = K * kWidth<T>;
  alignas(kVectorBytes) T passing[Keep ? 1 : Sums::kBlock * columns];
  group<T, K> top;
  EACH top.v[k] = splat(-std::numeric_limits<T>::infinity());
  auto meanwhile = tile.meanwhile;
  using D = std::decay_t<decltype(*meanwhile.next.first)>;
  constexpr int bytes = columns * int(sizeof(D));
  // What comes is as many rows, where they are looked at here for the first time, or a tile.
  const bool fits =
      Looks ? rows_fit<D>(columns, meanwhile.room) : tile.n * K * kVectorBytes <= meanwhile.room;
  Rows<D> coming = meanwhile.next;
  if constexpr (Looks) coming = {tile.x + kRowsAhead * tile.x_step, tile.x_step};
  const auto exponentiate = [&](int64_t i, T* place) INLINE_LAMBDA {
    const group<T, K> v = Keep && !Looks ? load_group<K>(place, columns, splat(T(0)))
                                         : tile.template row<K>(i, count);
    if constexpr (Looks) EACH top.v[k] = larger(v.v[k], top.v[k]);
    const group<T, K> e = exp_scaled<false, Tempered, Coarse>(v, frame);
    if constexpr (!Keep || Looks)
      if (meanwhile.near.first) fetch_lines<false, 3>(meanwhile.near.take(), bytes);
    if constexpr (Looks)
      if (i + kRowsAhead == tile.n) [[unlikely]]
        coming = meanwhile.next;
    if (coming.first) fetch_entries(coming.take(), bytes, fits);
    if (meanwhile.result.first) fetch_lines<true, 2>(meanwhile.result.take(), bytes);
    if constexpr (requires { tile.outgoing; }) tile.outgoing.template deliver<K>(i * columns);
    EACH store(place + k * kWidth<T>, e.v[k]);
  };
  for (int64_t i = 0; i < tile.n; i += Sums::kBlock) {
    const int64_t rows = std::min(tile.n - i, Sums::kBlock);
    T* e = Keep ? tile.kept + i * columns : passing;
    for (int64_t r = 0; r < rows; ++r) exponentiate(i + r, e + r * columns);
    const bool last = i + rows == tile.n;
    if (i == 0)
      last ? sums.template total<true>(e, rows, lanes.sum, lanes.sum_lo)
           : sums.template add<true>(e);
    else
      last ? sums.template total<false>(e, rows, lanes.sum, lanes.sum_lo)
           : sums.template add<false>(e);
  }
  if constexpr (Looks) *largest = top;
}

template <class Columns, class T, int K, bool Tempered>
bool sum_others(const Columns& entries, SliceLanes<T, K, Tempered>& lanes);

// The results of a tile whose sums are known; those in `lanes.left` mean nothing yet.  `Writer` has
// an entries_again, a write_scaled, a write_logarithms and a write_singles of its own, as Tile
// does.
template <class Writer, class T, int K, bool Tempered>
bool finish_tile(const Job& job, const Writer& writer, SliceLanes<T, K, Tempered>& lanes,
                 int64_t first) {
  lanes.correct();
  if (job.where.data && !lanes.are_numbers()) return false;  // see batch.inl
  if (job.sink.data && !lanes.add_sinks(job, first)) return false;
  if (needs_others<T>(job) && !lanes.show_others() &&
      (job.sink.data || !sum_others(entries_again(writer, lanes), lanes)))
    return false;
  if (job.notes) lanes.note(*job.notes, first);
  if (job.op == Op::softmax) {
    ScaleLanes<T> scale[K];
    lanes.scales(job.notes, first, scale);
    write_scaled(writer, lanes, scale);
  } else if (job.op == Op::log_softmax) {
    ShiftLanes<T, Tempered> shift[K];
    EACH shift[k] = lanes.shift_to_logarithms(k);
    write_logarithms(writer, lanes, shift);
  } else if (job.only_sums()) {
    group<T, K> result;
    lanes.logsumexp(result);
    write_singles(writer, lanes.count, result);
  }
  return true;
}

// Columns of floats as long as this are read once, their frames guessed from their first entries as
// those of long rows are (`reduce_guessing`).  Not for a log_softmax, which needs the copy.
constexpr int64_t kGuessedColumn = 64, kFirstRows = 4;

// Largest entries of the first rows.
template <int K, class D, class T, bool Plain>
INLINE group<T, K> first_max(const Tile<D, T, Plain>& tile, int count) {
  group<T, K> m = tile.template row<K>(0, count);
  for (int64_t i = 1; i < kFirstRows; ++i) {
    const group<T, K> v = tile.template row<K>(i, count);
    EACH m.v[k] = larger(v.v[k], m.v[k]);
  }
  return m;
}

template <int K, class D, class T, bool Plain, bool Tempered>
bool sum_guessing(const Job& job, const Tile<D, T, Plain>& tile, SliceLanes<T, K, Tempered>& lanes,
                  int64_t first) {
  if constexpr (sizeof(T) == 4) {
    if (tile.n < kGuessedColumn || job.op == Op::log_softmax ||
        !may_guess_frames(job.notes, first, lanes.count))
      return false;
    lanes.max = first_max<K>(tile, lanes.count);
    if (!lanes.find_frames()) return false;
    group<T, K> largest;
    if (tile.kept)
      sum_columns<true, true>(tile, lanes, &largest);
    else
      with_coarseness(lanes, [&](auto coarse) INLINE_LAMBDA {
        sum_columns<false, true, decltype(coarse)::value>(tile, lanes, &largest);
      });
    if (!lanes.find_max(largest) || !lanes.leave_room(job.notes, first)) return false;
    lanes.find_top();
    return true;
  }
  return false;
}

// Slices first .. first + count - 1 as one tile; false, and nothing written, if one is out of the
// ordinary.  What is in `lanes.left` is not done.
template <int K, bool Tempered, class D, class T, bool Plain>
bool run_tile(const Job& job, Tile<D, T, Plain> tile, int64_t first, int count,
              SliceLanes<T, K, Tempered>& lanes) {
  lanes.count = count;
  lanes.coarse = job.only_sums();
  if (!set_temperatures(job, first, lanes)) return false;
  if constexpr (Plain) {  // before more is done in vain
    lanes.max = first_max<K>(tile, count);
    if (!lanes.find_frames()) return false;
  }
  if (sum_guessing(job, tile, lanes, first)) return finish_tile(job, tile, lanes, first);
  lanes.max = column_max<K>(tile, count);
  if (!lanes.find_frames()) {
    if constexpr (Plain) return false;  // others are adjusted
    lanes.adjust();
    if (lanes.left.odd && !leave_odd(job, first, lanes.left.odd)) return false;
    tile.shift = lanes.shift.v, tile.empty = lanes.empty;
    if (tile.kept) adjust_entries(lanes, tile.kept, tile.n);
  }
  lanes.find_top();
  if constexpr (std::is_same_v<D, T>)
    if (tile.kept && job.op == Op::log_softmax) {
      Tile<D, T, Plain> copy = tile;
      copy.x = tile.kept, copy.x_step = K * kWidth<T>;
      copy.kept = nullptr, copy.where = nullptr, copy.shift = nullptr;
      copy.meanwhile.near = {};
      sum_columns<false, false>(copy, lanes);
      return finish_tile(job, copy, lanes, first);
    }
  if (tile.kept)
    sum_columns<true, false>(tile, lanes);
  else
    with_coarseness(lanes, [&](auto coarse) INLINE_LAMBDA {
      sum_columns<false, false, decltype(coarse)::value>(tile, lanes);
    });
  return finish_tile(job, tile, lanes, first);
}

// Exponentials that take more room than this are computed again instead of being kept.
constexpr int64_t kKeptBytes = 448 << 10;
template <int K>
INLINE bool fits_kept(int64_t n) {
  return n * K * kVectorBytes <= kKeptBytes;
}

// Slices first .. first + count - 1 as a tile of K vectors; false as from run_tile.
template <int K, bool Plain, class D, class T>
bool run_column_tile(const Job& job, int64_t first, int count) {
  constexpr int columns = K * kWidth<T>;
  // A sum alone is not worth the copy.
  const bool again = job.op == Op::softmax || (job.op == Op::log_softmax && std::is_same_v<D, T>);
  const Slice slice = slice_at(job, first);
  T* kept = again && fits_kept<K>(job.n) ? scratch<T, Kept>(job.n * columns) : nullptr;
  Tile<D, T, Plain> tile = tile_of_columns<Plain, D, T>(job, slice);
  const int64_t x_step = tile.x_step, y_step = tile.y_step;
  tile.kept = kept;
  tile.streams = tile.kStreams && job.stream && count == columns &&
                 (uintptr_t(slice.y) | uintptr_t(job.y.along)) % 64 == 0;
  tile.meanwhile.room = job.room;
  // 16-bit rows that are summed in a second reading are near already.
  if (x_step > columns && (uintptr_t(slice.x) | uintptr_t(job.x.along)) % 64 != 0 &&
      (std::is_same_v<D, T> || job.op != Op::log_softmax))
    tile.meanwhile.near = {tile.x + kRowsNear * x_step, x_step};
  if (job.fetch_ahead && (first + count) % job.run != 0)
    tile.meanwhile.next = {tile.x + count, x_step};
  if (job.fetch_results && !tile.streams) tile.meanwhile.result = {tile.y, y_step};
  const auto run = [&](auto tempered) {
    SliceLanes<T, K, decltype(tempered)::value> lanes;
    if (!run_tile(job, tile, first, count, lanes)) return false;
    if (lanes.left.odd) run_odd<D, T>(job, first, lanes.left.odd);
    if (lanes.left.near) settle_next_to_zero<D>(job, first, lanes.left.near);
    return true;
  };
  if constexpr (!Plain)
    if (job.temperature.data) return run(std::true_type());
  return run(std::false_type());
}

// Vectors to a row of a tile, and of a plain one: of floats with AVX2 as many as fill four lines of
// the page that a row lies in; with SSE there are none.
constexpr int kColumnVectors = 4;
template <class T>
constexpr int kPlainVectors = SOFTMAX_LEVEL == 2                     ? 0
                              : SOFTMAX_LEVEL == 3 && sizeof(T) == 4 ? 8
                                                                     : kColumnVectors;

// Columns as long as this are worth a way of their own, unless half as wide a tile would be kept
// and a plain one would not, or a log_softmax of 16 bits reads all of it three times.
constexpr int64_t kPlainColumn = 64;

template <class D, class T>
INLINE bool wants_plain_tiles(const Job& job) {
  constexpr int K = kPlainVectors<T>;
  if (K == 0 || job.n < kPlainColumn || job.where.data || job.temperature.data) return false;
  if (K == kColumnVectors || job.op == Op::logsumexp) return true;
  return (fits_kept<K>(job.n) || !fits_kept<kColumnVectors>(job.n)) &&
         (std::is_same_v<D, T> || job.op != Op::log_softmax);
}

// Slices first .. first + count - 1, at most as many as a tile has.
template <class D, class T>
void run_general_tile(const Job& job, int64_t first, int count) {
  if (run_column_tile<kColumnVectors, false, D, T>(job, first, count)) return;
  for (int c = 0; c < count; ++c) run_slice<D, T>(job, first + c);
}

template <class D, class T>
void run_columns(const Job& job, int64_t first, int bundle) {
  constexpr int general = kColumnVectors * kWidth<T>, plain = kPlainVectors<T> * kWidth<T>;
  const bool wants_plain = wants_plain_tiles<D, T>(job);
  for (int done = 0; done < bundle;) {
    const int64_t at = first + done;
    const int left = bundle - done, count = std::min(left, general);
    if constexpr (plain > 0)
      if (wants_plain && left >= plain &&
          run_column_tile<kPlainVectors<T>, true, D, T>(job, at, plain)) {
        done += plain;
        continue;
      }
    run_general_tile<D, T>(job, at, count);
    done += count;
  }
}
