// The state of a reduction: all that a slice leaves behind for the map that follows.
//
// sum over entries of exp(x / T) = (s + s_lo) 2^n exp(shift), with shift 0 unless the entries are
// so large that powers of two would lose bits.  Of float entries s is a constant times that
// (exp_constants::unit), so that only quotients of sums mean something.  States merge, which gives
// chunks, threads and streams; the idea is Milakov & Gimelshein's online normalizer, arXiv
// 1805.02867.  Scalar code, compiled for the baseline.
#pragma once

#include <cstdint>
#include <limits>

namespace softmax {

struct State {
  double max = -std::numeric_limits<double>::infinity();  // of the entries, before the temperature
  double shift = 0, shift_lo = 0;                         // already divided by the temperature
  double n = 0;
  double s = 0, s_lo = 0;      // nan where an entry is nan
  double top = 0, top_lo = 0;  // the largest term, more precisely than the kernels keep it
  double kept = std::numeric_limits<double>::quiet_NaN();  // and as they keep it (reduce.inl)
  int64_t infinities = 0;                                  // entries that are +inf
  // Of what stands beside the entries: at the largest, and the sum of exp(x / T) times what it is
  // more than that.  Of weights, which are counted from 0, this is s as well.
  double reference = 0, along = 0, along_lo = 0;
  bool mended = false;  // something infinite or nan beside an exponential of 0 was left out

  bool ordinary() const { return s - s == 0 && infinities == 0 && max - max == 0; }
};

// The state of both sets of entries together.
State merge(const State& a, const State& b);

// 2^(a.n - b.n) exp(a.shift - b.shift): what a's sum is multiplied by to stand in b's frame.  Where
// the shifts are infinite the maxima tell.
double relative_scale(const State& a, const State& b);

// In the order in which NumPy adds up: eight sums side by side, and halves by themselves.
double pairwise_sum(const double* terms, int64_t count);

struct Pair {
  double hi, lo;
};

// exp(z) = 2^(k / 2048) exp(r) leaves a short series in r = z - k ln(2) / 2048.  Of that step the
// first two of three parts have 29 bits at most, so k times them is exact.
inline constexpr int kTable = 2048;
inline constexpr double kTableStep[] = {0x1.62e42ff000000p-12, -0x1.718432a000000p-46,
                                        -0x1.b0e2633fe0685p-78};

// 2^(j / 2048) for all j below 2048: the table of pairs.h, for kernels, which may not include that.
const Pair* powers_of_two();

}  // namespace softmax
