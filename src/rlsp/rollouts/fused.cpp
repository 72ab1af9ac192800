// What decoding does between matrix products, for the sizes of one model: HEADS (of keys and values), GROUPS (queries a
// head) and DIM are defined when this is compiled. Tensors are contiguous float32.

#include <cmath>
#include <cstdint>
#include <cstring>

#include <omp.h>

#include "exponential.h"

namespace {

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
constexpr std::int64_t SERIAL = 1 << 14;  // fewer numbers are not worth a second thread
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

// In every lane the sum of its group of WIDTH lanes.
template <int WIDTH>
inline Vector sums_of(Vector vector) {
    if constexpr (WIDTH == 1) {
        return vector;
    } else {
        Places places;
#pragma GCC unroll 16
        for (int lane = 0; lane < LANES; lane++) places[lane] = lane ^ (WIDTH / 2);
        return sums_of<WIDTH / 2>(vector + __builtin_shuffle(vector, places));
    }
}

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
    all = sums_of<LANES / COUNT>(all);
    for (int each = 0; each < COUNT; each++) out[each] = all[each * (LANES / COUNT)];
}

// Asks for some of what comes next; the processor does not see it coming by itself.
inline void fetch(const float *from, int count) {
    for (int place = 0; place < count; place += 16) __builtin_prefetch(from + place);
}

inline float inverse_root_mean_square(const float *numbers, std::int64_t count, float epsilon) {
    float squares = 0;
#pragma omp simd reduction(+ : squares)
    for (std::int64_t place = 0; place < count; place++) squares += numbers[place] * numbers[place];
    return 1.0f / std::sqrt(squares / count + epsilon);
}

// Normalises a head, if it has a weight for that, and rotary it by its position.
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

// Adds `count` values, by weight, to what a head's queries attend to.
inline void add_values(const float *weights, const float *values, int count, std::int64_t slots, float *attended) {
    for (int first = 0; first < VECTORS; first += PIECE) {
        Vector sums[GROUPS][PIECE];
        for (int group = 0; group < GROUPS; group++)
            for (int vector = 0; vector < PIECE; vector++)
                sums[group][vector] = load(attended + group * DIM + (first + vector) * LANES);
        for (int key = 0; key < count; key++)
            for (int group = 0; group < GROUPS; group++)
                for (int vector = 0; vector < PIECE; vector++)
                    sums[group][vector] +=
                        load(values + key * HEADS * DIM + (first + vector) * LANES) * weights[group * slots + key];
        for (int group = 0; group < GROUPS; group++)
            for (int vector = 0; vector < PIECE; vector++)
                store(attended + group * DIM + (first + vector) * LANES, sums[group][vector]);
    }
}

inline void softmax(float *scores, int count) {
    float top = scores[0], total = 0;
#pragma omp simd reduction(max : top)
    for (int key = 0; key < count; key++) top = scores[key] > top ? scores[key] : top;
#pragma omp simd reduction(+ : total)
    for (int key = 0; key < count; key++) total += scores[key] = exponential(scores[key] - top);
    const float share = 1.0f / total;
    for (int key = 0; key < count; key++) scores[key] *= share;
}

}  // namespace

