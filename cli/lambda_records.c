#include "cli/lambda.h"

#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/codec/avro.h"
#include "core/domain/notices.h"
#include "core/log/envelope.h"

enum {
    ORDER_KEPT_DAYS = 180,
    ERASED_KEPT_DAYS = 90, /* that a late repetition of an address is known for one */
    WAIT_S = 600,          /* for what comes by another topic */
    APPEND_MS = 10000,
};

static int64_t expires_in_days(int days) {
    return clock_now_us() / 1000000 + INT64_C(86400) * days;
}

/* ---- what is kept in the table ---- */

static json_t *get_item_request(const struct lambda *lambda, const char *kind, struct str id) {
    BUF_AUTO key = {0};
    buf_printf(&key, "%s#%.*s", kind, STR_ARG(id));
    return json_pack("{s:s, s:{s:o}, s:b}", "TableName", lambda->table, "Key", "id", dynamodb_text(buf_str(&key)),
                     "ConsistentRead", 1);
}

/* *ret: NULL when there is none; the caller's, with *ret_answer to be json_decref'd. */
static bool get_item(struct lambda *lambda, const char *kind, struct str id, json_t **ret_answer, json_t **ret,
                     struct err *err) {
    *ret_answer = NULL;
    if (dynamodb_call(lambda->db, "GetItem", get_item_request(lambda, kind, id), ret_answer, err) != DYNAMODB_DONE)
        return err_wrap(err, "reading %s", lambda->table);
    *ret = json_object_get(*ret_answer, "Item");
    return true;
}

static json_t *put_item_request(const struct lambda *lambda, const char *kind, struct str id) {
    BUF_AUTO key = {0};
    buf_printf(&key, "%s#%.*s", kind, STR_ARG(id));
    return json_pack("{s:s, s:{s:o}}", "TableName", lambda->table, "Item", "id", dynamodb_text(buf_str(&key)));
}

static bool keep_order(struct lambda *lambda, const struct order_placed *placed, struct arena *arena, struct err *err) {
    BUF_AUTO bytes = {0};
    const struct state_notice state = {.order = notice_order_copy(arena, placed)};
    state_encode(schema_subject_find(STR("state/notice")), &state, &bytes);
    json_t *request = put_item_request(lambda, "order", placed->order_id), *item = json_object_get(request, "Item");
    json_object_set_new(item, "order", dynamodb_bytes(buf_str(&bytes)));
    json_object_set_new(item, "expires_at", dynamodb_number(expires_in_days(ORDER_KEPT_DAYS)));
    return dynamodb_call(lambda->db, "PutItem", request, NULL, err) == DYNAMODB_DONE ||
           err_wrap(err, "writing %s", lambda->table);
}

/* *ret NULL: there is none. */
static bool find_order(struct lambda *lambda, struct str order_id, struct arena *arena, struct notice_order **ret,
                       struct err *err) {
    json_t *answer, *item;
    BUF_AUTO bytes = {0};
    struct state_notice state;
    *ret = NULL;
    if (!get_item(lambda, "order", order_id, &answer, &item, err))
        return false;
    bool found = item && dynamodb_get_bytes(item, "order", &bytes);
    json_decref(answer);
    if (!found)
        return true;
    if (!state_decode(schema_subject_find(STR("state/notice")), arena_dup(arena, buf_str(&bytes)), arena, &state, err))
        return err_wrap(err, "an order in %s", lambda->table);
    *ret = state.order;
    return true;
}

/* Only the newest record of a key counts, and none twice. */
static bool keep_address(struct lambda *lambda, const struct log_record *record, struct str email, struct err *err) {
    json_t *request = put_item_request(lambda, "address", record->key), *item = json_object_get(request, "Item");
    json_object_set_new(item, "log_offset", dynamodb_number(record->offset));
    if (email.ptr)
        json_object_set_new(item, "email", dynamodb_text(email));
    else
        json_object_set_new(item, "expires_at", dynamodb_number(expires_in_days(ERASED_KEPT_DAYS)));
    json_object_set_new(request, "ConditionExpression",
                        json_string("attribute_not_exists(id) OR log_offset < :offset"));
    json_object_set_new(request, "ExpressionAttributeValues",
                        json_pack("{s:o}", ":offset", dynamodb_number(record->offset)));
    return dynamodb_call(lambda->db, "PutItem", request, NULL, err) != DYNAMODB_FAILED ||
           err_wrap(err, "writing %s", lambda->table);
}

