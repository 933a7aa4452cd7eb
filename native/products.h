// Products that training needs: with matrices in compressed rows, what scipy.sparse calls CSR, and
// weighted ones of rows with themselves.
#pragma once

#include <limits>
#include <type_traits>

#include "calls.h"

namespace softmax {

// The data of a contiguous array of one of the types, whose number is returned in `type`.
inline const char* contiguous(nb::handle given, const char* name, std::initializer_list<int> types,
                              int& type, int64_t& size) {
  if (!PyArray_Check(given.ptr())) refuse(name, "a NumPy array");
  auto* array = reinterpret_cast<PyArrayObject*>(given.ptr());
  type = PyArray_TYPE(array);
  size = PyArray_SIZE(array);
  if (!PyArray_IS_C_CONTIGUOUS(array) || std::find(types.begin(), types.end(), type) == types.end())
    refuse(name, "contiguous, of a type that goes with the others");
  return static_cast<const char*>(PyArray_DATA(array));
}

template <class I>
void refuse_outside(const CsrJob& job) {
  const I* starts = (const I*)job.starts;
  const I* columns = (const I*)job.columns;
  bool inside = starts[0] >= 0 && starts[job.rows] <= job.entries;
  for (int64_t i = 0; i < job.rows; ++i) inside &= starts[i] <= starts[i + 1];
  using U = std::make_unsigned_t<I>;
  const U most = U(std::min<int64_t>(job.n_columns - 1, std::numeric_limits<I>::max()));
  U sign = 0;  // its highest bit is set once that of a column is, or of what is left beyond it
  for (int64_t e = 0; e < job.entries; ++e) sign |= U(columns[e]) | (most - U(columns[e]));
  inside &= I(sign) >= 0 && (job.n_columns > 0 || job.entries == 0);
  if (!inside) refuse("the matrix", "one whose entries are within its shape");
}

// `out` = A `dense`, or A' `dense`, where A has `rows` rows.
inline void sparse_product(nb::handle starts, nb::handle columns, nb::handle values,
                           nb::handle dense, nb::handle out, bool transposed) {
  CsrJob job;
  int index, other_index, type, other_type;
  int64_t size;
  job.transposed = transposed;
  job.starts = contiguous(starts, "indptr", {NPY_INT32, NPY_INT64}, index, size);
  job.rows = size - 1;
  job.columns = contiguous(columns, "indices", {index}, other_index, job.entries);
  job.values = contiguous(values, "data", {NPY_FLOAT, NPY_DOUBLE}, type, size);
  if (size != job.entries || job.rows < 0) refuse("data", "as long as indices");
  job.dense = contiguous(dense, "the dense matrix", {type}, other_type, size);
  int64_t out_size;
  job.out = const_cast<char*>(contiguous(out, "out", {type}, other_type, out_size));
  auto* matrix = reinterpret_cast<PyArrayObject*>(dense.ptr());
  auto* result = reinterpret_cast<PyArrayObject*>(out.ptr());
  if (PyArray_NDIM(matrix) != 2 || PyArray_NDIM(result) != 2 ||
      PyArray_DIM(matrix, 1) != PyArray_DIM(result, 1) ||
      PyArray_DIM(transposed ? matrix : result, 0) != job.rows)
    refuse("the dense matrix", "of a shape that goes with the others");
  job.width = PyArray_DIM(matrix, 1);
  job.n_columns = PyArray_DIM(transposed ? result : matrix, 0);
  job.dtype = type == NPY_FLOAT ? DType::f32 : DType::f64;
  job.wide_index = index == NPY_INT64;
  job.wide_index ? refuse_outside<int64_t>(job) : refuse_outside<int32_t>(job);
  if (job.width == 0) return;
  const Kernels& kernels = chosen_kernels();
  const int64_t work = job.entries * job.width;
  const int64_t units = transposed ? kernels.sparse_groups(job) : job.rows;
  if (units == 0) return;
  parallel_for(units, work / units + 1,
               [&](int64_t begin, int64_t end) { kernels.sparse(job, begin, end); });
}

// Adds to each matrix of `out` the sum over the rows of `x` of their outer products, times a column
// of `weights`.
inline void weighted_grams(nb::handle x, nb::handle weights, nb::handle out) {
  GramJob job;
  int type, other_type;
  int64_t size;
  job.x = contiguous(x, "x", {NPY_FLOAT, NPY_DOUBLE}, type, size);
  job.weights = contiguous(weights, "weights", {type}, other_type, size);
  job.out = const_cast<char*>(contiguous(out, "out", {type}, other_type, size));
  auto* rows = reinterpret_cast<PyArrayObject*>(x.ptr());
  auto* columns = reinterpret_cast<PyArrayObject*>(weights.ptr());
  auto* matrices = reinterpret_cast<PyArrayObject*>(out.ptr());
  if (PyArray_NDIM(rows) != 2 || PyArray_NDIM(columns) != 2 || PyArray_NDIM(matrices) != 3 ||
      PyArray_DIM(columns, 0) != PyArray_DIM(rows, 0) ||
      PyArray_DIM(matrices, 0) != PyArray_DIM(columns, 1) ||
      PyArray_DIM(matrices, 1) != PyArray_DIM(rows, 1) ||
      PyArray_DIM(matrices, 2) != PyArray_DIM(rows, 1))
    refuse("out", "a square matrix for each column of weights");
  job.rows = PyArray_DIM(rows, 0), job.width = PyArray_DIM(rows, 1);
  job.count = PyArray_DIM(columns, 1);
  job.dtype = type == NPY_FLOAT ? DType::f32 : DType::f64;
  const Kernels& kernels = chosen_kernels();
  parallel_for(job.count, job.rows * job.width * job.width / 16 + 1,
               [&](int64_t begin, int64_t end) { kernels.grams(job, begin, end); });
}

}  // namespace softmax
