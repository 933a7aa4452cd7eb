// Weighted Gram matrices: to each of several square matrices the sum over rows of w x x', with a
// weight of its own for every row.  Rows of weight 0 are left out before they cost anything.
//
// Rows are packed, so many that they stay in the first-level cache, beside their weighted copy;
// then a tile of the result at a time is held in registers while they pass.  What lies wholly below
// the diagonal is mirrored.

constexpr int kGramRows = 32;  // packed at a time

// Packed rows with their weighted copies, padded with zeros to whole vectors.
template <class T>
struct PackedRows {
  struct Room;

  int64_t width;
  int64_t room = (width + kWidth<T> - 1) / kWidth<T> * kWidth<T>;
  int count = 0;
  T* plain = scratch<T, Room>(2 * kGramRows * room);
  T* weighted = plain + kGramRows * room;

  void add(const T* x, T weight) {
    T* p = plain + count * room;
    T* q = weighted + count * room;
    const vec<T> factor = splat(weight);
    for (int64_t i = 0; i < room; i += kWidth<T>) {
      const int64_t left = std::clamp<int64_t>(width - i, 0, kWidth<T>);
      const vec<T> v = left == kWidth<T> ? load(x + i) : load_first(x + i, int(left), splat(T(0)));
      store(p + i, v);
      store(q + i, factor * v);
    }
    ++count;
  }

  void add_to(T* out) {
    add_product<T, true, true>({weighted, room, 1}, {plain, room}, count, width, width,
                               {out, width});
    count = 0;
  }
};

// Matrices begin .. end - 1.
template <class T>
void run_grams(const GramJob& job, int64_t begin, int64_t end) {
  const int64_t d = job.width;
  PackedRows<T> packed{d};
  for (int64_t m = begin; m < end; ++m) {
    const T* weights = (const T*)job.weights + m;
    T* out = (T*)job.out + m * d * d;
    for (int64_t i = 0; i < job.rows; ++i) {
      const T weight = weights[i * job.count];
      if (weight == 0) continue;
      packed.add((const T*)job.x + i * d, weight);
      if (packed.count == kGramRows) packed.add_to(out);
    }
    if (packed.count) packed.add_to(out);
    for (int64_t i = 0; i < d; ++i)
      for (int64_t j = 0; j < i; ++j) out[i * d + j] = out[j * d + i];
  }
}
