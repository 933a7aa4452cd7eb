// Weighing: the sum of a slice's exponentials, and of their products with what stands beside the
// entries (a tangent, or weights), which may cancel.  For weights the latter alone.
//
// For float both are taken in double, from exponentials good to 2^-50 (exponent.inl); for double in
// pairs.  Each is eight running sums, entry i in lane i mod 8, and a fixed tree: with consecutive
// entries in one vector (a row) or one vector to an entry (a strip of slices side by side), the
// same bits.

constexpr int kWeighed = 8;

// Purposes of scratch buffers.
struct Beside;
struct Widened;
struct Mended;
struct Exponentials;

// Entries that advance together: so many vectors of double.
constexpr int kStride = 4;

// Of these, vectors that take each step side by side: long vectors of doubles, whose steps are
// many, wait more for registers than for each other.
template <class T>
constexpr int kSideBySide = sizeof(T) == 8 && kVectorBytes == 64 ? 2 : 4;

// The two sums of a slice, in pairs where the entries are double.
template <class V>
struct Weights {
  V sum, sum_lo, along, along_lo;
};

// The sums a and b with what they lost; of float terms nothing is that matters.
template <class T, class V>
INLINE void join(V& a, V& a_lo, V b, V b_lo) {
  if constexpr (sizeof(T) == 4) {
    a = a + b;
  } else {
    V sum, error;
    two_sum(a, b, sum, error);
    a_lo = (a_lo + b_lo) + error;
    a = sum;
  }
}

// The tree over N lanes.
template <class T, int N, class V>
INLINE void total(V* hi, V* lo) {
  for (int half = N / 2; half >= 1; half /= 2)
    for (int i = 0; i < half; ++i) join<T>(hi[i], lo[i], hi[i + half], lo[i + half]);
  const V sum = hi[0] + lo[0];
  lo[0] = lo[0] - (sum - hi[0]);
  hi[0] = sum;
}

// Running sums in A vectors.  `Relative`: what stands beside the entries is counted from a
// reference.  Otherwise, for weights, products alone are added, which are both sums.
template <class T, int A, bool Relative>
struct Weighed {
  static constexpr bool paired = sizeof(T) == 8;
  // Sums of double terms start above any term, as in Sums.
  static constexpr double start = paired ? Sums<double>::start : 0.0;

  vec<double> sum[A], sum_lo[A], along[A], along_lo[A];

  INLINE Weighed() {
    for (int a = 0; a < A; ++a) {
      sum[a] = splat(start);
      sum_lo[a] = along[a] = along_lo[a] = splat(0.0);
    }
  }

  // Of float entries what stands beside them is counted from the reference beforehand, while their
  // exponentials have not begun.
  template <int K>
  INLINE void count_from(vec<double> reference, group<double, K>& c) {
    if constexpr (!paired && Relative) EACH c.v[k] = c.v[k] - reference;
  }

  // Those of the vectors from number `first` on of kStride.
  template <int K>
  INLINE void add(int first, const group<double, K>& e, const group<double, K>& low,
                  const group<double, K>& c, vec<double> reference) {
    if constexpr (!paired) {
      if constexpr (Relative) EACH sum[(first + k) % A] = sum[(first + k) % A] + e.v[k];
      EACH along[(first + k) % A] = fma(e.v[k], c.v[k], along[(first + k) % A]);
      return;
    }
    if constexpr (Relative) EACH {
        const int a = (first + k) % A;
        const vec<double> longer = sum[a] + e.v[k];
        sum_lo[a] = sum_lo[a] + ((e.v[k] - (longer - sum[a])) + low.v[k]);
        sum[a] = longer;
      }
    EACH {
      const int a = (first + k) % A;
      vec<double> d = c.v[k], d_lo, longer, error;
      if constexpr (Relative) two_sum(c.v[k], -reference, d, d_lo);
      const vec<double> term = e.v[k] * d;
      vec<double> lost = fma(low.v[k], d, product_error(e.v[k], d, term));
      if constexpr (Relative) lost = fma(e.v[k], d_lo, lost);
      two_sum(along[a], term, longer, error);
      along_lo[a] = along_lo[a] + (error + lost);
      along[a] = longer;
    }
  }

