// Prints a hash of what each instruction set computes, to compare one machine with another.
#include <cstdint>
#include <cstdio>
#include <random>
#include <utility>
#include <vector>

#include "plan.h"

using namespace softmax;

namespace {

Array array_of(DType dtype, int64_t rows, int64_t columns, void* data) {
  const int64_t item = item_size(dtype);
  Array array{.data = static_cast<char*>(data), .dims = 2, .dtype = dtype};
  array.shape[0] = rows, array.shape[1] = columns;
  array.stride[0] = columns * item, array.stride[1] = item;
  return array;
}

// Fowler, Noll and Vo.
uint64_t hashed(uint64_t hash, const std::vector<unsigned char>& bytes) {
  for (const unsigned char byte : bytes) hash = (hash ^ byte) * 1099511628211u;
  return hash;
}

template <class T>
uint64_t results(const Kernels& kernels, Op op, DType dtype, uint64_t hash) {
  const std::vector<std::pair<int, int>> shapes = {
      {1, 1}, {3, 5}, {70, 10}, {33, 100}, {5, 1000}, {2, 40000}, {3, 5000}, {100, 37}, {600, 3}};
  std::mt19937_64 random(1);  // its numbers are the same everywhere
  for (const double spread : {2.0, 30.0, 3000.0})
    for (const auto& [rows, columns] : shapes)
      for (const int axis : {0, 1}) {
        std::vector<T> x(size_t(rows) * size_t(columns));
        for (T& entry : x) entry = T((double(random() >> 11) * 0x1p-53 - 0.5) * spread);
        std::vector<unsigned char> y(x.size() * sizeof(T));
        Array result = array_of(dtype, rows, columns, y.data());
        if (op == Op::logsumexp) {
          result.shape[axis] = 1;
          result.stride[0] = axis == 0 ? 0 : int64_t(sizeof(T));
          result.stride[1] = axis == 1 ? 0 : int64_t(sizeof(T));
        }
        Plan plan(op, array_of(dtype, rows, columns, x.data()), axis);
        plan.add(plan.job.y, result);
        plan.choose_traversal();
        kernels.run(plan.job, 0, plan.job.bundles());
        hash = hashed(hash, y);
      }
  return hash;
}

}  // namespace

int main() {
  for (const Kernels* kernels : available_kernels()) {
    uint64_t hash = 14695981039346656037u;
    for (const Op op : {Op::softmax, Op::log_softmax, Op::logsumexp}) {
      hash = results<float>(*kernels, op, DType::f32, hash);
      hash = results<double>(*kernels, op, DType::f64, hash);
    }
    std::printf("%s %016llx\n", kernels->name, static_cast<unsigned long long>(hash));
  }
}
