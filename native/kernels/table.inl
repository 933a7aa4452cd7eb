// The table that this instruction set offers to the rest.

// One bundle of slices.
template <class D, class T>
void run_bundle(const Job& job, int64_t first, int count) {
  if (job.traversal == Traversal::columns) return run_columns<D, T>(job, first, count);
  if (job.traversal == Traversal::short_rows) return run_short_rows<D, T>(job, first, count);
  const bool strips = job.traversal >= Traversal::short_strips;
  if (job.op == Op::derivative && strips)
    return job.temperature.data ? derive_strips<true, D, T>(job, first, count)
                                : derive_strips<false, D, T>(job, first, count);
  if (job.op == Op::weighted_logsumexp)
    return with_weights<D, T>(job, [&](auto b, auto c) {
      using B = decltype(b);
      using C = decltype(c);
      strips ? weigh_strips<D, T, B, C>(job, first, count)
             : run_weighted<D, T, B>(job, slice_at(job, first));
    });
  if (job.traversal == Traversal::batches) return run_batch<D, T>(job, first, count);
  if (job.op == Op::derivative) return run_derivative<D, T>(job, slice_at(job, first));
  for (int64_t i = first; i < first + count; ++i)
    job.op > Op::logsumexp ? run_precise<D>(job, slice_at(job, i)) : run_slice<D, T>(job, i);
}

static void run(const Job& job, int64_t begin, int64_t end) {
  with_types(job.dtype, [&](auto d, auto t) {
    using D = decltype(d);
    using T = decltype(t);
    if constexpr (sizeof(T) == 4)
      if (sums_few(job) && job.traversal != Traversal::rows) return run_few<D>(job, begin, end);
    if constexpr (std::is_same_v<D, T>) {
      if (results_wait<T>(job)) {
        if (job.op == Op::softmax) return stream_rows<WaitingBatches<T, Scale<T>>>(job, begin, end);
        // Rows with a mask or a temperature are not as they lie in memory.
        if (job.op == Op::log_softmax && !job.where.data && !job.temperature.data)
          return stream_rows<WaitingBatches<T, Shift<T>>>(job, begin, end);
      }
      if constexpr (sizeof(T) == 4)
        if (runs_long_rows(job, end - begin))
          return job.op == Op::log_softmax ? stream_rows<LongRows<Shift<T>, false>>(job, begin, end)
                 : job.temperature.data ? stream_rows<LongRows<Scale<T>, true>>(job, begin, end)
                                        : stream_rows<LongRows<Scale<T>, false>>(job, begin, end);
    }
    if (job.traversal == Traversal::short_rows) {
      const auto [first, count] = job.neighbours(begin, end);
      if constexpr (std::is_same_v<D, T>)
        if (job.stream && job.n > kShortest && job.op != Op::logsumexp)
          return stream_short_rows<T>(job, first, count);
      return run_short_rows<D, T>(job, first, count);
    }
    for (int64_t i = begin; i < end; ++i) {
      const auto [first, count] = job.bundle_at(i);
      run_bundle<D, T>(job, first, int(count));
    }
  });
}

static State reduce(const Job& job, int64_t slice, int64_t chunk) {
  return with_types(job.dtype, [&](auto d, auto t) {
    using D = decltype(d);
    using T = decltype(t);
    const Slice one = slice_at(job, slice);
    return job.op == Op::derivative ? reduce_derivative_chunk<D, 1, T>(
                                          job, one, chunk, kept_in_result<D, T>(job, one, chunk))
                                    : reduce_slice_chunk<D, T>(job, one, chunk);
  });
}

static void finish(const Job& job, int64_t slice, const State* chunks, SliceMap* map) {
  with_types(job.dtype, [&](auto d, auto t) {
    using D = decltype(d);
    using T = decltype(t);
    job.op == Op::derivative ? finish_derivative<D, T>(job, slice_at(job, slice), chunks, map)
                             : finish_slice<D, T>(job, slice_at(job, slice), chunks, map);
  });
}

static void map(const Job& job, int64_t slice, int64_t chunk, const State& state,
                const SliceMap& slice_map) {
  with_types(job.dtype, [&](auto d, auto t) {
    using D = decltype(d);
    using T = decltype(t);
    const Slice one = slice_at(job, slice);
    job.op == Op::derivative ? map_derivative_chunk<D, 1, T>(job, one, chunk, state, slice_map,
                                                             kept_in_result<D, T>(job, one, chunk))
                             : map_slice_chunk<D, T>(job, one, chunk, state, slice_map);
  });
}

static void elements(Op op, DType dtype, bool stream, const char* x, int64_t x_step, char* y,
                     int64_t y_step, int64_t count) {
  with_types(dtype, [&](auto d, auto t) {
    run_elements<decltype(d), decltype(t)>(op, stream, x, x_step, y, y_step, count);
  });
}

static void losses(LossJob& job, int64_t begin, int64_t end) {
  with_types(job.softmax.dtype,
             [&](auto d, auto t) { run_losses<decltype(d), decltype(t)>(job, begin, end); });
}

static void target_sums(DType dtype, const char* rows, int64_t n, int64_t begin, int64_t end,
                        double* sums) {
  with_types(dtype, [&](auto d, auto t) {
    using D = decltype(d);
    for (int64_t i = begin; i < end; ++i)
      sums[i] = sum_of_target<decltype(t)>((const D*)rows + i * n, n);
  });
}

static void sampling(const SamplingJob& job, int64_t begin, int64_t end) {
  job.dtype == DType::f32 ? run_sampling<float>(job, begin, end)
                          : run_sampling<double>(job, begin, end);
}

static void sparse(const CsrJob& job, int64_t begin, int64_t end) {
  with_types(job.dtype, [&](auto, auto t) {
    using T = decltype(t);
    job.wide_index ? run_sparse<T, int64_t>(job, begin, end)
                   : run_sparse<T, int32_t>(job, begin, end);
  });
}

static int64_t sparse_groups(const CsrJob& job) {
  const int64_t step = job.dtype == DType::f32 ? kGroupColumns<float> : kGroupColumns<double>;
  return (job.width + step - 1) / step;
}

static void grams(const GramJob& job, int64_t begin, int64_t end) {
  job.dtype == DType::f32 ? run_grams<float>(job, begin, end) : run_grams<double>(job, begin, end);
}

static void layer_rows(const LayerJob& job, int64_t begin, int64_t end) {
  job.loss.softmax.dtype == DType::f32 ? run_layer_rows<float>(job, begin, end)
                                       : run_layer_rows<double>(job, begin, end);
}

static void layer_classes(const LayerJob& job, int64_t begin, int64_t end) {
  job.loss.softmax.dtype == DType::f32 ? run_layer_classes<float>(job, begin, end)
                                       : run_layer_classes<double>(job, begin, end);
}

extern const Kernels kernels;
const Kernels kernels = {SOFTMAX_NAME, run,           reduce,      finish,      map,
                         elements,     losses,        are_classes, target_sums, sampling,
                         sparse,       sparse_groups, grams,       layer_rows,  layer_classes};
