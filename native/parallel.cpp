#include "parallel.h"

#include <nanobind/nanobind.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <thread>
#include <vector>

#include "helpers.h"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace nb = nanobind;

namespace softmax {
namespace {

// Up to this many entries in all a second thread costs more than it saves; up to kAsleep it does
// where it has to be woken for one call alone (benchmarks/NOTES.md).
constexpr int64_t kOneThread = 1 << 17, kAsleep = 1 << 19;
bool is_short(int64_t entries) { return entries > kOneThread && entries <= kAsleep; }
// Entries of a piece of work.  A thread takes half of what is left of a share, within these bounds.
// Long pieces come first, because rows that wait for the next one do so within a piece, short ones,
// just worth fetching, last, so that threads end together.  Of uneven units all pieces are short.
constexpr int64_t kShortPiece = 1 << 16, kLongPiece = 1 << 22;

}  // namespace

// OpenMP keeps the number, so that its environment variables and threadpoolctl set it; the threads
// are our own (helpers.h), because OpenMP's wait for each other at the end of every region, also
// for one that another library keeps from the processor, and do not survive a fork.
int get_num_threads() {
#ifdef _OPENMP
  if (!omp_in_parallel()) return omp_get_max_threads();
#endif
  return 1;
}

void set_num_threads([[maybe_unused]] int n) {
#ifdef _OPENMP
  omp_set_num_threads(n);
#endif
}

int threads_for(int64_t entries) {
  if (entries <= kOneThread || (is_short(entries) && !worth_waking())) return 1;
  return get_num_threads();
}

void share_out(int64_t units, int64_t cost, const std::function<void(int64_t, int64_t)>& work,
               Units kind) {
  const int64_t entries = units * std::max<int64_t>(cost, 1);
  nb::gil_scoped_release unlocked;
  int threads = threads_for(entries);
  if (is_short(entries)) short_work_comes();
  const auto units_of = [&](int64_t piece) {
    return std::max<int64_t>(1, piece / std::max<int64_t>(cost, 1));
  };
  const int64_t shortest = units_of(threads > 1 ? kShortPiece : kLongPiece),
                longest = kind == Units::uneven ? shortest : units_of(kLongPiece);
  const auto end_of_piece = [&](int64_t begin, int64_t end) {
    return std::min(end, begin + std::clamp((end - begin) / 2, shortest, longest));
  };
  threads = int(std::min<int64_t>(threads, (units + shortest - 1) / shortest));

  // Each thread begins with a share of its own, always the same for the same work, so that it finds
  // in its caches what it left there; then it helps the others.
  struct alignas(64) Share {
    std::atomic<int64_t> next;
    int64_t end;
  };
  std::vector<Share> shares(static_cast<size_t>(threads));
  for (int t = 0; t < threads; ++t) {
    shares[size_t(t)].next = units * t / threads;
    shares[size_t(t)].end = units * (t + 1) / threads;
  }
  std::atomic<bool> stop{false};
  bool interrupted = false;
  std::exception_ptr error;
  const auto take_pieces = [&](int thread) {
    using clock = std::chrono::steady_clock;
    auto asked = clock::now();
    try {
      for (int t = 0; t < threads; ++t) {
        Share& share = shares[size_t((thread + t) % threads)];
        while (!stop) {
          int64_t begin = share.next, end = end_of_piece(begin, share.end);
          while (begin < end && !share.next.compare_exchange_weak(begin, end))
            end = end_of_piece(begin, share.end);
          if (begin >= end) break;
          work(begin, end);
          if (thread == 0 && clock::now() - asked > std::chrono::milliseconds(100)) {
            asked = clock::now();
            nb::gil_scoped_acquire locked;
            if (PyErr_CheckSignals() != 0) interrupted = true, stop = true;
          }
        }
      }
    } catch (...) {
      if (!stop.exchange(true)) error = std::current_exception();
    }
  };
  if (threads > 1) {
    const std::thread::id caller = std::this_thread::get_id();
    std::atomic<int> helpers{0};
    work_together(threads - 1,
                  [&] { take_pieces(std::this_thread::get_id() == caller ? 0 : ++helpers); });
  } else {
    take_pieces(0);
  }
  if (interrupted || error) {
    nb::gil_scoped_acquire locked;
    if (interrupted) throw nb::python_error();
    std::rethrow_exception(error);
  }
}

}  // namespace softmax
