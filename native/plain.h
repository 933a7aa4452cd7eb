// Calls that take what Python's callers gave and return the result, or None where that is not as
// kernels need it: then src/softmax/_inputs.py looks closer.  All is done here because each look at
// an array from Python costs as much as softmax of ten numbers.
#pragma once

#include <cmath>
#include <string_view>
#include <utility>
#include <vector>

#include "calls.h"
#include "results.h"

namespace softmax {

inline bool is_plain(nb::handle given) {
  if (!PyArray_CheckExact(given.ptr())) return false;
  auto* array = reinterpret_cast<PyArrayObject*>(given.ptr());
  const int type = PyArray_TYPE(array);
  const bool served =
      type == NPY_FLOAT || type == NPY_DOUBLE || type == NPY_HALF || is_bfloat16(array);
  return served && PyArray_ISBEHAVED_RO(array) && PyArray_NDIM(array) > 0 &&
         PyArray_NDIM(array) <= kMaxDims;
}

// The bytes from the first to past the last element.
inline std::pair<const char*, const char*> extent(PyArrayObject* array) {
  const char* begin = PyArray_BYTES(array);
  const char* end = begin + PyArray_ITEMSIZE(array);
  for (int d = 0; d < PyArray_NDIM(array); ++d) {
    const int64_t reach = PyArray_STRIDE(array, d) * (PyArray_DIM(array, d) - 1);
    (reach < 0 ? begin : end) += reach;
  }
  return {begin, end};
}

// A new array like x where out is None; out where a result of x can be written there; else null.
// `alike` as of result_like.
inline nb::object plain_result(nb::handle x, nb::handle out, bool alike) {
  auto* from = reinterpret_cast<PyArrayObject*>(x.ptr());
  if (out.is_none()) return result_like(from, alike);
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
inline int plain_axis(nb::handle axis, int dims) {
  if (!PyLong_CheckExact(axis.ptr())) return -1;
  int overflow;
  const long number = PyLong_AsLongAndOverflow(axis.ptr(), &overflow);
  if (overflow || number < -dims || number >= dims) return -1;
  return int(number < 0 ? number + dims : number);
}

// One number, of a kind that needs no closer look.
inline bool plain_number(nb::handle given, double& number) {
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

// A text, of none but ASCII characters; else nothing.
inline std::string_view plain_text(nb::handle given) {
  if (!PyUnicode_Check(given.ptr()) || !PyUnicode_IS_ASCII(given.ptr())) return {};
  return {static_cast<const char*>(PyUnicode_DATA(given.ptr())),
          size_t(PyUnicode_GET_LENGTH(given.ptr()))};
}

// Whether results along this axis are to begin where entries do in a cache line: columns are, of
// which there are so many that a tile more to reach the next line is nothing, and rows, but for
// those of a softmax, which are made from exponentials that lie elsewhere.
inline bool begins_alike(Op op, const Given& x, int axis) {
  constexpr int64_t kMany = 1024;
  const int64_t item = item_size(x.array.dtype), along = x.array.stride[axis];
  return along == item ? op != Op::softmax : along >= kMany * item;
}

inline nb::object plain_map(Op op, nb::handle x, nb::handle axis, nb::handle temperature,
                            nb::handle out) {
  double degree;
  if (!is_plain(x) || !plain_number(temperature, degree) || !(degree >= 0)) return nb::none();
  const Given from(x, "x");
  const int number = plain_axis(axis, from.array.dims);
  if (number < 0) return nb::none();
  nb::object result = plain_result(x, out, begins_alike(op, from, number));
  if (!result.is_valid()) return nb::none();
  const Given to(result, "out");
  Job job;
  Plan plan(job, op, from.array, number);
  plan.add(job.y, to.array);
  if (degree != 1) plan.add_constant(job.temperature, &degree);
  run(settled(plan));
  return result;
}

// The derivative of softmax along a direction of the same kind and shape.
inline nb::object plain_derivative(nb::handle x, nb::handle direction, nb::handle axis,
                                   nb::handle temperature) {
  double degree;
  if (!is_plain(x) || !is_plain(direction) || !plain_number(temperature, degree) || !(degree >= 0))
    return nb::none();
  const Given from(x, "x"), along(direction, "direction");
  const int number = plain_axis(axis, from.array.dims);
  if (number < 0 || from.array.dtype != along.array.dtype ||
      !PyArray_SAMESHAPE(from.object, along.object))
    return nb::none();
  const nb::object result = plain_result(x, nb::none(), begins_alike(Op::derivative, from, number));
  const Given to(result, "out");
  Job job;
  Plan plan(job, Op::derivative, from.array, number);
  plan.add(job.y, to.array);
  plan.add(job.second, along.array);
  if (degree != 1) plan.add_constant(job.temperature, &degree);
  run(settled(plan));
  return result;
}

inline nb::object plain_reduction(Op op, nb::handle x, nb::handle axis) {
  if (!is_plain(x)) return nb::none();
  const Given from(x, "x");
  const int number = plain_axis(axis, from.array.dims);
  if (number < 0) return nb::none();
  Array reduced = from.array;
  reduced.shape[number] = 1;
  npy_intp shape[kMaxDims];
  for (int d = 0, k = 0; d < reduced.dims; ++d)
    if (d != number) shape[k++] = reduced.shape[d];
  nb::object result = made(PyArray_EMPTY(reduced.dims - 1, shape, PyArray_TYPE(from.object), 0));
  const Given to(result, "out");
  reduced.data = to.array.data;
  for (int d = 0, k = 0; d < reduced.dims; ++d)
    reduced.stride[d] = d == number ? 0 : to.array.stride[k++];
  Job job;
  Plan plan(job, op, from.array, number);
  plan.add(job.y, reduced);
  run(settled(plan));
  return nb::steal(PyArray_Return(reinterpret_cast<PyArrayObject*>(result.release().ptr())));
}

inline nb::object plain_elements(Op op, nb::handle x, nb::handle out) {
  if (!is_plain(x)) return nb::none();
  nb::object result = plain_result(x, out, true);
  if (!result.is_valid()) return nb::none();
  elementwise(op, x, result);
  return result;
}

// Integer labels, one for each slice of x along the axis, all of them classes.
inline bool plain_labels(nb::handle target, PyArrayObject* x, int axis) {
  if (!PyArray_CheckExact(target.ptr())) return false;
  auto* labels = reinterpret_cast<PyArrayObject*>(target.ptr());
  if (PyArray_TYPE(labels) != NPY_INT64 || !PyArray_ISCARRAY_RO(labels) ||
      PyArray_NDIM(labels) != PyArray_NDIM(x) - 1)
    return false;
  for (int d = 0, k = 0; d < PyArray_NDIM(x); ++d)
    if (d != axis && PyArray_DIM(x, d) != PyArray_DIM(labels, k++)) return false;
  return are_classes(static_cast<const int64_t*>(PyArray_DATA(labels)), PyArray_SIZE(labels),
                     PyArray_DIM(x, axis), true);
}

// A number as a scalar of x's dtype; beyond its largest it is infinite.
inline nb::object scalar_like(PyArrayObject* x, double number) {
  const int type = PyArray_TYPE(x);
  const double beyond = type == NPY_HALF ? 65520 : type == NPY_FLOAT ? 0x1.ffffffp127 : HUGE_VAL;
  if (number >= beyond) number = HUGE_VAL;
  PyArray_Descr* dtype = PyArray_DESCR(x);
  if (type == NPY_DOUBLE) return made(PyArray_Scalar(&number, dtype, nullptr));
  if (type == NPY_FLOAT) {
    float single = float(number);
    return made(PyArray_Scalar(&single, dtype, nullptr));
  }
  Py_INCREF(dtype);
  nb::object scalar = nb::steal(
      PyArray_NewFromDescr(&PyArray_Type, dtype, 0, nullptr, nullptr, nullptr, 0, nullptr));
  auto* array = reinterpret_cast<PyArrayObject*>(scalar.ptr());
  if (PyArray_SETITEM(array, PyArray_BYTES(array), nb::float_(number).ptr()) < 0)
    throw nb::python_error();
  return nb::steal(PyArray_Return(reinterpret_cast<PyArrayObject*>(scalar.release().ptr())));
}

// The sums of so many bundles have a place that need not be asked for.
inline constexpr int64_t kFewBundles = 16;

// The mean or sum over slices without weights, and the gradient where that is asked for.
inline nb::object plain_cross_entropy(nb::handle logits, nb::handle target, nb::handle axis,
                                      nb::handle label_smoothing, nb::handle z_loss,
                                      nb::handle reduction, nb::handle return_grad,
                                      nb::handle out) {
  double smoothing, z;
  if (!is_plain(logits) || !plain_number(label_smoothing, smoothing) || smoothing != 0 ||
      !plain_number(z_loss, z) || !(z >= 0 && z < HUGE_VAL))
    return nb::none();
  const std::string_view way = plain_text(reduction);
  const bool means = way == "mean";
  if (!means && way != "sum") return nb::none();
  const bool slopes = return_grad.ptr() == Py_True;
  if (!slopes && (return_grad.ptr() != Py_False || !out.is_none())) return nb::none();
  auto* x = reinterpret_cast<PyArrayObject*>(logits.ptr());
  const int number = plain_axis(axis, PyArray_NDIM(x));
  if (number < 0 || !PyArray_IS_C_CONTIGUOUS(x) || PyArray_SIZE(x) == 0 ||
      !plain_labels(target, x, number))
    return nb::none();
  nb::object gradient = nb::none();
  if (slopes) {
    gradient = plain_result(logits, out, PyArray_STRIDE(x, number) == PyArray_ITEMSIZE(x));
    if (!gradient.is_valid() ||
        !PyArray_IS_C_CONTIGUOUS(reinterpret_cast<PyArrayObject*>(gradient.ptr())))
      return nb::none();
  }
  LossJob job;
  const Given entries(logits, "logits");
  plan_softmax(job.softmax, entries.array, Given(gradient, "gradient"), number);
  job.softmax.lead = 0;  // what is added up by itself does not depend on where arrays lie
  job.labels =
      static_cast<const int64_t*>(PyArray_DATA(reinterpret_cast<PyArrayObject*>(target.ptr())));
  job.all_count = true;  // as plain_labels saw
  job.scale = means ? 1 / double(job.softmax.slices) : 1.0;
  job.z_loss = z;
  const int64_t bundles = job.softmax.bundles();
  double few[kFewBundles];
  std::vector<double> many(size_t(bundles <= kFewBundles ? 0 : bundles));
  double* sums = many.empty() ? few : many.data();
  job.sums = sums;
  run(std::move(job));
  nb::object loss = scalar_like(x, pairwise_sum(sums, bundles));
  return slopes ? nb::make_tuple(loss, gradient) : loss;
}

}  // namespace softmax
