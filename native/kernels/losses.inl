// The losses of all slices of a job, and against rows of probabilities or counts.

// A row's target t seen beside its logits.
struct TargetRow {
  int64_t top = 0;    // the position of one largest entry
  double own = 0;     // its t
  double others = 0;  // the sum of the other t
  double below = 0;   // the sum of t (max - x)
};

// The sums over t, of which the one at `own` is not one of the others.  `Careful`: what has no
// share, and the largest entry, add nothing also where they are infinitely far or infinite.
template <bool Careful, class T>
void sum_target(const T* x, const T* t, int64_t count, T max, int64_t own, TargetRow& row) {
  constexpr int W = kWidth<double>, M = kLaneVectors;
  const vec<double> most = splat(double(max)), none = splat(0.0);
  Term<T> others[M], below[M];
  for (int64_t i = 0; i < count; i += kLanes) {
    vec<double> entry[M], share[M];
    load_sixteen(x + i, count - i, max, entry);
    load_sixteen(t + i, count - i, T(0), share);
    for (int m = 0; m < M; ++m) {
      others[m].add(lane_numbers<double>() == own - i - m * W ? none : share[m]);
      vec<double> gap = most - entry[m];
      if (Careful) gap = (share[m] == none) | (entry[m] == most) ? none : gap;
      below[m].add_product(share[m], gap);
    }
  }
  row.others = total_of(others);
  row.below = total_of(below);
}

struct AtPlaces;

template <class T>
TargetRow look_at(const T* x, int64_t n, const TargetOfRow<T>& target) {
  auto [t, places, count] = target;
  const auto [max, place] = find_largest(x, n);
  TargetRow row;
  row.top = std::min(place, n - 1);
  int64_t own = row.top;
  if (places) {
    T* found = scratch<T, AtPlaces>(2 * count + 1);
    for (int64_t k = 0; k < count; ++k) {
      const bool is_own = places[k] == row.top;
      found[k] = x[places[k]];
      found[count + k] = is_own ? T(0) : t[k];
      row.own += is_own ? double(t[k]) : 0;
    }
    x = found;
    t = found + count;
    own = -1;
  } else {
    row.own = t[own];
  }
  sum_target<false>(x, t, count, max, own, row);
  if (row.below != row.below) sum_target<true>(x, t, count, max, own, row);
  return row;
}

// y -= w t
template <class T>
void subtract(T* y, const TargetOfRow<T>& target, double w) {
  const auto [t, places, count] = target;
  if (places) {
    for (int64_t k = 0; k < count; ++k) y[places[k]] = T(double(y[places[k]]) - w * double(t[k]));
    return;
  }
  const vec<T> hi = splat(T(w)), lo = splat(T(w - double(T(w))));
  for_groups<T>(count, [&, t = t](auto size, int64_t i, int here) INLINE_LAMBDA {
    constexpr int K = decltype(size)::value;
    group<T, K> v = load_group<K>(y + i, here, splat(T(0)));
    const group<T, K> of = load_group<K>(t + i, here, splat(T(0)));
    EACH v.v[k] = fma(-lo, of.v[k], fma(-hi, of.v[k], v.v[k]));
    store_group(y + i, here, v);
  });
}

// Against rows of probabilities or counts: sum of t (-log p), and (sum of t) p - t, of which the
// top entry's is p (sum of the other t) - t (1 - p).
template <class T>
void target_losses(LossGroup& group) {
  const int64_t n = group.softmax.n;
  int64_t top[kLossGroup];
  alignas(64) double below[kLossGroup], mass[kLossGroup], others[kLossGroup], own[kLossGroup],
      at_top[kLossGroup];
  for (int i = 0; i < group.count; ++i) {
    const TargetRow row = look_at(group.logits<T>(i), n, group.target<T>(i));
    top[i] = row.top;
    below[i] = row.below;
    others[i] = row.others;
    own[i] = row.own;
    mass[i] = row.others + row.own;
    group.factor[i] = group.weight[i] * mass[i];
  }
  group.run_softmax<T, T>();
  const bool slopes = group.derives();
  for (int j = 0; j * kWidth<double> < group.count; ++j) {
    const int at = j * kWidth<double>;
    const NoteLanes s = group.known(j);
    const TargetLanes t = {load(below + at), load(mass + at), load(others + at), load(own + at)};
    const vec<double> w = group.weights(j);
    group.store_losses(j, s, t, w);
    if (slopes) store(at_top + at, group.at_largest(s, t, w));
  }
  if (!slopes) return;
  if (group.lose_alike<T>()) {
    TargetOfRow<T> all = group.target<T>(0);
    all.count = group.count * n;
    subtract(group.gradient<T>(0), all, group.job.scale);
  } else {
    for (int i = 0; i < group.count; ++i)
      subtract(group.gradient<T>(i), group.target<T>(i), group.weight[i]);
  }
  for (int i = 0; i < group.count; ++i) group.gradient<T>(i)[top[i]] = T(at_top[i]);
}