bool lambda_address(void *user, const struct intent_send_notice *notice, struct arena *arena, struct str *ret,
                    struct err *err) {
    struct lambda *lambda = user;
    json_t *answer, *item;
    BUF_AUTO key = {0};
    buf_printf(&key, "%.*s/%.*s", STR_ARG(notice->order.shopper_id), STR_ARG(notice->order.personal_ref));
    if (!get_item(lambda, "address", buf_str(&key), &answer, &item, err))
        return false;
    bool known = item != NULL;
    *ret = known ? arena_dup(arena, dynamodb_get_text(item, "email")) : STR_NULL;
    json_decref(answer);
    /* It was in the log before the order was, but comes by another topic. */
    if (!known && clock_now_us() - notice->caused_at < WAIT_S * INT64_C(1000000))
        return err_set(err, ERR_NOT_FOUND, "the address has not come yet");
    return true;
}

/* ---- what came of a notice ---- */

static struct message event_of(const struct intent_notice_answered *m) {
    if (m->outcome == INTENT_NOTICE_OUTCOME_SENT)
        return (struct message){.type = MESSAGE_NOTIFICATION_SENT,
                                .notification_sent = {m->order_id, m->template, m->channel, m->cause}};
    if (m->outcome == INTENT_NOTICE_OUTCOME_SUPPRESSED)
        return (struct message){.type = MESSAGE_NOTIFICATION_SUPPRESSED,
                                .notification_suppressed = {m->order_id, m->template, m->channel, m->cause, m->reason}};
    return (struct message){.type = MESSAGE_NOTIFICATION_FAILED,
                            .notification_failed = {m->order_id, m->template, m->channel, m->cause, m->reason}};
}

/* Its id depends on what it tells only, so that a repetition is known for one. */
static bool append_event(struct lambda *lambda, const struct envelope *cause,
                         const struct intent_notice_answered *answered, struct err *err) {
    const struct message message = event_of(answered);
    const struct str parts[] = {answered->order_id, answered->template, answered->cause, STR("notification")};
    struct id id = id_derive(parts, sizeof parts / sizeof parts[0]);
    char time[CLOCK_TEXT_SIZE];
    size_t time_len = clock_format(clock_now_us(), time);
    BUF_AUTO value = {0};
    int32_t partition;
    int64_t offset;
    struct log_header headers[9] = {{STR(HEADER_SPECVERSION), STR("1.0")},
                                    {STR(HEADER_ID), id_str(&id)},
                                    {STR(HEADER_SOURCE), STR("/orderlog/notifier")},
                                    {STR(HEADER_TYPE), message_name(message.type)},
                                    {STR(HEADER_TIME), {time, time_len}},
                                    {STR(HEADER_SUBJECT), answered->order_id},
                                    {STR(HEADER_CONTENT_TYPE), STR("application/avro")},
                                    {STR(HEADER_COMMAND_ID), cause->command_id.ptr ? cause->command_id : cause->id}};
    size_t count = 8;
    if (cause->traceparent.ptr)
        headers[count++] = (struct log_header){STR(HEADER_TRACEPARENT), cause->traceparent};
    if (!message_encode(schema_subject_find(STR(TOPIC_NOTIFICATION_EVENTS)), &message, &value, err))
        return false;
    return log_append_wait(lambda->producer,
                           &(struct log_record){.topic = STR(TOPIC_NOTIFICATION_EVENTS),
                                                .partition = LOG_BY_KEY,
                                                .key = answered->order_id,
                                                .value = buf_str(&value),
                                                .headers = headers,
                                                .header_count = count},
                           APPEND_MS, &partition, &offset, err);
}

