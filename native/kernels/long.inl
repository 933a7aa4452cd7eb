// Long rows of floats: the results of one row are written while the next is summed.  Those that
// exceed the caches are streamed past them, others that are the faster for it (Job::waits) stored.
// Until then the exponentials of a softmax wait in a scratch row, where the next row's follow them
// a few entries behind, so that what is delivered later has not been written over.  Those for which
// it has no room are computed again, and these results written at once.

// Entries for which the scratch row has room: within 1 MiB it leaves some for the states of chunks,
// and for a chunk itself where a loss has to sum all others but the largest.
constexpr int64_t kLongestKept = 6 * kChunk;

struct LongRow;

// Whether so many of this job's rows are.  In the caches a few are as fast by themselves, and so
// are all where !job.waits, and those of a softmax that are not over their entries where
// !kWaitsNearby.  Of longer rows of a softmax a part of the exponentials is computed twice.  Up to
// half of them that pays with AVX-512, where rows.inl would keep them in the result, and wherever
// it would compute all of them twice, as long as the states of chunks are few.
inline bool runs_long_rows(const Job& job, int64_t rows) {
  if (!are_plain_rows(job) || job.sink.data || job.traversal != Traversal::rows ||
      job.n <= kBatchRow)
    return false;
  if (job.overwrites() && (job.n <= kChunk || job.op != Op::softmax)) return false;
  if (job.op == Op::softmax) {
    const int64_t times = (job.n + kLongestKept - 1) / kLongestKept;
    if (!job.stream)
      return kWaitsNearby && job.waits && times == 1 && rows > 3 && !job.overwrites();
    if (job.repeats || job.overwrites()) return times <= 8;
    return times <= (kVectorBytes == 64 ? 2 : 1);
  }
  return job.op == Op::log_softmax && !job.temperature.data &&
         (job.stream || (job.waits && job.slices > 1));
}

// `Map`: a Scale for a softmax, or a Shift for its logarithms, which are made from the entries.
template <class Map, bool Tempered>
class LongRows {
  using T = float;
  static constexpr bool keeps = std::is_same_v<Map, Scale<T>>;
  // How far exponentials lie before those that they follow, and how many rows do so until one
  // begins anew.
  static constexpr int64_t gap = kGroup<T> * kWidth<T>, turns = 32;

  const Job& job_;
  const int64_t n_, waiting_;  // entries, and how many of the first have results that wait
  std::vector<State> states_;
  T* const buffer_;
  const bool fetches_results_;  // where a row will be stored, while it is summed
  int64_t turn_ = 0;
  alignas(kVectorBytes) T passing_[Room<T>::kPassing];

  // The states of a row's chunks, while the one before is delivered; false where the frame does not
  // serve.
  bool reduce(const Slice& slice, const Frame<T>& frame, const State& unit, T* kept) {
    const Inverse<T> inverse = Inverse<T>::of(slice.temperature);
    const auto row = outgoing.row(0);
    bool serves = true;
    for (size_t c = 0; c < states_.size(); ++c) {
      const int64_t first = int64_t(c) * kChunk, count = chunk_length(job_, int64_t(c));
      const T* x = (const T*)slice.x + first;
      const Ahead<T> ahead = {(const char*)(x + count),
                              fetches_results_ ? slice.y + first * int64_t(sizeof(T)) : nullptr};
      const Passing<T, decltype(row), gap> beside = {ahead, row, first};
      const auto sum = [&](auto keep, T* room) INLINE_LAMBDA {
        return reduce_in_frame<Tempered, decltype(keep)::value>(x, count, Room<T>{room}, frame,
                                                                unit, beside, inverse, states_[c]);
      };
      serves &= keeps && first < waiting_ ? sum(std::bool_constant<keeps>(), kept + first)
                                          : sum(std::false_type(), passing_);
    }
    Passing<T, decltype(row), gap>{{}, row}.finish(n_);
    outgoing.count = 0;
    return serves;
  }

  // Has a row wait whose chunks have these states; false where it has to be read again.
  bool postpone(const Slice& slice, int64_t index, const Frame<T>& frame, T* kept) {
    SliceMap map;
    finish_slice<T, T>(job_, slice, states_.data(), &map);
    if (map.flat || (keeps && !kept_serves(states_[0], map.state))) return false;
    if (job_.notes) note_slice<T, T>(job_, slice, index, map);
    outgoing.y[0] = (T*)slice.y;
    if constexpr (keeps)
      outgoing.from[0] = kept, outgoing.map[0] = scale_of<T>(map, states_[0]);
    else
      outgoing.from[0] = (const T*)slice.x, outgoing.map[0] = shift_of<T>(map, slice.temperature);
    outgoing.count = 1;
    if constexpr (keeps)
      if (waiting_ < n_)
        softmax_row<false, Tempered>((const T*)slice.x + waiting_, outgoing.y[0] + waiting_,
                                     n_ - waiting_, frame, outgoing.map[0], !outgoing.near);
    return true;
  }

 public:
  static constexpr int kTogether = 1;
  Outgoing<T, Map, true> outgoing;

  explicit LongRows(const Job& job)
      : job_(job),
        n_(job.n),
        waiting_(keeps ? std::min(n_, kLongestKept) : n_),
        states_(size_t((n_ + kChunk - 1) / kChunk)),
        buffer_(keeps ? scratch<T, LongRow>(padded<T>(waiting_) + turns * gap) : nullptr),
        fetches_results_(job.fetch_results && !job.stream && !job.overwrites()) {
    outgoing.n = waiting_;
    outgoing.near = job.overwrites() || !job.stream;
  }

  void run(int64_t first, int count) {
    for (int64_t i = first; i < first + count; ++i) {
      const Slice slice = slice_at(job_, i);
      Frame<T> frame;
      State unit;
      const bool guessed =
          slice.temperature > 0 &&
          guess_frame((const T*)slice.x, Inverse<T>::of(slice.temperature), frame, unit);
      if (!guessed || (keeps && turn_ == 0)) {
        outgoing.deliver(0);
        turn_ = turns;
      }
      T* kept = keeps && guessed ? buffer_ + --turn_ * gap : nullptr;
      if (!guessed || !reduce(slice, frame, unit, kept) || !postpone(slice, i, frame, kept))
        run_slice<T, T>(job_, i);
    }
  }
};
