// The column traversal: a tile of neighbouring slices at once, one per lane.
//
// For an axis that is not the contiguous one a tile of K vectors of columns is read row by row; it
// stays in the cache between the maximum, the sum and the map.  The sums use the same sixteen lanes
// and tree as a contiguous row, so that a slice gives the same bits wherever it stands.  Tiles with
// a slice that is out of the ordinary (infinite, huge, nearly one-hot) go through the row
// traversal.

template <class T>
struct Tile {
  const T* x;
  int64_t x_step;  // elements from one row of the tile to the next
  T* y;
  int64_t y_step;
  int64_t n;  // rows of the tile = entries of a slice
};

// Sixteen running sums for each of the K vectors of columns.
template <class T, int K>
struct ColumnSums;

template <int K>
struct ColumnSums<float, K> {
  vec<double> lane[kLanes][2 * K];

  INLINE void clear() { std::memset(lane, 0, sizeof lane); }
  INLINE void add(int l, const group<float, K>& e) {
    EACH {
      lane[l][2 * k] = lane[l][2 * k] + widen_low(e.v[k]);
      lane[l][2 * k + 1] = lane[l][2 * k + 1] + widen_high(e.v[k]);
    }
  }
  INLINE void total(vec<double>* sum, vec<double>* low) {
    for (int half = kLanes / 2; half >= 1; half /= 2)
      for (int i = 0; i < half; ++i)
        for (int k = 0; k < 2 * K; ++k) lane[i][k] = lane[i][k] + lane[i + half][k];
    for (int k = 0; k < 2 * K; ++k) sum[k] = lane[0][k], low[k] = splat(0.0);
  }
};

template <int K>
struct ColumnSums<double, K> {
  vec<double> lane[kLanes][K], error[kLanes][K];

  INLINE void clear() {
    for (auto& row : lane)
      for (auto& v : row) v = splat(Sums<double>::start);
    std::memset(error, 0, sizeof error);
  }
  INLINE void add(int l, const group<double, K>& e) {
    EACH {
      vec<double> sum = lane[l][k] + e.v[k];
      error[l][k] = error[l][k] + (e.v[k] - (sum - lane[l][k]));
      lane[l][k] = sum;
    }
  }
  INLINE void total(vec<double>* sum, vec<double>* low) {
    EACH {
      vec<double> a[kLanes], b[kLanes];
      for (int i = 0; i < kLanes; ++i) a[i] = lane[i][k] - Sums<double>::start, b[i] = error[i][k];
      for (int half = kLanes / 2; half >= 1; half /= 2)
        for (int i = 0; i < half; ++i) {
          vec<double> s = a[i] + a[i + half], t = s - a[i];
          b[i] = (b[i] + b[i + half]) + ((a[i] - (s - t)) + (a[i + half] - t));
          a[i] = s;
        }
      sum[k] = a[0] + b[0];
      low[k] = b[0] - (sum[k] - a[0]);
    }
  }
};

// Numbers per column: K vectors of T in double precision are K or 2 K vectors.
template <class T, int K>
constexpr int kWide = K * int(sizeof(double) / sizeof(T));

template <int K>
INLINE void widen(const group<float, K>& g, vec<double>* to) {
  EACH to[2 * k] = widen_low(g.v[k]), to[2 * k + 1] = widen_high(g.v[k]);
}
template <int K>
INLINE void widen(const group<double, K>& g, vec<double>* to) {
  EACH to[k] = g.v[k];
}
template <int K>
INLINE void narrowed(const vec<double>* from, group<float, K>& g) {
  EACH g.v[k] = narrow(from[2 * k], from[2 * k + 1]);
}
template <int K>
INLINE void narrowed(const vec<double>* from, group<double, K>& g) {
  EACH g.v[k] = from[k];
}

template <class B>
INLINE bool all_true(B mask, int count) {
  bool all = true;
  for (int i = 0; i < int(sizeof(mask) / sizeof(mask[0])); ++i) all &= i >= count || mask[i] != 0;
  return all;
}

// A tile of K vectors of columns on its way from entries to results.
template <class T, int K, bool Tempered>
class ColumnTile {
  static constexpr int W = kWidth<T>, M = kWide<T, K>;
  using C = exp_constants<T>;

  const Tile<T>& tile_;
  const int count_;  // columns that exist
  group<T, K> max_, kept_;
  Frame<T, K> frame_;
  vec<double> sum_[M], sum_lo_[M], top_[M], top_lo_[M];  // scaled by 2^headroom

  INLINE group<T, K> row(const T* p) const { return load_group<K>(p, count_, splat(T(0))); }

 public:
  ColumnTile(const Tile<T>& tile, int count, const group<T, K>& inverse,
             const group<T, K>& inverse_lo)
      : tile_(tile), count_(count) {
    frame_.inverse = inverse;
    frame_.inverse_lo = inverse_lo;
  }

