/* A process of orderlog: the roles that it has, each on threads of its own, from the start to SIGTERM. */
#ifndef ORDERLOG_CLI_PROCESS_H
#define ORDERLOG_CLI_PROCESS_H

#include "consumers/loop.h"

enum process_store { PROCESS_REDIS, PROCESS_POSTGRES, PROCESS_STORES };

struct process_roles {
    bool api;
    const struct decider *deciders[LOOP_DECIDERS_MAX]; /* in one loop: fused */
    size_t decider_count;
    bool projects[PROCESS_STORES];
    bool notifies;     /* tells shoppers by e-mail */
    bool makes_topics; /* else they must be there */
};

/* Adds the decider of that service, or the notifier, once; false: there is none of that name. */
bool process_add_decider(struct process_roles *roles, struct str service);
void process_add_deciders(struct process_roles *roles); /* all of them, but not the notifier */

/* Starts what the roles need, by the settings, and runs until SIGTERM or SIGINT; an exit code of the command line's.
 * Where there is no API, probes are answered on ORDERLOG_LISTEN, if that is set. Main thread, once. */
int process_run(const struct process_roles *roles);

#endif
