/* Loaded into a simulation before everything else (LD_PRELOAD): takes chance and the wall clock out of the process, and
 * knows what a disk would still have after a power cut.
 *
 * SIMULATED_SEED  seeds the random bytes that the system gives; each thread draws its own.
 * SIMULATED_CLOCK names a file whose first eight bytes are the wall clock, in nanoseconds since 1970.
 * SIMULATED_DISK  names a directory: the files in it are synced to a directory beside it, `SIMULATED_DISK.synced`, and
 *                 to nowhere else. What was written and not synced is missing there. Removing and renaming are taken to
 *                 be synced at once.
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

/* What was written to each file since its last sync, by whichever descriptor. */
enum { FILES = 64, DESCRIPTORS = 1024, NONE = -1, UNKNOWN = 0 };
static struct {
    char name[64];
    off_t from, to;
} files[FILES];

/* The place in `files` of what is open under a descriptor, one up; UNKNOWN until it is looked up. */
static int opened[DESCRIPTORS];

static int look_up(int descriptor) {
    const char *disk = getenv("SIMULATED_DISK");
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    size_t prefix = disk == NULL ? 0 : strlen(disk);
    const char *name = strrchr(path, '/');
    if (prefix == 0 || strncmp(path, disk, prefix) != 0 || name != path + prefix) return NONE;
    if (strlen(name) >= sizeof files[0].name) return NONE;
    for (int at = 0; at < FILES; at++) {
        if (files[at].name[0] == 0) strcpy(files[at].name, name);
        if (strcmp(files[at].name, name) == 0) return at + 1;
    }
    return NONE;
}

/* The place in `files`, or NONE for a file that is not simulated. */
static int ours(int descriptor) {
    if (descriptor < 0 || descriptor >= DESCRIPTORS) return NONE;
    if (opened[descriptor] == UNKNOWN) opened[descriptor] = look_up(descriptor);
    return opened[descriptor] == NONE ? NONE : opened[descriptor] - 1;
}

static void wrote(int descriptor, off_t place, ssize_t count) {
    int file = ours(descriptor);
    if (count <= 0 || file == NONE) return;
    off_t end = place + count;
    if (files[file].from == files[file].to) {
        files[file].from = place;
        files[file].to = end;
    }
    if (place < files[file].from) files[file].from = place;
    if (files[file].to < end) files[file].to = end;
}

ssize_t write(int file, const void *bytes, size_t count) {
    ssize_t written = REAL("write", ssize_t (*)(int, const void *, size_t))(file, bytes, count);
    if (written > 0 && ours(file) != NONE) wrote(file, lseek(file, 0, SEEK_CUR) - written, written);
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
    if (file >= 0 && file < DESCRIPTORS) opened[file] = UNKNOWN;
    return REAL("close", int (*)(int))(file);
}

/* Where a file of the directory is synced to; none for others. */
static const char *synced(const char *path, char *buffer, size_t size) {
    const char *disk = getenv("SIMULATED_DISK");
    size_t prefix = disk == NULL ? 0 : strlen(disk);
    if (prefix == 0 || strncmp(path, disk, prefix) != 0 || path[prefix] != '/') return NULL;
    snprintf(buffer, size, "%s.synced%s", disk, path + prefix);
    return buffer;
}

int unlink(const char *path) {
    char buffer[4096];
    const char *other = synced(path, buffer, sizeof buffer);
    int (*real)(const char *) = REAL("unlink", int (*)(const char *));
    if (other != NULL) real(other);
    return real(path);
}

int rename(const char *from, const char *to) {
    char old[4096], new[4096];
    int (*real)(const char *, const char *) = REAL("rename", int (*)(const char *, const char *));
    const char *other_from = synced(from, old, sizeof old), *other_to = synced(to, new, sizeof new);
    if (other_from != NULL && other_to != NULL) real(other_from, other_to);
    return real(from, to);
}

static int copy(int descriptor, int file) {
    static uint8_t piece[1 << 16];
    char path[4096];
    struct stat state;
    snprintf(path, sizeof path, "%s.synced%s", getenv("SIMULATED_DISK"), files[file].name);
    int synced = open(path, O_WRONLY | O_CREAT, 0600);
    if (synced < 0) return -1;
    int outcome = fstat(descriptor, &state) == 0 ? ftruncate(synced, state.st_size) : -1;
    for (off_t at = files[file].from; at < files[file].to && outcome == 0;) {
        size_t wanted = sizeof piece;
        if ((off_t)wanted > files[file].to - at) wanted = (size_t)(files[file].to - at);
        ssize_t got = pread(descriptor, piece, wanted, at);
        if (got <= 0) break;
        if (pwrite(synced, piece, (size_t)got, at) != got) outcome = -1;
        at += got;
    }
    files[file].from = files[file].to = 0;
    close(synced);
    return outcome;
}

int fsync(int descriptor) {
    int file = ours(descriptor);
    return file == NONE ? REAL("fsync", int (*)(int))(descriptor) : copy(descriptor, file);
}

int fdatasync(int descriptor) {
    int file = ours(descriptor);
    return file == NONE ? REAL("fdatasync", int (*)(int))(descriptor) : copy(descriptor, file);
}
