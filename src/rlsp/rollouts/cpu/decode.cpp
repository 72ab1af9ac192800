// One token of every row through a whole model of the Llama family. Tensors are contiguous float32.

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include <omp.h>

#include "attention.h"
#include "draw.h"
#include "norms.h"
#include "products.h"

namespace {

constexpr std::int64_t OWN_ROWS = 64;  // so many rows a thread are worth each matrix being read by each thread
constexpr std::int64_t SLICE = 64;     // panels of the head that a thread takes at once

struct Norm {
    const float *weight;  // or nothing
    float epsilon;
};

struct Layer {
    Norm input, query, key, post_attention;
    const float *qkv, *output, *gate_up, *down;  // packed
    float *keys, *values;                        // [rows, slots, HEADS, DIM]
};

struct Model {
    std::int64_t layers, width, inner, vocabulary, slots;
    float scale;
    const Layer *layer;
    Norm last;
    const float *head;             // packed
    const float *cosines, *sines;  // [slots, DIM]
};

// A thread's part of the work: of what goes by rows its own rows, of products either all of its rows' columns, or
// columns of all rows. Who has rows enough of its own waits for nobody, and what it writes and reads next lies in its
// own cache; of few rows each matrix should be read once.
struct Part {
    std::int64_t rows, thread, threads;
    bool alone;
    double *seconds, since;

    Part(std::int64_t rows, std::int64_t thread, std::int64_t threads, double *seconds)
        : rows(rows), thread(thread), threads(threads), alone(rows >= OWN_ROWS * threads),
          seconds(thread ? nullptr : seconds), since(omp_get_wtime()) {}

    std::int64_t bound(std::int64_t of, std::int64_t step, std::int64_t place) const {
        const std::int64_t steps = (of + step - 1) / step, end = steps * place / threads * step;
        return end < of ? end : of;
    }
    std::int64_t first() const { return bound(rows, alone ? products::ROWS : 1, thread); }
    std::int64_t last() const { return bound(rows, alone ? products::ROWS : 1, thread + 1); }

    // The others may now read what this thread has written; what it took counts for `kind`.
    void done(int kind) {
        if (!alone) {
#pragma omp barrier
        }
        if (seconds) {
            const double now = omp_get_wtime();
            seconds[kind] += now - since;
            since = now;
        }
    }

    void multiply(std::int64_t outer, std::int64_t inner, const float *states, const float *panels, float *out) const {
        const std::int64_t count = products::panels_of(outer);
        const bool uneven = count % threads && count < 8 * threads && rows >= threads * products::ROWS;
        if (alone || uneven) {
            const std::int64_t from = bound(rows, products::ROWS, thread), to = bound(rows, products::ROWS, thread + 1);
            if (from < to)
                products::multiply(to - from, outer, inner, states + from * inner, panels, 0, count, out + from * outer);
        } else {
            products::multiply(rows, outer, inner, states, panels, bound(count, 1, thread), bound(count, 1, thread + 1),
                               out);
        }
    }
};

// The head's product for the rows of each thread, slice by slice. Who is done with its own rows helps the others:
// otherwise the slowest of the threads, which share the machine with other programs, would set the pace of each token.
class Head {
  public:
    Head(std::int64_t width, std::int64_t vocabulary, const float *panels, int threads)
        : width(width), vocabulary(vocabulary), panels(panels), count(products::panels_of(vocabulary)), parts(threads) {}

    void multiply(const Part &part, const float *states, float *logits) {
        parts[part.thread].ready.store(true, std::memory_order_release);
        for (std::int64_t other = 0; other < part.threads; other++) {
            const std::int64_t thread = (part.thread + other) % part.threads;
            while (!parts[thread].ready.load(std::memory_order_acquire)) std::this_thread::yield();
            const std::int64_t from = part.bound(part.rows, products::ROWS, thread);
            const std::int64_t to = part.bound(part.rows, products::ROWS, thread + 1);
            for (std::int64_t first; (first = parts[thread].taken.fetch_add(SLICE)) < count;)
                products::multiply(to - from, vocabulary, width, states + from * width, panels, first,
                                   first + SLICE < count ? first + SLICE : count, logits + from * vocabulary);
        }
    }

  private:
    struct Rows {
        std::atomic<bool> ready{false};
        std::atomic<std::int64_t> taken{0};
    };
    std::int64_t width, vocabulary;
    const float *panels;
    std::int64_t count;
    std::vector<Rows> parts;
};

enum Kind { PRODUCTS, ATTENTION, OTHER };

}  // namespace

