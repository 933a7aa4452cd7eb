// Cross-entropy and its gradient: the softmax of a group of slices by whichever traversal serves
// them, with each slice's weight as a factor, then what the target changes, while the bundle is in
// the cache.
//
// The loss is log(1 + rest) + (max - x_label), never the difference of two large numbers; so is the
// gradient of a label that is the largest entry: minus the sum of the others.

template <class D, class T>
void run_bundle(const Job& job, int64_t first, int count);

// The largest bundle of slices.
constexpr int kLossGroup = kColumns;

// Where a slice begins in one of the job's arrays.
INLINE char* start_of(const Job& job, const Operand& array, int64_t slice) {
  if (job.dims == 1) return array.data + slice * array.stride[0];
  int64_t at = 0;
  for (int d = job.dims - 1; d >= 0; slice /= job.shape[d--])
    at += slice % job.shape[d] * array.stride[d];
  return array.data + at;
}

// The t of all entries of a row, or of those at some places.
template <class T>
struct TargetOfRow {
  const T* t;
  const int64_t* places;  // null for all
  int64_t count;
};

// Of the targets of several slices, one to a lane.
struct TargetLanes {
  vec<double> below;   // sums of t (max - x)
  vec<double> mass;    // sums of t
  vec<double> others;  // of all t but the largest entry's
  vec<double> own;     // the largest entry's
};

// What is known of each slice of a group.
struct LossGroup {
  const LossJob& job;
  Job& softmax;  // a copy of the job's that leaves its notes here
  int64_t first;
  int count;
  bool all_count = true;  // no weight is 0
  SliceNotes notes;
  alignas(64) double max[kLossGroup], log_rest[kLossGroup], top[kLossGroup], others[kLossGroup],
      factor[kLossGroup], weight[kLossGroup], loss[kLossGroup];

  LossGroup(const LossJob& of, Job& copy, int64_t begin, int number)
      : job(of), softmax(copy), first(begin), count(number) {
    job.all_count ? std::fill(weight, weight + kLossGroup, job.scale) : weigh();
    const bool plain = !job.targets && !job.weights && job.scale == 1 && job.z_loss == 0;
    notes = {first, max, log_rest, top, others, plain ? nullptr : weight, job.z_loss};
    if (!job.targets && job.z_loss == 0) return;
    std::copy(weight, weight + count, factor);  // which will change
    notes.factor = factor;
  }

  void weigh() {
    constexpr int W = kWidth<double>;
    vec<int64_t> left_out{};
    for (int j = 0; j * W < count; ++j) {
      vec<double> w = splat(job.scale);
      if (job.weights) w = w * load_lanes(job.weights + first, j, count);
      if (job.labels) w = load_lanes(job.labels + first, j, count) < 0 ? splat(0.0) : w;
      store(weight + j * W, w);
      left_out |= (w == 0) & first_lanes<double>(count - j * W);
    }
    all_count = !any_set<double>(left_out);
  }

  bool derives() const { return softmax.op == Op::softmax; }

  template <class T>
  const T* logits(int i) const {
    return (const T*)start_of(softmax, softmax.x, first + i);
  }
  template <class T>
  T* gradient(int i) const {
    return (T*)start_of(softmax, softmax.y, first + i);
  }

  template <class T>
  TargetOfRow<T> target(int i) const {
    const T* t = (const T*)job.targets;
    if (!job.starts) return {t + (first + i) * softmax.n, nullptr, softmax.n};
    const int64_t start = job.starts[first + i], end = job.starts[first + i + 1];
    return {t + start, job.places + start, end - start};
  }

  // Where the entry of each slice's label is in x or y, in bytes from the first of all.
  INLINE void find_labels(const Operand& array, int64_t* places) const {
    constexpr int W = kWidth<double>;
    const vec<int64_t> along = splat(array.along), step = splat(array.stride[0]);
    vec<int64_t> slice = lane_numbers<double>() + first;
    fetch_lines<false, 3>(job.labels + first + count, count * int64_t(sizeof(int64_t)));
    for (int j = 0; j * W < count; ++j, slice += W) {
      const vec<int64_t> label = load_lanes(job.labels + first, j, count);
      const vec<int64_t> place = (label > 0 ? label : vec<int64_t>{}) * along;
      store(places + j * W, softmax.dims == 1 ? place + slice * step : place);
    }
    for (int i = 0; i < count && softmax.dims != 1; ++i)
      places[i] += start_of(softmax, array, first + i) - array.data;
  }

  template <class T>
  void run_softmax() const {
    softmax.notes = &notes;
    run_bundle<T, T>(softmax, first, count);
  }

  // From each slice's targets, target(j, max) those of vector j, to the losses, and to the gradient
  // of its largest entry.
  template <class F>
  INLINE void finish(F target, double* at_top) {
    constexpr int W = kWidth<double>;
    for (int at = 0; at < count; at += W) {
      const vec<double> m = load(max + at), l = load(log_rest + at), w = load(weight + at);
      const TargetLanes t = target(at, m);
      vec<double> each = t.below + t.mass * l, pull = t.others;
      if (job.z_loss != 0) {
        const vec<double> logsumexp = m + l;
        each = each + t.mass * job.z_loss * logsumexp * logsumexp;
        pull = pull + t.mass * 2 * job.z_loss * logsumexp;
      }
      store(loss + at, w * each);
      if (derives()) store(at_top + at, w * (pull * load(top + at) - t.own * load(others + at)));
    }
  }

