// Results of batches that exceed the caches.  They are streamed past them while the next batch is
// summed, a vector at a time, since the processor stops in bursts of such stores.  Where a row ends
// within a line, the line waits for the next row: an ordinary store among the others would fetch
// the lines around it.
//
// A load waits for stores before it whose addresses have the same last 12 bits.  Sixteen rows of
// 320 floats, say, are a multiple of 4096 bytes, so that what is stored would lie just before what
// is loaded next: long rows are delivered one group later.

// `Map`, a Scale or a Shift, makes results of what is known of a row's entries.  Rows have as many
// as a vector at least.
template <class T, class Map>
struct Outgoing {
  static constexpr int W = kWidth<T>;

  int count = 0;  // rows that wait
  int64_t n = 0;
  const T* from[kBatch] = {};
  T* y[kBatch];
  Map map[kBatch];

  T* end = nullptr;  // where the row before ended: of its last entries so many are in `tail`
  int waiting = 0;
  vec<T> tail;

  struct Row {
    const T* from;
    T* y;
    int64_t whole;  // entries in whole vectors of y
    const Map* map;

    template <int K>
    INLINE void deliver(int64_t i) const {
      EACH if (i + k * W < whole) stream(y + i + k * W, (*map)(load(from + i + k * W)));
    }
    INLINE void deliver_from(int64_t i) const {
      for (; i < whole; i += W) deliver<1>(i);
    }
  };

  // Row r without its first and last entries, to be delivered in steps.
  INLINE Row row(int r) {
    if (r >= count) return {nullptr, nullptr, 0, nullptr};
    const T* e = from[r];
    const int64_t lead = to_alignment(y[r]);
    if (end != y[r]) settle();
    if (lead > 0) {
      const int before = int(W - lead);
      const vec<T> v = map[r](load_from(e - before, before));
      T* line = y[r] - before;
      waiting ? stream(line, select<T>(first_lanes<T>(waiting), tail, v))
              : store_from(line, before, v);
    }
    waiting = int((n - lead) % W);
    end = y[r] + n;
    tail = map[r](load_first(e + n - waiting, waiting, splat(T(0))));
    return {e + lead, y[r] + lead, n - lead - waiting, map + r};
  }

  void settle() {
    if (waiting) store_first(end - waiting, waiting, tail);
    waiting = 0;
  }

  // All that is left from row r on.
  void deliver(int r) {
    for (; r < count; ++r) row(r).deliver_from(0);
    count = 0;
  }
};

// Fetches what comes and delivers what went before, `Lag` entries later.
template <class T, class Row, int Lag>
struct Passing {
  Ahead<T> ahead;
  Row row;

  template <int K>
  INLINE void meanwhile(int64_t i) const {
    ahead.template meanwhile<K>(i);
    if (Lag == 0 || i >= Lag) row.template deliver<K>(i - Lag);
  }

  // What is left when n entries are summed.
  INLINE void finish(int64_t n) const {
    constexpr int W = kWidth<T>;
    row.deliver_from(std::max<int64_t>((n + W - 1) / W * W - Lag, 0));
  }
};
