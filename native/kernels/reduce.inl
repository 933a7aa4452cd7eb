// Reduce: one chunk of a contiguous row to its state.
//
// Two readings of the chunk, one where its frame can be guessed: its maximum, then the sum of the
// scaled exponentials, which may be kept for the map.  float terms are summed in double, double
// terms in compensated pairs, always in the same sixteen lanes (entry i goes to lane i mod 16) and
// the same final tree, on every instruction set and in every traversal, so that nothing about the
// machine or the batch changes a bit.  (The few terms of a short logsumexp are whole numbers, whose
// order does not matter: few.inl.)

INLINE double power_of_two(int64_t e) {
  return e > -1022 && e < 1024 ? std::bit_cast<double>((e + 1023) << 52) : std::ldexp(1.0, int(e));
}

constexpr auto kSum = [](auto a, auto b) INLINE_LAMBDA { return a + b; };

// Sixteen running sums of non-negative terms.
template <class T>
struct Sums;

template <>
struct Sums<float> {
  static constexpr int M = kLanes / kWidth<double>;
  vec<double> lane[M];

  INLINE Sums() {
    for (int m = 0; m < M; ++m) lane[m] = splat(0.0);
  }
  // K vectors of a group that begins at e, from `first` on.
  template <int K>
  INLINE void add(const float* e, int first = 0) {
    constexpr int W = kWidth<double>;
    _Pragma("GCC unroll 16") for (int j = 2 * first; j < 2 * (first + K); ++j) lane[j % M] =
        lane[j % M] + load_wide(e + j * W);
  }
  // What the totals of several rows are made of.
  using Condensed = vec<double>;
  // The tree over the sixteen lanes: lane i with lane i + 8, then i + 4, ...
  INLINE Condensed condensed() {
    for (int half = M / 2; half >= 1; half /= 2)
      for (int m = 0; m < half; ++m) lane[m] = lane[m] + lane[m + half];
    return lane[0];
  }
  INLINE Pair total() { return {fold(condensed(), kSum)[0], 0}; }
};

// The same tree over numbers in two parts.
INLINE Pair tree_of_pairs(double* a, double* b) {
  for (int half = kLanes / 2; half >= 1; half /= 2)
    for (int i = 0; i < half; ++i) {
      double sum = a[i] + a[i + half], t = sum - a[i];
      b[i] = (b[i] + b[i + half]) + ((a[i] - (sum - t)) + (a[i + half] - t));
      a[i] = sum;
    }
  double sum = a[0] + b[0];
  return {sum, b[0] - (sum - a[0])};
}

template <>
struct Sums<double> {
  static constexpr int M = kLanes / kWidth<double>;
  // The sums start above any term, so that the larger addend is always known and its rounding error
  // costs two operations (Dekker); the start is subtracted again at the end, exactly.
  static constexpr double start = std::bit_cast<double>(
      int64_t(exp_constants<double>::bias + exp_constants<double>::headroom + 1) << 52);
  vec<double> lane[M], error[M];

  INLINE Sums() {
    for (int m = 0; m < M; ++m) lane[m] = splat(start), error[m] = splat(0.0);
  }
  template <int K>
  INLINE void add(const double* e, int first = 0) {
    _Pragma("GCC unroll 16") for (int k = first; k < first + K; ++k) {
      const vec<double> term = load(e + k * kWidth<double>), sum = lane[k % M] + term;
      error[k % M] = error[k % M] + (term - (sum - lane[k % M]));
      lane[k % M] = sum;
    }
  }
  INLINE Pair total() {
    double a[kLanes], b[kLanes];
    for (int m = 0; m < M; ++m) {
      store(a + m * kWidth<double>, lane[m] - start);
      store(b + m * kWidth<double>, error[m]);
    }
    return tree_of_pairs(a, b);
  }
  using Condensed = Pair;
  INLINE Condensed condensed() { return total(); }
};

