#include "helpers.h"

#include <pthread.h>
#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "memory.h"

namespace softmax {
namespace {

// How long a helper looks for the next task before it sleeps.  Calls often come one after the
// other, and to be woken takes longer than many of them; meanwhile it steps aside for any other
// thread.
constexpr auto kAwake = std::chrono::milliseconds(2);

template <class F>
void awake_until(F happened) {
  const auto until = std::chrono::steady_clock::now() + kAwake;
  while (!happened() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
}

// The processor this thread runs on, or -1 where nobody says.
int current_processor() {
#ifdef __linux__
  return sched_getcpu();
#else
  return -1;
#endif
}

// Moves this thread to another processor if it runs on this one.  A thread that is woken may be put
// beside the one that woke it though others are idle, above all on virtual machines, and both then
// take turns for ten milliseconds and more, until the system looks again.
void leave_processor([[maybe_unused]] int processor) {
#ifdef __linux__
  cpu_set_t allowed;
  if (processor < 0 || current_processor() != processor ||
      sched_getaffinity(0, sizeof allowed, &allowed) != 0)
    return;
  cpu_set_t others = allowed;
  CPU_CLR(size_t(processor), &others);
  if (CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof others, &others) == 0)
    sched_setaffinity(0, sizeof allowed, &allowed);
#endif
}

struct Task {
  const std::function<void()>& run;
  int wanted;                                 // helpers that may still begin
  std::atomic<int> running = 0;               // helpers that have begun and not returned
  const int processor = current_processor();  // of the thread whose work it is
};

class Helpers {
 public:
  void share(Task& task) {
    std::unique_lock lock(mutex_);
    hire(task.wanted);
    tasks_.push_back(&task);
    ++posted_;
    lock.unlock();
    task.wanted > 1 ? begin_.notify_all() : begin_.notify_one();
    // One that was put here is to leave at once, not when this thread's turn is over.
    if (!awake()) std::this_thread::yield();
  }

  bool awake() const { return awake_ > 0; }

  // Nobody begins with the task from here on; those who have are waited for.
  void finish(Task& task) {
    std::unique_lock lock(mutex_);
    tasks_.erase(std::find(tasks_.begin(), tasks_.end(), &task));
    lock.unlock();
    awake_until([&] { return task.running == 0; });
    lock.lock();
    end_.wait(lock, [&] { return task.running == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable begin_, end_;
  std::vector<Task*> tasks_;
  std::atomic<unsigned> posted_{0};
  int hired_ = 0;
  std::atomic<int> awake_{0};

  void hire(int wanted) {
    try {
      for (; hired_ < wanted; ++hired_) std::thread([this] { serve(); }).detach();
    } catch (const std::system_error&) {  // as many as the system gives
    }
  }

  Task* next() {
    for (Task* task : tasks_)
      if (task->wanted > 0) return task;
    return nullptr;
  }

  [[noreturn]] void serve() {
    std::unique_lock lock(mutex_);
    while (true) {
      Task* task = nullptr;
      begin_.wait(lock, [&] { return (task = next()) != nullptr; });
      ++awake_;
      for (; task; task = next()) {
        --task->wanted;
        ++task->running;
        lock.unlock();
        leave_processor(task->processor);
        task->run();
        lock.lock();
        if (--task->running == 0) end_.notify_all();
        if (next()) continue;
        const unsigned seen = posted_;
        lock.unlock();
        awake_until([&] { return posted_ != seen; });
        lock.lock();
      }
      if (--awake_ > 0) continue;
      lock.unlock();
      mark_given_back();
      lock.lock();
    }
  }
};

using Clock = std::chrono::steady_clock;
std::atomic<Clock::time_point> last_short_work{Clock::time_point()};

// Never destroyed: helpers may outlive everything else.  A forked child has none of its parent's
// and begins anew, wherever the parent stood.
alignas(Helpers) unsigned char place[sizeof(Helpers)];
Helpers* helpers = new (place) Helpers;
void begin_anew() { helpers = new (place) Helpers; }

[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, begin_anew);

}  // namespace

bool helpers_awake() { return helpers->awake(); }

bool worth_waking() { return helpers_awake() || Clock::now() - last_short_work.load() < kAwake; }

void short_work_comes() { last_short_work = Clock::now(); }

void work_together(int count, const std::function<void()>& task) {
  Task shared{task, count};
  helpers->share(shared);
  task();
  helpers->finish(shared);
}

}  // namespace softmax
