// Products of a matrix in compressed rows with a dense one of K columns: each stored entry adds a
// multiple of one dense row to another, K neighbouring numbers at a time.
//
// A unit of work of A times D is a row of A.  Of A' times D, where any row of A may add to any row
// of the result, it is a group of columns, so that threads never meet and every sum has one order.

constexpr int kGroupVectors = 4;  // of columns, held in registers

template <class T>
constexpr int64_t kGroupColumns = kGroupVectors * kWidth<T>;

// How far ahead the dense row of an entry is asked for: about the time of a third-level cache.
constexpr int64_t kEntriesAhead = 8;

// Asks for the dense row of an entry, V vectors of it.
template <class T, int V, int Write>
INLINE void fetch_row(const T* p) {
  _Pragma("GCC unroll 4") for (int j = 0; j < V; ++j)
      __builtin_prefetch((const char*)p + j * kVectorBytes, Write);
}

template <class T, class I, int V>
void gather_rows(const CsrJob& job, int64_t at, int last, int64_t begin, int64_t end) {
  const I* starts = (const I*)job.starts;
  const I* columns = (const I*)job.columns;
  const T* values = (const T*)job.values;
  const T* dense = (const T*)job.dense + at;
  Neighbours<T, V> sum, row;
  row.last = sum.last = last;
  for (int64_t i = begin; i < end; ++i) {
    for (auto& v : sum.v) v = splat(T(0));
    for (int64_t e = starts[i]; e < starts[i + 1]; ++e) {
      if (e + kEntriesAhead < job.entries)
        fetch_row<T, V, 0>(dense + columns[e + kEntriesAhead] * job.width);
      row.load_from(dense + columns[e] * job.width);
      sum.add(values[e], row);
    }
    sum.store_to((T*)job.out + i * job.width + at);
  }
}

template <class T, class I, int V>
void scatter_rows(const CsrJob& job, int64_t at, int last) {
  const I* starts = (const I*)job.starts;
  const I* columns = (const I*)job.columns;
  const T* values = (const T*)job.values;
  T* out = (T*)job.out + at;
  Neighbours<T, V> sum, row;
  row.last = sum.last = last;
  for (auto& v : sum.v) v = splat(T(0));
  for (int64_t j = 0; j < job.n_columns; ++j) sum.store_to(out + j * job.width);
  for (int64_t i = 0; i < job.rows; ++i) {
    row.load_from((const T*)job.dense + i * job.width + at);
    for (int64_t e = starts[i]; e < starts[i + 1]; ++e) {
      if (e + kEntriesAhead < job.entries)
        fetch_row<T, V, 1>(out + columns[e + kEntriesAhead] * job.width);
      T* target = out + columns[e] * job.width;
      sum.load_from(target);
      sum.add(values[e], row);
      sum.store_to(target);
    }
  }
}

template <class T, class I>
void run_sparse(const CsrJob& job, int64_t begin, int64_t end) {
  const int64_t step = kGroupColumns<T>;
  const int64_t first = job.transposed ? begin * step : 0;
  const int64_t stop = job.transposed ? std::min(end * step, job.width) : job.width;
  for (int64_t at = first; at < stop; at += step)
    with_vectors<T, kGroupVectors>(std::min(step, stop - at), [&](auto vectors, int last) {
      if (job.transposed)
        scatter_rows<T, I, vectors.value>(job, at, last);
      else
        gather_rows<T, I, vectors.value>(job, at, last, begin, end);
    });
}
