// The Zernike transform of point clouds, the twin of src/ops/zernike; formulas there.
//
// One block per cloud. Atoms come in tiles of 64: a tile's atoms are sorted by channel, their
// radial polynomials (f64 recurrence: near the rim f32 would lose digits; then f32) and harmonics
// go to shared memory, and each thread adds up its own coefficients over its channel's atoms.
// A cloud of 200 atoms at lmax 6, nmax 20, four channels reads 2.6 kB, writes 6.8 kB and takes
// 0.2 MFLOP, with two shared-memory loads for each multiply-add: limited by those loads.
#include "common.cuh"

namespace {

constexpr int TILE = 64;         // atoms of a tile
constexpr int PITCH = TILE + 1;  // of its rows in shared memory: neighbouring rows, other banks
constexpr int THREADS = 256;
constexpr double SLACK = 1e-6;   // an atom this much beyond the cutoff counts as on it

// Distance over the cutoff, and direction.
struct Place {
    double rho;
    float x, y, z;
};

__device__ __forceinline__ Place place(const float *xyz, double cutoff) {
    const double x = xyz[0], y = xyz[1], z = xyz[2];
    const double r = sqrt(x * x + y * y + z * z), inverse = 1.0 / r;
    return {min(r / cutoff, 1.0), (float)(x * inverse), (float)(y * inverse), (float)(z * inverse)};
}

__device__ __forceinline__ bool contains(const float *xyz, double cutoff) {
    const double x = xyz[0], y = xyz[1], z = xyz[2], square = x * x + y * y + z * z;
    const double limit = cutoff * (1.0 + SLACK);
    return square > 0.0 && square <= limit * limit;
}

// All orders of degree l at rho: out[k * PITCH].
__device__ __forceinline__ void radial_chain(const double *steps, int orders, int l, double rho,
                                             float *out) {
    double power = 1.0;
    for (int i = 0; i < l; i++) power *= rho;
    double before = 0.0, last = steps[0] * power;
    out[0] = (float)last;
    for (int k = 1; k < orders; k++) {
        const double *s = steps + 3 * k - 2;
        const double next = (s[0] * rho * rho + s[1]) * last - s[2] * before;
        before = last;
        last = next;
        out[k * PITCH] = (float)last;
    }
}

// Harmonics +m and -m of all degrees, times `weight`: out[row * PITCH].
__device__ __forceinline__ void harmonic_chain(const float *diagonal, const float *steps, int lmax,
                                               int m, const Place &p, float weight, float *out) {
    float real = weight, imaginary = 0.0f;
    for (int i = 0; i < m; i++) {
        const float next = real * p.z - imaginary * p.x;
        imaginary = real * p.x + imaginary * p.z;
        real = next;
    }
    for (int sign = 0; sign < (m > 0 ? 2 : 1); sign++) {
        float before = 0.0f, last = (sign ? imaginary : real) * diagonal[m];
        for (int l = m; l <= lmax; l++) {
            if (l > m) {
                const float *s = steps + 2 * (l * (l + 1) / 2 + m);
                const float next = s[0] * p.y * last - s[1] * before;
                before = last;
                last = next;
            }
            out[(l * l + l + (sign ? -m : m)) * PITCH] = last;
        }
    }
}

}  // namespace

