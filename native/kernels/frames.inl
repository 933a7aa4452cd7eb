// Where the frames of a batch come from, in the order in which batches.inl tries it: from the
// batches before, from the first entries of each row, or from all.
enum class Frames { common, guessed, exact };

// One frame for all rows of a batch, laid about the largest entries of one before, as long as rows
// are alike: there is nothing to wait for before the first exponential.  Results have the same bits
// in any frame that serves, so that it does not matter what a thread has worked on before.
class CommonFrame {
  // After a failure so many batches find frames of their own, after the next more.
  int pause_ = 0, batches_left_ = 0;

 public:
  // No largest entry may lie below; a nan where there is no such frame.
  float lowest = std::numeric_limits<float>::quiet_NaN();
  float rounder, floor;

  bool known() const { return lowest == lowest; }
  void succeed() { pause_ /= 2; }
  void fail() {
    lowest = std::numeric_limits<float>::quiet_NaN();
    pause_ = std::min(2 * pause_ + 1, 255);
    batches_left_ = pause_;
  }

  // Lies about the largest entries of rows, if they are near each other.
  void settle(const float* largest, int count) {
    if (batches_left_ > 0) {
      --batches_left_;
      return;
    }
    constexpr float reach = kLargestRise * 0.69f;
    float least = largest[0], most = largest[0];
    for (int i = 1; i < count; ++i)
      least = std::min(least, largest[i]), most = std::max(most, largest[i]);
    const float low = (least + most - reach) / 2;
    State unit;
    const Frame<float> frame = frame_around(low, Inverse<float>(), unit);
    if (!(most - least < 0.75f * reach) || unit.shift != 0) return;
    lowest = low, rounder = frame.rounder.v[0][0], floor = frame.floor.v[0][0];
  }
};

inline CommonFrame& common_frame() {
  static thread_local CommonFrame frame;
  return frame;
}