template <class D, class T>
void run_group(LossGroup& group) {
  if (group.softmax.n == 0)
    std::fill(group.loss, group.loss + group.count, 0.0);
  else if (group.job.labels)
    label_losses<D, T>(group);
  else
    target_losses<T>(group);
  group.leave_out<D>();
}

struct WidenedRows;
struct WidenedTargets;

// Where a gradient is more than a softmax and a label, groups of 16-bit slices as rows of floats in
// a scratch buffer, in place of the logits and the gradient.
template <class D>
class WidenedLosses {
  const LossJob& job_;
  LossJob wide_;

 public:
  explicit WidenedLosses(const LossJob& job) : job_(job), wide_(job) {
    Job& rows = wide_.softmax;
    rows.dtype = DType::f32;
    rows.dims = 1;
    rows.fetch_ahead = rows.fetch_results = rows.stream = false;
    rows.bundle = std::min(rows.bundle, kBatch);  // no more are batched: see at_once
    if (rows.traversal == Traversal::columns && rows.n <= kShortNarrowRow)
      rows.traversal = Traversal::short_rows;
    else if (rows.traversal != Traversal::short_rows)
      rows.traversal = rows.n <= kBatchRow ? Traversal::batches : Traversal::rows;
    for (Operand* operand : {&rows.x, &rows.y}) {
      operand->along = sizeof(float);
      operand->stride[0] = rows.n * int64_t(sizeof(float));
    }
  }

  int64_t at_once(int64_t) const {
    const Job& rows = wide_.softmax;
    return rows.traversal == Traversal::short_rows
               ? short_tile<float>(rows.n)
               : std::clamp<int64_t>(kChunk / std::max<int64_t>(rows.n, 1), 1, kBatch);
  }

  void run(int64_t first, int count, double* losses, AddedLosses* added) {
    float* rows = scratch<float, WidenedRows>(count * job_.softmax.n + 1);
    widen_logits(first, count, rows);
    wide_.softmax.shape[0] = count;
    wide_.softmax.x.data = wide_.softmax.y.data = (char*)rows;
    set_target(first, count);
    LossGroup group(wide_, 0, count, losses, added);
    run_group<float, float>(group);
    if (group.derives()) round_gradients(first, count, rows);
  }

  void settle() {}

 private:
  // What lies one behind the other, and fetches as much of what comes next.
  void widen(const D* from, float* to, int64_t entries) const {
    if (job_.softmax.fetch_ahead)
      fetch_lines<false, 2>(from + entries, entries * int64_t(sizeof(D)));
    widen_run(from, to, entries);
  }

  void widen_logits(int64_t first, int count, float* rows) const {
    const Job& softmax = job_.softmax;
    const int64_t n = softmax.n;
    if (rows_touch<D>(softmax, softmax.x))
      return widen((const D*)softmax.x.data + first * n, rows, count * n);
    for (int i = 0; i < count; ++i)
      gather<D>(start_of(softmax, softmax.x, first + i), softmax.x.along, n, rows + i * n);
  }

