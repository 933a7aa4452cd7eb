// The strip traversals: slices side by side, one to a lane, with what stands beside their entries.
// Contiguous slices of a few entries are transposed into a strip and back; where slices are
// neighbours in memory their entries are copied.  The sums are those of rows (weighing.inl), so
// that a slice has the same bits in either; those out of the ordinary are left to the rows.

struct StripEntries;
struct StripBeside;
struct StripRows;

// A strip has one vector of entries to a line, and an even number of lines.
INLINE int64_t lines_of(int64_t n) { return (n + 1) / 2 * 2; }

// What to fetch while a strip is weighed, a line of each with each line of the strip.
struct StripAhead {
  const char *x = nullptr, *beside = nullptr, *result = nullptr;
  int64_t x_step, beside_step, result_step;

  INLINE void operator()(int64_t i, int count) const {
    if (!x) return;
    for (int64_t line = i; line < i + count; ++line) {
      __builtin_prefetch(x + line * x_step, 0, 2);
      __builtin_prefetch(beside + line * beside_step, 0, 2);
      if (result) __builtin_prefetch(result + line * result_step, 1, 2);
    }
  }
};

// Slices side by side, and what is known of each; M vectors of double to a line.
template <class T, bool Tempered>
struct Strip {
  static constexpr int W = kWidth<T>, M = kWide<T, 1>;

  const Job& job;
  int64_t first;
  int count;  // lanes that exist
  int64_t lines;
  T* x;
  StripAhead ahead;
  vec<T> max{}, reference{};
  vec<double> inverse[M]{}, inverse_lo[M]{};
  vec<int64_t> ordinary[M]{};  // slices whose results hold

  void find_max() {
    max = splat(-std::numeric_limits<T>::infinity());
    for (int64_t i = 0; i < lines; ++i) max = larger(load(x + i * W), max);
    find_temperatures();
  }

  // The first of the largest entries, and what stands beside it.
  void find_max(const T* c) {
    max = splat(-std::numeric_limits<T>::infinity());
    reference = splat(T(0));
    for (int64_t i = 0; i < lines; ++i) {
      const vec<T> v = load(x + i * W);
      const auto above = v > max;
      max = above ? v : max;
      reference = above ? load(c + i * W) : reference;
    }
    find_temperatures();
  }

  void find_temperatures() {
    vec<double> wide[M];
    widen(single<T>(max), wide);
    for (int m = 0; m < M; ++m) {
      inverse[m] = splat(1.0);
      inverse_lo[m] = splat(0.0);
      ordinary[m] = wide[m] - wide[m] == splat(0.0);
    }
    if constexpr (Tempered)
      for (int r = 0; r < count; ++r) {
        const int m = r / kWidth<double>, lane = r % kWidth<double>;
        const double temperature = slice_at(job, first + r).temperature;
        if (is_limit(temperature)) {
          ordinary[m][lane] = 0;
          continue;
        }
        const Inverse<double> one = Inverse<double>::of(temperature);
        inverse[m][lane] = one.hi;
        inverse_lo[m][lane] = one.lo;
      }
  }

  // What makes the m-th vector of a line into exponentials, those of rows (see `with_exponent`).
  template <bool Relative>
  auto exponent(int m) {
    if constexpr (sizeof(T) == 4) {
      vec<double> wide[M];
      widen(single<T>(max), wide);
      const Exponent<float, !Relative, false> exponent(wide[m], inverse[m]);
      if constexpr (!exponent.subtracts)
        ordinary[m] &= absolute<double>(wide[m] * exponent.scale) < splat(exponent.direct);
      return exponent;
    } else {
      // Beyond `direct` a frame would be shifted: the rows have such.
      const vec<double> z = max * inverse[m];
      constexpr double direct = exp_constants<double>::direct;
      const vec<int64_t> near = (z > -direct) & (z < direct);
      ordinary[m] &= near;
      SliceLanes<double, 1, Tempered> lanes;
      lanes.count = W;
      lanes.max = single<T>(near ? max : splat(0.0));
      lanes.frame.inverse = single<T>(inverse[m]);
      lanes.frame.inverse_lo = single<T>(inverse_lo[m]);
      lanes.find_frames();
      return Exponent<double, false, Tempered>{lanes.frame};
    }
  }

