// The calls: from arrays to a plan, from a plan to kernels.
//
// The functions write into an array that Python allocated and assume what src/softmax/_inputs.py
// ensures; what is checked here is what memory safety needs.
#pragma once

#include <algorithm>
#include <atomic>
#include <vector>

#include "arrays.h"
#include "cpu.h"
#include "pair_losses.h"
#include "parallel.h"
#include "plan.h"

namespace softmax {

inline void run(const Job& job) {
  const Kernels& kernels = chosen_kernels();
  const int64_t chunks = (job.n + kChunk - 1) / kChunk;
  const auto maps = [](Op op) { return op < Op::logsumexp || op == Op::derivative; };
  const bool split = chunks > 1 && job.slices < threads_for(job.n) && maps(job.op);
  if (!split) {
    parallel_for(job.bundles(), job.n * job.largest_bundle(),
                 [&](int64_t begin, int64_t end) { kernels.run(job, begin, end); });
    return;
  }
  // Fewer slices than threads: the chunks of one slice are shared out.  The same chunks, merged in
  // the same order, whoever reduced them.
  std::vector<State> states{size_t(chunks)};
  for (int64_t slice = 0; slice < job.slices; ++slice) {
    parallel_for(chunks, kChunk, [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) states[size_t(c)] = kernels.reduce(job, slice, c);
    });
    SliceMap slice_map;
    kernels.finish(job, slice, states.data(), &slice_map);
    parallel_for(chunks, kChunk, [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c)
        kernels.map(job, slice, c, states[size_t(c)], slice_map);
    });
  }
}

// Arrays of fewer bytes are near: in the second-level cache of any processor of today.
inline constexpr int64_t kNear = 1 << 18;

// Whether entries and results exceed the last-level cache together, and results lie where they may
// be written past it.
inline bool streams(const Job& job) {
  if (job.op == Op::logsumexp) return false;  // one for each slice
  // What is streamed has to lie where its type may.
  const int64_t item = item_size(job.dtype);
  bool aligned = uintptr_t(job.y.data) % uintptr_t(item) == 0;
  for (int d = 0; d < job.dims; ++d) aligned &= job.y.stride[d] % item == 0;
  return aligned && 2 * job.n * job.slices * item > int64_t(last_level_cache());
}

// Call when the plan has all its operands.
inline const Job& settled(Plan& plan) {
  Job& job = plan.job;
  const int64_t bytes = job.n * job.slices * item_size(job.dtype);
  job.fetch_ahead = bytes > kNear;
  job.room = roomy_first_level() ? 16 << 10 : 4 << 10;  // benchmarks/NOTES.md
  job.stream = streams(job);
  plan.choose_traversal();
  // Only rows, which wait until they are summed, may be streamed over their own entries.
  if (job.overwrites() && job.traversal != Traversal::rows) job.stream = false;
  // Processors with roomy first-level caches have quick exponentials.
  const bool quick = roomy_first_level();
  // Results that lie in the last-level cache are soon at hand.  Where exponentials are quick,
  // fetching them stands in the way of entries, unless they are first touched when all of those are
  // near.
  const bool late = job.op == Op::log_softmax &&
                    (job.traversal == Traversal::rows || job.traversal == Traversal::batches);
  const bool far = 4 * bytes > int64_t(last_level_cache());
  job.fetch_results = job.op != Op::logsumexp && (late || far || !quick);
  job.waits = plan.gains_by_waiting(!far || job.overwrites(), quick);
  job.repeats = bytes > int64_t(last_level_cache()) && quick;
  return job;
}

// An operation along an axis; the arguments it does not have are None.
struct Arguments {
  nb::handle where = nb::none(), temperature = nb::none(), sink = nb::none(), second = nb::none(),
             sign = nb::none();
  double factor = 1;
  bool reverse = false;
};

