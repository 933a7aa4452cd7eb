// Bundles of batches: of which size and with which frames they are run, and those whose results
// wait until the next one is summed.

template <bool Tempered, int Rows, class D, class T, class Map>
bool run_ordinary_batch(const Job& job, int64_t first, int count, Outgoing<T, Map>* outgoing) {
  Batch<D, T, Tempered, Rows> batch(job, first, count);
  bool done = false;
  for (Frames frames : {Frames::common, Frames::guessed, Frames::exact}) {
    if (done || !batch.offers(frames)) continue;
    done = batch.run(frames, outgoing);
    if (frames == Frames::common) done ? common_frame().succeed() : common_frame().fail();
    if (frames == Frames::guessed && done) batch.settle_common_frame();
  }
  if (!done) return false;
  if (batch.odd()) run_odd<D, T>(job, first, batch.odd());
  return true;
}

// Whether there is code for large batches: of floats, where one vector has a lane for each of
// sixteen rows.  Elsewhere, and with temperatures, they are taken apart.
template <class D>
constexpr bool kLarge = std::is_same_v<D, float> && kWidth<float> == kBatch;

template <class D, class T, class Map = Scale<T>>
void run_batch(const Job& job, int64_t first, int count, Outgoing<T, Map>* outgoing = nullptr) {
  const bool together = count > 2, tempered = job.temperature.data;
  const bool large = kLarge<D> && count > kBatch && !tempered;
  if (count > kBatch && !large) {
    run_batch<D>(job, first, kBatch, outgoing);
    return run_batch<D>(job, first + kBatch, count - int(kBatch), outgoing);
  }
  bool done = false;
  if (together && !tempered && !large)
    done = run_ordinary_batch<false, kBatch, D>(job, first, count, outgoing);
  if constexpr (kLarge<D>)
    if (large) done = run_ordinary_batch<false, kLargeBatch, D>(job, first, count, outgoing);
  if constexpr (!kOnlyWaiting<Map>)
    if (together && tempered)
      done = run_ordinary_batch<true, kBatch, D>(job, first, count, outgoing);
  if (done) return;
  if (outgoing) {  // without waiting, where rows are adjusted, or kept where it holds what waits
    outgoing->deliver(0);
    return run_batch<D, T>(job, first, count);
  }
  for (int r = 0; r < count; ++r) run_slice<D, T>(job, first + r);
}

// Whether results of batches are written while the next one is summed.  A row that waits fills a
// vector at least.
template <class T>
bool results_wait(const Job& job) {
  static_assert(!kWaitsNearby || kGroup<T> <= 4);  // for_rest would make some results twice
  return job.traversal == Traversal::batches && job.n >= kWidth<T> &&
         (job.stream || (job.waits && kWaitsNearby));
}

// Batches whose results wait.
template <class T, class Map>
class WaitingBatches {
  const Job& job_;

 public:
  static constexpr int kTogether = kLargeBatch;  // rows that are summed at a time
  Outgoing<T, Map> outgoing;

  explicit WaitingBatches(const Job& job) : job_(job) { outgoing.near = !job.stream; }

  void run(int64_t first, int count) { run_batch<T, T>(job_, first, count, &outgoing); }
};

// Bundles begin .. end - 1 of such rows.
template <class Rows>
void stream_rows(const Job& job, int64_t begin, int64_t end) {
  Rows rows(job);
  for (int64_t i = begin; i < end; ++i) {
    const auto [first, count] = job.bundle_at(i);
    rows.run(first, int(count));
  }
  rows.outgoing.deliver(0);
  rows.outgoing.rest.settle();
}
