// The logarithm in the truncated tensor algebra, the twin of src/ops/signature/logarithm.rs:
// log(1 + X) = X P_1, P_N = 1/N, P_k = 1/k - X P_(k+1), P_k needed to level N - k only. And the
// choice of words.
//
// A block takes one signature; the series P_1 .. P_(N-1), one after another, is in scratch memory.
// N products of about N c^N terms each: limited by the loads of the caches. T is float or double.
#include "words.cuh"

namespace {

constexpr int THREADS = 256;

// First element of P_k in the series, k from 1, and the length of the series for k = N.
__device__ __forceinline__ int place(const Levels &l, int k) {
    int at = 0;
    for (int i = 1; i < k; i++) at += l.first[l.depth - i + 1];
    return at;
}

// out_m = sign (p0 x_m + sum_(i + j = m) x_i (x) p_j) for levels 1 .. top. All threads; ends with a
// barrier.
template <class T>
__device__ __forceinline__ void product(const Levels &l, int top, const T *x, T p0, const T *p, T sign,
                                        T *out) {
    for (int m = 1; m <= top; m++)
        for (int e = threadIdx.x; e < l.power[m]; e += THREADS) {
            T sum = p0 * x[l.first[m] + e];
            for (int i = 1; i < m; i++)
                sum += x[l.first[i] + e / l.power[m - i]] * p[l.first[m - i] + e % l.power[m - i]];
            out[l.first[m] + e] = sign * sum;
        }
    __syncthreads();
}

// Derivative of `product`: adds to gx and gp. A warp takes one element at a time, its lanes the
// terms of the sum.
template <class T>
__device__ __forceinline__ void unproduct(const Levels &l, int top, const T *x, T p0, const T *p, T sign,
                                          const T *g, T *gx, T *gp) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int i = 1; i <= top; i++)
        for (int e = warp; e < l.power[i]; e += THREADS / 32) {
            T left = lane == 0 ? p0 * g[l.first[i] + e] : T(0), right = 0;
            for (int m = i + 1; m <= top; m++)
                for (int v = lane; v < l.power[m - i]; v += 32) {
                    left += g[l.first[m] + e * l.power[m - i] + v] * p[l.first[m - i] + v];
                    right += x[l.first[m - i] + v] * g[l.first[m] + v * l.power[i] + e];
                }
            left = warp_sum(left);
            right = warp_sum(right);
            if (lane > 0) continue;
            gx[l.first[i] + e] += sign * left;
            if (i < top) gp[l.first[i] + e] += sign * right;
        }
    __syncthreads();
}

// P_1 .. P_(N-1) of x.
template <class T>
__device__ __forceinline__ void series(const Levels &l, const T *x, T *p) {
    for (int k = l.depth - 1; k >= 1; k--)
        product(l, l.depth - k, x, T(1) / (k + 1), p + place(l, k + 1), T(-1), p + place(l, k));
}

template <class T>
__device__ __forceinline__ void logarithm_forward_any(const T *x, T *out, T *p, int channels, int depth) {
    const Levels l = levels_of(channels, depth);
    const size_t at = (size_t)blockIdx.x * l.first[depth + 1];
    p += (size_t)blockIdx.x * place(l, depth);
    series(l, x + at, p);
    product(l, depth, x + at, T(1), p, T(1), out + at);
}

template <class T>
__device__ __forceinline__ void logarithm_backward_any(const T *x, const T *g, T *gx, T *p, int channels,
                                                       int depth) {
    const Levels l = levels_of(channels, depth);
    const int terms = l.first[depth + 1], len = place(l, depth);
    x += (size_t)blockIdx.x * terms;
    g += (size_t)blockIdx.x * terms;
    gx += (size_t)blockIdx.x * terms;
    p += (size_t)blockIdx.x * 2 * len;
    T *const gp = p + len;
    for (int e = threadIdx.x; e < terms; e += THREADS) gx[e] = 0;
    for (int e = threadIdx.x; e < len; e += THREADS) gp[e] = 0;
    series(l, x, p);
    __syncthreads();
    unproduct(l, depth, x, T(1), p, T(1), g, gx, gp);
    for (int k = 1; k < depth; k++)
        unproduct(l, depth - k, x, T(1) / (k + 1), p + place(l, k + 1), T(-1), gp + place(l, k), gx,
                  gp + place(l, k + 1));
}

template <class T>
__device__ __forceinline__ void choose_words_any(const T *x, T *out, const int *source, int dim, int x_dim) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= dim) return;
    const int from = source[e];
    out[(size_t)blockIdx.y * dim + e] = from < 0 ? T(0) : x[(size_t)blockIdx.y * x_dim + from];
}

}  // namespace

// out = log x, both [batch, c + .. + c^N]. Grid: batch. p: scratch [batch, length of the series].
extern "C" __global__ void __launch_bounds__(256)
logarithm_forward(const float *x, float *out, float *p, int channels, int depth) {
    logarithm_forward_any(x, out, p, channels, depth);
}

extern "C" __global__ void __launch_bounds__(256)
logarithm_forward_f64(const double *x, double *out, double *p, int channels, int depth) {
    logarithm_forward_any(x, out, p, channels, depth);
}

// gx from the gradient g of log x. Grid: batch. p: scratch [batch, 2, length of the series].
extern "C" __global__ void __launch_bounds__(256)
logarithm_backward(const float *x, const float *g, float *gx, float *p, int channels, int depth) {
    logarithm_backward_any(x, g, gx, p, channels, depth);
}

extern "C" __global__ void __launch_bounds__(256)
logarithm_backward_f64(const double *x, const double *g, double *gx, double *p, int channels, int depth) {
    logarithm_backward_any(x, g, gx, p, channels, depth);
}

// out[b, e] = x[b, source[e]], 0 where source[e] is negative; e < dim. Grid: (dim / 256, batch).
extern "C" __global__ void __launch_bounds__(256)
choose_words(const float *x, float *out, const int *source, int dim, int x_dim) {
    choose_words_any(x, out, source, dim, x_dim);
}

extern "C" __global__ void __launch_bounds__(256)
choose_words_f64(const double *x, double *out, const int *source, int dim, int x_dim) {
    choose_words_any(x, out, source, dim, x_dim);
}
