// The column traversal: a tile of neighbouring slices at once, one per lane, for an axis that is
// not the contiguous one.  The tile is read row by row.  Of floats once, in a guessed frame; else
// it stays in the cache between the maximum and the sum.  What the map needs again is kept near.

// Rows to fetch while others are worked on: the first one and how far the next is.
template <class T>
struct Rows {
  const T* first = nullptr;
  int64_t step = 0;

  INLINE const T* operator[](int64_t i) const { return first + i * step; }
};

// What happens while the rows of a tile of T are summed, where D is stored.
template <class D, class T = D>
struct Meanwhile {
  Rows<D> near;            // entries of this tile that come soon, where they cross lines
  Rows<D> next;            // those of the next tile
  Rows<D> result;          // where results go
  Delivery<T> outgoing{};  // what is streamed
  int64_t room = 0;        // as Job::room
};

// Asks for all lines of a row of a tile: one more where it begins within a line.
template <bool Write, int Locality>
INLINE void fetch_lines(const void* p, int64_t bytes) {
  for (int64_t line = 0; line < bytes; line += 64)
    __builtin_prefetch((const char*)p + line, Write, Locality);
  __builtin_prefetch((const char*)p + bytes - 1, Write, Locality);
}

// Those of entries that come next, into the first-level cache or the second.
INLINE void fetch_entries(const void* p, int64_t bytes, bool first_level) {
  first_level ? fetch_lines<false, 3>(p, bytes) : fetch_lines<false, 2>(p, bytes);
}

// Rows of a tile are far apart, so that the hardware does not see them coming: so many ahead are
// fetched.
constexpr int64_t kRowsAhead = 20;

// A vector that crosses two lines waits long for both if the first-level cache lacks them: where
// rows begin within lines, those so many ahead are fetched from the second level.
constexpr int64_t kRowsNear = 5;

template <class D>
INLINE void fetch_near(const Rows<D>& near, int64_t i, int64_t bytes) {
  if (near.first) fetch_lines<false, 3>(near[i], bytes);
}

// Whether the first-level cache has `room` for so many of these columns of D.
template <class D>
INLINE bool rows_fit(int64_t columns, int64_t room) {
  return kRowsAhead * columns * int64_t(sizeof(D)) <= room;
}

template <class D, class T>
struct Tile {
  const D* x;
  int64_t x_step;  // elements from one row of the tile to the next
  D* y;
  int64_t y_step;
  T* kept;    // room for the exponentials, K vectors to a row; or null
  int64_t n;  // rows of the tile = entries of a slice
  Meanwhile<D, T> meanwhile = {};
  bool streams = false;  // whole aligned lines of results go past the caches
  static constexpr bool kStreams = std::is_same_v<D, T>;  // which those of 16 bits never do
  const char* where = nullptr;
  int64_t where_step = 0, where_next = 0;  // bytes to the next row of the tile, to its next column
  // Of columns that were adjusted (SliceLanes): null where none was.
  const vec<T>* shift = nullptr;
  const vec<bits<T>>* empty = nullptr;

  // Row i: the entries of `count` columns, -inf where they take no part.
  template <int K>
  INLINE group<T, K> row(int64_t i, int count) const {
    group<T, K> v = load_entries<K, T>(x + i * x_step, count);
    if (where) v = masked<K>(v, i, count);
    if (shift) EACH v.v[k] = empty[k] ? splat(T(0)) : v.v[k] - shift[k];
    return v;
  }

  // Row i comes next; where rows are far apart one that comes later is fetched.
  template <int K>
  INLINE void fetch_beyond(int64_t i) const {
    constexpr int columns = K * kWidth<T>;
    if (x_step > columns)
      fetch_entries(x + (i + kRowsAhead) * x_step, columns * int64_t(sizeof(D)),
                    rows_fit<D>(columns, meanwhile.room));
  }

