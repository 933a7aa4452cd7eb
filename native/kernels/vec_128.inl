// The operations of vec.inl on 128 bits: SSE, and AArch64's.

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
INLINE vec<int32_t> nearest(vec<float> v) { return (vec<int32_t>)_mm_cvtps_epi32((__m128)v); }
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
INLINE vec<int32_t> nearest(vec<float> v) {
  const vec<int32_t> rounded = (vec<int32_t>)vcvtnq_s32_f32((float32x4_t)v);
  return v < 0x1p31f ? rounded : splat(std::numeric_limits<int32_t>::min());
}
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