  // Slices of weight 0 count for nothing, whatever stands in them.
  template <class T>
  void leave_out() {
    for (int i = 0; i < count && !all_count; ++i) {
      if (weight[i] != 0) continue;
      loss[i] = 0;
      if (!derives()) continue;
      char* y = (char*)gradient<T>(i);
      for (int64_t k = 0; k < softmax.n; ++k) *(T*)(y + k * softmax.y.along) = 0;
    }
  }

  // The sum of the losses, which go to where each is wanted.
  double deliver() const {
    constexpr int W = kWidth<double>;
    if (job.loss) std::copy(loss, loss + count, job.loss + first);
    vec<double> sum = splat(0.0);
    for (int j = 0; j * W < count; ++j) sum = sum + load_lanes(loss, j, count);
    return fold(sum, [](auto a, auto b) INLINE_LAMBDA { return a + b; })[0];
  }
};

// One entry for each of `count` places, in bytes from data.
template <class T>
INLINE void gather_entries(const char* data, const int64_t* places, int count, T* entry) {
  _Pragma("GCC unroll 8") for (int i = 0; i < count; ++i) entry[i] = *(const T*)(data + places[i]);
}
template <class T>
INLINE void scatter_entries(char* data, const int64_t* places, int count, const T* entry) {
  _Pragma("GCC unroll 8") for (int i = 0; i < count; ++i) {
    T& place = *(T*)(data + places[i]);
    place = entry[i];
  }
}

template <class T>
void label_losses(LossGroup& group) {
  constexpr int W = kWidth<double>;
  alignas(64) T entry[kLossGroup];
  alignas(64) double below[kLossGroup], at_top[kLossGroup];
  alignas(64) int64_t places[kLossGroup];
  const int count = group.count;
  const Job& softmax = group.softmax;
  const Operand &x = softmax.x, &y = softmax.y;
  const vec<double> none = splat(0.0), one = splat(1.0);
  group.find_labels(x, places);
  gather_entries(x.data, places, count, entry);
  group.run_softmax<T>();
  group.finish(
      [&](int at, vec<double> max) INLINE_LAMBDA {
        const vec<double> own = load_wide(entry + at);
        const vec<double> gap = own == max ? none : max - own;
        store(below + at, gap);
        return TargetLanes{gap, one, none, one};
      },
      at_top);
  if (group.derives()) {
    if (softmax.dims != 1 || y.along != x.along || y.stride[0] != x.stride[0])
      group.find_labels(y, places);
    gather_entries(y.data, places, count, entry);
    for (int at = 0; at < count; at += W) {
      const vec<double> other = load_wide(entry + at) - load(group.weight + at);
      store_narrow(entry + at, load(below + at) == none ? load(at_top + at) : other);
    }
    scatter_entries(y.data, places, count, entry);
  }
  group.leave_out<T>();
}

// A row's target t seen beside its logits.
struct TargetRow {
  int64_t top = 0;    // the position of one largest entry
  double own = 0;     // its t
  double others = 0;  // the sum of the other t
  double below = 0;   // the sum of t (max - x)
};

// The sum of W lanes, each with what rounding took from it.
INLINE Pair gathered(vec<double> sum, vec<double> low) {
  Pair total = {0, 0};
  for (int j = 0; j < kWidth<double>; ++j) total = total + Pair{sum[j], low[j]};
  return total;
}

INLINE vec<double> load_double(const float* p) { return load_wide(p); }
INLINE vec<double> load_double(const double* p) { return load(p); }

struct LogitsAtPlaces;

template <class T>
TargetRow look_at(const T* x, int64_t n, const TargetOfRow<T>& target) {
  constexpr int W = kWidth<double>;
  const auto [t, places, count] = target;
  TargetRow row;
  const T max = row_max(x, n);
  while (row.top + 1 < n && x[row.top] != max) ++row.top;
  if (places) {
    T* found = scratch<T, LogitsAtPlaces>(count + 1);
    for (int64_t k = 0; k < count; ++k) {
      found[k] = x[places[k]];
      row.own += places[k] == row.top ? double(t[k]) : 0;
    }
    x = found;
  } else {
    row.own = t[row.top];
  }
  const vec<double> m = splat(double(max)), none = splat(0.0);
  vec<double> sum = none, low = none, below = none, below_low = none;
  const auto add = [&](vec<double> share, vec<double> entry) INLINE_LAMBDA {
    vec<double> next, error;
    two_sum(sum, share, next, error);
    low = low + error;
    sum = next;
    const vec<double> gap = (share == none) | (entry == m) ? none : m - entry;
    const vec<double> term = share * gap;
    two_sum(below, term, next, error);
    below_low = below_low + (error + product_error(share, gap, term));
    below = next;
  };
  int64_t i = 0;
  for (; i + W <= count; i += W) add(load_double(t + i), load_double(x + i));
  for (; i < count; ++i) {
    vec<double> share = none, entry = none;
    share[0] = t[i];
    entry[0] = x[i];
    add(share, entry);
  }
  row.others = (gathered(sum, low) + Pair{-row.own, 0}).hi;
  row.below = gathered(below, below_low).hi;
  // What is infinite has no low part.
  const double plain = fold(below, [](auto a, auto b) INLINE_LAMBDA { return a + b; })[0];
  if (!(plain - plain == 0)) row.below = plain;
  return row;
}

