#include "helpers.h"

#include <pthread.h>

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

struct Task {
  const std::function<void()>& run;
  int wanted;                    // helpers that may still begin
  std::atomic<int> running = 0;  // helpers that have begun and not returned
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
