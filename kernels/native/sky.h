// The sky of model_io/scene/sky.py, operation by operation, once for the CPU (F: a vector of floats) and for CUDA
// (F: float); compiled as sampling_rule.h is.
#pragma once

namespace knf {

constexpr int SKY_COEFFICIENTS = 16;  // of each colour

// Colour seen along a direction of this length, before it is clipped to [0, 1]; `sky` is [SKY_COEFFICIENTS][3].
template <class F>
KNF_SHARED void sky_color(const float* sky, const F (&direction)[3], F length, F (&color)[3]) {
    const F x = direction[0] / length, y = direction[1] / length, z = direction[2] / length;
    const F xx = x * x, yy = y * y, zz = z * z;
    const F difference = xx - yy, ring = 5.0f * zz - 1.0f;
    const F basis[SKY_COEFFICIENTS - 1] = {
        // after the constant one
        0.48860251f * y,
        0.48860251f * z,
        0.48860251f * x,
        1.0925484f * (x * y),
        1.0925484f * (y * z),
        0.31539157f * (3.0f * zz - 1.0f),
        1.0925484f * (x * z),
        0.54627422f * difference,
        0.59004359f * (y * (3.0f * xx - yy)),
        2.8906114f * ((x * y) * z),
        0.45704580f * (y * ring),
        0.37317633f * (z * (ring - 2.0f)),
        0.45704580f * (x * ring),
        1.4453057f * (z * difference),
        0.59004359f * (x * (xx - 3.0f * yy)),
    };
    for (int channel = 0; channel < 3; channel++)
        color[channel] = 0.28209479f * sky[channel] + basis[0] * sky[3 + channel];
    for (int number = 1; number < SKY_COEFFICIENTS - 1; number++)
        for (int channel = 0; channel < 3; channel++)
            color[channel] = color[channel] + basis[number] * sky[3 * number + 3 + channel];
}

}  // namespace knf
