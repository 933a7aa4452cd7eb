// Staging: entries that are not contiguous floats or doubles (16-bit types, strided or masked
// slices) pass through a scratch buffer, widened on the way in and rounded once on the way out.

struct half {
  uint16_t raw;
};
struct bfloat {
  uint16_t raw;
};

// Calls f with a pair of types: how elements are stored, and the type they are computed in.
template <class F>
INLINE auto with_types(DType dtype, F f) {
  switch (dtype) {
    case DType::f16:
      return f(half(), float());
    case DType::bf16:
      return f(bfloat(), float());
    case DType::f32:
      return f(float(), float());
    default:
      return f(double(), double());
  }
}

INLINE float widened(half h) { return float(std::bit_cast<float16>(h.raw)); }
INLINE float widened(bfloat b) { return std::bit_cast<float>(uint32_t(b.raw) << 16); }
INLINE float widened(float f) { return f; }
INLINE double widened(double d) { return d; }

INLINE void round_to(half& to, float f) { to.raw = std::bit_cast<uint16_t>(float16(f)); }
INLINE void round_to(bfloat& to, float f) {
  uint32_t b = std::bit_cast<uint32_t>(f);
  to.raw = f != f ? uint16_t(b >> 16 | 0x40) : uint16_t((b + 0x7fff + (b >> 16 & 1)) >> 16);
}
INLINE void round_to(float& to, float f) { to = f; }
INLINE void round_to(double& to, double d) { to = d; }
INLINE void round_to(half& to, half h) { to = h; }
INLINE void round_to(bfloat& to, bfloat b) { to = b; }

// One vector of contiguous entries.
INLINE vec<float> load_widened(const half* p) { return half_to_float(&p->raw); }
INLINE vec<float> load_widened(const bfloat* p) { return bfloat_to_float(&p->raw); }
INLINE vec<float> load_widened(const float* p) { return load(p); }
INLINE vec<double> load_widened(const double* p) { return load(p); }

INLINE void store_rounded(half* p, vec<float> v) { float_to_half(&p->raw, v); }
INLINE void store_rounded(bfloat* p, vec<float> v) {
  const vec<int32_t> b = (vec<int32_t>)v;
  const vec<int32_t> rounded = b + 0x7fff + (b >> 16 & 1);
  store_high_halves(&p->raw, v == v ? rounded : b | 0x400000);
}
INLINE void store_rounded(float* p, vec<float> v) { store(p, v); }
INLINE void store_rounded(double* p, vec<double> v) { store(p, v); }

// As load_group and store_group, of entries as they are stored; the others read as 0.
template <int K, class T, class D>
INLINE group<T, K> load_entries(const D* p, int count) {
  if constexpr (std::is_same_v<D, T>) {
    return load_group<K>(p, count, splat(T(0)));
  } else {
    constexpr int W = kWidth<T>;
    D copied[K * W] = {};
    if (count < K * W) {
      for (int i = 0; i < count; ++i) copied[i] = p[i];
      p = copied;
    }
    group<T, K> v;
    EACH v.v[k] = load_widened(p + k * W);
    return v;
  }
}
template <class D, class T, int K>
INLINE void store_entries(D* p, int count, const group<T, K>& v) {
  if constexpr (std::is_same_v<D, T>) {
    store_group(p, count, v);
  } else {
    constexpr int W = kWidth<T>;
    D copied[K * W];
    D* to = count < K * W ? copied : p;
    EACH store_rounded(to + k * W, v.v[k]);
    if (to == copied)
      for (int i = 0; i < count; ++i) p[i] = copied[i];
  }
}

// K vectors of entries as doubles, `step` apart, those of 16 bits contiguous.
template <class D, int K>
INLINE void load_wide(const D* p, int64_t step, group<double, K>& v) {
  if constexpr (sizeof(D) == 2) _Pragma("GCC unroll 4") for (int k = 0; k < K; k += 2) {
      const vec<float> both = load_widened(p + k * kWidth<double>);
      v.v[k] = widen_low(both);
      v.v[k + 1] = widen_high(both);
    }
  else
    EACH v.v[k] = load_wide(p + k * step);
}
template <class D, int K>
INLINE void store_narrow(D* p, int64_t step, const group<double, K>& v) {
  if constexpr (sizeof(D) == 2)
    _Pragma("GCC unroll 4") for (int k = 0; k < K; k += 2)
        store_rounded(p + k * kWidth<double>, narrow(v.v[k], v.v[k + 1]));
  else
    EACH store_narrow(p + k * step, v.v[k]);
}

// Contiguous runs, a vector at a time.
INLINE void widen_run(const half* p, float* to, int64_t n) {
  int64_t i = 0;
  for (; i + kWidth<float> <= n; i += kWidth<float>) store(to + i, half_to_float(&p[i].raw));
  for (; i < n; ++i) to[i] = widened(p[i]);
}
INLINE void widen_run(const half* p, double* to, int64_t n) {
  constexpr int W = kWidth<double>;
  int64_t i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
    const vec<float> f = half_to_float(&p[i].raw);
    store(to + i, widen_low(f));
    store(to + i + W, widen_high(f));
  }
  for (; i < n; ++i) to[i] = widened(p[i]);
}
INLINE void round_run(const float* p, half* to, int64_t n) {
  int64_t i = 0;
  for (; i + kWidth<float> <= n; i += kWidth<float>) float_to_half(&to[i].raw, load(p + i));
  for (; i < n; ++i) round_to(to[i], p[i]);
}
template <class D, class T>
INLINE void widen_run(const D* p, T* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) round_to(to[i], widened(p[i]));
}
template <class D>
INLINE void widen_run(const D* p, D* to, int64_t n) {
  std::copy_n(p, n, to);
}
template <class D, class T>
INLINE void round_run(const T* p, D* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) round_to(to[i], p[i]);
}

