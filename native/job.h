// One call as the kernels see it: which operation, which arrays, and how they are walked (plan.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "state.h"

namespace softmax {

enum class Op {
  // hot: in the precision of the array, by rows or columns
  softmax,
  log_softmax,
  logsumexp,
  // with something beside the entries: in double, by rows or strips
  derivative,  // jvp and vjp: the Jacobian is symmetric
  weighted_logsumexp,
  // precise: a slice at a time, in double
  cumulative_logsumexp,
  smooth_max,
  mellowmax,
  entropy,
  // elementwise
  sigmoid,
  log_sigmoid,
  softplus,
  logit,
};
enum class DType { f16, bf16, f32, f64 };
inline int64_t item_size(DType dtype) {
  return dtype == DType::f64 ? 8 : dtype == DType::f32 ? 4 : 2;
}

inline constexpr int kMaxDims = 32;

// An array seen from the plan: where its first element is and how far its neighbours are, in bytes.
struct Operand {
  char* data = nullptr;      // null where the argument was not given
  int64_t along = 0;         // stride along the axis
  int64_t stride[kMaxDims];  // of the job's dimensions, 0 where data is null
};

enum class Traversal {
  rows,        // slice by slice; entries that are not contiguous floats pass through a scratch row
  short_rows,  // contiguous slices of about a hundred entries at most, turned into columns and back
  batches,     // 8 to 32 contiguous slices at a time, unless they are long
  columns,     // many neighbouring slices at once, for an axis that is not the contiguous one
  // the same for operations with something beside the entries
  short_strips,
  column_strips,
};

// What a softmax that serves a loss leaves of each slice, and what it multiplies each slice's
// results by.
struct SliceNotes {
  int64_t first = 0;  // the slice that the arrays begin with
  double* max = nullptr;
  // log(1 + sum over the others of exp(x - max)); nan where there is no distribution
  double* log_rest = nullptr;
  // The probabilities of a largest entry and of all others.
  double* top = nullptr;
  double* others = nullptr;
  double* factor = nullptr;  // given; null for 1
  double z_loss = 0;         // multiplies it by 1 + 2 z_loss (max + log_rest)
  bool one_part = false;     // results are floats multiplied by one number, to 4 units or less
};

struct Job {
  Op op;
  DType dtype;
  Traversal traversal = Traversal::rows;
  int64_t n = 0;       // entries of a slice
  int64_t slices = 0;  // how many there are
  int dims = 0;        // of the slices' grid, slowest first
  int64_t shape[kMaxDims];
  Operand x, y, where, temperature, sink;
  Operand second;              // the tangent of a derivative, or weights
  bool wide_second = false;    // weights may be double beside entries that are not
  Operand sign;                // of a weighted sum
  double factor = 1;           // of smooth_max and mellowmax
  bool reverse = false;        // cumulative from the end
  bool fetch_ahead = false;    // the arrays exceed the second-level cache
  bool fetch_results = false;  // where results go is worth fetching, too
  int64_t room = 0;            // of the first-level cache for what comes next, in bytes
  bool stream = false;   // results may be written past the last-level cache, too small for all
  bool waits = false;    // unless streamed, results are written when the next slices are summed
  bool repeats = false;  // an exponential takes less than a third trip to memory
  // Given where the results serve a loss: a softmax's, or nothing but the notes (logsumexp).
  const SliceNotes* notes = nullptr;

  // Slices are worked on in bundles.  Each run of neighbours is cut into bundles by itself, the
  // first `lead` slices short, so that the others start on a cache line.
  int64_t run = 0, bundle = 1, lead = 0;

  // Whether results take the place of the entries.
  bool overwrites() const { return x.data == y.data; }
  // Whether nothing is asked for but logarithms of sums (which have no temperature).
  bool only_sums() const { return op == Op::logsumexp && !notes; }

