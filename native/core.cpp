// softmax._core: check the arrays, make a plan, call a kernel.
//
// The functions write into an array that Python allocated and assume what src/softmax/_inputs.py
// ensures; what is checked here is what memory safety needs.
#include <nanobind/nanobind.h>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#include <numpy/arrayobject.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
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

// bfloat16 belongs to ml_dtypes, which gets its number from NumPy when it is imported.
bool is_bfloat16(PyArrayObject* array) {
  static std::atomic<int> known{-1};
  const int type = PyArray_TYPE(array);
  if (type == known) return true;
  if (type < NPY_USERDEF) return false;
  const nb::handle dtype(reinterpret_cast<PyObject*>(PyArray_DESCR(array)));
  const nb::object kind = dtype.attr("type");
  const auto is = [&](const char* attribute, const char* text) {
    return std::strcmp(nb::cast<const char*>(kind.attr(attribute)), text) == 0;
  };
  if (!is("__name__", "bfloat16") || !is("__module__", "ml_dtypes")) return false;
  known = type;
  return true;
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
        if (!is_bfloat16(object)) refuse(name, "float16, bfloat16, float32 or float64");
        array.dtype = DType::bf16;
    }
  }
};

// Raises where an array that was given is not contiguous, of that type and of that size.
void refuse_unless(const Given& given, const char* name, int type, int64_t size) {
  if (!given.object) return;
  if (PyArray_TYPE(given.object) != type || !PyArray_IS_C_CONTIGUOUS(given.object) ||
      PyArray_SIZE(given.object) != size)
    refuse(name, "contiguous, of the dtype and the size that go with the logits");
}

