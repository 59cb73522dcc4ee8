/* What a readiness probe found out, check by check. Whoever knows something adds a line; who asked shows them. Not for
 * several threads at once. */
#ifndef ORDERLOG_BASE_CHECKS_H
#define ORDERLOG_BASE_CHECKS_H

#include "core/base/str.h"

enum check_state {
    CHECK_OK,
    CHECK_WARNING, /* an operator should know; the process can do its work without */
    CHECK_FAILED,  /* the process is not ready */
};

struct check {
    enum check_state state;
    char *name; /* owned, as is why */
    char *why;  /* "" when there is nothing to say */
};

/* All-zero is empty. */
struct checks {
    struct check *items;
    size_t count;
};

/* `why` is borrowed for the call; ptr NULL: nothing to say. The format makes the name. */
void checks_add(struct checks *checks, enum check_state state, struct str why, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Adds all of `from`. */
void checks_copy(struct checks *checks, const struct checks *from);
void checks_free(struct checks *checks);
#define CHECKS_AUTO __attribute__((cleanup(checks_free))) struct checks

#endif