inline void along_axis(Op op, nb::handle x, nb::handle out, int axis, const Arguments& arguments) {
  const Given gx(x, "x"), gy(out, "out"), where(arguments.where, "where"),
      temperature(arguments.temperature, "temperature"), sink(arguments.sink, "sink"),
      second(arguments.second, "the second array"), sign(arguments.sign, "sign");
  if (axis < 0 || axis >= gx.array.dims) refuse("axis", "within x's dimensions");
  Job job;
  Plan plan(job, op, gx.array, axis);
  plan.add(job.y, gy.array);
  plan.add(job.where, where.array);
  plan.add(job.temperature, temperature.array);
  plan.add(job.sink, sink.array);
  plan.add(job.second, second.array);
  job.wide_second = second.array.dtype != gx.array.dtype;
  if (second.object && job.wide_second &&
      (op == Op::derivative || second.array.dtype != DType::f64))
    refuse("the second array", "of the dtype of x, or weights of float64");
  plan.add(job.sign, sign.array);
  job.factor = arguments.factor;
  job.reverse = arguments.reverse;
  run(settled(plan));
}

// Whether both arrays lie in one piece, in the same one of NumPy's two orders.
inline bool are_one_run(PyArrayObject* x, PyArrayObject* y) {
  return PyArray_SAMESHAPE(x, y) &&
         (PyArray_IS_C_CONTIGUOUS(x) ? PyArray_IS_C_CONTIGUOUS(y)
                                     : PyArray_IS_F_CONTIGUOUS(x) && PyArray_IS_F_CONTIGUOUS(y));
}

// Entries one by one: contiguous runs of both arrays where they have them.
inline void elementwise(Op op, nb::handle x, nb::handle out) {
  const Given gx(x, "x"), gy(out, "out");
  const Kernels& kernels = chosen_kernels();
  const int64_t item = item_size(gx.array.dtype);
  // A plan costs as much as a few hundred entries.
  if (gx.object && gy.object && gx.array.dtype == gy.array.dtype &&
      PyArray_SIZE(gx.object) <= kKeepLock && PyArray_ITEMSIZE(gx.object) == item &&
      are_one_run(gx.object, gy.object))
    return kernels.elements(op, gx.array.dtype, false, gx.array.data, item, gy.array.data, item,
                            PyArray_SIZE(gx.object));
  int axis = gx.array.dims - 1;  // the one along which neighbours are nearest
  for (int d = axis; d >= 0; --d)
    if (gx.array.shape[d] > 1 && std::abs(gx.array.stride[d]) < std::abs(gx.array.stride[axis]))
      axis = d;
  Job job;
  Plan plan(job, op, gx.array, axis);
  plan.add(job.y, gy.array);
  plan.lengthen_runs();
  const bool stream = streams(job) && !job.overwrites();
  const int64_t step = kChunk;  // a run of this many entries is one unit of work
  const int64_t runs = (job.n + step - 1) / step;
  parallel_for(job.slices * runs, std::min(job.n, step), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      int64_t slice = i / runs, first = i % runs * step, x_at = 0, y_at = 0;
      for (int d = job.dims - 1; d >= 0; --d) {
        x_at += slice % job.shape[d] * job.x.stride[d];
        y_at += slice % job.shape[d] * job.y.stride[d];
        slice /= job.shape[d];
      }
      kernels.elements(op, job.dtype, stream, job.x.data + x_at + first * job.x.along, job.x.along,
                       job.y.data + y_at + first * job.y.along, job.y.along,
                       std::min(step, job.n - first));
    }
  });
}

// Raises where a sparse row would reach beyond what is stored, or a place beyond its slice.
inline void check_sparse(const int64_t* starts, int64_t slices, const int64_t* places,
                         int64_t stored, int64_t n) {
  if (starts[0] < 0 || starts[slices] > stored || !std::is_sorted(starts, starts + slices + 1))
    refuse("starts", "in order and within places");
  if (!std::all_of(places, places + stored, [n](int64_t at) { return at >= 0 && at < n; }))
    refuse("places", "less than the number of classes, and not negative");
}

// Rows of a sparse target: where each begins among the places, and where it ends.
struct SparseRows {
  nb::handle starts = nb::none(), places = nb::none();
};

// Whether all labels are less than `classes`; if `counts`, also not negative.
inline bool are_classes(const int64_t* labels, int64_t count, int64_t classes, bool counts) {
  constexpr int64_t together = 1 << 14;
  const Kernels& kernels = chosen_kernels();
  std::atomic<bool> fit = true;
  parallel_for((count + together - 1) / together, together, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * together, last = std::min(end * together, count);
    if (!kernels.are_classes(labels + first, last - first, classes, counts)) fit = false;
  });
  return fit;
}

