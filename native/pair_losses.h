// Losses in which probabilities are subtracted: rows of doubles, in pairs.
#pragma once

#include <cstdint>

namespace softmax {

// What an entry costs, in entries of the other kernels.
inline constexpr int64_t kPairCost = 32;

// KL(p || q) of row after row, and (q - p) / temperature.
struct DivergenceJob {
  int64_t n = 0, rows = 0;
  const double *p_logits = nullptr, *q_logits = nullptr;
  const double* temperature = nullptr;  // of each row; null for 1
  double* loss = nullptr;
  double* gradient = nullptr;  // null where it is not wanted
};

// The sum of t (1 - p)^gamma (-log p), weighted, and its gradient.
struct FocalJob {
  int64_t n = 0, rows = 0;
  const double *logits = nullptr, *target = nullptr;
  const double* weights = nullptr;  // of each row; null for 1
  double scale = 1, gamma = 2;
  double* loss = nullptr;
  double* gradient = nullptr;
};

void run(const DivergenceJob&, int64_t begin, int64_t end);
void run(const FocalJob&, int64_t begin, int64_t end);

}  // namespace softmax
