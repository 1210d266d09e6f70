// Log-signatures to depth 3 at the Lyndon words, the twin of src/ops/signature/lyndon.rs; formulas
// and names there. path [batch, T + 1, c]; words by first letter a: ab and abc with b, c behind a.
//
// A block takes one path and one first letter (forward) or every groups-th one (backward). The
// factors F_t[ab] of a chunk of steps are in shared memory, threads own letters b; level 3 is then
// a matrix product over the steps. At c = 30, T = 25 a path is 3.1 kB in, 37 kB out and
// 0.5 MFLOP forward, three times that backward: limited by f32 arithmetic, at larger c by the
// output's bandwidth.
#include "common.cuh"

namespace {

constexpr int THREADS = TILE_THREADS;
constexpr float TWELFTH = 1.0f / 12.0f;

// A path's increments, midpoints relative to its start, and total increment.
struct Path {
    const float *points;
    int channels, steps;

    __device__ __forceinline__ float dx(int t, int b) const {
        return points[(t + 1) * channels + b] - points[t * channels + b];
    }
    __device__ __forceinline__ float h(int t, int b) const {
        return (points[t * channels + b] - points[b]) + 0.5f * dx(t, b);
    }
    __device__ __forceinline__ float total(int b) const {
        return points[steps * channels + b] - points[b];
    }
};

__device__ __forceinline__ Path path_of(const float *path, int channels, int steps, int sample) {
    return {path + (size_t)sample * (steps + 1) * channels, channels, steps};
}

// First word ab, and first word abc, of letter a within their levels.
__device__ __forceinline__ int level2(int channels, int a) { return a * (2 * channels - a - 1) / 2; }
__device__ __forceinline__ int upto(int n) { return (n - 1) * n * (n + 1) / 3; }
__device__ __forceinline__ int level3(int channels, int a) { return upto(channels) - upto(channels - a); }

// The part of F_t[ab] that depends on step t, and its constant part.
__device__ __forceinline__ float moving(const Path &p, int t, int a, int b, float sa) {
    return -0.5f * sa * p.h(t, b) + (0.5f * p.h(t, a) - TWELFTH * p.dx(t, a)) * p.dx(t, b);
}
__device__ __forceinline__ float constant(const Path &p, int a, int b, float sa, float area) {
    return sa * p.total(b) * TWELFTH - (b > a ? 0.5f * area : 0.0f);
}

}  // namespace

// out [batch, terms]. Grid (letters, batch). Dynamic shared memory: c + chunk * c floats; steps go
// in chunks of `chunk`.
extern "C" __global__ void __launch_bounds__(128)
lyndon_forward(const float *path, float *out, int channels, int steps, int depth, int chunk,
               int terms) {
    DYNAMIC_SHARED(float, running);  // [c]: constant part of F and A_t
    __shared__ Tile<16> tile;
    float *const f = running + channels;  // [chunk, letters]
    const int a = blockIdx.x, letters = channels - a, behind = letters - 1;
    const Path p = path_of(path, channels, steps, blockIdx.y);
    float *const out1 = out + (size_t)blockIdx.y * terms, *const out2 = out1 + channels + level2(channels, a);
    float *const out3 = out1 + channels + channels * (channels - 1) / 2 + level3(channels, a);
    const float sa = p.total(a);
    if (threadIdx.x == 0) out1[a] = sa;
    if (depth < 2) return;
    for (int i = threadIdx.x; i < letters; i += THREADS) {
        float area = 0.0f;
        for (int t = 0; t < steps; t++) area += (p.h(t, a) - 0.5f * sa) * p.dx(t, a + i);
        if (i > 0) out2[i - 1] = area;
        running[i] = constant(p, a, a + i, sa, area);
    }
    if (depth < 3) return;
    if (steps == 0)
        for (int e = threadIdx.x; e < letters * behind; e += THREADS) out3[e] = 0.0f;
    for (int from = 0; from < steps; from += chunk) {
        const int count = min(chunk, steps - from);
        for (int i = threadIdx.x; i < letters; i += THREADS) {
            float r = running[i];
            for (int t = 0; t < count; t++) {
                f[t * letters + i] = moving(p, from + t, a, a + i, sa) + r;
                r += p.h(from + t, a) * p.dx(from + t, a + i);
            }
            running[i] = r;
        }
        __syncthreads();
        for (int first = 0; first < letters; first += TILE_ROWS)
            for (int column = 0; column < behind; column += TILE_COLUMNS) {
                float sum[4][4] = {};
                auto fs = [&](int t, int row, int) {
                    return first + row < letters ? f[t * letters + first + row] : 0.0f;
                };
                auto dx = [&](int t, int j) {
                    return column + j < behind ? p.dx(from + t, a + 1 + column + j) : 0.0f;
                };
                tile_product<16, false, false>(tile, 0, count, fs, dx, sum);
                for (int i = 0; i < 4; i++) {
                    const int row = first + tile_row() + i;
                    for (int k = 0; k < 4; k++) {
                        const int j = column + tile_column() + k;
                        if (row >= letters || j >= behind) continue;
                        float *const o = out3 + row * behind + j;
                        *o = from > 0 ? *o + sum[i][k] : sum[i][k];
                    }
                }
            }
    }
}

