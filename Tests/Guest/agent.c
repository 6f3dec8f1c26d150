/*
 * The guest's own witness: it writes records to its disk, dirties and verifies its memory, beats over UDP and counts on its
 * serial console, so that a migration can be proven from what the guest itself saw.
 *
 * It is process 1 of the test guest, started by `init`. Kernel command line (all optional; anything else that begins with
 * `godwit.` is told as an error line):
 *
 *   godwit.tick_ms=100          time between two tick lines on the console
 *   godwit.loop_ms=5            period of the loop that measures gaps and sends heartbeats
 *   godwit.disk=/dev/vda        disk of the records; default: the first of /dev/vda, /dev/sda; `none`: no disk
 *   godwit.records_s=50         records a second; 0: none are written (existing ones are still scanned)
 *   godwit.record_bytes=512     512 or 4096
 *   godwit.region_mb=64         records live from 1 MiB up to 1 MiB + this, or up to the end of a smaller disk; when it is
 *                               full, no more are written
 *   godwit.dirty_mb_s=0         memory dirtied, MiB a second
 *   godwit.dirty_set_mb=16      size of the set of pages that is dirtied round and round
 *   godwit.still_mb=8           size of the set of pages that is filled once with incompressible bytes and never written again
 *                               (both sets shrink to what fits in memory; the start line says what they became)
 *   godwit.verify_mb_s=32       pace of the sweep that verifies every byte of both sets, MiB a second
 *   godwit.beat=10.0.2.2:9999   send a UDP heartbeat there at every turn of the loop; default: none
 *   godwit.echo=0               UDP port on which every datagram is answered; 0: none
 *   godwit.stream=0             TCP port that serves numbered lines, one reader at a time; 0: none
 *   godwit.ip=10.0.2.15/24      address of eth0, `none` leaves it down
 *   godwit.gateway=10.0.2.2     default route, `none` for none
 *   godwit.poweroff_on_acpi=1   ACPI power button: 1 stops writing, syncs and powers off; 0 ignores it
 *   godwit.tpm=0                1: look after /dev/tpm0 (tpm.c)
 *   godwit.cdrom=0              1: load the drivers of an IDE cdrom (`init` reads it; a SCSI one needs no parameter)
 *
 * Lines on ttyS0 (key=value, one space between, ended by \r\n; times in milliseconds; `sum` is the CRC-32 in hex of all that
 * stands before " sum="):
 *
 *   GODWIT start boot=B kernel=R memory_kb=N disk=D disk_bytes=N record_bytes=N region_records=N dirty_mb_s=N dirty_set_mb=N
 *          still_mb=N sum=X                    once a boot
 *   GODWIT device boot=B name=vda bytes=N sum=X          a block device; `name=eth0 mac=M` a nic; also when one comes later
 *   GODWIT ready boot=B record=K uptime_ms=N sum=X       memory is filled, K records were found on the disk, ticks begin
 *   GODWIT tick=N boot=B uptime_ms=(CLOCK_BOOTTIME) mono_ms=(CLOCK_MONOTONIC) wall_ms=(CLOCK_REALTIME) record=K memerr=N
 *          sweeps=N swept_mb=N dirtied_mb=N beat=N gap_ms=N gap_wall_ms=N sum=X
 *          tick counts from 1 without a hole. record: the last one durably on the disk, an acknowledgement. memerr: bad pages
 *          found since boot. sweeps, swept_mb: full verifications of both sets, and MiB verified, since boot (once swept_mb
 *          has grown by dirty_set_mb + still_mb after some instant, every page was verified after it). dirtied_mb: MiB
 *          written in the dirty set since boot. beat: the last heartbeat sent. gap_ms, gap_wall_ms: longest time between two
 *          turns of the loop since the tick before, by the guest's monotonic and wall clock, rounded up (both stand still
 *          while the guest is paused: only an observer outside sees a blackout).
 *   GODWIT tpm boot=B found=K number=N tpmerr=N sum=X    with a TPM: the number that an earlier boot left in it, the number that is
 *          in it now, and how often what was read was not what was left
 *   GODWIT stop boot=B reason=acpi record=K memerr=N sum=X          the last line of a clean power-off
 *   GODWIT error boot=B text=... sum=X                              something is wrong, the text says what
 *
 * Heartbeat, one UDP datagram: "GODWIT beat=N boot=B mono_ms=N record=K memerr=N", beat counts from 1.
 *
 * Answer to a datagram D (at most 64 bytes of it), one UDP datagram: "D GODWIT echo boot=B mono_ms=N record=K memerr=N".
 *
 * Stream: every 10 ms a line "GODWIT line=N boot=B record=K\n"; N counts from 1 in each connection. One connection lives through
 * a migration, and a line that is lost or comes twice shows in its numbers.
 *
 * Record, little-endian, at 1 MiB + (seq - 1) * bytes:
 *   0 magic "GODWREC1" · 8 seq u64 · 16 boot id, 16 bytes · 32 wall clock ms u64 · 40 length u32 · 44 CRC-32 u32 ·
 *   48 FNV-1a-64 u64 · 56 payload: words splitmix64(seq * 1024 + i), i from 0. Both checksums run over the whole record with
 *   their own fields as zero. Written in order with O_DIRECT|O_DSYNC. A boot goes on after the last record it finds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <linux/input.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "tpm.h"

enum { PAGE = 4096, WORDS = PAGE / 8, STAMPS = 8, SCAN_BYTES = 1 << 20, MIB = 1 << 20 };
#define REGION_START ((uint64_t)MIB)

struct settings {
    long tick_ms, loop_ms, records_s, record_bytes, region_mb, dirty_mb_s, dirty_set_mb, still_mb, verify_mb_s, poweroff_on_acpi, cdrom, echo, stream, tpm;
    char disk[64], beat[64], ip[32], gateway[32];
};

static struct settings set = {
    .tick_ms = 100, .loop_ms = 5, .records_s = 50, .record_bytes = 512, .region_mb = 64, .dirty_mb_s = 0, .dirty_set_mb = 16,
    .still_mb = 8, .verify_mb_s = 32, .poweroff_on_acpi = 1, .ip = "10.0.2.15/24", .gateway = "10.0.2.2",
};

static char boot[40] = "unknown";
static uint8_t boot_bytes[16];
static int console_fd = -1;
static pthread_mutex_t console_lock = PTHREAD_MUTEX_INITIALIZER;

static _Atomic uint64_t last_record, memory_errors, sweeps, pages_swept, pages_dirtied, beats, gap_mono_ns, gap_wall_ns;
static atomic_bool stopping;

/* ---- clocks, numbers, checksums ---- */

