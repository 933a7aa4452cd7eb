// Sampling: which entries of a row the filters keep, and on which of them a uniform number falls.
//
// All of it is in double, by plain multiplications and additions in a fixed order, and masses that
// are compared are added up as integers.  So a generator gives the same draws with any instruction
// set, any number of threads, and in the NumPy twin (src/softmax/_reference/sampling.py).
//
// A row is seen in blocks of 256 entries that stay in the first-level cache.  Each leaves behind
// its maximum and the sum of its exponentials relative to it; a draw looks for its block among
// those, and for its entry in that block alone.  The k largest entries lie in the blocks with the k
// largest maxima; larger counts, and masses, are found by the digits of the numbers (a radix
// selection).  Nothing is sorted but a last handful.

constexpr int kBlock = 256;
constexpr int kDigitBits = 11, kDigits = 1 << kDigitBits;
constexpr size_t kHandful = 64;

// Vectors whose exponentials advance side by side: a chain alone keeps no unit busy.
constexpr int kSide = 4;

// z = exp(z) for z <= 0 without fused steps; 0 where the result would not be normal.
INLINE void plain_exp(vec<double> (&z)[kSide]) {
  using C = exp_constants<double>;
  const double ln2_hi = 0x1.62e42feep-1, ln2_lo = 0x1.a39ef35793c76p-33;
  constexpr int terms = int(sizeof(C::poly) / sizeof(double));
  vec<double> shifted[kSide], r[kSide], p[kSide];
  _Pragma("GCC unroll 4") for (int k = 0; k < kSide; ++k) {
    shifted[k] = z[k] * C::log2e + C::magic;
    const vec<double> n = shifted[k] - C::magic;
    r[k] = (z[k] - n * ln2_hi) - n * ln2_lo;
    p[k] = splat(C::poly[terms - 1]);
  }
  _Pragma("GCC unroll 16") for (int i = terms - 2; i >= 0; --i)
      _Pragma("GCC unroll 4") for (int k = 0; k < kSide; ++k) p[k] = p[k] * r[k] + C::poly[i];
  _Pragma("GCC unroll 4") for (int k = 0; k < kSide; ++k) {
    p[k] = (p[k] * r[k] + 1.0) * r[k] + 1.0;
    const vec<double> power = (vec<double>)(((vec<int64_t>)shifted[k] + C::bias) << C::mantissa);
    z[k] = z[k] > -708.0 ? p[k] * power : splat(0.0);
  }
}

INLINE vec<double> load_as_double(const float* x) { return load_wide(x); }
INLINE vec<double> load_as_double(const double* x) { return load(x); }

template <class T>
bool has_nan(const T* x, int64_t count) {
  vec<bits<T>> found{};
  for_groups<T>(count, [&](auto size, int64_t i, int here) INLINE_LAMBDA {
    constexpr int G = decltype(size)::value;
    const group<T, G> v = load_group<G>(x + i, here, splat(T(0)));
    _Pragma("GCC unroll 8") for (int k = 0; k < G; ++k) found |= v.v[k] != v.v[k];
  });
  bits<T> any = 0;
  for (int j = 0; j < kWidth<T>; ++j) any |= found[j];
  return any != 0;
}

// Bits that are ordered as the numbers are; both zeros are one number.
template <class T>
INLINE auto ordered_bits(T x) {
  using U = std::make_unsigned_t<bits<T>>;
  const U u = std::bit_cast<U>(x + T(0)), sign = U(1) << (8 * sizeof(T) - 1);
  return u & sign ? U(~u) : U(u | sign);
}

template <class T>
struct Sampler {
  using Bits = std::make_unsigned_t<bits<T>>;
  static constexpr int64_t kAll = std::numeric_limits<int64_t>::max();
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();

  const SamplingJob& job;
  const int64_t n = job.n, blocks = (n + kBlock - 1) / kBlock;
  const bool filtered = job.top_k > 0 || job.top_p<1 || job.log_min_p> - kInfinity;
  std::vector<T> block_max = std::vector<T>(size_t(blocks)), candidates, lasting;
  std::vector<double> sum = std::vector<double>(size_t(blocks)), frame = sum, cumulative = sum;
  std::vector<int64_t> mass_of_digit;

