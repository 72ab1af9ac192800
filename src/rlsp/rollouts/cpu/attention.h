// One token's attention to its row of the cache, for the sizes of one model: HEADS (of keys and values), GROUPS (queries
// a head) and DIM are defined when this is compiled.

#pragma once

#include <cstdint>
#include <cstring>

#include "exponential.h"
#include "norms.h"

namespace attention {

#if defined(__AVX512F__)
constexpr int WIDEST = 16;
#elif defined(__AVX__)
constexpr int WIDEST = 8;
#else
constexpr int WIDEST = 4;
#endif
constexpr int HALF = DIM / 2;
constexpr int LANES = DIM % WIDEST == 0 ? WIDEST : 8;
constexpr int QUERIES = HEADS * GROUPS;
constexpr int VECTORS = DIM / LANES;
constexpr int BLOCK = 8;  // keys of all heads that stay in a fast cache
constexpr int KEYS = GROUPS <= 3 ? 4 : GROUPS <= 6 ? 2 : 1;  // scored together: their sums stay in registers
constexpr int PIECE = VECTORS % 4 == 0 && GROUPS <= 3 ? 4 : VECTORS % 2 == 0 && GROUPS <= 6 ? 2 : 1;  // of a value
constexpr std::int64_t SLOT = HEADS * DIM;
// Scores of so many slots lie in whole vectors.
constexpr std::int64_t padded(std::int64_t slots) { return (slots + LANES - 1) / LANES * LANES; }
static_assert(DIM % LANES == 0, "DIM must be a multiple of 8");

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef std::int32_t Places __attribute__((vector_size(4 * LANES)));

inline Vector load(const float *from) { return *reinterpret_cast<const Vector *>(from); }
inline void store(float *to, Vector vector) { *reinterpret_cast<Vector *>(to) = vector; }

// Lanes come in groups of 2 · WIDTH: the halves of each group, added, those of `left` before those of `right`.
template <int WIDTH>
inline Vector fold(Vector left, Vector right) {
    Places first, second;
#pragma GCC unroll 16
    for (int lane = 0; lane < LANES; lane++) {
        const int half = lane / (LANES / 2), group = lane % (LANES / 2) / WIDTH;
        first[lane] = half * LANES + 2 * group * WIDTH + lane % WIDTH;
        second[lane] = first[lane] + WIDTH;
    }
    return __builtin_shuffle(left, right, first) + __builtin_shuffle(left, right, second);
}

// In every lane what `join` makes of its group of WIDTH lanes.
template <int WIDTH, class Join>
inline Vector joined(Vector vector, Join join) {
    if constexpr (WIDTH == 1) {
        return vector;
    } else {
        Places places;
#pragma GCC unroll 16
        for (int lane = 0; lane < LANES; lane++) places[lane] = lane ^ (WIDTH / 2);
        return joined<WIDTH / 2>(join(vector, __builtin_shuffle(vector, places)), join);
    }
}
inline Vector sum(Vector left, Vector right) { return left + right; }
inline Vector larger(Vector left, Vector right) { return left > right ? left : right; }

// Of COUNT vectors: the sums of each one's lanes.
template <int COUNT>
inline void sums(const Vector *vectors, float *out) {
    Vector all = vectors[0];
    if constexpr (COUNT > 1) {  // halves, then quarters, of different vectors side by side
        Vector halves[COUNT / 2];
        for (int pair = 0; pair < COUNT / 2; pair++)
            halves[pair] = fold<LANES / 2>(vectors[2 * pair], vectors[2 * pair + 1]);
        all = COUNT == 4 ? fold<LANES / 4>(halves[0], halves[COUNT / 2 - 1]) : halves[0];
    }
    all = joined<LANES / COUNT>(all, sum);
    for (int each = 0; each < COUNT; each++) out[each] = all[each * (LANES / COUNT)];
}

// Normalises a head, if it has a weight for that, and rotates it by its position.
inline void rotate(const float *head, const float *weight, float epsilon, const float *cosines, const float *sines,
                 float scale, float *rotated) {
    float normed[DIM];
    const float factor = weight ? inverse_root_mean_square(head, DIM, epsilon) : 1.0f;
    for (int place = 0; place < DIM; place++) normed[place] = weight ? head[place] * factor * weight[place] : head[place];
    for (int place = 0; place < HALF; place++) {
        const float left = normed[place], right = normed[place + HALF];
        rotated[place] = (left * cosines[place] - right * sines[place]) * scale;
        rotated[place + HALF] = (right * cosines[place + HALF] + left * sines[place + HALF]) * scale;
    }
}

// The products of a head's queries with `COUNT` keys; scores are [GROUPS, slots].
template <int COUNT>
inline void score(const float *queries, const float *keys, std::int64_t slots, float *scores) {
    Vector products[GROUPS][COUNT] = {};
    for (int vector = 0; vector < VECTORS; vector++)
        for (int key = 0; key < COUNT; key++) {
            const Vector part = load(keys + key * HEADS * DIM + vector * LANES);
            for (int group = 0; group < GROUPS; group++)
                products[group][key] += part * load(queries + group * DIM + vector * LANES);
        }
    for (int group = 0; group < GROUPS; group++) sums<COUNT>(products[group], scores + group * slots);
}

// Adds COUNT values, by weight, to what a head's queries attend to.
template <int COUNT>
inline void add_values(const float *weights, const float *values, std::int64_t slots, float *attended) {
    for (int first = 0; first < VECTORS; first += PIECE) {
        Vector sums[GROUPS][PIECE];
        for (int group = 0; group < GROUPS; group++)
            for (int vector = 0; vector < PIECE; vector++)
                sums[group][vector] = load(attended + group * DIM + (first + vector) * LANES);
#pragma GCC unroll 8
        for (int key = 0; key < COUNT; key++)
            for (int group = 0; group < GROUPS; group++)
                for (int vector = 0; vector < PIECE; vector++)
                    sums[group][vector] +=
                        load(values + key * HEADS * DIM + (first + vector) * LANES) * weights[group * slots + key];
        for (int group = 0; group < GROUPS; group++)
            for (int vector = 0; vector < PIECE; vector++)
                store(attended + group * DIM + (first + vector) * LANES, sums[group][vector]);
    }
}

// Scores lie in whole vectors; those beyond `count` become 0.
inline void softmax(float *scores, int count) {
    const Vector none = {};
    Places lanes;
    for (int lane = 0; lane < LANES; lane++) lanes[lane] = lane;
    Vector tops = none + scores[0], totals = none;
    for (int key = 0; key < count; key += LANES)
        tops = lanes < count - key ? larger(load(scores + key), tops) : tops;
    const float top = joined<LANES>(tops, larger)[0];
    for (int key = 0; key < count; key += LANES)
        for (int lane = 0; lane < LANES; lane++) scores[key + lane] = exponential(scores[key + lane] - top);
    for (int key = 0; key < count; key += LANES) {
        const Vector part = lanes < count - key ? load(scores + key) : none;
        store(scores + key, part);
        totals += part;
    }
    const Vector shares = 1.0f / joined<LANES>(totals, sum);
    for (int key = 0; key < count; key += LANES) store(scores + key, load(scores + key) * shares);
}

// Up to BLOCK slots that follow each other.
struct Block {
    const float *from, *end;