  // The sums of the m-th vector of each line.
  template <bool Relative, class Exponent, class C>
  INLINE Weights<vec<double>> weigh_part(const Exponent& exponent, int m, const C* c, double* kept,
                                         vec<double> from) {
    constexpr int V = kWidth<double>, half = kWeighed / 2;
    static_assert(half == kStride);
    const int at = m * V;
    // One half of the sums after the other: all do not fit in the registers.
    Weighed<T, half, Relative> sums, more;
    const StripAhead next = m == 0 ? ahead : StripAhead();
    constexpr int P = kParts<T>, kept_step = P * V;
    weigh<P>(exponent, x + at, c + at, lines, W, kept, kept_step, from, sums, 0, kWeighed, next);
    weigh<P>(exponent, x + at, c + at, lines, W, kept, kept_step, from, more, half, kWeighed, next);
    return sums.total_with(more);
  }

  // Each slice's results in the place of its entries.
  void derive(const T* c) {
    const int64_t step = kParts<T> * kWidth<double>, room = lines * step;
    double* kept = scratch<double, Exponentials>(M * room);
    find_max(c);
    vec<double> from[M];
    widen(single<T>(reference), from);
    Slopes slopes[M];
    for (int m = 0; m < M; ++m) {
      const Weights<vec<double>> w =
          weigh_part<true>(exponent<true>(m), m, c, kept + m * room, from[m]);
      ordinary[m] &= (w.sum - w.sum == splat(0.0)) & (w.along - w.along == splat(0.0));
      slopes[m] = slopes_of<T>(w, from[m], inverse[m], inverse_lo[m]);
    }
    for (int m = 0; m < M; ++m) {
      const int at = m * kWidth<double>;
      write_slopes<false, kParts<T>, T>(kept + m * room, c + at, x + at, lines, W, slopes[m]);
    }
  }

  bool all_ordinary() const {
    vec<int64_t> all = ordinary[0];
    for (int m = 1; m < M; ++m) all &= ordinary[m];
    return all_of<double>(all, kWidth<double>);
  }
  bool is_ordinary(int r) const { return ordinary[r / kWidth<double>][r % kWidth<double>] != 0; }
};

// Fills lines with contiguous slices, `count` of them; `pad` stands behind the last entry.
template <class D, class T>
void slices_to_lines(const char* p, int64_t step, int64_t along, int64_t n, int count, T* lines,
                     int width, T pad) {
  const T* rows = (const T*)p;
  if (!std::is_same_v<D, T> || step != n * int64_t(sizeof(D)) || along != int64_t(sizeof(D))) {
    T* staged = scratch<T, StripRows>(width * n);
    for (int r = 0; r < count; ++r) gather<D>(p + r * step, along, n, staged + r * n);
    rows = staged;
  }
  rows_to_columns(rows, n, count, lines, width, [](int, vec<T>) INLINE_LAMBDA {});
  std::fill(lines + n * width, lines + lines_of(n) * width, pad);
}

// One line of each of several strips, `room` elements from one strip to the next.
template <class D, class T>
INLINE void read_line(const char* p, int count, T* line, int width, int64_t room) {
  constexpr int W = kWidth<T>;
  for (int at = 0; at < count; at += W) {
    T* to = line + at / width * room + at % width;
    const int here = std::min(count - at, W);
    if constexpr (std::is_same_v<D, T>)
      store(to,
            here == W ? load((const T*)p + at) : load_first((const T*)p + at, here, splat(T(0))));
    else
      widen_run((const D*)p + at, to, here);
  }
}
template <class D, class T>
INLINE void write_line(const T* line, int64_t room, int count, bool streams, char* p) {
  constexpr int W = kWidth<T>;
  for (int at = 0; at < count; at += W, line += room) {
    const int here = std::min(count - at, W);
    if constexpr (!std::is_same_v<D, T>)
      round_run(line, (D*)p + at, here);
    else if (here < W)
      store_first((T*)p + at, here, load(line));
    else if (streams)
      stream((T*)p + at, load(line));
    else
      store((T*)p + at, load(line));
  }
}

template <class D, class T>
void neighbours_to_lines(const char* p, int64_t along, int64_t n, int count, T* lines, int width,
                         T pad, bool fits) {
  const int64_t room = lines_of(n) * width;
  for (int64_t i = 0; i < n; ++i, p += along) {
    fetch_entries(p + kRowsAhead * along, count * int64_t(sizeof(D)), fits);
    read_line<D>(p, count, lines + i * width, width, room);
  }
  for (int s = 0; s * width < count; ++s)
    std::fill(lines + s * room + n * width, lines + (s + 1) * room, pad);
}

// The entries of slices first .. first + count - 1, or what stands beside them, as strips.
template <class D, class T>
void read_strips(const Job& job, const Operand& operand, const char* p, int count, int width,
                 T* lines, T pad) {
  if (job.traversal == Traversal::column_strips)
    neighbours_to_lines<D>(p, operand.along, job.n, count, lines, width, pad,
                           rows_fit<D>(count, job.room));
  else
    slices_to_lines<D>(p, operand.stride[job.dims - 1], operand.along, job.n, count, lines, width,
                       pad);
}

