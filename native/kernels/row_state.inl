// The row traversal, its first half: from the entries of a slice, a chunk at a time, to its state,
// and to what its map needs to know of it (rows.inl).

template <class D, class T>
void stage(const Job& job, const Slice& slice, int64_t first, int64_t count, T* buffer) {
  const char* x = slice.x + first * job.x.along;
  if (!slice.where) return gather<D>(x, job.x.along, count, buffer);
  const char* where = slice.where + first * job.where.along;
  int64_t i = 0;
  if constexpr (std::is_same_v<decltype(widened(D())), T>)
    if (job.x.along == int64_t(sizeof(D)) && job.where.along == 1)
      for (; i + kWidth<T> <= count; i += kWidth<T>)
        store(buffer + i, leave_out<T>(load_widened((const D*)x + i), where + i));
  gather<D>(x + i * job.x.along, job.x.along, count - i, buffer + i);
  leave_out(buffer + i, where + i * job.where.along, job.where.along, count - i);
}

// Entries first .. first + count - 1 of a slice as contiguous numbers: in place where they are, in
// the scratch buffer where not.
template <class D, class T>
const T* entries(const Job& job, const Slice& slice, int64_t first, int64_t count) {
  const char* x = slice.x + first * job.x.along;
  if (std::is_same_v<D, T> && job.x.along == int64_t(sizeof(D)) && !slice.where) return (const T*)x;
  T* buffer = scratch<T>(count);
  stage<D>(job, slice, first, count, buffer);
  return buffer;
}

template <class D, class T>
constexpr bool in_place(const Job& job) {
  return std::is_same_v<D, T> && job.y.along == int64_t(sizeof(D));
}

// Where results go before they are rounded or scattered: straight to the output if it is
// contiguous.
template <class D, class T>
T* results(const Job& job, const Slice& slice, int64_t first, int64_t count) {
  if (in_place<D, T>(job)) return (T*)(slice.y + first * job.y.along);
  return scratch<T>(count);
}

template <class D, class T>
void deliver(const Job& job, const Slice& slice, int64_t first, int64_t count, const T* y) {
  if (!in_place<D, T>(job)) scatter<D>(y, count, slice.y + first * job.y.along, job.y.along);
}

// Contiguous results, as they are stored; null where they are not contiguous.
template <class D>
D* stored_results(const Job& job, const Slice& slice, int64_t first) {
  return job.y.along == int64_t(sizeof(D)) ? (D*)slice.y + first : nullptr;
}

INLINE int64_t chunk_length(const Job& job, int64_t chunk) {
  int64_t left = job.n - chunk * kChunk;
  return left < kChunk ? left : kChunk;
}

// Whether slices are rows of floats as they lie in memory.
inline bool are_plain_rows(const Job& job) {
  constexpr int64_t item = sizeof(float);
  return job.dtype == DType::f32 && !job.where.data && job.x.along == item && job.y.along == item;
}

// Whether slices of several chunks compute all exponentials again and stream the results.
inline bool streams_chunks(const Job& job) {
  return job.n > kChunk && job.stream && job.repeats && are_plain_rows(job);
}

// Whether a slice of several chunks keeps its exponentials in the result, each chunk in its own
// frame, until the sum is known. A chunk that needs its entries again finds them untouched.
template <class D, class T>
bool keeps_chunks(const Job& job, const Slice& slice) {
  return job.op == Op::softmax && job.n > kChunk && in_place<D, T>(job) && slice.x != slice.y &&
         !streams_chunks(job);
}

// Whether the exponentials that a chunk kept serve in the frame of all: the two are a power of two
// apart, and no digit of the scale gets lost in it.
INLINE bool kept_serves(const State& chunk, const State& all) {
  return chunk.max - chunk.max == 0 && chunk.shift == 0 && all.shift == 0 &&
         all.s * power_of_two(int64_t(all.n - chunk.n)) < kLargestSum;
}

