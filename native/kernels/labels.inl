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
template <class D, class T>
INLINE void gather_entries(const char* data, const int64_t* places, int count, T* entry) {
  _Pragma("GCC unroll 8") for (int i = 0; i < count; ++i) entry[i] =
      widened(*(const D*)(data + places[i]));
}
template <class D, class T>
INLINE void scatter_entries(char* data, const int64_t* places, int count, const T* entry) {
  _Pragma("GCC unroll 8") for (int i = 0; i < count; ++i)
      round_to(*(D*)(data + places[i]), entry[i]);
}

// Stores the losses of vector k of the slices, of which this is known, from their labels' entries;
// gives the gradient of those, p - t times the weight.  Of a plain label that is p - 1, next to
// which the rounding of p is small: where p is more than a half the label is the largest entry, and
// the difference known.
template <class T>
INLINE vec<T> take_labels(const LossGroup& slices, int k, const NoteLanes* known, vec<T> own) {
  constexpr int H = kWide<T, 1>;
  using C = exp_constants<T>;
  const double unscale = power_of_two(-C::headroom) / C::unit;
  const vec<double> none = splat(0.0), nan = splat(std::numeric_limits<double>::quiet_NaN());
  vec<double> entry[H], below[H], lost[H], rounded[H], p[H];
  widen(single<T>(own), entry);
  for (int h = 0; h < H; ++h) {
    const int j = k * H + h;
    two_sum(known[h].max, -entry[h], below[h], lost[h]);
    below[h] = entry[h] == known[h].max ? none : below[h];
    slices.store_losses(j, known[h], slices.label_target(j, below[h]), slices.weights(j));
  }
  if (!slices.derives()) return own;
  State unit;
  group<T, 1> gap, gradient;
  narrowed(below, gap);
  widen(gap, rounded);
  const Frame<T> frame = frame_around(T(0), Inverse<T>(), unit);
  widen(exp_scaled<false, false>(single<T>(-gap.v[0]), frame), p);
  for (int h = 0; h < H; ++h) {
    const NoteLanes& s = known[h];
    const int j = k * H + h;
    const TargetLanes t = slices.label_target(j, below[h]);
    const vec<double> w = slices.weights(j), rest = (below[h] - rounded[h]) + lost[h];
    const vec<double> share = p[h] * (1 - (rest - rest == 0 ? rest : none)) * unscale * s.top;
    // Where nothing is left of p an infinite factor makes no difference.
    const vec<double> slope = below[h] == 0
                                  ? slices.at_largest(s, t, w)
                                  : (share == 0 ? none : share * slices.factors(j, s)) - w * t.own;
    p[h] = slope == slope ? slope : nan;
  }
  narrowed(p, gradient);
  return gradient.v[0];
}

// A group with what its labels tell of each slice.
template <class D, class T>
struct LabelGroup {
  LossGroup& slices;
  alignas(64) T entry[kLossGroup];  // the logit of its label, later the gradient there
  alignas(64) int64_t places[kLossGroup];

  explicit LabelGroup(LossGroup& group) : slices(group) {}

  void look_up() {
    slices.fetch_labels();
    slices.find_labels(slices.softmax.x, places);
    gather_entries<D>(slices.softmax.x.data, places, slices.count, entry);
  }

  // From the labels' logits to the losses and their gradient.
  void finish() {
    constexpr int W = kWidth<T>, H = kWide<T, 1>;
    for (int k = 0; k * W < slices.count; ++k) {
      NoteLanes known[H];
      for (int h = 0; h < H; ++h) known[h] = slices.known(k * H + h);
      store(entry + k * W, take_labels<T>(slices, k, known, load(entry + k * W)));
    }
  }

  // The gradient at the labels' places from data.
  void mend(char* data) const { scatter_entries<D>(data, places, slices.count, entry); }
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
  vec<T> gradient;

  template <int K>
  INLINE LabelLanes(const LossGroup& slices, const SliceLanes<T, K, false>& lanes, int k,
                    vec<T> own) {
    NoteLanes known[H];
    vec<double> reciprocal[H], factor[H];
    lanes.known(k, known, reciprocal);
    gradient = take_labels<T>(slices, k, known, own);
    for (int h = 0; h < H; ++h) factor[h] = slices.factors(k * H + h, known[h]);
    scale = lanes.scale(k, reciprocal, factor);
  }
};

// Rows at x whose labels are looked for in the lanes of a tile; false, and nothing written, if one
// is out of the ordinary.  With `outgoing` gradients are left in its room, to be taken.
template <int K, class T>
bool turned_label_losses(const LossGroup& slices, const T* x, T* y, OutgoingTile<T>* outgoing) {
  constexpr int W = kWidth<T>, columns = K * W;
  const Job& softmax = slices.softmax;
  const int64_t n = softmax.n, first = slices.first;
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
  rows.meanwhile = beside_tile<K, T>(
      softmax, first, lanes.count, outgoing || !y ? nullptr : start_of(softmax, softmax.y, first));
  if (outgoing) rows.outgoing = outgoing->lines();
  sum_columns<true, false>(rows, lanes);
  lanes.correct();
  if (!lanes.show_others() && !sum_others(entries_again(rows, lanes), lanes)) return false;
  if (!slices.derives()) {
    EACH LabelLanes<T>(slices, lanes, k, own.v[k]);
    return true;
  }
  group<T, K> slope;
  ScaleLanes<T> scale[K];
  EACH {
    const LabelLanes<T> labelled(slices, lanes, k, own.v[k]);
    scale[k] = labelled.scale;
    slope.v[k] = labelled.gradient;
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
// look at all entries, and where labels are smoothed.
template <class D, class T = D>
bool short_label_losses(const LossGroup& slices, OutgoingTile<T>* outgoing = nullptr) {
  constexpr int64_t longest = 64;
  constexpr bool widens = !std::is_same_v<D, T>;
  const Job& softmax = slices.softmax;
  const int64_t n = softmax.n, count = slices.count;
  if (softmax.traversal != Traversal::short_rows || n > longest || slices.job.smoothing != 0)
    return false;
  const bool slopes = slices.derives();
  const T* x =
      widens ? staged_rows<D, T>(softmax, slices.first, int(count)) : (const T*)slices.logits<D>(0);
  T* y = !slopes ? nullptr : widens ? scratch<T, Results>(count * n) : (T*)slices.gradient<D>(0);
  const bool done = vectors_of_tile(n) == 4 ? turned_label_losses<4>(slices, x, y, outgoing)
                                            : turned_label_losses<2>(slices, x, y, outgoing);
  if constexpr (widens)
    if (done && slopes) round_run(y, slices.gradient<D>(0), count * n);
  return done;
}

template <class D, class T>
void label_losses(LossGroup& slices) {
  if (short_label_losses<D, T>(slices)) return;
  const Job& softmax = slices.softmax;
  LabelGroup<D, T> labelled(slices);
  const Operand &x = softmax.x, &y = softmax.y;
  labelled.look_up();
  if constexpr (std::is_same_v<D, T>)
    if (slices.job.smoothing != 0) find_gaps<T>(slices);
  slices.run_softmax<D, T>();
  labelled.finish();
  if (!slices.derives()) return;
  if constexpr (std::is_same_v<D, T>)
    if (slices.job.smoothing != 0) lower<T>(slices);
  if (softmax.dims != 1 || y.along != x.along || y.stride[0] != x.stride[0])
    slices.find_labels(y, labelled.places);
  labelled.mend(y.data);
}