// y -= w t
template <class T>
void subtract(T* y, const TargetOfRow<T>& target, double w) {
  const auto [t, places, count] = target;
  if (places)
    for (int64_t k = 0; k < count; ++k) y[places[k]] = T(double(y[places[k]]) - w * double(t[k]));
  else
    for (int64_t i = 0; i < count; ++i) y[i] = T(double(y[i]) - w * double(t[i]));
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
  group.run_softmax<T>();
  group.finish(
      [&](int at, vec<double>) INLINE_LAMBDA {
        return TargetLanes{load(below + at), load(mass + at), load(others + at), load(own + at)};
      },
      at_top);
  for (int i = 0; i < group.count && group.derives(); ++i) {
    T* y = group.gradient<T>(i);
    subtract(y, group.target<T>(i), group.weight[i]);
    y[top[i]] = T(at_top[i]);
  }
  group.leave_out<T>();
}

// The losses of a group and their sum.
template <class T>
double run_group(LossGroup& group) {
  if (group.softmax.n == 0)
    std::fill(group.loss, group.loss + group.count, 0.0);
  else
    group.job.labels ? label_losses<T>(group) : target_losses<T>(group);
  return group.deliver();
}

struct WidenedRows;

// Groups of 16-bit slices as rows of floats in a scratch buffer, in place of the logits and the
// gradient.
template <class D>
class WidenedLosses {
  const LossJob& job_;
  LossJob wide_;

 public:
  explicit WidenedLosses(const LossJob& job) : job_(job), wide_(job) {
    Job& rows = wide_.softmax;
    rows.dtype = DType::f32;
    rows.dims = 1;
    rows.fetch_ahead = rows.fetch_results = false;
    if (rows.traversal != Traversal::short_rows)
      rows.traversal = rows.n <= kBatchRow ? Traversal::batches : Traversal::rows;
    for (Operand* operand : {&rows.x, &rows.y}) {
      operand->along = sizeof(float);
      operand->stride[0] = rows.n * int64_t(sizeof(float));
    }
  }

  int64_t at_once(int64_t bundle) const {
    return job_.softmax.traversal == Traversal::short_rows ? bundle : kBatch;
  }

  double run(int64_t first, int count) {
    const Job& softmax = job_.softmax;
    const int64_t n = softmax.n;
    float* rows = scratch<float, WidenedRows>(count * n + 1);
    for (int i = 0; i < count; ++i)
      gather<D>(start_of(softmax, softmax.x, first + i), softmax.x.along, n, rows + i * n);
    wide_.softmax.shape[0] = count;
    wide_.softmax.x.data = wide_.softmax.y.data = (char*)rows;
    if (job_.labels) wide_.labels = job_.labels + first;
    if (job_.starts)
      wide_.starts = job_.starts + first;
    else if (job_.targets)
      wide_.targets = job_.targets + first * n * int64_t(sizeof(float));
    if (job_.weights) wide_.weights = job_.weights + first;
    if (job_.loss) wide_.loss = job_.loss + first;
    LossGroup group(wide_, wide_.softmax, 0, count);
    const double sum = run_group<float>(group);
    if (group.derives())
      for (int i = 0; i < count; ++i)
        scatter<D>(rows + i * n, n, start_of(softmax, softmax.y, first + i), softmax.y.along);
    return sum;
  }
};

template <class T>
class Losses {
  const LossJob& job_;
  Job softmax_;

 public:
  explicit Losses(const LossJob& job) : job_(job), softmax_(job.softmax) {}

  // How many slices of a bundle at a time: no more than what is fetched ahead, as entries of labels
  // are looked up before all others.
  int64_t at_once(int64_t bundle) const {
    const bool turned = softmax_.traversal == Traversal::short_rows;
    return turned ? short_tile<T>(softmax_.n) : bundle;
  }

  double run(int64_t first, int count) {
    LossGroup group(job_, softmax_, first, count);
    return run_group<T>(group);
  }
};

template <class D, class T>
void run_losses(const LossJob& job, int64_t begin, int64_t end) {
  std::conditional_t<std::is_same_v<D, T>, Losses<T>, WidenedLosses<D>> losses(job);
  for (int64_t i = begin; i < end; ++i) {
    const auto [first, count] = job.softmax.bundle_at(i);
    const int64_t most = losses.at_once(count);
    double sum = 0;
    for (int64_t at = 0; at < count; at += most)
      sum += losses.run(first + at, int(std::min(most, count - at)));
    if (job.sums) job.sums[i] = sum;
  }
}
