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
INLINE vec<float> fma(vec<float> a, vec<float> b, vec<float> c) {
  return (vec<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
INLINE vec<double> fma(vec<double> a, vec<double> b, vec<double> c) {
  return (vec<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
INLINE vec<float> larger(vec<float> a, vec<float> b) {
  return (vec<float>)_mm512_max_ps((__m512)a, (__m512)b);
}
INLINE vec<double> larger(vec<double> a, vec<double> b) {
  return (vec<double>)_mm512_max_pd((__m512d)a, (__m512d)b);
}
INLINE vec<float> load_first(const float* p, int count, vec<float> rest) {
  return (vec<float>)_mm512_mask_loadu_ps((__m512)rest, __mmask16((1u << count) - 1), p);
}
INLINE vec<double> load_first(const double* p, int count, vec<double> rest) {
  return (vec<double>)_mm512_mask_loadu_pd((__m512d)rest, __mmask8((1u << count) - 1), p);
}
INLINE vec<float> load_from(const float* p, int first) {
  return (vec<float>)_mm512_maskz_loadu_ps(__mmask16(0xffffu << first), p);
}
INLINE vec<double> load_from(const double* p, int first) {
  return (vec<double>)_mm512_maskz_loadu_pd(__mmask8(0xffu << first), p);
}
INLINE void store_first(float* p, int count, vec<float> v) {
  _mm512_mask_storeu_ps(p, __mmask16((1u << count) - 1), (__m512)v);
}
INLINE void store_first(double* p, int count, vec<double> v) {
  _mm512_mask_storeu_pd(p, __mmask8((1u << count) - 1), (__m512d)v);
}
INLINE void store_from(float* p, int first, vec<float> v) {
  _mm512_mask_storeu_ps(p, __mmask16(0xffffu << first), (__m512)v);
}
INLINE void store_from(double* p, int first, vec<double> v) {
  _mm512_mask_storeu_pd(p, __mmask8(0xffu << first), (__m512d)v);
}
INLINE void stream(float* p, vec<float> v) { _mm512_stream_ps(p, (__m512)v); }
INLINE void stream(double* p, vec<double> v) { _mm512_stream_pd(p, (__m512d)v); }
INLINE vec<double> widen_low(vec<float> v) {
  return (vec<double>)_mm512_cvtps_pd(_mm512_castps512_ps256((__m512)v));
}
INLINE vec<double> widen_high(vec<float> v) {
  return (vec<double>)_mm512_cvtps_pd(_mm512_extractf32x8_ps((__m512)v, 1));
}
INLINE vec<float> narrow(vec<double> low, vec<double> high) {
  return (vec<float>)_mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps((__m512d)low)),
                                        _mm512_cvtpd_ps((__m512d)high), 1);
}
INLINE vec<double> load_wide(const float* p) {
  return (vec<double>)_mm512_cvtps_pd(_mm256_loadu_ps(p));
}
INLINE void store_narrow(float* p, vec<double> v) {
  _mm256_storeu_ps(p, _mm512_cvtpd_ps((__m512d)v));
}
INLINE vec<float> half_to_float(const uint16_t* p) {
  return (vec<float>)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p));
}
INLINE void float_to_half(uint16_t* p, vec<float> v) {
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT));
}
INLINE vec<float> bfloat_to_float(const uint16_t* p) {
  return (vec<float>)((vec<int32_t>)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p))
                      << 16);
}
INLINE void store_high_halves(uint16_t* p, vec<int32_t> v) {
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16((__m512i)(v >> 16)));
}
INLINE void load_bytes(const char* p, vec<int32_t>& to) {
  to = (vec<int32_t>)_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p));
}
INLINE void load_bytes(const char* p, vec<int64_t>& to) {
  to = (vec<int64_t>)_mm512_cvtepi8_epi64(_mm_loadu_si64(p));
}
INLINE vec<int32_t> look_up(const int32_t* table, vec<int32_t> index) {
  return (vec<int32_t>)_mm512_permutexvar_epi32((__m512i)index, _mm512_load_si512(table));
}
INLINE vec<double> fraction(vec<double> t, vec<double>) {
  return (vec<double>)_mm512_reduce_pd((__m512d)t, 0);
}
INLINE vec<int64_t> look_up(const int64_t* table, vec<int64_t> index) {
  return (vec<int64_t>)_mm512_permutexvar_epi64((__m512i)index, _mm512_load_si512(table));
}
template <class T>
INLINE vec<T> load_pieces(const T* const* p, int64_t at) {
  const auto piece = [=](int g) INLINE_LAMBDA { return _mm_loadu_ps((const float*)(p[g] + at)); };
  __m512 v = _mm512_castps128_ps512(piece(0));
  v = _mm512_mask_broadcast_f32x4(v, 0x00f0, piece(1));
  v = _mm512_mask_broadcast_f32x4(v, 0x0f00, piece(2));
  v = _mm512_mask_broadcast_f32x4(v, 0xf000, piece(3));
  return (vec<T>)v;
}
template <class T>
INLINE void store_pieces(T* const* p, int64_t at, vec<T> v) {
  const auto place = [=](int g) INLINE_LAMBDA { return (float*)(p[g] + at); };
  _mm_storeu_ps(place(0), _mm512_castps512_ps128((__m512)v));
  _mm_storeu_ps(place(1), _mm512_extractf32x4_ps((__m512)v, 1));
  _mm_storeu_ps(place(2), _mm512_extractf32x4_ps((__m512)v, 2));
  _mm_storeu_ps(place(3), _mm512_extractf32x4_ps((__m512)v, 3));
}
template <class T>
INLINE vec<T> load_pairs(const T* const* p, int64_t at) {
  const __m256 low = _mm256_loadu_ps((const float*)(p[0] + at)),
               high = _mm256_loadu_ps((const float*)(p[1] + at));
  return (vec<T>)_mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}
