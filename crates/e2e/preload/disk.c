/* Loaded into a server before everything else (LD_PRELOAD): counts the syncs that have completed, and makes the
 * log slow to write, or its syncs fail.
 *
 * SYNC_COUNTER names a file whose first eight bytes are the count, in the byte order of the machine.
 * FAIL_SYNCS names a file: while it exists, every sync fails with EIO.
 * SLOW_LOG_MS says how long each write to the write-ahead log of log.db takes at least.
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
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static volatile uint64_t *counter(void) {
    static volatile uint64_t *mapped;
    const char *path = getenv("SYNC_COUNTER");
    if (mapped == NULL && path != NULL) {
        int file = open(path, O_RDWR);
        if (file >= 0) {
            void *memory = mmap(NULL, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
            if (memory != MAP_FAILED) mapped = memory;
            close(file);
        }
    }
    return mapped;
}

static int counted(int outcome) {
    volatile uint64_t *count = counter();
    if (outcome == 0 && count != NULL) __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST);
    return outcome;
}

static int broken(void) {
    const char *path = getenv("FAIL_SYNCS");
    if (path == NULL || access(path, F_OK) != 0) return 0;
    errno = EIO;
    return 1;
}

int fsync(int file) {
    if (broken()) return -1;
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return counted(real(file));
}

int fdatasync(int file) {
    if (broken()) return -1;
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return counted(real(file));
}

static void dawdle(int file) {
    const char *pause = getenv("SLOW_LOG_MS");
    char link[64], path[4096];
    if (pause == NULL) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return;
    path[length] = 0;
    if (strstr(path, "log.db-wal") == NULL) return;
    struct timespec wait = {0, atol(pause) * 1000000L};
    nanosleep(&wait, NULL);
}

ssize_t write(int file, const void *bytes, size_t count) {
    ssize_t (*real)(int, const void *, size_t) = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    dawdle(file);
    return real(file, bytes, count);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t place) {
    ssize_t (*real)(int, const void *, size_t, off_t) =
        (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
    dawdle(file);
    return real(file, bytes, count, place);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t place) {
    ssize_t (*real)(int, const void *, size_t, off64_t) =
        (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    dawdle(file);
    return real(file, bytes, count, place);
}
