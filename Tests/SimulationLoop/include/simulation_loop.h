#ifndef SIMULATION_LOOP_H
#define SIMULATION_LOOP_H

#include <stdint.h>

/// From now on what becomes ready to run on this thread, by Swift's global executor, waits in a queue of this thread until it is told to run.
/// Other threads are not touched.
void simulation_loop_begin(void);

/// Jobs go to Swift's own executor again. The queue must be empty.
void simulation_loop_end(void);

/// How many jobs wait.
uint32_t simulation_loop_count(void);

/// Runs one of the jobs that wait, to its next suspension.
void simulation_loop_run(uint32_t place);

/// SQLite does not count its memory from here on, which takes a lock that all threads share. Nobody else may call SQLite meanwhile.
void simulation_loop_plain_sqlite(void);

#endif
