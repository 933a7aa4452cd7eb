// Calls that take what Python's callers gave and return the result, or None where that is not as
// kernels need it: then src/softmax/_inputs.py looks closer.  All is done here because each look at
// an array from Python costs as much as softmax of ten numbers.
#pragma once

#include <utility>

#include "calls.h"

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
inline nb::object plain_result(nb::handle x, nb::handle out) {
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

inline nb::object plain_map(Op op, nb::handle x, nb::handle axis, nb::handle temperature,
                            nb::handle out) {
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
  const nb::object result = plain_result(x, nb::none());
  const Given to(result, "out");
  Plan plan(Op::derivative, from.array, number);
  plan.add(plan.job.y, to.array);
  plan.add(plan.job.second, along.array);
  if (degree != 1) plan.add_constant(plan.job.temperature, &degree);
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

inline nb::object plain_elements(Op op, nb::handle x, nb::handle out) {
  if (!is_plain(x)) return nb::none();
  nb::object result = plain_result(x, out);
  if (!result.is_valid()) return nb::none();
  elementwise(op, x, result);
  return result;
}

}  // namespace softmax
