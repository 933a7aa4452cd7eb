// The row traversal: reduce a slice chunk by chunk (row_state.inl), then map it.

// The probabilities of a chunk from its exponentials.
template <class D, class T>
void scale_chunk(const Job& job, const Slice& slice, int64_t first, int64_t count, const T* e,
                 const Scale<T>& scale, bool roomy) {
  if (D* stored = stored_results<D>(job, slice, first))
    return scale_row(e, stored, count, scale, roomy);
  T* y = scratch<T>(count);
  scale_row(e, y, count, scale, roomy);
  scatter<D>(y, count, slice.y + first * job.y.along, job.y.along);
}

template <class T>
Shift<T> shift_of(const SliceMap& map, double temperature) {
  // What T cannot hold of the maximum (a sink) and of the logarithm goes into one low part.
  const T m = T(map.max), hi = T(map.log_rest);
  return {m, hi, T((map.log_rest - double(hi)) + (map.max - double(m)) / temperature)};
}

// The logarithms of a chunk.
template <class E, class D>
void shift_chunk(const E* x, D* y, int64_t count, const Slice& slice, const SliceMap& map) {
  using T = std::conditional_t<std::is_same_v<E, double>, double, float>;
  const Shift<T> shift = shift_of<T>(map, slice.temperature);
  const Inverse<T> inverse = Inverse<T>::of(slice.temperature);
  const auto write = [&](auto tempered) {
    log_softmax_row<decltype(tempered)::value>(x, y, count, shift.max, inverse, shift.log,
                                               shift.log_lo);
  };
  inverse.tempered ? write(std::true_type()) : write(std::false_type());
}

// `kept`: the chunk's exponentials, where they are not in the result (keeps_chunks).
template <class D, class T>
void map_slice_chunk(const Job& job, const Slice& slice, int64_t chunk, const State& state,
                     const SliceMap& map, const T* kept = nullptr) {
  const int64_t first = chunk * kChunk, count = chunk_length(job, chunk);
  T* y = results<D, T>(job, slice, first, count);
  if (keeps_chunks<D, T>(job, slice)) kept = y;
  if (map.flat || !kept_serves(state, map.state)) kept = nullptr;
  if (kept) return scale_chunk<D>(job, slice, first, count, kept, scale_of<T>(map, state), false);
  D* stored = map.flat ? nullptr : stored_results<D>(job, slice, first);
  if (stored && job.op == Op::log_softmax && !slice.where && job.x.along == int64_t(sizeof(D)))
    return shift_chunk((const D*)slice.x + first, stored, count, slice, map);
  const T* x = entries<D, T>(job, slice, first, count);
  if (map.flat) {
    flat_row(x, y, count, map);
    // What takes no part stays at its limit even where the rest is no distribution.
    if (slice.where) {
      const T left_out = job.op == Op::softmax ? T(0) : -std::numeric_limits<T>::infinity();
      const char* where = slice.where + first * job.where.along;
      for (int64_t i = 0; i < count; ++i) y[i] = where[i * job.where.along] ? y[i] : left_out;
    }
  } else {
    const Inverse<T> inverse = Inverse<T>::of(slice.temperature);
    if (job.op == Op::softmax) {
      // The frame of the whole slice's maximum, not of one chunk's.
      State unit;
      const Frame<T> frame = frame_around(T(map.state.max), inverse, unit);
      const bool shifted = unit.shift != 0;
      const Scale<T> scale = scale_of<T>(map, unit);
      const auto write = [&](auto moved, auto tempered) {
        softmax_row<decltype(moved)::value, decltype(tempered)::value>(x, y, count, frame, scale,
                                                                       streams_chunks(job));
      };
      const std::true_type yes;
      const std::false_type no;
      if (inverse.tempered)
        shifted ? write(yes, yes) : write(no, yes);
      else
        shifted ? write(yes, no) : write(no, no);
    } else {
      shift_chunk(x, y, count, slice, map);
    }
  }
  deliver<D, T>(job, slice, first, count, y);
}

// Where a slice of several chunks that is not in place keeps its exponentials while one thread
// works on all of it: those of the first chunks, as many as leave it below 1 MiB with what passes
// through scratch rows, `Bytes` an entry.
template <class T, int Bytes>
constexpr int64_t kKeptChunks = (30 - Bytes) / sizeof(T);
struct KeptSlice;
// One less where a loss may have to sum all entries of a chunk but the largest.
template <class T>
int64_t kept_of_slice(const Job& job) {
  return kKeptChunks<T, sizeof(T)> - (job.notes ? 1 : 0);
}
template <class D, class T>
T* room_for_chunks(const Job& job) {
  if (job.op != Op::softmax || in_place<D, T>(job)) return nullptr;
  return scratch<T, KeptSlice>(kept_of_slice<T>(job) * kChunk);
}

