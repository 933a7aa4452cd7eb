// Results of batches, and of tiles of short rows, that exceed the caches.  They are streamed past
// them while the next batch is summed, a few vectors at a time, since the processor stops in bursts
// of such stores.  Where a row ends within a line, the line waits for the next row: an ordinary
// store among the others would fetch the lines around it.  Results that lie in the caches, even
// over their entries, may wait as well (kWaitsNearby; long.inl) and are stored: each is made just
// once.
//
// A load waits for stores before it whose addresses have the same last 12 bits.  Sixteen rows of
// 1024 floats, say, are a multiple of 4096 bytes, so that what is stored may lie just before what
// is loaded next: such rows are delivered one group later, unless they are short.

// Whether results of batches, and of a softmax's long rows, may wait also in the caches: with
// AVX-512 some are the faster for it (Job::waits), with AVX2 there are too few registers
// (benchmarks/NOTES.md).
constexpr bool kWaitsNearby = kVectorBytes == 64;

// Where results end within a line: the entries of that line, which wait for what comes next.
template <class T>
struct LineEnd {
  T* end = nullptr;
  int waiting = 0;  // entries before `end`, the first in `tail`
  vec<T> tail;

  // The whole line, of which v has the rest.
  INLINE vec<T> completed(vec<T> v) const { return select<T>(first_lanes<T>(waiting), tail, v); }
  void settle() {
    if (waiting) store_first(end - waiting, waiting, tail);
    waiting = 0;
  }

  // Changes one result, which waits or not.
  void put(T* place, T result) {
    const int64_t lane = place - (end - waiting);
    if (lane >= 0 && lane < waiting)
      tail[lane] = result;
    else
      *place = result;
  }
};

// `Map`, a Scale or a Shift, makes results of what is known of a row's entries.  Rows have as many
// as a vector at least.  `Nearby` says whether some may lie in the caches.
template <class T, class Map, bool Nearby = kWaitsNearby>
struct Outgoing {
  static constexpr int W = kWidth<T>;

  int count = 0;      // rows that wait
  bool near = false;  // their results lie in the caches: stored, not streamed (if Nearby)
  int64_t n = 0;      // how many of a row's first entries have results that wait: most often all
  // What results are made of: entries, or exponentials, which are ours.
  std::conditional_t<std::is_same_v<Map, Scale<T>>, T*, const T*> from[kLargeBatch] = {};
  T* y[kLargeBatch];
  Map map[kLargeBatch];
  LineEnd<T> rest;

  // Longer rows are not worth a look at each of their entries for the sake of one, least of all
  // where a vector fills the line that can be written once more instead (WaitingRowLosses).
  static constexpr int64_t kMarked = kVectorBytes == 64 ? 256 : 512;

  // Whether entry i of row r, which waits, will be `result`: the scale sets one entry on its own,
  // which is marked unless it is the largest.
  bool put(int r, int64_t i, T result) {
    if (i >= n) return false;
    constexpr T marked = -1;
    Scale<T>& scale = map[r];
    if (!scale.dominated && n <= kMarked)
      scale = {scale.factor, scale.factor_lo, from[r][i] = marked, result};
    else if (scale.dominated && from[r][i] == scale.kept)
      scale.top = result;
    else
      return false;
    return true;
  }

  struct Row {
    const T* from = nullptr;
    T* y = nullptr;
    int64_t whole = 0;  // entries in whole vectors of y
    Map map;
    bool near = false;

    template <int K>
    INLINE void deliver_all(int64_t i) const {
      group<T, K> results;
      EACH results.v[k] = map.usual(load(from + i + k * W));
      // Loaded again, for the registers are the exponentials'.
      if (map.dominated) EACH results.v[k] = map.with_top(load(from + i + k * W), results.v[k]);
      if (Nearby && near)
        EACH store(y + i + k * W, results.v[k]);
      else
        EACH stream(y + i + k * W, results.v[k]);
    }
    INLINE void deliver_from(int64_t i) const {
      for (; i < whole; i += W) deliver_all<1>(i);
    }
    // Of K vectors from there on those that there are.
    template <int K>
    INLINE void deliver(int64_t i) const {
      if (i + K * W <= whole)
        deliver_all<K>(i);
      else
        deliver_from(i);
    }
  };

