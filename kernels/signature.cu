// Truncated signatures, the twin of src/ops/signature/horner.rs; formulas and names there.
// path [batch, L, c], signature [batch, c + .. + c^N].
//
// Everything about words that begin with one letter a depends on prefixes that begin with a, so a
// block takes one path and one first letter (forward) or every groups-th one (backward). Levels 2 to
// N - 1 of its words, and H of a chunk of steps, are in shared memory; the last level is a product
// over the chunk's steps. At c = 6, N = 4, 100 steps a path is 2.4 kB in, 6.2 kB out and 0.4 MFLOP
// forward, about four times that backward: limited by shared-memory loads and the barriers of each
// step. T is float or double.
#include "words.cuh"

namespace {

constexpr int THREADS = 128;

// Levels 2 .. N - 1 of the words that begin with letter a, first letter left out: level k is
// s[first[k - 1] ..], c^(k - 1) words. Level 1 is the number `one`.
template <class T>
struct Letter {
    int a;
    T one;
    T *s;
};

template <class T>
__device__ __forceinline__ T *level(T *s, const Levels &l, int k) {
    return s + l.first[k - 1];
}

// S + B at the word of `letters` letters, a and then `word`, in the chain of level k.
template <class T>
__device__ __forceinline__ T chain(const Levels &l, const Letter<T> &s, const T *dx, int k,
                                   int letters, int word) {
    T value = s.one + dx[s.a] / k;
    for (int i = 1; i < letters; i++) {
        const int prefix = word / l.power[letters - 1 - i];
        value = level(s.s, l, i + 1)[prefix] + value * dx[prefix % l.channels] / (k - i);
    }
    return value;
}

// S (x) exp(sign dx) on levels 2 to N - 1, from the top. All threads; ends with a barrier.
template <class T>
__device__ __forceinline__ void advance(const Levels &l, const Letter<T> &s, const T *dx) {
    for (int k = l.depth - 1; k >= 2; k--) {
        T *const at = level(s.s, l, k);
        for (int w = threadIdx.x; w < l.power[k - 1]; w += THREADS)
            at[w] += chain(l, s, dx, k, k - 1, w / l.channels) * dx[w % l.channels];
        __syncthreads();
    }
}

template <class T>
__device__ __forceinline__ void signature_forward_any(const T *path, T *out, int channels, int points,
                                                      int depth, int chunk, T *memory) {
    const Levels l = levels_of(channels, depth);
    const int a = blockIdx.x, steps = points - 1, words = depth > 1 ? l.power[depth - 2] : 0;
    const T *const x = path + (size_t)blockIdx.y * points * channels;
    T *const result = out + (size_t)blockIdx.y * l.first[depth + 1];
    const int lower = depth > 1 ? l.first[depth - 1] : 0;
    T *const dx = memory + lower, *const h = dx + chunk * channels;
    Letter<T> s{a, 0, memory};
    if (threadIdx.x == 0) result[a] = x[steps * channels + a] - x[a];
    if (depth == 1) return;
    T *const top = result + l.first[depth] + a * l.power[depth - 1];
    for (int e = threadIdx.x; e < lower; e += THREADS) memory[e] = 0;
    for (int e = threadIdx.x; e < l.power[depth - 1]; e += THREADS) top[e] = 0;
    for (int from = 0; from < steps; from += chunk) {
        const int count = min(chunk, steps - from);
        for (int e = threadIdx.x; e < count * channels; e += THREADS)
            dx[e] = x[(from + 1) * channels + e] - x[from * channels + e];
        __syncthreads();
        for (int t = 0; t < count; t++) {
            s.one = x[(from + t) * channels + a] - x[a];
            for (int w = threadIdx.x; w < words; w += THREADS)
                h[t * words + w] = chain(l, s, dx + t * channels, depth, depth - 1, w);
            __syncthreads();
            advance(l, s, dx + t * channels);
        }
        for (int e = threadIdx.x; e < words * channels; e += THREADS) {
            const int w = e / channels, j = e % channels;
            T sum = 0;
            for (int t = 0; t < count; t++) sum += h[t * words + w] * dx[t * channels + j];
            top[e] += sum;
        }
        __syncthreads();
    }
    for (int k = 2; k < depth; k++)
        for (int w = threadIdx.x; w < l.power[k - 1]; w += THREADS)
            result[l.first[k] + a * l.power[k - 1] + w] = level(memory, l, k)[w];
}

// Shared memory of the way back: S, its gradient, gradients of two neighbouring levels of a chain
// and S + B, and of a chunk of steps dx, gradient of dx, H, gradient of H.
template <class T>
struct Back {
    T *g, *gb[2], *u, *dx, *gdx, *h, *gh;
};

// Derivative of one step's chain from level `letters` down, whose gradient is `g` (a, then words of
// letters - 1 letters), in the chain of level k. Adds to the gradients of S and dx.
template <class T>
__device__ __forceinline__ void unchain(const Levels &l, const Letter<T> &s, const Back<T> &b,
                                        const T *dx, T *gdx, T &g_one, int k, int letters, const T *g) {
    for (int i = letters; i >= 2; i--) {
        const int words = l.power[i - 2], c = l.channels;
        const T factor = T(1) / (k - i + 1);
        T *const next = b.gb[i % 2];
        for (int w = threadIdx.x; w < words; w += THREADS) {
            T sum = 0;
            for (int j = 0; j < c; j++) sum += g[w * c + j] * dx[j];
            sum *= factor;
            next[w] = sum;
            b.u[w] = chain(l, s, dx, k, i - 1, w) * factor;
            if (i > 2) level(b.g, l, i - 1)[w] += sum;
        }
        __syncthreads();
        for (int j = threadIdx.x; j < c; j += THREADS) {
            T sum = 0;
            for (int w = 0; w < words; w++) sum += b.u[w] * g[w * c + j];
            gdx[j] += sum;
        }
        __syncthreads();
        g = next;
    }
    // Every thread keeps the number of level 1.
    g_one += g[0];
    if ((int)threadIdx.x == s.a % THREADS) gdx[s.a] += g[0] / k;
    __syncthreads();
}

template <class T>
__device__ __forceinline__ void back_letter(const Levels &l, const T *x, const T *result, const T *grad,
                                            T *parts, const Back<T> &b, T *memory, int a, int steps,
                                            int chunk) {
    const int n = l.depth, c = l.channels, words = l.power[n - 2];
    const T *const top = grad + l.first[n] + a * l.power[n - 1];
    Letter<T> s{a, 0, memory};
    T g_one = grad[a];
    for (int k = 2; k < n; k++)
        for (int w = threadIdx.x; w < l.power[k - 1]; w += THREADS) {
            level(memory, l, k)[w] = result[l.first[k] + a * l.power[k - 1] + w];
            level(b.g, l, k)[w] = grad[l.first[k] + a * l.power[k - 1] + w];
        }
    for (int from = (steps - 1) / chunk * chunk; from >= 0; from -= chunk) {
        const int count = min(chunk, steps - from);
        __syncthreads();
        for (int e = threadIdx.x; e < count * c; e += THREADS) {
            b.dx[e] = x[(from + 1) * c + e] - x[from * c + e];
            b.gdx[e] = parts[from * c + e];
        }
        __syncthreads();
        for (int e = threadIdx.x; e < count * words; e += THREADS) {
            const int t = e / words, w = e % words;
            T sum = 0;
            for (int j = 0; j < c; j++) sum += b.dx[t * c + j] * top[w * c + j];
            b.gh[e] = sum;
        }
        for (int t = count - 1; t >= 0; t--) {
            T *const dx = b.dx + t * c, *const gdx = b.gdx + t * c;
            // Back to the signature before the step, by the step reversed.
            __syncthreads();
            for (int j = threadIdx.x; j < c; j += THREADS) dx[j] = -dx[j];
            __syncthreads();
            s.one = x[(from + t + 1) * c + a] - x[a];
            advance(l, s, dx);
            for (int j = threadIdx.x; j < c; j += THREADS) dx[j] = -dx[j];
            __syncthreads();
            s.one = x[(from + t) * c + a] - x[a];
            for (int w = threadIdx.x; w < words; w += THREADS)
                b.h[t * words + w] = chain(l, s, dx, n, n - 1, w);
            if ((int)threadIdx.x == a % THREADS) gdx[a] += g_one;
            __syncthreads();
            // Level k reads the gradient after the step, and adds to those of lower levels only.
            for (int k = 2; k < n; k++) unchain(l, s, b, dx, gdx, g_one, k, k, level(b.g, l, k));
            T *const gh = b.gh + t * words;
            if (n > 2)
                for (int w = threadIdx.x; w < words; w += THREADS) level(b.g, l, n - 1)[w] += gh[w];
            __syncthreads();
            unchain(l, s, b, dx, gdx, g_one, n, n - 1, gh);
        }
        for (int e = threadIdx.x; e < count * c; e += THREADS) {
            const int t = e / c, j = e % c;
            T sum = 0;
            for (int w = 0; w < words; w++) sum += b.h[t * words + w] * top[w * c + j];
            parts[from * c + e] = b.gdx[e] + sum;
        }
    }
    __syncthreads();
}

template <class T>
__device__ __forceinline__ void signature_backward_any(const T *path, const T *out, const T *grad,
                                                       T *parts, int channels, int points, int depth,
                                                       int chunk, T *memory) {
    const Levels l = levels_of(channels, depth);
    const int steps = points - 1, terms = l.first[depth + 1];
    const T *const x = path + (size_t)blockIdx.y * points * channels;
    const size_t at = (size_t)blockIdx.y * terms;
    T *const mine = parts + ((size_t)blockIdx.x * gridDim.y + blockIdx.y) * steps * channels;
    if (depth == 1) {
        for (int e = threadIdx.x; e < steps * channels; e += THREADS)
            mine[e] = blockIdx.x == 0 ? grad[at + e % channels] : T(0);
        return;
    }
    for (int e = threadIdx.x; e < steps * channels; e += THREADS) mine[e] = 0;
    const int lower = l.first[depth - 1], words = l.power[depth - 2];
    Back<T> b;
    b.g = memory + lower;
    b.gb[0] = b.g + lower;
    b.gb[1] = b.gb[0] + words;
    b.u = b.gb[1] + words;
    b.dx = b.u + words;
    b.gdx = b.dx + chunk * channels;
    b.h = b.gdx + chunk * channels;
    b.gh = b.h + chunk * words;
    for (int a = blockIdx.x; a < channels; a += gridDim.x)
        back_letter(l, x, out + at, grad + at, mine, b, memory, a, steps, chunk);
}

template <class T>
__device__ __forceinline__ void signature_collect_any(const T *parts, T *gpath, int channels, int points,
                                                      int groups) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x, point = e / channels, steps = points - 1;
    if (point >= points) return;
    T sum = 0;
    for (int group = 0; group < groups; group++) {
        const T *g = parts + ((size_t)group * gridDim.y + blockIdx.y) * steps * channels;
        if (point > 0) sum += g[e - channels];
        if (point < steps) sum -= g[e];
    }
    gpath[(size_t)blockIdx.y * points * channels + e] = sum;
}

}  // namespace