static uint64_t now_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now_ms(clockid_t clock) { return now_ns(clock) / 1000000; }

static void sleep_until(uint64_t mono_ns) {
    struct timespec t = {.tv_sec = (time_t)(mono_ns / 1000000000u), .tv_nsec = (long)(mono_ns % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {}
}

/* The next instant of a beat of `period` after `due`; a late one is not made up for in a burst. */
static uint64_t following(uint64_t due, uint64_t period) {
    uint64_t now = now_ns(CLOCK_MONOTONIC);
    return due + period > now ? due + period : now + period;
}

static uint64_t splitmix64(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint32_t crc_table[256];

static void crc_prepare(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
        crc_table[i] = c;
    }
}

static uint32_t crc32_of(const void *data, size_t length) {
    const uint8_t *p = data;
    uint32_t c = 0xffffffffu;
    while (length--) c = crc_table[(c ^ *p++) & 0xff] ^ (c >> 8);
    return ~c;
}

static uint64_t fnv64_of(const void *data, size_t length) {
    const uint8_t *p = data;
    uint64_t h = 0xcbf29ce484222325u;
    while (length--) h = (h ^ *p++) * 0x100000001b3u;
    return h;
}

/* ---- console ---- */

static void say(const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(line, sizeof line - 20, format, arguments);
    va_end(arguments);
    if (n < 0) return;
    if (n > (int)sizeof line - 21) n = sizeof line - 21;
    n += snprintf(line + n, sizeof line - (size_t)n, " sum=%08x\r\n", crc32_of(line, (size_t)n));
    pthread_mutex_lock(&console_lock);
    for (int done = 0; done < n;) {
        ssize_t w = write(console_fd, line + done, (size_t)(n - done));
        if (w < 0 && errno != EINTR) break;
        if (w > 0) done += (int)w;
    }
    pthread_mutex_unlock(&console_lock);
}

#define complain(format, ...) say("GODWIT error boot=%s text=" format, boot, ##__VA_ARGS__)

static void console_open(void) {
    console_fd = open("/dev/ttyS0", O_WRONLY | O_NOCTTY | O_CLOEXEC);
    if (console_fd < 0) console_fd = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
    struct termios t;
    if (console_fd >= 0 && tcgetattr(console_fd, &t) == 0) {
        cfmakeraw(&t);
        t.c_cflag |= CLOCAL;
        cfsetspeed(&t, B115200);
        tcsetattr(console_fd, TCSANOW, &t);
    }
    /* What the firmware wrote last may not have ended its line. */
    (void)!write(console_fd, "\r\n", 2);
}

/* ---- settings ---- */

static bool read_text(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    if (n < 0) return false;
    text[n] = 0;
    text[strcspn(text, "\n")] = 0;
    return true;
}

static void setting(const char *name, const char *value) {
    const struct { const char *name; long *number; long least, most; } numbers[] = {
        {"tick_ms", &set.tick_ms, 10, 60000}, {"loop_ms", &set.loop_ms, 1, 1000}, {"records_s", &set.records_s, 0, 10000},
        {"record_bytes", &set.record_bytes, 512, 4096}, {"region_mb", &set.region_mb, 1, 1 << 20},
        {"dirty_mb_s", &set.dirty_mb_s, 0, 100000}, {"dirty_set_mb", &set.dirty_set_mb, 1, 1 << 20},
        {"still_mb", &set.still_mb, 0, 1 << 20}, {"verify_mb_s", &set.verify_mb_s, 1, 100000},
        {"poweroff_on_acpi", &set.poweroff_on_acpi, 0, 1}, {"cdrom", &set.cdrom, 0, 1},
        {"echo", &set.echo, 0, 65535}, {"stream", &set.stream, 0, 65535},
        {"tpm", &set.tpm, 0, 1},
    };
    const struct { const char *name; char *text; size_t size; } texts[] = {
        {"disk", set.disk, sizeof set.disk}, {"beat", set.beat, sizeof set.beat}, {"ip", set.ip, sizeof set.ip},
        {"gateway", set.gateway, sizeof set.gateway},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strcmp(name, numbers[i].name)) continue;
        char *end;
        long v = strtol(value, &end, 10);
        bool odd = numbers[i].number == &set.record_bytes && v != 512 && v != 4096;
        if (*value == 0 || *end || v < numbers[i].least || v > numbers[i].most || odd) complain("bad value godwit.%s=%s", name, value);
        else *numbers[i].number = v;
        return;
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (strcmp(name, texts[i].name)) continue;
        if (snprintf(texts[i].text, texts[i].size, "%s", value) >= (int)texts[i].size) complain("too long: godwit.%s", name);
        return;
    }
    complain("unknown parameter godwit.%s", name);
}

static void settings_read(void) {
    static char line[4096];
    if (!read_text("/proc/cmdline", line, sizeof line)) return;
    char *rest = line;
    for (char *word; (word = strsep(&rest, " ")) != NULL;) {
        if (strncmp(word, "godwit.", 7)) continue;
        char *value = strchr(word, '=');
        if (value) *value++ = 0;
        setting(word + 7, value ? value : "");
    }
}

static void boot_id_read(void) {
    read_text("/proc/sys/kernel/random/boot_id", boot, sizeof boot);
    int at = 0;
    for (const char *p = boot; *p && at < 32; p++) {
        if (*p == '-') continue;
        uint8_t digit = (uint8_t)(*p <= '9' ? *p - '0' : *p - 'a' + 10);
        boot_bytes[at / 2] = (uint8_t)(boot_bytes[at / 2] << 4 | digit);
        at++;
    }
}

static long memory_available_mb(void) {
    char text[4096];
    int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *p = strstr(text, "MemAvailable:");
    return p ? strtol(p + 13, NULL, 10) / 1024 : 0;
}

/* ---- devices told on the console ---- */

static void devices_tell(void) {
    static char known[32][32];
    static int count;
    const char *folders[] = {"/sys/block", "/sys/class/net"};
    for (int f = 0; f < 2; f++) {
        DIR *folder = opendir(folders[f]);
        if (!folder) continue;
        for (struct dirent *e; (e = readdir(folder)) != NULL;) {
            if (e->d_name[0] == '.' || !strcmp(e->d_name, "lo") || strlen(e->d_name) >= sizeof known[0]) continue;
            int i = 0;
            while (i < count && strcmp(known[i], e->d_name)) i++;
            if (i < count || count == 32) continue;
            strcpy(known[count++], e->d_name);
            char path[320], value[64] = "";
            snprintf(path, sizeof path, "%s/%s/%s", folders[f], e->d_name, f ? "address" : "size");
            read_text(path, value, sizeof value);
            if (f) say("GODWIT device boot=%s name=%s mac=%s", boot, e->d_name, value);
            else say("GODWIT device boot=%s name=%s bytes=%llu", boot, e->d_name, strtoull(value, NULL, 10) * 512);
        }
        closedir(folder);
    }
}

/* ---- network ---- */

static bool network_up(void) {
    if (!strcmp(set.ip, "none") || access("/sys/class/net/eth0", F_OK)) return false;
    char address[32];
    snprintf(address, sizeof address, "%s", set.ip);
    char *slash = strchr(address, '/');
    long bits = 24;
    if (slash) *slash++ = 0, bits = strtol(slash, NULL, 10);
    struct ifreq request = {.ifr_name = "eth0"};
    struct sockaddr_in *in = (struct sockaddr_in *)&request.ifr_addr;
    in->sin_family = AF_INET;
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok = s >= 0 && bits >= 1 && bits <= 32 && inet_pton(AF_INET, address, &in->sin_addr) == 1 && ioctl(s, SIOCSIFADDR, &request) == 0;
    in->sin_addr.s_addr = htonl(bits < 1 ? 0 : 0xffffffffu << (32 - bits));
    ok = ok && ioctl(s, SIOCSIFNETMASK, &request) == 0;
    ok = ok && ioctl(s, SIOCGIFFLAGS, &request) == 0;
    request.ifr_flags |= IFF_UP | IFF_RUNNING;
    ok = ok && ioctl(s, SIOCSIFFLAGS, &request) == 0;
    if (ok && strcmp(set.gateway, "none")) {
        struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
        struct sockaddr_in *gateway = (struct sockaddr_in *)&route.rt_gateway;
        gateway->sin_family = route.rt_dst.sa_family = route.rt_genmask.sa_family = AF_INET;
        ok = inet_pton(AF_INET, set.gateway, &gateway->sin_addr) == 1 && ioctl(s, SIOCADDRT, &route) == 0;
    }
    if (!ok) complain("cannot set up eth0 with %s via %s: %s", set.ip, set.gateway, strerror(errno));
    if (s >= 0) close(s);
    return ok;
}

static int beat_socket(void) {
    if (!set.beat[0] || !strcmp(set.beat, "none")) return -1;
    char host[64];
    snprintf(host, sizeof host, "%s", set.beat);
    char *colon = strrchr(host, ':');
    struct sockaddr_in to = {.sin_family = AF_INET};
    if (colon) *colon++ = 0, to.sin_port = htons((uint16_t)strtol(colon, NULL, 10));
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (!to.sin_port || inet_pton(AF_INET, host, &to.sin_addr) != 1 || s < 0 || connect(s, (struct sockaddr *)&to, sizeof to) < 0) {
        complain("cannot beat to %s: %s", set.beat, strerror(errno));
        if (s >= 0) close(s);
        return -1;
    }
    return s;
}

/* ---- the loop: gaps and heartbeats ---- */

static void raise_to(_Atomic uint64_t *most, uint64_t value) {
    uint64_t seen = atomic_load(most);
    while (value > seen && !atomic_compare_exchange_weak(most, &seen, value)) {}
}

static void *loop(void *argument) {
    int s = *(int *)argument;
    uint64_t period = (uint64_t)set.loop_ms * 1000000u, due = now_ns(CLOCK_MONOTONIC);
    uint64_t mono = due, wall = now_ns(CLOCK_REALTIME);
    for (;;) {
        due = following(due, period);
        sleep_until(due);
        uint64_t m = now_ns(CLOCK_MONOTONIC), w = now_ns(CLOCK_REALTIME);
        raise_to(&gap_mono_ns, m - mono);
        if (w > wall) raise_to(&gap_wall_ns, w - wall);
        mono = m, wall = w;
        if (s < 0) continue;
        char text[192];
        uint64_t n = atomic_load(&beats) + 1;
        int length = snprintf(text, sizeof text, "GODWIT beat=%" PRIu64 " boot=%s mono_ms=%" PRIu64 " record=%" PRIu64 " memerr=%" PRIu64,
                              n, boot, m / 1000000, atomic_load(&last_record), atomic_load(&memory_errors));
        /* A datagram lost on the way (no link, full queue) shows as a hole in the numbers at the receiver. */
        (void)!send(s, text, (size_t)length, MSG_NOSIGNAL);
        atomic_store(&beats, n);
    }
    return NULL;
}

/* ---- answers to a client outside ---- */

/* A socket bound to a port of every address; -1 and an error line when it cannot be had. */
static int service_socket(int kind, long port) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int s = socket(AF_INET, kind | SOCK_CLOEXEC, 0), yes = 1;
    if (s >= 0) setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (s >= 0 && bind(s, (struct sockaddr *)&here, sizeof here) == 0 && (kind != SOCK_STREAM || listen(s, 4) == 0)) return s;
    complain("cannot serve on port %ld: %s", port, strerror(errno));
    if (s >= 0) close(s);
    return -1;
}

