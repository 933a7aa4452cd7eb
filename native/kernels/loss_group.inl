// Cross-entropy and its gradient: the softmax of a group of slices by whichever traversal serves
// them, with each slice's weight as a factor, then what the target changes, while the bundle is in
// the cache.
//
// The loss of a slice is log(1 + rest) + (max - x_label), never the difference of two large
// numbers; so is the gradient of a label that is the largest entry: minus the sum of the others.

template <class D, class T>
void run_bundle(const Job& job, int64_t first, int count);

// The largest bundle of slices.
constexpr int kLossGroup = kColumns;

// The longest rows whose losses are worked out a tile at a time.
constexpr int64_t kTurnedLabels = 64;

// Whether the slices of one of the job's arrays lie one behind the other.
template <class D>
bool rows_touch(const Job& job, const Operand& array) {
  constexpr int64_t item = sizeof(D);
  return job.dims == 1 && array.along == item && array.stride[0] == job.n * item;
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

// Whether losses go to AddedLosses: those of short floats, which all count alike, of which nothing
// but the sum is asked for.
inline bool takes_one_logarithm(const LossJob& job) {
  return job.sums && job.labels && job.all_count && job.smoothing == 0 && job.z_loss == 0 &&
         job.softmax.dtype != DType::f64 && job.softmax.n <= kTurnedLabels;
}

// The losses of a bundle, whose sum takes one logarithm, of a product, instead of one for each.
// In eight lanes on every instruction set: slice i goes to lane i mod 8.
struct AddedLosses {
  static constexpr int M = 8 / kWidth<double>;

  vec<double> below[M];  // sums of how far labels are below the largest entries
  vec<double> share[M];  // products of the probabilities of these

  INLINE AddedLosses() {
    for (int m = 0; m < M; ++m) below[m] = splat(0.0), share[m] = splat(1.0);
  }

  // Vector j of slices whose others show: then doubles tell enough of probabilities next to 1.
  INLINE void add(int j, vec<double> gap, vec<double> top) {
    below[j % M] = below[j % M] + gap;
    share[j % M] = share[j % M] * top;
  }
  // Vector j of any, of which so many lanes exist.
  INLINE void add(int j, vec<double> gap, const NoteLanes& slices, int lanes) {
    const vec<int64_t> exist = first_lanes<double>(lanes),
                       shows = slices.others > kTinyRest<float> * slices.top,
                       unknown = slices.others != slices.others;
    add(j, exist ? (shows | unknown ? gap : gap + slices.log_rest) : splat(0.0),
        exist & (shows | unknown) ? slices.top : splat(1.0));
  }

  template <class F>
  static INLINE vec<double> folded(const vec<double>* lanes, F f) {
    vec<double> v[M];
    for (int m = 0; m < M; ++m) v[m] = lanes[m];
    for (int half = M / 2; half >= 1; half /= 2)
      for (int m = 0; m < half; ++m) v[m] = f(v[m], v[m + half]);
    return v[0];
  }
};

// The sums of `count` bundles, at most as many as a vector has lanes.
INLINE void store_sums(const AddedLosses* added, int count, double scale, double* sums) {
  constexpr int W = kWidth<double>;
  const auto product = [](auto a, auto b) INLINE_LAMBDA { return a * b; };
  vec<double> below[W], share[W];
  for (int i = 0; i < W; ++i) {
    below[i] = AddedLosses::folded(added[i].below, kSum);
    share[i] = AddedLosses::folded(added[i].share, product);
  }
  const vec<double> log = log_of(fold_each(share, product), splat(0.0), splat(0.0));
  store_lanes(sums, 0, count, scale * (fold_each(below, kSum) - log));
}

// What is known of each slice of a group.
struct LossGroup {
  const LossJob& job;
  Job& softmax;  // the job's, which is told of the notes here
  int64_t first;
  int count;
  double* loss;           // receives their losses, or
  AddedLosses* added;     // what these are added to
  const double share;     // of a smoothed label, what each class has
  bool all_count = true;  // no weight is 0
  SliceNotes notes;
  alignas(64) double max[kLossGroup], log_rest[kLossGroup], top[kLossGroup], others[kLossGroup],
      factor[kLossGroup], weight[kLossGroup];
  // Where labels are smoothed, the sums of how far entries are below the largest, times `share`.
  alignas(64) double gaps[kLossGroup];

  LossGroup(LossJob& of, int64_t begin, int number, double* losses, AddedLosses* sums)
      : job(of),
        softmax(of.softmax),
        first(begin),
        count(number),
        loss(losses),
        added(takes_one_logarithm(of) ? sums : nullptr),
        share(of.smoothing == 0 ? 0 : of.smoothing / double(of.softmax.n)) {
    job.all_count ? std::fill(weight, weight + kLossGroup, job.scale) : weigh();
    const bool plain = !job.targets && !job.weights && job.scale == 1 && job.z_loss == 0;
    notes = {first, max, log_rest, top, others, plain ? nullptr : weight, job.z_loss, one_part()};
    if (!job.targets && job.z_loss == 0) return;
    std::copy(weight, weight + count, factor);  // which will change
    notes.factor = factor;
  }

  void weigh() {
    constexpr int W = kWidth<double>;
    vec<int64_t> left_out{};
    std::fill(weight, weight + kLossGroup, 0.0);
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
  // Whether gradients are exponentials times one float: of short rows, and not of weights, which
  // may be so small that too few digits would be left.
  bool one_part() const {
    return job.labels && !job.weights && job.smoothing == 0 && softmax.dtype != DType::f64 &&
           softmax.n <= kTurnedLabels;
  }

  template <class D>
  const D* logits(int i) const {
    return (const D*)start_of(softmax, softmax.x, first + i);
  }
  template <class D>
  D* gradient(int i) const {
    return (D*)start_of(softmax, softmax.y, first + i);
  }

  // Whether what gradients lose can be taken from all at once, as if they were one row: what weighs
  // nothing is left out later.
  template <class D>
  bool lose_alike() const {
    return !job.weights && !job.starts && rows_touch<D>(softmax, softmax.y);
  }

  template <class T>
  TargetOfRow<T> target(int i) const {
    const T* t = (const T*)job.targets;
    if (!job.starts) return {t + (first + i) * softmax.n, nullptr, softmax.n};
    const int64_t start = job.starts[first + i], end = job.starts[first + i + 1];
    return {t + start, job.places + start, end - start};
  }

  // Those of the next group.
  INLINE void fetch_labels() const {
    fetch_lines<false, 3>(job.labels + first + count, count * int64_t(sizeof(int64_t)));
  }

  // Where the entry of each slice's label is in x or y, in bytes from the first of all.
  INLINE void find_labels(const Operand& array, int64_t* places) const {
    constexpr int W = kWidth<double>;
    const vec<int64_t> along = splat(array.along), step = splat(array.stride[0]);
    vec<int64_t> slice = lane_numbers<double>() + first;
    for (int j = 0; j * W < count; ++j, slice += W) {
      const vec<int64_t> label = load_lanes(job.labels + first, j, count);
      const vec<int64_t> place = (label > 0 ? label : vec<int64_t>{}) * along;
      store(places + j * W, softmax.dims == 1 ? place + slice * step : place);
    }
    for (int i = 0; i < count && softmax.dims != 1; ++i)
      places[i] += start_of(softmax, array, first + i) - array.data;
  }

  template <class D, class T>
  void run_softmax() const {
    softmax.notes = &notes;
    run_bundle<D, T>(softmax, first, count);
  }

  // What is known of vector j of the slices, and their weights.
  INLINE NoteLanes known(int j) const {
    const int at = j * kWidth<double>;
    return {load(max + at), load(log_rest + at), load(top + at), load(others + at)};
  }
  INLINE vec<double> weights(int j) const { return load(weight + j * kWidth<double>); }

  // What multiplies their probabilities.
  INLINE vec<double> factors(int j, const NoteLanes& s) const {
    return job.z_loss == 0 ? weights(j) : weights(j) * z_factor(job.z_loss, s);
  }

  // What labels make of the targets of vector j, from how far their entries are below the largest.
  INLINE TargetLanes label_target(int j, vec<double> below) const {
    if (job.smoothing == 0) return {below, splat(1.0), splat(0.0), splat(1.0)};
    const double rest = 1 - job.smoothing;
    // A term with factor 0 is 0, whatever its logit.
    const vec<double> at_label = rest > 0 ? rest * below : splat(0.0),
                      all = load(gaps + j * kWidth<double>);
    return {at_label + all, splat(1.0), splat(job.smoothing - share), splat(rest + share)};
  }

  // The losses of vector j, whose weights are w.
  INLINE void store_losses(int j, const NoteLanes& s, const TargetLanes& t, vec<double> w) const {
    vec<double> each = t.below + t.mass * s.log_rest;
    if (job.z_loss != 0) {
      const vec<double> logsumexp = s.max + s.log_rest;
      each = each + t.mass * job.z_loss * logsumexp * logsumexp;
    }
    store_lanes(loss, j, count, w * each);
  }

  // The gradient of its largest entries.
  INLINE vec<double> at_largest(const NoteLanes& s, const TargetLanes& t, vec<double> w) const {
    vec<double> pull = t.others;
    if (job.z_loss != 0) pull = pull + t.mass * 2 * job.z_loss * (s.max + s.log_rest);
    return w * (pull * s.top - t.own * s.others);
  }

  // Slices of weight 0 count for nothing, whatever stands in them.
  template <class D>
  void leave_out() {
    for (int i = 0; i < count && !all_count; ++i) {
      if (weight[i] != 0) continue;
      loss[i] = 0;
      if (!derives()) continue;
      char* y = (char*)gradient<D>(i);
      for (int64_t k = 0; k < softmax.n; ++k) *(D*)(y + k * softmax.y.along) = D{};
    }
  }
};
