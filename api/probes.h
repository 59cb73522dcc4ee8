/* The HTTP server of a process that has no API of its own: /livez, /readyz and /metrics, as the API's server has them.
 * A thread of its own; for probes and scrapers, not for the world. */
#ifndef ORDERLOG_API_PROBES_H
#define ORDERLOG_API_PROBES_H

#include "core/base/checks.h"
#include "core/base/err.h"

struct probes;

struct probes_config {
    const char *listen; /* "127.0.0.1:9101"; port 0 takes a free one; borrowed for the call */
    /* Adds what there is to say; a failed check is unready. Must not block. */
    void (*report)(void *user, struct checks *checks);
    void *user;
};

CHECK_RESULT bool probes_start(const struct probes_config *config, struct probes **ret, struct err *err);
/* The port that it listens on. */
int probes_port(const struct probes *probes);
/* NULL is fine. */
void probes_stop(struct probes *probes);

#endif