// What to fetch while a chunk is summed: the entries behind it (the next chunk, or most often the
// next slice), and its results if they are written next and lie elsewhere.
template <class D, class T>
Ahead<T, int(sizeof(D))> ahead_of(const Job& job, const Slice& slice, int64_t first, int64_t count,
                                  Room<T> keep) {
  constexpr int64_t item = sizeof(D);
  Ahead<T, int(item)> ahead;
  if (!job.fetch_ahead || slice.where || job.x.along != item) return ahead;
  ahead.next = slice.x + (first + count) * item;
  if (!job.fetch_results || job.y.along != item) return ahead;
  if (keep.passing && std::is_same_v<D, T>)
    ahead.result = (const char*)(keep.e + count);
  else if (job.n <= kChunk && slice.x != slice.y)
    ahead.result = slice.y;
  return ahead;
}

// Room in the result for the exponentials of a chunk; `settle` brings the last of them home.
template <class T>
Room<T> room_in(T* result) {
  return {result, scratch<T, Kept>(Room<T>::kPassing)};
}
template <class T>
void settle(const Room<T>& room, int64_t n) {
  constexpr int64_t step = Room<T>::kPassing / 2;
  const int64_t whole = n / step * step;
  std::memcpy(room.e + whole, room.passing + (whole & step), size_t(n - whole) * sizeof(T));
}

template <class D, class T>
State reduce_slice_chunk(const Job& job, const Slice& slice, int64_t chunk, Room<T> keep = {}) {
  const int64_t first = chunk * kChunk, count = chunk_length(job, chunk);
  const T* x = entries<D, T>(job, slice, first, count);
  if (slice.temperature > 0 && slice.temperature < std::numeric_limits<double>::infinity()) {
    const bool keeps = keeps_chunks<D, T>(job, slice);
    if (keeps) keep = room_in((T*)slice.y + first);
    const State state = reduce_chunk(x, count, Inverse<T>::of(slice.temperature), keep,
                                     ahead_of<D>(job, slice, first, count, keep), job.only_sums());
    if (keeps) settle(keep, count);
    return state;
  }
  State state;  // a limit needs no sum, only the maximum and whether there is a nan
  for (int64_t i = 0; i < count; ++i) {
    state.max = x[i] > state.max ? x[i] : state.max;
    state.infinities += x[i] == std::numeric_limits<T>::infinity();
    if (x[i] != x[i]) state.s = x[i];
  }
  return state;
}

// How many entries the predicate holds for, over the whole slice.
template <class D, class T, class F>
int64_t count_entries(const Job& job, const Slice& slice, F holds) {
  int64_t found = 0;
  for (int64_t first = 0; first < job.n; first += kChunk) {
    const int64_t count = chunk_length(job, first / kChunk);
    const T* x = entries<D, T>(job, slice, first, count);
    for (int64_t i = 0; i < count; ++i) found += holds(x[i]) ? 1 : 0;
  }
  return found;
}

inline bool takes_part(const Job& job, const Slice& slice) {
  if (!slice.where) return job.n > 0;
  for (int64_t i = 0; i < job.n; ++i)
    if (slice.where[i * job.where.along]) return true;
  return false;
}

template <class T>
INLINE SumAndTop sum_and_top(const State& all) {
  if (sizeof(T) == 4)
    return {splat(all.s + all.s_lo), splat(0.0), splat(all.top + all.top_lo), splat(0.0)};
  return {splat(all.s), splat(all.s_lo), splat(all.top), splat(all.top_lo)};
}

struct WithoutLargest;

// The state of the entries but the largest, m, counted from `shift`.
template <class T>
State reduce_others(const T* x, int64_t n, T m, T shift, const Inverse<T>& inverse) {
  T* without = scratch<T, WithoutLargest>(n);
  for (int64_t i = 0; i < n; ++i)
    without[i] = x[i] == m ? -std::numeric_limits<T>::infinity() : x[i] - shift;
  return reduce_chunk(without, n, inverse);
}

// The sum of `state` in another frame, rounded once where it underflows.
INLINE double sum_in_frame(const State& state, const State& frame) {
  if (state.s == 0) return 0;
  if (state.shift == frame.shift) return std::ldexp(state.s, int(state.n - frame.n));
  return state.s * relative_scale(state, frame);
}

