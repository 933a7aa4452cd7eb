// What training needs: products with matrices in compressed rows, which scipy.sparse calls CSR,
// weighted ones of rows with themselves, and a layer with its loss where everything is small.
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
  if (!PyArray_IS_C_CONTIGUOUS(array) || !PyArray_ISBEHAVED_RO(array) ||
      std::find(types.begin(), types.end(), type) == types.end())
    refuse(name, "contiguous, of a type that goes with the others");
  return static_cast<const char*>(PyArray_DATA(array));
}

// The same of one that is written.
inline char* writable(nb::handle given, const char* name, std::initializer_list<int> types,
                      int& type, int64_t& size) {
  const char* data = contiguous(given, name, types, type, size);
  if (!PyArray_ISWRITEABLE(reinterpret_cast<PyArrayObject*>(given.ptr())))
    refuse(name, "one that may be written");
  return const_cast<char*>(data);
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
  job.out = writable(out, "out", {type}, other_type, out_size);
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
  parallel_for(
      units, work / units + 1, [&](int64_t begin, int64_t end) { kernels.sparse(job, begin, end); },
      Units::uneven);
}

// Adds to each of `count` matrices the sum over the rows of their outer products, times a column of
// weights.
inline void run(const GramJob& job) {
  const Kernels& kernels = chosen_kernels();
  parallel_for(job.count, job.rows * job.width * job.width / 16 + 1,
               [&](int64_t begin, int64_t end) { kernels.grams(job, begin, end); });
}

inline void weighted_grams(nb::handle x, nb::handle weights, nb::handle out) {
  GramJob job;
  int type, other_type;
  int64_t size;
  job.x = contiguous(x, "x", {NPY_FLOAT, NPY_DOUBLE}, type, size);
  job.weights = contiguous(weights, "weights", {type}, other_type, size);
  job.out = writable(out, "out", {type}, other_type, size);
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
  run(job);
}

// Adds to `out`, a matrix with a row and a column for each class and column of x, the second
// derivative of softmax cross-entropy at probabilities p: scale times the sum over the rows of
// weight (diag p - p p') (x) x x'.  As p sums to one, p_k (1 - p_k) is the sum of the p_k p_l.
inline void softmax_curvature(nb::handle x, nb::handle p, nb::handle weights, double scale,
                              nb::handle out) {
  GramJob job;
  int type;
  int64_t x_size, p_size, size;
  job.x = contiguous(x, "x", {NPY_DOUBLE}, type, x_size);
  const auto* share = (const double*)contiguous(p, "p", {NPY_DOUBLE}, type, p_size);
  auto* array = reinterpret_cast<PyArrayObject*>(p.ptr());
  if (PyArray_NDIM(array) != 2) refuse("p", "a row for each row of x");
  const int64_t classes = PyArray_DIM(array, 1);
  job.rows = PyArray_DIM(array, 0);
  job.width = job.rows ? x_size / job.rows : 0;
  if (x_size != job.rows * job.width) refuse("p", "a row for each row of x");
  const double* weight = nullptr;
  if (!weights.is_none()) {
    weight = (const double*)contiguous(weights, "weights", {NPY_DOUBLE}, type, size);
    if (size != job.rows) refuse("weights", "one for each row of x");
  }
  auto* matrix = (double*)writable(out, "out", {NPY_DOUBLE}, type, size);
  const int64_t side = classes * job.width;
  if (job.rows && size != side * side) refuse("out", "square, a row for each class and column");
  job.count = classes * (classes - 1) / 2;
  constexpr int64_t kPart = 256;  // rows, whose weights of all pairs of classes are held
  std::vector<double> weighted(size_t(std::min(kPart, job.rows) * job.count)),
      grams(size_t(job.count * job.width * job.width));
  job.dtype = DType::f64;
  job.out = (char*)grams.data();
  const int64_t rows = job.rows;
  for (int64_t first = 0; first < rows; first += kPart) {
    job.rows = std::min(kPart, rows - first);
    double* pair = weighted.data();
    for (int64_t i = first; i < first + job.rows; ++i, share += classes)
      for (int64_t k = 0; k < classes; ++k) {
        const double own = scale * (weight ? weight[i] : 1) * share[k];
        for (int64_t l = k + 1; l < classes; ++l) *pair++ = own * share[l];
      }
    job.weights = (const char*)weighted.data();
    run(job);
    job.x += job.rows * job.width * int64_t(sizeof(double));
  }
  const double* gram = grams.data();
  for (int64_t k = 0; k < classes; ++k)
    for (int64_t l = k + 1; l < classes; ++l)
      for (int64_t i = 0; i < job.width; ++i) {
        double* of_k = matrix + (k * job.width + i) * side;
        double* of_l = matrix + (l * job.width + i) * side;
        for (int64_t j = 0; j < job.width; ++j, ++gram) {
          of_k[k * job.width + j] += *gram;
          of_l[l * job.width + j] += *gram;
          of_k[l * job.width + j] -= *gram;
          of_l[k * job.width + j] -= *gram;
        }
      }
}

