// Adam on a stretch of the parameters, the twin of src/train/optimizer.rs, bit for bit.
//
// Per element 28 bytes (read p, g, m, v; write p, m, v) and 17 FLOP: limited by memory bandwidth.
#include "common.cuh"

namespace {

// The numbers of one step, as optimizer.rs rounds them.
struct Step {
    float decay, new1, keep2, new2, root_correction, epsilon, step_size, shrink, scale;
};

// Operation for operation as optimizer.rs: the intrinsics keep the compiler from contracting a
// product and a sum to one rounding, and division and root are those of IEEE.
__device__ __forceinline__ void update(float &p, float grad, float &m, float &v, const Step &s) {
    const float g = __fadd_rn(__fmul_rn(grad, s.scale), __fmul_rn(s.decay, p));
    m = __fadd_rn(m, __fmul_rn(__fsub_rn(g, m), s.new1));
    v = __fadd_rn(__fmul_rn(v, s.keep2), __fmul_rn(__fmul_rn(s.new2, g), g));
    const float root = __fadd_rn(__fdiv_rn(__fsqrt_rn(v), s.root_correction), s.epsilon);
    p = __fsub_rn(__fmul_rn(p, s.shrink), __fmul_rn(s.step_size, __fdiv_rn(m, root)));
}

}  // namespace

// p, m, v [n] in place from the gradient g [n]. Any one-dimensional grid: threads take four elements
// in turn where all are aligned to 16 bytes (`wide`), else one.
extern "C" __global__ void __launch_bounds__(256)
adam_step(float *p, const float *g, float *m, float *v, int n, int wide, float decay, float new1,
          float keep2, float new2, float root_correction, float epsilon, float step_size,
          float shrink, float scale) {
    const Step s{decay, new1, keep2, new2, root_correction, epsilon, step_size, shrink, scale};
    const int threads = gridDim.x * blockDim.x;
    const int thread = blockIdx.x * blockDim.x + threadIdx.x;
    const int fours = wide ? n / 4 : 0;
    for (int i = thread; i < fours; i += threads) {
        float4 p4 = reinterpret_cast<float4 *>(p)[i];
        float4 m4 = reinterpret_cast<float4 *>(m)[i];
        float4 v4 = reinterpret_cast<float4 *>(v)[i];
        const float4 g4 = reinterpret_cast<const float4 *>(g)[i];
        update(p4.x, g4.x, m4.x, v4.x, s);
        update(p4.y, g4.y, m4.y, v4.y, s);
        update(p4.z, g4.z, m4.z, v4.z, s);
        update(p4.w, g4.w, m4.w, v4.w, s);
        reinterpret_cast<float4 *>(p)[i] = p4;
        reinterpret_cast<float4 *>(m)[i] = m4;
        reinterpret_cast<float4 *>(v)[i] = v4;
    }
    for (int i = 4 * fours + thread; i < n; i += threads) update(p[i], g[i], m[i], v[i], s);
}