namespace {

// What the backward pass adds to, of one path and group: gradients of dx and h [T, c] and of the
// total increment [c].
struct Gradients {
    float *dx, *h, *total;
};

// Shared memory of the backward pass.
struct Shared {
    float *running, *later, *area;  // [c]: F's sum so far; sum of k over later steps; gradient of log_ab
    float *f, *k;                   // [chunk, c]: F, then `later`; gradient of F
    float *dots;                    // [chunk]
};

// Level 3 of letter a: all that a chunk of steps gives.
__device__ __forceinline__ void back_chunk(const Path &p, const Gradients &g, const Shared &s,
                                           Tile<16> &tile, const float *grad3, int a, int from,
                                           int count) {
    const int letters = p.channels - a, behind = letters - 1;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const float sa = p.total(a);
    for (int i = threadIdx.x; i < letters; i += THREADS) {
        float r = s.running[i];
        for (int t = count - 1; t >= 0; t--) {
            r -= p.h(from + t, a) * p.dx(from + t, a + i);
            s.f[t * letters + i] = moving(p, from + t, a, a + i, sa) + r;
        }
        s.running[i] = r;
    }
    __syncthreads();
    for (int first = 0; first < count; first += TILE_ROWS) {
        // k = dx grad^T, and dx's gradient F grad.
        for (int column = 0; column < letters; column += TILE_COLUMNS) {
            float sum[4][4] = {};
            auto dx = [&](int j, int t, int) {
                return first + t < count ? p.dx(from + first + t, a + 1 + j) : 0.0f;
            };
            auto grad = [&](int j, int b) {
                return column + b < letters ? grad3[(column + b) * behind + j] : 0.0f;
            };
            tile_product<16, true, true>(tile, 0, behind, dx, grad, sum);
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++) {
                    const int t = first + tile_row() + i, b = column + tile_column() + j;
                    if (t < count && b < letters) s.k[t * letters + b] = sum[i][j];
                }
        }
        for (int column = 0; column < behind; column += TILE_COLUMNS) {
            float sum[4][4] = {};
            auto fs = [&](int b, int t, int) {
                return first + t < count ? s.f[(first + t) * letters + b] : 0.0f;
            };
            auto grad = [&](int b, int j) {
                return column + j < behind ? grad3[b * behind + column + j] : 0.0f;
            };
            tile_product<16, true, false>(tile, 0, letters, fs, grad, sum);
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++) {
                    const int t = first + tile_row() + i, b = column + tile_column() + j;
                    if (t < count && b < behind) g.dx[(from + t) * p.channels + a + 1 + b] += sum[i][j];
                }
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < letters; i += THREADS) {
        float later = s.later[i];
        for (int t = count - 1; t >= 0; t--) {
            const float k = s.k[t * letters + i], ha = p.h(from + t, a);
            const int at = (from + t) * p.channels + a + i;
            g.dx[at] += (0.5f * ha - TWELFTH * p.dx(from + t, a)) * k + ha * later;
            g.h[at] -= 0.5f * sa * k;
            s.f[t * letters + i] = later;
            later += k;
        }
        s.later[i] = later;
    }
    __syncthreads();
    for (int t = warp; t < count; t += THREADS / 32) {
        float dk = 0.0f, dl = 0.0f, hk = 0.0f;
        for (int i = lane; i < letters; i += 32) {
            const float dx = p.dx(from + t, a + i), k = s.k[t * letters + i];
            dk += dx * k;
            dl += dx * s.f[t * letters + i];
            hk += p.h(from + t, a + i) * k;
        }
        dk = warp_sum(dk);
        dl = warp_sum(dl);
        hk = warp_sum(hk);
        if (lane > 0) continue;
        g.h[(from + t) * p.channels + a] += 0.5f * dk + dl;
        g.dx[(from + t) * p.channels + a] -= TWELFTH * dk;
        s.dots[t] = hk;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        float sum = 0.0f;
        for (int t = 0; t < count; t++) sum += s.dots[t];
        g.total[a] -= 0.5f * sum;
    }
}

// What is left of level 3 when all its steps are done: the constant part of F.
__device__ __forceinline__ void back_constant(const Path &p, const Gradients &g, const Shared &s, int a) {
    const int letters = p.channels - a;
    float dot = 0.0f;
    for (int i = threadIdx.x; i < letters; i += THREADS) {
        const float later = s.later[i];
        g.total[a + i] += TWELFTH * p.total(a) * later;
        if (i > 0) s.area[i] -= 0.5f * later;
    }
    __syncthreads();
    if (threadIdx.x >= 32) return;
    for (int i = threadIdx.x; i < letters; i += 32) dot += s.later[i] * p.total(a + i);
    dot = warp_sum(dot);
    if (threadIdx.x == 0) g.total[a] += TWELFTH * dot;
}

