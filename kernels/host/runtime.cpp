// Runs a block's threads as fibers, and finds what a GPU would leave undefined: a barrier that not
// all threads reach, a shuffle with lanes missing. Memory is watched by memory.cpp.
#include "runtime.h"

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <string>

#ifdef ADDRESS_SANITIZER
#include <sanitizer/common_interface_defs.h>
#define SWITCH_BEGIN(save, stack, size) __sanitizer_start_switch_fiber(save, stack, size)
#define SWITCH_END(save, stack, size) __sanitizer_finish_switch_fiber(save, stack, size)
#else
#define SWITCH_BEGIN(save, stack, size) (void)(save), (void)(stack), (void)(size)
#define SWITCH_END(save, stack, size) (void)(save), (void)(stack), (void)(size)
#endif

namespace cuda_host {

Place place;

namespace {

constexpr size_t STACK = 256 << 10;
constexpr unsigned LANES = 32;

enum class State { Ready, Barrier, Exchange, Done };

struct Fiber {
    ucontext_t context;
    char *stack;
    void *fake_stack;
    uint3 index;
    State state;
    const char *file;
    int line;
    Exchange kind;
    unsigned mask;
    int argument;
    uint64_t bits;
};

std::vector<Fiber> fibers;
ucontext_t scheduler;
void *scheduler_fake_stack;
const void *scheduler_stack;
size_t scheduler_stack_size;
unsigned current;
const Launch *running;
const char *running_name = "no kernel";
std::mt19937 random_order;
void *shared_memory;

void enter() {
    SWITCH_END(nullptr, &scheduler_stack, &scheduler_stack_size);
    running->call(running->arguments.data(), running->arguments.size());
    fibers[current].state = State::Done;
    SWITCH_BEGIN(nullptr, scheduler_stack, scheduler_stack_size);
    setcontext(&scheduler);
}

// Runs one fiber until it waits or ends.
void resume(unsigned i) {
    Fiber &f = fibers[i];
    current = i;
    place.thread = f.index;
    memory_thread(i, f.stack, STACK);
    SWITCH_BEGIN(&scheduler_fake_stack, f.stack, STACK);
    swapcontext(&scheduler, &f.context);
    SWITCH_END(scheduler_fake_stack, nullptr, nullptr);
}

// Called on a fiber: back to the scheduler until the wait is over.
void wait(State state, const char *file, int line) {
    Fiber &f = fibers[current];
    f.state = state;
    f.file = file;
    f.line = line;
    SWITCH_BEGIN(&f.fake_stack, scheduler_stack, scheduler_stack_size);
    swapcontext(&f.context, &scheduler);
    SWITCH_END(f.fake_stack, nullptr, nullptr);
}

std::string describe(const Fiber &f) {
    char text[512];
    const char *what = f.state == State::Done      ? "has ended"
                       : f.state == State::Barrier ? "waits at the barrier"
                                                   : "waits for its warp";
    int n = snprintf(text, sizeof text, "thread (%u,%u,%u) %s", f.index.x, f.index.y, f.index.z, what);
    if (f.state != State::Done) snprintf(text + n, sizeof text - n, " %s:%d", f.file, f.line);
    return text;
}

[[noreturn]] void diverged(const char *what, const Fiber &a, const Fiber &b) {
    fail("%s: %s, %s", what, describe(a).c_str(), describe(b).c_str());
}

// Ends the barrier when all threads of the block are at the same one.
bool end_barrier() {
    const Fiber &first = fibers[0];
    for (const Fiber &f : fibers) {
        if (f.state == State::Exchange || f.state == State::Ready) return false;
        if (f.state != first.state) diverged("barrier divergence", first, f);
        if (f.state == State::Barrier && (f.line != first.line || f.file != first.file))
            diverged("barrier divergence", first, f);
    }
    if (first.state != State::Barrier) return false;
    memory_barrier();
    for (Fiber &f : fibers) f.state = State::Ready;
    return true;
}

// Serves the exchange of the warp that starts at thread `start` when all its lanes are there.
bool end_exchange(unsigned start) {
    unsigned count = std::min<unsigned>(LANES, fibers.size() - start);
    Fiber *lanes = &fibers[start];
    const Fiber *asking = nullptr;
    for (unsigned i = 0; i < count; i++)
        if (lanes[i].state == State::Exchange) asking = &lanes[i];
    if (!asking) return false;
    for (unsigned i = 0; i < LANES; i++) {
        if (!(asking->mask >> i & 1)) continue;
        if (i >= count) fail("a warp of %u lanes waits for lane %u: %s", count, i, describe(*asking).c_str());
        const Fiber &f = lanes[i];
        if (f.state == State::Ready) return false;
        if (f.state != State::Exchange || f.line != asking->line || f.file != asking->file ||
            f.mask != asking->mask || f.kind != asking->kind)
            diverged("warp divergence", *asking, f);
    }
    uint64_t results[LANES];
    for (unsigned i = 0; i < count; i++) {
        const Fiber &f = lanes[i];
        unsigned from = f.kind == Exchange::Xor     ? i ^ unsigned(f.argument)
                        : f.kind == Exchange::Down  ? i + unsigned(f.argument)
                        : f.kind == Exchange::Index ? unsigned(f.argument)
                                                    : i;
        if (from >= LANES) from = f.kind == Exchange::Index ? from % LANES : i;
        if (!(asking->mask >> i & 1)) continue;
        if (from >= count || !(asking->mask >> from & 1))
            fail("a shuffle reads lane %u, which takes no part: %s", from, describe(f).c_str());
        results[i] = lanes[from].bits;
    }
    if (asking->kind == Exchange::Sync) memory_warp_barrier(start / LANES);
    unsigned mask = asking->mask;
    for (unsigned i = 0; i < count; i++) {
        if (!(mask >> i & 1)) continue;
        lanes[i].bits = results[i];
        lanes[i].state = State::Ready;
    }
    return true;
}

void prepare(unsigned threads, dim3 size) {
    while (fibers.size() > threads) {
        munmap(fibers.back().stack, STACK);
        fibers.pop_back();
    }
    while (fibers.size() < threads) {
        Fiber f{};
        f.stack = static_cast<char *>(mmap(nullptr, STACK, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
        if (f.stack == MAP_FAILED) fail("no memory for the stack of a thread");
        fibers.push_back(f);
    }
    for (unsigned i = 0; i < threads; i++) {
        Fiber &f = fibers[i];
        f.index = {i % size.x, i / size.x % size.y, i / (size.x * size.y)};
        f.state = State::Ready;
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = f.stack;
        f.context.uc_stack.ss_size = STACK;
        f.context.uc_link = nullptr;
        makecontext(&f.context, enter, 0);
    }
}

void run_block(Order order) {
    std::vector<unsigned> turn(fibers.size());
    std::iota(turn.begin(), turn.end(), 0u);
    if (order == Order::Reversed) std::reverse(turn.begin(), turn.end());
    for (;;) {
        if (order == Order::Random) std::shuffle(turn.begin(), turn.end(), random_order);
        bool moved = false;
        for (unsigned i : turn) {
            if (fibers[i].state != State::Ready) continue;
            resume(i);
            moved = true;
        }
        for (unsigned warp = 0; warp < fibers.size(); warp += LANES) moved |= end_exchange(warp);
        moved |= end_barrier();
        bool done = true;
        for (const Fiber &f : fibers) done &= f.state == State::Done;
        if (done) return;
        if (!moved) fail("the block cannot go on: %s", describe(fibers[0]).c_str());
    }
}

}  // namespace

void *dynamic_shared() { return shared_memory; }

void barrier(const char *file, int line) { wait(State::Barrier, file, line); }

uint64_t exchange(Exchange kind, unsigned mask, uint64_t bits, int argument, const char *file,
                  int line) {
    Fiber &f = fibers[current];
    if (!(mask >> (current % LANES) & 1)) fail("a lane that the mask leaves out at %s:%d", file, line);
    f.kind = kind;
    f.mask = mask;
    f.bits = bits;
    f.argument = argument;
    wait(State::Exchange, file, line);
    return fibers[current].bits;
}

void fail(const char *format, ...) {
    fprintf(stderr, "kernel %s, block (%u,%u,%u), thread (%u,%u,%u): ", running_name, place.block.x,
            place.block.y, place.block.z, place.thread.x, place.thread.y, place.thread.z);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    fflush(stderr);
    _exit(1);
}

void run(const Launch &launch, Order order) {
    running = &launch;
    running_name = launch.name.c_str();
    dim3 b = launch.block, g = launch.grid;
    unsigned threads = b.x * b.y * b.z;
    if (threads == 0 || threads > launch.threads || b.z > 64)
        fail("a block of %u x %u x %u threads, compiled for %u", b.x, b.y, b.z, launch.threads);
    if (g.x == 0 || g.y == 0 || g.z == 0 || g.y > 65535 || g.z > 65535)
        fail("a grid of %u x %u x %u blocks", g.x, g.y, g.z);
    if (launch.shared > 163 << 10) fail("%zu bytes of shared memory", launch.shared);
    place.block_size = b;
    place.grid_size = g;
    // An allocation of its own per block, so that the address sanitizer sees its end.
    for (unsigned z = 0; z < g.z; z++)
        for (unsigned y = 0; y < g.y; y++)
            for (unsigned x = 0; x < g.x; x++) {
                place.block = {x, y, z};
                if (posix_memalign(&shared_memory, 16, std::max<size_t>(launch.shared, 1)) != 0)
                    fail("no memory for shared memory");
                memory_block(shared_memory, launch.shared);
                prepare(threads, b);
                run_block(order);
                free(shared_memory);
            }
    memory_launch();
}

}  // namespace cuda_host
