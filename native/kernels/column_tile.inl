// A tile of neighbouring slices, one to a lane, for an axis that is not the contiguous one: how its
// rows are read, and fetched before, and how results are written.

// Rows to fetch while others are worked on: the first one and how far the next is.
template <class T>
struct Rows {
  const T* first = nullptr;
  int64_t step = 0;

  INLINE const T* take() { return std::exchange(first, first + step); }
};

// What is fetched while the rows of a tile are summed.
template <class D>
struct Meanwhile {
  Rows<D> near;      // entries of this tile that come soon, where they cross lines
  Rows<D> next;      // those of the next tile
  Rows<D> result;    // where results go
  int64_t room = 0;  // as Job::room
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

// Whether the first-level cache has `room` for so many of these columns of D.
template <class D>
INLINE bool rows_fit(int64_t columns, int64_t room) {
  return kRowsAhead * columns * int64_t(sizeof(D)) <= room;
}

// `Plain` tiles are whole, with nothing masked, adjusted or tempered: rows are taken as they lie.
template <class D, class T, bool Plain = false>
struct Tile {
  const D* x;
  int64_t x_step;  // elements from one row of the tile to the next
  D* y;
  int64_t y_step;
  T* kept;    // room for the exponentials, K vectors to a row; or null
  int64_t n;  // rows of the tile = entries of a slice
  Meanwhile<D> meanwhile = {};
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
    group<T, K> v = load_entries<K, T>(x + i * x_step, Plain ? K * kWidth<T> : count);
    if constexpr (!Plain) {
      if (where) v = masked<K>(v, i, count);
      if (shift) EACH v.v[k] = empty[k] ? splat(T(0)) : v.v[k] - shift[k];
    }
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

// The tile that begins with a slice, without room for exponentials.
template <bool Plain, class D, class T>
INLINE Tile<D, T, Plain> tile_of_columns(const Job& job, const Slice& slice) {
  constexpr int64_t item = sizeof(D);
  Tile<D, T, Plain> tile = {
      (const D*)slice.x, job.x.along / item, (D*)slice.y, job.y.along / item, nullptr, job.n};
  if (!Plain && slice.where) {
    tile.where = slice.where;
    tile.where_step = job.where.along;
    tile.where_next = job.where.stride[job.dims - 1];
  }
  return tile;
}

// Largest entries of the columns.  On the way the tile is copied to where its exponentials will be
// kept, or from where it will be read again: rows that lie a power of two apart would push each
// other out of the cache before the second reading.
template <int K, class D, class T, bool Plain>
INLINE group<T, K> column_max(const Tile<D, T, Plain>& tile, int count) {
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

// Writes a row of results, whole lines past the caches if the tile `Streams`.
template <bool Streams, int K, class D, class T>
INLINE void write_row(D* y, int count, const group<T, K>& v) {
  if constexpr (Streams)
    EACH stream(y + k * kWidth<T>, v.v[k]);
  else
    store_entries(y, count, v);
}

template <bool Streams, bool Dominated, int K, class D, class T, bool Plain>
void scale_columns(const Tile<D, T, Plain>& tile, int count, const ScaleLanes<T>* scale) {
  const T* kept = tile.kept;
  const int64_t n = tile.n, step = tile.y_step;
  D* y = tile.y;
  for (int64_t i = 0; i < n; ++i, kept += K * kWidth<T>, y += step) {
    group<T, K> p;
    EACH p.v[k] = scale[k].template operator()<Dominated>(load(kept + k * kWidth<T>));
    write_row<Streams>(y, count, p);
  }
}

// Writes what f makes of each row of entries.
template <bool Streams, int K, class D, class T, bool Plain, class F>
INLINE void write_rows(const Tile<D, T, Plain>& of, int count, F f) {
  const Tile<D, T, Plain> tile = of;  // a copy, which no store can change
  Rows<D> near = tile.meanwhile.near;
  D* y = tile.y;
  for (int64_t i = 0; i < tile.n; ++i, y += tile.y_step) {
    tile.template fetch_beyond<K>(i);
    if (near.first) fetch_lines<false, 3>(near.take(), K * kWidth<T> * int64_t(sizeof(D)));
    write_row<Streams>(y, count, f(tile.template row<K>(i, count)));
  }
}

// The same as scale_columns with the exponentials computed again.
template <bool Streams, class D, class T, bool Plain, int K, bool Tempered>
void exp_columns(const Tile<D, T, Plain>& tile, const SliceLanes<T, K, Tempered>& lanes,
                 const ScaleLanes<T>* scale) {
  const Frame<T, K> frame = lanes.frame;
  write_rows<Streams, K>(tile, lanes.count, [&](const group<T, K>& v) INLINE_LAMBDA {
    group<T, K> e = exp_scaled<false, Tempered>(v, frame);
    EACH e.v[k] = scale[k](e.v[k]);
    return e;
  });
}

template <bool Streams, class D, class T, bool Plain, int K, bool Tempered>
void shift_columns(const Tile<D, T, Plain>& tile, const SliceLanes<T, K, Tempered>& lanes,
                   const ShiftLanes<T, Tempered>* shift) {
  write_rows<Streams, K>(tile, lanes.count, [&](group<T, K> v) INLINE_LAMBDA {
    EACH v.v[k] = shift[k](v.v[k]);
    return v;
  });
}

// Calls f with whether the tile streams, as a type.
template <class D, class T, bool Plain, class F>
INLINE void with_streams(const Tile<D, T, Plain>& tile, F f) {
  tile.streams ? f(std::bool_constant<Tile<D, T, Plain>::kStreams>()) : f(std::false_type());
}

template <class D, class T, bool Plain, int K, bool Tempered>
void write_logarithms(const Tile<D, T, Plain>& tile, const SliceLanes<T, K, Tempered>& lanes,
                      const ShiftLanes<T, Tempered>* shift) {
  with_streams(tile, [&](auto streams) INLINE_LAMBDA {
    shift_columns<decltype(streams)::value>(tile, lanes, shift);
  });
}

template <class D, class T, bool Plain, int K, bool Tempered>
void write_scaled(const Tile<D, T, Plain>& tile, const SliceLanes<T, K, Tempered>& lanes,
                  const ScaleLanes<T>* scale) {
  with_streams(tile, [&](auto streams) INLINE_LAMBDA {
    constexpr bool past = decltype(streams)::value;
    if (!tile.kept)
      exp_columns<past>(tile, lanes, scale);
    else if (any_dominated<K>(scale))
      scale_columns<past, true, K>(tile, lanes.count, scale);
    else
      scale_columns<past, false, K>(tile, lanes.count, scale);
  });
}

template <class D, class T, bool Plain, int K>
void write_singles(const Tile<D, T, Plain>& tile, int count, const group<T, K>& v) {
  store_entries(tile.y, count, v);
}

template <class D, class T, bool Plain, class Lanes>
INLINE const Tile<D, T, Plain>& entries_again(const Tile<D, T, Plain>& tile, const Lanes&) {
  return tile;
}