  template <int K>
  INLINE group<T, K> masked(group<T, K> v, int64_t i, int count) const {
    constexpr int W = kWidth<T>;
    const char* mask = where + i * where_step;
    char copied[K * W];
    if (where_next != 1 || count < K * W) {
      for (int c = 0; c < K * W; ++c) copied[c] = c >= count || mask[c * where_next];
      mask = copied;
    }
    EACH v.v[k] = leave_out<T>(v.v[k], mask + k * W);
    return v;
  }
};

// Largest entries of the columns.  On the way the tile is copied to where its exponentials will be
// kept, or from where it will be read again: rows that lie a power of two apart would push each
// other out of the cache before the second reading.
template <int K, class D, class T>
INLINE group<T, K> column_max(const Tile<D, T>& tile, int count) {
  group<T, K> m;
  EACH m.v[k] = splat(-std::numeric_limits<T>::infinity());
  for (int64_t i = 0; i < tile.n; ++i) {
    tile.template fetch_beyond<K>(i);
    const group<T, K> v = tile.template row<K>(i, count);
    EACH m.v[k] = larger(v.v[k], m.v[k]);
    if (tile.kept) EACH store(tile.kept + (i * K + k) * kWidth<T>, v.v[k]);
  }
  return m;
}

// Sums the exponentials, keeping them if Keep.  With `largest` the entries come from where they
// lie, and the largest of each column is looked for on the way; else from their copy, if there is
// one.
template <bool Keep, bool Looks, bool Coarse = false, class Columns, class T, int K, bool Tempered>
void sum_columns(const Columns& of, SliceLanes<T, K, Tempered>& lanes,
                 group<T, K>* largest = nullptr) {
  // Copies, which no store can change.
  const Columns tile = of;
  const auto near = tile.meanwhile.near, next = tile.meanwhile.next, result = tile.meanwhile.result;
  const Delivery<T> outgoing = tile.meanwhile.outgoing;
  const Frame<T, K> frame = lanes.frame;
  const int count = lanes.count;
  using Sums = ColumnSums<T, K>;
  Sums sums;
  constexpr int columns = K * kWidth<T>;
  alignas(kVectorBytes) T passing[Keep ? 1 : Sums::kBlock * columns];
  group<T, K> top;
  EACH top.v[k] = splat(-std::numeric_limits<T>::infinity());
  using D = std::decay_t<decltype(*next.first)>;
  constexpr int bytes = columns * int(sizeof(D));
  // What comes next is as many rows, where they are looked at here for the first time, or a tile.
  const int64_t room = tile.meanwhile.room;
  const bool fits = Looks ? rows_fit<D>(columns, room) : tile.n * K * kVectorBytes <= room;
  const auto exponentiate = [&](int64_t i, T* place) INLINE_LAMBDA {
    const group<T, K> v = Keep && !Looks ? load_group<K>(place, columns, splat(T(0)))
                                         : tile.template row<K>(i, count);
    if constexpr (Looks) EACH top.v[k] = larger(v.v[k], top.v[k]);
    const group<T, K> e = exp_scaled<false, Tempered, Coarse>(v, frame);
    if constexpr (!Keep || Looks) fetch_near(near, i, bytes);
    if constexpr (Looks) {
      const int64_t ahead = i + kRowsAhead;
      if (ahead < tile.n)
        fetch_entries(tile.x + ahead * tile.x_step, bytes, fits);
      else if (next.first)
        fetch_entries(next[ahead - tile.n], bytes, fits);
    } else if (next.first) {
      fetch_entries(next[i], bytes, fits);
    }
    if (result.first) fetch_lines<true, 2>(result[i], bytes);
    outgoing.template deliver<K>(i * columns);
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

// Writes a row of results, whole lines past the caches if the tile `Streams`.
template <bool Streams, int K, class D, class T>
INLINE void write_row(D* y, int count, const group<T, K>& v) {
  if constexpr (Streams)
    EACH stream(y + k * kWidth<T>, v.v[k]);
  else
    store_entries(y, count, v);
}

template <bool Streams, int K, class D, class T>
void scale_columns(const Tile<D, T>& tile, int count, const ScaleLanes<T>* scale) {
  const T* kept = tile.kept;
  D* y = tile.y;
  for (int64_t i = 0; i < tile.n; ++i, kept += K * kWidth<T>, y += tile.y_step) {
    group<T, K> e, p;
    EACH e.v[k] = load(kept + k * kWidth<T>);
    EACH p.v[k] = scale[k](e.v[k]);
    write_row<Streams>(y, count, p);
  }
}

// The same with the exponentials computed again.
template <bool Streams, class D, class T, int K, bool Tempered>
void exp_columns(const Tile<D, T>& tile, const SliceLanes<T, K, Tempered>& lanes,
                 const ScaleLanes<T>* scale) {
  const Rows<D> near = tile.meanwhile.near;
  D* y = tile.y;
  for (int64_t i = 0; i < tile.n; ++i, y += tile.y_step) {
    tile.template fetch_beyond<K>(i);
    fetch_near(near, i, K * kWidth<T> * int64_t(sizeof(D)));
    group<T, K> e = tile.template row<K>(i, lanes.count), p;
    e = exp_scaled<false, Tempered>(e, lanes.frame);
    EACH p.v[k] = scale[k](e.v[k]);
    write_row<Streams>(y, lanes.count, p);
  }
}

template <class D, class T, int K, bool Tempered>
void write_logarithms(const Tile<D, T>& tile, const SliceLanes<T, K, Tempered>& lanes,
                      const ShiftLanes<T, Tempered>* shift) {
  D* y = tile.y;
  for (int64_t i = 0; i < tile.n; ++i, y += tile.y_step) {
    tile.template fetch_beyond<K>(i);
    group<T, K> v = tile.template row<K>(i, lanes.count);
    EACH v.v[k] = shift[k](v.v[k]);
    tile.streams ? write_row<Tile<D, T>::kStreams>(y, lanes.count, v)
                 : write_row<false>(y, lanes.count, v);
  }
}

template <class D, class T, int K, bool Tempered>
void write_scaled(const Tile<D, T>& tile, const SliceLanes<T, K, Tempered>& lanes,
                  const ScaleLanes<T>* scale) {
  constexpr bool streams = Tile<D, T>::kStreams;
  if (!tile.kept)
    tile.streams ? exp_columns<streams>(tile, lanes, scale)
                 : exp_columns<false>(tile, lanes, scale);
  else
    tile.streams ? scale_columns<streams, K>(tile, lanes.count, scale)
                 : scale_columns<false, K>(tile, lanes.count, scale);
}

template <class D, class T, int K>
void write_singles(const Tile<D, T>& tile, int count, const group<T, K>& v) {
  store_entries(tile.y, count, v);
}

template <class D, class T, class Lanes>
INLINE const Tile<D, T>& entries_again(const Tile<D, T>& tile, const Lanes&) {
  return tile;
}

template <class Columns, class T, int K, bool Tempered>
bool sum_others(const Columns& entries, SliceLanes<T, K, Tempered>& lanes);

// The results of a tile whose sums are known.  `Writer` has an entries_again, a write_scaled, a
// write_logarithms and a write_singles of its own, as Tile does.
template <class Writer, class T, int K, bool Tempered>
bool finish_tile(const Job& job, const Writer& writer, SliceLanes<T, K, Tempered>& lanes,
                 int64_t first) {
  lanes.correct();
  if (job.where.data && !lanes.are_numbers()) return false;  // see batch.inl
  if (job.sink.data && !lanes.add_sinks(job, first)) return false;
  if (needs_logarithms(job) && !lanes.show_others() &&
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
    const bool settled = lanes.logsumexp(job.n, result);
    if constexpr (sizeof(T) == 4)
      if (!settled) settle_next_to_zero(job, first, lanes.count, (float*)result.v);
    write_singles(writer, lanes.count, result);
  }
  return true;
}

// Columns of floats as long as this are read once, their frames guessed from their first entries as
// those of long rows are (`reduce_guessing`).  Not for a log_softmax, which needs the copy.
constexpr int64_t kGuessedColumn = 64, kFirstRows = 4;

// Largest entries of the first rows.
template <int K, class D, class T>
INLINE group<T, K> first_max(const Tile<D, T>& tile, int count) {
  group<T, K> m = tile.template row<K>(0, count);
  for (int64_t i = 1; i < kFirstRows; ++i) {
    const group<T, K> v = tile.template row<K>(i, count);
    EACH m.v[k] = larger(v.v[k], m.v[k]);
  }
  return m;
}

template <int K, class D, class T, bool Tempered>
bool sum_guessing(const Job& job, const Tile<D, T>& tile, SliceLanes<T, K, Tempered>& lanes,
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
// ordinary.  `odd` says which are left to `run_odd`.
template <int K, bool Tempered, class D, class T>
bool run_tile(const Job& job, Tile<D, T> tile, int64_t first, int count, uint64_t& odd) {
  SliceLanes<T, K, Tempered> lanes;
  lanes.count = count;
  lanes.coarse = job.only_sums();
  if (!set_temperatures(job, first, lanes)) return false;
  if (sum_guessing(job, tile, lanes, first)) return finish_tile(job, tile, lanes, first);
  lanes.max = column_max<K>(tile, count);
  if (!lanes.find_frames()) {
    lanes.adjust();
    if (lanes.odd && !leave_odd(job, first, lanes.odd)) return false;
    odd = lanes.odd;
    tile.shift = lanes.shift.v, tile.empty = lanes.empty;
    if (tile.kept) adjust_entries(lanes, tile.kept, tile.n);
  }
  lanes.find_top();
  if constexpr (std::is_same_v<D, T>)
    if (tile.kept && job.op == Op::log_softmax) {
      Tile<D, T> copy = tile;
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

template <class D, class T>
void run_columns(const Job& job, int64_t first, int bundle) {
  constexpr int K = 4, columns = K * kWidth<T>;
  const int64_t x_step = job.x.along / int64_t(sizeof(D)),
                y_step = job.y.along / int64_t(sizeof(D));
  // A sum alone is not worth the copy.
  const bool again = job.op == Op::softmax || (job.op == Op::log_softmax && std::is_same_v<D, T>);
  const bool keeps = again && job.n * columns * int64_t(sizeof(T)) <= kKeptBytes;
  for (int64_t i = first; i < first + bundle; i += columns) {
    const int count = int(std::min<int64_t>(first + bundle - i, columns));
    const Slice slice = slice_at(job, i);
    T* kept = keeps ? scratch<T, Kept>(job.n * columns) : nullptr;
    Tile<D, T> tile = {(const D*)slice.x, x_step, (D*)slice.y, y_step, kept, job.n};
    tile.streams = tile.kStreams && job.stream && count == columns &&
                   (uintptr_t(slice.y) | uintptr_t(job.y.along)) % 64 == 0;
    if (slice.where) {
      tile.where = slice.where;
      tile.where_step = job.where.along;
      tile.where_next = job.where.stride[job.dims - 1];
    }
    tile.meanwhile.room = job.room;
    // 16-bit rows that are summed in a second reading are near already.
    if (x_step > columns && (uintptr_t(slice.x) | uintptr_t(job.x.along)) % 64 != 0 &&
        (std::is_same_v<D, T> || job.op != Op::log_softmax))
      tile.meanwhile.near = {tile.x + kRowsNear * x_step, x_step};
    if (job.fetch_ahead && (i + count) % job.run != 0)
      tile.meanwhile.next = {tile.x + count, x_step};
    if (job.fetch_results && !tile.streams) tile.meanwhile.result = {tile.y, y_step};
    uint64_t odd = 0;
    const bool done = job.temperature.data ? run_tile<K, true>(job, tile, i, count, odd)
                                           : run_tile<K, false>(job, tile, i, count, odd);
    if (odd && done) run_odd<D, T>(job, i, odd);
    for (int c = 0; c < count && !done; ++c) run_slice<D, T>(job, i + c);
  }
}