// Completes such a matrix: adds l2 to the diagonal of the first columns of each class, writes the
// diagonal into `own`, and adds the curvature along a shift of all classes, which changes no
// probability: free to choose, and without it the matrix would be singular.
inline void complete_curvature(nb::handle matrix, nb::handle own, double l2, int64_t penalised) {
  int type;
  int64_t size, side;
  auto* whole = (double*)writable(matrix, "matrix", {NPY_DOUBLE}, type, size);
  auto* diagonal = (double*)writable(own, "own", {NPY_DOUBLE}, type, side);
  auto* array = reinterpret_cast<PyArrayObject*>(own.ptr());
  if (PyArray_NDIM(array) != 2 || size != side * side)
    refuse("own", "a row for each class, a column for each of x");
  const int64_t classes = PyArray_DIM(array, 0), width = PyArray_DIM(array, 1);
  for (int64_t j = 0; j < width; ++j) {
    double sum = 0;
    for (int64_t k = 0; k < classes; ++k) {
      double& entry = whole[(k * width + j) * (side + 1)];
      if (j < penalised) entry += l2;
      sum += diagonal[k * width + j] = entry;
    }
    for (int64_t k = 0; k < classes; ++k)
      for (int64_t l = 0; l < classes; ++l)
        whole[(k * width + j) * side + l * width + j] += sum / double(classes * classes);
  }
}

// Puts `l2` times the parameters in the first columns into the gradient; returns their squares'
// sum.
template <class T>
double begin_gradient(const LayerJob& job, double l2, int64_t penalised) {
  const T* parameter = (const T*)job.parameters;
  T* slope = (T*)job.gradient;
  double squares = 0;
  for (int64_t k = 0; k < job.loss.softmax.n; ++k)
    for (int64_t j = 0; j < job.width; ++j) {
      const double own = j < penalised ? *parameter : 0;
      squares += own * own;
      *slope++ = T(l2 * own);
      ++parameter;
    }
  return squares;
}

// The loss of a layer, the sum of its rows' and half of `l2` times the squares of the parameters in
// the first `penalised` columns.  Puts the gradient of the logits into `slopes`, that of the
// parameters into `gradient`.
inline double layer_loss(nb::handle x, nb::handle parameters, nb::handle labels, nb::handle targets,
                         nb::handle weights, double scale, double l2, int64_t penalised,
                         nb::handle loss, nb::handle slopes, nb::handle gradient) {
  LayerJob job;
  int type, other;
  int64_t size;
  if (labels.is_none() == targets.is_none()) refuse("labels", "given, or else targets");
  job.loss = planned_losses(slopes, labels, targets, weights, loss, slopes, -1, scale, 0);
  const int64_t rows = job.loss.softmax.slices, classes = job.loss.softmax.n;
  job.x = contiguous(x, "x", {NPY_FLOAT, NPY_DOUBLE}, type, size);
  auto* array = reinterpret_cast<PyArrayObject*>(x.ptr());
  if (PyArray_NDIM(array) != 2) refuse("x", "rows");
  job.width = PyArray_DIM(array, 1);
  const bool single = type == NPY_FLOAT;
  if (size != rows * job.width || job.loss.softmax.dtype != (single ? DType::f32 : DType::f64))
    refuse("x", "a row for each row of logits, of their type");
  job.parameters = contiguous(parameters, "parameters", {type}, other, size);
  if (size != classes * job.width || penalised < 0 || penalised > job.width)
    refuse("parameters", "a row for each class, a column for each of x");
  job.gradient = writable(gradient, "gradient", {type}, other, size);
  if (size != classes * job.width) refuse("gradient", "of the shape of the parameters");
  const double squares = single ? begin_gradient<float>(job, l2, penalised)
                                : begin_gradient<double>(job, l2, penalised);
  const Kernels& kernels = chosen_kernels();
  parallel_for(job.loss.softmax.bundles(),
               (job.width + classes) * job.loss.softmax.largest_bundle(),
               [&](int64_t begin, int64_t end) { kernels.layer_rows(job, begin, end); });
  parallel_for((classes + kLayerClasses - 1) / kLayerClasses, rows * job.width / 4 + 1,
               [&](int64_t begin, int64_t end) { kernels.layer_classes(job, begin, end); });
  double total = 0;
  for (int64_t i = 0; i < rows; ++i) total += job.loss.loss[i];
  return total + l2 / 2 * squares;
}

