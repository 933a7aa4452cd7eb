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
  int64_t first;
  int count;
  bool all_count = true;  // no weight is 0
  SliceNotes notes;
  alignas(64) double max[kLossGroup], rest[kLossGroup], log_rest[kLossGroup], factor[kLossGroup],
      weight[kLossGroup];

  LossGroup(const LossJob& of, int64_t begin, int number) : job(of), first(begin), count(number) {
    for (int i = 0; i < count; ++i) {
      const bool counts = !job.labels || job.labels[first + i] >= 0;
      weight[i] = counts ? (job.weights ? job.weights[first + i] : 1) * job.scale : 0;
      all_count &= weight[i] != 0;
      factor[i] = weight[i];
    }
    const bool plain = !job.targets && !job.weights && job.scale == 1 && job.z_loss == 0;
    notes = {first, max, rest, log_rest, plain ? nullptr : factor, job.z_loss};
  }

  bool derives() const { return job.softmax.op == Op::softmax; }

  template <class T>
  const T* logits(int i) const {
    return (const T*)start_of(job.softmax, job.softmax.x, first + i);
  }
  template <class T>
  T* gradient(int i) const {
    return (T*)start_of(job.softmax, job.softmax.y, first + i);
  }

  template <class T>
  TargetOfRow<T> target(int i) const {
    const T* t = (const T*)job.targets;
    if (!job.starts) return {t + (first + i) * job.softmax.n, nullptr, job.softmax.n};
    const int64_t start = job.starts[first + i], end = job.starts[first + i + 1];
    return {t + start, job.places + start, end - start};
  }

  template <class T>
  void run_softmax() const {
    Job softmax = job.softmax;
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
      for (int64_t k = 0; k < job.softmax.n; ++k) *(T*)(y + k * job.softmax.y.along) = 0;
    }
  }
};

template <class T>
void label_losses(const LossGroup& group) {
  const Job& softmax = group.job.softmax;
  alignas(64) double at_label[kLossGroup], below[kLossGroup], at_top[kLossGroup];
  alignas(64) static constexpr auto none = filled(0), one = filled(1);
  const int64_t* labels = group.job.labels + group.first;
  for (int i = 0; i < group.count; ++i) {
    const int64_t label = labels[i] < 0 ? 0 : labels[i];
    at_label[i] = *(const T*)((const char*)group.logits<T>(i) + label * softmax.x.along);
  }
  group.run_softmax<T>();
  for (int i = 0; i < group.count; ++i)
    below[i] = at_label[i] == group.max[i] ? 0 : group.max[i] - at_label[i];
  group.finish(below, one.data(), none.data(), one.data(), at_top);
  if (group.derives())
    for (int i = 0; i < group.count; ++i) {
      const int64_t label = labels[i] < 0 ? 0 : labels[i];
      T& own = *(T*)((char*)group.gradient<T>(i) + label * softmax.y.along);
      const double other = double(own) - group.weight[i];
      own = T(at_label[i] == group.max[i] ? at_top[i] : other);
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
  const int64_t n = group.job.softmax.n;
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
  if (group.job.softmax.n == 0)
    std::fill(group.job.loss + group.first, group.job.loss + group.first + group.count, 0.0);
  else
    group.job.labels ? label_losses<T>(group) : target_losses<T>(group);
}

struct WidenedRows;

// 16-bit slices as rows of floats in a scratch buffer, in place of the logits and the gradient.
template <class D>
void run_widened(const LossJob& job, int64_t first, int count) {
  const Job& softmax = job.softmax;
  const int64_t n = softmax.n;
  float* rows = scratch<float, WidenedRows>(count * n + 1);
  for (int i = 0; i < count; ++i)
    gather<D>(start_of(softmax, softmax.x, first + i), softmax.x.along, n, rows + i * n);
  LossJob wide = job;
  wide.softmax.dtype = DType::f32;
  wide.softmax.dims = 1;
  wide.softmax.shape[0] = count;
  wide.softmax.fetch_ahead = false;
  if (softmax.traversal != Traversal::short_rows)
    wide.softmax.traversal = n <= kBatchRow ? Traversal::batches : Traversal::rows;
  for (Operand* operand : {&wide.softmax.x, &wide.softmax.y}) {
    operand->data = (char*)rows;
    operand->along = sizeof(float);
    operand->stride[0] = n * int64_t(sizeof(float));
  }
  if (wide.labels) wide.labels += first;
  if (wide.starts)
    wide.starts += first;
  else if (wide.targets)
    wide.targets += first * n * int64_t(sizeof(float));
  if (wide.weights) wide.weights += first;
  wide.loss += first;
  LossGroup group(wide, 0, count);
  run_group<float>(group);
  if (group.derives())
    for (int i = 0; i < count; ++i)
      scatter<D>(rows + i * n, n, start_of(softmax, softmax.y, first + i), softmax.y.along);
}

template <class D, class T>
void run_losses(const LossJob& job, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const auto [first, count] = job.softmax.bundle_at(i);
    if constexpr (std::is_same_v<D, T>) {
      LossGroup group(job, first, int(count));
      run_group<T>(group);
    } else {
      const int64_t most = job.softmax.traversal == Traversal::short_rows ? count : kBatch;
      for (int64_t at = 0; at < count; at += most)
        run_widened<D>(job, first + at, int(std::min(most, count - at)));
    }
  }
}