// The sum over all entries but the largest, in the frame of `all`: where that is tiny, it would be
// lost in the sum of all, and is reduced again without the largest.  Huge entries are counted from
// that one.
template <class D, class T>
double sum_of_others(const Job& job, const Slice& slice, const State& all,
                     const Inverse<T>& inverse) {
  const SumAndTop known = sum_and_top<T>(all);
  if (shows_others<T>(known)[0]) return others_in<T>(known)[0];
  const T m = T(all.max), shift = all.shift == 0 ? T(0) : m;
  State rest, frame = all;
  frame.shift = frame.shift_lo = 0;
  for (int64_t first = 0; first < job.n; first += kChunk) {
    const int64_t count = chunk_length(job, first / kChunk);
    const T* x = entries<D, T>(job, slice, first, count);
    rest = merge(rest, reduce_others(x, count, m, shift, inverse));
  }
  return sum_in_frame(rest, frame);
}

// The logarithm of the sum of `all`, which has this sum_of_others, relative to the largest.
template <class T>
double log_of_slice(const State& all, double others) {
  const SumAndTop known = sum_and_top<T>(all);
  return log_apart<T>(known, splat(others), log_of_sum<T>(known))[0];
}

// A state with a sink that joins it.
template <class T>
State with_sink(State state, const Sinks& sink) {
  const double scale = power_of_two(exp_constants<T>::headroom);
  vec<double> sum = splat(state.s * scale), sum_lo = splat(state.s_lo * scale);
  sink.add_to<T>(sum, sum_lo, splat(state.n));
  state.s = sum[0] / scale, state.s_lo = sum_lo[0] / scale;
  return state;
}

// The state of a sink that stands alone.
template <class T>
State state_of_sink(double sink, const Inverse<double>& inverse) {
  State state = reduce_chunk(&sink, 1, inverse);
  // As sums of type T are: it is reduced in double.
  for (double* sum : {&state.s, &state.s_lo, &state.top, &state.top_lo})
    *sum *= exp_constants<T>::unit;
  return state;
}

// Logarithms of sums of floats that, rounded, are no further from zero are taken again
// (near_zero.inl).
// A coarse exponential is off by 1.46 2^-24 of itself and by 0.05 2^-24 more for each 1 that its
// entry is away from zero.  From 1 on, where a unit of the result is 2^-23, that is less than 1.5
// of them.  Three units more, since what belongs below may have come out above.
constexpr float kNextToZero = 0x1.000006p+0f;

template <class D>
float settle_next_to_zero(const Job& job, const Slice& slice);

// max + log(1 + rest), of floats max + log(sum / top): exact where one entry stands alone.
template <class D, class T>
double logsumexp_of(const Job& job, const Slice& slice, const State& all) {
  if constexpr (sizeof(T) == 8) {
    return all.max + log_of_slice<T>(all, sum_of_others<D, T>(job, slice, all, Inverse<T>()));
  } else {
    const double result = all.max + log_of_sum<T>(sum_and_top<T>(all))[0];
    return std::fabs(T(result)) <= kNextToZero ? settle_next_to_zero<D>(job, slice) : result;
  }
}

// Slices that are limits: one or several infinities, no finite entry, temperature 0 or infinite.
template <class D, class T>
SliceMap limit_of(const Job& job, const Slice& slice, const State& all) {
  const double inf = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const bool logarithm = job.op == Op::log_softmax;
  SliceMap map;
  map.flat = true;
  map.rest = logarithm ? -inf : 0.0;
  double shares = 0;
  if (all.s != all.s || all.infinities > 1) {
    map.top = map.rest = nan;
  } else if (all.infinities == 1) {
    map.pick = inf;
    shares = 1;
  } else if (slice.temperature == 0 && all.max != -inf) {
    map.pick = all.max;
    shares = double(count_entries<D, T>(job, slice, [&](T x) { return x == T(all.max); })) +
             (slice.sink == all.max);
  } else if (slice.temperature == inf && all.max != -inf) {
    map.pick = nan;
    shares = double(count_entries<D, T>(job, slice, [&](T x) { return x != T(-inf); })) +
             (slice.sink != -inf);
  } else if (takes_part(job, slice)) {
    map.top = map.rest = nan;
  }
  if (shares > 0) map.top = logarithm ? -std::log(shares) : 1 / shares;
  return map;
}

