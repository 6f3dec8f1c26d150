#include "simulation_loop.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>

// Swift's runtime calls this hook, where it is set, instead of its own pool of threads: that is what makes it possible to run every task of a
// thread on that thread alone, those without a structure among them. The signatures are the runtime's (ConcurrencyHooks.def, ABI/Task.h).
#define SWIFT_CC __attribute__((swiftcall))
typedef struct Job Job;
typedef SWIFT_CC void (*Enqueue)(Job *);
extern SWIFT_CC void (*swift_task_enqueueGlobal_hook)(Job *, Enqueue);
extern SWIFT_CC void swift_job_run(Job *, void *identity, uintptr_t implementation);

static _Thread_local struct {
    bool is_active;
    Job **jobs;
    uint32_t count;
    uint32_t capacity;
} loop;

static SWIFT_CC void enqueue(Job *job, Enqueue original) {
    if (!loop.is_active) {
        original(job);
        return;
    }
    if (loop.count == loop.capacity) {
        loop.capacity = loop.capacity ? loop.capacity * 2 : 64;
        loop.jobs = realloc(loop.jobs, loop.capacity * sizeof(Job *));
        if (!loop.jobs) abort();
    }
    loop.jobs[loop.count++] = job;
}

void simulation_loop_begin(void) {
    __atomic_store_n(&swift_task_enqueueGlobal_hook, enqueue, __ATOMIC_SEQ_CST);
    loop.is_active = true;
}

void simulation_loop_end(void) {
    loop.is_active = false;
    free(loop.jobs);
    loop.jobs = NULL;
    loop.count = loop.capacity = 0;
}

uint32_t simulation_loop_count(void) { return loop.count; }

void simulation_loop_run(uint32_t place) {
    Job *job = loop.jobs[place];
    // In the order of their coming, but for the one that is taken.
    for (uint32_t next = place + 1; next < loop.count; next++) loop.jobs[next - 1] = loop.jobs[next];
    loop.count--;
    swift_job_run(job, NULL, 0);
}

void simulation_loop_plain_sqlite(void) { sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); }
