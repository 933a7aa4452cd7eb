// The kernels, compiled once for each instruction set (targets/*.cpp).
//
// The files are compiled with the baseline's flags; only what stands between push_options and
// pop_options may use the larger set, in a namespace of its own.  So no inline function of the
// standard library or of this project that was compiled for AVX-512 can be the copy that the linker
// keeps for everyone.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "job.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define INLINE inline __attribute__((always_inline))
#define INLINE_LAMBDA __attribute__((always_inline))

// Vector types as template arguments lose attributes that do not matter here.
#pragma GCC diagnostic ignored "-Wignored-attributes"
#pragma GCC diagnostic ignored "-Wpsabi"
// GCC 12 warns of the deliberately undefined operands in its own intrinsics.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"

#define SOFTMAX_TEXT(x) #x
#define SOFTMAX_PRAGMA(x) _Pragma(SOFTMAX_TEXT(x))

#if SOFTMAX_LEVEL == 4
#define SOFTMAX_OPTIONS "arch=x86-64-v4,prefer-vector-width=512"
#define SOFTMAX_CLANG_OPTIONS \
  "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,bmi,bmi2,f16c,lzcnt,movbe"
#elif SOFTMAX_LEVEL == 3
#define SOFTMAX_OPTIONS "arch=x86-64-v3"
#define SOFTMAX_CLANG_OPTIONS "avx2,fma,bmi,bmi2,f16c,lzcnt,movbe"
#elif SOFTMAX_LEVEL == 2
#define SOFTMAX_OPTIONS "arch=x86-64-v2"
#define SOFTMAX_CLANG_OPTIONS "sse4.2,popcnt"
#endif

#if defined(__x86_64__)
#if defined(__clang__)
SOFTMAX_PRAGMA(clang attribute push(__attribute__((target(SOFTMAX_CLANG_OPTIONS))),
                                    apply_to = function))
#else
#pragma GCC push_options
SOFTMAX_PRAGMA(GCC target(SOFTMAX_OPTIONS))
#endif
#endif

namespace softmax::SOFTMAX_TARGET {
#include "kernels/vec.inl"
#include "kernels/arithmetic.inl"
#include "kernels/exp.inl"
#include "kernels/log.inl"
#include "kernels/groups.inl"
#include "kernels/reduce.inl"
#include "kernels/stage.inl"
#include "kernels/notes.inl"
#include "kernels/maps.inl"
#include "kernels/sinks.inl"
#include "kernels/row_state.inl"
#include "kernels/few.inl"
#include "kernels/rows.inl"
#include "kernels/slices.inl"
#include "kernels/exponent.inl"
#include "kernels/near_zero.inl"
#include "kernels/odd.inl"
#include "kernels/outgoing.inl"
#include "kernels/frames.inl"
#include "kernels/batch.inl"
#include "kernels/batches.inl"
#include "kernels/long.inl"
#include "kernels/column_sums.inl"
#include "kernels/column_tile.inl"
#include "kernels/columns.inl"
#include "kernels/others.inl"
#include "kernels/short.inl"
#include "kernels/few_tile.inl"
#include "kernels/weighing.inl"
#include "kernels/derivative.inl"
#include "kernels/strips.inl"
#include "kernels/elements.inl"
#include "kernels/precise.inl"
#include "kernels/weighted.inl"
#include "kernels/loss_group.inl"
#include "kernels/terms.inl"
#include "kernels/smoothing.inl"
#include "kernels/labels.inl"
#include "kernels/losses.inl"
#include "kernels/sampling.inl"
#include "kernels/tile.inl"
#include "kernels/sparse.inl"
#include "kernels/gram.inl"
#include "kernels/layer.inl"
#include "kernels/table.inl"
}  // namespace softmax::SOFTMAX_TARGET

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
