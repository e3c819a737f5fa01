"""A library that has a program's clock, and those of all that it starts, so many seconds off: `CLOCK_SHIFT_SECS`."""

from __future__ import annotations

import shutil
import subprocess

import pytest

SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long shift(void) {
    const char *said = getenv("CLOCK_SHIFT_SECS");
    return said ? atol(said) : 0;
}

int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int wrong = real(id, now);
    if (!wrong && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += shift();
    return wrong;
}

time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into) *into = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict into, void *restrict zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    into->tv_sec = now.tv_sec;
    into->tv_usec = now.tv_nsec / 1000;
    return 0;
}
"""


def shifted(place):
    """By seconds, the variables of a program whose clock is so many off; skips the test without a C compiler."""
    if not shutil.which("cc"):
        pytest.skip("a clock of a program's own needs a C compiler")
    library = place / "clock.so"
    words = ["cc", "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", str(library), "-ldl"]
    subprocess.run(words, input=SOURCE, text=True, check=True)
    return lambda secs: {"LD_PRELOAD": str(library), "CLOCK_SHIFT_SECS": str(secs)}
