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

constexpr std::array<double, kLossGroup> filled(double value) {
  std::array<double, kLossGroup> array{};
  for (double& one : array) one = value;
  return array;
}

// The t of all entries of a row, or of those at some places.
template <class T>
struct TargetOfRow {
  const T* t;
  const int64_t* places;  // null for all
  int64_t count;
};

// What is known of each slice of a group.
struct LossGroup {
  const LossJob& job;
  Job& softmax;  // a copy of the job's that leaves its notes here
  int64_t first;
  int count;
  bool all_count = true;  // no weight is 0
  SliceNotes notes;
  alignas(64) double max[kLossGroup], rest[kLossGroup], log_rest[kLossGroup], factor[kLossGroup],
      weight[kLossGroup];

  LossGroup(const LossJob& of, Job& copy, int64_t begin, int number)
      : job(of), softmax(copy), first(begin), count(number) {
    vec<int64_t> left_out{};
    for (int j = 0; j * kWidth<double> < count; ++j) {
      vec<double> w = splat(job.scale);
      if (job.weights) w = w * load_lanes(job.weights + first, j, count);
      if (job.labels) w = load_lanes(job.labels + first, j, count) < 0 ? splat(0.0) : w;
      store(weight + j * kWidth<double>, w);
      left_out |= (w == 0) & first_lanes<double>(count - j * kWidth<double>);
    }
    all_count = !any_set<double>(left_out);
    const bool plain = !job.targets && !job.weights && job.scale == 1 && job.z_loss == 0;
    notes = {first, max, rest, log_rest, plain ? nullptr : weight, job.z_loss};
    if (!job.targets && job.z_loss == 0) return;
    std::copy(weight, weight + count, factor);  // which will change
    notes.factor = factor;
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
    const int64_t* labels = job.labels + first;
    const int64_t along = array.along;
    const int slices = count;
    for (int i = 0; i < slices; ++i) places[i] = std::max<int64_t>(labels[i], 0) * along;
    if (softmax.dims == 1) {
      const int64_t step = array.stride[0], begin = first * step;
      for (int i = 0; i < slices; ++i) places[i] += begin + i * step;
    } else {
      for (int i = 0; i < slices; ++i)
        places[i] += start_of(softmax, array, first + i) - array.data;
    }
  }

  template <class T>
  void run_softmax() const {
    softmax.notes = &notes;
    run_bundle<T, T>(softmax, first, count);
  }

  // From `below` and `mass`, the sums of t (max - x) and of t, to the losses; from `others` and
  // `own`, the sum of the other t and that of the largest entry, to its gradient.
  void finish(const double* below, const double* mass, const double* others, const double* own,
              double* at_top) const {
    for (int j = 0; j * kWidth<double> < count; ++j) {
      const int at = j * kWidth<double>;
      const vec<double> w = load(weight + at), r = load(rest + at), l = load(log_rest + at);
      const vec<double> m = load(mass + at);
      vec<double> loss = load(below + at) + m * l, pull = load(others + at);
      if (job.z_loss != 0) {
        const vec<double> logsumexp = load(max + at) + l;
        loss = loss + m * job.z_loss * logsumexp * logsumexp;
        pull = pull + m * 2 * job.z_loss * logsumexp;
      }
      store_lanes(job.loss + first, j, count, w * loss);
      store(at_top + at, w * (pull - load(own + at) * r) / (1 + r));
    }
  }

  // Slices of weight 0 count for nothing, whatever stands in them.
  template <class T>
  void leave_out() const {
    for (int i = 0; i < count && !all_count; ++i) {
      if (weight[i] != 0) continue;
      job.loss[first + i] = 0;
      if (!derives()) continue;
      char* y = (char*)gradient<T>(i);
      for (int64_t k = 0; k < softmax.n; ++k) *(T*)(y + k * softmax.y.along) = 0;
    }
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
void label_losses(const LossGroup& group) {
  alignas(64) T entry[kLossGroup];
  alignas(64) double below[kLossGroup], at_top[kLossGroup];
  alignas(64) static constexpr auto none = filled(0), one = filled(1);
  alignas(64) int64_t places[kLossGroup];
  const int count = group.count;
  const Job& softmax = group.softmax;
  const Operand &x = softmax.x, &y = softmax.y;
  group.find_labels(x, places);
  gather_entries(x.data, places, count, entry);
  group.run_softmax<T>();
  for (int i = 0; i < count; ++i)
    below[i] = entry[i] == group.max[i] ? 0 : group.max[i] - double(entry[i]);
  group.finish(below, one.data(), none.data(), one.data(), at_top);
  if (group.derives()) {
    if (softmax.dims != 1 || y.along != x.along || y.stride[0] != x.stride[0])
      group.find_labels(y, places);
    gather_entries(y.data, places, count, entry);
    for (int i = 0; i < count; ++i)
      entry[i] = T(below[i] == 0 ? at_top[i] : double(entry[i]) - group.weight[i]);
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
  group.finish(below, mass, others, own, at_top);
  for (int i = 0; i < group.count && group.derives(); ++i) {
    T* y = group.gradient<T>(i);
    subtract(y, group.target<T>(i), group.weight[i]);
    y[top[i]] = T(at_top[i]);
  }
  group.leave_out<T>();
}

template <class T>
void run_group(LossGroup& group) {
  if (group.softmax.n == 0)
    std::fill(group.job.loss + group.first, group.job.loss + group.first + group.count, 0.0);
  else
    group.job.labels ? label_losses<T>(group) : target_losses<T>(group);
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

  void run(int64_t first, int count) {
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
    wide_.loss = job_.loss + first;
    LossGroup group(wide_, wide_.softmax, 0, count);
    run_group<float>(group);
    if (group.derives())
      for (int i = 0; i < count; ++i)
        scatter<D>(rows + i * n, n, start_of(softmax, softmax.y, first + i), softmax.y.along);
  }
};

template <class D, class T>
void run_losses(const LossJob& job, int64_t begin, int64_t end) {
  if constexpr (std::is_same_v<D, T>) {
    Job softmax = job.softmax;
    for (int64_t i = begin; i < end; ++i) {
      const auto [first, count] = softmax.bundle_at(i);
      // No more than what is fetched ahead: entries of labels are looked up before all others.
      const int64_t most =
          softmax.traversal == Traversal::short_rows ? short_tile<T>(softmax.n) : count;
      for (int64_t at = 0; at < count; at += most) {
        LossGroup group(job, softmax, first + at, int(std::min(most, count - at)));
        run_group<T>(group);
      }
    }
  } else {
    WidenedLosses<D> losses(job);
    for (int64_t i = begin; i < end; ++i) {
      const auto [first, count] = job.softmax.bundle_at(i);
      const int64_t most = job.softmax.traversal == Traversal::short_rows ? count : kBatch;
      for (int64_t at = 0; at < count; at += most)
        losses.run(first + at, int(std::min(most, count - at)));
    }
  }
}
