// softmax._core: check the arrays, make a plan, call a kernel.
//
// The functions write into an array that Python allocated and assume what src/softmax/_inputs.py
// ensures; what is checked here is what memory safety needs.
#include <nanobind/nanobind.h>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#include <numpy/arrayobject.h>

#include <algorithm>

#include <string>

#include "cpu.h"
#include "parallel.h"
#include "plan.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace softmax {
namespace {

[[noreturn]] void refuse(const char* name, const char* expected) {
  throw nb::type_error((std::string(name) + " must be " + expected).c_str());
}

// An argument as an array; None gives one without data.  NumPy's own fields are read, because every
// other way (buffers, DLPack) costs more than softmax of ten numbers.
struct Given {
  Array array;
  PyArrayObject* object = nullptr;

  Given(nb::handle given, const char* name) {
    if (given.is_none()) return;
    if (!PyArray_Check(given.ptr())) refuse(name, "a NumPy array");
    object = reinterpret_cast<PyArrayObject*>(given.ptr());
    array.dims = PyArray_NDIM(object);
    if (array.dims > kMaxDims) refuse(name, "of at most 32 dimensions");
    array.data = static_cast<char*>(PyArray_DATA(object));
    std::copy_n(PyArray_DIMS(object), array.dims, array.shape);
    std::copy_n(PyArray_STRIDES(object), array.dims, array.stride);
    switch (PyArray_TYPE(object)) {
      case NPY_HALF:
        array.dtype = DType::f16;
        break;
      case NPY_FLOAT:
        array.dtype = DType::f32;
        break;
      case NPY_DOUBLE:
        array.dtype = DType::f64;
        break;
      case NPY_BOOL:
      case NPY_INT64:
        break;
      default:
        // bfloat16 belongs to ml_dtypes and has no number of its own.
        if (std::string(nb::cast<const char*>(given.attr("dtype").attr("name"))) != "bfloat16")
          refuse(name, "float16, bfloat16, float32 or float64");
        array.dtype = DType::bf16;
    }
  }
};

void run(const Job& job) {
  const Kernels& kernels = chosen_kernels();
  const int64_t chunks = (job.n + kChunk - 1) / kChunk;
  const bool split = chunks > 1 && job.slices < get_num_threads() && job.op < Op::logsumexp;
  if (!split) {
    parallel_for(job.slices, job.n,
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
      for (int64_t c = begin; c < end; ++c) kernels.map(job, slice, c, slice_map);
    });
  }
}

// Arrays of fewer bytes are near: in the second-level cache of any processor of today.
constexpr int64_t kNear = 1 << 18;

// An operation along an axis; the arguments it does not have are None.
struct Arguments {
  nb::handle where = nb::none(), temperature = nb::none(), sink = nb::none(), second = nb::none(),
             sign = nb::none();
  double factor = 1;
  bool reverse = false;
};

void along_axis(Op op, nb::handle x, nb::handle out, int axis, const Arguments& arguments) {
  const Given gx(x, "x"), gy(out, "out"), where(arguments.where, "where"),
      temperature(arguments.temperature, "temperature"), sink(arguments.sink, "sink"),
      second(arguments.second, "the second array"), sign(arguments.sign, "sign");
  if (axis < 0 || axis >= gx.array.dims) refuse("axis", "within x's dimensions");
  Plan plan(op, gx.array, axis);
  Job& job = plan.job;
  plan.add(job.y, gy.array);
  plan.add(job.where, where.array);
  plan.add(job.temperature, temperature.array);
  plan.add(job.sink, sink.array);
  plan.add(job.second, second.array);
  plan.add(job.sign, sign.array);
  job.factor = arguments.factor;
  job.reverse = arguments.reverse;
  const int64_t bytes = job.n * job.slices * item_size(job.dtype);
  job.fetch_ahead = bytes > kNear;
  job.stream = bytes > int64_t(last_level_cache()) && job.y.data != job.x.data;
  plan.choose_traversal();
  run(job);
}

