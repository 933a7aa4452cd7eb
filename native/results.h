// New arrays for results; large ones live in memory that is used again (memory.h).
#pragma once

#include "arrays.h"
#include "memory.h"

namespace softmax {

// How far behind a cache line a result begins, as `take_memory` wants it: in steps that suit all
// dtypes.
inline constexpr size_t kStep = 16, kSteps = kLine / kStep;

template <size_t Behind>
void* take_result(void*, size_t bytes) {
  return take_memory(bytes, Behind);
}

template <size_t Behind>
void* take_zeroed_result(void*, size_t count, size_t size) {
  void* data = take_memory(count * size, Behind);
  if (data) std::memset(data, 0, count * size);
  return data;
}

template <size_t Behind>
void* resize_result(void*, void* data, size_t bytes) {
  if (data && bytes <= memory_size(data)) return data;
  void* larger = take_memory(bytes, Behind);
  if (!larger || !data) return larger;
  std::memcpy(larger, data, memory_size(data));
  give_back_memory(data);
  return larger;
}

// NumPy's name for a set of allocation functions (NEP 49). An array keeps those it was made with.
template <size_t Behind>
constexpr PyDataMem_Handler handler_of_results() {
  return {"softmax",
          1,
          {nullptr, take_result<Behind>, take_zeroed_result<Behind>, resize_result<Behind>,
           [](void*, void* data, size_t) { give_back_memory(data); }}};
}
inline PyDataMem_Handler result_handlers[kSteps] = {
    handler_of_results<0>(), handler_of_results<kStep>(), handler_of_results<2 * kStep>(),
    handler_of_results<3 * kStep>()};

// While it lives, arrays that this thread makes are results of so many bytes, which begin so far
// behind a cache line.
class ResultMemory {
 public:
  ResultMemory(int64_t bytes, size_t behind) {
    if (size_t(bytes) < kLargeResult) return;
    PyDataMem_Handler* chosen = result_handlers + behind / kStep;
    const nb::object handler = nb::steal(PyCapsule_New(chosen, "mem_handler", nullptr));
    before_ = nb::steal(PyDataMem_SetHandler(handler.ptr()));
    if (!before_.is_valid()) throw nb::python_error();
  }
  ~ResultMemory() {
    if (before_.is_valid()) Py_XDECREF(PyDataMem_SetHandler(before_.ptr()));
  }
  ResultMemory(const ResultMemory&) = delete;

 private:
  nb::object before_;
};

// What NumPy returned; where it could not, its error.
inline nb::object made(PyObject* array) {
  if (!array) throw nb::python_error();
  return nb::steal(array);
}

// An array like x, but for what it holds.  If they begin `alike`, vectors of both cross cache
// lines at the same places, as far as x is aligned to kStep; else results begin on a line.
inline nb::object result_like(PyArrayObject* x, bool alike) {
  const size_t behind = alike ? uintptr_t(PyArray_DATA(x)) % kLine : 0;
  const ResultMemory memory(PyArray_NBYTES(x), behind);
  return made(PyArray_NewLikeArray(x, NPY_KEEPORDER, nullptr, 0));
}

// An array of that shape and dtype in C order, for results of callers in Python.
inline nb::object new_result(const nb::tuple& shape, nb::handle dtype) {
  npy_intp lengths[kMaxDims], entries = 1;
  if (nb::len(shape) > size_t(kMaxDims)) refuse("shape", "of at most 32 dimensions");
  for (size_t d = 0; d < nb::len(shape); ++d) entries *= lengths[d] = nb::cast<npy_intp>(shape[d]);
  if (!PyArray_DescrCheck(dtype.ptr())) refuse("dtype", "a NumPy dtype");
  auto* descr = reinterpret_cast<PyArray_Descr*>(dtype.inc_ref().ptr());
  const ResultMemory memory(entries * PyDataType_ELSIZE(descr), 0);
  return made(PyArray_NewFromDescr(&PyArray_Type, descr, int(nb::len(shape)), lengths, nullptr,
                                   nullptr, 0, nullptr));
}

}  // namespace softmax
