// Weighted squared errors against data, the twin of src/ops/squared_error. Bandwidth: every number is
// read and written once.
#include "common.cuh"

// w[e] (x[b, e] - target[b, e])^2; e < dim. Grid: (dim / 256, batch).
extern "C" __global__ void __launch_bounds__(256)
squared_error_forward(const float *x, const float *target, const float *w, float *out, int dim) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= dim) return;
    const size_t at = (size_t)blockIdx.y * dim + e;
    const float error = x[at] - target[at];
    out[at] = error * error * w[e];
}

// Gradient of x: 2 w[e] g[b, e] (x[b, e] - target[b, e]); e < dim. Grid: (dim / 256, batch).
extern "C" __global__ void __launch_bounds__(256)
squared_error_backward(const float *x, const float *target, const float *w, const float *g, float *gx,
                       int dim) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= dim) return;
    const size_t at = (size_t)blockIdx.y * dim + e;
    gx[at] = (x[at] - target[at]) * (g[at] * w[e]) * 2.0f;
}
