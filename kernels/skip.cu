// Skip connections between steerable tensors, the twin of src/ops/skip. Bandwidth: every number
// is read and written once.
#include "common.cuh"

// out[b, e] + x[b, source[e]] where source[e] is not negative, else out[b, e]; e < dim.
// Grid: (dim / 256, batch); x has x_dim numbers per sample.
extern "C" __global__ void __launch_bounds__(256)
skip_forward(const float *out, const float *x, float *sum, const int *source, int dim, int x_dim) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= dim) return;
    const size_t at = (size_t)blockIdx.y * dim + e;
    const int from = source[e];
    sum[at] = from < 0 ? out[at] : out[at] + x[(size_t)blockIdx.y * x_dim + from];
}

// Gradient of x: g[b, source[e]] where source[e] is not negative, else 0; e < dim, the numbers of
// x. Grid: (dim / 256, batch); g has g_dim numbers per sample.
extern "C" __global__ void __launch_bounds__(256)
skip_backward(const float *g, float *gx, const int *source, int dim, int g_dim) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= dim) return;
    const int from = source[e];
    gx[(size_t)blockIdx.y * dim + e] = from < 0 ? 0.0f : g[(size_t)blockIdx.y * g_dim + from];
}
