// Many slices of few floats: a tile of them at a time, as many side by side as a vector has lanes.

// Contiguous rows, and where those of the next tile are, if they are to be fetched.
struct FewRows {
  const float* x;
  int64_t n;
  const char* next;
  int64_t bytes;  // of a row

  // Vector v of the tile's slices, of which so many exist, one to a lane; gives their largest
  // entries.
  INLINE vec<float> take(int v, int exist, float* lanes) const {
    constexpr int W = kWidth<float>;
    if (next) fetch_lines<false, 3>(next + v * W * bytes, W * bytes);
    vec<float> largest;
    rows_to_columns(x + v * W * n, n, std::min(exist, W), lanes, W,
                    [&](int, vec<float> top) INLINE_LAMBDA { largest = top; });
    return largest;
  }
};

// Columns, and those of the next tile.
template <class D>
struct FewColumns {
  Tile<D, float> tile;
  const D* next;

  INLINE vec<float> take(int v, int exist, float* lanes) const {
    constexpr int W = kWidth<float>;
    Tile<D, float> from = tile;
    from.x += v * W;
    if (from.where) from.where += v * W * from.where_next;
    vec<float> largest = splat(-std::numeric_limits<float>::infinity());
    for (int64_t j = 0; j < from.n; ++j) {
      if (next) fetch_lines<false, 3>(next + j * from.x_step + v * W, W * int64_t(sizeof(D)));
      const vec<float> entries = from.template row<1>(j, std::min(exist, W)).v[0];
      store(lanes + j * W, entries);
      largest = larger(entries, largest);
    }
    return largest;
  }
};

template <bool Coarse, class Entries>
INLINE void sum_few(const Entries& entries, int64_t n, int count, float* lanes, FewSums* to) {
  constexpr int W = kWidth<float>;
  for (int v = 0; v * W < count; ++v) {
    FewSums sums = {entries.take(v, count - v * W, lanes)};
    const Frame<float> frame = few_frame(n, sums.top);
    int64_t j = 0;
    for (; j + 2 <= n; j += 2)
      add_few<Coarse>(load_group<2>(lanes + j * W, 2 * W, splat(0.0f)), frame, sums);
    if (j < n) add_few<Coarse>(single<float>(load(lanes + j * W)), frame, sums);
    to[v] = sums;
  }
}

// Slices that are not contiguous floats, as such.
template <class D>
const float* few_staged(const Job& job, int64_t first, int count) {
  if (job.traversal == Traversal::short_rows) return staged_rows<D, float>(job, first, count);
  float* rows = scratch<float>(count * job.n);
  for (int r = 0; r < count; ++r)
    stage<D>(job, slice_at(job, first + r), 0, job.n, rows + r * job.n);
  return rows;
}

// Slices first .. first + slices - 1 of one run.
template <class D>
void run_few(const Job& job, int64_t first, int64_t slices, NextToZero<D>& near) {
  constexpr int W = kWidth<float>;
  const int64_t n = job.n, item = sizeof(D);
  const bool columns = job.traversal == Traversal::columns,
             rows = job.traversal == Traversal::short_rows,
             staged = !rows || item == 2 || job.where.data;
  float* lanes = scratch<float, Turned>(n * W);
  for (int64_t i = first; i < first + slices; i += kColumns) {
    const int count = int(std::min<int64_t>(first + slices - i, kColumns));
    const char* x = start_of(job, job.x, i);
    FewSums sums[kColumns / W];
    const auto sum = [&](const auto& entries) INLINE_LAMBDA {
      n < kFewer ? sum_few<false>(entries, n, count, lanes, sums)
                 : sum_few<true>(entries, n, count, lanes, sums);
    };
    if (columns) {
      const D* next = job.fetch_ahead && (i + count) % job.run != 0 ? (const D*)x + count : nullptr;
      sum(FewColumns<D>{tile_of_columns<false, D, float>(job, slice_at(job, i)), next});
    } else {
      const char* next = job.fetch_ahead && rows ? x + kColumns * n * item : nullptr;
      sum(FewRows{staged ? few_staged<D>(job, i, count) : (const float*)x, n, next, n * item});
    }
    D results[kColumns];
    D* y = rows || columns ? (D*)start_of(job, job.y, i) : results;
    Left left;
    for (int v = 0; v * W < count; ++v) {
      const vec<float> result = logarithms_of_few(n, sums[v]);
      store_entries(y + v * W, count - v * W, single<float>(result));
      left.odd |= sums[v].odd() << (v * W);
      left.near |= set_lanes(absolute<float>(result) <= few_next_to_zero(n)) << (v * W);
    }
    for (int r = 0; r < count && y == results; ++r)
      round_to(*(D*)start_of(job, job.y, i + r), results[r]);
    const uint64_t exist = ~uint64_t(0) >> (64 - count);
    if (left.odd &= exist) run_odd<D, float>(job, i, left.odd);
    if (left.near &= exist & ~left.odd) near.add(i, left.near);
  }
}

// Bundles begin .. end - 1.
template <class D>
void run_few(const Job& job, int64_t begin, int64_t end) {
  NextToZero<D> near(job);
  if (job.traversal != Traversal::columns) {
    const auto [first, count] = job.neighbours(begin, end);
    run_few(job, first, count, near);
  } else {
    for (int64_t i = begin; i < end; ++i) {
      const auto [first, count] = job.bundle_at(i);
      run_few(job, first, count, near);
    }
  }
  near.settle();
}