  // Whether rows that wait, stored at once, would obstruct loads from x on (see above).
  bool obstructs(const T* x) const {
    if (count == 0) return false;
    const T* line = y[0] + to_alignment(y[0]);
    const uintptr_t distance = (uintptr_t(line) - uintptr_t(x)) % 4096;
    return distance > 0 && distance < 512;
  }

  INLINE void write(T* line, vec<T> v) const {
    if (Nearby && near)
      store(line, v);
    else
      stream(line, v);
  }

  // Row r without its first and last entries, to be delivered in steps.
  INLINE Row row(int r) {
    if (r >= count) return {};
    const T* e = from[r];
    const int64_t lead = to_alignment(y[r]);
    if (rest.end != y[r]) rest.settle();
    if (lead > 0) {
      const int before = int(W - lead);
      const vec<T> v = map[r](load_from(e - before, before));
      T* line = y[r] - before;
      rest.waiting ? write(line, rest.completed(v)) : store_from(line, before, v);
    }
    const int waiting = int(uint64_t(n - lead) % W);
    rest.end = y[r] + n;
    rest.waiting = waiting;
    if (waiting > 0) rest.tail = map[r](load_first(e + n - waiting, waiting, splat(T(0))));
    return {e + lead, y[r] + lead, n - lead - waiting, map[r], near};
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
  int64_t first = 0;  // of the row, where it is summed in parts

  template <int K>
  INLINE void meanwhile(int64_t i) const {
    ahead.template meanwhile<K>(i);
    if (const int64_t at = first + i - Lag; Lag == 0 || at >= 0) row.template deliver<K>(at);
  }

  // What is left when n entries are summed.
  INLINE void finish(int64_t n) const {
    constexpr int W = kWidth<T>;
    if constexpr (Lag > 0) row.deliver_from(std::max<int64_t>((n + W - 1) / W * W - Lag, 0));
  }
};

// Entries in whole vectors that are to be streamed.
template <class T>
struct Delivery {
  const T* from;
  T* to;
  int64_t count;

  template <int K>
  INLINE void deliver(int64_t i) const {
    constexpr int W = kWidth<T>;
    if (i + K * W <= count)
      EACH stream(to + i + k * W, load(from + i + k * W));
    else
      for (; i < count; i += W) stream(to + i, load(from + i));
  }
};

struct Waiting;

// Results of tiles of contiguous rows, which are contiguous, too: streamed while the next tile is
// summed.
template <class T>
class OutgoingTile {
  static constexpr int W = kWidth<T>;

  T* const buffer_;  // as results lie in memory, from the beginning of a line on
  Delivery<T> lines_ = {nullptr, nullptr, 0};
  LineEnd<T> rest_;
  const T* tail_ = nullptr;  // where the tail of `rest_` is, until `finish` has read it

  // Entries of a line before those at p.
  static int64_t before(const T* p) { return int64_t(uintptr_t(p) % kVectorBytes / sizeof(T)); }

 public:
  // With room for `most` entries.
  explicit OutgoingTile(int64_t most) : buffer_(scratch<T, Waiting>(most + 2 * W)) {}

  const Delivery<T>& lines() const { return lines_; }

  // Delivers the lines from entry i on.
  void finish(int64_t i) {
    for (; i < lines_.count; i += W) lines_.template deliver<1>(i);
    lines_.count = 0;
    if (tail_) rest_.tail = load(tail_);
    tail_ = nullptr;
  }

  void settle() {
    finish(0);
    rest_.settle();
  }

  // Where results for y are to be written, when the lines before are delivered.
  T* room(const T* y) const { return buffer_ + before(y); }

  // Takes `count` results for y from there, as many as a vector has lanes at least.
  void take(T* y, int64_t count) {
    const int64_t lead = before(y);
    if (rest_.end != y) rest_.settle();
    lines_ = {buffer_, y - lead, lead + count};
    if (rest_.waiting) {
      store(buffer_, rest_.completed(load(buffer_)));
    } else if (lead > 0) {
      store_from(lines_.to, int(lead), load(buffer_));
      lines_ = {buffer_ + W, lines_.to + W, lines_.count - W};
    }
    const int waiting = int(lines_.count % W);
    lines_.count -= waiting;
    rest_.end = y + count;
    rest_.waiting = waiting;
    tail_ = lines_.from + lines_.count;
  }
};