  // Of the one slice of a row, over all lanes of all vectors.
  INLINE Weights<double> total_of_row() {
    constexpr int N = A * kWidth<double>;
    const auto total_of = [](const vec<double>* hi, const vec<double>* lo, double from)
                              INLINE_LAMBDA {
                                double h[N], l[N];
                                for (int a = 0; a < A; ++a) {
                                  store(h + a * kWidth<double>, hi[a] - from);
                                  store(l + a * kWidth<double>, lo[a]);
                                }
                                total<T, N>(h, l);
                                return Pair{h[0], l[0]};
                              };
    const Pair products = total_of(along, along_lo, 0.0);
    const Pair all = Relative ? total_of(sum, sum_lo, start) : products;
    return {all.hi, all.lo, products.hi, products.lo};
  }

  // Of each slice of a strip, over these vectors and as many more.
  INLINE Weights<vec<double>> total_with(const Weighed& more) {
    for (int a = 0; a < A; ++a) join<T>(along[a], along_lo[a], more.along[a], more.along_lo[a]);
    total<T, A>(along, along_lo);
    if constexpr (!Relative) return {along[0], along_lo[0], along[0], along_lo[0]};
    for (int a = 0; a < A; ++a) {
      sum[a] = sum[a] - start;
      join<T>(sum[a], sum_lo[a], more.sum[a] - start, more.sum_lo[a]);
    }
    total<T, A>(sum, sum_lo);
    return {sum[0], sum_lo[0], along[0], along_lo[0]};
  }
};

// Numbers that are kept of an entry: its exponential, and of doubles the bits that it lost, those
// of a vector of entries behind their exponentials.
template <class T>
constexpr int kParts = int(sizeof(T) / sizeof(float));

// Adds vectors of entries x, `step` apart, and of what stands beside them, counted from
// `reference`: kStride of them `every` so many from `start` on, of `vectors`, which is even.  The
// exponentials are kept, P numbers of each, `kept_step` apart, where there is room; `meanwhile` is
// called beside each few.
template <int P, class Exponent, class T, int A, bool Relative, class D, class C, class E, class F>
INLINE void weigh(const Exponent& exponent, const D* x, const C* c, int64_t vectors, int64_t step,
                  E* kept, int64_t kept_step, vec<double> reference, Weighed<T, A, Relative>& sums,
                  int64_t start, int64_t every, F meanwhile) {
  constexpr int most = kSideBySide<T>;
  const auto few = [&](auto size, int64_t start_of_few) INLINE_LAMBDA {
    constexpr int count = decltype(size)::value, K = std::min(count, most);
    meanwhile(start_of_few, count);
    _Pragma("GCC unroll 4") for (int first = 0; first < count; first += K) {
      const int64_t i = start_of_few + first;
      group<double, K> v, beside, e, low;
      load_wide(x + i * step, step, v);
      load_wide(c + i * step, step, beside);
      sums.count_from(reference, beside);
      exponent(v, e, low);
      if (kept) EACH {
          store_narrow(kept + (i + k) * kept_step, e.v[k]);
          if constexpr (P == 2) store_narrow(kept + (i + k) * kept_step + kWidth<double>, low.v[k]);
        }
      sums.add(first, e, low, beside, reference);
    }
  };
  int64_t i = start;
  for (; i + kStride <= vectors; i += every) few(std::integral_constant<int, kStride>(), i);
  if (i < vectors) few(std::integral_constant<int, kStride / 2>(), i);
}

// All but the last entries of a row go in whole strides; those are filled up with entries that give
// 0, to as many pairs of vectors as hold them.
constexpr int64_t kWholeStride = kStride * kWidth<double>;
INLINE int64_t pairs_of(int64_t rest) {
  constexpr int64_t pair = 2 * kWidth<double>;
  return (rest + pair - 1) / pair * 2;
}

// What to fetch while a row is weighed, which leaves the memory idle: what is behind it and the
// place of its results, `item` bytes an entry.  Null where they are near anyway.
struct RowAhead {
  const char *x = nullptr, *beside = nullptr, *result = nullptr;
  int64_t item = 0;

  INLINE void operator()(int64_t i, int count) const {
    const int64_t bytes = kWidth<double> * item;
    for (int64_t at = i * bytes; at < (i + count) * bytes; at += 64) {
      if (x) __builtin_prefetch(x + at, 0, 2);
      if (beside) __builtin_prefetch(beside + at, 0, 2);
      if (result) __builtin_prefetch(result + at, 1, 2);
    }
  }
};

// Numbers kept of the `rest` entries of a row behind its whole strides, and of all, P of each.
template <int P>
INLINE int64_t kept_of_rest(int64_t rest) {
  return P == 1 ? rest : P * kWidth<double> * pairs_of(rest);
}
template <int P>
INLINE int64_t kept_of_row(int64_t n) {
  const int64_t rest = n % kWholeStride;
  return P * (n - rest) + kept_of_rest<P>(rest);
}

