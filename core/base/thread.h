/* Names of threads, as tools show them (top -H, perf, orderlog bench). */
#ifndef ORDERLOG_BASE_THREAD_H
#define ORDERLOG_BASE_THREAD_H

/* Names the calling thread: the first 15 bytes count. */
void thread_name(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
