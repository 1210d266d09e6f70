// The tables of a Clebsch-Gordan step, as src/ops/cg/launches.rs makes them from the plan.
#pragma once

#include "common.cuh"

// degrees: per output degree {first path, end of paths, first weight, all pairs}.
// paths: per live path {first weight, first entry of orders, first term by first row, their end}.
// orders: per path 2 l + 2 numbers: the terms of order m are terms[orders[m]] .. [orders[m + 1]].
// terms: pairs {first | second << 8 | order << 16, bits of the coefficient}, per path twice: by
// order, and by first row.
struct CgTables {
    const int *degrees, *paths, *orders;
    const int2 *terms;
};

struct CgTerm {
    int first, second, order;
    float coefficient;
};

__device__ __forceinline__ CgTerm cg_term(const int2 *terms, int i) {
    const int2 t = terms[i];
    return {t.x & 255, t.x >> 8 & 255, t.x >> 16 & 255, __int_as_float(t.y)};
}

// t[p, c, m] = sum of coefficient h[first, c] h[second, c] over the terms `from` .. `end`; h is
// already at the channel.
__device__ __forceinline__ float cg_product(const int2 *terms, int from, int end, const float *h,
                                            int channels) {
    float sum = 0.0f;
    for (int i = from; i < end; i++) {
        const CgTerm t = cg_term(terms, i);
        sum += t.coefficient * h[t.first * channels] * h[t.second * channels];
    }
    return sum;
}