// out[cloud, dim] times `scale`. coordinates [atoms, 3] about the cloud's centre, channels [atoms],
// cloud i is the atoms offsets[i] .. offsets[i + 1].
// degrees: per l {orders, first of its numbers in `radial`, its first row of radial values};
// radial: per l {first, then a, b, c per step}; harmonics: diagonal [lmax + 1], then {a, b} per (l, m).
// entries: per coefficient of channel 0 {radial row, harmonic row, place in out, step to the next
// channel}. Grid: clouds. Dynamic shared memory: (radial rows + (lmax + 1)^2) * 65 floats.
extern "C" __global__ void __launch_bounds__(256)
zernike_transform(const float *coordinates, const unsigned char *channels, const int *offsets,
                  float *out, const int *degrees, const double *radial, const float *harmonics,
                  const int *entries, int lmax, int radial_rows, int entry_count,
                  int channel_count, int dim, int square, double cutoff, float scale) {
    DYNAMIC_SHARED(float, values);
    __shared__ int atoms[TILE];            // of the tile, sorted by channel
    __shared__ int kinds[TILE];            // channels of the tile's atoms, 255 for none
    __shared__ int starts[THREADS];        // where each channel begins among the sorted ones
    __shared__ float weights[TILE];
    float *const harmonic = values + radial_rows * PITCH;
    const int thread = threadIdx.x, begin = offsets[blockIdx.x], end = offsets[blockIdx.x + 1];
    float *const result = out + (size_t)blockIdx.x * dim;
    for (int e = thread; e < entry_count * channel_count; e += THREADS) {
        const int *entry = entries + 4 * (e % entry_count);
        result[entry[2] + e / entry_count * entry[3]] = 0.0f;
    }
    for (int first = begin; first < end; first += TILE) {
        if (thread < TILE) {
            const int atom = first + thread;
            const bool in = atom < end && channels[atom] < channel_count &&
                            contains(coordinates + 3 * (size_t)atom, cutoff);
            kinds[thread] = in ? channels[atom] : 255;
        }
        __syncthreads();
        int start = 0;
        for (int i = 0; i < TILE; i++) start += kinds[i] < thread;
        starts[thread] = start;
        if (thread < TILE && kinds[thread] < 255) {
            int at = 0;
            for (int i = 0; i < TILE; i++)
                at += kinds[i] < kinds[thread] || (i < thread && kinds[i] == kinds[thread]);
            atoms[at] = first + thread;
        }
        __syncthreads();
        const int count = starts[255];
        for (int e = thread; e < TILE * (lmax + 1); e += THREADS) {
            const int i = e % TILE, l = e / TILE;
            if (i >= count) continue;
            const int *d = degrees + 3 * l;
            const Place p = place(coordinates + 3 * (size_t)atoms[i], cutoff);
            radial_chain(radial + d[1], d[0], l, p.rho, values + d[2] * PITCH + i);
        }
        __syncthreads();
        // In sum_nlm P_nlm^2 the harmonics of degree l add up to 2 l + 1.
        if (thread < count) {
            float norm = 0.0f;
            for (int l = 0; l <= lmax; l++) {
                float sum = 0.0f;
                for (int k = 0; k < degrees[3 * l]; k++) {
                    const float r = values[(degrees[3 * l + 2] + k) * PITCH + thread];
                    sum += r * r;
                }
                norm += (2 * l + 1) * sum;
            }
            weights[thread] = square ? 1.0f / norm : 1.0f;
        }
        __syncthreads();
        for (int e = thread; e < TILE * (lmax + 1); e += THREADS) {
            const int i = e % TILE, m = e / TILE;
            if (i >= count) continue;
            const Place p = place(coordinates + 3 * (size_t)atoms[i], cutoff);
            harmonic_chain(harmonics, harmonics + lmax + 1, lmax, m, p, weights[i], harmonic + i);
        }
        __syncthreads();
        for (int e = thread; e < entry_count * channel_count; e += THREADS) {
            const int *entry = entries + 4 * (e % entry_count);
            const int channel = e / entry_count;
            const float *r = values + entry[0] * PITCH, *y = harmonic + entry[1] * PITCH;
            float sum = 0.0f;
            for (int i = starts[channel]; i < starts[channel + 1]; i++) sum += r[i] * y[i];
            result[entry[2] + channel * entry[3]] += sum;
        }
        __syncthreads();
    }
    for (int e = thread; e < entry_count * channel_count; e += THREADS) {
        const int *entry = entries + 4 * (e % entry_count);
        result[entry[2] + e / entry_count * entry[3]] *= scale;
    }
}
