// The part of CUDA that the kernels of this folder use, for an ordinary C++ compiler.
//
// One block runs at a time, on one processor. Its threads are fibers that give up the processor
// only where a CUDA thread may wait for another: at __syncthreads, __syncwarp and shuffles (see
// runtime.cpp). So `static` is shared memory, and every interleaving is one that a GPU may take.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __shared__ static

struct uint3 {
    unsigned x, y, z;
};
using dim3 = uint3;
struct alignas(8) int2 {
    int x, y;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }

namespace cuda_host {

// Where the running thread is.
struct Place {
    uint3 thread, block;
    dim3 block_size, grid_size;
};
extern Place place;

// Shared memory that the launch asked for.
void *dynamic_shared();

// Waits for all threads of the block.
void barrier(const char *file, int line);

enum class Exchange { Sync, Xor, Down, Index };
// Waits for all lanes of `mask`; each gets the bits of the lane that `exchange` and `argument` name.
uint64_t exchange(Exchange kind, unsigned mask, uint64_t bits, int argument, const char *file,
                  int line);

template <class T>
T shuffle(Exchange kind, unsigned mask, T value, int argument, const char *file, int line) {
    static_assert(sizeof(T) <= 8 && std::is_trivially_copyable<T>::value, "");
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    bits = exchange(kind, mask, bits, argument, file, line);
    std::memcpy(&value, &bits, sizeof(T));
    return value;
}

// An argument as it arrives: a buffer's address and element type, or a number.
struct Argument {
    char tag;  // 'f' 'd' 'i' 'b': buffer of float, double, int, bytes; 'F' 'D' 'I': a number
    union {
        void *address;
        float f32;
        double f64;
        int i32;
    };
};
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Arguments are no memory of the kernel's.
#define CUDA_HOST_UNWATCHED __attribute__((no_sanitize("thread")))

template <class T>
CUDA_HOST_UNWATCHED T unpack(const Argument &a) {
    auto want = [&](bool fits) {
        if (!fits) fail("an argument has another type than the kernel's parameter");
    };
    if constexpr (std::is_pointer<T>::value) {
        using E = std::remove_cv_t<std::remove_pointer_t<T>>;
        constexpr char tag = std::is_same<E, float>::value    ? 'f'
                             : std::is_same<E, double>::value ? 'd'
                             : std::is_same<E, int>::value    ? 'i'
                                                              : 'b';
        static_assert(tag != 'b' || sizeof(E) == 1, "kernels take float, double, int or bytes");
        want(a.tag == tag);
        return static_cast<T>(a.address);
    } else if constexpr (std::is_same<T, float>::value) {
        want(a.tag == 'F');
        return a.f32;
    } else if constexpr (std::is_same<T, double>::value) {
        want(a.tag == 'D');
        return a.f64;
    } else {
        static_assert(std::is_same<T, int>::value, "numbers are int, float or double");
        want(a.tag == 'I');
        return a.i32;
    }
}

using Call = void (*)(const Argument *, size_t);
// A kernel by name, with the largest block that it was compiled for.
struct Registration {
    Registration(const char *name, unsigned threads, Call call);
};

template <class... P, size_t... I>
CUDA_HOST_UNWATCHED void call(void (*kernel)(P...), const Argument *a, std::index_sequence<I...>) {
    kernel(unpack<P>(a[I])...);
}
template <class... P>
CUDA_HOST_UNWATCHED void call(void (*kernel)(P...), const Argument *a, size_t count) {
    if (count != sizeof...(P)) fail("another number of arguments than the kernel has");
    call(kernel, a, std::index_sequence_for<P...>());
}

}  // namespace cuda_host

#define REGISTER(name, threads)                                                          \
    static cuda_host::Registration registration_##name(                                  \
        #name, threads, [](const cuda_host::Argument *a, size_t n) { cuda_host::call(name, a, n); });

#define threadIdx cuda_host::place.thread
#define blockIdx cuda_host::place.block
#define blockDim cuda_host::place.block_size
#define gridDim cuda_host::place.grid_size

#define __syncthreads() cuda_host::barrier(__FILE__, __LINE__)
#define CUDA_HOST_SHUFFLE(kind, mask, value, argument) \
    cuda_host::shuffle(cuda_host::Exchange::kind, mask, value, argument, __FILE__, __LINE__)
#define __syncwarp() (void)CUDA_HOST_SHUFFLE(Sync, 0xffffffffu, 0, 0)
#define __shfl_xor_sync(mask, value, lanes) CUDA_HOST_SHUFFLE(Xor, mask, value, lanes)
#define __shfl_down_sync(mask, value, lanes) CUDA_HOST_SHUFFLE(Down, mask, value, lanes)
#define __shfl_sync(mask, value, lane) CUDA_HOST_SHUFFLE(Index, mask, value, lane)

template <class T>
inline T __ldg(const T *p) {
    return *p;
}
// Compiled without contraction (-ffp-contract=off), these round as their device namesakes.
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __int_as_float(int bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
inline float rsqrtf(float a) { return 1.0f / std::sqrt(a); }
using std::max;
using std::min;