// The sums of contiguous rows; nan where an entry is negative or nan.
inline void target_sums(nb::handle rows, nb::handle out) {
  const Given x(rows, "rows"), sums(out, "out");
  if (x.array.dims != 2 || !PyArray_IS_C_CONTIGUOUS(x.object)) refuse("rows", "contiguous rows");
  const int64_t count = x.array.shape[0], n = x.array.shape[1];
  refuse_unless(sums, "out", NPY_DOUBLE, count);
  const Kernels& kernels = chosen_kernels();
  parallel_for(count, n, [&](int64_t begin, int64_t end) {
    kernels.target_sums(x.array.dtype, x.array.data, n, begin, end,
                        reinterpret_cast<double*>(sums.array.data));
  });
}

// Plans the softmax of logits into the gradient; without one, nothing but their sums.
inline void plan_softmax(Job& softmax, const Array& logits, const Given& gradient, int axis) {
  Plan plan(softmax, gradient.object ? Op::softmax : Op::logsumexp, logits, axis);
  plan.adds_up = true;
  if (softmax.slices == 0) return;
  if (gradient.object) {
    plan.add(softmax.y, gradient.array);
  } else {
    // Nothing is written, but the plan asks how results would lie.
    Array result = logits;
    int64_t step = item_size(result.dtype);
    for (int d = logits.dims - 1; d >= 0; --d) {
      if (d == axis) result.shape[d] = 1;
      result.stride[d] = step;
      step *= result.shape[d];
    }
    plan.add(softmax.y, result);
  }
  settled(plan);
  // Losses of long rows are worked out, and added up, for several rows at a time, the same ones
  // whichever way these are walked.
  const bool by_rows =
      softmax.traversal == Traversal::rows || softmax.traversal == Traversal::batches;
  if (by_rows && softmax.n > kBatchRow)
    softmax.bundle = std::clamp<int64_t>(kChunk / softmax.n, 1, kBatch / 2);
}

// Plans the cross-entropy of each slice; one of labels and targets is None.  Labels are looked at,
// as nothing else keeps the kernels within the logits.
inline LossJob planned_losses(nb::handle logits, nb::handle labels, nb::handle targets,
                              nb::handle weights, nb::handle loss, nb::handle gradient, int axis,
                              double scale, double z_loss, const SparseRows& sparse = {},
                              double smoothing = 0) {
  const Given x(logits, "logits"), label(labels, "target"), t(targets, "target"),
      w(weights, "weights"), l(loss, "loss"), g(gradient, "gradient"),
      starts(sparse.starts, "starts"), places(sparse.places, "places");
  const int dims = x.array.dims;
  if (axis < 0) axis += dims;
  if (axis < 0 || axis >= dims) refuse("axis", "within logits' dimensions");
  // Labels, weights and losses are counted in the order in which the slices lie in memory.
  const int type = PyArray_TYPE(x.object);
  refuse_unless(x, "logits", type, PyArray_SIZE(x.object));
  refuse_unless(g, "gradient", type, PyArray_SIZE(x.object));
  const int64_t targeted = PyArray_SIZE(places.object ? places.object : x.object);
  const bool narrow =
      t.object && !places.object && t.array.dtype == x.array.dtype && item_size(x.array.dtype) == 2;
  refuse_unless(t, "target", narrow || type == NPY_DOUBLE ? type : int(NPY_FLOAT), targeted);
  refuse_unless(places, "places", NPY_INT64, targeted);
  LossJob job;
  plan_softmax(job.softmax, x.array, g, axis);
  const Job& softmax = job.softmax;
  const int64_t slices = softmax.slices;
  refuse_unless(label, "target", NPY_INT64, slices);
  refuse_unless(w, "weights", NPY_DOUBLE, slices);
  refuse_unless(l, "loss", NPY_DOUBLE, slices);
  refuse_unless(starts, "starts", NPY_INT64, slices + 1);
  if (slices == 0) return job;
  job.labels = reinterpret_cast<const int64_t*>(label.array.data);
  job.targets = t.array.data;
  job.narrow_targets = narrow;
  job.starts = reinterpret_cast<const int64_t*>(starts.array.data);
  job.places = reinterpret_cast<const int64_t*>(places.array.data);
  job.weights = reinterpret_cast<const double*>(w.array.data);
  job.scale = scale;
  job.smoothing = smoothing;
  job.z_loss = z_loss;
  job.loss = reinterpret_cast<double*>(l.array.data);
  // Results that are read again are not sent past the caches.
  if (job.targets || job.smoothing != 0) job.softmax.stream = false;
  if (job.labels && !are_classes(job.labels, slices, softmax.n, false))
    refuse("target", "less than the number of classes");
  if (softmax.n > 0 && job.targets && softmax.x.along != item_size(softmax.dtype))
    refuse("axis", "the last where target holds probabilities");
  if (job.starts) check_sparse(job.starts, slices, job.places, targeted, softmax.n);
  return job;
}