  void set_target(int64_t first, int count) {
    const int64_t n = job_.softmax.n;
    if (job_.weights) wide_.weights = job_.weights + first;
    if (job_.labels) {
      wide_.labels = job_.labels + first;
    } else if (job_.starts) {
      wide_.starts = job_.starts + first;
    } else if (job_.narrow_targets) {
      float* targets = scratch<float, WidenedTargets>(count * n + 1);
      widen((const D*)job_.targets + first * n, targets, count * n);
      wide_.targets = (const char*)targets;
    } else {
      wide_.targets = job_.targets + first * n * int64_t(sizeof(float));
    }
  }

  void round_gradients(int64_t first, int count, const float* rows) const {
    const Job& softmax = job_.softmax;
    const int64_t n = softmax.n;
    if (rows_touch<D>(softmax, softmax.y))
      return round_run(rows, (D*)softmax.y.data + first * n, count * n);
    for (int i = 0; i < count; ++i)
      scatter<D>(rows + i * n, n, start_of(softmax, softmax.y, first + i), softmax.y.along);
  }
};

template <class D, class T>
class Losses {
  LossJob& job_;
  Job& softmax_;

 public:
  explicit Losses(LossJob& job) : job_(job), softmax_(job.softmax) {}

  // How many slices of a bundle at a time: no more than a batch or a tile has room for, or than is
  // fetched ahead, as entries of labels are looked up before all others.
  int64_t at_once(int64_t bundle) const {
    const bool turned = softmax_.traversal == Traversal::short_rows;
    const bool batched = softmax_.traversal == Traversal::batches;
    return turned ? short_tile<T>(softmax_.n) : batched ? std::min(bundle, kLargeBatch) : bundle;
  }

  void run(int64_t first, int count, double* losses, AddedLosses* added) {
    LossGroup group(job_, first, count, losses, added);
    run_group<D, T>(group);
  }

  void settle() {}
};

// Of labels that all count, with a gradient that exceeds the caches: streamed as a softmax is.
template <class T>
class StreamedShortLosses {
  LossJob& job_;
  Job& softmax_;
  OutgoingTile<T> outgoing_;

 public:
  explicit StreamedShortLosses(LossJob& job)
      : job_(job), softmax_(job.softmax), outgoing_(kColumns * job.softmax.n) {}

  int64_t at_once(int64_t) const { return short_tile<T>(softmax_.n); }

  // Labels are mended where results wait.
  void run(int64_t first, int count, double* losses, AddedLosses* added) {
    LossGroup slices(job_, first, count, losses, added);
    T* y = slices.gradient<T>(0);
    if (short_label_losses<T>(slices, &outgoing_)) return outgoing_.take(y, count * softmax_.n);
    LabelGroup<T, T> labelled(slices);
    labelled.look_up();
    softmax_.notes = &slices.notes;
    Left left;
    const T* x = slices.logits<T>(0);
    const bool wait = run_short_tile<T>(softmax_, x, y, first, count, &outgoing_, left);
    T* results = wait ? outgoing_.room(y) : y;
    if (wait && left.odd) run_odd<T, T>(softmax_, first, left.odd, results);
    labelled.finish();
    labelled.mend((char*)results - first * softmax_.y.stride[0]);
    if (wait) outgoing_.take(y, count * softmax_.n);
  }

  void settle() { outgoing_.settle(); }
};

// `Rows`: WaitingBatches, or LongRows.
template <class T, class Rows>
class WaitingRowLosses {
  LossJob& job_;
  Job& softmax_;
  Rows rows_;
  decltype(Rows::outgoing)& outgoing_ = rows_.outgoing;
  // Entries of labels that are still to be mended when the rows that wait are delivered, and the
  // lines they are in, where these belong to one row.
  int waiting_ = 0, lines_ = 0;
  T* place_[kLargeBatch];
  T gradient_[kLargeBatch];
  T* line_[kLargeBatch];
  vec<T> mended_[kLargeBatch];

  void mend_later(int r, T* place, T gradient) {
    T* const line = place - int64_t(uintptr_t(place) % 64 / sizeof(T));
    const int64_t first = line - outgoing_.y[r];
    if (kVectorBytes == 64 && first >= 0 && first + kWidth<T> <= outgoing_.n) {
      mended_[lines_] = outgoing_.map[r](load(outgoing_.from[r] + first));
      mended_[lines_][place - line] = gradient;
      line_[lines_++] = line;
    } else {
      place_[waiting_] = place;
      gradient_[waiting_++] = gradient;
    }
  }