// The temperature of a row as the kernels want it.
template <class T>
struct Inverse {
  T hi = 1, lo = 0;
  bool tempered = false;

  static Inverse of(double temperature) {
    Inverse inverse;
    if (temperature != 1) {
      const double reciprocal = 1 / temperature;
      inverse.tempered = true;
      inverse.hi = std::numeric_limits<T>::max();
      if (reciprocal > double(inverse.hi)) return inverse;  // all but the largest vanish
      inverse.hi = T(reciprocal);
      inverse.lo = sizeof(T) == 4 ? T(reciprocal - double(inverse.hi))
                                  : T(std::fma(-reciprocal, temperature, 1.0) * reciprocal);
    }
    return inverse;
  }
};

// The frame for entries of which m, finite, is the largest that matters; `unit` receives where it
// lies.
template <class T>
INLINE Frame<T> frame_around(T m, const Inverse<T>& inverse, State& unit) {
  using C = exp_constants<T>;
  const T z = m * inverse.hi;
  const bool shifted = !(z > -C::direct && z < C::direct);
  const T power = shifted ? T(0) : T(std::rint(z * C::log2e));
  unit.max = m;
  unit.n = power;
  if (shifted) {
    unit.shift = double(m) * inverse.hi;
    unit.shift_lo = std::fma(double(m), inverse.hi, -unit.shift) + double(m) * inverse.lo;
  }
  T floor = (power + C::frame_lowest) * T(0.693147180559945309) / inverse.hi;
  if (!(floor > std::numeric_limits<T>::lowest())) floor = std::numeric_limits<T>::lowest();
  Frame<T> frame;
  frame.shift = single<T>(splat(shifted ? m : T(0)));
  frame.floor = single<T>(splat(floor));
  frame.rounder = single<T>(splat(C::frame_magic - power + T(C::headroom + C::bias)));
  frame.inverse = single<T>(splat(inverse.hi));
  frame.inverse_lo = single<T>(splat(inverse.lo));
  return frame;
}

// What a chunk's entries leave behind, still scaled as the exponentials are.
struct ScaledSum {
  Pair sum, top;
  double kept;
};

// The sum with the rounding of its largest term undone.  The errors of a probability are those of
// its own exponential and of the sum; where one entry dominates, the second is that entry's error,
// and this takes it away: without it 2.4 ulp were seen, with it 1.9.  Of a coarse term all that it
// is off by is undone.
template <bool Shifted, bool Tempered, bool Coarse, class T>
INLINE ScaledSum corrected(Pair sum, T m, const Frame<T>& frame) {
  group<T, 1> pair_hi, pair_lo;
  exp_scaled_pair<Shifted, Tempered>(single<T>(splat(m)), frame, pair_hi, pair_lo);
  const T hi = pair_hi.v[0][0], lo = pair_lo.v[0][0];
  if constexpr (sizeof(T) == 4) {
    const double top = double(hi) + double(lo);
    double lost = lo;
    if constexpr (Coarse)
      lost = top - exp_scaled<Shifted, Tempered, true>(single<T>(splat(m)), frame).v[0][0];
    return {{sum.hi + lost, 0}, {top, 0}, hi};
  }
  const T kept = exp_scaled<Shifted, Tempered>(single<T>(splat(m)), frame).v[0][0];
  const double low = sum.lo + ((hi - kept) + lo), total = sum.hi + low;
  return {{total, low - (total - sum.hi)}, {hi, lo}, kept};
}

// What to fetch while a row is being summed, which leaves the memory idle: the entries that come
// next and the place of the result, of so many bytes an entry.  Null where they are near anyway.
template <class T, int Bytes = int(sizeof(T))>
struct Ahead {
  const char* next = nullptr;
  const char* result = nullptr;

