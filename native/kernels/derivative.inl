// The derivative of softmax, from whichever side: p (c - sum of p c) / T for a tangent c.
//
// Both differences may cancel.  So c is counted from that of the largest entry, whose p may be
// near 1: what is left of the sum leaves that entry out.  For float all is double, for double the
// sums are pairs; long rows keep their exponentials rounded once.

// What makes exponentials and tangents into results: one slice in all lanes, or a slice in each.
// Tangents lose `center`, and then what the mean is more than that; of floats it is the reference,
// of doubles the mean itself as far as one number holds it.
struct Slopes {
  vec<double> factor, factor_lo, center, beyond;
  vec<double> unit;  // of the results of doubles, a power of two

  // For exponentials in another frame.  Half of the scale goes to the results, where that matters:
  // small ones are then rounded once.
  INLINE void rescale(double scale, bool halved) {
    int exponent = 0;
    if (halved && scale > 0) std::frexp(scale, &exponent);
    const double part = std::ldexp(scale, -exponent / 2);
    const vec<double> old = factor;
    factor = old * part;
    factor_lo = product_error(old, splat(part), factor) + factor_lo * part;
    unit = splat(std::ldexp(1.0, exponent / 2));
  }
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
  s.unit = splat(1.0);
  if constexpr (sizeof(T) == 4) {
    const vec<double> share = 1 / w.sum;
    s.center = reference;
    s.beyond = w.along * share;
    s.factor = share * inverse;
    s.factor_lo = splat(0.0);
  } else {
    vec<double> share, share_lo, mean, mean_lo;
    quotient(w.along, w.along_lo, w.sum, w.sum_lo, mean, mean_lo);
    two_sum(reference, mean, s.center, s.beyond);
    s.beyond = s.beyond + mean_lo;
    quotient(splat(1.0), splat(0.0), w.sum, w.sum_lo, share, share_lo);
    s.factor = share * inverse;
    s.factor_lo =
        product_error(share, inverse, s.factor) + (share * inverse_lo + share_lo * inverse);
  }
  return s;
}

// y from exponentials e, P numbers of each, and tangents c, `vectors` vectors (an even number);
// those of c and y are `step` apart.  `Mended`: an entry that takes no part has 0, whatever stands
// beside it.
template <bool Mended, int P, class T, class E, class C>
INLINE void write_slopes(const E* e, const C* c, C* y, int64_t vectors, int64_t step,
                         const Slopes& s) {
  constexpr int W = kWidth<double>;
  const vec<double> none = splat(0.0);
  const auto few = [&](auto size, int64_t i) INLINE_LAMBDA {
    constexpr int K = decltype(size)::value;
    group<double, K> p, p_lo, d, d_lo, from, lost, share;
    EACH p.v[k] = load_wide(e + (i + k) * P * W);
    if constexpr (P == 2) EACH p_lo.v[k] = load_wide(e + (i + k) * P * W + W);
    load_wide(c + i * step, step, d);
    // Adding 0 leaves no -0 where a probability is 0.
    if constexpr (sizeof(T) == 4) {
      EACH d.v[k] = (d.v[k] - s.center) - s.beyond;
      EACH d.v[k] = fma(p.v[k] * s.factor, d.v[k], none);
    } else {
      // Both factors in two parts: the Jacobian comes out symmetric.
      EACH two_sum(d.v[k], -s.center, from.v[k], lost.v[k]);
      EACH lost.v[k] = lost.v[k] - s.beyond;
      EACH d.v[k] = from.v[k] + lost.v[k];
      EACH d_lo.v[k] = lost.v[k] - (d.v[k] - from.v[k]);
      EACH share.v[k] = p.v[k] * s.factor;
      EACH lost.v[k] = product_error(p.v[k], s.factor, share.v[k]);
      if constexpr (P == 2) EACH lost.v[k] = fma(p_lo.v[k], s.factor, lost.v[k]);
      EACH p_lo.v[k] = fma(p.v[k], s.factor_lo, lost.v[k]);
      EACH from.v[k] = share.v[k] * d.v[k];
      EACH lost.v[k] = fma(p_lo.v[k], d.v[k], product_error(share.v[k], d.v[k], from.v[k]));
      EACH lost.v[k] = fma(share.v[k], d_lo.v[k], lost.v[k]);
      EACH d.v[k] = fma(from.v[k] + lost.v[k], s.unit, none);
    }
    if constexpr (Mended) EACH d.v[k] = p.v[k] == none ? none : d.v[k];
    store_narrow(y + i * step, step, d);
  };
  constexpr int most = sizeof(T) == 8 ? 4 : 2;
  int64_t i = 0;
  for (; i + most <= vectors; i += most) few(std::integral_constant<int, most>(), i);
  if (i < vectors) few(std::integral_constant<int, 2>(), i);
}

