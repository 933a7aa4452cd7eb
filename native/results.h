// New arrays for results; large ones live in memory that is used again (memory.h).
#pragma once

#include "arrays.h"
#include "memory.h"

namespace softmax {

inline void* take_zeroed_memory(void*, size_t count, size_t size) {
  void* data = take_memory(count * size);
  if (data) std::memset(data, 0, count * size);
  return data;
}

inline void* resize_memory(void*, void* data, size_t bytes) {
  if (data && bytes <= memory_size(data)) return data;
  void* larger = take_memory(bytes);
  if (!larger || !data) return larger;
  std::memcpy(larger, data, memory_size(data));
  give_back_memory(data);
  return larger;
}

// NumPy's name for a set of allocation functions (NEP 49). An array keeps those it was made with.
inline PyDataMem_Handler result_handler = {
    "softmax",
    1,
    {nullptr, [](void*, size_t bytes) { return take_memory(bytes); }, take_zeroed_memory,
     resize_memory, [](void*, void* data, size_t) { give_back_memory(data); }}};

// While it lives, arrays that this thread makes are results of so many bytes.
class ResultMemory {
 public:
  explicit ResultMemory(int64_t bytes) {
    if (size_t(bytes) < kLargeResult) return;
    const nb::object handler = nb::steal(PyCapsule_New(&result_handler, "mem_handler", nullptr));
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

// An array like x, but for what it holds.
inline nb::object result_like(PyArrayObject* x) {
  const ResultMemory memory(PyArray_NBYTES(x));
  return made(PyArray_NewLikeArray(x, NPY_KEEPORDER, nullptr, 0));
}

// An array of that shape and dtype in C order, for results of callers in Python.
inline nb::object new_result(const nb::tuple& shape, nb::handle dtype) {
  npy_intp lengths[kMaxDims], entries = 1;
  if (nb::len(shape) > size_t(kMaxDims)) refuse("shape", "of at most 32 dimensions");
  for (size_t d = 0; d < nb::len(shape); ++d) entries *= lengths[d] = nb::cast<npy_intp>(shape[d]);
  if (!PyArray_DescrCheck(dtype.ptr())) refuse("dtype", "a NumPy dtype");
  auto* descr = reinterpret_cast<PyArray_Descr*>(dtype.inc_ref().ptr());
  const ResultMemory memory(entries * PyDataType_ELSIZE(descr));
  return made(PyArray_NewFromDescr(&PyArray_Type, descr, int(nb::len(shape)), lengths, nullptr,
                                   nullptr, 0, nullptr));
}

}  // namespace softmax
