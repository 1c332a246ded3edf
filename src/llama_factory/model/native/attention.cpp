// Causal attention over rows laid end to end, forward and backward, each head of a row in blocks of 64 x 64.
//
//     S = scale * q k', forbidden places left out;  P = softmax(S);  out = P v;  lse = log of the sum in the softmax
//     dv = P' dout;  dS = P * (dP - rowsum(dout * out)) with dP = dout v';  dq = scale * dS k;  dk = scale * dS' q
//
// In: queries, keys and values of one long row, head by head, and the rows' bounds. Rows after the first may begin with
// the tokens of the first (`common` of them), which lie there once. A sliding window is a number of keys; 0 is none.
// Out: what `native/__init__.py` says. The scores of the forward are never kept: the backward makes them again, turned,
// so that each of its products finds its left side row by row. What a number is summed from, and in which order,
// follows from the rows alone, never from the threads. Both return whether memory was enough.
//
// FlashAttention, Dao et al. 2022 (arXiv 2205.14135), algorithms 1 and 4.

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <new>
#include <numeric>
#include <vector>

#include "products.h"

constexpr long BLOCK = 64;
constexpr long FEW_TASKS = 16;  // fewer tasks than this: heads that share keys are worked on apart

struct Heads {
    void* numbers;
    long head, token;  // steps, in numbers
};

struct Attention {
    Heads query, key, value, out, dout, dquery, dkey, dvalue;
    float* lse;          // heads x tokens
    const long* bounds;  // rows + 1
    long rows, heads, key_heads, width, common, window, threads;
    float scale;
};

namespace {

template <class N>
class Room {  // memory for numbers, at an address that a vector likes
   public:
    explicit Room(long count, bool zero = false) : at_((N*)std::aligned_alloc(64, (count * sizeof(N) / 64 + 1) * 64)) {
        if (!at_) throw std::bad_alloc();
        if (zero) std::memset(at_, 0, count * sizeof(N));
    }
    ~Room() { std::free(at_); }
    Room(const Room&) = delete;
    Room& operator=(const Room&) = delete;
    operator N*() const { return at_; }

   private:
    N* at_;
};

// Rows of a matrix that is as wide as a row is long: a bit apart, or all of a column meets in one place of the cache.
long spread(long count) { return count + 2 * LANES; }
long whole_blocks(long count) { return (count + BLOCK - 1) / BLOCK * BLOCK; }
long whole_lanes(long count) { return (count + LANES - 1) / LANES * LANES; }

// One row of the long row: its own tokens, and the keys before them that it shares with the first.
struct Row {
    long start, own, shared;
    Row(const Attention& all, long row)
        : start(all.bounds[row]), own(all.bounds[row + 1] - start), shared(row ? all.common : 0) {}
    long keys() const { return shared + own; }
};

template <class N>
N* of(const Heads& heads, long head, long token) {
    return (N*)heads.numbers + head * heads.head + token * heads.token;
}

// All keys (or values) of a row one below the other, with zeros up to a whole block.
template <class N>
void gather(const Attention& all, const Heads& from, long head, const Row& row, N* into) {
    for (long key = 0; key < whole_blocks(row.keys()); ++key, into += all.width) {
        if (key >= row.keys()) {
            std::memset(into, 0, all.width * sizeof(N));
            continue;
        }
        const long token = key < row.shared ? key : row.start + key - row.shared;
        std::memcpy(into, of<N>(from, head, token), all.width * sizeof(N));
    }
}

template <class T>
class Forward {
    using N = typename T::Stored;

   public:
    Forward(const Attention& all, const Row& row, long key_head)
        : all_(all), row_(row), words_(BLOCK / T::PAIR * all.width), keys_(whole_blocks(row.keys()) * all.width),
          turned_(whole_blocks(row.keys()) / T::PAIR * all.width), values_(whole_blocks(row.keys()) / T::PAIR * all.width),
          scores_(BLOCK * BLOCK), softmax_(BLOCK * BLOCK), out_(BLOCK * all.width) {
        gather<N>(all, all.key, key_head, row, keys_);
        for (long at = 0; at < row.keys(); at += BLOCK)
            pack_turned<T>(keys_ + at * all.width, all.width, BLOCK, all.width, turned_ + at / BLOCK * words_, BLOCK);
        gather<N>(all, all.value, key_head, row, keys_);
        for (long at = 0; at < row.keys(); at += BLOCK)
            pack(keys_ + at * all.width, all.width, BLOCK, all.width, values_ + at / BLOCK * words_);
    }

