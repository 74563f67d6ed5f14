// Adam for rows of parameters (Kingma and Ba 2015, algorithm 1): a block for each row, in one pass over its memory.
#include "device.cuh"
#include "network_rows.h"

namespace knf {

constexpr int ADAM_THREADS = 256;

struct AdamSettings {  // as ADAM_SETTINGS in trainer/ops/cuda.py
    double learning_rate, beta1, beta2;
    float epsilon;
    int decayed;  // whether there is a decay
};

// base^exponent by squaring: two numbers a row do not need CUDA's pow().
KNF_DEVICE double power(double base, unsigned long long exponent) {
    double result = 1.0;
    for (; exponent != 0; exponent >>= 1, base *= base)
        if (exponent & 1) result *= base;
    return result;
}

// m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, p -= rate m / (sqrt(v) scale + epsilon).
struct AdamStep {
    float beta1, beta2, rest1, rest2, rate, scale, epsilon;

    __device__ __forceinline__ void update(float g, float& p, float& m, float& v) const {
        m = __fmaf_rn(beta1, m, rest1 * g);
        v = __fmaf_rn(beta2, v, rest2 * g * g);
        p -= rate * m / __fmaf_rn(sqrtf(v), scale, epsilon);
    }
};

}  // namespace knf

// One step of row chosen[block], or of row `block` where chosen is null. steps: [N], how many each row has had;
// decay: [ROW], g += decay * p.
extern "C" __global__ void __launch_bounds__(knf::ADAM_THREADS)
    adam(const knf::AdamSettings settings, const int* chosen, const float* decay, const float* gradient,
         float* parameters, float* first, float* second, long long* steps) {
    __shared__ knf::AdamStep shared;
    const long long row = chosen ? chosen[blockIdx.x] : static_cast<int>(blockIdx.x);
    if (threadIdx.x == 0) {
        const auto t = static_cast<unsigned long long>(++steps[row]);
        // Rounded from float64: 1 - beta2 in float32 would be off by 3e-5 of itself.
        shared.beta1 = static_cast<float>(settings.beta1);
        shared.beta2 = static_cast<float>(settings.beta2);
        shared.rest1 = static_cast<float>(1.0 - settings.beta1);
        shared.rest2 = static_cast<float>(1.0 - settings.beta2);
        shared.rate = static_cast<float>(settings.learning_rate / (1.0 - knf::power(settings.beta1, t)));
        shared.scale = static_cast<float>(1.0 / sqrt(1.0 - knf::power(settings.beta2, t)));
        shared.epsilon = settings.epsilon;
    }
    __syncthreads();
    const knf::AdamStep step = shared;
    const auto* gradients = reinterpret_cast<const float4*>(gradient + row * knf::ROW);
    auto* values = reinterpret_cast<float4*>(parameters + row * knf::ROW);
    auto* moments = reinterpret_cast<float4*>(first + row * knf::ROW);
    auto* squares = reinterpret_cast<float4*>(second + row * knf::ROW);
    for (int i = threadIdx.x; i < knf::ROW / 4; i += knf::ADAM_THREADS) {
        float4 g = gradients[i], p = values[i], m = moments[i], v = squares[i];
        if (settings.decayed) {
            const float4 d = reinterpret_cast<const float4*>(decay)[i];
            g.x = __fmaf_rn(d.x, p.x, g.x), g.y = __fmaf_rn(d.y, p.y, g.y);
            g.z = __fmaf_rn(d.z, p.z, g.z), g.w = __fmaf_rn(d.w, p.w, g.w);
        }
        step.update(g.x, p.x, m.x, v.x);
        step.update(g.y, p.y, m.y, v.y);
        step.update(g.z, p.z, m.z, v.z);
        step.update(g.w, p.w, m.w, v.w);
        values[i] = p, moments[i] = m, squares[i] = v;
    }
}
