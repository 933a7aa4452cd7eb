#include "cpu.h"

#include <unistd.h>

#include <cstdlib>
#include <stdexcept>

namespace softmax {

std::vector<const Kernels*> available_kernels() {
  std::vector<const Kernels*> found;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
  const bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                  __builtin_cpu_supports("f16c");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  if (v4) found.push_back(&x86_64_v4::kernels);
  if (v3) found.push_back(&x86_64_v3::kernels);
  if (v2) found.push_back(&x86_64_v2::kernels);
#else
  found.push_back(&aarch64::kernels);
#endif
  return found;
}

const Kernels& chosen_kernels() {
  static const Kernels* chosen = [] {
    const std::vector<const Kernels*> available = available_kernels();
    if (available.empty())
      throw std::runtime_error("softmax: this processor lacks the baseline instruction set");
    const char* wanted = std::getenv("SOFTMAX_CPU");
    if (!wanted || !*wanted) return available.front();
    std::string names;
    for (const Kernels* kernels : available) {
      if (std::string(kernels->name) == wanted) return kernels;
      names += std::string(names.empty() ? "" : ", ") + kernels->name;
    }
    throw std::runtime_error("SOFTMAX_CPU is '" + std::string(wanted) + "'; this machine has " +
                             names + ", and 'reference' is the NumPy code");
  }();
  return *chosen;
}

size_t first_level_cache() {
#if defined(__aarch64__)  // of servers and newer
  constexpr size_t kGuess = 64 << 10;
#else
  constexpr size_t kGuess = 32 << 10;
#endif
  static const size_t bytes = [] {
    long size = 0;
#if defined(_SC_LEVEL1_DCACHE_SIZE)
    size = sysconf(_SC_LEVEL1_DCACHE_SIZE);
#endif
    return size > 0 ? size_t(size) : kGuess;
  }();
  return bytes;
}

size_t last_level_cache() {
  // A core's share, not the sum over all sockets that some C libraries report.
  constexpr long kLargest = 32 << 20;
  static const size_t bytes = [] {
    long size = 0;
#if defined(_SC_LEVEL3_CACHE_SIZE)
    size = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (size <= 0) size = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    return size_t(size > 0 && size < kLargest ? size : kLargest);
  }();
  return bytes;
}

}  // namespace softmax
