// Products of matrices by the BLAS that SciPy was built with, which unlike NumPy's can be added to
// what is there already, and its Cholesky factors, of several small matrices in one call.
#pragma once

#include <climits>
#include <optional>

#include "calls.h"
#include "products.h"

namespace softmax {

// What SciPy offers to compiled code, in a capsule whose name is the signature.
using Gemm = void (*)(char*, char*, int*, int*, int*, void*, void*, int*, void*, int*, void*, void*,
                      int*);

using Potrf = void (*)(char*, int*, void*, int*, int*);
using Trsv = void (*)(char*, char*, char*, int*, void*, int*, void*, int*);

template <class Function>
Function function_in(nb::handle capsule) {
  const char* signature = PyCapsule_GetName(capsule.ptr());
  void* pointer = signature ? PyCapsule_GetPointer(capsule.ptr(), signature) : nullptr;
  if (pointer == nullptr) throw nb::python_error();
  return reinterpret_cast<Function>(pointer);
}

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
    if (PyArray_NDIM(array) != 2 || (type != NPY_FLOAT && type != NPY_DOUBLE) ||
        !PyArray_ISBEHAVED_RO(array))
      refuse(name, "a matrix of float32 or float64");
    const npy_intp* shape = PyArray_DIMS(array);
    if (std::max(shape[0], shape[1]) > INT_MAX) refuse(name, "smaller");
    data = PyArray_BYTES(array);
    rows = int(shape[0]), columns = int(shape[1]);
    lead = std::max({rows, columns, 1});
    if (rows == 0 || columns == 0) return;
    const int64_t size = PyArray_ITEMSIZE(array);
    if (PyArray_STRIDE(array, 0) % size != 0 || PyArray_STRIDE(array, 1) % size != 0)
      refuse(name, "of strides of whole entries");
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
  if (!PyArray_ISWRITEABLE(reinterpret_cast<PyArrayObject*>(out.ptr())))
    refuse("out", "one that may be written");
  if (left.type != result.type || right.type != result.type || result.transposed ||
      left.columns != right.rows || left.rows != result.rows || right.columns != result.columns)
    refuse("out", "of the type and shape of the product, with contiguous rows");
  const auto multiply = function_in<Gemm>(gemm);
  if (result.rows == 0 || result.columns == 0) return;
  // BLAS counts down the columns first: to it every matrix is its own transpose.
  char first = right.transposed ? 'T' : 'N', second = left.transposed ? 'T' : 'N';
  const auto call = [&]<class T>(T) {
    T one = 1, kept = add ? 1 : 0;
    int m = result.columns, n = result.rows, k = left.columns;
    int lead_first = right.lead, lead_second = left.lead, lead_out = result.lead;
    multiply(&first, &second, &m, &n, &k, &one, right.data, &lead_first, left.data, &lead_second,
             &kept, result.data, &lead_out);
  };
  nb::gil_scoped_release release;
  result.type == NPY_FLOAT ? call(0.0f) : call(0.0);
}

// Entries times rows: to let other threads run would cost more than less work than that.
inline constexpr int64_t kBriefWork = 1 << 16;

// Several square matrices, one after the other.
struct Blocks {
  char* data;
  int type;
  int64_t count;
  int side;

  explicit Blocks(nb::handle given) {
    int64_t size;
    data = writable(given, "matrices", {NPY_FLOAT, NPY_DOUBLE}, type, size);
    auto* array = reinterpret_cast<PyArrayObject*>(given.ptr());
    if (PyArray_NDIM(array) != 3 || PyArray_DIM(array, 1) != PyArray_DIM(array, 2) ||
        PyArray_DIM(array, 1) > INT_MAX)
      refuse("matrices", "square");
    count = PyArray_DIM(array, 0), side = int(PyArray_DIM(array, 1));
  }
};