template <class D, class T>
void write_strips(const Job& job, const Slice& slice, int count, const T* lines) {
  constexpr int W = kWidth<T>;
  const int64_t n = job.n, step = job.y.stride[job.dims - 1];
  const auto as_it_is = [](int) INLINE_LAMBDA {
    return [](int64_t, vec<T> v) INLINE_LAMBDA { return v; };
  };
  if (job.traversal == Traversal::column_strips) {
    const bool streams = job.stream && (uintptr_t(slice.y) | uintptr_t(job.y.along)) % 64 == 0;
    for (int64_t i = 0; i < n; ++i)
      write_line<D>(lines + i * W, lines_of(n) * W, count, streams, slice.y + i * job.y.along);
  } else if (std::is_same_v<D, T> && step == n * int64_t(sizeof(D))) {
    columns_to_rows(lines, W, n, count, (T*)slice.y, as_it_is);
  } else {
    T* rows = scratch<T, StripRows>(W * n);
    columns_to_rows(lines, W, n, count, rows, as_it_is);
    for (int r = 0; r < count; ++r) scatter<D>(rows + r * n, n, slice.y + r * step, job.y.along);
  }
}

// The strip that comes as much later as many slices are read at once, and where results go.
INLINE StripAhead ahead_of_strip(const Job& job, const Slice& slice, int64_t first, int at,
                                 int count) {
  StripAhead ahead;
  if (!job.fetch_ahead || (first + count) % job.run == 0) return ahead;
  const int last = job.dims - 1;
  const bool columns = job.traversal == Traversal::column_strips;
  // From contiguous slices a line takes as many bytes as it has lanes: their order does not matter.
  ahead.x = slice.x + (at + count) * job.x.stride[last];
  ahead.beside = slice.second + (at + count) * job.second.stride[last];
  ahead.x_step = columns ? job.x.along : kVectorBytes;
  ahead.beside_step = columns ? job.second.along : kVectorBytes;
  if (job.op == Op::derivative && !(columns && job.stream)) {
    ahead.result = slice.y + at * job.y.stride[last];
    ahead.result_step = columns ? job.y.along : kVectorBytes;
  }
  return ahead;
}

// Strips are read together as long as their entries take no more than this.
constexpr int64_t kStripBytes = 1 << 18;

// Calls f(strip, beside) for each strip of a bundle, and g(slice, first, count, x) where as many as
// are read at once are done.
template <bool Tempered, class D, class T, class B, class C, class F, class G>
void for_strips(const Job& job, int64_t first, int bundle, F f, G g) {
  constexpr int W = kWidth<T>;
  const int64_t room = lines_of(job.n) * W, fits = kStripBytes / (room * int64_t(sizeof(T)));
  // Short slices are transposed strip by strip, to stay in the first-level cache.
  const int strips = job.traversal == Traversal::column_strips
                         ? int(std::clamp<int64_t>(fits, 1, (bundle + W - 1) / W))
                         : 1;
  T* x = scratch<T, StripEntries>(strips * room);
  C* c = scratch<C, StripBeside>(strips * room);
  for (int64_t i = first; i < first + bundle; i += strips * W) {
    const int count = int(std::min<int64_t>(first + bundle - i, strips * W));
    const Slice slice = slice_at(job, i);
    read_strips<D>(job, job.x, slice.x, count, W, x, -std::numeric_limits<T>::infinity());
    read_strips<B>(job, job.second, slice.second, count, W, c, C(0));
    for (int at = 0; at < count; at += W) {
      Strip<T, Tempered> strip = {job,
                                  i + at,
                                  std::min(count - at, W),
                                  lines_of(job.n),
                                  x + at / W * room,
                                  ahead_of_strip(job, slice, i, at, count)};
      f(strip, c + at / W * room);
    }
    g(slice, i, count, x);
  }
}

template <bool Tempered, class D, class T>
void derive_strips(const Job& job, int64_t first, int bundle) {
  std::vector<int64_t> others;
  for_strips<Tempered, D, T, D, T>(
      job, first, bundle,
      [&](Strip<T, Tempered>& strip, const T* beside) {
        strip.derive(beside);
        if (strip.all_ordinary()) return;
        for (int r = 0; r < strip.count; ++r)
          if (!strip.is_ordinary(r)) others.push_back(strip.first + r);
      },
      [&](const Slice& slice, int64_t, int count, const T* x) {
        write_strips<D>(job, slice, count, x);
        for (int64_t i : others) run_derivative<D, T>(job, slice_at(job, i));
        others.clear();
      });
}