// The sums of a row.
template <bool Relative, int P, class Exponent, class D, class C, class E, class Ahead>
Weights<double> weigh_row(const Exponent& given, const D* x, const C* c, int64_t n, E* kept,
                          double reference, const Ahead& given_ahead) {
  using T = decltype(widened(D()));
  constexpr int W = kWidth<double>, A = kWeighed / W;
  const Exponent exponent = given;  // in registers
  const Ahead ahead = given_ahead;
  const int64_t rest = n % kWholeStride, whole = n - rest;
  Weighed<T, A, Relative> sums;
  weigh<P>(exponent, x, c, whole / W, W, kept, P * W, splat(reference), sums, 0, kStride, ahead);
  if (rest > 0) {
    D last_x[kWholeStride];
    C last_c[kWholeStride];
    E last_kept[P * kWholeStride];
    std::fill(last_x, last_x + kWholeStride, stored<D>(-kInfinity<D>));
    std::fill(last_c, last_c + kWholeStride, C(0));
    std::copy_n(x + whole, rest, last_x);
    std::copy_n(c + whole, rest, last_c);
    weigh<P>(exponent, last_x, last_c, pairs_of(rest), W, last_kept, P * W, splat(reference), sums,
             0, kStride, [](int64_t, int) {});
    if (kept) std::copy_n(last_kept, kept_of_rest<P>(rest), kept + P * whole);
  }
  return sums.total_of_row();
}

// Calls f with what turns entries up to m, finite, into exponentials; `frame` receives where they
// are counted from.  For the logarithm of weighted floats that is the largest entry, of which
// nothing may be lost in a sum near 1.
template <bool Relative, class T, class F>
auto with_exponent(T m, double temperature, bool tempered, State& frame, F f) {
  const Inverse<double> inverse = Inverse<double>::of(temperature);
  if constexpr (sizeof(T) == 4) {
    const auto in_frame_of = [&](const auto& exponent) {
      frame.n = exponent.n()[0];
      frame.shift = exponent.subtracts ? double(m) * inverse.hi : 0.0;
      frame.shift_lo = exponent.subtracts ? std::fma(double(m), inverse.hi, -frame.shift) : 0.0;
      return f(exponent);
    };
    using Direct = Exponent<float, false, false>;
    const vec<double> largest = splat(double(m)), per_t = splat(inverse.hi);
    if constexpr (Relative)
      if (std::fabs(double(m) * Direct::scale_of(per_t)[0]) < Direct::direct)
        return in_frame_of(Direct(largest, per_t));
    return in_frame_of(Exponent<float, true, false>(largest, per_t));
  } else {
    const Frame<double> around = frame_around(m, inverse, frame);
    if (tempered)
      return frame.shift != 0 ? f(Exponent<double, true, true>{around})
                              : f(Exponent<double, false, true>{around});
    return frame.shift != 0 ? f(Exponent<double, true, false>{around})
                            : f(Exponent<double, false, false>{around});
  }
}

// What stands beside entries first .. first + count - 1, as contiguous numbers: 0 beside what takes
// no part.
template <class D>
const D* beside(const Job& job, const Slice& slice, int64_t first, int64_t count) {
  const int64_t along = job.second.along;
  const char* p = slice.second + first * along;
  if (along == int64_t(sizeof(D)) && !slice.where) return (const D*)p;
  D* buffer = scratch<D, Beside>(count);
  gather<D>(p, along, count, buffer);
  if (slice.where)
    leave_out(buffer, slice.where + first * job.where.along, job.where.along, count, D(0));
  return buffer;
}

// What to fetch while entries first .. first + count - 1 of a slice are weighed.
template <class D>
RowAhead ahead_of(const Job& job, const Slice& slice, int64_t first, int64_t count, bool writes) {
  RowAhead ahead;
  if (!job.fetch_ahead || job.x.along != int64_t(sizeof(D))) return ahead;
  ahead.item = sizeof(D);
  ahead.x = slice.x + (first + count) * job.x.along;
  // What is read once, in order, and for long is seen coming.
  if (count <= kNearRow && job.second.along == int64_t(sizeof(D)))
    ahead.beside = slice.second + (first + count) * job.second.along;
  if (writes && job.y.along == int64_t(sizeof(D))) ahead.result = slice.y + first * job.y.along;
  return ahead;
}