/* Told once, as far as the table knows. */
static bool tell(struct lambda *lambda, const struct envelope *cause, const struct intent_send_notice *notice,
                 const struct intent_notice_answered *answered, struct arena *arena, struct err *err) {
    struct claim claim;
    BUF_AUTO id = {0};
    notifier_claim_id(notice, &id);
    if (!claims_take(lambda->notifier.claims, buf_str(&id), arena, &claim, err))
        return false;
    if (claim.state == CLAIM_OVER && claim.told)
        return true;
    return append_event(lambda, cause, answered, err) && claims_told(lambda->notifier.claims, buf_str(&id), err);
}

/* ---- records ---- */

/* The order that an event is of, in the arena; *ret_order NULL: it will not come any more. */
static bool order_for(struct lambda *lambda, const struct message *message, const struct notice *notice,
                      const struct envelope *envelope, struct arena *arena, struct notice_order **ret_order,
                      struct err *err) {
    if (!find_order(lambda, notice->order_id, arena, ret_order, err))
        return false;
    bool by_another_topic = message->type == MESSAGE_PAYMENT_REFUNDED;
    if (!*ret_order && by_another_topic && clock_now_us() - envelope->timestamp_us < WAIT_S * INT64_C(1000000))
        return err_set(err, ERR_NOT_FOUND, "the order has not come yet");
    return true;
}

static bool take_notice(struct lambda *lambda, const struct envelope *envelope, const struct message *message,
                        const struct notice *notice, struct arena *arena, struct err *err) {
    struct notice_order *order;
    struct intent_notice_answered answered;
    if (!order_for(lambda, message, notice, envelope, arena, &order, err))
        return false;
    struct intent_send_notice send = {.order_id = notice->order_id,
                                      .template = notice->template,
                                      .cause = envelope->id,
                                      .caused_at = envelope->timestamp_us,
                                      .reason = notice->reason,
                                      .refunded_minor = notice->refunded_minor};
    if (order) {
        send.order = *order;
        notifier_send(&lambda->notifier, &send, arena, &answered);
    } else {
        notifier_suppress(&lambda->notifier, &send,
                          message->type == MESSAGE_ORDER_REJECTED ? STR(NOTICE_NOT_PLACED) : STR("unknown-order"),
                          arena, &answered);
    }
    if (answered.outcome == INTENT_NOTICE_OUTCOME_UNKNOWN)
        return err_set(err, ERR_IO, "not sent yet: %.*s", STR_ARG(answered.reason));
    return tell(lambda, envelope, &send, &answered, arena, err);
}

static bool take_details(struct lambda *lambda, const struct log_record *record, const struct message *message,
                         struct err *err) {
    if (!record->key.len)
        return err_set(err, ERR_POISON, "personal details without a key");
    return keep_address(lambda, record, message ? message->personal_details.email : STR_NULL, err);
}

bool lambda_take_record(struct lambda *lambda, const struct log_record *record, struct arena *arena, struct err *err) {
    struct envelope envelope;
    struct message message;
    struct notice notice;
    bool personal = str_eq(record->topic, STR(TOPIC_PERSONAL));
    const struct schema_subject *subject = schema_subject_find(record->topic);
    if (!subject || memchr(record->topic.ptr, '/', record->topic.len))
        return err_set(err, ERR_CONFIG, "%.*s is not a topic of ours", STR_ARG(record->topic));
    if (personal && !record->value.ptr)
        return take_details(lambda, record, NULL, err);
    if (!envelope_read(record, &envelope, err) || !message_decode(subject, record->value, arena, &message, err))
        return false;
    if (message.type == MESSAGE_UNKNOWN)
        return err_set(err, ERR_UNKNOWN_SCHEMA, "of a type that this program does not know");
    if (message.type == MESSAGE_PERSONAL_DETAILS)
        return take_details(lambda, record, &message, err);
    if (message.type == MESSAGE_ORDER_PLACED)
        return keep_order(lambda, &message.order_placed, arena, err);
    return !notice_of(&message, &notice) || take_notice(lambda, &envelope, &message, &notice, arena, err);
}
