/* The read models that a process keeps: their threads, and how they stand. */
#ifndef ORDERLOG_CLI_PROCESS_PROJECTORS_H
#define ORDERLOG_CLI_PROCESS_PROJECTORS_H

#include "cli/process.h"

struct projectors;

/* All borrowed. */
struct projectors_config {
    struct log *log;
    const struct shop *shop;
    const char *urls[PROCESS_STORES]; /* NULL: not this one */
    const char *views_url;            /* where movable views are kept instead of Redis; NULL: nowhere */
};

CHECK_RESULT bool projectors_start(const struct projectors_config *config, struct projectors **ret, struct err *err);
/* False: one has ended, which the log has told. */
bool projectors_run(const struct projectors *projectors);
void projectors_check(struct projectors *projectors, struct checks *checks);
/* NULL is fine. */
void projectors_stop(struct projectors *projectors);

#endif