// Slopes of rows over their weights, and what the target is: see below.
template <class T>
void put_probabilities(const char* slopes, const int64_t* labels, const char* targets,
                       const double* weights, double scale, int64_t rows, int64_t classes,
                       char* out) {
  const T* slope = (const T*)slopes;
  const T* target = (const T*)targets;
  T* p = (T*)out;
  for (int64_t i = 0; i < rows; ++i, slope += classes, p += classes) {
    const double own = scale * (weights ? weights[i] : 1);
    if (labels && (labels[i] < 0 || labels[i] >= classes)) refuse("labels", "below the classes");
    for (int64_t k = 0; k < classes; ++k) {
      p[k] = own == 0 ? T(0) : T(slope[k] / own);
      if (own != 0 && (target != nullptr || labels[i] == k)) p[k] += target ? target[k] : T(1);
    }
    if (target) target += classes;
  }
}

// Puts the probabilities that such a pass went through into `out`: what the gradient of the logits
// is more than minus the target. Rows of weight 0 get zeros.
inline void layer_probabilities(nb::handle slopes, nb::handle labels, nb::handle targets,
                                nb::handle weights, double scale, nb::handle out) {
  int type, same;
  int64_t size, other;
  const char* slope = contiguous(slopes, "slopes", {NPY_FLOAT, NPY_DOUBLE}, type, size);
  auto* array = reinterpret_cast<PyArrayObject*>(slopes.ptr());
  if (PyArray_NDIM(array) != 2) refuse("slopes", "rows");
  const int64_t rows = PyArray_DIM(array, 0), classes = PyArray_DIM(array, 1);
  char* p = writable(out, "out", {type}, same, other);
  if (other != size) refuse("out", "as large as slopes");
  const auto given = [&](nb::handle argument, const char* name, int dtype, int64_t wanted) {
    if (argument.is_none()) return (const char*)nullptr;
    const char* data = contiguous(argument, name, {dtype}, same, other);
    if (other != wanted) refuse(name, "of the size that goes with slopes");
    return data;
  };
  const auto* label = (const int64_t*)given(labels, "labels", NPY_INT64, rows);
  const char* target = given(targets, "targets", type, size);
  const auto* weight = (const double*)given(weights, "weights", NPY_DOUBLE, rows);
  if ((label == nullptr) == (target == nullptr)) refuse("labels", "given, or else targets");
  const auto put = type == NPY_FLOAT ? &put_probabilities<float> : &put_probabilities<double>;
  put(slope, label, target, weight, scale, rows, classes, p);
}

// Puts (products - sums mean') / total + l2 parameters into the first columns of `out`, as many as
// `products` has, and sums / total into the one after them, if there is one.
template <class T, class P>
void derive(const char* products, const npy_intp* steps, int64_t classes, int64_t width,
            const double* sums, const double* mean, double total, double l2, const char* penalised,
            int64_t columns, char* derivative) {
  constexpr int64_t kBlock = 256;  // of columns, which stay near while the classes pass
  const double share = 1 / total;
  const P* parameters = (const P*)penalised;
  P* out = (P*)derivative;
  for (int64_t first = 0; first < width; first += kBlock)
    for (int64_t k = 0; k < classes; ++k) {
      const char* row = products + k * steps[0];
      const int64_t at = k * columns;
      for (int64_t j = first; j < std::min(first + kBlock, width); ++j) {
        const double product = *(const T*)(row + j * steps[1]);
        out[at + j] = P((product - sums[k] * mean[j]) * share + l2 * parameters[at + j]);
      }
    }
  for (int64_t k = 0; k < classes && columns > width; ++k)
    out[k * columns + width] = P(sums[k] / total);
}

// The derivative by the parameters of a layer, with features moved by `mean`, from the sums of the
// products with the features as they are.
inline void layer_derivative(nb::handle products, nb::handle sums, nb::handle mean, double total,
                             double l2, nb::handle parameters, nb::handle out) {
  if (!PyArray_Check(products.ptr())) refuse("products", "a NumPy array");
  auto* given = reinterpret_cast<PyArrayObject*>(products.ptr());
  const int type = PyArray_TYPE(given);
  if (PyArray_NDIM(given) != 2 || (type != NPY_FLOAT && type != NPY_DOUBLE))
    refuse("products", "a matrix of float32 or float64");
  const int64_t classes = PyArray_DIM(given, 0), width = PyArray_DIM(given, 1);
  int other, kept;
  int64_t sums_size, mean_size, size, out_size;
  const auto* s = (const double*)contiguous(sums, "sums", {NPY_DOUBLE}, other, sums_size);
  const auto* m = (const double*)contiguous(mean, "mean", {NPY_DOUBLE}, other, mean_size);
  const char* p = contiguous(parameters, "parameters", {NPY_FLOAT, NPY_DOUBLE}, kept, size);
  char* result = writable(out, "out", {kept}, other, out_size);
  const bool intercepts = size == classes * (width + 1);
  if (sums_size != classes || mean_size != width || out_size != size ||
      (!intercepts && size != classes * width))
    refuse("out", "of the shape of the parameters, a row for each class");
  const auto derived = type == NPY_FLOAT
                           ? (kept == NPY_FLOAT ? &derive<float, float> : &derive<float, double>)
                           : (kept == NPY_FLOAT ? &derive<double, float> : &derive<double, double>);
  derived(PyArray_BYTES(given), PyArray_STRIDES(given), classes, width, s, m, total, l2, p,
          width + intercepts, result);
}

