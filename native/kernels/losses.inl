// Cross-entropy and its gradient in one pass: reduce a row of logits, then turn it into w (p -
// target). The loss is log(1 + rest) + (max - x_label), never the difference of two large numbers;
// so is the gradient of a label that is the largest entry, minus the sum of the others.

// A row of contiguous logits as a job of its own, for the pieces that rows.inl has.
template <class T>
Job job_of_row(const T* x, int64_t n) {
  Job job;
  job.op = Op::log_softmax;
  job.dtype = sizeof(T) == 4 ? DType::f32 : DType::f64;
  job.n = n;
  job.slices = 1;
  job.x.data = (char*)x;
  job.x.along = job.y.along = sizeof(T);
  return job;
}

template <class T>
void label_row(const T* x, int64_t n, int64_t label, double weight, double* loss, T* gradient) {
  const double inf = std::numeric_limits<double>::infinity();
  if (label < 0 || weight == 0) {
    *loss = 0;
    if (gradient) std::memset(gradient, 0, size_t(n) * sizeof(T));
    return;
  }
  const Job job = job_of_row(x, n);
  const Slice slice = slice_at(job, 0);
  const double at_label = x[label];
  const bool keeps = gradient && n <= kChunk;
  T* kept = keeps ? scratch<T, Kept>(padded<T>(n)) : nullptr;
  State state;
  for (int64_t c = 0; c * kChunk < n; ++c) {
    const State one =
        reduce_chunk(x + c * kChunk, chunk_length(job, c), Inverse<T>(), Room<T>{kept});
    state = c == 0 ? one : merge(state, one);
  }
  if (!state.ordinary()) {
    const SliceMap map = limit_of<T, T>(job, slice, state);
    const double p = std::exp(at_label == map.pick ? map.top : map.rest);
    *loss = weight * (map.top != map.top ? map.top : at_label == map.pick ? -map.top : inf);
    if (!gradient) return;
    for (int64_t i = 0; i < n; ++i)
      gradient[i] = T(weight * std::exp(x[i] == map.pick ? map.top : map.rest));
    gradient[label] = T(weight * (p - 1));
    return;
  }
  const double rest = sum_of_rest<T, T>(job, slice, state, Inverse<T>());
  *loss = weight * (log1p(splat(rest))[0] + (state.max - at_label));
  if (!gradient) return;
  // p - 1 of the label, from what the others have where it is the largest.
  const double own =
      at_label == state.max ? -rest / (1 + rest) : std::exp(at_label - state.max) / (1 + rest) - 1;
  State unit;
  const Frame<T> frame = frame_around(T(state.max), Inverse<T>(), unit);
  Scale<T> scale = scale_of<T>(state, unit);
  const double factor = (double(scale.factor) + double(scale.factor_lo)) * weight;
  scale.factor_lo =
      T(sizeof(T) == 4 ? factor - double(T(factor)) : double(scale.factor_lo) * weight);
  scale.factor = T(sizeof(T) == 4 ? factor : double(scale.factor) * weight);
  scale.top = T(double(scale.top) * weight);
  if (keeps) {
    scale_row(kept, gradient, n, scale);
  } else {
    unit.shift != 0 ? softmax_row<true, false>(x, gradient, n, frame, scale)
                    : softmax_row<false, false>(x, gradient, n, frame, scale);
  }
  gradient[label] = T(weight * own);
}

// Against a row of probabilities: sum of t (-log p), and (sum of t) p - t, of which the top entry's
// is p (sum of the other t) - t (1 - p).
template <class T>
void soft_row(const T* x, int64_t n, const T* target, double weight, double* loss, T* gradient) {
  if (weight == 0) {
    *loss = 0;
    if (gradient) std::memset(gradient, 0, size_t(n) * sizeof(T));
    return;
  }
  const Job job = job_of_row(x, n);
  const Slice slice = slice_at(job, 0);
  PreciseSlice s;
  load_slice<T>(job, slice, s);
  exponentiate(s, Inverse<double>(), 1);
  const double log_rest = log1p(splat(s.rest))[0];
  double* t = scratch<double, Terms>(2 * n);
  double* surprise = t + n;
  Pair others = {0, 0};
  for (int64_t i = 0; i < n; ++i) {
    t[i] = target[i];
    surprise[i] = target[i] == 0 ? 0 : s.x[i] == s.max ? log_rest : log_rest + (s.max - s.x[i]);
    if (i != s.top) others = others + Pair{t[i], 0};
  }
  const Pair all = others + Pair{t[s.top], 0};
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Pair sum = dot(t, surprise, n);
  // An infinite surprise has no low part.
  *loss = weight * (s.undefined        ? nan
                    : sum.hi == sum.hi ? sum.hi
                                       : std::numeric_limits<double>::infinity());
  if (!gradient) return;
  for (int64_t i = 0; i < n; ++i) {
    const Pair p = quotient({s.e[i], s.e_lo[i]}, s.sum);
    const double slope = i == s.top
                             ? p.hi * others.hi - t[i] * (s.rest / (1 + s.rest))
                             : std::fma(p.hi, all.hi, -t[i]) + (p.lo * all.hi + p.hi * all.lo);
    gradient[i] = T(s.undefined ? nan : weight * slope);
  }
}

template <class T>
void run_losses(const LossJob& job, int64_t begin, int64_t end) {
  const int64_t n = job.classes;
  for (int64_t i = begin; i < end; ++i) {
    const T* x = (const T*)job.logits + i * n;
    T* gradient = job.gradient ? (T*)job.gradient + i * n : nullptr;
    const double weight = job.weights ? job.weights[i] : 1.0;
    if (job.labels)
      label_row(x, n, job.labels[i], weight, job.loss + i, gradient);
    else
      soft_row(x, n, (const T*)job.targets + i * n, weight, job.loss + i, gradient);
  }
}