// The same for a row, whose last entries are filled up.
template <bool Mended, int P, class T, class E, class C>
void write_slopes_of_row(const E* e, const C* c, C* y, int64_t n, const Slopes& given) {
  constexpr int W = kWidth<double>;
  const Slopes slopes = given;  // in registers
  const int64_t rest = n % kWholeStride, whole = n - rest;
  write_slopes<Mended, P, T>(e, c, y, whole / W, W, slopes);
  if (rest == 0) return;
  E last_e[P * kWholeStride] = {};
  C last[kWholeStride] = {};
  std::copy_n(e + P * whole, kept_of_rest<P>(rest), last_e);
  std::copy_n(c + whole, rest, last);
  write_slopes<Mended, P, T>(last_e, last, last, pairs_of(rest), W, slopes);
  std::copy_n(last, rest, y + whole);
}

// Whether no tangent is as large as 2^30, and bfloat16 none infinite or nan.
INLINE bool below_2_30(const half*, int64_t) { return true; }
INLINE bool below_2_30(const bfloat* c, int64_t n) {
  uint16_t largest = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, uint16_t(c[i].raw & 0x7fff));
  return largest < 0x4e80;
}

// The same for 16 bits, in floats: from tangents of so few digits the mean is taken exactly in two
// steps.  False where numbers may leave the range of floats.
template <class D>
bool write_slopes_in_floats(const float* e, const D* c, D* y, int64_t n, const Slopes& s) {
  // What takes exponentials to about 1, in two steps: what underflows in between is 0 in the end.
  constexpr float down = 0x1p-50f;
  const double factor = s.factor[0] * 0x1p50;
  if (!(factor > 0x1p-120 && factor < 0x1p-40) || !below_2_30(c, n)) return false;
  const double mean = s.center[0] + s.beyond[0];
  if (!(std::fabs(mean) < 0x1p30)) return false;
  const float hi = float(mean), lo = float((s.center[0] - hi) + s.beyond[0]);
  for_groups<float>(n, [&](auto size, int64_t i, int count) INLINE_LAMBDA {
    constexpr int K = decltype(size)::value;
    group<float, K> p = load_group<K>(e + i, count, splat(0.0f));
    group<float, K> d = load_entries<K, float>(c + i, count);
    EACH d.v[k] = ((d.v[k] - hi) - lo) * (p.v[k] * down);
    EACH d.v[k] = fma(d.v[k], splat(float(factor)), splat(0.0f));
    store_entries<D>(y + i, count, d);
  });
  return true;
}

INLINE bool is_limit(double temperature) {
  return !(temperature > 0 && temperature < std::numeric_limits<double>::infinity());
}

// Rows that may also go in strips, and rows of floats of one chunk, keep their exponentials as
// doubles, of doubles in pairs.  Longer rows, which would leave the second-level cache, keep them
// as floats, of doubles as doubles.
template <class D>
bool keeps_doubles(const Job& job) {
  return job.n <= (std::is_same_v<D, float> ? kChunk : kLongStrip);
}

// Where a chunk of such a row keeps them: in the result.  Null where that has no room.
template <class D, class T>
T* kept_in_result(const Job& job, const Slice& slice, int64_t chunk) {
  const bool keeps = in_place<D, T>(job) && slice.y != slice.x && slice.y != slice.second;
  return keeps ? (T*)slice.y + chunk * kChunk : nullptr;
}

// Whether two chunks' 16-bit results have room for the exponentials of one.
template <class D, class T>
bool has_room_for_halves(const Job& job, const Slice& slice) {
  return 2 * sizeof(D) == sizeof(T) && in_place<D, D>(job) && uintptr_t(slice.y) % sizeof(T) == 0 &&
         slice.y != slice.x && slice.y != slice.second;
}