template <class P, class T>
void put_loss_gradient(const char* parameters, const char* gradient, double l2, int64_t classes,
                       int64_t columns, int64_t width, char* out, double& squares,
                       double& products) {
  const P* p = (const P*)parameters;
  const P* g = (const P*)gradient;
  T* y = (T*)out;
  for (int64_t k = 0; k < classes; ++k, p += columns, g += columns)
    for (int64_t j = 0; j < width; ++j) {
      const double own = p[j], slope = g[j];
      *y++ = T(slope - l2 * own);
      squares += own * own;
      products += own * slope;
    }
}

// Puts the gradient of the loss alone, gradient - l2 parameters in the first columns, into `out`,
// and returns the sums of squares of the parameters there and of their products with the gradient.
inline nb::tuple loss_gradient(nb::handle parameters, nb::handle gradient, double l2,
                               nb::handle out) {
  int type, other;
  int64_t size, gradient_size, out_size;
  const char* p = contiguous(parameters, "parameters", {NPY_FLOAT, NPY_DOUBLE}, type, size);
  const char* g = contiguous(gradient, "gradient", {type}, other, gradient_size);
  char* result = writable(out, "out", {NPY_FLOAT, NPY_DOUBLE}, other, out_size);
  auto* array = reinterpret_cast<PyArrayObject*>(parameters.ptr());
  if (PyArray_NDIM(array) != 2 || gradient_size != size) refuse("gradient", "as the parameters");
  const int64_t classes = PyArray_DIM(array, 0), columns = PyArray_DIM(array, 1);
  const int64_t width = classes ? out_size / classes : 0;
  if (out_size != classes * width || width > columns) refuse("out", "as the first columns");
  double squares = 0, products = 0;
  const auto put = type == NPY_FLOAT ? (other == NPY_FLOAT ? &put_loss_gradient<float, float>
                                                           : &put_loss_gradient<float, double>)
                                     : (other == NPY_FLOAT ? &put_loss_gradient<double, float>
                                                           : &put_loss_gradient<double, double>);
  put(p, g, l2, classes, columns, width, result, squares, products);
  return nb::make_tuple(squares, products);
}

// How far the best of a function with curvature of at least `l2` can be below, from its gradient:
// squares over twice l2; of the last column, where `curvature` is given, squares over that.
inline double quadratic_gap(nb::handle gradient, double l2, nb::handle curvature) {
  int type, other;
  int64_t size, given = 0;
  const char* slopes = contiguous(gradient, "gradient", {NPY_FLOAT, NPY_DOUBLE}, type, size);
  auto* array = reinterpret_cast<PyArrayObject*>(gradient.ptr());
  if (PyArray_NDIM(array) != 2) refuse("gradient", "a row for each class");
  const int64_t classes = PyArray_DIM(array, 0), columns = PyArray_DIM(array, 1);
  const double* bend = nullptr;
  if (!curvature.is_none()) {
    bend = (const double*)contiguous(curvature, "curvature", {NPY_DOUBLE}, other, given);
    if (given != classes || (classes && columns == 0)) refuse("curvature", "one for each class");
  }
  const auto sum = [&]<class T>(const T* g) {
    double squares = 0, ends = 0;
    for (int64_t k = 0; k < classes; ++k, g += columns) {
      double parts[8] = {};  // in which it goes on before a sum is done
      const int64_t width = columns - (bend != nullptr), whole = width / 8 * 8;
      for (int64_t j = 0; j < whole; j += 8)
        for (int i = 0; i < 8; ++i) parts[i] += double(g[j + i]) * g[j + i];
      for (int64_t j = whole; j < width; ++j) parts[0] += double(g[j]) * g[j];
      for (const double part : parts) squares += part;
      if (bend) ends += double(g[width]) * g[width] / bend[k];
    }
    return squares / (2 * l2) + ends;
  };
  return type == NPY_FLOAT ? sum((const float*)slopes) : sum((const double*)slopes);
}

}  // namespace softmax