  // False if a column is out of the ordinary.
  bool find_frames() {
    EACH max_.v[k] = splat(-std::numeric_limits<T>::infinity());
    const T* x = tile_.x;
    for (int64_t i = 0; i < tile_.n; ++i, x += tile_.x_step) {
      group<T, K> v = row(x);
      EACH max_.v[k] = larger(v.v[k], max_.v[k]);
    }
    const vec<T> lowest = splat(std::numeric_limits<T>::lowest());
    bool ordinary = true;
    EACH {
      const vec<T> z = max_.v[k] * frame_.inverse.v[k];
      ordinary &= all_true((z > -C::direct) & (z < C::direct), count_ - k * W);
      const vec<T> power = (z * C::log2e + C::magic) - C::magic;
      const vec<T> floor = (power + T(C::lowest)) * T(0.693147180559945309) / frame_.inverse.v[k];
      frame_.floor.v[k] = floor > lowest ? floor : lowest;
      frame_.rounder.v[k] = C::magic - power + T(C::headroom + C::bias);
      frame_.shift.v[k] = splat(T(0));
    }
    return ordinary;
  }

  // Sums the exponentials, keeping them in the output if Keep.
  template <bool Keep>
  void sum() {
    ColumnSums<T, K> sums;
    sums.clear();
    const T* x = tile_.x;
    T* y = tile_.y;
    for (int64_t i = 0; i < tile_.n; i += kLanes)
      for (int l = 0; l < kLanes && i + l < tile_.n; ++l) {
        group<T, K> e = exp_scaled<false, Tempered>(row(x), frame_);
        if constexpr (Keep) store_group(y, count_, e);
        sums.add(l, e);
        x += tile_.x_step;
        y += tile_.y_step;
      }
    sums.total(sum_, sum_lo_);
    correct();
  }

  void write_softmax() {
    group<T, K> factor, factor_lo, top, kept;
    vec<double> inverse[M], low[M], share[M];
    for (int j = 0; j < M; ++j) inverse[j] = 1 / sum_[j], share[j] = top_[j] / sum_[j];
    narrowed(inverse, factor);
    if constexpr (sizeof(T) == 4) {
      widen(factor, low);
      for (int j = 0; j < M; ++j) low[j] = inverse[j] - low[j];
    } else {
      for (int j = 0; j < M; ++j) {
        low[j] = (residual(splat(1.0), inverse[j], sum_[j]) - inverse[j] * sum_lo_[j]) * inverse[j];
        share[j] =
            share[j] +
            (residual(top_[j], share[j], sum_[j]) + (top_lo_[j] - share[j] * sum_lo_[j])) / sum_[j];
      }
    }
    narrowed(low, factor_lo);
    narrowed(share, top);
    const vec<T> none = splat(std::numeric_limits<T>::quiet_NaN());
    EACH kept.v[k] = top.v[k] > T(0.5) ? kept_.v[k] : none;
    T* y = tile_.y;
    for (int64_t i = 0; i < tile_.n; ++i, y += tile_.y_step) {
      group<T, K> e = row(y), p;
      EACH p.v[k] = product(e.v[k], factor.v[k], factor_lo.v[k]);
      EACH p.v[k] = e.v[k] == kept.v[k] ? top.v[k] : p.v[k];
      store_group(y, count_, p);
    }
  }

  // False if nothing could be written because a column is out of the ordinary.
  bool write_log_softmax() {
    vec<double> log[M], low[M];
    if (!log_rest(log)) return false;
    group<T, K> hi, lo;
    narrowed(log, hi);
    widen(hi, low);
    for (int j = 0; j < M; ++j) low[j] = log[j] - low[j];
    narrowed(low, lo);
    const T* x = tile_.x;
    T* y = tile_.y;
    for (int64_t i = 0; i < tile_.n; ++i, x += tile_.x_step, y += tile_.y_step) {
      group<T, K> v = row(x);
      EACH v.v[k] = centred<Tempered>(single<T>(v.v[k]), max_.v[k], frame_.inverse.v[k],
                                      frame_.inverse_lo.v[k])
                        .v[0];
      EACH v.v[k] = (v.v[k] - hi.v[k]) - lo.v[k];
      store_group(y, count_, v);
    }
    return true;
  }

  bool write_logsumexp() {
    vec<double> log[M], m[M];
    if (!log_rest(log)) return false;
    widen(max_, m);
    bool ordinary = true;
    for (int j = 0; j < M; ++j) {
      log[j] = m[j] + log[j];
      if (sizeof(T) == 4)
        ordinary &= all_true(absolute<double>(log[j]) > 0.5, count_ - j * kWidth<double>);
    }
    group<T, K> result;
    narrowed(log, result);
    if (ordinary) store_group(tile_.y, count_, result);
    return ordinary;
  }

