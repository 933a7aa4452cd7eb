#include "memory.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <thread>

#include "helpers.h"

namespace softmax {
namespace {

constexpr size_t kKept = size_t(1) << 30;  // bytes
constexpr int kBlocks = 8;
constexpr size_t kPage = size_t(1) << 12, kHugePage = size_t(1) << 21;
#ifdef MADV_FREE
constexpr bool kKeeps = true;
constexpr int kFree = MADV_FREE;
#else  // nothing could be kept that the system may take
constexpr bool kKeeps = false;
constexpr int kFree = 0;
#endif

// A mapping begins with its own size, in a line of its own; the data begin in the next one.
static_assert(2 * kLine <= kPage);
size_t& block_size(void* block) { return *static_cast<size_t*>(block); }
void* block_of(const void* data) {
  return reinterpret_cast<void*>(uintptr_t(data) / kPage * kPage);
}

size_t rounded(size_t bytes) {
  const size_t page = bytes < kHugePage ? kPage : kHugePage;
  return (bytes + page - 1) / page * page;
}

// Whole huge pages where one is filled, because a table of small ones costs a fault for each 4 KiB.
void* map_block(size_t size) {
  const size_t room = size < kHugePage ? size : size + kHugePage;
  void* mapping = mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return nullptr;
  if (size < kHugePage) return mapping;
  char* begin = static_cast<char*>(mapping);
  const size_t lead = size_t(-uintptr_t(begin) % kHugePage);
  if (lead > 0) munmap(begin, lead);
  munmap(begin + lead + size, kHugePage - lead);
#ifdef MADV_HUGEPAGE
  madvise(begin + lead, size, MADV_HUGEPAGE);
#endif
  return begin + lead;
}

// The blocks that are kept, the latest last. Whoever finds the shelf locked does without it.
struct Shelf {
  std::atomic_flag locked = ATOMIC_FLAG_INIT;
  void* blocks[kBlocks];
  int count = 0, marked = 0;  // of which the first are marked as free
  std::atomic<size_t> bytes{0};

  void* remove(int index) {
    void* block = blocks[index];
    std::copy(blocks + index + 1, blocks + count, blocks + index);
    --count;
    if (index < marked) --marked;
    bytes -= block_size(block);
    return block;
  }

  // What holds the size is kept for good, and so are small blocks, where asking would cost more.
  void mark() {
    for (; marked < count; ++marked) {
      char* block = static_cast<char*>(blocks[marked]);
      const size_t size = block_size(block);
      if (size > kHugePage) madvise(block + kHugePage, size - kHugePage, kFree);
    }
  }

  void unmap_oldest() {
    void* block = remove(0);
    munmap(block, block_size(block));
  }
};
Shelf shelf;

bool try_lock() { return !shelf.locked.test_and_set(std::memory_order_acquire); }
void unlock() { shelf.locked.clear(std::memory_order_release); }

// Waits for the end of another's visit, unless that takes so long that it may never come: its
// thread may be the one that waits, or have been left behind by a fork.
bool lock_patiently() {
  for (int i = 0; i < 100'000; ++i) {
    if (try_lock()) return true;
    std::this_thread::yield();
  }
  return false;
}

class Visit {
 public:
  explicit Visit(bool patient = false) : allowed_(patient ? lock_patiently() : try_lock()) {}
  ~Visit() {
    if (allowed_) unlock();
  }
  Visit(const Visit&) = delete;
  explicit operator bool() const { return allowed_; }

 private:
  bool allowed_;
};

// A child shall find the shelf in order: nobody visits it while the process forks.
thread_local bool closed = false;
void close_shelf() { closed = lock_patiently(); }
void open_shelf() {
  if (closed) unlock();
}
[[maybe_unused]] const int registered = pthread_atfork(close_shelf, open_shelf, open_shelf);

}  // namespace

void* take_memory(size_t bytes, size_t behind) {
  const size_t start = kLine + behind, size = rounded(start + bytes);
  void* block = nullptr;
  if (const Visit visit{}) {
    // The smallest that is large enough, but for one that would lie idle by a fourth.
    int best = -1;
    for (int i = 0; i < shelf.count; ++i) {
      const size_t kept = block_size(shelf.blocks[i]);
      const bool fits = kept >= size && kept - size <= size / 4;
      if (fits && (best < 0 || kept <= block_size(shelf.blocks[best]))) best = i;
    }
    if (best >= 0)
      block = shelf.remove(best);
    else  // what is kept and what is new are not to add up
      while (shelf.count > 0 && shelf.bytes + size > kKept) shelf.unmap_oldest();
  }
  if (!block) {
    block = map_block(size);
    if (!block) {  // an address space that is nearly full may have room without what is kept
      if (const Visit visit{})
        while (shelf.count > 0) shelf.unmap_oldest();
      block = map_block(size);
    }
    if (!block) return nullptr;
    block_size(block) = size;
  }
  return static_cast<char*>(block) + start;
}

size_t memory_size(const void* data) {
  return block_size(block_of(data)) - uintptr_t(data) % kPage;
}

void give_back_memory(void* data) {
  if (!data) return;
  void* block = block_of(data);
  const size_t size = block_size(block);
  if (const Visit visit{}; kKeeps && visit && size <= kKept) {
    while (shelf.count == kBlocks || shelf.bytes + size > kKept) shelf.unmap_oldest();
    shelf.blocks[shelf.count++] = block;
    shelf.bytes += size;
    if (!helpers_awake()) shelf.mark();
    return;
  }
  munmap(block, size);
}

void mark_given_back() {
  if (const Visit visit(true); visit) shelf.mark();
}

}  // namespace softmax
