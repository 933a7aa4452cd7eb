// Threads that lend a hand: the caller of a task begins at once and never waits for a helper that
// has not begun.
#pragma once

#include <functional>

namespace softmax {

// Calls task() here and in up to `helpers` threads beside.  Returns when this call and those that
// began have returned; a helper that wakes up too late finds nothing left to do.
void work_together(int helpers, const std::function<void()>& task);

// Whether one works, or still looks for work; the last to sleep calls mark_given_back (memory.h).
bool helpers_awake();

// Whether short work is worth sharing: a helper is awake, or would still be had it shared the last
// such work, of which `short_work_comes` tells; then more is likely to come.
bool worth_waking();
void short_work_comes();

}  // namespace softmax
