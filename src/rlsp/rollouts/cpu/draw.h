// Sampling by inverting the cumulative distribution. A row's logits are read twice: for the largest, and for the sums of
// blocks; what is drawn lies in one block.

#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "exponential.h"

namespace drawing {

constexpr std::int64_t BLOCK = 256;

// e^((logit - top) / temperature); 0 for what is too unlikely for a float, NaN for NaN.
inline float mass(float logit, float top, float scale) {
    const float below = (logit - top) * scale;
    return below < -87.0f ? 0.0f : exponential(below);
}

// tokens [rows]: the first at which the sum of probabilities passes the row's uniform number; logprobs [rows]: theirs.
// logits are [rows, vocabulary]. What rounding pushes to the end is drawn from the last token that has probability.
void draw(std::int64_t rows, int threads, std::int64_t vocabulary, float temperature, const float *logits,
          const float *uniforms, std::int64_t *tokens, float *logprobs) {
    const std::int64_t blocks = (vocabulary + BLOCK - 1) / BLOCK;
    const float scale = 1.0f / temperature;
#pragma omp parallel num_threads(threads) if (rows * vocabulary > BLOCK * BLOCK / 4)
    {
        std::vector<float> sums(blocks);
#pragma omp for schedule(dynamic, 4)
        for (std::int64_t row = 0; row < rows; row++) {
            const float *own = logits + row * vocabulary;
            float top = own[0];
#pragma omp simd reduction(max : top)
            for (std::int64_t token = 0; token < vocabulary; token++) top = own[token] > top ? own[token] : top;
            double total = 0;
            for (std::int64_t block = 0; block < blocks; block++) {
                const std::int64_t first = block * BLOCK;
                const std::int64_t end = first + BLOCK < vocabulary ? first + BLOCK : vocabulary;
                float sum = 0;
#pragma omp simd reduction(+ : sum)
                for (std::int64_t token = first; token < end; token++) sum += mass(own[token], top, scale);
                sums[block] = sum;
                total += sum;
            }
            double rest = uniforms[row] * total;
            std::int64_t chosen = 0, block = 0;
            for (std::int64_t each = 0; each < blocks; each++) {
                if (!(sums[each] > 0)) continue;
                block = each;
                if (rest < sums[each]) break;
                rest -= sums[each];
            }
            for (std::int64_t token = block * BLOCK; token < vocabulary && token < (block + 1) * BLOCK; token++) {
                const float weight = mass(own[token], top, scale);
                if (!(weight > 0)) continue;
                chosen = token;
                if (rest < weight) break;
                rest -= weight;
            }
            tokens[row] = chosen;
            logprobs[row] = static_cast<float>((own[chosen] - top) * scale - std::log(total));
        }
    }
}

}  // namespace drawing
