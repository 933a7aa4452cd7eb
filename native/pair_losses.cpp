// The divergence of two softmaxes and the focal loss (pair_losses.h); the formulas stand with their
// NumPy twins in src/softmax/_reference, divergence.py and losses.py.
#include "pair_losses.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "pairs.h"

namespace softmax {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();
// Probabilities are held times 2^128, so that the low parts of small ones are numbers too.
constexpr int kHeadroom = 128;
const double kRaise = power_of_two(kHeadroom), kLower = power_of_two(-kHeadroom);

// A row of logits: z = (x - max) / temperature, and its softmax.
struct SoftmaxRow {
  std::vector<Pair> z, p;  // p times 2^128
  int64_t top = 0;         // the position of one largest entry
  Pair rest, whole;        // the sum of exp(z) without that entry, and with it
  bool undefined = false;  // a nan, several +inf, nothing but -inf

  void read(const double* x, int64_t n, double temperature) {
    z.resize(size_t(n));
    p.resize(size_t(n));
    top = std::max_element(x, x + n) - x;
    const double max = x[top];
    const auto is_nan = [](double v) { return v != v; };
    undefined = std::any_of(x, x + n, is_nan) || max == -kInfinity ||
                (max == kInfinity && std::count(x, x + n, max) > 1);
    if (undefined) return;
    const bool sharp = temperature == 0 || max == kInfinity, flat = temperature == kInfinity;
    if (sharp || flat)
      for (int64_t i = 0; i < n; ++i)
        z[size_t(i)] = pair((sharp ? x[i] == max : x[i] > -kInfinity) ? 0 : -kInfinity);
    else
      subtract(x, n, max, temperature);
    exponentiate();
  }

  Pair log_whole() const { return log1p(rest); }
  Pair missing(size_t i) const {  // 1 - p
    return i == size_t(top) ? rest / whole : pair(1) - scaled(p[i], kLower);
  }

 private:
  void subtract(const double* x, int64_t n, double max, double temperature) {
    // A power of two is divided out first, so that no intermediate over- or underflows.
    int exponent = 0;
    if (temperature != 1) std::frexp(temperature, &exponent);
    exponent = std::max(exponent, -1023);
    const Pair divisor = pair(std::ldexp(temperature, -exponent));
    const double before = std::ldexp(1, -std::max(exponent, 0));
    const double after = std::ldexp(1, -std::min(exponent, 0));
    for (int64_t i = 0; i < n; ++i) {
      Pair gap = two_sum(x[i] * before, -max * before);
      if (!(gap.hi > -1e290)) {  // too far for the parts of a quotient, and to matter
        z[size_t(i)] = pair(gap.hi / divisor.hi * after);
        continue;
      }
      if (temperature != 1) gap = scaled(gap / divisor, after);
      z[size_t(i)] = gap.lo - gap.lo == 0 ? gap : pair(gap.hi);
    }
  }