    void head(long head) {
        for (long at = 0; at < row_.own; at += BLOCK) block(head, at, std::min(BLOCK, row_.own - at));
    }

   private:
    void block(long head, long at, long count) {
        const long position = row_.shared + at, last = position + count;
        const long first = all_.window ? std::max(0L, position - all_.window + 1) / BLOCK * BLOCK : 0;
        float most[BLOCK], sum[BLOCK];
        std::fill_n(most, BLOCK, -1e30f);
        std::fill_n(sum, BLOCK, 0.0f);
        for (long key = first; key < last; key += BLOCK) {
            const long width = whole_lanes(std::min(BLOCK, last - key));
            product<T>(count, width, all_.width, of<N>(all_.query, head, row_.start + at), all_.query.token,
                       turned_ + key / BLOCK * words_, BLOCK, scores_, BLOCK, false);
            for (long i = 0; i < count; ++i) line(i, position + i - key, width, most[i], sum[i]);
            product<T>(count, all_.width, width, softmax_, BLOCK, values_ + key / BLOCK * words_, all_.width, out_,
                       all_.width, key > first);
        }
        for (long i = 0; i < count; ++i) {
            N* into = of<N>(all_.out, head, row_.start + at + i);
            const __m512 whole = _mm512_set1_ps(sum[i]);
            for (long d = 0; d < all_.width; d += LANES)
                T::store(into + d, _mm512_div_ps(_mm512_loadu_ps(out_ + i * all_.width + d), whole));
            all_.lse[head * all_.bounds[all_.rows] + row_.start + at + i] = most[i] + std::log(sum[i]);
        }
    }

    // One query's scores in a block, `itself` the place of its own key there, to e^(score - most), summed up.
    void line(long i, long itself, long width, float& most, float& sum) {
        const long from = all_.window ? itself - all_.window + 1 : 0;
        const __m512 scale = _mm512_set1_ps(all_.scale);
        __m512 highest = _mm512_set1_ps(most);
        for (long j = 0; j < width; j += LANES) {
            const __mmask16 seen = before(itself + 1, j) & ~before(from, j);
            const __m512 score = _mm512_mul_ps(_mm512_loadu_ps(scores_ + i * BLOCK + j), scale);
            highest = _mm512_mask_max_ps(highest, seen, highest, score);
        }
        const float now = _mm512_reduce_max_ps(highest);
        const __m512 start = _mm512_set1_ps(now);
        __m512 more = _mm512_setzero_ps();
        for (long j = 0; j < width; j += LANES) {
            const __mmask16 seen = before(itself + 1, j) & ~before(from, j);
            const __m512 score = _mm512_mul_ps(_mm512_loadu_ps(scores_ + i * BLOCK + j), scale);
            const __m512 share = _mm512_maskz_mov_ps(seen, exp(_mm512_sub_ps(score, start)));
            more = _mm512_add_ps(more, share);
            T::store(softmax_ + i * BLOCK + j, share);
        }
        if (now != most && sum != 0) {
            const __m512 less = exp(_mm512_set1_ps(most - now));
            for (long d = 0; d < all_.width; d += LANES) {
                float* at = out_ + i * all_.width + d;
                _mm512_storeu_ps(at, _mm512_mul_ps(_mm512_loadu_ps(at), less));
            }
            sum *= _mm512_cvtss_f32(less);
        }
        most = now;
        sum += _mm512_reduce_add_ps(more);
    }

    const Attention& all_;
    const Row row_;
    const long words_;  // of one packed block
    Room<N> keys_;
    Room<uint32_t> turned_, values_;
    Room<float> scores_;
    Room<N> softmax_;
    Room<float> out_;
};

// One head's queries and what came back for its outputs, packed for the products of the backward.
template <class T>
struct Queries {
    using N = typename T::Stored;

