// What is done to single numbers of a row, each in one pass: norms, gated activations, rotation, the head's softmax.
//
// A pass reads the stored format, computes in float32 and rounds once where it writes, or where the formula that it
// stands for rounds. Rows are shared out to threads in equal parts; a sum over rows is made in SLICES of them that do
// not depend on the threads. The formulas stand beside their callers: `norm.py`, `gated.py`, `rotary.py`, `head.py`.

#include <cmath>
#include <vector>

#include "numbers.h"

namespace {

constexpr long SLICES = 64;

template <class Do>
void over_vectors(long width, Do each) {
    long d = 0;
    for (; d + LANES <= width; d += LANES) each(d, ALL);
    if (d < width) each(d, before(width, d));
}

// y = w * (n x), n x rounded first, as the definition does; factor: n of each row.
template <class T>
void norm_forward(long rows, long width, const typename T::Stored* x, const typename T::Stored* weight, float eps,
                  typename T::Stored* y, float* factor, long threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long row = 0; row < rows; ++row) {
        const auto* from = x + row * width;
        __m512 sum = _mm512_setzero_ps();
        over_vectors(width, [&](long d, __mmask16 in) {
            const __m512 one = T::load(from + d, in);
            sum = _mm512_fmadd_ps(one, one, sum);
        });
        factor[row] = 1.0f / std::sqrt(_mm512_reduce_add_ps(sum) / width + eps);
        const __m512 n = _mm512_set1_ps(factor[row]);
        over_vectors(width, [&](long d, __mmask16 in) {
            const __m512 normal = T::round(_mm512_mul_ps(T::load(from + d, in), n));
            T::store(y + row * width + d, _mm512_mul_ps(normal, T::load(weight + d, in)), in);
        });
    }
}

// dx = n g - x n^3 / D * sum(g x) with g = dy * w.
template <class T>
void norm_backward(long rows, long width, const typename T::Stored* x, const typename T::Stored* weight,
                   const float* factor, const typename T::Stored* dy, typename T::Stored* dx, long threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long row = 0; row < rows; ++row) {
        const long at = row * width;
        __m512 sum = _mm512_setzero_ps();
        over_vectors(width, [&](long d, __mmask16 in) {
            const __m512 g = _mm512_mul_ps(T::load(dy + at + d, in), T::load(weight + d, in));
            sum = _mm512_fmadd_ps(g, T::load(x + at + d, in), sum);
        });
        const float n = factor[row];
        const __m512 share = _mm512_set1_ps(_mm512_reduce_add_ps(sum) * n * n / width), scale = _mm512_set1_ps(n);
        over_vectors(width, [&](long d, __mmask16 in) {
            const __m512 g = _mm512_mul_ps(T::load(dy + at + d, in), T::load(weight + d, in));
            const __m512 rest = _mm512_fnmadd_ps(T::load(x + at + d, in), share, g);
            T::store(dx + at + d, _mm512_mul_ps(rest, scale), in);
        });
    }
}

// dw = sum over rows of dy * (n x).
template <class T>
void norm_weight(long rows, long width, const typename T::Stored* x, const float* factor,
                 const typename T::Stored* dy, float* dweight, long threads) {
    std::vector<float> sums(SLICES * width, 0.0f);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long slice = 0; slice < SLICES; ++slice)
        for (long row = rows * slice / SLICES; row < rows * (slice + 1) / SLICES; ++row) {
            const __m512 n = _mm512_set1_ps(factor[row]);
            over_vectors(width, [&](long d, __mmask16 in) {
                float* sum = sums.data() + slice * width + d;
                const __m512 normal = _mm512_mul_ps(T::load(x + row * width + d, in), n);
                const __m512 more = _mm512_fmadd_ps(T::load(dy + row * width + d, in), normal, _mm512_maskz_loadu_ps(in, sum));
                _mm512_mask_storeu_ps(sum, in, more);
            });
        }
    for (long d = 0; d < width; ++d) {
        dweight[d] = 0;
        for (long slice = 0; slice < SLICES; ++slice) dweight[d] += sums[slice * width + d];
    }
}

// h = silu(gate) * up.
template <class T>
void gated_forward(long rows, long width, const typename T::Stored* gate, const typename T::Stored* up,
                   typename T::Stored* h, long threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long row = 0; row < rows; ++row)
        over_vectors(width, [&](long d, __mmask16 in) {
            const long at = row * width + d;
            const __m512 x = T::load(gate + at, in);
            T::store(h + at, _mm512_mul_ps(_mm512_mul_ps(x, sigmoid(x)), T::load(up + at, in)), in);
        });
}

