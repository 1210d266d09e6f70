// Batch normalisation of steerable tensors, the twin of src/ops/batch_norm.
//
// Statistics, apply and gradients each read the tensor once or twice and write it at most once,
// for a few FLOP per number: limited by memory bandwidth. At 60 channels and lmax 6 a sample is
// 11.8 kB: 35 kB forward, 71 kB backward.
//
// Sums over the batch are taken in f64 as on the CPU, in two stages: over 8 samples by the threads
// of a block, then over the blocks in order. The variance comes from sums of x and x^2 in one
// pass; in f64 that costs no digit that an f32 input has. A feature is a channel of a degree; its
// first number in a sample, the stride between its orders, and their count are in `features`,
// three numbers each; `feature_of` [dim] goes back.
#include "common.cuh"

namespace {

constexpr int WIDTH = 32;   // features of a block: threadIdx.x
constexpr int SAMPLES = 8;  // samples of a block: threadIdx.y
constexpr double EPS = 1e-5;

// Sums over the block's samples of `first` and `second`, written by the threads of sample 0.
__device__ __forceinline__ void block_sums(double (*shared)[SAMPLES][WIDTH], double first,
                                           double second, int feature, int count, double *out) {
    shared[0][threadIdx.y][threadIdx.x] = first;
    shared[1][threadIdx.y][threadIdx.x] = second;
    __syncthreads();
    if (threadIdx.y > 1 || feature >= count) return;
    double sum = 0.0;
    for (int i = 0; i < SAMPLES; i++) sum += shared[threadIdx.y][i][threadIdx.x];
    out[((size_t)blockIdx.y * 2 + threadIdx.y) * count + feature] = sum;
}

__device__ __forceinline__ float scale_of(double variance) {
    return (float)(1.0 / sqrt(variance + EPS));
}

}  // namespace

// partial[block, 0 and 1, feature] = sums of x and x^2 over eight samples and all orders.
// x [batch, dim]. Block (32, 8), grid (count / 32, batch / 8).
extern "C" __global__ void __launch_bounds__(256)
bn_moments(const float *x, double *partial, const int *features, int count, int batch, int dim) {
    __shared__ double shared[2][SAMPLES][WIDTH];
    const int feature = blockIdx.x * WIDTH + threadIdx.x;
    const int sample = blockIdx.y * SAMPLES + threadIdx.y;
    double sum = 0.0, squares = 0.0;
    if (feature < count && sample < batch) {
        const int *f = features + 3 * feature;
        const float *at = x + (size_t)sample * dim + f[0];
        for (int m = 0; m < f[2]; m++) {
            const double v = at[m * f[1]];
            sum += v;
            squares += v * v;
        }
    }
    block_sums(shared, sum, squares, feature, count, partial);
}

// mean [scalars] and variance [count] from the sums of `blocks` blocks. The squared size of a
// feature is the mean over its orders (`by_sum` 0) or the sum (1). Grid: count / 128.
extern "C" __global__ void __launch_bounds__(128)
bn_statistics(const double *partial, double *mean, double *variance, const int *features,
              int scalars, int count, int blocks, int batch, int by_sum) {
    const int feature = blockIdx.x * blockDim.x + threadIdx.x;
    if (feature >= count) return;
    double sum = 0.0, squares = 0.0;
    for (int b = 0; b < blocks; b++) {
        sum += partial[(size_t)b * 2 * count + feature];
        squares += partial[((size_t)b * 2 + 1) * count + feature];
    }
    if (feature < scalars) {
        const double m = sum / batch;
        mean[feature] = m;
        variance[feature] = max(squares / batch - m * m, 0.0);
    } else {
        variance[feature] = squares / batch / (by_sum ? 1 : features[3 * feature + 2]);
    }
}

