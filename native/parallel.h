// The loop over independent pieces of work: threads, forked children, interrupts.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>

namespace softmax {

int get_num_threads();
void set_num_threads(int n);

// Work on so many entries keeps the interpreter lock: releasing it would cost more.
inline constexpr int64_t kKeepLock = 1 << 14;

// How many of them serve work on so many entries.
int threads_for(int64_t entries);

// Whether each unit of work takes about as long as any other.
enum class Units { even, uneven };

inline bool is_small(int64_t units, int64_t cost) {
  return units * std::max<int64_t>(cost, 1) <= kKeepLock;
}

// What parallel_for does with what is not small.
void share_out(int64_t units, int64_t cost, const std::function<void(int64_t, int64_t)>& work,
               Units kind = Units::even);

// Calls work(begin, end) over all of 0 .. units - 1, which cost about `cost` entries each.  Small
// jobs run at once in the calling thread; long ones release the interpreter lock, use several
// threads and answer an interrupt (the Python exception is then raised).
template <class Work>
void parallel_for(int64_t units, int64_t cost, const Work& work, Units kind = Units::even) {
  if (is_small(units, cost))
    work(0, units);
  else
    share_out(units, cost, work, kind);
}

}  // namespace softmax
