// Cross-entropy against labels.

// Whether all are less than `classes`; if `counts`, also not negative.  Without branches, several
// at once.
inline bool are_classes(const int64_t* labels, int64_t count, int64_t classes, bool counts) {
  int64_t below = -1, negative = 0;
  for (int64_t i = 0; i < count; ++i) {
    below &= int64_t(uint64_t(labels[i]) - uint64_t(classes));
    negative |= labels[i];
  }
  return below < 0 && !(counts && negative < 0);
}

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

// What labels make of a target, from how far their entries are below the largest.
INLINE TargetLanes label_target(vec<double> below) {
  return {below, splat(1.0), splat(0.0), splat(1.0)};
}
INLINE vec<double> below_largest(vec<double> entry, vec<double> max) {
  return entry == max ? splat(0.0) : max - entry;
}

// A label's gradient from its probability times weight, w.
INLINE vec<double> label_gradient(vec<double> p, vec<double> w, vec<double> below,
                                  vec<double> at_largest) {
  return below == 0 ? at_largest : p - w;
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
    slices.finish(
        [&](int j, vec<double> max) INLINE_LAMBDA {
          const int at = j * kWidth<double>;
          const vec<double> gap = below_largest(load_wide(entry + at), max);
          store(below + at, gap);
          return label_target(gap);
        },
        at_top);
  }

  // From the labels' probabilities times weights to their gradient.
  void mend() {
    for (int at = 0; at < slices.count; at += kWidth<double>)
      store_narrow(entry + at, label_gradient(load_wide(entry + at), load(slices.weight + at),
                                              load(below + at), load(at_top + at)));
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

// What the labels of vector k of a tile, whose entries are `own`, make of its losses, which it
// stores, and of the gradient there.
template <class T>
struct LabelLanes {
  static constexpr int H = kWide<T, 1>;

  ScaleLanes<T> scale;
  vec<double> weight[H], below[H], at_largest[H];

  template <int K>
  INLINE LabelLanes(const LossGroup& slices, const SliceLanes<T, K, false>& lanes, int k,
                    vec<T> own) {
    const double z_loss = slices.job.z_loss;
    NoteLanes known[H];
    vec<double> reciprocal[H], entry[H], factor[H];
    lanes.known(k, known, reciprocal);
    widen(single<T>(own), entry);
    for (int h = 0; h < H; ++h) {
      const int j = k * H + h;
      weight[h] = load(slices.weight + j * kWidth<double>);
      below[h] = below_largest(entry[h], known[h].max);
      const TargetLanes target = label_target(below[h]);
      slices.store_losses(j, known[h], target, weight[h]);
      at_largest[h] = slices.at_largest(known[h], target, weight[h]);
      factor[h] = z_loss == 0 ? weight[h] : weight[h] * z_factor(z_loss, known[h]);
    }
    scale = lanes.scale(k, reciprocal, factor);
  }

  // From the labels' scaled exponentials.
  INLINE vec<T> gradient(vec<T> e) const {
    group<T, 1> result;
    vec<double> p[H];
    widen(single<T>(scale(e)), p);
    for (int h = 0; h < H; ++h) p[h] = label_gradient(p[h], weight[h], below[h], at_largest[h]);
    narrowed(p, result);
    return result.v[0];
  }
};

// Rows whose labels are looked for in the lanes of a tile; false, and nothing written, if one is
// out of the ordinary.  With `outgoing` gradients are left in its room, to be taken.
template <int K, class T>
bool turned_label_losses(const LossGroup& slices, OutgoingTile<T>* outgoing) {
  constexpr int W = kWidth<T>, columns = K * W;
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
  TurnedRows<T> rows = {turned, n, x, y, turned, {}};
  rows.meanwhile = beside_tile<K>(softmax, first, lanes.count, outgoing ? nullptr : y);
  if (outgoing) rows.meanwhile.outgoing = outgoing->lines();
  sum_columns<true, false>(rows, lanes);
  lanes.correct();
  if (!lanes.show_others() && !sum_others(entries_again(rows, lanes), lanes)) return false;
  if (!slices.derives()) {
    EACH LabelLanes<T>(slices, lanes, k, own.v[k]);
    return true;
  }
  const group<T, K> e = exp_scaled<false, false>(own, lanes.frame);
  group<T, K> slope;
  ScaleLanes<T> scale[K];
  EACH {
    const LabelLanes<T> labelled(slices, lanes, k, own.v[k]);
    scale[k] = labelled.scale;
    slope.v[k] = labelled.gradient(e.v[k]);
  }
  if (outgoing) {
    outgoing->finish(columns * n);
    y = outgoing->room(y);
  }
  columns_to_rows(turned, columns, n, lanes.count, y, [&](int k) INLINE_LAMBDA {
    return [scale = scale[k], here = label[k], slope = slope.v[k]](int64_t j, vec<T> e)
               INLINE_LAMBDA {
                 const vec<T> p = scale(e);
                 return here == bits<T>(j) ? slope : p;
               };
  });
  return true;
}

// The same in as many vectors as rows of this length want; false also where it would not pay to
// look at all entries.
template <class T>
bool short_label_losses(const LossGroup& slices, OutgoingTile<T>* outgoing = nullptr) {
  constexpr int64_t longest = 64;
  const int64_t n = slices.softmax.n;
  if (slices.softmax.traversal != Traversal::short_rows || n > longest) return false;
  return vectors_of_tile(n) == 4 ? turned_label_losses<4>(slices, outgoing)
                                 : turned_label_losses<2>(slices, outgoing);
}

template <class T>
void label_losses(LossGroup& slices) {
  if (short_label_losses<T>(slices)) return;
  const Job& softmax = slices.softmax;
  LabelGroup<T> labelled(slices);
  const Operand &x = softmax.x, &y = softmax.y;
  labelled.look_up();
  slices.run_softmax<T>();
  labelled.finish();
  if (!slices.derives()) return;
  if (softmax.dims != 1 || y.along != x.along || y.stride[0] != x.stride[0])
    slices.find_labels(y, labelled.places);
  labelled.mend_at(y.data);
}