// Entries one by one: contiguous runs of both arrays where they have them.
void elementwise(Op op, nb::handle x, nb::handle out) {
  const Given gx(x, "x"), gy(out, "out");
  Plan plan(op, gx.array, gx.array.dims - 1);
  plan.add(plan.job.y, gy.array);
  plan.choose_traversal();
  const Job& job = plan.job;
  const Kernels& kernels = chosen_kernels();
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
      kernels.elements(op, job.dtype, job.x.data + x_at + first * job.x.along, job.x.along,
                       job.y.data + y_at + first * job.y.along, job.y.along,
                       std::min(step, job.n - first));
    }
  });
}

void losses(nb::handle logits, nb::handle labels, nb::handle targets, nb::handle weights,
            nb::handle loss, nb::handle gradient) {
  const Given x(logits, "logits"), t(targets, "target"), w(weights, "weights"), l(loss, "loss"),
      g(gradient, "gradient");
  LossJob job;
  job.dtype = x.array.dtype;
  if (job.dtype != DType::f32 && job.dtype != DType::f64) refuse("logits", "float32 or float64");
  job.classes = x.array.shape[1];
  job.logits = x.array.data;
  job.targets = t.array.data;
  job.weights = (const double*)w.array.data;
  job.loss = (double*)l.array.data;
  job.gradient = g.array.data;
  const Given label(labels, "target");
  if (label.object) {
    if (PyArray_TYPE(label.object) != NPY_INT64 || !PyArray_IS_C_CONTIGUOUS(label.object))
      refuse("target", "contiguous int64");
    job.labels = reinterpret_cast<const int64_t*>(label.array.data);
    for (int64_t i = 0; i < label.array.shape[0]; ++i)
      if (job.labels[i] >= job.classes) refuse("target", "less than the number of classes");
  }
  const Kernels& kernels = chosen_kernels();
  parallel_for(x.array.shape[0], job.classes,
               [&](int64_t begin, int64_t end) { kernels.losses(job, begin, end); });
}

// Rows of contiguous logits: filtered into `out`, or drawn from with uniforms.
void sampling(SamplingJob& job, nb::handle logits, nb::handle valid, nb::handle temperature) {
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
  parallel_for(job.rows, job.n + job.draws,
               [&](int64_t begin, int64_t end) { kernels.sampling(job, begin, end); });
}

nb::dict build_info() {
  nb::dict info;
  nb::list targets;
  for (const Kernels* kernels : available_kernels()) targets.append(kernels->name);
  info["native"] = true;
  info["target"] = chosen_kernels().name;
  info["targets"] = targets;
#ifdef _OPENMP
  info["openmp"] = true;
#else
  info["openmp"] = false;
#endif
#ifdef __clang__
  info["compiler"] = "Clang " __clang_version__;
#else
  info["compiler"] = "GCC " __VERSION__;
#endif
  return info;
}

}  // namespace

