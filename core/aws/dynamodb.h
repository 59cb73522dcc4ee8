/* Amazon DynamoDB: one operation of its JSON API at a time (DynamoDB_20120810), over a signed request.
 *
 * What fails for want of an answer, or is throttled, or with 5xx, is made again, a few times in about two seconds; so
 * operations must be such that a repetition does no harm. Any thread; blocks. */
#ifndef ORDERLOG_AWS_DYNAMODB_H
#define ORDERLOG_AWS_DYNAMODB_H

#include <jansson.h>

#include "core/base/err.h"

struct dynamodb;

/* How often a call is tried, and how long each try may take, instead of 4 times and 5 s: for who has no time. */
void dynamodb_hurry(struct dynamodb *db, int tries, int64_t timeout_ms);

/* The table in "dynamodb://TABLE", borrowed from it. ERR_CONFIG, naming `setting`. */
CHECK_RESULT bool dynamodb_table_parse(const char *setting, const char *url, const char **ret_table, struct err *err);

enum dynamodb_result {
    DYNAMODB_DONE,
    DYNAMODB_NOT_SO, /* the condition of the write, or one of the transaction, did not hold: nothing was changed */
    DYNAMODB_FAILED,
};

/* Asks nobody yet. ERR_CONFIG: no region. */
CHECK_RESULT bool dynamodb_open(struct dynamodb **ret, struct err *err);
void dynamodb_close(struct dynamodb *db); /* NULL is fine */

/* `operation`: "PutItem", "UpdateItem", "GetItem", … `request` is taken over (freed), also on failure. *ret (which may
 * be NULL) is the answer, the caller's to json_decref: of DYNAMODB_NOT_SO, its Item if the request asked for it
 * (ReturnValuesOnConditionCheckFailure). ERR_CONFIG: refused (no such table, no right), ERR_IO, ERR_TIMEOUT: may go
 * away. */
enum dynamodb_result dynamodb_call(struct dynamodb *db, const char *operation, json_t *request, json_t **ret,
                                   struct err *err);

/* Attribute values, as its JSON has them; new references. */
json_t *dynamodb_text(struct str text); /* UTF-8 */
json_t *dynamodb_number(int64_t number);
json_t *dynamodb_bytes(struct str bytes);
/* Of an item's attribute, borrowed from it: STR_NULL when there is none, or it is of another type. */
struct str dynamodb_get_text(const json_t *item, const char *name);
int64_t dynamodb_get_number(const json_t *item, const char *name, int64_t fallback);
/* Appended; false when there is none. */
bool dynamodb_get_bytes(const json_t *item, const char *name, struct buf *ret);

#endif
