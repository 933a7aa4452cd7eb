// A linear layer and its cross-entropy, for rows that fit the cache: products of a few columns,
// which a general one would spend most of its time packing, beside the losses.

struct TransposedParameters;

// Bundles begin .. end - 1: their logits, the losses, and the gradient in the logits' place.
template <class T>
void run_layer_rows(const LayerJob& job, int64_t begin, int64_t end) {
  constexpr int64_t W = kWidth<T>, kRows = 64;  // at a time
  LossJob loss = job.loss;
  const Job& softmax = loss.softmax;
  const int64_t classes = softmax.n, room = (classes + W - 1) / W * W;
  const T* x = (const T*)job.x;
  const T* parameters = (const T*)job.parameters;
  T* columns = scratch<T, TransposedParameters>(job.width * room + W);
  for (int64_t j = 0; j < job.width; ++j)
    for (int64_t k = 0; k < room; ++k)
      columns[j * room + k] = k < classes ? parameters[k * job.width + j] : 0;
  const int64_t step = std::max<int64_t>(1, kRows / softmax.bundle);
  for (int64_t at = begin; at < end; at += step) {
    const int64_t stop = std::min(at + step, end);
    const auto [first, count] = softmax.neighbours(at, stop);
    T* logits = (T*)softmax.x.data + first * classes;
    std::fill(logits, logits + count * classes, T(0));
    add_product<T, true>({x + first * job.width, 1, job.width}, {columns, room}, job.width, count,
                         classes, {logits, classes});
    run_losses<T, T>(loss, at, stop);
  }
}

// Groups of classes begin .. end - 1: adds the gradient of their parameters.
template <class T>
void run_layer_classes(const LayerJob& job, int64_t begin, int64_t end) {
  const Job& softmax = job.loss.softmax;
  const int64_t first = begin * kLayerClasses, last = std::min(end * kLayerClasses, softmax.n);
  const T* slopes = (const T*)softmax.x.data + first;
  add_product<T, false>({slopes, softmax.n, 1}, {(const T*)job.x, job.width}, softmax.slices,
                        last - first, job.width, {(T*)job.gradient + first * job.width, job.width});
}
