// Cross-entropy against labels.

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

// A group with what its labels tell of each slice.
template <class T>
struct LabelGroup {
  LossGroup& slices;
  alignas(64) T entry[kLossGroup];        // the logit of its label, later the result there
  alignas(64) double below[kLossGroup];   // how far that is below the largest
  alignas(64) double at_top[kLossGroup];  // the gradient if it is not
  alignas(64) int64_t places[kLossGroup];

  explicit LabelGroup(LossGroup& group) : slices(group) {}

  void look_up() {
    slices.fetch_labels();
    slices.find_labels(slices.softmax.x, places);
    gather_entries(slices.softmax.x.data, places, slices.count, entry);
  }

  // From the labels' logits to the losses.
  void finish() {
    const vec<double> none = splat(0.0), one = splat(1.0);
    slices.finish(
        [&](int at, vec<double> max) INLINE_LAMBDA {
          const vec<double> own = load_wide(entry + at), gap = own == max ? none : max - own;
          store(below + at, gap);
          return TargetLanes{gap, one, none, one};
        },
        at_top);
  }

  // From the labels' probabilities times weights to their gradient.
  void mend() {
    const int count = slices.count;
    for (int at = 0; at < count; at += kWidth<double>) {
      const vec<double> p = load_wide(entry + at), other = p - load(slices.weight + at);
      store_narrow(entry + at, load(below + at) == 0 ? load(at_top + at) : other);
    }
  }

  // The same in results at places from data.
  void mend_at(char* data) {
    gather_entries(data, places, slices.count, entry);
    mend();
    scatter_entries(data, places, slices.count, entry);
  }
};

// The labels of vector k of the slices, as wide as their entries.
template <class T>
INLINE vec<bits<T>> labels_of(const LossGroup& slices, int k) {
  const int64_t* labels = slices.job.labels + slices.first;
  if constexpr (sizeof(T) == 8) {
    return load_lanes(labels, k, slices.count);
  } else {
    return low_halves(load_lanes(labels, 2 * k, slices.count),
                      load_lanes(labels, 2 * k + 1, slices.count));
  }
}

// Of the shortest rows, whose labels are looked for in the lanes of a tile; false, and nothing
// written, if one is out of the ordinary.
template <class T>
bool turned_label_losses(LabelGroup<T>& labelled) {
  constexpr int W = kWidth<T>, K = vectors_of_tile(1), columns = K * W;
  LossGroup& slices = labelled.slices;
  const Job& softmax = slices.softmax;
  const int64_t n = softmax.n, first = slices.first;
  const T* x = slices.template logits<T>(0);
  T* y = slices.derives() ? slices.template gradient<T>(0) : nullptr;
  T* turned = scratch<T, Turned>(columns * n);
  SliceLanes<T, K, false> lanes;
  lanes.count = slices.count;
  if (!turn(softmax, x, first, turned, lanes) || lanes.adjusted) return false;
  slices.fetch_labels();
  vec<bits<T>> label[K];
  group<T, K> own;
  EACH label[k] = labels_of<T>(slices, k), own.v[k] = splat(T(0));
  for (int64_t j = 0; j < n; ++j)
    EACH own.v[k] = label[k] == bits<T>(j) ? load(turned + j * columns + k * W) : own.v[k];
  const TurnedRows<T> rows = {turned, n,      x,
                              y,      turned, beside_tile<K>(softmax, first, lanes.count, y)};
  sum_columns<true, false>(rows, lanes);
  lanes.correct();
  if (!lanes.find_logarithms(true) && !sum_others(entries_again(rows, lanes), lanes)) return false;
  lanes.note(slices.notes, first);
  EACH store(labelled.entry + k * W, own.v[k]);
  if (!slices.derives()) {
    labelled.finish();
    return true;
  }
  const LaneScale<T, K> scale = lanes.scale(&slices.notes, first);
  labelled.finish();
  own = exp_scaled<false, false>(own, lanes.frame);
  EACH store(labelled.entry + k * W, scale.of(k, own.v[k]));
  labelled.mend();
  columns_to_rows(turned, columns, n, lanes.count, y,
                  [&](int r, int64_t j, vec<T> e) INLINE_LAMBDA {
                    const vec<T> p = scale.of(r / W, e);
                    return label[r / W] == bits<T>(j) ? load(labelled.entry + r) : p;
                  });
  return true;
}

template <class T>
void label_losses(LossGroup& slices) {
  LabelGroup<T> labelled(slices);
  const Job& softmax = slices.softmax;
  const bool shortest = softmax.traversal == Traversal::short_rows && softmax.n <= kShortest;
  if (shortest && turned_label_losses(labelled)) return;
  const Operand &x = softmax.x, &y = softmax.y;
  labelled.look_up();
  slices.run_softmax<T>();
  labelled.finish();
  if (!slices.derives()) return;
  if (softmax.dims != 1 || y.along != x.along || y.stride[0] != x.stride[0])
    slices.find_labels(y, labelled.places);
  labelled.mend_at(y.data);
}