// Level 2 of letter a.
__device__ __forceinline__ void back_areas(const Path &p, const Gradients &g, const Shared &s, int a) {
    __shared__ float sums[THREADS / 32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, letters = p.channels - a;
    float gu_sum = 0.0f;
    for (int t = warp; t < p.steps; t += THREADS / 32) {
        const float u = p.h(t, a) - 0.5f * p.total(a);
        float gu = 0.0f;
        for (int i = lane; i < letters; i += 32) {
            if (i == 0) continue;
            gu += s.area[i] * p.dx(t, a + i);
            g.dx[t * p.channels + a + i] += u * s.area[i];
        }
        gu = warp_sum(gu);
        if (lane == 0) g.h[t * p.channels + a] += gu;
        gu_sum += gu;
    }
    if (lane == 0) sums[warp] = gu_sum;
    __syncthreads();
    if (threadIdx.x > 0) return;
    for (int i = 0; i < THREADS / 32; i++) g.total[a] -= 0.5f * sums[i];
}

}  // namespace

// parts[group, batch, 2 T c + c]: gradients of dx, h and the total increment by the words of letters
// group, group + groups, ..; depth 2 or 3. Grid (groups, batch). Dynamic shared memory:
// 3 c + chunk (2 c + 1) floats.
extern "C" __global__ void __launch_bounds__(128)
lyndon_backward(const float *path, const float *out, const float *grad, float *parts, int channels,
                int steps, int depth, int chunk, int terms) {
    DYNAMIC_SHARED(float, memory);
    __shared__ Tile<16> tile;
    const Shared s{memory, memory + channels, memory + 2 * channels, memory + 3 * channels,
                   memory + (3 + chunk) * channels, memory + (3 + 2 * chunk) * channels};
    const Path p = path_of(path, channels, steps, blockIdx.y);
    const int each = (2 * steps + 1) * channels;
    float *const mine = parts + ((size_t)blockIdx.x * gridDim.y + blockIdx.y) * each;
    const Gradients g{mine, mine + steps * channels, mine + 2 * steps * channels};
    for (int e = threadIdx.x; e < each; e += THREADS) mine[e] = 0.0f;
    const size_t at = (size_t)blockIdx.y * terms + channels;
    for (int a = blockIdx.x; a < channels - 1; a += gridDim.x) {
        const int letters = channels - a, second = level2(channels, a);
        const float sa = p.total(a);
        __syncthreads();
        for (int i = threadIdx.x; i < letters; i += THREADS) {
            s.area[i] = i > 0 ? grad[at + second + i - 1] : 0.0f;
            s.later[i] = 0.0f;
            // F's constant part and A_T, from which the steps are taken again one by one.
            float r = constant(p, a, a + i, sa, i > 0 ? out[at + second + i - 1] : 0.0f);
            for (int t = 0; t < steps; t++) r += p.h(t, a) * p.dx(t, a + i);
            s.running[i] = r;
        }
        __syncthreads();
        if (depth == 3) {
            const float *grad3 = grad + at + channels * (channels - 1) / 2 + level3(channels, a);
            for (int from = (steps - 1) / chunk * chunk; from >= 0; from -= chunk) {
                back_chunk(p, g, s, tile, grad3, a, from, min(chunk, steps - from));
                __syncthreads();
            }
            back_constant(p, g, s, a);
            __syncthreads();
        }
        back_areas(p, g, s, a);
    }
}

// gpath [batch, T + 1, c] from the parts of all groups, in order, and the gradient of level 1.
// Grid ((T + 1) c / 128, batch).
extern "C" __global__ void __launch_bounds__(128)
lyndon_collect(const float *parts, const float *grad, float *gpath, int channels, int steps,
               int groups, int terms) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x, point = e / channels, i = e % channels;
    if (point > steps) return;
    const int each = (2 * steps + 1) * channels;
    float sum = 0.0f, total = grad[(size_t)blockIdx.y * terms + i];
    for (int group = 0; group < groups; group++) {
        const float *dx = parts + ((size_t)group * gridDim.y + blockIdx.y) * each;
        const float *h = dx + steps * channels;
        total += h[steps * channels + i];
        if (point > 0) sum += dx[e - channels] + 0.5f * h[e - channels];
        if (point < steps) sum += 0.5f * h[e] - dx[e];
        // Midpoints are relative to the start.
        if (point == 0)
            for (int t = 0; t < steps; t++) sum -= h[t * channels + i];
    }
    if (point == 0) sum -= total;
    if (point == steps) sum += total;
    gpath[(size_t)blockIdx.y * (steps + 1) * channels + e] = sum;
}