template <class T>
INLINE void store_pairs(T* const* p, int64_t at, vec<T> v) {
  _mm256_storeu_ps((float*)(p[0] + at), _mm512_castps512_ps256((__m512)v));
  _mm256_storeu_ps((float*)(p[1] + at), _mm512_extractf32x8_ps((__m512)v, 1));
}
#elif SOFTMAX_LEVEL == 3
INLINE vec<float> fma(vec<float> a, vec<float> b, vec<float> c) {
  return (vec<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
INLINE vec<double> fma(vec<double> a, vec<double> b, vec<double> c) {
  return (vec<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
INLINE vec<float> larger(vec<float> a, vec<float> b) {
  return (vec<float>)_mm256_max_ps((__m256)a, (__m256)b);
}
INLINE vec<double> larger(vec<double> a, vec<double> b) {
  return (vec<double>)_mm256_max_pd((__m256d)a, (__m256d)b);
}
INLINE vec<float> load_first(const float* p, int count, vec<float> rest) {
  vec<int32_t> mask = first_lanes<float>(count);
  return select<float>(mask, (vec<float>)_mm256_maskload_ps(p, (__m256i)mask), rest);
}
INLINE vec<double> load_first(const double* p, int count, vec<double> rest) {
  vec<int64_t> mask = first_lanes<double>(count);
  return select<double>(mask, (vec<double>)_mm256_maskload_pd(p, (__m256i)mask), rest);
}
INLINE vec<float> load_from(const float* p, int first) {
  return (vec<float>)_mm256_maskload_ps(p, ~(__m256i)first_lanes<float>(first));
}
INLINE vec<double> load_from(const double* p, int first) {
  return (vec<double>)_mm256_maskload_pd(p, ~(__m256i)first_lanes<double>(first));
}
// In pieces: a masked store of AVX2 takes 12 cycles on Zen 3.
INLINE void store_first(float* p, int count, vec<float> v) {
  if (count >= kWidth<float>) return store(p, v);
  __m128 left = _mm256_castps256_ps128((__m256)v);
  if (count & 4) {
    _mm_storeu_ps(p, left);
    left = _mm256_extractf128_ps((__m256)v, 1);
    p += 4;
  }
  if (count & 2) {
    _mm_storel_pi((__m64*)p, left);
    left = _mm_movehl_ps(left, left);
    p += 2;
  }
  if (count & 1) _mm_store_ss(p, left);
}
INLINE void store_first(double* p, int count, vec<double> v) {
  if (count >= kWidth<double>) return store(p, v);
  __m128d left = _mm256_castpd256_pd128((__m256d)v);
  if (count & 2) {
    _mm_storeu_pd(p, left);
    left = _mm256_extractf128_pd((__m256d)v, 1);
    p += 2;
  }
  if (count & 1) _mm_store_sd(p, left);
}
INLINE void store_from(float* p, int first, vec<float> v) {
  _mm256_maskstore_ps(p, ~(__m256i)first_lanes<float>(first), (__m256)v);
}
INLINE void store_from(double* p, int first, vec<double> v) {
  _mm256_maskstore_pd(p, ~(__m256i)first_lanes<double>(first), (__m256d)v);
}
INLINE void stream(float* p, vec<float> v) { _mm256_stream_ps(p, (__m256)v); }
INLINE void stream(double* p, vec<double> v) { _mm256_stream_pd(p, (__m256d)v); }
INLINE vec<double> widen_low(vec<float> v) {
  return (vec<double>)_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)v));
}
INLINE vec<double> widen_high(vec<float> v) {
  return (vec<double>)_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)v, 1));
}
INLINE vec<float> narrow(vec<double> low, vec<double> high) {
  return (vec<float>)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps((__m256d)low)),
                                          _mm256_cvtpd_ps((__m256d)high), 1);
}
INLINE vec<double> load_wide(const float* p) {
  return (vec<double>)_mm256_cvtps_pd(_mm_loadu_ps(p));
}
INLINE void store_narrow(float* p, vec<double> v) { _mm_storeu_ps(p, _mm256_cvtpd_ps((__m256d)v)); }
INLINE vec<float> half_to_float(const uint16_t* p) {
  return (vec<float>)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p));
}
INLINE void float_to_half(uint16_t* p, vec<float> v) {
  _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT));
}
INLINE vec<float> bfloat_to_float(const uint16_t* p) {
  return (vec<float>)((vec<int32_t>)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p))
                      << 16);
}
INLINE void store_high_halves(uint16_t* p, vec<int32_t> v) {
  const __m256i high = (__m256i)(v >> 16);
  _mm_storeu_si128((__m128i*)p, _mm_packs_epi32(_mm256_castsi256_si128(high),
                                                _mm256_extracti128_si256(high, 1)));
}
INLINE void load_bytes(const char* p, vec<int32_t>& to) {
  to = (vec<int32_t>)_mm256_cvtepi8_epi32(_mm_loadu_si64(p));
}
INLINE void load_bytes(const char* p, vec<int64_t>& to) {
  to = (vec<int64_t>)_mm256_cvtepi8_epi64(_mm_loadu_si32(p));
}
INLINE vec<int32_t> look_up(const int32_t* table, vec<int32_t> index) {
  return (vec<int32_t>)_mm256_permutevar8x32_epi32(_mm256_load_si256((const __m256i*)table),
                                                   (__m256i)index);
}
INLINE vec<int64_t> look_up(const int64_t* table, vec<int64_t> index) {
  // By halves: 2 i and 2 i + 1 for each index i.
  const __m256i even = _mm256_shuffle_epi32((__m256i)(index + index), 0xa0);
  return (vec<int64_t>)_mm256_permutevar8x32_epi32(
      _mm256_load_si256((const __m256i*)table),
      (__m256i)((vec<int64_t>)even + (vec<int64_t>{} + (int64_t(1) << 32))));
}
template <class T>
INLINE vec<T> load_pieces(const T* const* p, int64_t at) {
  return (vec<T>)_mm256_loadu2_m128((const float*)(p[1] + at), (const float*)(p[0] + at));
}
template <class T>
INLINE void store_pieces(T* const* p, int64_t at, vec<T> v) {
  _mm256_storeu2_m128((float*)(p[1] + at), (float*)(p[0] + at), (__m256)v);
}
template <class T>
INLINE vec<T> load_pairs(const T* const* p, int64_t at) {
  return load(p[0] + at);
}
template <class T>
INLINE void store_pairs(T* const* p, int64_t at, vec<T> v) {
  store(p[0] + at, v);
}
#else
template <class T>
INLINE vec<T> load_pieces(const T* const* p, int64_t at) {
  return load(p[0] + at);
}
template <class T>
INLINE void store_pieces(T* const* p, int64_t at, vec<T> v) {
  store(p[0] + at, v);
}
template <class T>
INLINE vec<T> load_first(const T* p, int count, vec<T> rest) {
  for (int i = 0; i < kWidth<T>; ++i)
    if (i < count) rest[i] = p[i];
  return rest;
}
template <class T>
INLINE vec<T> load_from(const T* p, int first) {
  vec<T> v{};
  for (int i = 0; i < kWidth<T>; ++i)
    if (i >= first) v[i] = p[i];
  return v;
}
template <class T>
INLINE void store_first(T* p, int count, vec<T> v) {
  for (int i = 0; i < kWidth<T>; ++i)
    if (i < count) p[i] = v[i];
}
template <class T>
INLINE void store_from(T* p, int first, vec<T> v) {
  for (int i = 0; i < kWidth<T>; ++i)
    if (i >= first) p[i] = v[i];
}
#if SOFTMAX_LEVEL == 2
// x86-64-v2 has no fused multiply-add: two roundings, which the argument reduction and the final
// scaling account for (exp.inl, arithmetic.inl).
INLINE vec<float> fma(vec<float> a, vec<float> b, vec<float> c) { return a * b + c; }
INLINE vec<double> fma(vec<double> a, vec<double> b, vec<double> c) { return a * b + c; }
INLINE vec<float> larger(vec<float> a, vec<float> b) {
  return (vec<float>)_mm_max_ps((__m128)a, (__m128)b);
}
INLINE vec<double> larger(vec<double> a, vec<double> b) {
  return (vec<double>)_mm_max_pd((__m128d)a, (__m128d)b);
}
INLINE void stream(float* p, vec<float> v) { _mm_stream_ps(p, (__m128)v); }
INLINE void stream(double* p, vec<double> v) { _mm_stream_pd(p, (__m128d)v); }
INLINE vec<double> load_wide(const float* p) {
  return (vec<double>)_mm_cvtps_pd(_mm_castsi128_ps(_mm_loadu_si64(p)));
}
INLINE void store_narrow(float* p, vec<double> v) {
  _mm_storeu_si64(p, _mm_castps_si128(_mm_cvtpd_ps((__m128d)v)));
}
INLINE vec<double> widen_low(vec<float> v) { return (vec<double>)_mm_cvtps_pd((__m128)v); }
INLINE vec<double> widen_high(vec<float> v) {
  return (vec<double>)_mm_cvtps_pd(_mm_movehl_ps((__m128)v, (__m128)v));
}
INLINE vec<float> narrow(vec<double> low, vec<double> high) {
  return (vec<float>)_mm_movelh_ps(_mm_cvtpd_ps((__m128d)low), _mm_cvtpd_ps((__m128d)high));
}
INLINE vec<int32_t> look_up(const int32_t* table, vec<int32_t> index) {
  return vec<int32_t>{table[index[0] & 7], table[index[1] & 7], table[index[2] & 7],
                      table[index[3] & 7]};
}
#else  // AArch64
INLINE vec<int32_t> look_up(const int32_t* table, vec<int32_t> index) {
  // Bytes 4 i .. 4 i + 3 of the table for each index i.
  const vec<uint32_t> bytes = (vec<uint32_t>)(index & 7) * 0x04040404u + 0x03020100u;
  const uint8x16x2_t powers = {vld1q_u8((const uint8_t*)table),
                               vld1q_u8((const uint8_t*)table + 16)};
  return (vec<int32_t>)vqtbl2q_u8(powers, (uint8x16_t)bytes);
}
INLINE vec<float> fma(vec<float> a, vec<float> b, vec<float> c) {
  return (vec<float>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
INLINE vec<double> fma(vec<double> a, vec<double> b, vec<double> c) {
  return (vec<double>)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
INLINE vec<float> larger(vec<float> a, vec<float> b) { return a > b ? a : b; }
INLINE vec<double> larger(vec<double> a, vec<double> b) { return a > b ? a : b; }
// AArch64 has no streaming store that is worth its name to a compiler.
INLINE void stream(float* p, vec<float> v) { store(p, v); }
INLINE void stream(double* p, vec<double> v) { store(p, v); }
INLINE vec<double> load_wide(const float* p) { return (vec<double>)vcvt_f64_f32(vld1_f32(p)); }
INLINE void store_narrow(float* p, vec<double> v) { vst1_f32(p, vcvt_f32_f64((float64x2_t)v)); }
INLINE vec<double> widen_low(vec<float> v) {
  return (vec<double>)vcvt_f64_f32(vget_low_f32((float32x4_t)v));
}
INLINE vec<double> widen_high(vec<float> v) {
  return (vec<double>)vcvt_high_f64_f32((float32x4_t)v);
}
INLINE vec<float> narrow(vec<double> low, vec<double> high) {
  return (vec<float>)vcvt_high_f32_f64(vcvt_f32_f64((float64x2_t)low), (float64x2_t)high);
}
#endif
INLINE vec<int64_t> look_up(const int64_t* table, vec<int64_t> index) {
  return vec<int64_t>{table[index[0] & 3], table[index[1] & 3]};
}
// Four half-precision numbers: float16 is converted by the compiler (in software on x86-64-v2).
INLINE vec<float> half_to_float(const uint16_t* p) {
  float16 h[4];
  __builtin_memcpy(h, p, sizeof h);
  return vec<float>{float(h[0]), float(h[1]), float(h[2]), float(h[3])};
}
INLINE void float_to_half(uint16_t* p, vec<float> v) {
  float16 h[4] = {float16(v[0]), float16(v[1]), float16(v[2]), float16(v[3])};
  __builtin_memcpy(p, h, sizeof h);
}
INLINE vec<float> bfloat_to_float(const uint16_t* p) {
  return (vec<float>)vec<int32_t>{p[0] << 16, p[1] << 16, p[2] << 16, p[3] << 16};
}
INLINE void store_high_halves(uint16_t* p, vec<int32_t> v) {
  for (int i = 0; i < 4; ++i) p[i] = uint16_t(v[i] >> 16);
}
INLINE void load_bytes(const char* p, vec<int32_t>& to) {
  to = vec<int32_t>{p[0], p[1], p[2], p[3]};
}
INLINE void load_bytes(const char* p, vec<int64_t>& to) { to = vec<int64_t>{p[0], p[1]}; }
#endif

#if SOFTMAX_LEVEL != 4
INLINE vec<double> fraction(vec<double> t, vec<double> whole) { return t - whole; }
#endif
INLINE vec<double> load_wide(const double* p) { return load(p); }
INLINE void store_narrow(double* p, vec<double> v) { store(p, v); }
