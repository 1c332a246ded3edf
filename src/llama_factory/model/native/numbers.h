// Numbers as they lie in memory and as they are computed: 16 at a time in float32, stored as float32 or bfloat16.
//
// `Float` and `Half` say the same things of the two formats: how 16 numbers are read and written, and how a product
// adds up. A product takes its left side row by row and its right side packed, in words of 32 bits: one float32, or two
// bfloat16 that lie one below the other, so that one instruction multiplies and adds both.

#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

constexpr int LANES = 16;
constexpr __mmask16 ALL = 0xFFFF;

// Under NAME_in, for whoever loads the library: the function for float32 and the one for bfloat16.
#define OFFER(name) extern "C" { void* name##_in[2] = {(void*)&name<Float>, (void*)&name<Half>}; }

struct Float {
    using Stored = float;
    static constexpr int PAIR = 1;  // numbers in a word

    static __m512 load(const float* at) { return _mm512_loadu_ps(at); }
    static __m512 load(const float* at, __mmask16 which) { return _mm512_maskz_loadu_ps(which, at); }
    static void store(float* at, __m512 x) { _mm512_storeu_ps(at, x); }
    static void store(float* at, __m512 x, __mmask16 which) { _mm512_mask_storeu_ps(at, which, x); }
    static __m512 round(__m512 x) { return x; }
    static __m512 dot(__m512 sum, uint32_t word, __m512i words) {
        return _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_set1_epi32(int(word))), _mm512_castsi512_ps(words), sum);
    }
};

struct Half {
    using Stored = uint16_t;
    static constexpr int PAIR = 2;

    static __m512 widen(__m256i x) {
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
    }
    static __m256i narrow(__m512 x) { return (__m256i)_mm512_cvtneps_pbh(x); }  // to the nearest, ties to even

    static __m512 load(const uint16_t* at) { return widen(_mm256_loadu_si256((const __m256i*)at)); }
    static __m512 load(const uint16_t* at, __mmask16 which) { return widen(_mm256_maskz_loadu_epi16(which, at)); }
    static void store(uint16_t* at, __m512 x) { _mm256_storeu_si256((__m256i*)at, narrow(x)); }
    static void store(uint16_t* at, __m512 x, __mmask16 which) { _mm256_mask_storeu_epi16(at, which, narrow(x)); }
    static __m512 round(__m512 x) { return widen(narrow(x)); }
    static __m512 dot(__m512 sum, uint32_t word, __m512i words) {
        return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(int(word)), (__m512bh)words);
    }
};

// The lanes of a vector that begins at `at` and are before `end`.
inline __mmask16 before(long end, long at) {
    return end - at >= LANES ? 0xFFFF : end <= at ? 0 : __mmask16((1u << (end - at)) - 1);
}

// e^x, as right as float32 allows: a Taylor polynomial of degree 7 on half of ln 2; 0 below -103, infinity above 88.8, NaN for NaN.
inline __m512 exp(__m512 x) {
    const __m512 limited = _mm512_min_ps(_mm512_set1_ps(90), _mm512_max_ps(_mm512_set1_ps(-110), x));
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(limited, _mm512_set1_ps(1.44269504f)), 8);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), limited);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
    constexpr float factors[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
    __m512 sum = _mm512_set1_ps(1.0f / 5040);
#pragma GCC unroll 7
    for (int i = 0; i < 7; ++i) sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(factors[i]));
    return _mm512_scalef_ps(sum, n);
}

inline __m512 sigmoid(__m512 x) {
    const __m512 one = _mm512_set1_ps(1);
    return _mm512_div_ps(one, _mm512_add_ps(one, exp(_mm512_sub_ps(_mm512_setzero_ps(), x))));
}
