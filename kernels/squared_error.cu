// Weighted squared errors against data, the twin of src/ops/squared_error. Bandwidth: every number is
// read, and every gradient written, once.
#include "common.cuh"

constexpr int THREADS = 256;

// out[b] = sum over e < dim of w[e] (x[b, e] - target[b, e])^2, summed in f64 in a fixed order.
// Grid: (batch); blocks of THREADS.
extern "C" __global__ void __launch_bounds__(THREADS)
squared_error_forward(const float *x, const float *target, const float *w, float *out, int dim) {
    __shared__ double sums[THREADS];
    const size_t first = (size_t)blockIdx.x * dim;
    double sum = 0.0;
    const int thread = threadIdx.x;
    for (int e = thread; e < dim; e += THREADS) {
        const float error = x[first + e] - target[first + e];
        sum += error * error * w[e];
    }
    sums[thread] = sum;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (thread < half) sums[thread] += sums[thread + half];
    }
    if (thread == 0) out[blockIdx.x] = (float)sums[0];
}

// Gradient of x: 2 w[e] g[b] (x[b, e] - target[b, e]); e < dim. Grid: (dim / THREADS, batch).
extern "C" __global__ void __launch_bounds__(THREADS)
squared_error_backward(const float *x, const float *target, const float *w, const float *g, float *gx,
                       int dim) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= dim) return;
    const size_t at = (size_t)blockIdx.y * dim + e;
    gx[at] = (x[at] - target[at]) * (g[blockIdx.y] * w[e]) * 2.0f;
}