    Queries(const Attention& all, const Row& row, long head)
        : room(whole_blocks(row.own)), words(BLOCK / T::PAIR * all.width), turned(room / T::PAIR * all.width),
          dturned(room / T::PAIR * all.width), lines(room / T::PAIR * all.width), dlines(room / T::PAIR * all.width),
          lse(room, true), delta(room, true), dquery(spread(room) * all.width, true) {
        Room<N> padded(2 * BLOCK * all.width);
        N* dpadded = padded + BLOCK * all.width;
        for (long at = 0; at < row.own; at += BLOCK) {
            const long count = std::min(BLOCK, row.own - at), block = at / BLOCK * words;
            if (count < BLOCK) std::memset(padded, 0, 2 * BLOCK * all.width * sizeof(N));
            for (long i = 0; i < count; ++i) {
                const long token = row.start + at + i;
                const N *dout = of<N>(all.dout, head, token), *out = of<N>(all.out, head, token);
                std::memcpy(padded + i * all.width, of<N>(all.query, head, token), all.width * sizeof(N));
                std::memcpy(dpadded + i * all.width, dout, all.width * sizeof(N));
                __m512 sum = _mm512_setzero_ps();
                for (long d = 0; d < all.width; d += LANES) sum = _mm512_fmadd_ps(T::load(dout + d), T::load(out + d), sum);
                delta[at + i] = _mm512_reduce_add_ps(sum);
                lse[at + i] = all.lse[head * all.bounds[all.rows] + token];
            }
            pack_turned<T>(padded, all.width, BLOCK, all.width, turned + block, BLOCK);
            pack_turned<T>(dpadded, all.width, BLOCK, all.width, dturned + block, BLOCK);
            pack(padded, all.width, BLOCK, all.width, lines + block);
            pack(dpadded, all.width, BLOCK, all.width, dlines + block);
        }
    }

    const long room, words;
    Room<uint32_t> turned, dturned, lines, dlines;
    Room<float> lse, delta, dquery;  // dquery: width x room, turned
};

// Where gradients for keys or values go that several tasks add to: float32, one place a task and row.
struct Sums {
    Sums(const Attention& all, long parts) : all(all), parts(parts), places(all.rows + 1, 0) {
        for (long row = 0; row < all.rows; ++row) places[row + 1] = places[row] + length(row);
    }
    long length(long row) const {  // keys of this row that others add to as well
        const Row one(all, row);
        return parts > 1 || (row == 0 && all.common) ? one.keys() : one.shared;
    }
    long size() const { return places[all.rows] * parts * all.key_heads * all.width; }
    float* of(float* sums, long row, long part, long key_head) const {
        return sums + (places[row] * parts * all.key_heads + (part * all.key_heads + key_head) * length(row)) * all.width;
    }

    const Attention& all;
    const long parts;
    std::vector<long> places;
};

template <class T>
class Backward {
    using N = typename T::Stored;

   public:
    Backward(const Attention& all, const Sums& sums, float* dkeys, float* dvalues, long row, long part, long key_head)
        : all_(all), row_(all, row), key_head_(key_head), summed_(sums.length(row)),
          dkeys_(sums.of(dkeys, row, part, key_head)), dvalues_(sums.of(dvalues, row, part, key_head)),
          room_(whole_blocks(row_.keys())), keys_(room_ * all.width), values_(room_ * all.width),
          turned_(spread(room_) * all.width), scores_(BLOCK * BLOCK), dsoftmax_(BLOCK * BLOCK), softmax_(BLOCK * BLOCK),
          dscores_(BLOCK * BLOCK), words_(BLOCK * BLOCK / T::PAIR), dkey_(BLOCK * all.width), dvalue_(BLOCK * all.width) {
        gather<N>(all, all.key, key_head, row_, keys_);
        gather<N>(all, all.value, key_head, row_, values_);
        for (long key = 0; key < room_; ++key)
            for (long d = 0; d < all.width; ++d) turned_[d * spread(room_) + key] = keys_[key * all.width + d];
    }

