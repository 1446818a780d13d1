/* Loaded into a simulation before everything else (LD_PRELOAD): takes chance and the wall clock out of the process, and
 * knows what a disk would still have after a power cut.
 *
 * SIMULATED_SEED  seeds the random bytes that the system gives; each thread draws its own.
 * SIMULATED_CLOCK names a file whose first eight bytes are the wall clock, in nanoseconds since 1970.
 * SIMULATED_DISK  names a directory: the files in it are synced to a directory beside it, `SIMULATED_DISK.synced`, and
 *                 to nowhere else. What was written and not synced is missing there.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define REAL(name, type) ((type)dlsym(RTLD_NEXT, name))

static __thread uint64_t chance;
static __thread int seeded;

static uint64_t draw(void) {
    if (!seeded) {
        const char *seed = getenv("SIMULATED_SEED");
        chance = seed == NULL ? 0 : strtoull(seed, NULL, 10);
        seeded = 1;
    }
    uint64_t mixed = chance += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return mixed ^ mixed >> 31;
}

ssize_t getrandom(void *bytes, size_t length, unsigned flags) {
    (void)flags;
    for (size_t at = 0; at < length; at++) ((uint8_t *)bytes)[at] = (uint8_t)draw();
    return (ssize_t)length;
}

static volatile uint64_t *wall(void) {
    static volatile uint64_t *mapped;
    const char *path = getenv("SIMULATED_CLOCK");
    if (mapped == NULL && path != NULL) {
        int file = open(path, O_RDONLY);
        if (file >= 0) {
            void *memory = mmap(NULL, sizeof(uint64_t), PROT_READ, MAP_SHARED, file, 0);
            if (memory != MAP_FAILED) mapped = memory;
            close(file);
        }
    }
    return mapped;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    volatile uint64_t *now = clock == CLOCK_REALTIME ? wall() : NULL;
    if (now == NULL) return REAL("clock_gettime", int (*)(clockid_t, struct timespec *))(clock, time);
    time->tv_sec = (time_t)(*now / 1000000000u);
    time->tv_nsec = (long)(*now % 1000000000u);
    return 0;
}

/* What was written to a file since its last sync, by its descriptor. */
enum { FILES = 1024 };
enum kind { UNKNOWN, OTHER, OURS };
static struct {
    enum kind kind;
    off_t from, to;
    char name[64];
} files[FILES];

static int ours(int file) {
    if (file < 0 || file >= FILES) return 0;
    if (files[file].kind == UNKNOWN) {
        const char *disk = getenv("SIMULATED_DISK");
        char link[64], path[4096];
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        ssize_t length = readlink(link, path, sizeof path - 1);
        path[length < 0 ? 0 : length] = 0;
        size_t prefix = disk == NULL ? 0 : strlen(disk);
        const char *name = strrchr(path, '/');
        files[file].kind = OTHER;
        if (prefix != 0 && strncmp(path, disk, prefix) == 0 && name == path + prefix &&
            strlen(name) < sizeof files[file].name) {
            files[file].kind = OURS;
            files[file].from = files[file].to = 0;
            strcpy(files[file].name, name);
        }
    }
    return files[file].kind == OURS;
}

static void wrote(int file, off_t place, ssize_t count) {
    if (count <= 0 || !ours(file)) return;
    off_t end = place + count;
    if (files[file].from == files[file].to || place < files[file].from) files[file].from = place;
    if (files[file].to < end) files[file].to = end;
}

ssize_t write(int file, const void *bytes, size_t count) {
    ssize_t written = REAL("write", ssize_t (*)(int, const void *, size_t))(file, bytes, count);
    if (ours(file)) wrote(file, lseek(file, 0, SEEK_CUR) - written, written);
    return written;
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t place) {
    ssize_t written = REAL("pwrite", ssize_t (*)(int, const void *, size_t, off_t))(file, bytes, count, place);
    wrote(file, place, written);
    return written;
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t place) {
    ssize_t written = REAL("pwrite64", ssize_t (*)(int, const void *, size_t, off64_t))(file, bytes, count, place);
    wrote(file, place, written);
    return written;
}

int close(int file) {
    if (file >= 0 && file < FILES) files[file].kind = UNKNOWN;
    return REAL("close", int (*)(int))(file);
}

static int copy(int file) {
    static uint8_t piece[1 << 16];
    char path[4096];
    struct stat state;
    snprintf(path, sizeof path, "%s.synced%s", getenv("SIMULATED_DISK"), files[file].name);
    int synced = open(path, O_WRONLY | O_CREAT, 0600);
    if (synced < 0 || fstat(file, &state) != 0 || ftruncate(synced, state.st_size) != 0) return -1;
    int outcome = 0;
    for (off_t at = files[file].from; at < files[file].to && outcome == 0;) {
        size_t wanted = sizeof piece;
        if ((off_t)wanted > files[file].to - at) wanted = (size_t)(files[file].to - at);
        ssize_t got = pread(file, piece, wanted, at);
        if (got <= 0) break;
        if (pwrite(synced, piece, (size_t)got, at) != got) outcome = -1;
        at += got;
    }
    files[file].from = files[file].to = 0;
    close(synced);
    return outcome;
}

int fsync(int file) {
    return ours(file) ? copy(file) : REAL("fsync", int (*)(int))(file);
}

int fdatasync(int file) {
    return ours(file) ? copy(file) : REAL("fdatasync", int (*)(int))(file);
}
