#ifndef GODWIT_SCHEMA_H
#define GODWIT_SCHEMA_H

#include <stddef.h>

/// One step of the database's schema: the file `NNNN_name.sql`, carried in the program.
struct schema_step {
    int number;
    /// The file's name, without number and suffix.
    const char *name;
    /// SQL in UTF-8, not ended by a zero.
    const char *text;
    /// Bytes of the text.
    size_t length;
};

/// SQLite's steps in the order of their numbers.
///
/// - Parameter count: set to how many there are.
const struct schema_step *schema_sqlite(size_t *count);

/// PostgreSQL's steps in the order of their numbers: the same ones.
///
/// - Parameter count: set to how many there are.
const struct schema_step *schema_postgres(size_t *count);

#endif