template <class D, class T>
void gather(const char* p, int64_t stride, int64_t n, T* to) {
  if (stride == int64_t(sizeof(D)))
    widen_run((const D*)p, to, n);
  else
    for (int64_t i = 0; i < n; ++i) widen_run((const D*)(p + i * stride), to + i, 1);
}

template <class D, class T>
void scatter(const T* p, int64_t n, char* to, int64_t stride) {
  if (stride == int64_t(sizeof(D)))
    round_run(p, (D*)to, n);
  else
    for (int64_t i = 0; i < n; ++i) round_to(*(D*)(to + i * stride), p[i]);
}

// A number as entries are stored.
template <class D>
INLINE D stored(decltype(widened(D())) v) {
  D d;
  round_to(d, v);
  return d;
}
template <class D>
constexpr auto kInfinity = std::numeric_limits<decltype(widened(D()))>::infinity();

// Entries that do not take part become -inf; a mask has a byte for each.
template <class T>
INLINE vec<T> leave_out(vec<T> x, const char* where) {
  vec<bits<T>> taken;
  load_bytes(where, taken);
  return select<T>(taken != 0, x, splat(-std::numeric_limits<T>::infinity()));
}

// The same of n contiguous numbers; or they become something else.
template <class D>
void leave_out(D* x, const char* where, int64_t stride, int64_t n,
               D instead = stored<D>(-kInfinity<D>)) {
  const auto each = [&](int64_t step) INLINE_LAMBDA {
    for (int64_t i = 0; i < n; ++i)
      if constexpr (sizeof(D) == 2)
        x[i].raw = where[i * step] ? x[i].raw : instead.raw;
      else
        x[i] = where[i * step] ? x[i] : instead;
  };
  stride == 1 ? each(1) : each(stride);
}

// Working memory of a thread, kept between calls: one buffer for each purpose.
struct Staged;
struct Kept;
struct Turned;  // rows as columns

template <class T, class Purpose = Staged>
T* scratch(int64_t n) {
  constexpr size_t alignment = 64;
  struct Buffer {
    T* data = nullptr;
    int64_t size = 0;
    ~Buffer() { std::free(data); }
  };
  static thread_local Buffer buffer;
  if (buffer.size < n) {
    std::free(buffer.data);
    size_t bytes = (size_t(n) * sizeof(T) + alignment - 1) / alignment * alignment;
    buffer.data = (T*)std::aligned_alloc(alignment, bytes);
    buffer.size = buffer.data ? n : 0;
    if (!buffer.data) throw std::bad_alloc();
  }
  return buffer.data;
}

// The largest of 16-bit entries.  Their bits are in order, but for those of
// negative ones, which are turned around; a nan without a sign is above all.
template <class D>
INLINE int16_t ordered(D x) {
  const int16_t bits = int16_t(x.raw);
  return int16_t(bits ^ ((bits >> 15) & 0x7fff));
}
template <class D>
  requires(sizeof(D) == 2)
float row_max(const D* x, int64_t n) {
  int16_t most = std::numeric_limits<int16_t>::min();
  for (int64_t i = 0; i < n; ++i) most = std::max(most, ordered(x[i]));
  return widened(D{uint16_t(ordered(D{uint16_t(most)}))});
}

// One slice of a job.
struct Slice {
  const char* x;
  char* y;
  const char* where;
  const char* second;
  char* sign;
  double temperature, sink;
};

// Where a slice begins in one of the job's arrays.
INLINE char* start_of(const Job& job, const Operand& array, int64_t slice) {
  if (job.dims == 1) return array.data + slice * array.stride[0];
  int64_t at = 0;
  for (int d = job.dims - 1; d >= 0; slice /= job.shape[d--])
    at += slice % job.shape[d] * array.stride[d];
  return array.data + at;
}

INLINE Slice slice_at(const Job& job, int64_t index) {
  int64_t x = 0, y = 0, w = 0, t = 0, s = 0, second = 0, sign = 0;
  const auto add = [&](int d, int64_t i) INLINE_LAMBDA {
    x += i * job.x.stride[d];
    y += i * job.y.stride[d];
    w += i * job.where.stride[d];
    t += i * job.temperature.stride[d];
    s += i * job.sink.stride[d];
    second += i * job.second.stride[d];
    sign += i * job.sign.stride[d];
  };
  for (int d = job.dims - 1; d > 0; --d) {
    const int64_t before = index / job.shape[d];
    add(d, index - before * job.shape[d]);
    index = before;
  }
  if (job.dims > 0) add(0, index);
  return {job.x.data + x,
          job.y.data + y,
          job.where.data ? job.where.data + w : nullptr,
          job.second.data + second,
          job.sign.data ? job.sign.data + sign : nullptr,
          job.temperature.data ? *(const double*)(job.temperature.data + t) : 1.0,
          job.sink.data ? *(const double*)(job.sink.data + s)
                        : -std::numeric_limits<double>::infinity()};
}
