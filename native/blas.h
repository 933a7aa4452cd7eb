// Products of matrices by the BLAS that SciPy was built with. Unlike NumPy's they can be added to
// what is there already, with no room for the product between.
#pragma once

#include <climits>

#include "calls.h"

namespace softmax {

// What SciPy offers to compiled code, in a capsule whose name is the signature.
using Gemm = void (*)(char*, char*, int*, int*, int*, void*, void*, int*, void*, int*, void*, void*,
                      int*);

// A matrix whose rows, or columns if it is transposed, are contiguous.
struct Strided {
  char* data;
  int rows, columns;
  int lead = 1;  // entries from one row, or column, to the next
  bool transposed = false;
  int type;

  Strided(nb::handle given, const char* name) {
    if (!PyArray_Check(given.ptr())) refuse(name, "a NumPy array");
    auto* array = reinterpret_cast<PyArrayObject*>(given.ptr());
    type = PyArray_TYPE(array);
    if (PyArray_NDIM(array) != 2 || (type != NPY_FLOAT && type != NPY_DOUBLE))
      refuse(name, "a matrix of float32 or float64");
    const npy_intp* shape = PyArray_DIMS(array);
    if (std::max(shape[0], shape[1]) > INT_MAX) refuse(name, "smaller");
    data = PyArray_BYTES(array);
    rows = int(shape[0]), columns = int(shape[1]);
    lead = std::max({rows, columns, 1});
    if (rows == 0 || columns == 0) return;
    const int64_t size = PyArray_ITEMSIZE(array);
    // The stride of an axis of one entry says nothing.
    const int64_t down = rows > 1 ? PyArray_STRIDE(array, 0) / size : 0;
    const int64_t across = columns > 1 ? PyArray_STRIDE(array, 1) / size : 1;
    transposed = across != 1;
    const int64_t length = transposed ? rows : columns;
    const int64_t far = transposed ? across : rows > 1 ? down : length;
    if ((transposed && rows > 1 && down != 1) || far < length || far > INT_MAX)
      refuse(name, "contiguous along one axis");
    lead = int(far);
  }
};

// `out` = `a` times `b`, or that added to it. `gemm` is SciPy's for their type.
inline void matrix_product(nb::handle gemm, nb::handle a, nb::handle b, nb::handle out, bool add) {
  const Strided left(a, "a"), right(b, "b"), result(out, "out");
  if (left.type != result.type || right.type != result.type || result.transposed ||
      left.columns != right.rows || left.rows != result.rows || right.columns != result.columns)
    refuse("out", "of the type and shape of the product, with contiguous rows");
  const char* signature = PyCapsule_GetName(gemm.ptr());
  const auto function = signature ? PyCapsule_GetPointer(gemm.ptr(), signature) : nullptr;
  if (function == nullptr) throw nb::python_error();
  if (result.rows == 0 || result.columns == 0) return;
  // BLAS counts down the columns first: to it every matrix is its own transpose.
  char first = right.transposed ? 'T' : 'N', second = left.transposed ? 'T' : 'N';
  const auto call = [&]<class T>(T) {
    T one = 1, kept = add ? 1 : 0;
    int m = result.columns, n = result.rows, k = left.columns;
    int lead_first = right.lead, lead_second = left.lead, lead_out = result.lead;
    reinterpret_cast<Gemm>(function)(&first, &second, &m, &n, &k, &one, right.data, &lead_first,
                                     left.data, &lead_second, &kept, result.data, &lead_out);
  };
  nb::gil_scoped_release release;
  result.type == NPY_FLOAT ? call(0.0f) : call(0.0);
}

}  // namespace softmax