NB_MODULE(_core, m) {
  if (PyArray_ImportNumPyAPI() < 0) throw nb::python_error();
  chosen_kernels();
  using H = nb::handle;
  m.def(
      "softmax",
      [](H x, H out, int axis, H where, H temperature, H sink) {
        along_axis(Op::softmax, x, out, axis,
                   {.where = where, .temperature = temperature, .sink = sink});
      },
      "x"_a, "out"_a, "axis"_a, "where"_a.none(), "temperature"_a.none(), "sink"_a.none());
  m.def(
      "log_softmax",
      [](H x, H out, int axis, H where, H temperature, H sink) {
        along_axis(Op::log_softmax, x, out, axis,
                   {.where = where, .temperature = temperature, .sink = sink});
      },
      "x"_a, "out"_a, "axis"_a, "where"_a.none(), "temperature"_a.none(), "sink"_a.none());
  m.def(
      "logsumexp",
      [](H x, H out, int axis, H where, H weights, H sign) {
        const Op op = weights.is_none() && sign.is_none() ? Op::logsumexp : Op::weighted_logsumexp;
        along_axis(op, x, out, axis, {.where = where, .second = weights, .sign = sign});
      },
      "x"_a, "out"_a, "axis"_a, "where"_a.none(), "weights"_a.none(), "sign"_a.none());
  m.def(
      "cumulative_logsumexp",
      [](H x, H out, int axis, bool reverse) {
        along_axis(Op::cumulative_logsumexp, x, out, axis, {.reverse = reverse});
      },
      "x"_a, "out"_a, "axis"_a, "reverse"_a);
  m.def(
      "smooth_max",
      [](H x, H out, int axis, H where, double k) {
        along_axis(Op::smooth_max, x, out, axis, {.where = where, .factor = k});
      },
      "x"_a, "out"_a, "axis"_a, "where"_a.none(), "k"_a);
  m.def(
      "mellowmax",
      [](H x, H out, int axis, H where, double omega) {
        along_axis(Op::mellowmax, x, out, axis, {.where = where, .factor = omega});
      },
      "x"_a, "out"_a, "axis"_a, "where"_a.none(), "omega"_a);
  m.def(
      "entropy",
      [](H x, H out, int axis, H where, H temperature) {
        along_axis(Op::entropy, x, out, axis, {.where = where, .temperature = temperature});
      },
      "x"_a, "out"_a, "axis"_a, "where"_a.none(), "temperature"_a.none());
  m.def(
      "softmax_jvp",
      [](H x, H dx, H out, int axis, H where, H temperature) {
        along_axis(Op::derivative, x, out, axis,
                   {.where = where, .temperature = temperature, .second = dx});
      },
      "x"_a, "dx"_a, "out"_a, "axis"_a, "where"_a.none(), "temperature"_a.none());
  m.def(
      "softmax_vjp",
      [](H x, H dp, H out, int axis, H where, H temperature) {
        along_axis(Op::derivative, x, out, axis,
                   {.where = where, .temperature = temperature, .second = dp});
      },
      "x"_a, "dp"_a, "out"_a, "axis"_a, "where"_a.none(), "temperature"_a.none());
  m.def(
      "filter_logits",
      [](H logits, H out, H valid, H temperature, int64_t top_k, double top_p, double log_min_p,
         bool first_ties) {
        SamplingJob job;
        job.top_k = top_k, job.top_p = top_p, job.log_min_p = log_min_p;
        job.first_ties = first_ties;
        job.kept = Given(out, "out").array.data;
        sampling(job, logits, valid, temperature);
      },
      "logits"_a, "out"_a, "valid"_a, "temperature"_a.none(), "top_k"_a, "top_p"_a, "log_min_p"_a,
      "first_ties"_a);
  m.def(
      "sample",
      [](H logits, H uniforms, H out, H valid, H temperature, int64_t top_k, double top_p,
         double log_min_p) {
        SamplingJob job;
        job.top_k = top_k, job.top_p = top_p, job.log_min_p = log_min_p;
        const Given u(uniforms, "uniforms"), drawn(out, "out");
        job.draws = u.array.shape[0];
        job.uniforms = (const double*)u.array.data;
        job.drawn = (int64_t*)drawn.array.data;
        sampling(job, logits, valid, temperature);
      },
      "logits"_a, "uniforms"_a, "out"_a, "valid"_a, "temperature"_a.none(), "top_k"_a, "top_p"_a,
      "log_min_p"_a);
  m.def("sigmoid", [](H x, H out) { elementwise(Op::sigmoid, x, out); }, "x"_a, "out"_a);
  m.def("log_sigmoid", [](H x, H out) { elementwise(Op::log_sigmoid, x, out); }, "x"_a, "out"_a);
  m.def("softplus", [](H x, H out) { elementwise(Op::softplus, x, out); }, "x"_a, "out"_a);
  m.def("logit", [](H x, H out) { elementwise(Op::logit, x, out); }, "x"_a, "out"_a);
  m.def(
      "cross_entropy",
      [](H logits, H target, H weights, H loss, H gradient) {
        losses(logits, target, nb::none(), weights, loss, gradient);
      },
      "logits"_a, "target"_a, "weights"_a.none(), "loss"_a, "gradient"_a.none());
  m.def(
      "cross_entropy_soft",
      [](H logits, H target, H weights, H loss, H gradient) {
        losses(logits, nb::none(), target, weights, loss, gradient);
      },
      "logits"_a, "target"_a, "weights"_a.none(), "loss"_a, "gradient"_a.none());
  m.def("set_num_threads", &set_num_threads, "n"_a);
  m.def("get_num_threads", &get_num_threads);
  m.def("build_info", &build_info);
}

}  // namespace softmax
