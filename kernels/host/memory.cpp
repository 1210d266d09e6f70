// Watches every access that kernels make to memory.
//
// Kernels are compiled with the compiler's thread sanitizer pass, which calls __tsan_read4 and the
// like at each access, and linked with these functions instead of the sanitizer's library. So a
// race is found by what CUDA orders (barriers, __syncwarp, the end of a launch), whatever order
// the fibers ran in: two threads touch the same word, one writes, nothing orders them. Also found:
// addresses outside every buffer, and words read before anything wrote them.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <unistd.h>

#include "runtime.h"

extern "C" char __executable_start, __data_start, _end;

namespace cuda_host {

namespace {

// Numbers of phases: a phase ends with a barrier, a block or a launch, and none occurs twice.
uint32_t phase = 1, block_start = 1, launch_start = 1;
unsigned thread_now;
const char *stack_begin, *stack_end;
bool watching;
std::vector<uint32_t> warp_phase(32);

struct Touch {
    uint32_t phase = 0;
    uint16_t thread = 0;
    uint32_t warp_phase = 0;
};

// The last write and two reads by different threads of one four-byte word.
struct Word {
    Touch write, reads[2];
    bool written = false;
};

enum class Space { Global, Shared };

struct Region {
    uintptr_t begin, end;
    Space space;
    int number;
    std::vector<Word> words;
};

// By end. Buffers, the block's dynamic shared memory, and static variables.
std::map<uintptr_t, Region> regions;
Region *last_region;
int buffers;

Region &add(void *start, size_t bytes, Space space, int number, bool written) {
    auto begin = reinterpret_cast<uintptr_t>(start);
    Region r{begin, begin + bytes, space, number, std::vector<Word>((bytes + 3) / 4 + 1)};
    for (Word &w : r.words) w.written = written;
    last_region = nullptr;
    return regions[r.end] = std::move(r);
}

Region *find(uintptr_t at) {
    if (last_region && at >= last_region->begin && at < last_region->end) return last_region;
    auto it = regions.upper_bound(at);
    if (it == regions.end() || at < it->second.begin) return nullptr;
    return last_region = &it->second;
}

// Whether something orders `before` and the access that is made now.
bool ordered(const Touch &before, Space space) {
    if (before.phase < launch_start) return true;
    if (before.phase < block_start) return space == Space::Shared;
    if (before.phase != phase || before.thread == thread_now) return true;
    return before.thread / 32 == thread_now / 32 && before.warp_phase != warp_phase[thread_now / 32];
}

[[noreturn]] void report(const char *what, uintptr_t at, size_t bytes, const Region *r, void *pc,
                         const Touch *other) {
    char place[160], before[160] = "", command[256];
    if (!r)
        snprintf(place, sizeof place, "an address outside every buffer");
    else
        snprintf(place, sizeof place, "%s %d at byte %zu of %zu",
                 r->space == Space::Global ? "buffer" : "shared memory", r->number,
                 size_t(at - r->begin), size_t(r->end - r->begin));
    if (other)
        snprintf(before, sizeof before, " and thread %u%s", other->thread,
                 other->phase < block_start ? " of another block" : "");
    auto offset = reinterpret_cast<uintptr_t>(pc) - reinterpret_cast<uintptr_t>(&__executable_start);
    fflush(stdout);
    snprintf(command, sizeof command,
             "addr2line -i -f -C -p -e /proc/%d/exe 0x%zx 1>&2 2>/dev/null", int(getpid()), size_t(offset - 1));
    if (system(command) != 0) fprintf(stderr, "at offset 0x%zx of the runner\n", size_t(offset));
    fail("%s: %zu bytes, %s%s", what, bytes, place, before);
}

void touch(uintptr_t at, size_t bytes, bool write, void *pc) {
    if (!watching) return;
    auto in = [&](const void *begin, const void *end) {
        return at >= reinterpret_cast<uintptr_t>(begin) && at < reinterpret_cast<uintptr_t>(end);
    };
    if (in(stack_begin, stack_end) || in(&place, &place + 1)) return;
    Region *r = find(at);
    if (!r) {
        if (!write && in(&__executable_start, &__data_start)) return;  // constants
        report(write ? "write out of bounds" : "read out of bounds", at, bytes, r, pc, nullptr);
    }
    if (at + bytes > r->end)
        report(write ? "write out of bounds" : "read out of bounds", at, bytes, r, pc, nullptr);
    Touch now{phase, uint16_t(thread_now), warp_phase[thread_now / 32]};
    for (size_t i = (at - r->begin) / 4; i <= (at + bytes - 1 - r->begin) / 4; i++) {
        Word &w = r->words[i];
        bool fresh = r->space == Space::Shared && w.write.phase < block_start;
        if (!write && (fresh || !w.written))
            report("read of memory that nothing wrote", at, bytes, r, pc, nullptr);
        if (!ordered(w.write, r->space))
            report(write ? "race of two writes" : "race of a read with a write", at, bytes, r, pc, &w.write);
        if (write) {
            for (const Touch &read : w.reads)
                if (!ordered(read, r->space))
                    report("race of a write with a read", at, bytes, r, pc, &read);
            w.write = now;
            w.written = true;
        } else {
            bool first = ordered(w.reads[0], r->space);
            if (first || ordered(w.reads[1], r->space)) w.reads[first ? 0 : 1] = now;
        }
    }
}

}  // namespace

void memory_buffer(void *start, size_t bytes, bool written) {
    add(start, bytes, Space::Global, buffers++, written);
}

void memory_block(void *shared, size_t bytes) {
    static uintptr_t last_end = 0;
    if (last_end) regions.erase(last_end);
    phase++;
    block_start = phase;
    if (bytes > 0) last_end = add(shared, bytes, Space::Shared, 0, false).end;
    else last_end = 0;
    static bool statics = false;
    if (!statics) add(&__data_start, size_t(&_end - &__data_start), Space::Shared, 1, false);
    statics = true;
}

void memory_thread(unsigned index, const void *stack, size_t bytes) {
    thread_now = index;
    stack_begin = static_cast<const char *>(stack);
    stack_end = stack_begin + bytes;
    watching = true;
}

void memory_barrier() { phase++; }

void memory_warp_barrier(unsigned warp) { warp_phase[warp]++; }

void memory_launch() {
    watching = false;
    phase++;
    launch_start = block_start = phase;
}

}  // namespace cuda_host

#define ACCESS(bytes)                                                                      \
    void __tsan_read##bytes(void *p) {                                                     \
        cuda_host::touch(reinterpret_cast<uintptr_t>(p), bytes, false, __builtin_return_address(0)); \
    }                                                                                      \
    void __tsan_write##bytes(void *p) {                                                    \
        cuda_host::touch(reinterpret_cast<uintptr_t>(p), bytes, true, __builtin_return_address(0)); \
    }                                                                                      \
    void __tsan_unaligned_read##bytes(void *p) { __tsan_read##bytes(p); }                  \
    void __tsan_unaligned_write##bytes(void *p) { __tsan_write##bytes(p); }

extern "C" {
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
void __tsan_read_range(void *p, unsigned long bytes) {
    cuda_host::touch(reinterpret_cast<uintptr_t>(p), bytes, false, __builtin_return_address(0));
}
void __tsan_write_range(void *p, unsigned long bytes) {
    cuda_host::touch(reinterpret_cast<uintptr_t>(p), bytes, true, __builtin_return_address(0));
}
void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void **, void *) {}
}
