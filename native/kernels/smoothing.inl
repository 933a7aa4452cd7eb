// What smoothed labels ask of slices besides their softmax: how far all entries are below the
// largest, and what all gradients lose.

// The sum of how far the entries of a row are below the largest, times a share.  `Careful`: the
// largest is not below itself where it is infinite.
template <bool Careful, class T>
double sum_of_gaps(const T* x, int64_t n, T max, double share) {
  const vec<double> most = splat(double(max)), part = splat(share);
  Term<T> sum[kLaneVectors];
  for (int64_t i = 0; i < n; i += kLanes) {
    vec<double> entry[kLaneVectors];
    load_sixteen(x + i, n - i, max, entry);
    for (int m = 0; m < kLaneVectors; ++m) {
      const vec<double> gap = most - entry[m];
      sum[m].add_product(part, Careful ? (entry[m] == most ? splat(0.0) : gap) : gap);
    }
  }
  return total_of(sum);
}
template <class T>
double sum_of_gaps(const T* x, int64_t n, double share) {
  const T max = row_max(x, n);
  const double sum = sum_of_gaps<false>(x, n, max, share);
  return sum == sum ? sum : sum_of_gaps<true>(x, n, max, share);
}

// The same of `count` columns, a vector at most: entry i of each goes to sum i mod 16 of its own,
// so that they have the same bits.
template <bool Careful, class T>
void gaps_of_columns(const T* x, int64_t step, int64_t n, int count, double share, double* gaps) {
  constexpr int H = kWide<T, 1>;
  const vec<T> lowest = splat(-std::numeric_limits<T>::infinity());
  vec<T> max = lowest;
  for (int64_t i = 0; i < n; ++i) max = larger(load_first(x + i * step, count, lowest), max);
  vec<double> most[H];
  widen(single<T>(max), most);
  const vec<double> part = splat(share);
  Term<T> sums[kLanes][H];
  for (int64_t i = 0; i < n; ++i) {
    vec<double> entry[H];
    widen(single<T>(load_first(x + i * step, count, lowest)), entry);
    for (int h = 0; h < H; ++h) {
      const vec<double> gap = most[h] - entry[h];
      sums[i % kLanes][h].add_product(part,
                                      Careful ? (entry[h] == most[h] ? splat(0.0) : gap) : gap);
    }
  }
  for (int c = 0; c < count; ++c) {
    Term<T> lane[kLaneVectors];
    for (int l = 0; l < kLanes; ++l)
      take_lane(sums[l][c / kWidth<double>], c % kWidth<double>, lane[l / kWidth<double>],
                l % kWidth<double>);
    gaps[c] = total_of(lane);
  }
}

// Those of all slices, which are rows, or columns, or scattered.
template <class T>
void find_gaps(LossGroup& slices) {
  const Job& softmax = slices.softmax;
  const int64_t n = softmax.n, step = softmax.x.along / int64_t(sizeof(T));
  double* gaps = slices.gaps;
  const bool columns = softmax.traversal == Traversal::columns;
  for (int c = 0; columns && c < slices.count; c += kWidth<T>)
    gaps_of_columns<false>(slices.logits<T>(c), step, n, std::min(slices.count - c, kWidth<T>),
                           slices.share, gaps + c);
  for (int i = 0; i < slices.count; ++i)
    if (step == 1)
      gaps[i] = sum_of_gaps(slices.logits<T>(i), n, slices.share);
    else if (!columns || gaps[i] != gaps[i])
      gaps_of_columns<true>(slices.logits<T>(i), step, n, 1, slices.share, gaps + i);
}

// y -= w
template <class T>
void lower(T* y, int64_t n, double w) {
  const vec<T> by = splat(T(w)), by_lo = splat(T(w - double(T(w))));
  for_groups<T>(n, [&](auto size, int64_t i, int count) INLINE_LAMBDA {
    constexpr int K = decltype(size)::value;
    group<T, K> v = load_group<K>(y + i, count, splat(T(0)));
    EACH v.v[k] = (v.v[k] - by) - by_lo;
    store_group(y + i, count, v);
  });
}

// y -= w of `count` columns.
template <class T>
void lower_columns(T* y, int64_t step, int64_t n, int count, const double* w) {
  constexpr int W = kWidth<T>, H = kWide<T, 1>;
  for (int c = 0; c < count; c += W) {
    const int here = std::min(count - c, W);
    vec<double> whole[H];
    group<T, 1> by, by_lo;
    for (int h = 0; h < H; ++h) whole[h] = load(w + c + h * kWidth<double>);
    in_two_parts(whole, by, by_lo);
    for (int64_t k = 0; k < n; ++k) {
      T* row = y + k * step + c;
      const vec<T> v = load_first(row, here, splat(T(0)));
      store_first(row, here, (v - by.v[0]) - by_lo.v[0]);
    }
  }
}

// What all results of the slices lose.
template <class T>
void lower(const LossGroup& slices) {
  const int64_t n = slices.softmax.n, step = slices.softmax.y.along / int64_t(sizeof(T));
  if (slices.lose_alike<T>())
    return lower(slices.gradient<T>(0), slices.count * n, slices.job.scale * slices.share);
  alignas(64) double w[kLossGroup + kWidth<T>] = {};  // whole vectors from any on
  for (int i = 0; i < slices.count; ++i) w[i] = slices.weight[i] * slices.share;
  if (slices.softmax.traversal == Traversal::columns)
    return lower_columns(slices.gradient<T>(0), step, n, slices.count, w);
  for (int i = 0; i < slices.count; ++i)
    step == 1 ? lower(slices.gradient<T>(i), n, w[i])
              : lower_columns(slices.gradient<T>(i), step, n, 1, w + i);
}