  // The current row.
  const T* x = nullptr;
  double temperature = 1, inverse = 1, max = 0;
  double threshold = 0;  // entries below it are left out,
  int64_t ties = kAll;   // and of those equal to it all but the first so many
  bool summed = false;   // whether `sum` is that of the entries kept

  // A type of this namespace, so that no other instruction set shares what sorts by it.
  static constexpr auto larger_first = [](T a, T b) { return a > b; };

  explicit Sampler(const SamplingJob& given) : job(given) {}

  int length(int64_t block) const { return int(std::min<int64_t>(kBlock, n - block * kBlock)); }

  // w[i] = exp((x[i] - reference) / T) of entries not below the threshold, 0 of others; zeros up to
  // the end of a step follow.
  int weigh(const T* entries, int count, double reference, double* w) const {
    constexpr int W = kWidth<double>, step = std::max(kLanes, kSide * W);
    const int whole = (count + step - 1) / step * step;
    T padded[kBlock];
    if (whole != count) {
      std::copy_n(entries, count, padded);
      std::fill(padded + count, padded + whole, -std::numeric_limits<T>::infinity());
      entries = padded;
    }
    const vec<double> lowest = splat(std::numeric_limits<double>::lowest());
    for (int i = 0; i < whole; i += kSide * W) {
      vec<double> entry[kSide], z[kSide];
      _Pragma("GCC unroll 4") for (int k = 0; k < kSide; ++k) {
        entry[k] = load_as_double(entries + i + k * W);
        z[k] = larger(entry[k] - reference, lowest) * inverse;  // also from inf - inf
      }
      plain_exp(z);
      _Pragma("GCC unroll 4") for (int k = 0; k < kSide; ++k)
          store(w + i + k * W, entry[k] >= threshold ? z[k] : splat(0.0));
    }
    return whole;
  }

  // Sixteen running sums, then the tree over them.
  static double total(const double* w, int whole) {
    double lane[kLanes] = {};
    for (int i = 0; i < whole; i += kLanes)
      for (int j = 0; j < kLanes; ++j) lane[j] += w[i + j];
    for (int half = kLanes / 2; half >= 1; half /= 2)
      for (int j = 0; j < half; ++j) lane[j] += lane[j + half];
    return lane[0];
  }

  void sum_block(int64_t block) {
    double w[kBlock];
    const int whole = weigh(x + block * kBlock, length(block), double(block_max[block]), w);
    sum[block] = total(w, whole);
  }

  // Reads the row once: maxima, and sums too where no filter must come first.  False where the row
  // is no distribution.
  bool open(int64_t row) {
    x = (const T*)job.x + row * n;
    temperature = job.temperature ? job.temperature[row] : 1.0;
    threshold = std::numeric_limits<double>::lowest();
    ties = kAll;
    summed = !filtered && temperature > 0;
    inverse = std::min(1 / temperature, std::numeric_limits<double>::max());
    max = -kInfinity;
    for (int64_t b = 0; b < blocks; ++b) {
      const T* entries = x + b * kBlock;
      block_max[b] = row_max(entries, length(b));
      if (has_nan(entries, length(b))) return false;
      max = std::max(max, double(block_max[b]));
      if (summed) sum_block(b);
    }
    if (max == -kInfinity) return false;
    if (max == kInfinity && count_above(std::numeric_limits<T>::max()) > 1) return false;
    if (max == kInfinity || temperature == 0) {
      threshold = max;
      inverse = 0;
      summed = false;
    }
    if (job.top_k > 0 && job.top_k < n) keep_largest(job.top_k);
    if (job.top_p < 1) keep_mass();
    if (job.log_min_p > -kInfinity && inverse > 0) {
      const double least = max + job.log_min_p * temperature;
      if (least > threshold) threshold = least, ties = kAll;
    }
    return true;
  }

  // Calls f for the entries of each block that has one not below `least`.
  template <class F>
  void each_block_with(double least, F f) const {
    for (int64_t b = 0; b < blocks; ++b)
      if (double(block_max[b]) >= least) f(x + b * kBlock, length(b));
  }

  int64_t count_above(double least) const {
    int64_t found = 0;
    each_block_with(least, [&](const T* entries, int count) {
      for (int i = 0; i < count; ++i) found += double(entries[i]) > least;
    });
    return found;
  }

