/*
 * The guest's own witness of its TPM, by raw commands of the TPM 2.0 Library Specification, part 3: a number in its memory that is read,
 * must be the one written last, and is written one higher, again and again; and a register (PCR 16) that was extended once after the boot
 * and must stay as it was then. The one survives a boot, the other only what a boot does not interrupt.
 */
#include "tpm.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum {
    INDEX = 0x01500001, OWNER = 0x40000001, PASSWORD = 0x40000009, SHA256 = 0x000b, REGISTER = 16,
    /* OWNERWRITE, AUTHWRITE, OWNERREAD, AUTHREAD, NO_DA. */
    ATTRIBUTES = 0x02060006,
    NV_DEFINE = 0x12a, NV_WRITE = 0x137, NV_READ = 0x14e, PCR_READ = 0x17e, PCR_EXTEND = 0x182, NV_UNINITIALIZED = 0x14a,
};

struct command {
    uint8_t bytes[256];
    size_t count;
};

static int device = -1;
static uint8_t answer[1024];
static size_t answered;

static void put(struct command *c, uint64_t value, int bytes) {
    while (bytes-- > 0) c->bytes[c->count++] = (uint8_t)(value >> (8 * bytes));
}

static uint64_t get(size_t at, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | answer[at + (size_t)i];
    return value;
}

static struct command begin(uint32_t code, int sessions) {
    struct command c = {.count = 0};
    put(&c, sessions ? 0x8002 : 0x8001, 2);
    put(&c, 0, 4);
    put(&c, code, 4);
    return c;
}

/* An empty password. */
static void authorize(struct command *c) {
    put(c, 9, 4);
    put(c, PASSWORD, 4);
    put(c, 0, 2);
    put(c, 0, 1);
    put(c, 0, 2);
}

/* The TPM's response code; 0 is success, -1 no answer. */
static int64_t run(struct command *c) {
    for (int i = 0; i < 4; i++) c->bytes[2 + i] = (uint8_t)(c->count >> (8 * (3 - i)));
    if (write(device, c->bytes, c->count) != (ssize_t)c->count) return -1;
    ssize_t n = read(device, answer, sizeof answer);
    answered = n > 0 ? (size_t)n : 0;
    return answered < 10 ? -1 : (int64_t)get(6, 4);
}

static int64_t define(void) {
    struct command c = begin(NV_DEFINE, 1);
    put(&c, OWNER, 4);
    authorize(&c);
    put(&c, 0, 2);
    put(&c, 14, 2);
    put(&c, INDEX, 4);
    put(&c, SHA256, 2);
    put(&c, ATTRIBUTES, 4);
    put(&c, 0, 2);
    put(&c, 8, 2);
    return run(&c);
}

static int64_t read_number(uint64_t *number) {
    struct command c = begin(NV_READ, 1);
    put(&c, INDEX, 4);
    put(&c, INDEX, 4);
    authorize(&c);
    put(&c, 8, 2);
    put(&c, 0, 2);
    int64_t code = run(&c);
    if (code == 0) *number = answered >= 24 ? get(16, 8) : UINT64_MAX;
    return code;
}

static int64_t write_number(uint64_t number) {
    struct command c = begin(NV_WRITE, 1);
    put(&c, INDEX, 4);
    put(&c, INDEX, 4);
    authorize(&c);
    put(&c, 8, 2);
    put(&c, number, 8);
    put(&c, 0, 2);
    return run(&c);
}

static int64_t extend(const uint8_t boot[16]) {
    struct command c = begin(PCR_EXTEND, 1);
    put(&c, REGISTER, 4);
    authorize(&c);
    put(&c, 1, 4);
    put(&c, SHA256, 2);
    for (int i = 0; i < 32; i++) put(&c, boot[i % 16], 1);
    return run(&c);
}

static int64_t read_register(uint8_t value[32]) {
    struct command c = begin(PCR_READ, 0);
    put(&c, 1, 4);
    put(&c, SHA256, 2);
    put(&c, 3, 1);
    put(&c, 1 << (REGISTER % 8), 3);
    int64_t code = run(&c);
    if (code == 0 && answered >= 62) memcpy(value, answer + 30, 32);
    else if (code == 0) code = -1;
    return code;
}

static uint64_t number;
static uint8_t first[32];

int64_t tpm_begin(const uint8_t boot[16], uint64_t *found) {
    device = open("/dev/tpm0", O_RDWR | O_CLOEXEC);
    if (device < 0) return -1;
    int64_t code = read_number(&number);
    if (code == NV_UNINITIALIZED) {
        number = 0;
    } else if (code > 0) {
        number = 0;
        code = define();
        if (code) return code;
    } else if (code < 0) {
        return code;
    }
    *found = number;
    code = write_number(++number);
    if (!code) code = extend(boot);
    return code ? code : read_register(first);
}

int64_t tpm_turn(uint64_t *reached, int *wrong) {
    uint64_t read = 0;
    uint8_t value[32];
    int64_t code = read_number(&read);
    if (!code) code = read_register(value);
    if (code) return code;
    *wrong = (read != number) + (memcmp(value, first, sizeof first) != 0);
    code = write_number(++number);
    *reached = number;
    return code;
}