// out = signature of path. Grid (c, batch). Dynamic shared memory, in numbers:
// c + .. + c^(N - 2) + chunk (c + c^(N - 2)); nothing at N = 1. Steps go in chunks of `chunk`.
extern "C" __global__ void __launch_bounds__(128)
signature_forward(const float *path, float *out, int channels, int points, int depth, int chunk) {
    DYNAMIC_SHARED(float, memory);
    signature_forward_any(path, out, channels, points, depth, chunk, memory);
}

extern "C" __global__ void __launch_bounds__(128)
signature_forward_f64(const double *path, double *out, int channels, int points, int depth, int chunk) {
    DYNAMIC_SHARED(double, memory);
    signature_forward_any(path, out, channels, points, depth, chunk, memory);
}

// parts[group, batch, L - 1, c]: gradient of the increments by the words of letters group,
// group + groups, .. from that of the signature. Grid (groups, batch). Dynamic shared memory:
// 2 (c + .. + c^(N - 2)) + 3 c^(N - 2) + 2 chunk (c + c^(N - 2)).
extern "C" __global__ void __launch_bounds__(128)
signature_backward(const float *path, const float *out, const float *grad, float *parts, int channels,
                   int points, int depth, int chunk) {
    DYNAMIC_SHARED(float, memory);
    signature_backward_any(path, out, grad, parts, channels, points, depth, chunk, memory);
}

extern "C" __global__ void __launch_bounds__(128)
signature_backward_f64(const double *path, const double *out, const double *grad, double *parts,
                       int channels, int points, int depth, int chunk) {
    DYNAMIC_SHARED(double, memory);
    signature_backward_any(path, out, grad, parts, channels, points, depth, chunk, memory);
}

// gpath [batch, L, c] from the parts of all groups, in order. Grid (L c / 128, batch).
extern "C" __global__ void __launch_bounds__(128)
signature_collect(const float *parts, float *gpath, int channels, int points, int groups) {
    signature_collect_any(parts, gpath, channels, points, groups);
}

extern "C" __global__ void __launch_bounds__(128)
signature_collect_f64(const double *parts, double *gpath, int channels, int points, int groups) {
    signature_collect_any(parts, gpath, channels, points, groups);
}
