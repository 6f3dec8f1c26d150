#include "schema.h"

// #embed is of C23; the compiler takes it in every mode and would remark on it.
#pragma clang diagnostic ignored "-Wc23-extensions"

static const char sqlite_0001[] = {
#embed "sqlite/0001_first.sql"
};

static const char sqlite_0002[] = {
#embed "sqlite/0002_modes.sql"
};

static const char sqlite_0003[] = {
#embed "sqlite/0003_history.sql"
};

static const char sqlite_0004[] = {
#embed "sqlite/0004_batches.sql"
};

static const char sqlite_0005[] = {
#embed "sqlite/0005_speed.sql"
};

static const char sqlite_0006[] = {
#embed "sqlite/0006_host_down.sql"
};

static const char postgres_0001[] = {
#embed "postgres/0001_first.sql"
};

static const char postgres_0002[] = {
#embed "postgres/0002_modes.sql"
};

static const char postgres_0003[] = {
#embed "postgres/0003_history.sql"
};

static const char postgres_0004[] = {
#embed "postgres/0004_batches.sql"
};

static const char postgres_0005[] = {
#embed "postgres/0005_speed.sql"
};

static const char postgres_0006[] = {
#embed "postgres/0006_host_down.sql"
};

static const struct schema_step sqlite_steps[] = {
    {1, "first", sqlite_0001, sizeof sqlite_0001},
    {2, "modes", sqlite_0002, sizeof sqlite_0002},
    {3, "history", sqlite_0003, sizeof sqlite_0003},
    {4, "batches", sqlite_0004, sizeof sqlite_0004},
    {5, "speed", sqlite_0005, sizeof sqlite_0005},
    {6, "host_down", sqlite_0006, sizeof sqlite_0006},
};

const struct schema_step *schema_sqlite(size_t *count) {
    *count = sizeof sqlite_steps / sizeof *sqlite_steps;
    return sqlite_steps;
}

static const struct schema_step postgres_steps[] = {
    {1, "first", postgres_0001, sizeof postgres_0001},
    {2, "modes", postgres_0002, sizeof postgres_0002},
    {3, "history", postgres_0003, sizeof postgres_0003},
    {4, "batches", postgres_0004, sizeof postgres_0004},
    {5, "speed", postgres_0005, sizeof postgres_0005},
    {6, "host_down", postgres_0006, sizeof postgres_0006},
};

const struct schema_step *schema_postgres(size_t *count) {
    *count = sizeof postgres_steps / sizeof *postgres_steps;
    return postgres_steps;
}