// Puts the Cholesky factor of a symmetric matrix, scaled to unit diagonal, in its place.
template <class T>
void factor_one(Potrf potrf, T* matrix, int side, T* scale) {
  if (side == 0) return;
  const std::vector<T> before(matrix, matrix + int64_t(side) * side);
  for (int i = 0; i < side; ++i) {
    const T diagonal = before[size_t(i) * side + i];
    // Else no step: a column that never varies.
    scale[i] = diagonal > std::numeric_limits<T>::min() ? 1 / std::sqrt(diagonal) : 0;
  }
  // Rounding can leave a matrix of correlated columns slightly indefinite.
  int failed = 1;
  for (T ridge = 10 * std::numeric_limits<T>::epsilon(); failed > 0 && ridge < 1e6; ridge *= 10) {
    for (int i = 0; i < side; ++i)
      for (int j = 0; j < side; ++j)
        matrix[int64_t(i) * side + j] =
            i == j ? 1 + ridge : before[size_t(i) * side + j] * scale[i] * scale[j];
    char upper = 'U';
    potrf(&upper, &side, matrix, &side, &failed);
  }
}

// Puts the Cholesky factors of symmetric matrices, scaled to unit diagonal, in their place.
inline void factor_blocks(nb::handle potrf, nb::handle matrices, nb::handle scales) {
  const Blocks blocks(matrices);
  int type;
  int64_t size;
  auto* scale = writable(scales, "scales", {blocks.type}, type, size);
  if (size != blocks.count * blocks.side) refuse("scales", "one for each row of the matrices");
  const auto function = function_in<Potrf>(potrf);
  const auto each = [&]<class T>(T*) {
    for (int64_t b = 0; b < blocks.count; ++b)
      factor_one(function, (T*)blocks.data + b * blocks.side * blocks.side, blocks.side,
                 (T*)scale + b * blocks.side);
  };
  std::optional<nb::gil_scoped_release> release;
  if (size * blocks.side > kBriefWork) release.emplace();
  type == NPY_FLOAT ? each((float*)nullptr) : each((double*)nullptr);
}

// Solves with such factors: of `right`, as many rows for each matrix as there are, into `out`.
// One row at a time: products with a triangle, where LAPACK packs it for many.
inline void solve_blocks(nb::handle trsv, nb::handle matrices, nb::handle scales, nb::handle right,
                         nb::handle out) {
  const Blocks blocks(matrices);
  int type, other;
  int64_t scales_size, size, out_size;
  const auto* scale = contiguous(scales, "scales", {blocks.type}, type, scales_size);
  const auto* given = (const double*)contiguous(right, "right", {NPY_DOUBLE}, other, size);
  auto* solution = (double*)writable(out, "out", {NPY_DOUBLE}, other, out_size);
  const int64_t entries = blocks.count * blocks.side;
  if (scales_size != entries || out_size != size || (entries ? size % entries : size) != 0 ||
      size > INT_MAX)
    refuse("right", "rows as long as those of the matrices, as many for each");
  if (size == 0) return;
  int side = blocks.side, rows = int(size / entries);
  const auto solve = function_in<Trsv>(trsv);
  const auto each = [&]<class T>(T*) {
    std::vector<T> scaled(size_t(rows) * side);
    for (int64_t b = 0; b < blocks.count; ++b) {
      const T* s = (const T*)scale + b * side;
      const int64_t first = b * rows * side;
      for (int64_t i = 0; i < rows * side; ++i) scaled[i] = T(given[first + i]) * s[i % side];
      char upper = 'U', transposed = 'T', plain = 'N';
      T* factor = (T*)blocks.data + b * side * side;
      int step = 1;
      for (T* row = scaled.data(); row != scaled.data() + scaled.size(); row += side) {
        solve(&upper, &transposed, &plain, &side, factor, &side, row, &step);
        solve(&upper, &plain, &plain, &side, factor, &side, row, &step);
      }
      for (int64_t i = 0; i < rows * side; ++i) solution[first + i] = scaled[i] * s[i % side];
    }
  };
  std::optional<nb::gil_scoped_release> release;
  if (size * blocks.side > kBriefWork) release.emplace();
  type == NPY_FLOAT ? each((float*)nullptr) : each((double*)nullptr);
}

}  // namespace softmax
