// Loops of nothing but multiply-adds on registers, one for each instruction set. Each is compiled for its own by a
// target attribute, so that this file builds for any machine; which of them may run is asked at run time.
#include "cpu/simd/probe.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "cpu/simd/amx_support.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace knf {
namespace {

constexpr int kWindows = 5;
constexpr double kWindowSeconds = 0.006;

struct Kind {
    const char* name;
    bool (*runs)();
    void (*loop)(int rounds);
    double multiply_adds;  // of one round
};

// Independent sums, so that none waits for the one before: latency times multiply-adds per cycle, or more. To the
// compiler their beginning is unknown and their end is needed, in registers of the class REGISTER: so none is left out,
// none is made one with another, and none lives in memory.
#define KNF_LOOP(NAME, TARGET, TYPE, REGISTER, SUMS, ZERO, FACTOR, STEP)                      \
    TARGET void NAME(int rounds) {                                                            \
        TYPE sums[SUMS];                                                                      \
        const TYPE factor = FACTOR;                                                           \
        _Pragma("GCC unroll 16") for (TYPE& sum : sums) {                                     \
            sum = ZERO;                                                                       \
            asm volatile("" : "+" REGISTER(sum));                                             \
        }                                                                                     \
        for (int round = 0; round < rounds; round++) {                                        \
            _Pragma("GCC unroll 16") for (int i = 0; i < SUMS; i++) {                         \
                TYPE& sum = sums[i];                                                          \
                STEP;                                                                         \
            }                                                                                 \
        }                                                                                     \
        _Pragma("GCC unroll 16") for (TYPE& sum : sums) asm volatile("" : "+" REGISTER(sum)); \
    }

bool always() { return true; }

#if defined(__x86_64__)
bool has_fma() { return __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2"); }
bool has_avx2() { return __builtin_cpu_supports("avx2"); }
bool has_avx512() { return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"); }
bool has_avx_vnni() {
    unsigned a, b, c, d;
    return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}
bool has_vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }

#define KNF_TARGET(ISA) __attribute__((target(ISA)))
// Where the product does not depend on a sum, the compiler would take it out of the loop: it is written as assembly.
KNF_LOOP(loop_sse2, , __m128, "x", 10, _mm_setzero_ps(), _mm_set1_ps(0.5f), __m128 product = factor;
         asm volatile("mulps %1, %0" : "+x"(product) : "x"(factor)); sum = _mm_add_ps(sum, product))
KNF_LOOP(loop_fma128, KNF_TARGET("fma"), __m128, "x", 12, _mm_setzero_ps(), _mm_set1_ps(0.5f),
         sum = _mm_fmadd_ps(factor, factor, sum))
KNF_LOOP(loop_fma256, KNF_TARGET("avx2,fma"), __m256, "x", 12, _mm256_setzero_ps(), _mm256_set1_ps(0.5f),
         sum = _mm256_fmadd_ps(factor, factor, sum))
KNF_LOOP(loop_fma512, KNF_TARGET("avx512f"), __m512, "v", 12, _mm512_setzero_ps(), _mm512_set1_ps(0.5f),
         sum = _mm512_fmadd_ps(factor, factor, sum))
KNF_LOOP(loop_madd256, KNF_TARGET("avx2"), __m256i, "x", 8, _mm256_setzero_si256(), _mm256_set1_epi16(3),
         __m256i product;
         asm volatile("vpmaddwd %1, %1, %0" : "=x"(product) : "x"(factor)); sum = _mm256_add_epi32(sum, product))
KNF_LOOP(loop_madd512, KNF_TARGET("avx512f,avx512bw"), __m512i, "v", 8, _mm512_setzero_si512(), _mm512_set1_epi16(3),
         __m512i product;
         asm volatile("vpmaddwd %1, %1, %0" : "=v"(product) : "v"(factor)); sum = _mm512_add_epi32(sum, product))
KNF_LOOP(loop_vnni256, KNF_TARGET("avx2,avxvnni"), __m256i, "x", 12, _mm256_setzero_si256(), _mm256_set1_epi16(3),
         sum = _mm256_dpwssd_avx_epi32(sum, factor, factor))
KNF_LOOP(loop_vnni512, KNF_TARGET("avx512f,avx512vnni"), __m512i, "v", 12, _mm512_setzero_si512(), _mm512_set1_epi16(3),
         sum = _mm512_dpwssd_epi32(sum, factor, factor))
KNF_LOOP(loop_byte_pairs256, KNF_TARGET("avx2"), __m256i, "x", 8, _mm256_setzero_si256(), _mm256_set1_epi8(3),
         __m256i product;
         asm volatile("vpmaddubsw %1, %1, %0" : "=x"(product) : "x"(factor)); sum = _mm256_add_epi16(sum, product))
KNF_LOOP(loop_bytes256, KNF_TARGET("avx2,avxvnni"), __m256i, "x", 12, _mm256_setzero_si256(), _mm256_set1_epi8(3),
         sum = _mm256_dpbusd_avx_epi32(sum, factor, factor))
KNF_LOOP(loop_bytes512, KNF_TARGET("avx512f,avx512vnni"), __m512i, "v", 12, _mm512_setzero_si512(), _mm512_set1_epi8(3),
         sum = _mm512_dpbusd_epi32(sum, factor, factor))

// Two tiles of weights by two of samples: four sums, as many as keep the unit busy.
KNF_TARGET("amx-tile,amx-bf16") void loop_amx(int rounds) {
    alignas(64) uint8_t shape[64] = {1};  // palette 1; 8 tiles of 16 rows of 64 bytes
    alignas(64) uint16_t ones[16 * 32];
    std::fill(std::begin(ones), std::end(ones), uint16_t{0x3f80});
    for (int tile = 0; tile < 8; tile++) shape[16 + 2 * tile] = 64, shape[48 + tile] = 16;
    // GCC's intrinsics do not say that they read this memory: without a barrier the stores to it are left out.
    asm volatile("" : : "r"(shape), "r"(ones) : "memory");
    _tile_loadconfig(shape);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, ones, 64);
    _tile_loadd(5, ones, 64);
    _tile_loadd(6, ones, 64);
    _tile_loadd(7, ones, 64);
    for (int round = 0; round < rounds; round++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
}

const Kind kKinds[] = {
    {"bfloat16-amx", amx_is_permitted, loop_amx, 4 * 16 * 16 * 32},
    {"int8-vnni512", has_vnni, loop_bytes512, 12 * 64},
    {"int8-vnni256", has_avx_vnni, loop_bytes256, 12 * 32},
    {"int8-madd256", has_avx2, loop_byte_pairs256, 8 * 32},
    {"int16-vnni512", has_vnni, loop_vnni512, 12 * 32},
    {"int16-vnni256", has_avx_vnni, loop_vnni256, 12 * 16},
    {"int16-madd512", has_avx512, loop_madd512, 8 * 32},
    {"int16-madd256", has_avx2, loop_madd256, 8 * 16},
    {"float32-fma512", has_avx512, loop_fma512, 12 * 16},
    {"float32-fma256", has_fma, loop_fma256, 12 * 8},
    {"float32-fma128", has_fma, loop_fma128, 12 * 4},
    {"float32-sse2", always, loop_sse2, 10 * 4},
};
#elif defined(__aarch64__)
KNF_LOOP(loop_neon, , float32x4_t, "w", 16, vdupq_n_f32(0.0f), vdupq_n_f32(0.5f), sum = vfmaq_f32(sum, factor, factor))

const Kind kKinds[] = {{"float32-neon", always, loop_neon, 16 * 4}};
#else
KNF_LOOP(loop_plain, , float, "m", 8, 0.0f, 0.5f, sum += factor * factor)

const Kind kKinds[] = {{"float32-plain", always, loop_plain, 8}};
#endif

double now_seconds() {
    using namespace std::chrono;
    return duration<double>(steady_clock::now().time_since_epoch()).count();
}

// Rounds that take about 50 microseconds: looks at the clock cost nothing then, and a window ends near its time.
int rounds_per_look(const Kind& kind) {
    for (int rounds = 256;; rounds *= 2) {
        const double began = now_seconds();
        kind.loop(rounds);
        if (now_seconds() - began > 50e-6 || rounds >= 1 << 24) return rounds;
    }
}

// One window: all threads start together; the rate is all that they did over the time from the first to the last.
double window_rate(const Kind& kind, int rounds, int threads) {
    std::atomic<int> waiting{threads};
    std::mutex mutex;
    double done = 0, first = 0, last = 0;
    const auto work = [&] {
        waiting--;
        while (waiting > 0) std::this_thread::yield();
        const double began = now_seconds();
        double ended = began, mine = 0;
        do {
            kind.loop(rounds);
            mine += rounds * kind.multiply_adds;
            ended = now_seconds();
        } while (ended - began < kWindowSeconds);
        const std::lock_guard<std::mutex> lock(mutex);
        first = done > 0 ? std::min(first, began) : began;
        last = std::max(last, ended);
        done += mine;
    };
    std::vector<std::thread> others;
    for (int i = 1; i < threads; i++) others.emplace_back(work);
    work();
    for (std::thread& thread : others) thread.join();
    return done / (last - first);
}

}  // namespace

std::vector<std::string> matrix_kinds() {
    std::vector<std::string> names;
    for (const Kind& kind : kKinds)
        if (kind.runs()) names.emplace_back(kind.name);
    return names;
}

double matrix_peak(const std::string& kind, int threads) {
    if (threads < 1 || threads > 1024)
        throw std::invalid_argument("threads: expected 1 to 1024, got " + std::to_string(threads));
    std::string names;
    for (const Kind& candidate : kKinds) {
        if (!candidate.runs()) continue;
        names += (names.empty() ? "" : ", ") + std::string(candidate.name);
        if (kind != candidate.name) continue;
        const int rounds = rounds_per_look(candidate);
        double best = 0;
        for (int window = 0; window < kWindows; window++)
            best = std::max(best, window_rate(candidate, rounds, threads));
        return best;
    }
    throw std::invalid_argument("multiply-adds of kind '" + kind + "': this machine has " + names);
}

}  // namespace knf