  // Called with each group of K vectors from entry i.
  template <int K>
  INLINE void meanwhile(int64_t i) const {
    constexpr int size = K * kWidth<T> * Bytes, line = 64;
    const auto fetch = [](const char* p, auto write) INLINE_LAMBDA {
      _Pragma("GCC unroll 8") for (int at = 0; at < size; at += line)
          __builtin_prefetch(p + at, decltype(write)::value, 2);
    };
    if (next) fetch(next + i * Bytes, std::false_type());
    if (result) fetch(result + i * Bytes, std::true_type());
  }
  INLINE void finish(int64_t) const {}
};

// Where exponentials are kept.  Whole groups are stored, because a masked store that is soon loaded
// again would stall: either there is room for them (see `padded`), or a last, partial group stays
// in `passing`.  With AVX-512 all groups pass through it, two by turns, and are summed from there;
// smaller vectors would rather do without another store.
template <class T>
struct Room {
  T* e = nullptr;
  T* passing = nullptr;

  static constexpr int64_t kPassing = 2 * kGroup<T> * kWidth<T>;
};

// e[i] = exp(x[i] / T) in the frame, summed.  If not Keep, there is room for two groups.  A group
// is added to the sums from memory, one step behind, when its store has settled.
// With `largest` the largest entry is looked for on the way, which costs next to nothing; it will
// be among the lanes. `beside` says what happens meanwhile.
template <bool Shifted, bool Tempered, bool Keep, bool Coarse, bool Looks = false, class T,
          class Beside>
Sums<T> sum_terms(const T* x, Room<T> room, int64_t n, const Frame<T>& given,
                  const Beside& given_beside, vec<T>* largest = nullptr) {
  constexpr int G = kGroup<T>, step = G * kWidth<T>;
  vec<T> top = splat(-std::numeric_limits<T>::infinity());
  const Frame<T> frame = given;  // in registers: stores to e could otherwise alias it
  const Beside beside = given_beside;
  Sums<T> sums;
  alignas(kVectorBytes) static constexpr T none[step] = {};
  const T* settled = none;
  int last = 0;
  for_groups<T>(n, [&](auto size, int64_t i, int count) INLINE_LAMBDA {
    constexpr int N = decltype(size)::value, K = kAbreast<T, N>, W = kWidth<T>;
    T* kept = room.e + (Keep ? i : i & step);
    const bool passes = Keep && room.passing && (kVectorBytes == 64 || count < step);
    T* place = passes ? room.passing + (i & step) : kept;
    _Pragma("GCC unroll 16") for (int first = 0; first < N; first += K) {
      const int at = first * W;
      group<T, K> v =
          load_group<K>(x + i + at, count - at, splat(-std::numeric_limits<T>::infinity()));
      if constexpr (Looks) EACH top = larger(v.v[k], top);
      v = exp_scaled<Shifted, Tempered, Coarse>(v, frame);
      if (first == 0) beside.template meanwhile<N>(i);
      if (passes && count == step) EACH store(kept + at + k * W, v.v[k]);
      EACH store(place + at + k * W, v.v[k]);
      sums.template add<K>(settled, first);
    }
    sums.template add<G - N>(settled, N);
    settled = place;
    last = N;
  });
  if (last > 0)
    for_rest<G, T>(0, last * kWidth<T>, [&](auto size, int64_t, int) INLINE_LAMBDA {
      sums.template add<decltype(size)::value>(settled);
    });
  if constexpr (Looks) *largest = top;
  return sums;
}

