// Results of batches that exceed the caches.  They are streamed past them while the next batch is
// summed, a vector at a time, since the processor stops in bursts of such stores.  Where a row ends
// within a line, the line waits for the next row: an ordinary store among the others would fetch
// the lines around it.

template <class T>
struct Outgoing {
  static constexpr int W = kWidth<T>;

  int count = 0;
  int64_t n = 0, room = 0;
  const T* kept = nullptr;
  T* y[kBatch];
  Scale<T> scale[kBatch];

  T* end = nullptr;  // where the row before ended: of its last entries so many are in `tail`
  int waiting = 0;
  vec<T> tail;

  struct Row {
    const T* e;
    T* y;
    int64_t whole;  // entries in whole vectors of y
    ScaleLanes<T> scaled;

    template <int K>
    INLINE void deliver(int64_t i) const {
      EACH if (i + k * W < whole)
          stream(y + i + k * W, scaled.template operator()<true>(load(e + i + k * W)));
    }
  };

  // Row r without its first and last entries, to be delivered in steps.
  Row row(int r) {
    const ScaleLanes<T> scaled(scale[r]);
    if (r >= count) return {nullptr, nullptr, 0, scaled};
    const T* e = kept + r * room;
    const int64_t lead = to_alignment(y[r]);
    if (end != y[r]) settle();
    if (lead > 0) {
      const vec<T> v = scaled.template operator()<true>(load(e + lead - W));
      T* line = y[r] + lead - W;
      waiting ? stream(line, select<T>(first_lanes<T>(waiting), tail, v))
              : store_from(line, int(W - lead), v);
    }
    waiting = int((n - lead) % W);
    end = y[r] + n;
    tail = scaled.template operator()<true>(load(e + n - waiting));
    return {e + lead, y[r] + lead, n - lead - waiting, scaled};
  }

  void settle() {
    if (waiting) store_first(end - waiting, waiting, tail);
    waiting = 0;
  }

  // Takes rows whose places and scales are set.
  void wait(const T* rows, int64_t apart, int64_t length, int number) {
    kept = rows, room = apart, n = length, count = number;
  }

  // All that is left from row r on.
  void deliver(int r) {
    for (; r < count; ++r) {
      const Row rest = row(r);
      for (int64_t i = 0; i < rest.whole; i += W) rest.template deliver<1>(i);
    }
    count = 0;
  }
};

// Fetches what comes and delivers what went before.
template <class T>
struct Passing {
  Ahead<T> ahead;
  typename Outgoing<T>::Row row;

  template <int K>
  INLINE void meanwhile(int64_t i) const {
    ahead.template meanwhile<K>(i);
    row.template deliver<K>(i);
  }
};
