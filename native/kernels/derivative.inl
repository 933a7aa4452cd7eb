// The derivative of softmax, from whichever side: p (c - sum of p c) / T for a tangent c.
//
// Both differences may cancel.  So c is counted from that of the largest entry, whose p may be
// near 1: what is left of the sum leaves that entry out.  For float all is double but the
// exponentials that are kept; for double the sums are pairs.

// What makes exponentials and tangents into results: one slice in all lanes, or a slice in each.
struct Slopes {
  vec<double> factor, factor_lo, reference, mean, mean_lo;
};

INLINE void quotient(vec<double> a, vec<double> a_lo, vec<double> b, vec<double> b_lo,
                     vec<double>& hi, vec<double>& lo) {
  const vec<double> q = a / b;
  const vec<double> low = (residual(a, q, b) + (a_lo - q * b_lo)) / b;
  hi = q + low;
  lo = low - (hi - q);
}

template <class T>
INLINE Slopes slopes_of(const Weights<vec<double>>& w, vec<double> reference, vec<double> inverse,
                        vec<double> inverse_lo) {
  Slopes s;
  s.reference = reference;
  if constexpr (sizeof(T) == 4) {
    const vec<double> share = 1 / w.sum;
    s.mean = w.along * share;
    s.factor = share * inverse;
    s.mean_lo = s.factor_lo = splat(0.0);
  } else {
    vec<double> share, share_lo;
    quotient(w.along, w.along_lo, w.sum, w.sum_lo, s.mean, s.mean_lo);
    quotient(splat(1.0), splat(0.0), w.sum, w.sum_lo, share, share_lo);
    s.factor = share * inverse;
    s.factor_lo =
        product_error(share, inverse, s.factor) + (share * inverse_lo + share_lo * inverse);
  }
  return s;
}

// Where the map finds exponentials: as they were kept, or computed again.
template <class T, class E>
struct KeptExponentials {
  const E* e;
  int64_t step;

  template <int K>
  INLINE void operator()(int64_t i, group<double, K>& p, group<double, K>& low) const {
    EACH p.v[k] = load_wide(e + (i + k) * step);
    if constexpr (kParts<T> == 2) EACH low.v[k] = load_wide(e + (i + k) * step + kWidth<double>);
  }
};
template <class Exponent, class T>
struct ExponentialsOf {
  Exponent exponent;
  const T* x;
  int64_t step;

  template <int K>
  INLINE void operator()(int64_t i, group<double, K>& p, group<double, K>& low) const {
    group<double, K> v;
    EACH v.v[k] = load_wide(x + (i + k) * step);
    exponent(v, p, low);
  }
};

// y from exponentials and tangents c, `vectors` vectors (an even number); those of c and y are
// `step` apart.  `Mended`: an entry that takes no part has 0, whatever stands beside it.
template <bool Mended, class Exponentials, class T>
INLINE void write_slopes(const Exponentials& exponentials, const T* c, T* y, int64_t vectors,
                         int64_t step, const Slopes& s) {
  const vec<double> none = splat(0.0);
  const auto few = [&](auto size, int64_t i) INLINE_LAMBDA {
    constexpr int K = decltype(size)::value;
    group<double, K> p, p_lo, d, d_lo, from, lost, share;
    exponentials(i, p, p_lo);
    EACH d.v[k] = load_wide(c + (i + k) * step);
    // Adding 0 leaves no -0 where a probability is 0.
    if constexpr (sizeof(T) == 4) {
      EACH d.v[k] = (d.v[k] - s.reference) - s.mean;
      EACH d.v[k] = fma(p.v[k] * s.factor, d.v[k], none);
    } else {
      // Both factors in two parts: the Jacobian comes out symmetric.
      EACH two_sum(d.v[k], -s.reference, from.v[k], lost.v[k]);
      EACH two_sum(from.v[k], -s.mean, d.v[k], d_lo.v[k]);
      EACH d_lo.v[k] = d_lo.v[k] + (lost.v[k] - s.mean_lo);
      EACH share.v[k] = p.v[k] * s.factor;
      EACH p_lo.v[k] = product_error(p.v[k], s.factor, share.v[k]) +
                       fma(p.v[k], s.factor_lo, p_lo.v[k] * s.factor);
      EACH from.v[k] = share.v[k] * d.v[k];
      EACH lost.v[k] = product_error(share.v[k], d.v[k], from.v[k]) +
                       fma(p_lo.v[k], d.v[k], share.v[k] * d_lo.v[k]);
      EACH d.v[k] = (from.v[k] + lost.v[k]) + none;
    }
    if constexpr (Mended) EACH d.v[k] = p.v[k] == none ? none : d.v[k];
    EACH store_narrow(y + (i + k) * step, d.v[k]);
  };
  constexpr int most = sizeof(T) == 8 ? 4 : 2;
  int64_t i = 0;
  for (; i + most <= vectors; i += most) few(std::integral_constant<int, most>(), i);
  if (i < vectors) few(std::integral_constant<int, 2>(), i);
}

