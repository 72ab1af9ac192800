#pragma once

#include <cmath>
#include <cstdint>

#include "exponential.h"

inline float inverse_root_mean_square(const float *numbers, std::int64_t count, float epsilon) {
    float squares = 0;
#pragma omp simd reduction(+ : squares)
    for (std::int64_t place = 0; place < count; place++) squares += numbers[place] * numbers[place];
    return 1.0f / std::sqrt(squares / count + epsilon);
}

// state += change, if there is one; normed = state / root mean square · weight.
inline void add_norm(std::int64_t width, float *state, const float *change, const float *weight, float epsilon,
                     float *normed) {
    if (change)
        for (std::int64_t place = 0; place < width; place++) state[place] += change[place];
    const float factor = inverse_root_mean_square(state, width, epsilon);
    for (std::int64_t place = 0; place < width; place++) normed[place] = state[place] * factor * weight[place];
}

// gated = silu(gate) · up, of `width` gates and then ups.
inline void silu_and_mul(std::int64_t width, const float *wide, float *gated) {
    const float *ups = wide + width;
#pragma omp simd
    for (std::int64_t place = 0; place < width; place++)
        gated[place] = wide[place] / (1.0f + exponential(-wide[place])) * ups[place];
}