// A long, contiguous row that serves a loss, with nothing left out, and is overwritten: its
// exponentials take its place where two of the first entries are so near the largest that the sum
// of the others need not be taken again from the entries.  False, and nothing done, where not.
template <class T>
bool run_noted_row(const Job& job, const Slice& slice, int64_t index) {
  constexpr T near = 17;
  static_assert(kTinyRest<T> < 0x1p-25);  // exp(-17) is more
  T* const x = (T*)slice.x;
  const T m = row_max(x, job.n);
  if (std::count_if(x, x + kFirst, [m](T v) { return m - v < near; }) < 2) return false;
  const Room<T> room = room_in(x);
  const Inverse<T> inverse;
  const State state =
      reduce_below(m, x, job.n, inverse, room, ahead_of<T>(job, slice, 0, job.n, room));
  settle(room, job.n);
  SliceMap map;
  finish_slice<T, T>(job, slice, &state, &map);
  note_slice<T, T>(job, slice, index, map);
  map.flat ? flat_row(x, x, job.n, map) : scale_row(x, x, job.n, scale_of<T>(map, state), false);
  return true;
}

template <class D, class T>
void run_slice(const Job& job, int64_t index) {
  const Slice slice = slice_at(job, index);
  if constexpr (sizeof(T) == 4)
    if (sums_few(job) && run_few_alone<D>(job, slice)) return;
  const int64_t chunks = (job.n + kChunk - 1) / kChunk;
  SliceMap map;
  std::vector<State> states;
  T* kept_chunks = nullptr;
  if (chunks == 1) {
    // The exponentials of a single chunk are kept, not computed again: in a scratch row that stays
    // in the first-level cache, or in the result.
    const bool keeps = job.op == Op::softmax, over = slice.x == slice.y;
    bool long_row = job.n > (over ? kBatchRow : kNearRow) && in_place<D, T>(job);
    // The notes, the limits of a slice with a mask, and a frame that a sink moves, may need the
    // entries once more.
    if (over && (job.notes || slice.where || job.sink.data)) {
      if constexpr (std::is_same_v<D, T>)
        if (keeps && long_row && job.notes && run_noted_row<T>(job, slice, index)) return;
      long_row = false;
    }
    Room<T> kept;
    if (keeps) kept = long_row ? room_in((T*)slice.y) : Room<T>{scratch<T, Kept>(padded<T>(job.n))};
    const State state = reduce_slice_chunk<D, T>(job, slice, 0, kept);
    finish_slice<D, T>(job, slice, &state, &map);
    if (job.notes) note_slice<D, T>(job, slice, index, map);
    // Where a sink moved the frame they may not serve, but then the entries are untouched.
    if (keeps && !map.flat && (!job.sink.data || kept_serves(state, map.state))) {
      const Scale<T> scale = scale_of<T>(map, state);
      if (long_row) settle(kept, job.n);
      return scale_chunk<D>(job, slice, 0, job.n, kept.e, scale, !long_row);
    }
  } else {
    states.reserve(size_t(chunks));
    kept_chunks = room_for_chunks<D, T>(job);
    for (int64_t c = 0; c < chunks; ++c) {
      const bool keeps = kept_chunks && c < kept_of_slice<T>(job);
      const Room<T> room = keeps ? room_in(kept_chunks + c * kChunk) : Room<T>();
      states.push_back(reduce_slice_chunk<D, T>(job, slice, c, room));
      if (keeps) settle(room, chunk_length(job, c));
    }
    finish_slice<D, T>(job, slice, states.data(), &map);
    if (job.notes) note_slice<D, T>(job, slice, index, map);
  }
  if (job.op == Op::logsumexp) {
    if (!job.notes) round_to(*(D*)slice.y, T(map.top));
    return;
  }
  for (int64_t c = 0; c < chunks; ++c) {
    const State& state = chunks == 1 ? map.state : states[size_t(c)];
    const bool kept = kept_chunks && c < kept_of_slice<T>(job);
    map_slice_chunk<D, T>(job, slice, c, state, map, kept ? kept_chunks + c * kChunk : nullptr);
  }
}
