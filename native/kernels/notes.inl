// What a softmax within a loss leaves of its slices (SliceNotes in job.h), several slices at once.

// Vector j of an array with one number for each of `count` slices.
INLINE vec<double> load_lanes(const double* p, int j, int count) {
  constexpr int W = kWidth<double>;
  const int here = count - j * W;
  return here >= W  ? load(p + j * W)
         : here > 0 ? load_first(p + j * W, here, splat(0.0))
                    : splat(0.0);
}
INLINE vec<int64_t> load_lanes(const int64_t* p, int j, int count) {
  return (vec<int64_t>)load_lanes((const double*)p, j, count);
}
INLINE void store_lanes(double* p, int j, int count, vec<double> v) {
  constexpr int W = kWidth<double>;
  const int here = count - j * W;
  if (here >= W)
    store(p + j * W, v);
  else if (here > 0)
    store_first(p + j * W, here, v);
}

// What results of slices first .. first + count - 1 are multiplied by.
INLINE vec<double> load_factors(const SliceNotes& notes, int64_t first, int j, int count) {
  return load_lanes(notes.factor + (first - notes.first), j, count);
}

// Whether their frames may be guessed: factors above one would show what lies below a frame.
inline bool may_guess_frames(const SliceNotes* notes, int64_t first, int count) {
  if (!notes || !notes->factor) return true;
  bool may = notes->z_loss == 0;
  for (int j = 0; j * kWidth<double> < count; ++j)
    may &= !any_set<double>(~(load_factors(*notes, first, j, count) <= 1));
  return may;
}

struct NoteLanes {
  vec<double> max, log_rest, top, others;  // as in SliceNotes
};

// What a z-loss multiplies gradients by.
INLINE vec<double> z_factor(double z_loss, const NoteLanes& slices) {
  return 1 + 2 * z_loss * (slices.max + slices.log_rest);
}

// The notes of vector j of `count` slices from `first` on.
INLINE void note_lanes(const SliceNotes& notes, int64_t first, int j, int count,
                       const NoteLanes& lanes) {
  const int64_t at = first - notes.first;
  store_lanes(notes.max + at, j, count, lanes.max);
  store_lanes(notes.log_rest + at, j, count, lanes.log_rest);
  store_lanes(notes.top + at, j, count, lanes.top);
  store_lanes(notes.others + at, j, count, lanes.others);
  if (notes.z_loss == 0) return;
  const vec<double> factor = load_lanes(notes.factor + at, j, count);
  store_lanes(notes.factor + at, j, count, factor * z_factor(notes.z_loss, lanes));
}