// The same for a row, whose last entries are filled up; `source(p)` is where those of a buffer, or
// of the row, are found, with P numbers an entry.
template <bool Mended, int P, class T, class E, class F>
void write_slopes_of_row(const E* e, const T* c, T* y, int64_t n, const Slopes& given, F source) {
  constexpr int W = kWidth<double>;
  const Slopes slopes = given;  // in registers
  const int64_t rest = n % kWholeStride, whole = n - rest;
  write_slopes<Mended>(source(e), c, y, whole / W, W, slopes);
  if (rest == 0) return;
  E last_e[P * kWholeStride] = {};
  T last[kWholeStride] = {};
  std::copy_n(e + P * whole, P == 1 ? rest : kept_of_rest<double>(rest), last_e);
  std::copy_n(c + whole, rest, last);
  write_slopes<Mended>(source(last_e), last, last, pairs_of(rest), W, slopes);
  std::copy_n(last, rest, y + whole);
}

INLINE bool is_limit(double temperature) {
  return !(temperature > 0 && temperature < std::numeric_limits<double>::infinity());
}

// Where a chunk of a row of several leaves its exponentials: floats in the result; null where they
// are computed again, as for double, whose exponentials are pairs, and for 16-bit results.
template <class D, class T>
T* kept_of(const Job& job, const Slice& slice, int64_t first) {
  const bool keeps = sizeof(T) == 4 && in_place<D, T>(job);
  return keeps && slice.y != slice.x && slice.y != slice.second ? (T*)slice.y + first : nullptr;
}

template <class D, class T, class E>
State reduce_derivative_chunk(const Job& job, const Slice& slice, int64_t chunk, E* kept) {
  if (is_limit(slice.temperature)) return reduce_slice_chunk<D, T>(job, slice, chunk);
  const int64_t first = chunk * kChunk, count = chunk_length(job, chunk);
  const T* x = entries<D, T>(job, slice, first, count);
  const T* c = beside<D, T>(job, slice, first, count);
  return weigh_chunk<true>(job, slice, x, c, count, kept,
                           ahead_of<D>(job, slice, first, count, (const char*)kept != slice.y));
}

// A slice whose probabilities no small change of the entries changes, or that has none.
template <class D, class T>
void write_limit(const Job& job, const Slice& slice, const State& all) {
  const double inf = std::numeric_limits<double>::infinity();
  const bool undefined =
      all.s != all.s || all.infinities > 1 || (all.max == -inf && takes_part(job, slice));
  const double flat = undefined ? std::numeric_limits<double>::quiet_NaN() : 0.0;
  // Entries that share at temperature 0 do so no longer when they part.
  const bool shared = !undefined && slice.temperature == 0 && all.max - all.max == 0;
  double sum = 0, ties = 0, mean = 0;
  for (const bool writes : {false, true}) {
    for (int64_t first = 0; first < job.n; first += kChunk) {
      const int64_t count = chunk_length(job, first / kChunk);
      const T* x = entries<D, T>(job, slice, first, count);
      const T* c = beside<D, T>(job, slice, first, count);
      for (int64_t i = 0; i < count; ++i) {
        const bool tie = shared && x[i] == T(all.max);
        if (!writes) {
          if (tie) sum += double(c[i]), ++ties;
          continue;
        }
        const double d = tie ? double(c[i]) - mean : 0.0;
        const bool out = slice.where && !slice.where[(first + i) * job.where.along];
        round_to(*(D*)(slice.y + (first + i) * job.y.along), T(out      ? 0.0
                                                               : d == 0 ? flat
                                                                        : d * inf));
      }
    }
    mean = ties > 0 ? sum / ties : 0;
  }
}

