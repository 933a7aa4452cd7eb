// NumPy arrays as the plan sees them.
//
// NumPy's own fields are read: every other way (buffers, DLPack) costs more than softmax of ten
// numbers.  Included by core.cpp alone, as NumPy's table of functions belongs to one file.
#pragma once

#include <nanobind/nanobind.h>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_1_25_API_VERSION
#include <numpy/arrayobject.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>

#include "plan.h"

namespace softmax {

namespace nb = nanobind;

[[noreturn]] inline void refuse(const char* name, const char* expected) {
  throw nb::type_error((std::string(name) + " must be " + expected).c_str());
}

// bfloat16 belongs to ml_dtypes, which gets its number from NumPy when it is imported.
inline bool is_bfloat16(PyArrayObject* array) {
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

// An argument as an array; None gives one without data.
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
inline void refuse_unless(const Given& given, const char* name, int type, int64_t size) {
  if (!given.object) return;
  if (PyArray_TYPE(given.object) != type || !PyArray_IS_C_CONTIGUOUS(given.object) ||
      PyArray_SIZE(given.object) != size)
    refuse(name, "contiguous, of the dtype and the size that go with the logits");
}

}  // namespace softmax