  int64_t bundles_of_run() const { return (run + lead + bundle - 1) / bundle; }
  // No bundle has more slices.
  int64_t largest_bundle() const { return bundle < run ? bundle : run; }
  int64_t bundles() const { return slices == 0 ? 0 : slices / run * bundles_of_run(); }

  struct Bundle {
    int64_t first, count;
  };
  Bundle bundle_at(int64_t index) const {
    const int64_t of_run = bundles_of_run();
    return bundle_of(index / of_run, index % of_run);
  }
  // Bundle `index` of run `number`.
  Bundle bundle_of(int64_t number, int64_t index) const {
    const int64_t start = index * bundle - lead;
    const int64_t first = start < 0 ? 0 : start, end = start + bundle < run ? start + bundle : run;
    return {number * run + first, end - first};
  }
  // Those of bundles begin .. end - 1 of one run.
  Bundle neighbours(int64_t begin, int64_t end) const {
    const Bundle last = bundle_at(end - 1);
    const int64_t first = bundle_at(begin).first;
    return {first, last.first + last.count - first};
  }
};

// Slices of a bundle: rows for whose sums one vector has lanes, or two of short floats (losses add
// up as many as a tile of short rows has); columns enough to fill cache lines.
inline constexpr int64_t kBatch = 16, kLargeBatch = 2 * kBatch, kColumns = 64;

// Entries of a slice are reduced in chunks of this many, whatever the threads: part of the
// definition of the result's bits.
inline constexpr int64_t kChunk = 32768;

// Contiguous slices of 16 bits up to this length are turned into columns: they are widened first.
inline constexpr int64_t kShortNarrowRow = 60;

// Longer columns would not fit a strip and its exponentials in 1 MiB.
inline constexpr int64_t kLongStrip = 4096;

// The longest rows of a batch of kBatch; those of half as many have up to twice as many entries.
// Longer ones have enough work of their own to hide what is done once a row, and a batch of them
// would leave the cache.
inline constexpr int64_t kBatchRow = 2048;

// What the map over a slice needs to know of it.
struct SliceMap {
  bool flat = false;  // the result has only two values:
  double pick = 0;    //   `top` where x equals `pick` (or, with pick nan, where x is not -inf),
  double top = 0, rest = 0;  //   `rest` elsewhere
  State state;               // otherwise: of the entries and the sink
  double max = 0;            // the maximum left out of log_rest
  double log_rest = 0;       // log(1 + sum over the others of exp((x - max) / T))
  double factor = 1;         // of the probabilities
  double inverse = 0;        // 1 / s of the state, where there are notes
  bool one_part = false;     // as of these
};

// Cross-entropy of contiguous logits, with labels, probabilities or sparse counts.
struct LossJob {
  Job softmax;                      // of the logits, into the gradient
  const int64_t* labels = nullptr;  // -1 for a slice that does not count; null for probabilities
  const char* targets = nullptr;    // probabilities, laid out as the logits, at least float
  bool narrow_targets = false;      // but these are of 16 bits, as the logits are
  // Where targets are sparse, those of slice i: number starts[i] up to starts[i + 1], each the
  // target of the entry at its place.
  const int64_t* starts = nullptr;
  const int64_t* places = nullptr;
  const double* weights = nullptr;  // of the slices; null for 1
  bool all_count = false;           // no label is -1, and there are no weights
  double scale = 1;                 // of all of them
  double smoothing = 0;             // the part of each label that all classes share
  double z_loss = 0;                // adds (sum of the target) logsumexp^2
  double* loss = nullptr;           // of each slice; or else
  double* sums = nullptr;           // those of each bundle added up
};

// Filters of contiguous float or double rows, and draws from what they keep (sampling.inl).
struct SamplingJob {
  DType dtype;
  int64_t n = 0, rows = 0;
  const char* x = nullptr;
  const double* temperature = nullptr;  // of each row; null for 1
  int64_t top_k = 0;                    // 0 for no such filter
  double top_p = 1;                     // 1 or more for none
  double log_min_p = 0;                 // -inf for none
  bool first_ties = false;              // of entries equal to the least one kept, as few as needed
  bool* valid = nullptr;                // receives whether each row is a distribution
  char* kept = nullptr;                 // receives the filtered logits; or else:
  int64_t draws = 0;                    // of each row
  const double* uniforms = nullptr;     // (draws, rows), in [0, 1)
  int64_t* drawn = nullptr;             // (draws, rows)
};

// A product of a matrix in compressed rows with a dense one (sparse.inl).
struct CsrJob {
  DType dtype;
  bool wide_index = false;  // of 64 bits, not 32
  bool transposed = false;
  int64_t rows = 0, n_columns = 0, entries = 0;  // of the compressed matrix
  const char* starts = nullptr;                  // of the rows, and one more for the end
  const char* columns = nullptr;                 // of the entries
  const char* values = nullptr;
  int64_t width = 0;  // columns of the dense matrices
  const char* dense = nullptr;
  char* out = nullptr;
};

// Sums of weighted products of rows with themselves (gram.inl).
struct GramJob {
  DType dtype;
  int64_t rows = 0, width = 0, count = 0;  // of x, and of the matrices
  const char* x = nullptr;
  const char* weights = nullptr;  // (rows, count)
  char* out = nullptr;            // (count, width, width)
};

// A linear layer and its cross-entropy (layer.inl), all of the dtype of the logits.
struct LayerJob {
  LossJob loss;  // of the logits, whose gradient takes their place
  int64_t width = 0;
  const char* x = nullptr;           // (rows, width)
  const char* parameters = nullptr;  // (classes, width)
  char* gradient = nullptr;          // of the parameters, added to
};

// Classes of a layer are worked on in groups.
inline constexpr int64_t kLayerClasses = 4;

// One instruction set's kernels.
struct Kernels {
  const char* name;
  // Slices (or groups of slices) begin .. end - 1 of a job.
  void (*run)(const Job&, int64_t begin, int64_t end);
  // The pieces of `run` for one long slice: its chunks may go to different threads.
  State (*reduce)(const Job&, int64_t slice, int64_t chunk);
  void (*finish)(const Job&, int64_t slice, const State* chunks, SliceMap*);
  void (*map)(const Job&, int64_t slice, int64_t chunk, const State&, const SliceMap&);
  // Elementwise operations on `count` elements with strides in bytes; `stream` as of a Job.
  void (*elements)(Op, DType, bool stream, const char* x, int64_t x_step, char* y, int64_t y_step,
                   int64_t count);
  // Bundles begin .. end - 1 of a loss, and of its gradient (losses.inl).  The job's softmax then
  // points to notes on the stack: no two threads may have the same job.
  void (*losses)(LossJob&, int64_t begin, int64_t end);
  // Whether all labels are less than `classes`; if `counts`, also not negative.
  bool (*are_classes)(const int64_t* labels, int64_t count, int64_t classes, bool counts);
  // The sums of contiguous rows begin .. end - 1 of a target; nan where an entry is negative or
  // nan.
  void (*target_sums)(DType, const char* rows, int64_t n, int64_t begin, int64_t end, double* sums);
  // Rows begin .. end - 1 filtered, or drawn from (sampling.inl).
  void (*sampling)(const SamplingJob&, int64_t begin, int64_t end);
  // Rows, or of a transposed product groups of columns, begin .. end - 1 (sparse.inl).
  void (*sparse)(const CsrJob&, int64_t begin, int64_t end);
  int64_t (*sparse_groups)(const CsrJob&);
  // Matrices begin .. end - 1 (gram.inl).
  void (*grams)(const GramJob&, int64_t begin, int64_t end);
  // Bundles of rows begin .. end - 1, and when all are done groups of classes (layer.inl).
  void (*layer_rows)(const LayerJob&, int64_t begin, int64_t end);
  void (*layer_classes)(const LayerJob&, int64_t begin, int64_t end);
};

}  // namespace softmax