// The two halves of it: the rows of a batch are summed one behind their exponentials.  Where it
// adds up, `sums` become those of the row before, whose exponentials are in `before`.
template <bool Tempered, bool Coarse, bool AddsUp, class T, class Rest, class Beside>
INLINE vec<T> exp_row(const T* x, T* e, int64_t n, Rest rest, const Frame<T>& frame,
                      const Beside& beside, const T* before, Sums<T>& sums) {
  vec<T> top = splat(-std::numeric_limits<T>::infinity());
  Sums<T> added;
  for_groups<T>(n, rest, [&](auto size, int64_t i, int count) INLINE_LAMBDA {
    constexpr int N = decltype(size)::value, K = kAbreast<T, N>, W = kWidth<T>;
    _Pragma("GCC unroll 16") for (int first = 0; first < N; first += K) {
      const int64_t at = i + first * W;
      group<T, K> v =
          load_group<K>(x + at, count - first * W, splat(-std::numeric_limits<T>::infinity()));
      EACH top = larger(v.v[k], top);
      v = exp_scaled<false, Tempered, Coarse>(v, frame);
      // As few vectors at a time as there are registers for, but not one by one.
      constexpr int M = K == 1 ? N : K;
      if (first % M == 0) beside.template meanwhile<M>(at);
      if (AddsUp && first == 0) added.template add<N>(before + i);
      EACH store(e + at + k * W, v.v[k]);
    }
  });
  if constexpr (AddsUp) sums = added;
  return top;
}

template <class T>
INLINE Sums<T> sum_row(const T* e, int64_t n) {
  Sums<T> sums;
  for_groups<T>(n, [&](auto size, int64_t i, int)
                       INLINE_LAMBDA { sums.template add<decltype(size)::value>(e + i); });
  return sums;
}

template <bool Shifted, bool Tempered, bool Keep, bool Coarse = false, class T, class Beside>
ScaledSum sum_exp(const T* x, Room<T> room, int64_t n, T m, const Frame<T>& frame,
                  const Beside& beside) {
  return corrected<Shifted, Tempered, Coarse>(
      sum_terms<Shifted, Tempered, Keep, Coarse>(x, room, n, frame, beside).total(), m, frame);
}

template <bool Keep, class T, class Beside>
ScaledSum sum_exp(const T* x, Room<T> room, int64_t n, T m, const Frame<T>& frame, bool shifted,
                  bool tempered, const Beside& beside, bool coarse = false) {
  if (tempered)
    return shifted ? sum_exp<true, true, Keep>(x, room, n, m, frame, beside)
                   : sum_exp<false, true, Keep>(x, room, n, m, frame, beside);
  if constexpr (sizeof(T) == 4 && !Keep)
    if (coarse)
      return shifted ? sum_exp<true, false, Keep, true>(x, room, n, m, frame, beside)
                     : sum_exp<false, false, Keep, true>(x, room, n, m, frame, beside);
  return shifted ? sum_exp<true, false, Keep>(x, room, n, m, frame, beside)
                 : sum_exp<false, false, Keep>(x, room, n, m, frame, beside);
}

// Sums beyond this leave the final scale without room for its low part; and so many powers of two
// may a chunk rise above its frame.
constexpr double kLargestSum = 0x1p70, kLargestRise = 55;
static_assert(kChunk <= 1 << 15);

template <class T>
INLINE void set_sums(State& state, const ScaledSum& scaled) {
  const double unscale = power_of_two(-exp_constants<T>::headroom);
  state.s = scaled.sum.hi * unscale;
  state.s_lo = scaled.sum.lo * unscale;
  state.top = scaled.top.hi * unscale;
  state.top_lo = scaled.top.lo * unscale;
  state.kept = scaled.kept;
}

// How many entries the frame is guessed from.
constexpr int64_t kFirst = 64;

// The frame of the first entries; false where they are too wide to guess from.
INLINE bool guess_frame(const float* x, const Inverse<float>& inverse, Frame<float>& frame,
                        State& unit) {
  vec<float> below = -load(x), above = load(x);  // the lowest, with its sign changed
  for (int64_t i = kWidth<float>; i < kFirst; i += kWidth<float>) {
    below = larger(-load(x + i), below);
    above = larger(load(x + i), above);
  }
  const float lowest = -horizontal_max<float>(below), highest = horizontal_max<float>(above);
  if (!((highest - lowest) * inverse.hi < 100)) return false;
  frame = frame_around(highest, inverse, unit);
  return unit.shift == 0;
}