 private:
  // See `corrected` in reduce.inl.
  void correct() {
    group<T, K> hi, lo, error;
    exp_scaled_pair<false, Tempered>(max_, frame_, hi, lo);
    kept_ = exp_scaled<false, Tempered>(max_, frame_);
    EACH error.v[k] = hi.v[k] - kept_.v[k];
    vec<double> wide_error[M], wide_lo[M];
    widen(error, wide_error);
    widen(lo, wide_lo);
    widen(hi, top_);
    for (int j = 0; j < M; ++j) {
      const vec<double> e = wide_error[j] + wide_lo[j];
      if constexpr (sizeof(T) == 4) {
        sum_[j] = sum_[j] + e;
        top_[j] = top_[j] + wide_lo[j];
        top_lo_[j] = splat(0.0);
      } else {
        const vec<double> low = sum_lo_[j] + e, total = sum_[j] + low;
        sum_lo_[j] = low - (total - sum_[j]);
        sum_[j] = total;
        top_lo_[j] = wide_lo[j];
      }
    }
  }

  // log1p of the sum over all entries but the largest; false where that is so small that it must be
  // summed apart (sum_of_rest in rows.inl).
  bool log_rest(vec<double>* result) {
    bool ordinary = true;
    for (int j = 0; j < M; ++j) {
      const vec<double> rest = ((sum_[j] - top_[j]) + (sum_lo_[j] - top_lo_[j])) / top_[j];
      ordinary &= all_true(rest > kTinyRest<T>, count_ - j * kWidth<double>);
      result[j] = log1p(rest);
    }
    return ordinary;
  }
};

template <bool Tempered, class T, int K>
bool run_tile(Op op, const Tile<T>& tile, int count, const group<T, K>& inverse,
              const group<T, K>& inverse_lo) {
  ColumnTile<T, K, Tempered> columns(tile, count, inverse, inverse_lo);
  if (!columns.find_frames()) return false;
  if (op == Op::softmax) {
    columns.template sum<true>();
    columns.write_softmax();
    return true;
  }
  columns.template sum<false>();
  return op == Op::log_softmax ? columns.write_log_softmax() : columns.write_logsumexp();
}

// Slices first .. first + count - 1, neighbours in memory, as one tile.
template <class T, int K>
bool run_columns(const Job& job, const Tile<T>& tile, int64_t first, int count) {
  group<T, K> inverse, inverse_lo;
  EACH inverse.v[k] = splat(T(1)), inverse_lo.v[k] = splat(T(0));
  if (!job.temperature.data) return run_tile<false>(job.op, tile, count, inverse, inverse_lo);
  T hi[K * kWidth<T>] = {}, lo[K * kWidth<T>] = {};
  for (int c = 0; c < count; ++c) {
    const double temperature = slice_at(job, first + c).temperature;
    if (!(temperature > 0 && temperature < std::numeric_limits<double>::infinity())) return false;
    const Inverse<T> one = Inverse<T>::of(temperature);
    hi[c] = one.hi;
    lo[c] = one.lo;
  }
  for (int c = count; c < K * kWidth<T>; ++c) hi[c] = 1;
  EACH inverse.v[k] = load(hi + k * kWidth<T>), inverse_lo.v[k] = load(lo + k * kWidth<T>);
  return run_tile<true>(job.op, tile, count, inverse, inverse_lo);
}

// Columns per tile.
template <class T>
constexpr int kTileVectors = 4;
template <class T>
constexpr int kTileColumns = kTileVectors<T> * kWidth<T>;

template <class T>
void run_column_range(const Job& job, int64_t begin, int64_t end) {
  const int64_t inner = job.shape[job.dims - 1];
  for (int64_t i = begin; i < end;) {
    // A tile ends where its run of neighbours ends.
    const int64_t left = std::min(end, (i / inner + 1) * inner) - i;
    const int count = int(left < kTileColumns<T> ? left : kTileColumns<T>);
    const Slice slice = slice_at(job, i);
    const Tile<T> tile = {(const T*)slice.x, job.x.along / int64_t(sizeof(T)), (T*)slice.y,
                          job.y.along / int64_t(sizeof(T)), job.n};
    if (!run_columns<T, kTileVectors<T>>(job, tile, i, count))
      for (int c = 0; c < count; ++c) run_slice<T, T>(job, slice_at(job, i + c));
    i += count;
  }
}

// Contiguous short slices, turned into the columns of a small tile and back.
template <class T>
void run_short_rows(const Job& job, int64_t begin, int64_t end) {
  constexpr int C = kTileColumns<T>;
  const int64_t n = job.n, results = job.op == Op::logsumexp ? 1 : n;
  T* buffer = scratch<T>(C * n);
  for (int64_t i = begin; i < end; i += C) {
    const int count = int(end - i < C ? end - i : C);
    const Slice slice = slice_at(job, i);
    const T* x = (const T*)slice.x;
    for (int r = 0; r < count; ++r)
      for (int64_t j = 0; j < n; ++j) buffer[j * C + r] = x[r * n + j];
    const Tile<T> tile = {buffer, C, buffer, C, n};
    if (!run_columns<T, kTileVectors<T>>(job, tile, i, count)) {
      for (int c = 0; c < count; ++c) run_slice<T, T>(job, slice_at(job, i + c));
      buffer = scratch<T>(C * n);
      continue;
    }
    T* y = (T*)slice.y;
    for (int r = 0; r < count; ++r)
      for (int64_t j = 0; j < results; ++j) y[r * results + j] = buffer[j * C + r];
  }
}