// out = (x - mean) / sqrt(variance + eps) * weight + bias. weight [count], bias [scalars].
// Grid: (dim / 256, batch / 8); a thread takes one number of eight samples.
extern "C" __global__ void __launch_bounds__(256)
bn_apply(const float *x, const float *weight, const float *bias, const double *mean,
         const double *variance, float *out, const int *feature_of, int scalars, int batch, int dim) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= dim) return;
    const int f = feature_of[e];
    const float scale = scale_of(variance[f]) * weight[f];
    const float centre = f < scalars ? (float)mean[f] : 0.0f, shift = f < scalars ? bias[f] : 0.0f;
    const int first = blockIdx.y * SAMPLES, last = min(first + SAMPLES, batch);
    for (int b = first; b < last; b++) {
        const size_t i = (size_t)b * dim + e;
        out[i] = (x[i] - centre) * scale + shift;
    }
}

// partial[block, 0 and 1, feature] = sums of the gradient g and of g times the normalised input.
// Block (32, 8), grid (count / 32, batch / 8).
extern "C" __global__ void __launch_bounds__(256)
bn_dots(const float *x, const float *g, const double *mean, const double *variance, double *partial,
        const int *features, int scalars, int count, int batch, int dim) {
    __shared__ double shared[2][SAMPLES][WIDTH];
    const int feature = blockIdx.x * WIDTH + threadIdx.x;
    const int sample = blockIdx.y * SAMPLES + threadIdx.y;
    double sum = 0.0, dot = 0.0;
    if (feature < count && sample < batch) {
        const int *f = features + 3 * feature;
        const float scale = scale_of(variance[feature]);
        const float centre = feature < scalars ? (float)mean[feature] : 0.0f;
        const size_t at = (size_t)sample * dim + f[0];
        for (int m = 0; m < f[2]; m++) {
            const float v = x[at + m * f[1]], d = g[at + m * f[1]];
            sum += d;
            dot += d * (v - centre) * scale;
        }
    }
    block_sums(shared, sum, dot, feature, count, partial);
}

// Gradients of weight and bias, and what the statistics' own gradients take from that of the
// input: pull [2, count], zero when `train` is 0. Grid: count / 128.
extern "C" __global__ void __launch_bounds__(128)
bn_gradients(const double *partial, float *gweight, float *gbias, float *pull, const int *features,
             int scalars, int count, int blocks, int batch, int by_sum, int train) {
    const int feature = blockIdx.x * blockDim.x + threadIdx.x;
    if (feature >= count) return;
    double sum = 0.0, dot = 0.0;
    for (int b = 0; b < blocks; b++) {
        sum += partial[(size_t)b * 2 * count + feature];
        dot += partial[((size_t)b * 2 + 1) * count + feature];
    }
    gweight[feature] = (float)dot;
    if (feature < scalars) gbias[feature] = (float)sum;
    const double orders = by_sum && feature >= scalars ? 1.0 : (double)features[3 * feature + 2];
    pull[feature] = train && feature < scalars ? (float)(sum / batch) : 0.0f;
    pull[count + feature] = train ? (float)(dot / batch / orders) : 0.0f;
}

// gx = weight scale (g - pull[0] - normalised x * pull[1]). Grid: (dim / 256, batch / 8).
extern "C" __global__ void __launch_bounds__(256)
bn_unapply(const float *x, const float *g, const float *weight, const double *mean,
           const double *variance, const float *pull, float *gx, const int *feature_of, int scalars,
           int count, int batch, int dim) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= dim) return;
    const int f = feature_of[e];
    const float scale = scale_of(variance[f]), centre = f < scalars ? (float)mean[f] : 0.0f;
    const float factor = weight[f] * scale, pull_g = pull[f], pull_dot = pull[count + f];
    const int first = blockIdx.y * SAMPLES, last = min(first + SAMPLES, batch);
    for (int b = first; b < last; b++) {
        const size_t i = (size_t)b * dim + e;
        gx[i] = factor * (g[i] - pull_g - (x[i] - centre) * scale * pull_dot);
    }
}