// Entries as they are computed with.
template <class D>
const auto* widened_run(const D* x, int64_t n) {
  using T = decltype(widened(D()));
  if constexpr (std::is_same_v<D, T>) {
    return x;
  } else {
    T* wide = scratch<T, Widened>(n);
    widen_run(x, wide, n);
    return (const T*)wide;
  }
}

// The state of a chunk, scaled as its exponentials are.  `Relative`: what stands beside the entries
// is counted from that of the largest, and what is infinite or nan beside an exponential of 0 does
// not count.
template <bool Relative, int P, class D, class C, class E, class Ahead>
State weigh_chunk(const Job& job, const Slice& slice, const D* x, const C* c, int64_t n, E* kept,
                  const Ahead& ahead) {
  using T = decltype(widened(D()));
  Largest<T> largest;
  if constexpr (Relative)
    largest = find_largest(x, n);
  else
    largest.value = row_max(x, n);
  const T m = largest.value;
  if (!(m - m == 0)) {
    if (kept) std::fill_n(kept, kept_of_row<P>(n), E(0));
    State limit = reduce_chunk(widened_run(x, n), n, Inverse<T>());
    if (Relative && m < 0)
      for (int64_t i = 0; i < n; ++i) limit.mended |= !(widened(c[i]) - widened(c[i]) == 0);
    return limit;
  }
  State state;
  state.max = m;
  if (Relative) state.reference = widened(c[largest.place]);
  const Weights<double> w = with_exponent<Relative>(
      m, slice.temperature, job.temperature.data != nullptr, state, [&](const auto& exponent) {
        Weights<double> sums =
            weigh_row<Relative, P>(exponent, x, c, n, kept, state.reference, ahead);
        if (Relative && sums.sum - sums.sum == 0 && !(sums.along - sums.along == 0)) {
          state.mended = true;
          E* e = kept;
          if (!e) {
            e = scratch<E, Kept>(kept_of_row<P>(n));
            weigh_row<Relative, P>(exponent, x, c, n, e, state.reference, ahead);
          }
          C* mended = scratch<C, Mended>(n);
          constexpr int W = kWidth<double>;
          for (int64_t i = 0; i < n; ++i) mended[i] = e[i / W * P * W + i % W] == 0 ? C(0) : c[i];
          sums = weigh_row<Relative, P>(exponent, x, mended, n, kept, state.reference, ahead);
        }
        return sums;
      });
  state.s = w.sum, state.s_lo = w.sum_lo;
  state.along = w.along, state.along_lo = w.along_lo;
  return state;
}

// All chunks' states as one, counted from the first of the largest entries.
inline Pair operator+(Pair a, Pair b) {
  const double sum = a.hi + b.hi, t = sum - a.hi;
  const double error = ((a.hi - (sum - t)) + (b.hi - t)) + (a.lo + b.lo);
  const double whole = sum + error;
  return {whole, error - (whole - sum)};
}
INLINE Pair scaled(Pair a, double b) {
  const double product = a.hi * b;
  return {product, std::fma(a.hi, b, -product) + a.lo * b};
}
inline State weighed_together(const State* chunks, int64_t count) {
  State all = chunks[0];
  if (count == 1) return all;
  for (int64_t i = 1; i < count; ++i)
    if (chunks[i].max > all.max) all = chunks[i];
  Pair sum = {0, 0}, along = {0, 0};
  all.infinities = 0;
  for (int64_t i = 0; i < count; ++i) {
    const State& chunk = chunks[i];
    all.infinities += chunk.infinities;
    all.mended |= chunk.mended;
    if (chunk.s == 0) continue;
    const double scale = relative_scale(chunk, all);
    const Pair part = scaled({chunk.s, chunk.s_lo}, scale);
    sum = sum + part;
    along = along + scaled({chunk.along, chunk.along_lo}, scale);
    if (chunk.reference == all.reference) continue;
    const double d = chunk.reference - all.reference, t = d - chunk.reference;
    const double d_lo = (chunk.reference - (d - t)) + (-all.reference - t);
    const Pair moved = scaled(part, d);
    along = along + Pair{moved.hi, moved.lo + part.hi * d_lo};
  }
  all.s = sum.hi, all.s_lo = sum.lo;
  all.along = along.hi, all.along_lo = along.lo;
  return all;
}

INLINE Weights<vec<double>> in_all_lanes(const State& s) {
  return {splat(s.s), splat(s.s_lo), splat(s.along), splat(s.along_lo)};
}