// dup = dh silu(gate);  dgate = dh up silu'(gate), written over dh;  silu'(x) = s + x s (1 - s), s = sigmoid(x).
template <class T>
void gated_backward(long rows, long width, const typename T::Stored* gate, const typename T::Stored* up,
                    typename T::Stored* dh, typename T::Stored* dup, long threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long row = 0; row < rows; ++row)
        over_vectors(width, [&](long d, __mmask16 in) {
            const long at = row * width + d;
            const __m512 x = T::load(gate + at, in), grad = T::load(dh + at, in), s = sigmoid(x);
            const __m512 silu = _mm512_mul_ps(x, s);
            const __m512 slope = _mm512_fmadd_ps(silu, _mm512_sub_ps(_mm512_set1_ps(1), s), s);
            T::store(dup + at, _mm512_mul_ps(grad, silu), in);
            T::store(dh + at, _mm512_mul_ps(_mm512_mul_ps(grad, T::load(up + at, in)), slope), in);
        });
}

// y = x cos + turned(x) sin for x (rows x heads x width), turned(x) = (-second half, first half); back: with -sin.
template <class T>
void rotate(long rows, long heads, long width, const typename T::Stored* x, long x_row, long x_head,
            const typename T::Stored* cosine, const typename T::Stored* sine, typename T::Stored* y, long back,
            long threads) {
    const long half = width / 2;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long row = 0; row < rows; ++row)
        for (long head = 0; head < heads; ++head) {
            const auto *from = x + row * x_row + head * x_head, *c = cosine + row * width, *s = sine + row * width;
            auto* into = y + (row * heads + head) * width;
            over_vectors(half, [&](long d, __mmask16 in) {
                const __m512 a = T::load(from + d, in), b = T::load(from + half + d, in);
                __m512 first = T::load(s + d, in), second = T::load(s + half + d, in);
                if (back) {  // the transposed rotation: each half meets the sine of the other one
                    const __m512 other = first;
                    first = _mm512_sub_ps(_mm512_setzero_ps(), second);
                    second = _mm512_sub_ps(_mm512_setzero_ps(), other);
                }
                T::store(into + d, _mm512_fnmadd_ps(b, first, _mm512_mul_ps(a, T::load(c + d, in))), in);
                T::store(into + half + d, _mm512_fmadd_ps(a, second, _mm512_mul_ps(b, T::load(c + half + d, in))), in);
            });
        }
}

// logp = z_y - logsumexp(z) of each row, z = scale * logits; with `slope`, logits become scale * (softmax(z) - onehot(y)).
template <class T>
void logprobs(long rows, long width, typename T::Stored* logits, const long* token, float scale, float* logprob,
              long slope, long threads) {
    const __m512 by = _mm512_set1_ps(scale);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long row = 0; row < rows; ++row) {
        auto* z = logits + row * width;
        __m512 highest = _mm512_set1_ps(-INFINITY);
        over_vectors(width, [&](long d, __mmask16 in) {
            highest = _mm512_mask_max_ps(highest, in, highest, _mm512_mul_ps(T::load(z + d, in), by));
        });
        const __m512 most = _mm512_set1_ps(_mm512_reduce_max_ps(highest));
        __m512 sums = _mm512_setzero_ps();
        over_vectors(width, [&](long d, __mmask16 in) {
            const __m512 share = exp(_mm512_fmsub_ps(T::load(z + d, in), by, most));
            sums = _mm512_mask_add_ps(sums, in, sums, share);
        });
        const float all = std::log(_mm512_reduce_add_ps(sums));
        const float own = _mm512_cvtss_f32(T::load(z + token[row], 1)) * scale;
        logprob[row] = own - _mm512_cvtss_f32(most) - all;
        if (!slope) continue;
        const __m512 least = _mm512_add_ps(most, _mm512_set1_ps(all));
        over_vectors(width, [&](long d, __mmask16 in) {
            T::store(z + d, _mm512_mul_ps(by, exp(_mm512_fmsub_ps(T::load(z + d, in), by, least))), in);
        });
        T::store(z + token[row], _mm512_set1_ps(scale * std::expm1(logprob[row])), 1);
    }
}

}  // namespace

OFFER(norm_forward)
OFFER(norm_backward)
OFFER(norm_weight)
OFFER(gated_forward)
OFFER(gated_backward)
OFFER(rotate)
OFFER(logprobs)
