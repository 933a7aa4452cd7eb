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

// How far the entries of labels are below the largest ones.
template <class T>
INLINE void gaps_of(vec<T> max, vec<T> own, vec<double>* below) {
  constexpr int H = kWide<T, 1>;
  vec<double> largest[H], entry[H];
  widen(single<T>(max), largest);
  widen(single<T>(own), entry);
  for (int h = 0; h < H; ++h)
    below[h] = entry[h] == largest[h] ? splat(0.0) : largest[h] - entry[h];
}

// exp(-gap), as exponentials are scaled in a frame around zero, but for what rounding takes from
// the gap: less than a third of a unit of p - 1.  -1 for the largest entries.
template <class T, int K>
INLINE group<T, K> exp_of_gaps(const group<T, K>& max, const group<T, K>& own) {
  State unit;
  const Frame<T> frame = frame_around(T(0), Inverse<T>(), unit);
  group<T, K> down;
  EACH down.v[k] = own.v[k] - max.v[k];
  group<T, K> e = exp_scaled<false, false>(down, frame);
  EACH e.v[k] = own.v[k] == max.v[k] ? splat(T(-1)) : e.v[k];
  return e;
}

// The same with what rounding took, for other targets.
template <class T>
INLINE vec<T> refined(vec<T> e, vec<T> max, vec<T> own) {
  vec<T> down, lost;
  two_sum(own, -max, down, lost);
  return lost - lost == 0 ? fma(lost, e, e) : e;
}

struct SlopeAt {
  vec<double> weight, factor, largest;
};

// The gradients at labels whose exp_of_gaps this is, p - t times the weight.  Of a plain label that
// is p - 1, next to which the rounding of p is small: where p is more than a half the label is the
// largest entry, and the difference known.  `at` gives the weights times t, what makes gradients of
// the exponentials, and the gradient at largest entries.
template <class T, class F>
INLINE vec<T> label_slopes(vec<T> e, F at) {
  constexpr int H = kWide<T, 1>;
  using C = exp_constants<T>;
  const vec<double> unscale = splat(power_of_two(-C::headroom) / C::unit);
  vec<double> p[H];
  group<T, 1> slope;
  widen(single<T>(e), p);
  for (int h = 0; h < H; ++h) {
    const auto [w, factor, largest] = at(h, p[h]);
    p[h] = p[h] < 0 ? largest : fma(p[h] * unscale, factor, -w);
  }
  narrowed(p, slope);
  return slope.v[0] == slope.v[0] ? slope.v[0] : splat(std::numeric_limits<T>::quiet_NaN());
}

