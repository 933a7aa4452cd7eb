// Arithmetic on pairs: a number held as the unevaluated sum of a high and a low part.
//
// The low part keeps what rounding took from the high one (Dekker 1971; Ogita, Rump & Oishi 2005),
// so that exponentials and quotients are known to about 2^-63 and differences of them still say
// something.  The twin of src/softmax/_reference/pairs.py; scalar code, compiled for the baseline.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "state.h"

namespace softmax {

inline Pair quick_two_sum(double a, double b) {  // |a| >= |b|
  const double sum = a + b;
  return {sum, b - (sum - a)};
}

inline Pair two_sum(double a, double b) {
  const double sum = a + b, seen = sum - a;
  return {sum, (a - (sum - seen)) + (b - seen)};
}

inline Pair split(double a) {
  const double shifted = a * 134217729.0, high = shifted - (shifted - a);  // 2^27 + 1
  return {high, a - high};
}

inline Pair two_product(double a, double b) {
  const double product = a * b;
  const Pair x = split(a), y = split(b);
  return {product, ((x.hi * y.hi - product) + x.hi * y.lo + x.lo * y.hi) + x.lo * y.lo};
}

inline Pair operator-(Pair a) { return {-a.hi, -a.lo}; }

inline Pair operator+(Pair a, Pair b) {
  const Pair sum = two_sum(a.hi, b.hi);
  return quick_two_sum(sum.hi, sum.lo + (a.lo + b.lo));
}

inline Pair operator-(Pair a, Pair b) { return a + -b; }

inline Pair operator*(Pair a, Pair b) {
  const Pair product = two_product(a.hi, b.hi);
  return quick_two_sum(product.hi, product.lo + (a.hi * b.lo + a.lo * b.hi));
}

inline Pair operator/(Pair a, Pair b) {
  const double quotient = a.hi / b.hi;
  const Pair product = two_product(quotient, b.hi);
  const double remainder = ((a.hi - product.hi) - product.lo) + a.lo - quotient * b.lo;
  return quick_two_sum(quotient, remainder / b.hi);
}

inline Pair pair(double a) { return {a, 0}; }

// a times a power of two.
inline Pair scaled(Pair a, double power) { return {a.hi * power, a.lo * power}; }

// 2^(j / 2048).
struct PowersOfTwo {
  std::array<Pair, kTable> at;

  PowersOfTwo() {
    const Pair root = {0x1.00162f3904052p+0, -0x1.7b5d0d58ea8f4p-58};
    at[0] = {1, 0};
    for (int j = 1; j < kTable; ++j) at[size_t(j)] = at[size_t(j - 1)] * root;
  }
};

inline const PowersOfTwo kPowersOfTwo;

// 2^exponent for an exponent of a normal number.
inline double power_of_two(int exponent) {
  const uint64_t bits = uint64_t(1023 + exponent) << 52;
  double power;
  std::memcpy(&power, &bits, sizeof power);
  return power;
}

// exp(z) 2^headroom for z up to 700, with headroom up to 300; 0 where that is far below 1e-308.
inline Pair exp(Pair z, int headroom = 0) {
  if (!(z.hi > -900)) return {z.hi == z.hi ? 0 : z.hi, 0};
  constexpr double magic = 0x1.8p+52;  // adding it rounds to an integer
  const double k = (z.hi * (kTable / 0x1.62e42fefa39efp-1) + magic) - magic;
  const double r = (z.hi - k * kTableStep[0]) - k * kTableStep[1] + (z.lo - k * kTableStep[2]);
  const double growth = r + r * r * (0.5 + r * (1 / 6.0 + r * (1 / 24.0)));
  const int64_t whole = int64_t(k);
  const Pair base = kPowersOfTwo.at[size_t(whole & (kTable - 1))];
  const Pair value = quick_two_sum(base.hi, base.lo + base.hi * growth);
  const int exponent = int(whole >> 11) + headroom;
  if (exponent > -960) return scaled(value, power_of_two(exponent));
  return scaled(scaled(value, power_of_two(exponent + 600)), power_of_two(-600));
}

// exp(z) - 1, with full relative accuracy also where z is tiny.
inline Pair expm1(Pair z) {
  if (!(std::fabs(z.hi) < 1 / 64.0)) {
    const Pair e = exp(z);
    const Pair difference = two_sum(e.hi, -1);
    return quick_two_sum(difference.hi, difference.lo + e.lo);
  }
  // z + z^2 / 2 exactly, and the rest, which is small enough for one rounding.
  const double x = z.hi;
  const Pair square = two_product(x, x);
  double tail = 1 / 40320.0;
  for (double divisor : {5040.0, 720.0, 120.0, 24.0, 6.0}) tail = 1 / divisor + x * tail;
  const Pair series = quick_two_sum(x, square.hi / 2);
  return quick_two_sum(series.hi,
                       series.lo + (square.lo / 2 + x * square.hi * tail + z.lo * (1 + x)));
}

// log(1 + t), by one Newton step.
inline Pair log1p(Pair t) {
  const double start = std::log1p(t.hi);
  if (start - start != 0) return {start, 0};
  const Pair back = expm1(pair(start));
  return quick_two_sum(start, ((t.hi - back.hi) + (t.lo - back.lo)) / (1 + t.hi));
}

}  // namespace softmax
