// Products of few rows with large matrices: decoding's. A matrix is packed into panels of WIDTH columns, read once from
// memory in the order in which it lies there; what comes next is asked for while the present part is used.

#pragma once

#include <cstdint>

namespace products {

#if defined(__AVX512F__)
constexpr int LANES = 16, ROWS = 8;  // ROWS · 3 sums, 3 weights and a state fit into the registers
constexpr int DEPTH = 576;           // a panel's part of so many rows stays in the second cache, which is fast enough
#else
constexpr int LANES = 8, ROWS = 4;
constexpr int DEPTH = 288;  // in the first
#endif
constexpr int WIDTH = 3 * LANES;
constexpr int STEP = 8;  // products between requests for memory
constexpr std::int64_t CHUNK = 256;  // rows whose states and sums stay in the second cache
constexpr int LINE = 64 / sizeof(float);

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

inline Vector load(const float *from) { return *reinterpret_cast<const Vector *>(from); }
inline void store(float *to, Vector vector) { *reinterpret_cast<Vector *>(to) = vector; }

// out = sums + states · weights, for COUNT rows and one panel's columns. Asks for `lines` of what is ahead at each step.
template <int COUNT>
void multiply(const float *states, std::int64_t stride, const float *weights, int depth, const float *sums,
              std::int64_t sums_stride, float *out, std::int64_t out_stride, const float *ahead, int lines) {
    Vector sum[COUNT][3];
    for (int row = 0; row < COUNT; row++)
        for (int part = 0; part < 3; part++) sum[row][part] = load(sums + row * sums_stride + part * LANES);
    const auto add = [&](int place) {
        const float *from = weights + place * WIDTH;
        const Vector first = load(from), second = load(from + LANES), third = load(from + 2 * LANES);
#pragma GCC unroll 8
        for (int row = 0; row < COUNT; row++) {
            const float state = states[row * stride + place];
            sum[row][0] += first * state;
            sum[row][1] += second * state;
            sum[row][2] += third * state;
        }
    };
    int place = 0;
    for (; place + STEP <= depth; place += STEP) {
        for (int line = 0; line < lines; line++, ahead += LINE) __builtin_prefetch(ahead, 0, 2);
#pragma GCC unroll 2
        for (int each = 0; each < STEP; each++) add(place + each);
    }
    for (; place < depth; place++) add(place);
    for (int row = 0; row < COUNT; row++)
        for (int part = 0; part < 3; part++) store(out + row * out_stride + part * LANES, sum[row][part]);
}

// The same for up to ROWS rows.
template <int COUNT = ROWS>
void multiply_some(int count, const float *states, std::int64_t stride, const float *weights, int depth,
                   const float *sums, std::int64_t sums_stride, float *out, std::int64_t out_stride,
                   const float *ahead, int lines) {
    if constexpr (COUNT > 0) {
        if (count == COUNT)
            multiply<COUNT>(states, stride, weights, depth, sums, sums_stride, out, out_stride, ahead, lines);
        else
            multiply_some<COUNT - 1>(count, states, stride, weights, depth, sums, sums_stride, out, out_stride, ahead,
                                     lines);
    }
}

// One panel's columns of the product of up to CHUNK rows; the panel begins with its biases.
void multiply_panel(std::int64_t rows, std::int64_t inner, const float *states, const float *panel, float *out,
                    std::int64_t out_stride, int columns) {
    alignas(64) float sums[CHUNK * WIDTH];
    const int blocks = static_cast<int>((rows + ROWS - 1) / ROWS);
    for (std::int64_t start = 0; start < inner; start += DEPTH) {
        const int depth = static_cast<int>(inner - start < DEPTH ? inner - start : DEPTH);
        const bool direct = start + depth == inner && columns == WIDTH;
        const float *weights = panel + (1 + start) * WIDTH, *ahead = weights + depth * WIDTH;
        const int steps = depth / STEP;
        const int lines = steps ? (DEPTH * WIDTH / LINE + blocks * steps - 1) / (blocks * steps) : 0;
        for (std::int64_t row = 0; row < rows; row += ROWS) {
            const int count = static_cast<int>(rows - row < ROWS ? rows - row : ROWS);
            float *own = sums + row * WIDTH;
            multiply_some(count, states + row * inner + start, inner, weights, depth, start ? own : panel,
                          start ? WIDTH : 0, direct ? out + row * out_stride : own, direct ? out_stride : WIDTH, ahead,
                          lines);
            ahead += lines * steps * LINE;
        }
    }
    if (columns < WIDTH)
        for (std::int64_t row = 0; row < rows; row++)
            for (int column = 0; column < columns; column++)
                out[row * out_stride + column] = sums[row * WIDTH + column];
}

// Columns of a product, those of the panels from `first` on to before `last`: out [rows, outer] = states [rows, inner]
// times the packed matrix, plus its biases. A row's numbers do not depend on the other rows.
void multiply(std::int64_t rows, std::int64_t outer, std::int64_t inner, const float *states, const float *panels,
              std::int64_t first, std::int64_t last, float *out) {
    const std::int64_t chunks = (rows + CHUNK - 1) / CHUNK, chunk = (rows + chunks * ROWS - 1) / (chunks * ROWS) * ROWS;
    for (std::int64_t row = 0; row < rows; row += chunk)
        for (std::int64_t panel = first; panel < last; panel++) {
            const std::int64_t rest = outer - panel * WIDTH;
            multiply_panel(rows - row < chunk ? rows - row : chunk, inner, states + row * inner,
                           panels + panel * (1 + inner) * WIDTH, out + row * outer + panel * WIDTH, outer,
                           static_cast<int>(rest < WIDTH ? rest : WIDTH));
        }
}

inline std::int64_t panels_of(std::int64_t outer) { return (outer + WIDTH - 1) / WIDTH; }

// The numbers of `pack`'s panels.
inline std::int64_t packed_size(std::int64_t outer, std::int64_t inner) {
    return panels_of(outer) * (1 + inner) * WIDTH;
}

// A matrix [outer, inner] and its biases [outer], if there are any, as panels [1 + inner, WIDTH]; zeros fill the last.
void pack(std::int64_t outer, std::int64_t inner, int threads, const float *matrix, const float *biases, float *panels) {
#pragma omp parallel for num_threads(threads)
    for (std::int64_t first = 0; first < outer; first += WIDTH) {
        float *panel = panels + first * (1 + inner);
        for (int column = 0; column < WIDTH; column++) {
            const std::int64_t row = first + column;
            panel[column] = biases && row < outer ? biases[row] : 0;
            for (std::int64_t place = 0; place < inner; place++)
                panel[(1 + place) * WIDTH + column] = row < outer ? matrix[row * inner + place] : 0;
        }
    }
}

}  // namespace products
