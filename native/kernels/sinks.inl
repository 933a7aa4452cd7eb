// Sinks: logits that take part in the sum of a slice and have no result.  They are double, whatever
// the entries are, and join sums in the frame of the entries, unless they are far above all of them
// or the frame is not an ordinary one.

// One to a lane, or one slice's in all.
struct Sinks {
  vec<double> sink, inverse, inverse_lo;  // and 1 / temperature

  static INLINE Sinks of(double sink, const Inverse<double>& inverse) {
    return {splat(sink), splat(inverse.hi), splat(inverse.lo)};
  }

  // Whether they may join entries of which `max` is the largest, in frames with these powers of
  // two; temperatures may be so small that T has no reciprocal for them.
  INLINE vec<int64_t> near(vec<double> max, vec<double> n) const {
    return ((sink - max) * inverse < kLargestRise * 0.69) & (sink * inverse < n * 0.69 + 200);
  }

  // Adds the exponentials to sums in frames with these powers of two.
  template <class T>
  INLINE void add_to(vec<double>& sum, vec<double>& sum_lo, vec<double> n) const {
    using C = exp_constants<double>;
    constexpr double lowest = std::numeric_limits<double>::lowest();
    const vec<double> floor = (n + double(C::lowest)) * 0.693147180559945309 / inverse;
    Frame<double> frame;
    frame.floor = single<double>(larger(floor, splat(lowest)));
    frame.rounder = single<double>(C::magic - n + double(C::headroom + C::bias));
    frame.inverse = single<double>(inverse);
    frame.inverse_lo = single<double>(inverse_lo);
    group<double, 1> hi, lo;
    exp_scaled_pair<false, true>(single<double>(sink), frame, hi, lo);
    const double scale =
        power_of_two(exp_constants<T>::headroom - C::headroom) * exp_constants<T>::unit;
    if constexpr (sizeof(T) == 4) {
      sum = sum + hi.v[0] * scale;
    } else {
      vec<double> whole, error;
      two_sum(sum, hi.v[0] * scale, whole, error);
      const vec<double> low = sum_lo + (error + lo.v[0] * scale);
      sum = whole + low;
      sum_lo = low - (sum - whole);
    }
  }
};
