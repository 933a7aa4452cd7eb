// The operations of vec.inl with AVX-512.

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
INLINE vec<int32_t> nearest(vec<float> v) { return (vec<int32_t>)_mm512_cvtps_epi32((__m512)v); }
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
