/* A request that is refused, and how. */
#ifndef ORDERLOG_TESTS_HTTP_REFUSAL_H
#define ORDERLOG_TESTS_HTTP_REFUSAL_H

#include "harness.h"

static inline int refusal_setup(void **state) {
    struct server *s = server_new();
    server_start(s);
    *state = s;
    return 0;
}

static inline int refusal_teardown(void **state) {
    server_free(*state);
    return 0;
}

struct refused {
    const char *method;
    const char *path;
    const char *token;
    const char *key;
    const char *body;
    long status;
    const char *slug;
    const char *pointer;
};

static inline void expect_refused(struct server *s, struct refused r) {
    struct reply reply = ask(s, r.method, r.path, r.token, r.key, r.body);
    if (reply.status != r.status)
        fail_msg("%s %s %s: %ld", r.method, r.path, r.body ? r.body : "", reply.status);
    expect_problem(s, reply, r.status, r.slug, r.pointer);
    expect_nothing_appended(s);
}

#endif
