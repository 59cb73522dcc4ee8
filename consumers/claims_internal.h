/* Inside of consumers/claims*.c: the two places where claims are kept. */
#ifndef ORDERLOG_CONSUMERS_CLAIMS_INTERNAL_H
#define ORDERLOG_CONSUMERS_CLAIMS_INTERNAL_H

#include <pthread.h>

#include "consumers/claims.h"
#include "core/aws/dynamodb.h"
#include "core/store/pg.h"

struct claims_ops {
    bool (*take)(struct claims *claims, struct str id, struct arena *arena, struct claim *ret, struct err *err);
    bool (*settle)(struct claims *claims, struct str id, const char *outcome, struct str reason, struct err *err);
    bool (*give_back)(struct claims *claims, struct str id, int64_t tries, struct err *err);
    bool (*told)(struct claims *claims, struct str id, struct err *err);
};

struct claims {
    const struct claims_ops *ops;
    struct dynamodb *db;
    char *table;
    pthread_mutex_t lock; /* guards pg: sending is the slow part */
    struct pg *pg;        /* NULL until it is needed */
    char *url;
    unsigned taken; /* so many, for the housekeeping */
};

extern const struct claims_ops claims_in_postgres, claims_in_dynamodb;

#endif