  // Raises the threshold to `least`, of which `wanted` are needed if ties are broken.
  void raise(double least, int64_t wanted) {
    if (!(least >= threshold)) return;
    if (job.first_ties) ties = least > threshold ? wanted : std::min(ties, wanted);
    threshold = least;
  }

  void keep_largest(int64_t k) {
    T least;
    if (k <= blocks) {
      // k blocks have an entry not below the k-th largest maximum, and so have the k largest.
      candidates.assign(block_max.begin(), block_max.end());
      std::nth_element(candidates.begin(), candidates.begin() + k - 1, candidates.end(),
                       larger_first);
      const T bound = candidates[size_t(k - 1)];
      candidates.clear();
      each_block_with(double(bound), [&](const T* entries, int count) {
        for (int i = 0; i < count; ++i)
          if (entries[i] >= bound) candidates.push_back(entries[i]);
      });
      std::nth_element(candidates.begin(), candidates.begin() + k - 1, candidates.end(),
                       larger_first);
      least = candidates[size_t(k - 1)];
    } else {
      int64_t above;
      const auto ones = [](const T*, int count, int64_t* mass) { std::fill_n(mass, count, 1); };
      const auto wanted = [&](int64_t) { return k; };
      least = select(-kInfinity, ones, wanted, above);
    }
    if (double(least) >= threshold) raise(double(least), k - count_above(double(least)));
  }

  // Keeps the largest entries that together have the share top_p of what is kept so far.
  void keep_mass() {
    const double unit = power_of_two(std::min<int64_t>(50, 62 - std::bit_width(uint64_t(n))));
    const auto mass_of = [&](const T* entries, int count, int64_t* mass) {
      double w[kBlock];
      const int whole = weigh(entries, count, max, w);
      for (int i = 0; i < whole; ++i)  // adding 2^52 rounds to an integer, found in the low bits
        mass[i] = std::bit_cast<int64_t>(w[i] * unit + 0x1p52) & ((int64_t(1) << 52) - 1);
    };
    const auto mass_at = [&](double entry) {
      const T one = T(entry);
      int64_t mass[kBlock];
      mass_of(&one, 1, mass);
      return mass[0];
    };
    int64_t target = 0, above;
    const auto wanted = [&](int64_t whole_mass) {
      if (ties != kAll) {  // those that an earlier filter left out have no mass
        int64_t equal = 0;
        each_block_with(threshold, [&](const T* entries, int count) {
          for (int i = 0; i < count; ++i) equal += double(entries[i]) == threshold;
        });
        whole_mass -= (equal - ties) * mass_at(threshold);
      }
      target = std::max<int64_t>(1, int64_t(std::ceil(double(whole_mass) * job.top_p)));
      return target;
    };
    const double least = double(select(threshold, mass_of, wanted, above));
    const int64_t mass = mass_at(least);
    raise(least, (target - above + mass - 1) / mass);
  }

  // The largest entry v such that the entries not below v have the mass that `wanted` asks for,
  // given the mass of all; `above` receives the mass of those larger than v.  Digit by digit: the
  // masses of each digit are added up, and the entries with the digit that tips the scale go on.
  template <class Mass, class Wanted>
  T select(double least, Mass mass_of, Wanted wanted, int64_t& above) {
    int shift = int(8 * sizeof(T)) - kDigitBits;
    int64_t mass[kBlock];
    const auto digit = [&](T entry) { return size_t(ordered_bits(entry) >> shift) % kDigits; };
    const auto add_up = [&](const T* entries, int count) {
      mass_of(entries, count, mass);
      for (int i = 0; i < count; ++i) mass_of_digit[digit(entries[i])] += mass[i];
    };
    mass_of_digit.assign(kDigits, 0);
    each_block_with(least, add_up);
    int64_t all = 0;
    for (int64_t of_digit : mass_of_digit) all += of_digit;
    const int64_t target = wanted(all);
    above = 0;
    size_t tipping = tipping_digit(target, above);
    candidates.clear();
    each_block_with(least, [&](const T* entries, int count) {
      for (int i = 0; i < count; ++i)
        if (digit(entries[i]) == tipping) candidates.push_back(entries[i]);
    });
    while (candidates.size() > kHandful && shift > 0) {
      shift = std::max(0, shift - kDigitBits);
      mass_of_digit.assign(kDigits, 0);
      for (size_t i = 0; i < candidates.size(); i += kBlock)
        add_up(candidates.data() + i, int(std::min<size_t>(kBlock, candidates.size() - i)));
      tipping = tipping_digit(target, above);
      lasting.clear();
      for (T entry : candidates)
        if (digit(entry) == tipping) lasting.push_back(entry);
      candidates.swap(lasting);
    }
    return last_of_handful(target, mass_of, above);
  }