template <class D, class T>
void finish_slice(const Job& job, const Slice& slice, const State* chunks, SliceMap* map) {
  const int64_t count = (job.n + kChunk - 1) / kChunk;
  State& all = map->state;
  all = count == 0 ? State() : chunks[0];
  for (int64_t c = 1; c < count; ++c) all = merge(all, chunks[c]);
  const State entries_state = all;
  State sink;
  const double inf = std::numeric_limits<double>::infinity();
  const bool limit = !(slice.temperature > 0 && slice.temperature < inf);
  const Inverse<T> inverse = limit ? Inverse<T>() : Inverse<T>::of(slice.temperature);
  const Inverse<double> exact =
      limit || !job.sink.data ? Inverse<double>() : Inverse<double>::of(slice.temperature);
  const Sinks joining = Sinks::of(slice.sink, exact);
  const bool joins = job.sink.data && !limit && all.ordinary() && all.shift == 0 &&
                     joining.near(splat(all.max), splat(all.n))[0] != 0;
  if (joins) {
    all = with_sink<T>(all, joining);
  } else if (slice.sink != -inf) {
    sink = state_of_sink<T>(slice.sink, exact);
    all = merge(all, sink);
  }

  if (job.only_sums()) {
    map->flat = true;
    map->top = all.s != all.s    ? all.s
               : all.infinities  ? inf
               : all.max == -inf ? -inf
                                 : logsumexp_of<D, T>(job, slice, all);
    return;
  }
  if (limit || !all.ordinary()) {
    *map = limit_of<D, T>(job, slice, all);
    return;
  }
  if (job.op != Op::log_softmax) return;
  if (!joins && slice.sink > entries_state.max) {
    const double below =
        (entries_state.s + entries_state.s_lo) * relative_scale(entries_state, sink);
    map->max = slice.sink;
    map->log_rest = log1p(splat(entries_state.s == 0 ? 0 : below / sink.top))[0];
    return;
  }
  map->max = entries_state.max;
  if (joins && shows_others<T>(sum_and_top<T>(all))[0]) {
    map->log_rest = log_of_slice<T>(all, 0);
    return;
  }
  double others = sum_of_others<D, T>(job, slice, entries_state, inverse);
  if (joins) {
    State none = entries_state;
    none.s = none.s_lo = 0;
    others += with_sink<T>(none, joining).s;
  }
  if (joins || slice.sink == -inf) {
    map->log_rest = log_of_slice<T>(all, others);
  } else {
    others += sink.top * relative_scale(sink, entries_state);
    map->log_rest = log1p(splat(others / entries_state.top))[0];
  }
}

// The notes of a slice, and the factor of its results.
template <class D, class T>
void note_slice(const Job& job, const Slice& slice, int64_t index, SliceMap& map) {
  const SliceNotes& notes = *job.notes;
  // A limit: one +inf takes all, or there is none.
  const vec<double> nothing = splat(0 * map.top);
  NoteLanes lanes = {splat(map.pick), nothing, 1 + nothing, nothing};
  if (!map.flat) {
    const SumAndTop known = sum_and_top<T>(map.state);
    const vec<double> others = splat(sum_of_others<D, T>(job, slice, map.state, Inverse<T>()));
    const vec<double> inverse = 1 / known.sum, log = log_of_sum<T>(known);
    lanes = {splat(map.state.max), log_apart<T>(known, others, log), known.top * inverse,
             others * inverse};
    map.inverse = inverse[0];
    map.one_part = notes.one_part;
  }
  note_lanes(notes, index, 0, 1, lanes);
  if (notes.factor) map.factor = notes.factor[index - notes.first];
  map.top *= map.factor;
}
