// Any array and axis -> which slices there are, how they lie, and which traversal serves them.
#pragma once

#include <algorithm>
#include <cstdlib>

#include "cpu.h"
#include "job.h"

namespace softmax {

// An array as it came from Python; strides in bytes.
struct Array {
  char* data = nullptr;
  int dims = 0;
  int64_t shape[kMaxDims], stride[kMaxDims];
  DType dtype = DType::f64;
};

// Whether the first-level cache has room for what is fetched into it besides what is worked on.
inline bool roomy_first_level() { return first_level_cache() >= 48 << 10; }

// Lays out a job, which has to be a new one.
class Plan {
 public:
  Job& job;
  bool adds_up = false;  // over bundles, which are then the same on all machines

  Plan(Job& laid_out, Op op, const Array& x, int axis) : job(laid_out), axis_(axis), ndim_(x.dims) {
    job.op = op;
    job.dtype = x.dtype;
    job.n = x.shape[axis];
    job.slices = 1;
    for (int d = 0; d < ndim_; ++d)
      if (d != axis) {
        job.shape[job.dims++] = x.shape[d];
        job.slices *= x.shape[d];
      }
    add(job.x, x);
  }

  // An operand of x's shape, or with the axis of length 1; it may be missing (data null).
  void add(Operand& operand, const Array& a) {
    operand.data = a.data;
    if (!a.data) {
      std::fill(operand.stride, operand.stride + job.dims, 0);
      return;
    }
    operand.along = a.shape[axis_] == 1 ? 0 : a.stride[axis_];
    for (int d = 0, k = 0; d < ndim_; ++d)
      if (d != axis_) operand.stride[k++] = a.shape[d] == 1 ? 0 : a.stride[d];
  }

  // One number for all slices.
  void add_constant(Operand& operand, double* number) {
    operand.data = reinterpret_cast<char*>(number);
    std::fill(operand.stride, operand.stride + job.dims, 0);
  }

  // For operations on single entries, when both operands have been added: runs as long as possible.
  void lengthen_runs() {
    merge_dims();
    while (job.dims > 0 && ends_meet(job.x) && ends_meet(job.y)) {
      const int64_t times = job.shape[--job.dims];
      job.n *= times;
      job.slices /= std::max<int64_t>(times, 1);
    }
  }

  // Call when every operand has been added.
  void choose_traversal() {
    merge_dims();
    const int64_t item = item_size(job.dtype);
    if (job.n == 1) job.x.along = job.y.along = item;  // a single entry is contiguous
    job.run = job.slices;
    if (job.op == Op::derivative || job.op == Op::weighted_logsumexp) return choose_strips();
    if (job.op > Op::logsumexp) return;
    const bool reduces = job.op == Op::logsumexp;
    if (job.n == 0 || job.n > kChunk || job.dims == 0) return;
    if (job.x.along == item && (reduces || job.y.along == item)) {
      const bool adjacent = job.dims == 1 && job.x.stride[0] == job.n * item &&
                            job.y.stride[0] == (reduces ? item : job.n * item);
      const bool short_rows = adjacent && job.n <= longest_short_row() && job.slices >= kFewSlices;
      if (short_rows && !better_in_batches())
        job.traversal = Traversal::short_rows, job.bundle = kColumns;
      else if (job.slices > 2 && fits_batch())
        job.traversal = Traversal::batches, job.bundle = rows_of_bundle(short_rows);
      if (short_rows && adds_up && job.traversal == Traversal::batches) job.stream = false;
    } else if (job.x.stride[job.dims - 1] == item && job.y.stride[job.dims - 1] == item &&
               job.shape[job.dims - 1] >= kFewSlices) {
      job.traversal = Traversal::columns;
      job.bundle = kColumns;
      job.run = job.shape[job.dims - 1];
      const char* lines = reduces ? job.x.data : job.y.data;
      const int64_t line = 64 / item, past = int64_t(uintptr_t(lines) % 64) / item;
      if (job.run > job.bundle) job.lead = past % line;
    }
  }

  // Whether results that are not streamed gain if they wait until the next slices are summed
  // (benchmarks/NOTES.md).  Of batches those that lie `near`, of longer rows of floats, unless they
  // are few; of rows all, but with `quick` exponentials only those of few enough entries.
  bool gains_by_waiting(bool near, bool quick) const {
    if (job.traversal == Traversal::rows)
      return !quick || job.n * job.slices * item_size(job.dtype) <= kNearRows;
    return near && job.dtype == DType::f32 && job.n >= (adds_up ? 512 : 200) &&
           job.slices > 2 * kBatch;
  }

