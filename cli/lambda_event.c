/* A batch of records as Lambda's event source mapping of MSK gives it, and the answer of ReportBatchItemFailures:
 * https://docs.aws.amazon.com/lambda/latest/dg/with-msk.html and kafka-retry-configurations.html. */
#include "cli/lambda.h"

#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/base/logging.h"

/* What one record may take at worst: the mail, its claim, its event. Lambda kills the process at its deadline, and a
 * mail that was being sent then is sent again. */
enum { RESERVE_MS = MAILER_TIMEOUT_MS + 5000, HEADERS_MAX = 32 };

/* ---- a record of the JSON ---- */

/* Text of the arena; ptr NULL: null, or not there. */
static bool read_base64(const json_t *json, struct arena *arena, struct str *ret) {
    BUF_AUTO bytes = {0};
    *ret = STR_NULL;
    if (!json || json_is_null(json))
        return true;
    if (!json_is_string(json) ||
        !base64_decode((struct str){json_string_value(json), json_string_length(json)}, &bytes))
        return false;
    *ret = arena_dup(arena, buf_str(&bytes));
    return true;
}

/* A header's value is an array of bytes, signed or not. */
static bool read_bytes(const json_t *json, struct arena *arena, struct str *ret) {
    size_t count = json_array_size(json);
    char *bytes = arena_alloc(arena, count + 1);
    for (size_t i = 0; i < count; i++) {
        json_int_t byte = json_integer_value(json_array_get(json, i));
        if (!json_is_integer(json_array_get(json, i)) || byte < -128 || byte > 255)
            return false;
        bytes[i] = (char)byte;
    }
    *ret = (struct str){bytes, count};
    return json_is_array(json);
}

/* A list of objects of one header each. */
static bool read_headers(json_t *json, struct arena *arena, struct log_record *ret) {
    struct log_header *headers = arena_array(arena, struct log_header, HEADERS_MAX);
    const char *name;
    json_t *each, *value;
    size_t i;
    json_array_foreach(json, i, each) {
        json_object_foreach(each, name, value) {
            if (ret->header_count == HEADERS_MAX)
                return false;
            struct log_header *header = &headers[ret->header_count++];
            header->name = arena_dup(arena, str_from(name));
            if (!read_bytes(value, arena, &header->value))
                return false;
        }
    }
    ret->headers = headers;
    return true;
}

static bool read_record(json_t *json, struct arena *arena, struct log_record *ret, struct err *err) {
    *ret = (struct log_record){.topic = str_from(json_string_value(json_object_get(json, "topic"))),
                               .partition = (int32_t)json_integer_value(json_object_get(json, "partition")),
                               .offset = json_integer_value(json_object_get(json, "offset")),
                               .timestamp_us = json_integer_value(json_object_get(json, "timestamp")) * 1000};
    return (read_base64(json_object_get(json, "key"), arena, &ret->key) &&
            read_base64(json_object_get(json, "value"), arena, &ret->value) &&
            read_headers(json_object_get(json, "headers"), arena, ret)) ||
           err_set(err, ERR_POISON, "its key, value or headers are not as Lambda gives them");
}

/* ---- the batch ---- */

struct batch {
    struct lambda *lambda;
    int64_t deadline_us;
    size_t taken;
    json_t *failures;
};

static bool take_one(struct batch *batch, json_t *json, struct err *err) {
    struct arena arena;
    struct log_record record;
    if (batch->taken && clock_now_us() > batch->deadline_us - RESERVE_MS * INT64_C(1000))
        return err_set(err, ERR_TIMEOUT, "no time is left for it");
    arena_init(&arena);
    bool ok = read_record(json, &arena, &record, err) && lambda_take_record(batch->lambda, &record, &arena, err);
    arena_free(&arena);
    batch->taken++;
    return ok;
}

/* Those behind the one that failed come again with it, so that each order is told of in its order. */
static void take_partition(struct batch *batch, const char *name, json_t *records) {
    json_t *json;
    size_t i;
    json_array_foreach(records, i, json) {
        struct err err = {0};
        if (take_one(batch, json, &err))
            continue;
        json_int_t offset = json_integer_value(json_object_get(json, "offset"));
        logging_err(&err, "lambda.record_failed", "partition=%s offset=%lld", name, (long long)offset);
        json_array_append_new(batch->failures,
                              json_pack("{s:{s:s, s:I}}", "itemIdentifier", "partition", name, "offset", offset));
        return;
    }
}

/* Nothing that names a record in an answer may be missing: else Lambda would skip what it could not be told of. */
static bool is_batch(json_t *records) {
    const char *name;
    json_t *list, *json;
    size_t i;
    json_object_foreach(records, name, list) {
        if (!json_is_array(list))
            return false;
        json_array_foreach(list, i, json) {
            if (!json_is_string(json_object_get(json, "topic")) ||
                !json_is_integer(json_object_get(json, "partition")) ||
                !json_is_integer(json_object_get(json, "offset")) ||
                !json_is_integer(json_object_get(json, "timestamp")))
                return false;
        }
    }
    return json_is_object(records);
}

static bool open_log(struct lambda *lambda, const json_t *event, struct err *err) {
    const char *brokers = json_string_value(json_object_get(event, "bootstrapServers"));
    BUF_AUTO url = {0};
    if (lambda->log)
        return true;
    if (!brokers || !*brokers)
        return err_set(err, ERR_CONFIG, "neither ORDERLOG_LOG nor the event says where the log is");
    buf_printf(&url, "kafka://%s", brokers);
    return lambda_open_log(lambda, url.ptr, err);
}

bool lambda_take_event(struct lambda *lambda, struct str event, int64_t deadline_us, struct buf *ret, struct err *err) {
    json_error_t where;
    json_t *json = json_loadb(event.ptr, event.len, JSON_REJECT_DUPLICATES, &where), *records, *list;
    const char *name;
    if (!json)
        return err_set(err, ERR_INVALID_BODY, "the event is no JSON: %s", where.text);
    records = json_object_get(json, "records");
    if (!is_batch(records)) {
        json_decref(json);
        return err_set(err, ERR_INVALID_BODY, "the event is no batch of records from Kafka");
    }
    if (!open_log(lambda, json, err)) {
        json_decref(json);
        return false;
    }
    struct batch batch = {.lambda = lambda, .deadline_us = deadline_us, .failures = json_array()};
    json_object_foreach(records, name, list) {
        take_partition(&batch, name, list);
    }
    logging_write(LOG_INFO, "lambda.batch", "records=%zu failed_partitions=%zu", batch.taken,
                  json_array_size(batch.failures));
    json_t *answer = json_pack("{s:o}", "batchItemFailures", batch.failures);
    char *text = json_dumps(answer, JSON_COMPACT);
    buf_printf(ret, "%s", text);
    free(text);
    json_decref(answer);
    json_decref(json);
    return true;
}