  // Of what was streamed a line is written once more, for a single entry would have to be read.
  void mend_delivered() {
    for (int r = 0; r < lines_; ++r) outgoing_.write(line_[r], mended_[r]);
    for (int r = 0; r < waiting_; ++r) outgoing_.rest.put(place_[r], gradient_[r]);
    waiting_ = lines_ = 0;
  }

 public:
  explicit WaitingRowLosses(LossJob& job) : job_(job), softmax_(job.softmax), rows_(softmax_) {}

  int64_t at_once(int64_t bundle) const { return bundle; }

  void run(int64_t first, int count, double* losses, AddedLosses* added) {
    LossGroup slices(job_, first, count, losses, added);
    LabelGroup<T, T> labelled(slices);
    labelled.look_up();
    softmax_.notes = &slices.notes;
    for (int at = 0; at < count; at += Rows::kTogether) {
      rows_.run(first + at, std::min<int>(count - at, Rows::kTogether));
      mend_delivered();
    }
    labelled.finish();
    // The last rows may wait; those before them lie where they belong.
    const int delivered = count - outgoing_.count;
    for (int r = 0; r < count; ++r) {
      T* place = (T*)(softmax_.y.data + labelled.places[r]);
      const T gradient = labelled.entry[r];
      if (r < delivered) {
        outgoing_.rest.put(place, gradient);
      } else if (!outgoing_.put(r - delivered, place - outgoing_.y[r - delivered], gradient)) {
        mend_later(r - delivered, place, gradient);
      }
    }
  }

  void settle() {
    outgoing_.deliver(0);
    mend_delivered();
    outgoing_.rest.settle();
  }
};

template <class Way>
void run_losses_by(LossJob& job, int64_t begin, int64_t end) {
  if (begin == end) return;  // nor is there a run
  constexpr int W = kWidth<double>;
  Way losses(job);
  const bool adds = takes_one_logarithm(job);
  AddedLosses added[W];
  const int64_t of_run = job.softmax.bundles_of_run();
  int64_t number = begin / of_run, index = begin % of_run;
  for (int64_t i = begin; i < end; ++i) {
    const auto [first, count] = job.softmax.bundle_of(number, index);
    if (++index == of_run) ++number, index = 0;
    const int64_t most = losses.at_once(count);
    const int lane = int((i - begin) % W);
    double together[kLossGroup];
    double* each = job.loss ? job.loss + first : together;
    added[lane] = {};
    for (int64_t at = 0; at < count; at += most)
      losses.run(first + at, int(std::min(most, count - at)), each + at, &added[lane]);
    if (!adds && job.sums) job.sums[i] = pairwise_sum(each, count);
    if (adds && (lane == W - 1 || i == end - 1))
      store_sums(added, lane + 1, job.scale, job.sums + i - lane);
  }
  losses.settle();
}

template <class D, class T>
void run_losses(LossJob& job, int64_t begin, int64_t end) {
  if constexpr (!std::is_same_v<D, T>) {
    if (!job.labels || job.smoothing != 0) return run_losses_by<WidenedLosses<D>>(job, begin, end);
  } else {
    const Job& softmax = job.softmax;
    const bool waits = results_wait<T>(softmax);
    if (softmax.op == Op::softmax && (softmax.stream || waits) && job.labels && job.all_count &&
        job.smoothing == 0) {
      if (waits)
        return run_losses_by<WaitingRowLosses<T, WaitingBatches<T, Scale<T>>>>(job, begin, end);
      if constexpr (sizeof(T) == 4)
        if (runs_long_rows(softmax, end - begin))
          return run_losses_by<WaitingRowLosses<T, LongRows<Scale<T>, false>>>(job, begin, end);
      if (softmax.traversal == Traversal::short_rows && softmax.n > kShortest)
        return run_losses_by<StreamedShortLosses<T>>(job, begin, end);
    }
  }
  run_losses_by<Losses<D, T>>(job, begin, end);
}
