#include "core/base/thread.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

void thread_name(const char *format, ...) {
    char name[16];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    pthread_setname_np(pthread_self(), name);
}