  size_t tipping_digit(int64_t target, int64_t& above) const {
    size_t d = kDigits - 1;
    while (d > 0 && above + mass_of_digit[d] < target) above += mass_of_digit[d--];
    return d;
  }

  template <class Mass>
  T last_of_handful(int64_t target, Mass mass_of, int64_t& above) {
    std::sort(candidates.begin(), candidates.end(), larger_first);
    for (size_t i = 0; i < candidates.size();) {
      int64_t mass[kBlock], equal = 0;
      const T entry = candidates[i];
      mass_of(&entry, 1, mass);
      for (; i < candidates.size() && candidates[i] == entry; ++i) ++equal;
      if (above + equal * mass[0] >= target) return entry;
      above += equal * mass[0];
    }
    return T(-kInfinity);
  }

  // ---- the results

  // x / T; where that would overflow, and at T = 0, the maximum is taken off first.
  void write_kept(int64_t row) const {
    T* y = (T*)job.kept + row * n;
    const bool limit = max == kInfinity || temperature == 0;
    const double divisor = limit ? 1.0 : temperature;
    const bool overflows = !(std::fabs(T(max / temperature)) < T(kInfinity));
    const double offset = overflows && max != kInfinity ? max : 0.0;
    for (int64_t i = 0; i < n; ++i) {
      const double entry = double(x[i]), value = (entry - offset) / divisor + 0.0;
      y[i] = T(entry >= threshold ? value : -kInfinity);
    }
    if (ties == kAll) return;
    int64_t left = ties;
    for (int64_t i = 0; i < n; ++i)
      if (double(x[i]) == threshold && --left < 0) y[i] = T(-kInfinity);
  }

  // The sums of the blocks up to each, all relative to the row's maximum.
  void accumulate() {
    const double kept_from = threshold;
    threshold = -kInfinity;
    for (int64_t b = 0; b < blocks; b += kBlock) {
      double w[kBlock];
      const int count = int(std::min<int64_t>(kBlock, blocks - b));
      weigh(block_max.data() + b, count, max, w);
      std::copy_n(w, count, frame.data() + b);
    }
    threshold = kept_from;
    double running = 0;
    for (int64_t b = 0; b < blocks; ++b) {
      const bool has_some = double(block_max[b]) >= threshold;
      if (has_some && !summed) sum_block(b);
      running += has_some ? sum[b] * frame[b] : 0.0;
      cumulative[b] = running;
    }
  }

  int64_t draw(double uniform) const {
    const double target = uniform * cumulative.back();
    int64_t b = std::upper_bound(cumulative.begin(), cumulative.end(), target) - cumulative.begin();
    const double before = b > 0 ? cumulative[b - 1] : 0.0;
    const double rest = (target - before) / frame[b];
    double w[kBlock], running = 0;
    weigh(x + b * kBlock, length(b), double(block_max[b]), w);
    int64_t last = 0;
    for (int i = 0; i < length(b); ++i) {
      if (w[i] > 0) last = i;
      running += w[i];
      if (running > rest) break;
    }
    return b * kBlock + last;
  }
};

template <class T>
void run_sampling(const SamplingJob& job, int64_t begin, int64_t end) {
  Sampler<T> sampler(job);
  for (int64_t row = begin; row < end; ++row) {
    job.valid[row] = sampler.open(row);
    if (!job.valid[row]) continue;
    if (job.kept) {
      sampler.write_kept(row);
      continue;
    }
    sampler.accumulate();
    for (int64_t i = row; i < job.draws * job.rows; i += job.rows)
      job.drawn[i] = sampler.draw(job.uniforms[i]);
  }
}