// Kernels write into the job: that of small work is given to them, else each piece has a copy.
inline void run(LossJob&& job) {
  const Kernels& kernels = chosen_kernels();
  const int64_t bundles = job.softmax.bundles(),
                cost = job.softmax.n * job.softmax.largest_bundle();
  if (is_small(bundles, cost)) return kernels.losses(job, 0, bundles);
  share_out(bundles, cost, [&](int64_t begin, int64_t end) {
    LossJob own = job;
    kernels.losses(own, begin, end);
  });
}

// The entries of an array of doubles; null where it was not given.
inline double* doubles(const Given& given, const char* name, int64_t size) {
  refuse_unless(given, name, NPY_DOUBLE, size);
  return reinterpret_cast<double*>(given.array.data);
}

// How many rows, and how long, where that is what the array has.
template <class Job>
void set_rows(Job& job, const Given& given, const char* name) {
  if (given.array.dims != 2) refuse(name, "rows");
  job.rows = given.array.shape[0];
  job.n = given.array.shape[1];
}

// A row at a time, by threads.
template <class Job>
void run_rows(const Job& job) {
  parallel_for(job.n ? job.rows : 0, kPairCost * job.n,
               [&](int64_t begin, int64_t end) { run(job, begin, end); });
}

inline void divergence(nb::handle p_logits, nb::handle q_logits, nb::handle temperature,
                       nb::handle loss, nb::handle gradient) {
  const Given p(p_logits, "p_logits"), q(q_logits, "q_logits"), t(temperature, "temperature"),
      l(loss, "loss"), g(gradient, "gradient");
  DivergenceJob job;
  set_rows(job, p, "p_logits");
  const int64_t entries = job.rows * job.n;
  job.p_logits = doubles(p, "p_logits", entries);
  job.q_logits = doubles(q, "q_logits", entries);
  job.temperature = doubles(t, "temperature", job.rows);
  job.loss = doubles(l, "loss", job.rows);
  job.gradient = doubles(g, "gradient", entries);
  run_rows(job);
}

inline void focal(nb::handle logits, nb::handle target, nb::handle weights, nb::handle loss,
                  nb::handle gradient, double scale, double gamma) {
  const Given x(logits, "logits"), t(target, "target"), w(weights, "weights"), l(loss, "loss"),
      g(gradient, "gradient");
  FocalJob job;
  set_rows(job, x, "logits");
  const int64_t entries = job.rows * job.n;
  job.logits = doubles(x, "logits", entries);
  job.target = doubles(t, "target", entries);
  job.weights = doubles(w, "weights", job.rows);
  job.loss = doubles(l, "loss", job.rows);
  job.gradient = doubles(g, "gradient", entries);
  job.scale = scale;
  job.gamma = gamma;
  run_rows(job);
}

// Rows of contiguous logits: filtered into `out`, or drawn from with uniforms.
inline void sampling(SamplingJob& job, nb::handle logits, nb::handle valid,
                     nb::handle temperature) {
  const Given x(logits, "logits"), v(valid, "valid"), t(temperature, "temperature");
  if (x.array.dims != 2 || !PyArray_IS_C_CONTIGUOUS(x.object) ||
      (x.array.dtype != DType::f32 && x.array.dtype != DType::f64))
    refuse("logits", "contiguous rows of float32 or float64");
  job.dtype = x.array.dtype;
  job.rows = x.array.shape[0];
  job.n = x.array.shape[1];
  job.x = x.array.data;
  job.valid = (bool*)v.array.data;
  job.temperature = (const double*)t.array.data;
  const Kernels& kernels = chosen_kernels();
  parallel_for(
      job.rows, job.n + job.draws,
      [&](int64_t begin, int64_t end) { kernels.sampling(job, begin, end); }, Units::uneven);
}

}  // namespace softmax
