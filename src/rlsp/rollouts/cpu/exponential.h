#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

// To float's precision: 2^n times a Taylor polynomial on [-ln 2 / 2, ln 2 / 2].
inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;  // NaN stays
    const float whole = std::nearbyint(x * 1.44269504f);
    const float rest = (x - whole * 0.693145752f) - whole * 1.42860677e-6f;
    float power = 1.0f / 5040;
    power = power * rest + 1.0f / 720;
    power = power * rest + 1.0f / 120;
    power = power * rest + 1.0f / 24;
    power = power * rest + 1.0f / 6;
    power = power * rest + 0.5f;
    power = power * rest + 1.0f;
    power = power * rest + 1.0f;
    const std::int32_t bits = (static_cast<std::int32_t>(whole) + 127) << 23;
    float scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return power * scale;
}