  void exponentiate() {
    Pair others = {0, 0};
    for (size_t i = 0; i < z.size(); ++i) {
      p[i] = exp(z[i], kHeadroom);
      if (int64_t(i) != top) others = others + p[i];
    }
    rest = scaled(others, kLower);
    whole = pair(1) + rest;
    const Pair share = pair(1) / whole;
    for (Pair& one : p) one = one * share;
  }
};

// exp(d) - 1 - d, given exp(d) - 1.
Pair excess(Pair d, Pair growth) {
  if (!(std::fabs(d.hi) < 1 / 64.0)) return growth - d;
  double series = 1 / 3628800.0;
  for (double divisor : {362880.0, 40320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0})
    series = 1 / divisor + series * d.hi;
  return d * d * pair(series);
}

// a - b, which may overflow.
Pair difference(Pair a, Pair b) {
  const Pair result = a - b;
  return result.lo == result.lo ? result : pair(a.hi - b.hi);
}

// Writes d = log(q / p) of each entry: z_q - z_p, counted from p's largest entry, less a number
// that is the same for all.
void log_ratio(const SoftmaxRow& p, const SoftmaxRow& q, std::vector<Pair>& d) {
  d.resize(p.z.size());
  bool alike = q.z[size_t(p.top)].hi > -kInfinity;
  const Pair lead = alike ? difference(q.z[size_t(p.top)], p.z[size_t(p.top)]) : pair(0);
  Pair change = {0, 0};
  for (size_t i = 0; i < d.size(); ++i) {
    const bool in_p = p.z[i].hi > -kInfinity, in_q = q.z[i].hi > -kInfinity;
    d[i] = in_p && in_q ? difference(difference(q.z[i], p.z[i]), lead) : pair(-kInfinity);
    // A class that p alone rules out has its part in q, and none in the change.
    alike = alike && (in_p || !in_q) && d[i].hi < 700;
    if (alike && in_p) change = change + p.p[i] * expm1(d[i]);
  }
  change = scaled(change, kLower);
  alike = alike && std::fabs(change.hi) < 0.5;
  const Pair shift = alike ? log1p(change) : difference(q.log_whole() - p.log_whole(), lead);
  for (Pair& one : d)
    if (one.hi > -kInfinity) one = difference(one, shift);
}

// A sum of terms that are not negative; what overflows has no low part.
double rounded_total(Pair sum) {
  const double total = sum.hi + sum.lo;
  return total == total ? total : kInfinity;
}

void divergence(const SoftmaxRow& p, const SoftmaxRow& q, double temperature, double* loss,
                double* slopes) {
  thread_local std::vector<Pair> ratios;
  log_ratio(p, q, ratios);
  const Pair* ratio = ratios.data();
  Pair sum = {0, 0};
  bool ruled_out = false;
  for (size_t i = 0; i < p.p.size(); ++i) {
    const Pair P = p.p[i], Q = q.p[i], d = ratio[i];
    Pair slope, term;
    if (P.hi > 0 && d.hi < 1 && d.hi > -kInfinity) {
      const Pair growth = expm1(d);
      slope = P * growth;
      term = P * scaled(excess(d, growth), kLower);
    } else {
      slope = Q - P;
      term = P.hi > 0 ? scaled(slope, kLower) - P * scaled(d, kLower) : scaled(Q, kLower);
      ruled_out |= P.hi > 0 && d.hi == -kInfinity;
    }
    sum = sum + term;
    if (!slopes) continue;
    // Divided while it is raised, unless it would overflow.
    slopes[i] = temperature == 1 || slope.hi == 0 ? slope.hi * kLower
                : temperature > 1e-200            ? slope.hi / temperature * kLower
                                                  : slope.hi * kLower / temperature;
  }
  *loss = ruled_out ? kInfinity : rounded_total(sum);
}

// base^exponent for a base of at least 0.
Pair power(Pair base, double exponent) {
  const double high = std::pow(base.hi, exponent);
  return {high, base.hi > 0 ? high * exponent * base.lo / base.hi : 0};
}

// The sum of the losses; `pulls` become t ((1 - p)^gamma - gamma p (1 - p)^(gamma - 1) log p).
double focal(const SoftmaxRow& row, const double* t, double gamma, Pair* pulls) {
  const Pair log_whole = row.log_whole();
  Pair sum = {0, 0};
  double infinite = 0;
  for (size_t i = 0; i < row.p.size(); ++i) {
    pulls[i] = {0, 0};
    if (t[i] == 0) continue;
    const Pair missing = row.missing(i), damped = pair(t[i]) * power(missing, gamma);
    const double p = row.p[i].hi * kLower;
    if (row.z[i].hi == -kInfinity) {
      infinite = kInfinity;
      pulls[i] = damped;
      continue;
    }
    const Pair surprise = log_whole - row.z[i];
    // Beyond 1e290 the parts of a product would overflow.
    sum = sum + (surprise.hi < 1e290 ? damped * surprise : pair(damped.hi * surprise.hi));
    // (1 - p)^(gamma - 1) log p has its limit at p = 1.
    const double ratio = missing.hi == 0 ? 1 : p * surprise.hi / missing.hi;
    pulls[i] = damped * (pair(1) + pair(gamma * ratio));
  }
  return infinite + rounded_total(sum);
}

// p sum(a) - a for the pulls a; the top entry's is p (sum of the others) - a (1 - p).
void pull(const SoftmaxRow& row, const Pair* pulls, double* slopes) {
  Pair others = {0, 0};
  for (size_t i = 0; i < row.p.size(); ++i)
    if (int64_t(i) != row.top) others = others + pulls[i];
  const Pair own = pulls[row.top], whole = others + own;
  for (size_t i = 0; i < row.p.size(); ++i)
    slopes[i] = (row.p[i] * whole - scaled(pulls[i], kRaise)).hi * kLower;
  slopes[row.top] =
      (scaled(row.p[size_t(row.top)], kLower) * others - own * row.missing(size_t(row.top))).hi;
}

}  // namespace

void run(const DivergenceJob& job, int64_t begin, int64_t end) {
  thread_local SoftmaxRow p, q;
  for (int64_t i = begin; i < end; ++i) {
    const double temperature = job.temperature ? job.temperature[i] : 1;
    double* slopes = job.gradient ? job.gradient + i * job.n : nullptr;
    p.read(job.p_logits + i * job.n, job.n, temperature);
    q.read(job.q_logits + i * job.n, job.n, temperature);
    if (!p.undefined && !q.undefined) {
      divergence(p, q, temperature, job.loss + i, slopes);
    } else {
      job.loss[i] = kMissing;
      if (slopes) std::fill(slopes, slopes + job.n, kMissing);
    }
  }
}

void run(const FocalJob& job, int64_t begin, int64_t end) {
  thread_local SoftmaxRow row;
  thread_local std::vector<Pair> pulls;
  for (int64_t i = begin; i < end; ++i) {
    const double weight = (job.weights ? job.weights[i] : 1) * job.scale;
    double* slopes = job.gradient ? job.gradient + i * job.n : nullptr;
    if (weight == 0) {
      job.loss[i] = 0;
      if (slopes) std::fill(slopes, slopes + job.n, 0.0);
      continue;
    }
    row.read(job.logits + i * job.n, job.n, 1);
    if (row.undefined) {
      job.loss[i] = kMissing;
      if (slopes) std::fill(slopes, slopes + job.n, kMissing);
      continue;
    }
    pulls.resize(size_t(job.n));
    job.loss[i] = weight * focal(row, job.target + i * job.n, job.gamma, pulls.data());
    if (!slopes) continue;
    pull(row, pulls.data(), slopes);
    for (int64_t k = 0; k < job.n; ++k) slopes[k] *= weight;
  }
}

}  // namespace softmax