    // Asks for the next `count` numbers, if there are any: the processor does not see them coming by itself.
    void fetch(int count) {
        if (from < end)
            for (int place = 0; place < count; place += 16) __builtin_prefetch(from + place);
        from += count;
    }
};

// Where a layer's tokens are: keys and values are [rows, slots, HEADS, DIM]. The first `shared` slots of a row are as in
// the row `leaders` and read there: rows that follow each other find them in a fast cache.
struct Cache {
    std::int64_t slots;
    const std::int64_t *leaders, *shared;
    float *keys, *values;

    // The slots of a row from `start` on to before `count`.
    Block block(const float *of, std::int64_t row, int start, int count) const {
        const std::int64_t source = start + BLOCK <= shared[row] ? leaders[row] : row;
        const float *from = of + (source * slots + start) * SLOT;
        return {from, from + size(start, count) * SLOT};
    }
    static int size(int start, int count) { return start + BLOCK < count ? BLOCK : count - start; }
};

// How queries and keys are normalised, if there are weights for that, rotated by their position, and scaled.
struct Turn {
    const float *query_weight, *key_weight;
    float query_epsilon, key_epsilon, scale;
    const float *cosines, *sines;  // [slots, DIM]
};

// One token of a row, for the heads from `first` on to before `last`: its key and value go to `position` of the cache,
// and its queries attend to the row up to there. projected is [QUERIES + 2 · HEADS, DIM], scores is [QUERIES, slots],
// attended is [QUERIES, DIM]. `after` is the row that comes next.
void attend(const Cache &cache, const Turn &turn, std::int64_t row, std::int64_t after, std::int64_t position, int first,
            int last, const float *projected, float *scores, float *attended) {
    const float *cosines = turn.cosines + position * DIM, *sines = turn.sines + position * DIM;
    const std::int64_t slots = cache.slots, stride = padded(slots);
    alignas(64) float queries[QUERIES * DIM];
    for (int head = first; head < last; head++) {
        const std::int64_t place = (row * slots + position) * SLOT + head * DIM;
        for (int query = head * GROUPS; query < (head + 1) * GROUPS; query++)
            rotate(projected + query * DIM, turn.query_weight, turn.query_epsilon, cosines, sines, turn.scale,
                   queries + query * DIM);
        rotate(projected + (QUERIES + head) * DIM, turn.key_weight, turn.key_epsilon, cosines, sines, 1,
               cache.keys + place);
        std::memcpy(cache.values + place, projected + (QUERIES + HEADS + head) * DIM, DIM * sizeof(float));
    }
    const int count = static_cast<int>(position) + 1;
    for (int start = 0; start < count; start += BLOCK) {
        const int size = cache.size(start, count), rest = start + BLOCK;
        const float *keys = cache.block(cache.keys, row, start, count).from;
        Block next = rest < count ? cache.block(cache.keys, row, rest, count) : cache.block(cache.values, row, 0, count);
        for (int head = first; head < last; head++) {
            const float *asked = queries + head * GROUPS * DIM;
            float *given = scores + head * GROUPS * stride + start;
            int key = 0;
            for (; key + KEYS <= size; key += KEYS) {
                next.fetch(KEYS * DIM);
                score<KEYS>(asked, keys + (key * HEADS + head) * DIM, stride, given + key);
            }
            for (; key < size; key++) score<1>(asked, keys + (key * HEADS + head) * DIM, stride, given + key);
        }
    }
    for (int query = first * GROUPS; query < last * GROUPS; query++) {
        softmax(scores + query * stride, count);
        std::memset(attended + query * DIM, 0, DIM * sizeof(float));
    }
    for (int start = 0; start < count; start += BLOCK) {
        const int size = cache.size(start, count), rest = start + BLOCK;
        const float *values = cache.block(cache.values, row, start, count).from;
        Block next = rest < count ? cache.block(cache.values, row, rest, count) : cache.block(cache.keys, after, 0, BLOCK);
        for (int head = first; head < last; head++) {
            const float *weights = scores + head * GROUPS * stride + start;
            float *sums = attended + head * GROUPS * DIM;
            next.fetch(BLOCK * DIM);
            if (size == BLOCK)
                add_values<BLOCK>(weights, values + head * DIM, stride, sums);
            else
                for (int key = 0; key < size; key++)
                    add_values<1>(weights + key, values + (key * HEADS + head) * DIM, stride, sums);
        }
    }
}

}  // namespace attention
