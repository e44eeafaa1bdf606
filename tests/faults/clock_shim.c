/* Loaded before libc: shifts the wall clock of a process by the seconds that stand in the file CLOCK_OFFSET_FILE. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static double offset_s(void) {
    static const double *mapped = NULL;
    static int tried = 0;
    if (!tried) {
        tried = 1;
        const char *path = getenv("CLOCK_OFFSET_FILE");
        int file = path ? open(path, O_RDONLY) : -1;
        if (file >= 0) {
            void *found = mmap(NULL, sizeof(double), PROT_READ, MAP_SHARED, file, 0);
            mapped = found == MAP_FAILED ? NULL : found;
            close(file);
        }
    }
    return mapped ? *mapped : 0.0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *) = NULL;
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += (time_t)offset_s();
    return result;
}

int gettimeofday(struct timeval *now, void *zone) {
    static int (*real)(struct timeval *, void *) = NULL;
    if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
    int result = real(now, zone);
    now->tv_sec += (time_t)offset_s();
    return result;
}

time_t time(time_t *result) {
    struct timeval now;
    gettimeofday(&now, NULL);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}
