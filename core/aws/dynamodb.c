#include "core/aws/dynamodb.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/aws/service.h"
#include "core/base/clock.h"

enum { TRIES = 4, FIRST_PAUSE_MS = 100, TIMEOUT_MS = 5000 };

static const struct aws_service_name service_name = {"dynamodb", "dynamodb", "AWS_ENDPOINT_URL_DYNAMODB"};

struct dynamodb {
    struct aws_service *service;
    int tries;
    int64_t timeout_ms;
};

bool dynamodb_open(struct dynamodb **ret, struct err *err) {
    struct dynamodb *db = mem_zalloc(sizeof *db);
    if (!aws_service_open(&service_name, &db->service, err)) {
        free(db);
        return false;
    }
    dynamodb_hurry(db, TRIES, TIMEOUT_MS);
    *ret = db;
    return true;
}

void dynamodb_hurry(struct dynamodb *db, int tries, int64_t timeout_ms) {
    db->tries = tries;
    db->timeout_ms = timeout_ms;
}

bool dynamodb_table_parse(const char *setting, const char *url, const char **ret_table, struct err *err) {
    static const char prefix[] = "dynamodb://";
    const char *table = url + sizeof(prefix) - 1;
    if (strncmp(url, prefix, sizeof(prefix) - 1) != 0 || !*table ||
        strspn(table, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") != strlen(table))
        return err_set(err, ERR_CONFIG, "%s must name a table: dynamodb://TABLE", setting);
    *ret_table = table;
    return true;
}

void dynamodb_close(struct dynamodb *db) {
    if (!db)
        return;
    aws_service_close(db->service);
    free(db);
}

/* ---- calls ---- */

static bool may_help(long status, const char *exception) {
    return status >= 500 || status == 429 || strcmp(exception, "ProvisionedThroughputExceededException") == 0 ||
           strcmp(exception, "ThrottlingException") == 0 || strcmp(exception, "RequestLimitExceeded") == 0 ||
           strcmp(exception, "TransactionInProgressException") == 0 ||
           strcmp(exception, "TransactionConflictException") == 0;
}

/* Of a transaction that was cancelled: whether it was for a condition, and not for others at work or for speed. */
static bool condition_failed(const json_t *answer) {
    size_t i;
    json_t *reason;
    json_array_foreach(json_object_get(answer, "CancellationReasons"), i, reason) {
        const char *code = json_string_value(json_object_get(reason, "Code"));
        if (code && strcmp(code, "ConditionalCheckFailed") == 0)
            return true;
    }
    return false;
}

static bool may_be_cancelled_no_more(const json_t *answer) {
    size_t i;
    json_t *reason;
    json_array_foreach(json_object_get(answer, "CancellationReasons"), i, reason) {
        const char *code = json_string_value(json_object_get(reason, "Code"));
        if (code && (strcmp(code, "TransactionConflict") == 0 || strcmp(code, "ThrottlingError") == 0 ||
                     strcmp(code, "ProvisionedThroughputExceeded") == 0))
            return true;
    }
    return false;
}

/* What the last try came to. *ret_again: another may help. */
static enum dynamodb_result call_once(struct dynamodb *db, const struct aws_service_request *request, json_t **ret,
                                      bool *ret_again, struct err *err) {
    HTTP_ANSWER_AUTO answer = {0};
    BUF_AUTO exception = {0};
    struct err last = {0};
    if (!aws_service_call(db->service, request, &answer, &last)) {
        *ret_again = last.kind == ERR_IO || last.kind == ERR_TIMEOUT;
        if (err)
            *err = last;
        return DYNAMODB_FAILED;
    }
    json_t *json = json_loadb(buf_str(&answer.body).ptr, answer.body.len, 0, NULL);
    if (answer.status == 200 && json_is_object(json)) {
        *ret = json;
        return DYNAMODB_DONE;
    }
    aws_service_exception(&answer, &exception);
    const char *name = exception.len ? exception.ptr : "";
    bool cancelled = strcmp(name, "TransactionCanceledException") == 0;
    if (strcmp(name, "ConditionalCheckFailedException") == 0 || (cancelled && condition_failed(json))) {
        *ret = json;
        return DYNAMODB_NOT_SO;
    }
    *ret_again = answer.status == 200 || may_help(answer.status, name) || (cancelled && may_be_cancelled_no_more(json));
    json_decref(json);
    err_set(err, *ret_again ? ERR_IO : ERR_CONFIG, "%s: HTTP %ld%s%s", request->target, answer.status, *name ? " " : "",
            name);
    return DYNAMODB_FAILED;
}

enum dynamodb_result dynamodb_call(struct dynamodb *db, const char *operation, json_t *request, json_t **ret,
                                   struct err *err) {
    BUF_AUTO target = {0};
    json_t *answer = NULL;
    bool again = true;
    enum dynamodb_result result = DYNAMODB_FAILED;
    char *body = request ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    if (!body) {
        err_set(err, ERR_INTERNAL, "%s: a text in it is no UTF-8", operation);
        return DYNAMODB_FAILED;
    }
    buf_printf(&target, "DynamoDB_20120810.%s", operation);
    const struct aws_service_request call = {.path = "/",
                                             .target = target.ptr,
                                             .type = "application/x-amz-json-1.0",
                                             .body = str_from(body),
                                             .timeout_ms = db->timeout_ms,
                                             .keep = true};
    int64_t pause_ms = FIRST_PAUSE_MS;
    for (int tries = 1; again; tries++, pause_ms *= 2) {
        again = false;
        result = call_once(db, &call, &answer, &again, err);
        again = again && tries < db->tries;
        if (again)
            clock_sleep_ms(pause_ms / 2 + clock_now_us() % (pause_ms / 2 + 1)); /* not all at the same time */
    }
    free(body);
    if (result == DYNAMODB_FAILED || !ret)
        json_decref(answer);
    else
        *ret = answer;
    return result;
}

/* ---- attribute values ---- */

json_t *dynamodb_text(struct str text) {
    return json_pack("{s:s%}", "S", text.ptr ? text.ptr : "", text.len);
}

json_t *dynamodb_number(int64_t number) {
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, number);
    return json_pack("{s:s}", "N", text);
}

json_t *dynamodb_bytes(struct str bytes) {
    char *text = mem_alloc(4 * ((bytes.len + 2) / 3) + 1);
    EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)bytes.ptr, (int)bytes.len);
    json_t *json = json_pack("{s:s}", "B", text);
    free(text);
    return json;
}

static const json_t *value_of(const json_t *item, const char *name, const char *type) {
    return json_object_get(json_object_get(item, name), type);
}

struct str dynamodb_get_text(const json_t *item, const char *name) {
    const json_t *value = value_of(item, name, "S");
    return value ? (struct str){json_string_value(value), json_string_length(value)} : STR_NULL;
}

int64_t dynamodb_get_number(const json_t *item, const char *name, int64_t fallback) {
    int64_t number;
    const json_t *value = value_of(item, name, "N");
    return value && str_to_i64(str_from(json_string_value(value)), &number) ? number : fallback;
}

bool dynamodb_get_bytes(const json_t *item, const char *name, struct buf *ret) {
    const json_t *value = value_of(item, name, "B");
    return value && base64_decode((struct str){json_string_value(value), json_string_length(value)}, ret);
}