// The state of a long chunk of floats in one reading, in a guessed frame, which has this unit:
// which entry is the largest shows on the way.  A frame is a power of two, so that results have the
// same bits in any; false where it does not serve.
template <bool Tempered, bool Keep, bool Coarse = false, class Beside>
bool reduce_in_frame(const float* x, int64_t n, Room<float> keep, const Frame<float>& frame,
                     const State& unit, const Beside& beside, const Inverse<float>& inverse,
                     State& state) {
  vec<float> lanes;
  Sums<float> sums =
      sum_terms<false, Tempered, Keep, Coarse, true>(x, keep, n, frame, beside, &lanes);
  const float largest = horizontal_max<float>(lanes);
  State exact;
  frame_around(largest, inverse, exact);
  state = unit;
  state.max = largest;
  set_sums<float>(state, corrected<false, Tempered, Coarse>(sums.total(), largest, frame));
  const bool near = exact.n - unit.n <= kLargestRise && largest >= frame.floor.v[0][0];
  return near && exact.shift == 0 && state.s - state.s == 0;
}

template <bool Tempered, bool Keep, bool Coarse, class Beside>
bool reduce_guessing(const float* x, int64_t n, const Inverse<float>& inverse, Room<float> keep,
                     const Beside& beside, State& state) {
  Frame<float> frame;
  State unit;
  return guess_frame(x, inverse, frame, unit) &&
         reduce_in_frame<Tempered, Keep, Coarse>(x, n, keep, frame, unit, beside, inverse, state);
}

// The state of a chunk whose largest entry is m, nan passed over.  Where `keep` is given it
// receives the scaled exponentials, unless m is not finite.
template <class T, class Beside>
State reduce_below(T m, const T* x, int64_t n, const Inverse<T>& inverse, Room<T> keep,
                   const Beside& beside, bool coarse = false) {
  State state;
  state.max = m;
  if (!(m - m == 0)) {
    for (int64_t i = 0; i < n; ++i) {
      state.infinities += x[i] == std::numeric_limits<T>::infinity();
      if (x[i] != x[i]) state.s = x[i];
    }
    return state;
  }
  alignas(kVectorBytes) T passing[Room<T>::kPassing];
  const bool keeps = keep.e != nullptr;
  const Room<T> room = keeps ? keep : Room<T>{passing};
  const Frame<T> frame = frame_around(m, inverse, state);
  const bool shifted = state.shift != 0;
  const bool tempered = inverse.tempered;
  set_sums<T>(state, keeps
                         ? sum_exp<true>(x, room, n, m, frame, shifted, tempered, beside)
                         : sum_exp<false>(x, room, n, m, frame, shifted, tempered, beside, coarse));
  return state;
}

// The same of any chunk.
template <class T, class Beside = Ahead<T>>
State reduce_chunk(const T* x, int64_t n, const Inverse<T>& inverse, Room<T> keep = {},
                   const Beside& beside = {}, bool coarse = false) {
  if constexpr (sizeof(T) == 4) {
    alignas(kVectorBytes) T passing[Room<T>::kPassing];
    const bool keeps = keep.e != nullptr;
    const Room<T> room = keeps ? keep : Room<T>{passing};
    State state;
    const auto guessed = [&](auto tempered, auto kept, auto coarsely) INLINE_LAMBDA {
      return reduce_guessing<decltype(tempered)::value, decltype(kept)::value,
                             decltype(coarsely)::value>(x, n, inverse, room, beside, state);
    };
    const std::true_type yes;
    const std::false_type no;
    // Entries that are overwritten could not be read again.
    if (n > kBatchRow && room.e != x &&
        (inverse.tempered ? keeps ? guessed(yes, yes, no) : guessed(yes, no, no)
         : keeps          ? guessed(no, yes, no)
         : coarse         ? guessed(no, no, yes)
                          : guessed(no, no, no)))
      return state;
  }
  return reduce_below(row_max(x, n), x, n, inverse, keep, beside, coarse);
}