extern "C" {

std::int64_t packed_size(std::int64_t outer, std::int64_t inner) { return products::packed_size(outer, inner); }

void pack(std::int64_t outer, std::int64_t inner, int threads, const float *matrix, const float *biases, float *panels) {
    products::pack(outer, inner, threads, matrix, biases, panels);
}

// out [rows, outer] = states [rows, inner] times the packed matrix, plus its biases. A row's numbers do not depend on
// the other rows, nor on the number of threads.
void linear(std::int64_t rows, int threads, std::int64_t outer, std::int64_t inner, const float *states,
            const float *panels, float *out) {
#pragma omp parallel num_threads(threads)
    Part(rows, omp_get_thread_num(), omp_get_num_threads(), nullptr).multiply(outer, inner, states, panels, out);
}

void draw(std::int64_t rows, int threads, std::int64_t vocabulary, float temperature, const float *logits,
          const float *uniforms, std::int64_t *tokens, float *logprobs) {
    drawing::draw(rows, threads, vocabulary, temperature, logits, uniforms, tokens, logprobs);
}

// The numbers of `decode`'s scratch.
std::int64_t scratch_size(const Model *model, std::int64_t rows, int threads) {
    const std::int64_t attended = attention::QUERIES * DIM, projected = attended + 2 * attention::SLOT;
    return rows * (2 * model->width + projected + attended + 3 * model->inner) +
           threads * attention::QUERIES * attention::padded(model->slots);
}

// The logits [rows, vocabulary] after one token of every row: `states` [rows, width] are its embeddings, and gone
// afterwards; its keys and values go to `positions` of the cache. `leaders` and `shared`: see attention::Cache.
// `seconds`, if there are any, gain what products, attention and all else took.
void decode(const Model *model, std::int64_t rows, int threads, float *states, const std::int64_t *positions,
            const std::int64_t *leaders, const std::int64_t *shared, float *scratch, float *logits, double *seconds) {
    const std::int64_t width = model->width, inner = model->inner, slots = model->slots;
    const std::int64_t attends = attention::QUERIES * DIM, projects = attends + 2 * attention::SLOT;
    float *changes = scratch, *normed = changes + rows * width, *projected = normed + rows * width;
    float *attended = projected + rows * projects, *wide = attended + rows * attends;
    float *gated = wide + rows * 2 * inner, *all_scores = gated + rows * inner;
    Head head(width, model->vocabulary, model->head, threads);
#pragma omp parallel num_threads(threads)
    {
        Part part(rows, omp_get_thread_num(), omp_get_num_threads(), seconds);
        float *scores = all_scores + part.thread * attention::QUERIES * attention::padded(slots);
        const auto norm = [&](const Norm &by, bool changed) {
            for (std::int64_t row = part.first(); row < part.last(); row++)
                add_norm(width, states + row * width, changed ? changes + row * width : nullptr, by.weight, by.epsilon,
                         normed + row * width);
            part.done(OTHER);
        };
        for (std::int64_t number = 0; number < model->layers; number++) {
            const Layer &layer = model->layer[number];
            norm(layer.input, number > 0);
            part.multiply(projects, width, normed, layer.qkv, projected);
            part.done(PRODUCTS);
            const attention::Cache cache{slots, leaders, shared, layer.keys, layer.values};
            const attention::Turn turn{layer.query.weight,  layer.key.weight, layer.query.epsilon, layer.key.epsilon,
                                       model->scale, model->cosines,   model->sines};
            const std::int64_t step = rows < 2 * threads ? 1 : HEADS;  // few rows are shared by heads
            const std::int64_t from = part.alone ? part.first() * HEADS : part.bound(rows * HEADS, step, part.thread);
            const std::int64_t to = part.alone ? part.last() * HEADS : part.bound(rows * HEADS, step, part.thread + 1);
            for (std::int64_t task = from; task < to;) {
                const std::int64_t row = task / HEADS, end = (row + 1) * HEADS < to ? (row + 1) * HEADS : to;
                attention::attend(cache, turn, row, row + 1 < rows ? row + 1 : row, positions[row],
                                  static_cast<int>(task % HEADS), static_cast<int>(end - row * HEADS),
                                  projected + row * projects, scores, attended + row * attends);
                task = end;
            }
            part.done(ATTENTION);
            part.multiply(width, attends, attended, layer.output, changes);
            part.done(PRODUCTS);
            norm(layer.post_attention, true);
            part.multiply(2 * inner, width, normed, layer.gate_up, wide);
            part.done(PRODUCTS);
            for (std::int64_t row = part.first(); row < part.last(); row++)
                silu_and_mul(inner, wide + row * 2 * inner, gated + row * inner);
            part.done(OTHER);
            part.multiply(width, inner, gated, layer.down, changes);
            part.done(PRODUCTS);
        }
        norm(model->last, true);
        if (part.alone)
            head.multiply(part, normed, logits);
        else
            part.multiply(model->vocabulary, width, normed, model->head, logits);
        part.done(PRODUCTS);
    }
}
}