// `P`: numbers that are kept of an entry.
template <class D, int P, class T, class E>
State reduce_derivative_chunk(const Job& job, const Slice& slice, int64_t chunk, E* kept) {
  if (is_limit(slice.temperature)) return reduce_slice_chunk<D, T>(job, slice, chunk);
  const int64_t first = chunk * kChunk, count = chunk_length(job, chunk);
  const T* x = entries<D, T>(job, slice, first, count);
  const D* c = beside<D>(job, slice, first, count);
  const bool elsewhere = (const char*)kept != slice.y + first * job.y.along;
  return weigh_chunk<true, P>(job, slice, x, c, count, kept,
                              ahead_of<D>(job, slice, first, count, elsewhere));
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
      const D* c = beside<D>(job, slice, first, count);
      for (int64_t i = 0; i < count; ++i) {
        const bool tie = shared && x[i] == T(all.max);
        if (!writes) {
          if (tie) sum += widened(c[i]), ++ties;
          continue;
        }
        const double d = tie ? widened(c[i]) - mean : 0.0;
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

// `kept`: the chunk's exponentials, in its own frame; null where they were not kept.
template <class D, int P, class T, class E>
void map_derivative_chunk(const Job& job, const Slice& slice, int64_t chunk, const State& state,
                          const SliceMap& map, E* kept) {
  if (map.flat) return;
  const int64_t first = chunk * kChunk, count = chunk_length(job, chunk);
  if (!kept) {
    kept = scratch<E, Exponentials>(kept_of_row<P>(count));
    reduce_derivative_chunk<D, P, T>(job, slice, chunk, kept);
  }
  const D* c = beside<D>(job, slice, first, count);
  const Inverse<double> inverse = Inverse<double>::of(slice.temperature);
  Slopes slopes = slopes_of<T>(in_all_lanes(map.state), splat(map.state.reference),
                               splat(inverse.hi), splat(inverse.lo));
  // Where all exponentials are 0 there is no frame.
  slopes.rescale(state.s == 0 ? 0.0 : relative_scale(state, map.state), sizeof(T) == 8);
  D* y = results<D, D>(job, slice, first, count);
  bool written = false;
  if constexpr (sizeof(D) == 2 && std::is_same_v<E, float>)
    written = !map.state.mended && write_slopes_in_floats(kept, c, y, count, slopes);
  if (!written)
    map.state.mended ? write_slopes_of_row<true, P, T>(kept, c, y, count, slopes)
                     : write_slopes_of_row<false, P, T>(kept, c, y, count, slopes);
  if (slice.where) {
    const char* where = slice.where + first * job.where.along;
    for (int64_t i = 0; i < count; ++i)
      if (!where[i * job.where.along]) y[i] = D(0);
  }
  deliver<D, D>(job, slice, first, count, y);
}

template <class D, class T>
void run_derivative(const Job& job, const Slice& slice) {
  const int64_t chunks = (job.n + kChunk - 1) / kChunk, last = chunks - 1;
  SliceMap map;
  if (keeps_doubles<D>(job)) {
    constexpr int P = kParts<T>;
    double* kept = scratch<double, Exponentials>(kept_of_row<P>(job.n));
    const State state = reduce_derivative_chunk<D, P, T>(job, slice, 0, kept);
    finish_derivative<D, T>(job, slice, &state, &map);
    map_derivative_chunk<D, P, T>(job, slice, 0, state, map, kept);
    return;
  }
  // Where the result has no room for its chunk's, those of the first lie in the places of two
  // 16-bit results each, as many of the next as may beside it, and others are computed again, in
  // the place of the last one's.
  const int64_t halves = has_room_for_halves<D, T>(job, slice) ? last / 2 : 0;
  constexpr int64_t beside = kKeptChunks<T, 2 * sizeof(T) + sizeof(D)>;
  const auto kept = [&](int64_t i) -> T* {
    if (T* in_result = kept_in_result<D, T>(job, slice, i)) return in_result;
    if (i == last) return scratch<T, Exponentials>(kChunk);
    if (i < halves) return (T*)slice.y + i * kChunk;
    i -= halves;
    return i < beside ? scratch<T, KeptSlice>(beside * kChunk) + i * kChunk : nullptr;
  };
  std::vector<State> states{size_t(chunks)};
  for (int64_t i = 0; i < chunks; ++i)
    states[size_t(i)] = reduce_derivative_chunk<D, 1, T>(job, slice, i, kept(i));
  finish_derivative<D, T>(job, slice, states.data(), &map);
  // The last one first, and then in order: a chunk's results take the places of exponentials that
  // have been used.
  for (int64_t step = 0; step < chunks; ++step) {
    const int64_t i = step == 0 ? last : step - 1;
    map_derivative_chunk<D, 1, T>(job, slice, i, states[size_t(i)], map, kept(i));
  }
}