static void *echo_server(void *argument) {
    (void)argument;
    int s = service_socket(SOCK_DGRAM, set.echo);
    while (s >= 0) {
        char text[256];
        struct sockaddr_in from;
        socklen_t size = sizeof from;
        ssize_t n = recvfrom(s, text, 64, 0, (struct sockaddr *)&from, &size);
        if (n < 0) continue;
        n += snprintf(text + n, sizeof text - (size_t)n, " GODWIT echo boot=%s mono_ms=%" PRIu64 " record=%" PRIu64 " memerr=%" PRIu64, boot,
                      now_ms(CLOCK_MONOTONIC), atomic_load(&last_record), atomic_load(&memory_errors));
        (void)!sendto(s, text, (size_t)n, MSG_NOSIGNAL, (struct sockaddr *)&from, size);
    }
    return NULL;
}

static void *stream_server(void *argument) {
    (void)argument;
    int s = service_socket(SOCK_STREAM, set.stream), yes = 1;
    while (s >= 0) {
        int reader = accept4(s, NULL, NULL, SOCK_CLOEXEC);
        if (reader < 0) continue;
        setsockopt(reader, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        uint64_t due = now_ns(CLOCK_MONOTONIC);
        for (uint64_t number = 1, sent = 1; sent; number++) {
            char line[128];
            int n = snprintf(line, sizeof line, "GODWIT line=%" PRIu64 " boot=%s record=%" PRIu64 "\n", number, boot, atomic_load(&last_record));
            for (int done = 0; done < n && sent;) {
                ssize_t w = send(reader, line + done, (size_t)(n - done), MSG_NOSIGNAL);
                if (w > 0) done += (int)w;
                else if (errno != EINTR) sent = 0;
            }
            due = following(due, 10000000u);
            sleep_until(due);
        }
        close(reader);
    }
    return NULL;
}

/* ---- records on the disk ---- */

struct record {
    char magic[8];
    uint64_t seq;
    uint8_t boot[16];
    uint64_t wall_ms;
    uint32_t length, crc;
    uint64_t fnv;
    uint64_t payload[];
};

static int disk_fd = -1;
static uint64_t disk_bytes, region_records;

static void record_make(struct record *r, uint64_t seq) {
    size_t words = ((size_t)set.record_bytes - sizeof *r) / 8;
    memcpy(r->magic, "GODWREC1", 8);
    memcpy(r->boot, boot_bytes, sizeof r->boot);
    r->seq = seq, r->wall_ms = now_ms(CLOCK_REALTIME), r->length = (uint32_t)set.record_bytes, r->crc = 0, r->fnv = 0;
    for (size_t i = 0; i < words; i++) r->payload[i] = splitmix64(seq * 1024 + i);
    uint64_t fnv = fnv64_of(r, r->length);
    r->crc = crc32_of(r, r->length);
    r->fnv = fnv;
}

/* Whether the slot holds record `seq`, whole. The checks need the fields as they were summed up: they are put back. */
static bool record_good(struct record *r, uint64_t seq) {
    if (memcmp(r->magic, "GODWREC1", 8) || r->seq != seq || r->length != (uint32_t)set.record_bytes) return false;
    uint32_t crc = r->crc;
    uint64_t fnv = r->fnv;
    r->crc = 0, r->fnv = 0;
    bool good = crc32_of(r, r->length) == crc && fnv64_of(r, r->length) == fnv;
    r->crc = crc, r->fnv = fnv;
    return good;
}

static bool disk_open(void) {
    if (!strcmp(set.disk, "none")) return false;
    /* SCSI disks come up some time after their driver. */
    for (uint64_t end = now_ns(CLOCK_MONOTONIC) + (set.disk[0] ? 5000000000u : 1000000000u);;) {
        if (!set.disk[0] && !access("/dev/vda", F_OK)) strcpy(set.disk, "/dev/vda");
        if (!set.disk[0] && !access("/dev/sda", F_OK)) strcpy(set.disk, "/dev/sda");
        if (set.disk[0] && !access(set.disk, F_OK)) break;
        uint64_t now = now_ns(CLOCK_MONOTONIC);
        if (now > end) {
            if (set.disk[0]) complain("no disk %s", set.disk);
            strcpy(set.disk, "none");
            return false;
        }
        sleep_until(now + 10000000u);
    }
    disk_fd = open(set.disk, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
    if (disk_fd < 0 || ioctl(disk_fd, BLKGETSIZE64, &disk_bytes) < 0) {
        complain("cannot open %s: %s", set.disk, strerror(errno));
        return false;
    }
    uint64_t region = (uint64_t)set.region_mb * MIB;
    if (disk_bytes < REGION_START + PAGE) return complain("%s is too small for records", set.disk), false;
    if (region > disk_bytes - REGION_START) region = disk_bytes - REGION_START;
    region_records = region / (uint64_t)set.record_bytes;
    return true;
}

/* Finds the last record. False when good records stand behind a bad one: then writing on would hide the damage. */
static bool disk_scan(void) {
    uint8_t *buffer = aligned_alloc(PAGE, SCAN_BYTES);
    uint64_t size = (uint64_t)set.record_bytes, found = 0, at = 0;
    bool ended = false, whole = true;
    /* Up to one buffer beyond the end of the records is looked at. */
    for (uint64_t beyond = 0; buffer && whole && at < region_records && beyond < SCAN_BYTES / size;) {
        uint64_t left = (region_records - at) * size;
        ssize_t n = pread(disk_fd, buffer, left < SCAN_BYTES ? left : SCAN_BYTES, (off_t)(REGION_START + at * size));
        if (n < (ssize_t)size) {
            complain("cannot read %s at record %" PRIu64 ": %s", set.disk, at + 1, n < 0 ? strerror(errno) : "short read");
            whole = false;
            break;
        }
        for (uint64_t i = 0; i < (uint64_t)n / size; i++, at++) {
            bool good = record_good((struct record *)(buffer + i * size), at + 1);
            if (!ended && good) found = at + 1;
            else if (!ended) ended = true;
            else if (good) {
                complain("record %" PRIu64 " follows a bad one at %" PRIu64, at + 1, found + 1);
                whole = false;
                break;
            }
            if (ended) beyond++;
        }
    }
    free(buffer);
    atomic_store(&last_record, found);
    return whole;
}

static void *writer(void *argument) {
    (void)argument;
    struct record *r = aligned_alloc(PAGE, PAGE);
    uint64_t period = 1000000000u / (uint64_t)set.records_s, due = now_ns(CLOCK_MONOTONIC);
    for (uint64_t seq = atomic_load(&last_record) + 1; r && seq <= region_records && !atomic_load(&stopping); seq++) {
        due = following(due, period);
        sleep_until(due);
        record_make(r, seq);
        ssize_t n = pwrite(disk_fd, r, (size_t)set.record_bytes, (off_t)(REGION_START + (seq - 1) * (uint64_t)set.record_bytes));
        if (n != set.record_bytes) {
            complain("cannot write record %" PRIu64 ": %s", seq, n < 0 ? strerror(errno) : "short write");
            break;
        }
        atomic_store(&last_record, seq);
    }
    free(r);
    return NULL;
}

/* ---- memory ----
 * Every page carries splitmix64(page * 512 + word), but a page of the dirty set has in its STAMPS stamp words, one at the start
 * of each eighth, a mix of page, generation and place. Sums of what is never written again are kept apart. */

static uint64_t *dirty_set, *still_set, *sums;
static uint32_t *generations;
static uint64_t dirty_pages, still_pages;
static pthread_mutex_t page_lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t stamp(uint64_t page, uint32_t generation, int place) {
    return (page << 40 ^ (uint64_t)generation << 8 ^ (uint64_t)place) * 0x9e3779b97f4a7c15u | 1;
}

/* Over the whole page (from 0) or over all but its stamp words (from 1). */
static uint64_t sum_of(const uint64_t *page, int from) {
    uint64_t a = 0x243f6a8885a308d3u;
    for (int k = 0; k < STAMPS; k++)
        for (int i = from; i < WORDS / STAMPS; i++) a = (a << 5 | a >> 59) + page[k * (WORDS / STAMPS) + i];
    return a;
}

static void fill(uint64_t *page, uint64_t number) {
    for (uint64_t i = 0; i < WORDS; i++) page[i] = splitmix64(number * WORDS + i);
}

static void page_bad(const char *kind, uint64_t page) {
    uint64_t n = atomic_fetch_add(&memory_errors, 1) + 1;
    if (n <= 10) complain("memory: %s page %" PRIu64 " is not what was written", kind, page);
}

static void stamp_all(uint64_t page) {
    for (int k = 0; k < STAMPS; k++) dirty_set[page * WORDS + (uint64_t)k * (WORDS / STAMPS)] = stamp(page, generations[page], k);
}

static bool stamps_good(uint64_t page) {
    for (int k = 0; k < STAMPS; k++)
        if (dirty_set[page * WORDS + (uint64_t)k * (WORDS / STAMPS)] != stamp(page, generations[page], k)) return false;
    return true;
}

static void *pages_of(uint64_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void memory_plan(void) {
    /* The kernel and the agent keep 4 MiB, and an eighth of the rest for tables and buffers. */
    long room = memory_available_mb() - 4;
    room -= room / 8;
    if (room < 2) room = 2;
    if (set.dirty_set_mb > room) set.dirty_set_mb = room;
    if (set.still_mb > room - set.dirty_set_mb) set.still_mb = room - set.dirty_set_mb;
}

static bool memory_fill(void) {
    dirty_pages = (uint64_t)set.dirty_set_mb * MIB / PAGE;
    still_pages = (uint64_t)set.still_mb * MIB / PAGE;
    dirty_set = pages_of(dirty_pages * PAGE);
    generations = calloc(dirty_pages, sizeof *generations);
    sums = calloc(dirty_pages + still_pages, sizeof *sums);
    still_set = still_pages ? pages_of(still_pages * PAGE) : NULL;
    if (!dirty_set || !generations || !sums || (still_pages && !still_set)) return complain("no memory for the page sets"), false;
    for (uint64_t p = 0; p < dirty_pages; p++) {
        fill(dirty_set + p * WORDS, p);
        sums[p] = sum_of(dirty_set + p * WORDS, 1);
        stamp_all(p);
    }
    for (uint64_t p = 0; p < still_pages; p++) {
        fill(still_set + p * WORDS, dirty_pages + p);
        sums[dirty_pages + p] = sum_of(still_set + p * WORDS, 0);
    }
    return true;
}

static void *dirtier(void *argument) {
    (void)argument;
    uint64_t per_second = (uint64_t)set.dirty_mb_s * MIB / PAGE, page = 0, due = now_ns(CLOCK_MONOTONIC), credit = 0;
    for (;;) {
        due = following(due, 5000000u);
        sleep_until(due);
        credit += per_second;
        uint64_t n = credit / 200;
        credit %= 200;
        pthread_mutex_lock(&page_lock);
        for (uint64_t i = 0; i < n; i++) {
            if (!stamps_good(page)) page_bad("dirty", page);
            generations[page]++;
            stamp_all(page);
            page = page + 1 == dirty_pages ? 0 : page + 1;
        }
        pthread_mutex_unlock(&page_lock);
        atomic_fetch_add(&pages_dirtied, n);
    }
    return NULL;
}

static void sweep_dirty(uint64_t page) {
    uint64_t *words = dirty_set + page * WORDS;
    if (stamps_good(page) && sum_of(words, 1) == sums[page]) return;
    page_bad("dirty", page);
    fill(words, page);
    stamp_all(page);
}

static void sweep_still(uint64_t page) {
    uint64_t *words = still_set + page * WORDS;
    if (sum_of(words, 0) == sums[dirty_pages + page]) return;
    page_bad("still", page);
    fill(words, dirty_pages + page);
}

static void *sweeper(void *argument) {
    (void)argument;
    /* Threads of Linux have a nice value each. */
    setpriority(PRIO_PROCESS, 0, 10);
    uint64_t per_turn = (uint64_t)set.verify_mb_s * MIB / PAGE / 50 + 1, page = 0, due = now_ns(CLOCK_MONOTONIC);
    for (;;) {
        due = following(due, 20000000u);
        sleep_until(due);
        for (uint64_t i = 0; i < per_turn; i++) {
            if (page < dirty_pages) {
                pthread_mutex_lock(&page_lock);
                sweep_dirty(page);
                pthread_mutex_unlock(&page_lock);
            } else {
                sweep_still(page - dirty_pages);
            }
            atomic_fetch_add(&pages_swept, 1);
            if (++page < dirty_pages + still_pages) continue;
            page = 0;
            atomic_fetch_add(&sweeps, 1);
        }
    }
    return NULL;
}

/* ---- TPM ---- */

static void *tpm_keeper(void *argument) {
    (void)argument;
    uint64_t found = 0, reached = 0, errors = 0, due = now_ns(CLOCK_MONOTONIC);
    int64_t code = tpm_begin(boot_bytes, &found);
    while (code == 0) {
        int wrong = 0;
        code = tpm_turn(&reached, &wrong);
        errors += (uint64_t)wrong;
        if (code == 0) say("GODWIT tpm boot=%s found=%" PRIu64 " number=%" PRIu64 " tpmerr=%" PRIu64, boot, found, reached, errors);
        due = following(due, 200000000u);
        sleep_until(due);
    }
    complain("the TPM answers with code %" PRId64 " at number %" PRIu64, code, reached);
    return NULL;
}

/* ---- power button ---- */

static int buttons_open(struct pollfd *fds, int most) {
    int n = 0;
    for (int i = 0; i < 16 && n < most; i++) {
        char path[32];
        snprintf(path, sizeof path, "/dev/input/event%d", i);
        int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0) fds[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    return n;
}

static bool power_pressed(struct pollfd *fds, int n) {
    bool pressed = false;
    for (int i = 0; i < n; i++) {
        struct input_event e;
        while ((fds[i].revents & POLLIN) && read(fds[i].fd, &e, sizeof e) == sizeof e)
            if (e.type == EV_KEY && e.code == KEY_POWER && e.value == 1) pressed = true;
    }
    return pressed;
}

/* ---- main ---- */

static pthread_t start(void *(*body)(void *), void *argument, int realtime) {
    pthread_t thread = pthread_self();
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 128 * 1024);
    if (realtime) {
        struct sched_param priority = {.sched_priority = realtime};
        pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
        pthread_attr_setschedpolicy(&attributes, SCHED_FIFO);
        pthread_attr_setschedparam(&attributes, &priority);
    }
    int wrong = pthread_create(&thread, &attributes, body, argument);
    if (wrong) complain("cannot start a thread: %s", strerror(wrong));
    pthread_attr_destroy(&attributes);
    return thread;
}

static void power_off(pthread_t writing, bool written) {
    atomic_store(&stopping, true);
    if (written) pthread_join(writing, NULL);
    sync();
    say("GODWIT stop boot=%s reason=acpi record=%" PRIu64 " memerr=%" PRIu64, boot, atomic_load(&last_record), atomic_load(&memory_errors));
    tcdrain(console_fd);
    reboot(RB_POWER_OFF);
}

static void tell_tick(uint64_t n) {
    uint64_t mono = atomic_exchange(&gap_mono_ns, 0), wall = atomic_exchange(&gap_wall_ns, 0);
    say("GODWIT tick=%" PRIu64 " boot=%s uptime_ms=%" PRIu64 " mono_ms=%" PRIu64 " wall_ms=%" PRIu64 " record=%" PRIu64 " memerr=%" PRIu64
        " sweeps=%" PRIu64 " swept_mb=%" PRIu64 " dirtied_mb=%" PRIu64 " beat=%" PRIu64 " gap_ms=%" PRIu64 " gap_wall_ms=%" PRIu64,
        n, boot, now_ms(CLOCK_BOOTTIME), now_ms(CLOCK_MONOTONIC), now_ms(CLOCK_REALTIME), atomic_load(&last_record),
        atomic_load(&memory_errors), atomic_load(&sweeps), atomic_load(&pages_swept) * PAGE / MIB, atomic_load(&pages_dirtied) * PAGE / MIB, atomic_load(&beats),
        (mono + 999999) / 1000000, (wall + 999999) / 1000000);
}

int main(void) {
    crc_prepare();
    console_open();
    boot_id_read();
    settings_read();
    memory_plan();
    bool disk = disk_open();
    struct utsname kernel;
    uname(&kernel);
    say("GODWIT start boot=%s kernel=%s memory_kb=%ld disk=%s disk_bytes=%" PRIu64 " record_bytes=%ld region_records=%" PRIu64
        " dirty_mb_s=%ld dirty_set_mb=%ld still_mb=%ld",
        boot, kernel.release, sysconf(_SC_PHYS_PAGES) * (PAGE / 1024), set.disk[0] ? set.disk : "none", disk_bytes, set.record_bytes,
        region_records, set.dirty_mb_s, set.dirty_set_mb, set.still_mb);
    devices_tell();
    bool writing = disk && disk_scan() && set.records_s > 0;
    bool filled = memory_fill();
    network_up();
    int beat = beat_socket();
    say("GODWIT ready boot=%s record=%" PRIu64 " uptime_ms=%" PRIu64, boot, atomic_load(&last_record), now_ms(CLOCK_BOOTTIME));

    start(loop, &beat, 50);
    if (set.echo) start(echo_server, NULL, 50);
    if (set.stream) start(stream_server, NULL, 0);
    pthread_t writer_thread = writing ? start(writer, NULL, 0) : pthread_self();
    if (filled) start(sweeper, NULL, 0);
    if (filled && set.dirty_mb_s > 0) start(dirtier, NULL, 0);

    if (set.tpm) start(tpm_keeper, NULL, 0);

    struct pollfd fds[8];
    int buttons = buttons_open(fds, 8);
    uint64_t period = (uint64_t)set.tick_ms * 1000000u, due = now_ns(CLOCK_MONOTONIC) + period;
    for (uint64_t tick = 1;;) {
        uint64_t now = now_ns(CLOCK_MONOTONIC);
        if (now >= due) {
            tell_tick(tick++);
            /* Drivers of a cdrom or a SCSI disk may still be at work. */
            if (tick < 100) devices_tell();
            due = following(due, period);
            continue;
        }
        struct timespec wait = {.tv_sec = (time_t)((due - now) / 1000000000u), .tv_nsec = (long)((due - now) % 1000000000u)};
        if (ppoll(fds, (nfds_t)buttons, &wait, NULL) > 0 && power_pressed(fds, buttons) && set.poweroff_on_acpi) power_off(writer_thread, writing);
    }
}
