// Products of small matrices for attention: C (M x N) = or += A (M x K) B (K x N), in float32.
//
// A lies row by row; B is packed by one of the functions here, N filled up to a multiple of 16 and K to a whole word.

#pragma once

// Loops over registers are unrolled here and not by -O3, which takes twice as long to compile and gives no more.

#include "numbers.h"

template <class T, int ROWS, int VECTORS>
inline void tile(long depth, const typename T::Stored* a, long a_row, const uint32_t* b, long b_row, float* c,
                 long c_row, bool add) {
    __m512 sum[ROWS][VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < VECTORS; ++j)
            sum[i][j] = add ? _mm512_loadu_ps(c + i * c_row + j * LANES) : _mm512_setzero_ps();
    for (long k = 0; k < depth; k += T::PAIR, b += b_row) {
        __m512i words[VECTORS];
#pragma GCC unroll 8
        for (int j = 0; j < VECTORS; ++j) words[j] = _mm512_loadu_si512(b + j * LANES);
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; ++i) {
            uint32_t word;
            std::memcpy(&word, a + i * a_row + k, sizeof word);
#pragma GCC unroll 8
            for (int j = 0; j < VECTORS; ++j) sum[i][j] = T::dot(sum[i][j], word, words[j]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < VECTORS; ++j) _mm512_storeu_ps(c + i * c_row + j * LANES, sum[i][j]);
}

template <class T, int VECTORS>
inline void columns(long rows, long depth, const typename T::Stored* a, long a_row, const uint32_t* b, long b_row,
                    float* c, long c_row, bool add) {
    long i = 0;
    for (; i + 8 <= rows; i += 8) tile<T, 8, VECTORS>(depth, a + i * a_row, a_row, b, b_row, c + i * c_row, c_row, add);
    for (; i + 2 <= rows; i += 2) tile<T, 2, VECTORS>(depth, a + i * a_row, a_row, b, b_row, c + i * c_row, c_row, add);
    for (; i < rows; ++i) tile<T, 1, VECTORS>(depth, a + i * a_row, a_row, b, b_row, c + i * c_row, c_row, add);
}

// rows x width, width a multiple of 16. Steps between rows are in numbers of their own kind (b: words).
template <class T>
inline void product(long rows, long width, long depth, const typename T::Stored* a, long a_row, const uint32_t* b,
                    long b_row, float* c, long c_row, bool add) {
    long j = 0;
    for (; j + 2 * LANES <= width; j += 2 * LANES) columns<T, 2>(rows, depth, a, a_row, b + j, b_row, c + j, c_row, add);
    if (j < width) columns<T, 1>(rows, depth, a, a_row, b + j, b_row, c + j, c_row, add);
}

// B = X' for X (count x depth): words[k][n] holds numbers k of row n. Filled up with zeros to `width` columns.
template <class T>
inline void pack_turned(const typename T::Stored* x, long x_row, long count, long depth, uint32_t* words, long width) {
    const long whole = count / LANES * LANES;
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i step = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(int(x_row * sizeof(*x))));
    for (long k = 0; k < depth; k += T::PAIR, words += width) {
        for (long n = 0; n < whole; n += LANES)
            _mm512_storeu_si512(words + n, _mm512_i32gather_epi32(step, (const int*)(x + n * x_row + k), 1));
        for (long n = whole; n < width; ++n) {
            words[n] = 0;
            if (n < count) std::memcpy(words + n, x + n * x_row + k, sizeof(uint32_t));
        }
    }
}

// B = X for X (depth x width): words[k][n] holds rows k.. of column n. A last row without a partner gets zeros.
inline void pack(const float* x, long x_row, long depth, long width, uint32_t* words) {
    for (long k = 0; k < depth; ++k) std::memcpy(words + k * width, x + k * x_row, width * sizeof(float));
}

inline void pack(const uint16_t* x, long x_row, long depth, long width, uint32_t* words) {
    for (long k = 0; k < depth; k += 2, words += width) {
        const uint16_t *upper = x + k * x_row, *lower = k + 1 < depth ? upper + x_row : nullptr;
        long n = 0;
        for (; n + LANES <= width; n += LANES) {
            const __m512i first = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(upper + n)));
            const __m512i second = lower ? _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(lower + n)))
                                         : _mm512_setzero_si512();
            _mm512_storeu_si512(words + n, _mm512_or_si512(first, _mm512_slli_epi32(second, 16)));
        }
        for (; n < width; ++n) words[n] = upper[n] | (lower ? uint32_t(lower[n]) << 16 : 0);
    }
}