extern "C" {

// states += changes, if there are any; normed = states / root mean square · weight. All are [rows, width].
void add_norm(std::int64_t rows, int threads, std::int64_t width, float *states, const float *changes,
              const float *weight, float epsilon, float *normed) {
#pragma omp parallel for num_threads(threads) if (rows * width > SERIAL)
    for (std::int64_t row = 0; row < rows; row++) {
        float *state = states + row * width;
        if (changes)
            for (std::int64_t place = 0; place < width; place++) state[place] += changes[row * width + place];
        const float factor = inverse_root_mean_square(state, width, epsilon);
        for (std::int64_t place = 0; place < width; place++)
            normed[row * width + place] = state[place] * factor * weight[place];
    }
}

// gated = silu(gate) · up, of rows [gate, up] of 2 · width numbers.
void silu_and_mul(std::int64_t rows, int threads, std::int64_t width, const float *wide, float *gated) {
#pragma omp parallel for num_threads(threads) if (rows * width > SERIAL)
    for (std::int64_t row = 0; row < rows; row++) {
        const float *gates = wide + row * 2 * width, *ups = gates + width;
#pragma omp simd
        for (std::int64_t place = 0; place < width; place++)
            gated[row * width + place] = gates[place] / (1.0f + exponential(-gates[place])) * ups[place];
    }
}

// One token of every row: its key and value go to `positions` of the cache [rows, slots, HEADS, DIM], and its queries
// attend to the row up to there. The first `shared` slots of a row are as in the row `leaders` and read there: rows that
// follow each other find them in a fast cache. projected is [rows, QUERIES + 2 · HEADS, DIM], cosines and sines are
// [slots, DIM], scratch is [threads, QUERIES, slots], attended is [rows, QUERIES, DIM].
void attend(std::int64_t rows, int threads, std::int64_t slots, float scale, const float *projected,
            const std::int64_t *positions, const std::int64_t *leaders, const std::int64_t *shared,
            const float *cosines, const float *sines, const float *query_weight, const float *key_weight,
            float epsilon, float *keys, float *values, float *scratch, float *attended) {
    const int parts = rows < 2 * threads ? HEADS : 1;
    const std::int64_t each = HEADS / parts;
    constexpr std::int64_t SLOT = HEADS * DIM;
#pragma omp parallel for schedule(dynamic, parts == 1 ? 8 : 1) num_threads(threads)
    for (std::int64_t task = 0; task < rows * parts; task++) {
        const std::int64_t row = task / parts, first = task % parts * each, position = positions[row];
        const float *heads = projected + row * (QUERIES + 2 * HEADS) * DIM;
        const float *rotary[] = {cosines + position * DIM, sines + position * DIM};
        float queries[QUERIES * DIM], *own = attended + row * QUERIES * DIM;
        float *scores = scratch + omp_get_thread_num() * QUERIES * slots;
        const auto block_of = [&](const float *cache, std::int64_t of, int start) {
            const std::int64_t source = start + BLOCK <= shared[of] ? leaders[of] : of;
            return cache + (source * slots + start) * SLOT;
        };
        for (std::int64_t head = first; head < first + each; head++) {
            const std::int64_t place = ((row * slots + position) * HEADS + head) * DIM;
            for (std::int64_t query = head * GROUPS; query < (head + 1) * GROUPS; query++)
                rotate(heads + query * DIM, query_weight, epsilon, rotary[0], rotary[1], scale, queries + query * DIM);
            rotate(heads + (QUERIES + head) * DIM, key_weight, epsilon, rotary[0], rotary[1], 1, keys + place);
            std::memcpy(values + place, heads + (QUERIES + HEADS + head) * DIM, DIM * sizeof(float));
        }
        const int count = static_cast<int>(position) + 1;
        const std::int64_t after = row + 1 < rows ? row + 1 : row;
        for (int start = 0; start < count; start += BLOCK) {
            const int size = start + BLOCK < count ? BLOCK : count - start;
            const float *block = block_of(keys, row, start);
            const float *next = start + BLOCK < count ? block_of(keys, row, start + BLOCK) : block_of(values, row, 0);
            for (std::int64_t head = first; head < first + each; head++) {
                const float *asked = queries + head * GROUPS * DIM;
                float *given = scores + head * GROUPS * slots + start;
                int key = 0;
                for (; key + KEYS <= size; key += KEYS, next += KEYS * DIM) {
                    fetch(next, KEYS * DIM);
                    score<KEYS>(asked, block + (key * HEADS + head) * DIM, slots, given + key);
                }
                for (; key < size; key++) score<1>(asked, block + (key * HEADS + head) * DIM, slots, given + key);
            }
        }
        for (std::int64_t query = first * GROUPS; query < (first + each) * GROUPS; query++) {
            softmax(scores + query * slots, count);
            std::memset(own + query * DIM, 0, DIM * sizeof(float));
        }
        for (int start = 0; start < count; start += BLOCK) {
            const int size = start + BLOCK < count ? BLOCK : count - start;
            const float *block = block_of(values, row, start);
            const float *next = start + BLOCK < count ? block_of(values, row, start + BLOCK) : block_of(keys, after, 0);
            for (std::int64_t head = first; head < first + each; head++)
                for (int key = 0; key < size; key += KEYS, next += KEYS * DIM) {
                    fetch(next, KEYS * DIM);
                    add_values(scores + head * GROUPS * slots + start + key, block + (key * HEADS + head) * DIM,
                               size - key < KEYS ? size - key : KEYS, slots, own + head * GROUPS * DIM);
                }
        }
    }
}
}