 private:
  // Fewer neighbouring slices than this are not worth a tile.
  static constexpr int64_t kFewSlices = 8;
  // The longest rows that are turned into columns.
  static constexpr int64_t kShortRow = 128;
  // The most bytes of entries of rows that wait with quick exponentials: measured where
  // second-level caches hold 1 MiB.
  static constexpr int64_t kNearRows = 640 << 10;
  // The longest rows of a large batch.
  static constexpr int64_t kLargeBatchRow = 200;
  // Contiguous slices up to this length are transposed into strips rather than taken as rows.
  static constexpr int64_t kShortStrip = 256;

  // Contiguous slices of more entries are not worth a transposition: of 16 bits, which are widened
  // first, still fewer are.
  int64_t longest_short_row() const {
    return item_size(job.dtype) == 2 ? kShortNarrowRow : kShortRow;
  }

  // Where the first-level cache is small, floats are better off in batches from fewer entries on;
  // what is streamed gains less, and gradients of losses, whose labels are mended, are better not
  // streamed (benchmarks/NOTES.md).
  bool better_in_batches() const {
    const bool streams = job.stream && !job.overwrites() && !adds_up;
    return job.dtype == DType::f32 && job.n >= (streams ? 80 : 64) && !roomy_first_level();
  }

  // Of batches: losses of short rows are added up for as many as tiles have.
  int64_t rows_of_bundle(bool short_rows) const {
    if (adds_up && short_rows) return kColumns;
    if (job.dtype == DType::f32 && job.n <= kLargeBatchRow && !adds_up) return kLargeBatch;
    return job.n <= kBatchRow || job.op == Op::logsumexp ? kBatch : kBatch / 2;
  }

  // Rows up to twice as long as others of a batch go half as many at a time, unless nothing is
  // kept.  Floats past the caches have a way of their own from there on (long.inl), and what
  // overwrites its entries keeps exponentials in their place.
  bool fits_batch() const {
    if (job.n <= kBatchRow) return true;
    const bool streams_floats = job.stream && job.dtype == DType::f32;
    return job.n <= 2 * kBatchRow &&
           (job.op == Op::logsumexp || !(job.overwrites() || streams_floats));
  }

  // For operations with something beside the entries.
  void choose_strips() {
    const bool reduces = job.op == Op::weighted_logsumexp;
    const int last = job.dims - 1;
    if (job.n == 0 || job.n > kChunk || job.dims == 0 || job.where.data) return;
    // Strips are read again where a slice is out of the ordinary.
    if (job.y.data == job.x.data || job.y.data == job.second.data) return;
    if (job.shape[last] < kFewSlices) return;
    const int64_t item = item_size(job.dtype), second = job.wide_second ? 8 : item;
    if (job.n == 1) job.second.along = second;
    if (job.x.along == item && job.second.along == second && job.n <= kShortStrip)
      job.traversal = Traversal::short_strips;
    else if (job.n <= kLongStrip && job.x.stride[last] == item &&
             job.second.stride[last] == second && (reduces || job.y.stride[last] == item))
      job.traversal = Traversal::column_strips;
    else
      return;
    job.bundle = kColumns;
    job.run = job.shape[last];
    if (job.traversal == Traversal::column_strips && !reduces && job.run > job.bundle)
      job.lead = int64_t(uintptr_t(job.y.data) % 64) / item % (64 / item);
  }

  int axis_, ndim_;

  Operand* operands_[7] = {&job.x,    &job.y,      &job.where, &job.temperature,
                           &job.sink, &job.second, &job.sign};

  // Slices are visited in the order in which x lies in memory, over as few dimensions as possible.
  void merge_dims() {
    int kept = 0;
    for (int d = 0; d < job.dims; ++d)
      if (job.shape[d] != 1) move(d, kept++);
    job.dims = kept;
    for (int i = 1; i < job.dims; ++i)  // insertion sort, largest stride first
      for (int j = i; j > 0 && std::llabs(job.x.stride[j - 1]) < std::llabs(job.x.stride[j]); --j)
        swap(j - 1, j);
    for (int d = job.dims - 1; d > 0; --d)
      if (continues(d)) {
        job.shape[d - 1] *= job.shape[d];
        for (Operand* o : operands_) o->stride[d - 1] = o->stride[d];
        for (int e = d; e + 1 < job.dims; ++e) move(e + 1, e);
        --job.dims;
      }
  }

  // Whether each slice begins where the one before it ends.
  bool ends_meet(const Operand& o) const { return o.stride[job.dims - 1] == o.along * job.n; }

  // Whether dimension d - 1 goes on where dimension d ends, in every operand.
  bool continues(int d) const {
    for (const Operand* o : operands_)
      if (o->data && o->stride[d - 1] != o->stride[d] * job.shape[d]) return false;
    return true;
  }

  void move(int from, int to) {
    job.shape[to] = job.shape[from];
    for (Operand* o : operands_) o->stride[to] = o->stride[from];
  }

  void swap(int a, int b) {
    std::swap(job.shape[a], job.shape[b]);
    for (Operand* o : operands_) std::swap(o->stride[a], o->stride[b]);
  }
};

}  // namespace softmax