// Stores or adds up the losses of vector k of the slices, of which this is known, from their
// labels' entries; gives the gradient of those, whose exp_of_gaps is e.
template <class T>
INLINE vec<T> take_labels(const LossGroup& slices, int k, const NoteLanes* known, vec<T> max,
                          vec<T> own, vec<T> e) {
  constexpr int H = kWide<T, 1>;
  vec<double> below[H];
  gaps_of<T>(max, own, below);
  for (int h = 0; h < H; ++h) {
    const int j = k * H + h;
    if (slices.added)
      slices.added->add(j, below[h], known[h], slices.count - j * kWidth<double>);
    else
      slices.store_losses(j, known[h], slices.label_target(j, below[h]), slices.weights(j));
  }
  if (!slices.derives()) return e;
  if (slices.job.smoothing != 0 || slices.job.z_loss != 0) e = refined<T>(e, max, own);
  return label_slopes<T>(e, [&](int h, vec<double> p) INLINE_LAMBDA {
    const int j = k * H + h;
    const TargetLanes t = slices.label_target(j, below[h]);
    const vec<double> w = slices.weights(j), factor = known[h].top * slices.factors(j, known[h]);
    // Where nothing is left of p an infinite factor makes no difference.
    return SlopeAt{w * t.own, p == 0 ? known[h].top : factor, slices.at_largest(known[h], t, w)};
  });
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
      vec<double> largest[H];
      group<T, 1> max;
      for (int h = 0; h < H; ++h) {
        known[h] = slices.known(k * H + h);
        largest[h] = known[h].max;
      }
      narrowed(largest, max);
      const group<T, 1> own = single<T>(load(entry + k * W));
      const vec<T> e = exp_of_gaps<T>(max, own).v[0];
      store(entry + k * W, take_labels<T>(slices, k, known, max.v[0], own.v[0], e));
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

// Of a tile whose sums are known: what makes gradients of its exponentials, and the gradients at
// labels, whose logits are `own`, with exp_of_gaps e.
template <int K, class T>
struct LabelledTile {
  static constexpr int H = kWide<T, 1>;
  static_assert(sizeof(T) == 8 || K * kWidth<T> % 8 == 0);  // see AddedLosses

  ScaleLanes<T> scale[K];
  group<T, K> slope;

  // Stores or adds up the losses.
  INLINE void take(const LossGroup& slices, const SliceLanes<T, K, false>& lanes,
                   const group<T, K>& own, const group<T, K>& e) {
    EACH {
      NoteLanes known[H];
      vec<double> reciprocal[H], factor[H];
      lanes.known(k, known, reciprocal);
      slope.v[k] = take_labels<T>(slices, k, known, lanes.max.v[k], own.v[k], e.v[k]);
      if (!slices.derives()) continue;
      for (int h = 0; h < H; ++h) factor[h] = slices.factors(k * H + h, known[h]);
      if (slices.notes.one_part) {
        for (int h = 0; h < H; ++h) factor[h] = reciprocal[h] * factor[h];
        scale[k] = lanes.scale_in_one_part(factor);
      } else {
        scale[k] = lanes.scale(k, reciprocal, factor);
      }
    }
  }

  // The same of a whole tile whose losses are added up and whose others show.
  INLINE void take_together(const LossGroup& slices, const SliceLanes<T, K, false>& lanes,
                            const group<T, K>& own, const group<T, K>& e) {
    const vec<double> w = splat(slices.job.scale);
    AddedLosses added = *slices.added;
    EACH {
      vec<double> reciprocal[H], whole[H], top[H], below[H];
      gaps_of<T>(lanes.max.v[k], own.v[k], below);
      for (int h = 0; h < H; ++h) {
        const int j = k * H + h;
        reciprocal[h] = 1 / lanes.sum[j];
        whole[h] = reciprocal[h] * w;
        top[h] = lanes.top[j] * reciprocal[h];
        added.add(j, below[h], top[h]);
      }
      if (!slices.derives()) continue;
      slope.v[k] = label_slopes<T>(e.v[k], [&](int h, vec<double>) INLINE_LAMBDA {
        const int j = k * H + h;
        return SlopeAt{w, top[h] * w, (lanes.top[j] - lanes.sum[j]) * reciprocal[h] * w};
      });
      scale[k] = lanes.scale_in_one_part(whole);
    }
    *slices.added = added;
  }
};

// Labels of the shortest rows are looked for in the lanes of their tile.
template <int K>
constexpr bool kLooksForLabels = K == vectors_of_tile(1);

// The places in such a row, to be compared from memory, which is quicker than from a scalar
// register.
template <class T>
struct PlacesOfRow {
  bits<T> at[kShortest];

  constexpr PlacesOfRow() : at() {
    for (int64_t i = 0; i < kShortest; ++i) at[i] = bits<T>(i);
  }
};
template <class T>
constexpr PlacesOfRow<T> kPlacesOfRow;

// Rows at x as a tile; false, and nothing written, if one is out of the ordinary.  `entry` has the
// logits of labels, and receives their gradients, where they are not looked for.  With `outgoing`
// gradients are left in its room, to be taken.
template <int K, class T>
bool turned_label_losses(const LossGroup& slices, const T* x, T* y, T* entry,
                         OutgoingTile<T>* outgoing) {
  constexpr int W = kWidth<T>, columns = K * W;
  constexpr bool looks = kLooksForLabels<K>;
  const Job& softmax = slices.softmax;
  const int64_t n = softmax.n, first = slices.first;
  T* turned = scratch<T, Turned>(columns * n);
  SliceLanes<T, K, false> lanes;
  lanes.count = slices.count;
  if (!turn(softmax, x, first, turned, lanes) || lanes.adjusted) return false;
  vec<bits<T>> label[K] = {};
  group<T, K> own;
  if constexpr (looks) {
    slices.fetch_labels();
    EACH label[k] = labels_of<T>(slices, k), own.v[k] = splat(T(0));
    for (int64_t j = 0; j < n; ++j) {
      const vec<bits<T>> place = splat(kPlacesOfRow<T>.at[j]);
      EACH own.v[k] = label[k] == place ? load(turned + j * columns + k * W) : own.v[k];
    }
  } else {
    EACH own.v[k] = load(entry + k * W);
  }
  // Before they are needed, beside what does not wait for them.
  const group<T, K> e = exp_of_gaps<T>(lanes.max, own);
  TurnedRows<T> rows = {turned, n, x, y, turned, {}};
  rows.meanwhile = beside_tile<K, T>(
      softmax, first, lanes.count, outgoing || !y ? nullptr : start_of(softmax, softmax.y, first));
  if (outgoing) rows.outgoing = outgoing->lines();
  sum_columns<true, false>(rows, lanes);
  lanes.correct();
  if (!lanes.show_others() && !sum_others(entries_again(rows, lanes), lanes)) return false;
  LabelledTile<K, T> tile;
  const bool together = slices.added && lanes.count == columns && !lanes.apart;
  if constexpr (sizeof(T) == 4)
    if (together) tile.take_together(slices, lanes, own, e);
  if (!together) tile.take(slices, lanes, own, e);
  if (!slices.derives()) return true;
  if (outgoing) {
    outgoing->finish(columns * n);
    y = outgoing->room(y);
  }
  const auto write = [&](auto one_part) INLINE_LAMBDA {
    columns_to_rows(turned, columns, n, lanes.count, y, [&](int k) INLINE_LAMBDA {
      return [scale = tile.scale[k], here = label[k], slope = tile.slope.v[k]](int64_t j, vec<T> e)
                 INLINE_LAMBDA {
                   const vec<T> p = decltype(one_part)::value ? e * scale.factor : scale(e);
                   return looks && here == splat(kPlacesOfRow<T>.at[j]) ? slope : p;
                 };
    });
  };
  // The products of SSE are rounded in their own way.
  if (sizeof(T) == 4 && SOFTMAX_LEVEL != 2 && slices.notes.one_part)
    write(std::true_type());
  else
    write(std::false_type());
  if (!looks) EACH store(entry + k * W, tile.slope.v[k]);
  return true;
}

// The same in as many vectors as rows of this length want; false also where it would not pay to
// turn them, and where labels are smoothed.
template <class D, class T = D>
bool short_label_losses(LossGroup& slices, OutgoingTile<T>* outgoing = nullptr) {
  constexpr bool widens = !std::is_same_v<D, T>;
  const Job& softmax = slices.softmax;
  const int64_t n = softmax.n, count = slices.count;
  if (softmax.traversal != Traversal::short_rows || n > kTurnedLabels || slices.job.smoothing != 0)
    return false;
  const bool slopes = slices.derives();
  LabelGroup<D, T> labelled(slices);
  const bool looks = n <= kShortest;
  if (!looks) labelled.look_up();
  const T* x =
      widens ? staged_rows<D, T>(softmax, slices.first, int(count)) : (const T*)slices.logits<D>(0);
  T* y = !slopes ? nullptr : widens ? scratch<T, Results>(count * n) : (T*)slices.gradient<D>(0);
  const bool done =
      looks ? turned_label_losses<vectors_of_tile(1)>(slices, x, y, labelled.entry, outgoing)
            : turned_label_losses<vectors_of_tile(kShortest + 1)>(slices, x, y, labelled.entry,
                                                                  outgoing);
  if (!done || !slopes) return done;
  if constexpr (widens) round_run(y, slices.gradient<D>(0), count * n);
  if (!looks)
    labelled.mend(outgoing ? (char*)outgoing->room(y) - slices.first * softmax.y.stride[0]
                           : softmax.y.data);
  return true;
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
  if (y.along != x.along || !std::equal(x.stride, x.stride + softmax.dims, y.stride))
    slices.find_labels(y, labelled.places);
  labelled.mend(y.data);
}