    void heads(long first, long last) {
        std::vector<std::unique_ptr<Queries<T>>> queries;
        for (long head = first; head < last; ++head) queries.push_back(std::make_unique<Queries<T>>(all_, row_, head));
        for (long key = 0; key < row_.keys(); key += BLOCK) {
            const long count = std::min(BLOCK, row_.keys() - key);
            std::memset(dkey_, 0, BLOCK * all_.width * sizeof(float));
            std::memset(dvalue_, 0, BLOCK * all_.width * sizeof(float));
            const long end = all_.window ? std::min(row_.own, key + count - 1 + all_.window - row_.shared) : row_.own;
            for (const auto& one : queries)
                for (long at = std::max(0L, key - row_.shared) / BLOCK * BLOCK; at < end; at += BLOCK)
                    block(*one, key, count, at);
            for (long j = 0; j < count; ++j) put(key + j, dkey_ + j * all_.width, dvalue_ + j * all_.width);
        }
        for (long head = first; head < last; ++head) give_back(*queries[head - first], head);
    }

   private:
    void block(const Queries<T>& one, long key, long count, long at) {
        const long width = whole_lanes(std::min(BLOCK, row_.own - at)), packed = at / BLOCK * one.words;
        product<T>(count, width, all_.width, keys_ + key * all_.width, all_.width, one.turned + packed, BLOCK, scores_,
                   BLOCK, false);
        product<T>(count, width, all_.width, values_ + key * all_.width, all_.width, one.dturned + packed, BLOCK,
                   dsoftmax_, BLOCK, false);
        for (long j = 0; j < count; ++j) line(one, key + j - row_.shared - at, j, at, width);
        product<T>(count, all_.width, width, softmax_, BLOCK, one.dlines + packed, all_.width, dvalue_, all_.width, true);
        product<T>(count, all_.width, width, dscores_, BLOCK, one.lines + packed, all_.width, dkey_, all_.width, true);
        pack(dscores_, BLOCK, count, BLOCK, words_);
        product<T>(all_.width, width, count, turned_ + key, spread(room_), words_, BLOCK, one.dquery + at, spread(one.room), true);
    }

    // One key against the queries of a block, the first of which that may see it is number `itself`.
    void line(const Queries<T>& one, long itself, long j, long at, long width) {
        const long end = all_.window ? std::min(row_.own - at, itself + all_.window) : row_.own - at;
        const __m512 scale = _mm512_set1_ps(all_.scale);
        for (long i = 0; i < width; i += LANES) {
            const __mmask16 sees = before(end, i) & ~before(itself, i);
            const __m512 score = _mm512_mul_ps(_mm512_loadu_ps(scores_ + j * BLOCK + i), scale);
            const __m512 share = _mm512_maskz_mov_ps(sees, exp(_mm512_sub_ps(score, _mm512_loadu_ps(one.lse + at + i))));
            const __m512 slope = _mm512_sub_ps(_mm512_loadu_ps(dsoftmax_ + j * BLOCK + i), _mm512_loadu_ps(one.delta + at + i));
            T::store(softmax_ + j * BLOCK + i, share);
            T::store(dscores_ + j * BLOCK + i, _mm512_maskz_mul_ps(sees, share, slope));
        }
    }

    // A key's finished gradients: to where they are summed up, or out.
    void put(long key, const float* dkey, const float* dvalue) {
        const __m512 scale = _mm512_set1_ps(all_.scale);
        const long token = key < row_.shared ? key : row_.start + key - row_.shared;
        for (long d = 0; d < all_.width; d += LANES) {
            const __m512 one = _mm512_mul_ps(_mm512_loadu_ps(dkey + d), scale), other = _mm512_loadu_ps(dvalue + d);
            if (key < summed_) {
                _mm512_storeu_ps(dkeys_ + key * all_.width + d, one);
                _mm512_storeu_ps(dvalues_ + key * all_.width + d, other);
            } else {
                T::store(of<N>(all_.dkey, key_head_, token) + d, one);
                T::store(of<N>(all_.dvalue, key_head_, token) + d, other);
            }
        }
    }

    void give_back(const Queries<T>& one, long head) {
        const __m512 scale = _mm512_set1_ps(all_.scale);
        for (long at = 0; at < row_.own; at += LANES) {
            float square[LANES][LANES];
            for (long d = 0; d < all_.width; d += LANES) {
                for (long k = 0; k < LANES; ++k)
                    for (long i = 0; i < LANES; ++i) square[i][k] = one.dquery[(d + k) * spread(one.room) + at + i];
                for (long i = 0; i < std::min<long>(LANES, row_.own - at); ++i)
                    T::store(of<N>(all_.dquery, head, row_.start + at + i) + d,
                             _mm512_mul_ps(_mm512_loadu_ps(square[i]), scale));
            }
        }
    }

