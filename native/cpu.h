// Which instruction sets this processor has, and the kernels chosen at import.
#pragma once

#include <string>
#include <vector>

#include "job.h"

namespace softmax {

// Each is compiled in a file of its own (targets/).
#if defined(__x86_64__)
namespace x86_64_v2 {
extern const Kernels kernels;
}
namespace x86_64_v3 {
extern const Kernels kernels;
}
namespace x86_64_v4 {
extern const Kernels kernels;
}
#else
namespace aarch64 {
extern const Kernels kernels;
}
#endif

// The kernels this processor can run, the best first; empty on a processor older than the baseline.
std::vector<const Kernels*> available_kernels();

// The best, or the one that the environment variable SOFTMAX_CPU names.
// Throws std::runtime_error if that one is not available.
const Kernels& chosen_kernels();

// Bytes of a core's first-level cache and its share of the last-level one (guesses where the system
// does not tell).
size_t first_level_cache();
size_t last_level_cache();

}  // namespace softmax
