// Memory for large results: what an earlier result gave back, where that is large enough.
//
// A fresh page costs as much to be filled with zeros by the system as to be copied, and the C
// library gives large blocks back at once. Here they are kept, up to kKept bytes in all, and marked
// as free (MADV_FREE) beyond their first 2 MiB: the system takes them whenever it is short of
// memory, and until then the next result finds its pages in place.  While several threads run, to
// mark them means to interrupt each; that waits until the helpers go to sleep.
#pragma once

#include <cstddef>

namespace softmax {

// Smaller results are the C library's, which keeps their memory itself.
inline constexpr size_t kLargeResult = size_t(1) << 16;

// Memory begins `behind` bytes, less than kLine, after the start of a cache line. Never throw; null
// where there is none. Any number of threads, and children of fork.
inline constexpr size_t kLine = 64;
void* take_memory(size_t bytes, size_t behind);
void give_back_memory(void* data);

// Marks what waits for it.
void mark_given_back();

// How many bytes can be read and written at what `take_memory` returned.
size_t memory_size(const void* data);

}  // namespace softmax