    const Attention& all_;
    const Row row_;
    const long key_head_, summed_;
    float *dkeys_, *dvalues_;
    const long room_;
    Room<N> keys_, values_, turned_;
    Room<float> scores_, dsoftmax_;
    Room<N> softmax_, dscores_;
    Room<uint32_t> words_;
    Room<float> dkey_, dvalue_;
};

// Everything that was added to one key head's token, in the order of rows and parts.
template <class T>
void add_up(const Sums& sums, float* from, const Heads& into, long key_head, long token, long row) {
    using N = typename T::Stored;
    const Attention& all = sums.all;
    const long last = row == 0 && all.common ? all.rows : row + 1;
    for (long d = 0; d < all.width; d += LANES) {
        __m512 sum = _mm512_setzero_ps();
        for (long r = row; r < last; ++r) {
            const Row one(all, r);
            const long key = r == row ? one.shared + token - one.start : token;
            for (long part = 0; part < sums.parts; ++part)
                sum = _mm512_add_ps(sum, _mm512_loadu_ps(sums.of(from, r, part, key_head) + key * all.width + d));
        }
        T::store(of<N>(into, key_head, token) + d, sum);
    }
}

long parts(const Attention& all) { return all.rows * all.key_heads < FEW_TASKS ? all.heads / all.key_heads : 1; }

std::vector<long> long_ones_first(const Attention& all) {
    std::vector<long> rows(all.rows);
    std::iota(rows.begin(), rows.end(), 0);
    std::stable_sort(rows.begin(), rows.end(), [&](long a, long b) { return Row(all, a).own > Row(all, b).own; });
    return rows;
}

// Each task by some thread; whether memory was enough for all of them.
template <class Do>
bool each_task(const Attention& all, long count, Do task) {
    std::atomic<bool> enough{true};
#pragma omp parallel for schedule(dynamic) num_threads(all.threads)
    for (long number = 0; number < count; ++number) try {
            task(number);
        } catch (const std::bad_alloc&) {  // must not leave the thread that it was thrown in
            enough = false;
        }
    return enough;
}

template <class T>
bool attention_forward(const Attention& all) {
    const long each = all.heads / all.key_heads, split = parts(all), count = all.rows * all.key_heads * split;
    const std::vector<long> rows = long_ones_first(all);
    return each_task(all, count, [&](long task) {
        const long key_head = task / split % all.key_heads, part = task % split;
        Forward<T> one(all, Row(all, rows[task / split / all.key_heads]), key_head);
        for (long head = each / split * part; head < each / split * (part + 1); ++head) one.head(key_head * each + head);
    });
}

template <class T>
bool attention_backward(const Attention& all) try {
    const long each = all.heads / all.key_heads, split = parts(all), count = all.rows * all.key_heads * split;
    const std::vector<long> rows = long_ones_first(all);
    const Sums sums(all, split);
    Room<float> dkeys(sums.size()), dvalues(sums.size());
    const bool enough = each_task(all, count, [&](long task) {
        const long key_head = task / split % all.key_heads, part = task % split;
        Backward<T> one(all, sums, dkeys, dvalues, rows[task / split / all.key_heads], part, key_head);
        const long first = key_head * each + each / split * part;
        one.heads(first, first + each / split);
    });
    if (!enough) return false;
#pragma omp parallel for collapse(2) schedule(static) num_threads(all.threads)
    for (long key_head = 0; key_head < all.key_heads; ++key_head)
        for (long row = 0; row < all.rows; ++row) {
            const Row one(all, row);
            if (split == 1 && !(row == 0 && all.common)) continue;
            for (long token = one.start; token < one.start + one.own; ++token) {
                add_up<T>(sums, dkeys, all.dkey, key_head, token, row);
                add_up<T>(sums, dvalues, all.dvalue, key_head, token, row);
            }
        }
    return true;
} catch (const std::bad_alloc&) {
    return false;
}

}  // namespace

OFFER(attention_forward)
OFFER(attention_backward)
