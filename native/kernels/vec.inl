// Lanes: vectors of the width this instruction set has, and the few operations the kernels need.
//
// Arithmetic is written with the compiler's vector types (a + b, a < b ? c : d), which GCC and
// Clang turn into one instruction each.  Intrinsics stand only where those types have no word for
// the thing: fused multiply-add, the maximum that lets a NaN through, masked memory, conversions,
// streaming stores. Included once per instruction set, inside that set's namespace and target
// pragma.

#if SOFTMAX_LEVEL == 4
constexpr int kVectorBytes = 64;
#elif SOFTMAX_LEVEL == 3
constexpr int kVectorBytes = 32;
#else  // x86-64-v2 and AArch64
constexpr int kVectorBytes = 16;
#endif

constexpr int kPieces = kVectorBytes / 16;

template <class T>
struct vector_of {
  typedef T type __attribute__((vector_size(kVectorBytes)));
};
template <class T>
using vec = typename vector_of<T>::type;

template <class T>
constexpr int kWidth = kVectorBytes / int(sizeof(T));

// The signed integer as wide as a floating type: bit patterns and comparison masks.
template <class T>
struct bits_of;
template <>
struct bits_of<float> {
  using type = int32_t;
};
template <>
struct bits_of<double> {
  using type = int64_t;
};
template <class T>
using bits = typename bits_of<T>::type;

// Half precision as a scalar. GCC's C++ has one name for it on x86-64 and another on AArch64.
#if defined(__aarch64__)
using float16 = __fp16;
#else
using float16 = _Float16;
#endif

template <class T>
INLINE vec<T> splat(T a) {
  return a - vec<T>{};  // minus, because a compiler may leave out only that zero
}

template <class T>
INLINE vec<T> load(const T* p) {
  vec<T> v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

template <class T>
INLINE void store(T* p, vec<T> v) {
  __builtin_memcpy(p, &v, sizeof v);
}

template <class T>
INLINE vec<T> select(vec<bits<T>> mask, vec<T> yes, vec<T> no) {
  return mask ? yes : no;
}

// 0, 1, 2 ...
template <class T>
INLINE vec<bits<T>> lane_numbers() {
  vec<bits<T>> index;
  for (int i = 0; i < kWidth<T>; ++i) index[i] = i;
  return index;
}

// All ones in the first `count` lanes.
template <class T>
INLINE vec<bits<T>> first_lanes(int count) {
  return lane_numbers<T>() < (vec<bits<T>>{} + bits<T>(count));
}

// fma(a, b, c) = a b + c, rounded once where the instruction exists.
// larger(a, b) = a > b ? a : b, hence b where either is NaN.
// nearest rounds to whole numbers; what none holds, NaN among them, gives the smallest.
// load_first / store_first touch only the first `count` elements of memory, load_from / store_from
// those from `first` on (the others read as 0); load_wide reads as many floats as there are lanes
// of double (cheaper than taking a register apart), store_narrow rounds and writes as many.
// load_bytes reads a byte for each lane and extends its sign.
// load_pieces gathers 128 bits from each of kPieces places, store_pieces scatters them; load_pairs
// and store_pairs do so with 256 bits and half as many places, where a vector has as many bits.
// look_up takes from a table of eight by the last three bits of an index, or of four 64-bit numbers
// by the last two; the table stands there twice. fraction is what t is more than the nearest whole
// number, which is given. bfloat_to_float fills the lower halves with zeros;
// store_high_halves leaves them out.
#if SOFTMAX_LEVEL == 4
#include "vec_avx512.inl"
#elif SOFTMAX_LEVEL == 3
#include "vec_avx2.inl"
#else
#include "vec_128.inl"
#endif

#if SOFTMAX_LEVEL != 4
INLINE vec<double> fraction(vec<double> t, vec<double> whole) { return t - whole; }
#endif
INLINE vec<double> load_wide(const double* p) { return load(p); }
INLINE void store_narrow(double* p, vec<double> v) { store(p, v); }
