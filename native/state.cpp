#include "state.h"

#include <cmath>

#include "pairs.h"

namespace softmax {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kLn2Hi = 0x1.62e42fefa39efp-1, kLn2Lo = 0x1.abc9e3b39803fp-56;

}  // namespace

double relative_scale(const State& a, const State& b) {
  // Over the temperature both may lie beyond the range of numbers: then the lower is out of sight.
  if (a.shift == b.shift && a.shift - a.shift != 0)
    return a.max == b.max ? 1 : a.max < b.max ? 0 : kInf;
  if (a.shift == b.shift && a.shift_lo == b.shift_lo)
    return a.n == b.n ? 1 : std::ldexp(1.0, int(a.n - b.n));
  // The two logarithms nearly cancel where it matters; what is left over is carried in `low`.
  Pair d = two_sum(a.shift, -b.shift);
  if (d.hi < -1e9) return 0;  // also where the difference overflows
  double n = a.n - b.n;
  double product = n * kLn2Hi;
  double low = std::fma(n, kLn2Hi, -product) + n * kLn2Lo + d.lo + (a.shift_lo - b.shift_lo);
  Pair sum = two_sum(d.hi, product);
  return std::exp(sum.hi) * (1 + (sum.lo + low));
}

State merge(const State& a, const State& b) {
  // The larger maximum keeps its frame: scales are then at most about 1.
  const bool a_first = a.max >= b.max;
  const State& big = a_first ? a : b;
  const State& small = a_first ? b : a;
  State result = big;
  result.infinities = a.infinities + b.infinities;
  if (small.s != 0 && big.max != kInf) {
    double scale = relative_scale(small, big);
    Pair sum = two_sum(big.s, small.s * scale);
    double low = std::fma(small.s, scale, -small.s * scale) + small.s_lo * scale;
    result.s = sum.hi;
    result.s_lo = sum.lo + big.s_lo + low;
  }
  if (a.s != a.s || b.s != b.s) result.s = std::nan("");
  return result;
}

const Pair* powers_of_two() { return kPowersOfTwo.at.data(); }

double pairwise_sum(const double* terms, int64_t count) {
  constexpr int64_t kLanes = 8, kBlock = 128;
  if (count > kBlock) {
    const int64_t half = count / 2 / kLanes * kLanes;
    return pairwise_sum(terms, half) + pairwise_sum(terms + half, count - half);
  }
  double sum = 0;
  int64_t i = 0;
  if (count >= kLanes) {
    double lane[kLanes];
    for (int64_t k = 0; k < kLanes; ++k) lane[k] = terms[k];
    for (i = kLanes; i + kLanes <= count; i += kLanes)
      for (int64_t k = 0; k < kLanes; ++k) lane[k] += terms[i + k];
    sum = ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
  }
  for (; i < count; ++i) sum += terms[i];
  return sum;
}

}  // namespace softmax
