// A tile's sums of all but the largest entries, where one takes so much that the others are lost in
// the sum of all.

// Of any tile, which row_of knows, the entries but the largest of each column, and what is so far
// below as to add nothing to its sum.  What seldom happens is not compiled for each kind of tile.
template <class T, int K>
struct Others {
  const void* const tile;
  void (*const row_of)(const void* tile, int64_t i, int count, group<T, K>& row);
  const int64_t n;
  const group<T, K> max, inverse;
  T* const kept = nullptr;
  const Meanwhile<T> meanwhile = {};

  template <int>
  INLINE group<T, K> row(int64_t i, int count) const {
    group<T, K> v;
    row_of(tile, i, count, v);
    EACH {
      const vec<T> below = (max.v[k] - v.v[k]) * inverse.v[k];
      v.v[k] = (below == 0) | (below > 800) ? splat(-std::numeric_limits<T>::infinity()) : v.v[k];
    }
    return v;
  }
};

// 2^n of whole numbers in the range of exponents.
INLINE vec<double> power_of_two(vec<double> n) {
  using C = exp_constants<double>;
  return (vec<double>)(((vec<int64_t>)(n + C::magic) + C::bias) << C::mantissa);
}

// The sums of all but the largest entries where these do not show in the sums of all: the same
// steps without them, in frames of their own.  False if one is out of the ordinary.
template <class T, int K, bool Tempered>
__attribute__((noinline)) bool sum_without_largest(const Others<T, K>& others,
                                                   SliceLanes<T, K, Tempered>& lanes) {
  constexpr int M = kWide<T, K>;
  const vec<double> headroom = splat(double(exp_constants<T>::headroom));
  const vec<T> lowest = splat(-std::numeric_limits<T>::infinity());
  SliceLanes<T, K, Tempered> rest;
  rest.count = lanes.count;
  rest.frame.inverse = lanes.frame.inverse;
  rest.frame.inverse_lo = lanes.frame.inverse_lo;
  EACH rest.max.v[k] = lowest;
  for (int64_t i = 0; i < others.n; ++i) {
    const group<T, K> v = others.template row<K>(i, lanes.count);
    EACH rest.max.v[k] = larger(v.v[k], rest.max.v[k]);
  }
  group<T, K> rise, none;
  EACH none.v[k] = rest.max.v[k] == lowest ? splat(T(1)) : splat(T(0));
  EACH rest.max.v[k] = rest.max.v[k] == lowest ? lanes.max.v[k] : rest.max.v[k];
  if (!rest.find_frames()) return false;
  rest.find_top();
  sum_columns<false, false>(others, rest);
  rest.correct();
  EACH rise.v[k] = lanes.frame.rounder.v[k] - rest.frame.rounder.v[k];
  vec<double> n[M], empty[M], found[M];
  widen(rise, n);
  widen(none, empty);
  for (int j = 0; j < M; ++j) {
    // In two steps, of which the second may underflow as a State's sum does.
    const vec<double> half =
        (n[j] * 0.5 + exp_constants<double>::magic) - exp_constants<double>::magic;
    const vec<double> sum = rest.sum[j] * power_of_two(half) * power_of_two(n[j] - half - headroom);
    // Nothing, unless there is a nan.
    found[j] = empty[j] != 0 ? 0 * lanes.sum[j] : sum * power_of_two(headroom);
  }
  lanes.take_apart(found);
  return true;
}

template <class Columns, class T, int K, bool Tempered>
bool sum_others(const Columns& entries, SliceLanes<T, K, Tempered>& lanes) {
  const auto row_of = [](const void* tile, int64_t i, int count, group<T, K>& row) {
    row = ((const Columns*)tile)->template row<K>(i, count);
  };
  return sum_without_largest(
      Others<T, K>{&entries, row_of, entries.n, lanes.max, lanes.frame.inverse}, lanes);
}
