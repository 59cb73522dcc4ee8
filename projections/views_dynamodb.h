/* Rows of views that are kept in DynamoDB, for views.c. Belongs to the thread of its struct views. Gives up within
 * about a second; then it asks nobody for as long. */
#ifndef ORDERLOG_PROJECTIONS_VIEWS_DYNAMODB_H
#define ORDERLOG_PROJECTIONS_VIEWS_DYNAMODB_H

#include "core/base/arena.h"
#include "core/base/err.h"
#include "core/log/lag.h"
#include "projections/view.h"

/* ORDERLOG_VIEWS_URL: where movable views are kept. *ret NULL: it is not set, and they are in Redis. ERR_CONFIG. */
CHECK_RESULT bool views_url_load(const char **ret, struct err *err);

/* The groups of their projectors in the store where, by this setting, they are not: what they were moved from, maybe.
 */
void views_groups_left(const char *views_url, struct lag_left *ret);

struct views_dynamodb;

CHECK_RESULT bool views_dynamodb_open(const char *url, int32_t partitions, struct views_dynamodb **ret,
                                      struct err *err);
void views_dynamodb_close(struct views_dynamodb *dynamodb); /* NULL is fine */
/* As views_rows. *ret_whole: of shards that show all that the log held when they were filled.
 * ERR_STORE_UNAVAILABLE. */
CHECK_RESULT bool views_dynamodb_rows(struct views_dynamodb *dynamodb, const struct view *view, const struct str *keys,
                                      size_t count, struct arena *arena, void **ret, bool *ret_whole, struct err *err);

#endif