// From the states of the chunks: how entries become results, or, with `flat`, all results.
template <class D, class T>
void finish_derivative(const Job& job, const Slice& slice, const State* chunks, SliceMap* map) {
  map->state = weighed_together(chunks, std::max<int64_t>(1, (job.n + kChunk - 1) / kChunk));
  map->flat = is_limit(slice.temperature) || !map->state.ordinary();
  if (map->flat) write_limit<D, T>(job, slice, map->state);
}

template <class D, class T, class E>
void map_derivative_chunk(const Job& job, const Slice& slice, int64_t chunk, const State& state,
                          const SliceMap& map, E* kept) {
  if (map.flat) return;
  const int64_t first = chunk * kChunk, count = chunk_length(job, chunk);
  const T* x = kept ? nullptr : entries<D, T>(job, slice, first, count);
  const T* c = beside<D, T>(job, slice, first, count);
  const Inverse<double> inverse = Inverse<double>::of(slice.temperature);
  const Slopes all = slopes_of<T>(in_all_lanes(map.state), splat(map.state.reference),
                                  splat(inverse.hi), splat(inverse.lo));
  // Kept exponentials are in the chunk's own frame, others in that of all.
  const vec<double> scale = splat(kept ? relative_scale(state, map.state) : 1.0);
  Slopes slopes = all;
  slopes.factor = all.factor * scale;
  slopes.factor_lo = product_error(all.factor, scale, slopes.factor) + all.factor_lo * scale;
  T* y = results<D, T>(job, slice, first, count);
  const auto write = [&](auto parts, const auto* p, auto source) {
    constexpr int P = decltype(parts)::value;
    map.state.mended ? write_slopes_of_row<true, P>(p, c, y, count, slopes, source)
                     : write_slopes_of_row<false, P>(p, c, y, count, slopes, source);
  };
  constexpr int W = kWidth<double>, P = kParts<T>;
  if (kept) {
    write(std::integral_constant<int, P>(), kept,
          [](const E* e) { return KeptExponentials<T, E>{e, P * W}; });
  } else {
    State frame;
    with_exponent(T(map.state.max), slice.temperature, job.temperature.data != nullptr, frame,
                  [&](const auto& exponent) {
                    write(std::integral_constant<int, 1>(), x, [&](const T* e) {
                      return ExponentialsOf<std::decay_t<decltype(exponent)>, T>{exponent, e, W};
                    });
                  });
  }
  if (slice.where) {
    const char* where = slice.where + first * job.where.along;
    for (int64_t i = 0; i < count; ++i)
      if (!where[i * job.where.along]) y[i] = 0;
  }
  deliver<D, T>(job, slice, first, count, y);
}

template <class D, class T>
void run_derivative(const Job& job, const Slice& slice) {
  const int64_t chunks = (job.n + kChunk - 1) / kChunk;
  SliceMap map;
  if (chunks <= 1) {
    // As doubles: two conversions less.  A longer row would leave the second-level cache.
    double* kept = scratch<double, Exponentials>(kept_room<T>(job.n));
    const State state = reduce_derivative_chunk<D, T>(job, slice, 0, kept);
    finish_derivative<D, T>(job, slice, &state, &map);
    map_derivative_chunk<D, T>(job, slice, 0, state, map, kept);
    return;
  }
  std::vector<State> states{size_t(chunks)};
  for (int64_t i = 0; i < chunks; ++i)
    states[size_t(i)] =
        reduce_derivative_chunk<D, T>(job, slice, i, kept_of<D, T>(job, slice, i * kChunk));
  finish_derivative<D, T>(job, slice, states.data(), &map);
  for (int64_t i = 0; i < chunks; ++i)
    map_derivative_chunk<D, T>(job, slice, i, states[size_t(i)], map,
                               kept_of<D, T>(job, slice, i * kChunk));
}