void run(const Job& job) {
  const Kernels& kernels = chosen_kernels();
  const int64_t chunks = (job.n + kChunk - 1) / kChunk;
  const bool split = chunks > 1 && job.slices < get_num_threads() && job.op < Op::logsumexp;
  if (!split) {
    parallel_for(job.bundles(), job.n * job.bundle,
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
constexpr int64_t kNear = 1 << 18;

// Call when the plan has all its operands.
const Job& settled(Plan& plan) {
  Job& job = plan.job;
  const int64_t bytes = job.n * job.slices * item_size(job.dtype);
  job.fetch_ahead = bytes > kNear;
  job.stream = bytes > int64_t(last_level_cache()) && job.y.data != job.x.data;
  plan.choose_traversal();
  return job;
}

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
  run(settled(plan));
}

// Entries one by one: contiguous runs of both arrays where they have them.
void elementwise(Op op, nb::handle x, nb::handle out) {
  const Given gx(x, "x"), gy(out, "out");
  int axis = gx.array.dims - 1;  // the one along which neighbours are nearest
  for (int d = axis; d >= 0; --d)
    if (gx.array.shape[d] > 1 && std::abs(gx.array.stride[d]) < std::abs(gx.array.stride[axis]))
      axis = d;
  Plan plan(op, gx.array, axis);
  plan.add(plan.job.y, gy.array);
  plan.lengthen_runs();
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

// Cross-entropy of each slice; one of labels and targets is None.
void losses(nb::handle logits, nb::handle labels, nb::handle targets, nb::handle weights,
            nb::handle loss, nb::handle gradient, int axis, double scale, double z_loss) {
  const Given x(logits, "logits"), label(labels, "target"), t(targets, "target"),
      w(weights, "weights"), l(loss, "loss"), g(gradient, "gradient");
  const int dims = x.array.dims;
  if (axis < 0) axis += dims;
  if (axis < 0 || axis >= dims) refuse("axis", "within logits' dimensions");
  // Labels, weights and losses are counted in the order in which the slices lie in memory.
  const int type = PyArray_TYPE(x.object);
  refuse_unless(x, "logits", type, PyArray_SIZE(x.object));
  refuse_unless(g, "gradient", type, PyArray_SIZE(x.object));
  refuse_unless(t, "target", type == NPY_DOUBLE ? NPY_DOUBLE : NPY_FLOAT, PyArray_SIZE(x.object));
  LossJob job;
  const Op op = g.object ? Op::softmax : Op::logsumexp;
  Plan plan(op, x.array, axis);
  const int64_t slices = plan.job.slices;
  refuse_unless(label, "target", NPY_INT64, slices);
  refuse_unless(w, "weights", NPY_DOUBLE, slices);
  refuse_unless(l, "loss", NPY_DOUBLE, slices);
  if (slices == 0) return;
  if (g.object) {
    plan.add(plan.job.y, g.array);
  } else {
    // Nothing is written, but the plan asks how results would lie.
    Array result = x.array;
    int64_t step = item_size(result.dtype);
    for (int d = dims - 1; d >= 0; --d) {
      result.shape[d] = d == axis ? 1 : x.array.shape[d];
      result.stride[d] = step;
      step *= result.shape[d];
    }
    plan.add(plan.job.y, result);
  }
  job.softmax = settled(plan);
  job.labels = reinterpret_cast<const int64_t*>(label.array.data);
  job.targets = t.array.data;
  job.weights = reinterpret_cast<const double*>(w.array.data);
  job.scale = scale;
  job.z_loss = z_loss;
  job.loss = reinterpret_cast<double*>(l.array.data);
  if (job.labels && *std::max_element(job.labels, job.labels + slices) >= plan.job.n)
    refuse("target", "less than the number of classes");
  if (job.targets && plan.job.x.along != item_size(plan.job.dtype))
    refuse("axis", "the last where target holds probabilities");
  const Kernels& kernels = chosen_kernels();
  parallel_for(job.softmax.bundles(), plan.job.n * job.softmax.bundle,
               [&](int64_t begin, int64_t end) { kernels.losses(job, begin, end); });
}

// The plain_ functions take what Python's callers gave and return the result, or None where that is
// not as kernels need it: then src/softmax/_inputs.py looks closer.  All is done here because each
// look at an array from Python costs as much as softmax of ten numbers.

bool is_plain(nb::handle given) {
  if (!PyArray_CheckExact(given.ptr())) return false;
  auto* array = reinterpret_cast<PyArrayObject*>(given.ptr());
  const int type = PyArray_TYPE(array);
  const bool served =
      type == NPY_FLOAT || type == NPY_DOUBLE || type == NPY_HALF || is_bfloat16(array);
  return served && PyArray_ISBEHAVED_RO(array) && PyArray_NDIM(array) > 0 &&
         PyArray_NDIM(array) <= kMaxDims;
}

// The bytes from the first to past the last element.
std::pair<const char*, const char*> extent(PyArrayObject* array) {
  const char* begin = PyArray_BYTES(array);
  const char* end = begin + PyArray_ITEMSIZE(array);
  for (int d = 0; d < PyArray_NDIM(array); ++d) {
    const int64_t reach = PyArray_STRIDE(array, d) * (PyArray_DIM(array, d) - 1);
    (reach < 0 ? begin : end) += reach;
  }
  return {begin, end};
}

// A new array like x where out is None; out where a result of x can be written there; else null.
nb::object plain_result(nb::handle x, nb::handle out) {
  auto* from = reinterpret_cast<PyArrayObject*>(x.ptr());
  if (out.is_none()) return nb::steal(PyArray_NewLikeArray(from, NPY_KEEPORDER, nullptr, 0));
  if (!is_plain(out)) return {};
  auto* to = reinterpret_cast<PyArrayObject*>(out.ptr());
  if (PyArray_TYPE(to) != PyArray_TYPE(from) || !PyArray_SAMESHAPE(to, from) ||
      !PyArray_ISWRITEABLE(to))
    return {};
  const auto [x_begin, x_end] = extent(from);
  const auto [y_begin, y_end] = extent(to);
  if (to != from && x_begin < y_end && y_begin < x_end) return {};
  return nb::borrow(out);
}

// The axis counted from the front, or -1.
int plain_axis(nb::handle axis, int dims) {
  if (!PyLong_CheckExact(axis.ptr())) return -1;
  int overflow;
  const long number = PyLong_AsLongAndOverflow(axis.ptr(), &overflow);
  if (overflow || number < -dims || number >= dims) return -1;
  return int(number < 0 ? number + dims : number);
}

// One number, of a kind that needs no closer look.
bool plain_number(nb::handle given, double& number) {
  if (PyFloat_CheckExact(given.ptr()))
    number = PyFloat_AS_DOUBLE(given.ptr());
  else if (PyLong_CheckExact(given.ptr()))
    number = PyLong_AsDouble(given.ptr());
  else
    return false;
  if (PyErr_Occurred()) {
    PyErr_Clear();
    return false;
  }
  return true;
}

nb::object plain_map(Op op, nb::handle x, nb::handle axis, nb::handle temperature, nb::handle out) {
  double degree;
  if (!is_plain(x) || !plain_number(temperature, degree) || !(degree >= 0)) return nb::none();
  const Given from(x, "x");
  const int number = plain_axis(axis, from.array.dims);
  if (number < 0) return nb::none();
  nb::object result = plain_result(x, out);
  if (!result.is_valid()) return nb::none();
  const Given to(result, "out");
  Plan plan(op, from.array, number);
  plan.add(plan.job.y, to.array);
  if (degree != 1) plan.add_constant(plan.job.temperature, &degree);
  run(settled(plan));
  return result;
}

nb::object plain_reduction(Op op, nb::handle x, nb::handle axis) {
  if (!is_plain(x)) return nb::none();
  const Given from(x, "x");
  const int number = plain_axis(axis, from.array.dims);
  if (number < 0) return nb::none();
  Array reduced = from.array;
  reduced.shape[number] = 1;
  npy_intp shape[kMaxDims];
  for (int d = 0, k = 0; d < reduced.dims; ++d)
    if (d != number) shape[k++] = reduced.shape[d];
  nb::object result =
      nb::steal(PyArray_EMPTY(reduced.dims - 1, shape, PyArray_TYPE(from.object), 0));
  const Given to(result, "out");
  reduced.data = to.array.data;
  for (int d = 0, k = 0; d < reduced.dims; ++d)
    reduced.stride[d] = d == number ? 0 : to.array.stride[k++];
  Plan plan(op, from.array, number);
  plan.add(plan.job.y, reduced);
  run(settled(plan));
  return nb::steal(PyArray_Return(reinterpret_cast<PyArrayObject*>(result.release().ptr())));
}

nb::object plain_elements(Op op, nb::handle x, nb::handle out) {
  if (!is_plain(x)) return nb::none();
  nb::object result = plain_result(x, out);
  if (!result.is_valid()) return nb::none();
  elementwise(op, x, result);
  return result;
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
      [](H logits, H target, H weights, H loss, H gradient, int axis, double scale, double z_loss) {
        losses(logits, target, nb::none(), weights, loss, gradient, axis, scale, z_loss);
      },
      "logits"_a, "target"_a, "weights"_a.none(), "loss"_a, "gradient"_a.none(), "axis"_a = -1,
      "scale"_a = 1.0, "z_loss"_a = 0.0);
  m.def(
      "cross_entropy_soft",
      [](H logits, H target, H weights, H loss, H gradient, int axis, double scale, double z_loss) {
        losses(logits, nb::none(), target, weights, loss, gradient, axis, scale, z_loss);
      },
      "logits"_a, "target"_a, "weights"_a.none(), "loss"_a, "gradient"_a.none(), "axis"_a = -1,
      "scale"_a = 1.0, "z_loss"_a = 0.0);
  m.def(
      "plain_softmax",
      [](H x, H axis, H temperature, H out) {
        return plain_map(Op::softmax, x, axis, temperature, out);
      },
      "x"_a.none(), "axis"_a.none(), "temperature"_a.none(), "out"_a.none());
  m.def(
      "plain_log_softmax",
      [](H x, H axis, H temperature, H out) {
        return plain_map(Op::log_softmax, x, axis, temperature, out);
      },
      "x"_a.none(), "axis"_a.none(), "temperature"_a.none(), "out"_a.none());
  m.def(
      "plain_logsumexp", [](H x, H axis) { return plain_reduction(Op::logsumexp, x, axis); },
      "x"_a.none(), "axis"_a.none());
  m.def(
      "plain_sigmoid", [](H x, H out) { return plain_elements(Op::sigmoid, x, out); }, "x"_a.none(),
      "out"_a.none());
  m.def(
      "plain_log_sigmoid", [](H x, H out) { return plain_elements(Op::log_sigmoid, x, out); },
      "x"_a.none(), "out"_a.none());
  m.def(
      "plain_softplus", [](H x, H out) { return plain_elements(Op::softplus, x, out); },
      "x"_a.none(), "out"_a.none());
  m.def(
      "plain_logit", [](H x, H out) { return plain_elements(Op::logit, x, out); }, "x"_a.none(),
      "out"_a.none());
  m.def("set_num_threads", &set_num_threads, "n"_a);
  m.def("get_num_threads", &get_num_threads);
  m.def("build_info", &build_info);
}

}  // namespace softmax
