// Long rows of floats whose results exceed the caches: those of one row are streamed past them
// while the next is summed.  Until then the exponentials of a softmax wait in a scratch row, where
// the next row's follow them a few entries behind, so that what is delivered later has not been
// written over.

// The scratch row leaves room for the rest within 1 MiB.
constexpr int64_t kLongestStreamed = 240'000;

struct LongRow;

// Whether this job's rows are.
inline bool streams_long_rows(const Job& job) {
  constexpr int64_t item = sizeof(float);
  const bool plain =
      !job.where.data && !job.sink.data && !job.notes && job.x.along == item && job.y.along == item;
  if (!job.stream || !plain || job.traversal != Traversal::rows || job.n <= kBatchRow) return false;
  return job.op == Op::softmax ? job.n <= kLongestStreamed
                               : job.op == Op::log_softmax && !job.temperature.data;
}

// `Map`: a Scale for a softmax, or a Shift for its logarithms, which are made from the entries.
template <class Map, bool Tempered>
void stream_long_rows(const Job& job, int64_t begin, int64_t end) {
  using T = float;
  constexpr bool keeps = std::is_same_v<Map, Scale<T>>;
  // How far exponentials lie before those that they follow, and how many rows do so until one
  // begins anew.
  constexpr int64_t W = kWidth<T>, gap = kGroup<T> * W, turns = 32;
  const int64_t n = job.n, chunks = (n + kChunk - 1) / kChunk;
  T* const buffer = scratch<T, LongRow>(keeps ? padded<T>(n) + turns * gap : Room<T>::kPassing);
  std::vector<State> states{size_t(chunks)};
  Outgoing<T, Map> outgoing;
  outgoing.n = n;
  int64_t turn = 0;
  for (int64_t i = begin; i < end; ++i) {
    const Slice slice = slice_at(job, i);
    const T* x = (const T*)slice.x;
    const Inverse<T> inverse = Inverse<T>::of(slice.temperature);
    Frame<T> frame;
    State unit;
    bool serves = slice.temperature > 0 && guess_frame(x, inverse, frame, unit);
    if (!serves || (keeps && turn == 0)) {
      outgoing.deliver(0);
      turn = turns;
    }
    if (serves) {
      T* kept = keeps ? buffer + --turn * gap : buffer;
      const auto row = outgoing.row(0);
      for (int64_t c = 0; c < chunks; ++c) {
        const int64_t first = c * kChunk, count = chunk_length(job, c);
        const Ahead<T> ahead = {(const char*)(x + first + count)};
        const Passing<T, decltype(row), gap> beside = {ahead, row, first};
        serves &=
            reduce_in_frame<Tempered, keeps>(x + first, count, Room<T>{keeps ? kept + first : kept},
                                             frame, unit, beside, inverse, states[size_t(c)]);
      }
      row.deliver_from(std::max<int64_t>((n + W - 1) / W * W - gap, 0));
      outgoing.count = 0;
      SliceMap map;
      if (serves) finish_slice<T, T>(job, slice, states.data(), &map);
      serves &= !map.flat && (!keeps || kept_serves(states[0], map.state));
      if (serves) {
        outgoing.from[0] = keeps ? kept : x;
        outgoing.y[0] = (T*)slice.y;
        if constexpr (keeps)
          outgoing.map[0] = scale_of<T>(map, states[0]);
        else
          outgoing.map[0] = shift_of<T>(map, slice.temperature);
        outgoing.count = 1;
      }
    }
    if (!serves) run_slice<T, T>(job, i);
  }
  outgoing.deliver(0);
  outgoing.rest.settle();
}
