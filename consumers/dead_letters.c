#include "consumers/batch.h"

#include "core/base/logging.h"
#include "core/codec/avro.h"
#include "core/log/append.h"
#include "core/log/record_codec.h"
#include "producers/topics.h"

#define HEADER_PARKED_TOPIC "parked_topic"
#define HEADER_PARKED_PARTITION "parked_partition"
#define HEADER_PARKED_OFFSET "parked_offset"
#define HEADER_PARKED_REASON "parked_reason"

enum {
    SUBJECT_MAX = 256, /* what parks a subject must fit into an index of PostgreSQL's */
    REASON_MAX = 500,
    LETTER_HEADERS = 8 << 10, /* more than all headers of a dead letter take */
};

/* ---- reading a record ---- */

static bool is_storable(struct str s, size_t max) {
    return s.len <= max && str_is_utf8(s) && !(s.len && memchr(s.ptr, 0, s.len));
}

/* As much of it as PostgreSQL takes, and the same each time. */
static struct str storable(struct batch *batch, struct str s, size_t max) {
    if (is_storable(s, max))
        return s;
    char *copy = arena_alloc(&batch->arena, s.len < max ? s.len : max);
    struct str ret = {copy, s.len < max ? s.len : max};
    for (size_t i = 0; i < ret.len; i++)
        copy[i] = s.ptr[i] < ' ' || s.ptr[i] > '~' ? '?' : s.ptr[i];
    return ret;
}

static bool read_message(struct batch *batch, struct item *item, struct err *err) {
    const struct schema_subject *subject = schema_subject_find(item->record->topic);
    if (!subject)
        return err_set(err, ERR_UNKNOWN_SCHEMA, "no schema for topic %.*s", STR_ARG(item->record->topic));
    if (!item->record->value.ptr)
        return err_set(err, ERR_POISON, "a record without a value");
    if (!message_decode(subject, item->record->value, &batch->arena, &item->message, err))
        return false;
    if (item->message.type == MESSAGE_UNKNOWN)
        return err_set(err, ERR_UNKNOWN_SCHEMA, "a record of type %.*s, which this program does not know",
                       STR_ARG(item->envelope.type));
    if (!str_eq(item->envelope.type, message_name(item->message.type)))
        return err_set(err, ERR_POISON, "header " HEADER_TYPE " says %.*s, the value is a %.*s",
                       STR_ARG(item->envelope.type), STR_ARG(message_name(item->message.type)));
    return true;
}

static void read_body_hash(struct item *item) {
    const struct schema_type *type = schema_messages[item->message.type];
    if (!item->shard->service->decider->remembers_commands || item->envelope.origin.ptr)
        return;
    for (size_t i = 0; i < type->field_count; i++)
        if (!strcmp(type->fields[i].name, "body_hash")) {
            const char *body = message_body(&item->message);
            item->body_hash = *(const struct str *)(const void *)(body + type->fields[i].offset);
            item->command = true;
        }
}

bool item_read(struct batch *batch, struct item *item, struct err *err) {
    item->input.kind = INPUT_RECORD;
    if (item->poison.kind || !read_message(batch, item, &item->poison)) {
        if (item->poison.kind == ERR_UNKNOWN_SCHEMA) {
            *err = item->poison;
            return err_wrap(err, "%.*s/%d offset %lld", STR_ARG(item->record->topic), item->record->partition,
                            (long long)item->record->offset);
        }
        item->poison.kind = ERR_POISON;
    } else {
        read_body_hash(item);
    }
    /* Without a subject, the key is the nearest thing to what the record is about. */
    struct str subject = item->envelope.subject;
    if (!subject.ptr)
        subject = item->envelope.key.ptr ? item->envelope.key : STR("");
    item->envelope.subject = storable(batch, subject, SUBJECT_MAX);
    if (!str_eq(item->envelope.subject, subject) && !item->poison.kind)
        err_set(&item->poison, ERR_POISON, "a subject that is no text of up to %d bytes", (int)SUBJECT_MAX);
    return true;
}

/* ---- parking ---- */

static struct parked_op *add_op(struct batch *batch, const struct item *item, const char *reason) {
    struct parked_op *op = arena_new(&batch->arena, struct parked_op);
    op->item = item;
    if (reason)
        op->reason = storable(batch, arena_dup(&batch->arena, str_from(reason)), REASON_MAX);
    *batch->parked_end = op;
    batch->parked_end = &op->next;
    return op;
}

static bool is_blocked(const struct batch *batch, struct str subject) {
    for (const struct str_node *node = batch->blocked; node; node = node->next)
        if (str_eq(node->text, subject))
            return true;
    return false;
}

static void block(struct batch *batch, struct str subject) {
    struct str_node *node = arena_new(&batch->arena, struct str_node);
    node->text = subject;
    node->next = batch->blocked;
    batch->blocked = node;
}

/* A record as large as the log takes is larger than that with the headers of a dead letter: its coordinates say where
 * it is, and decider.parked has it. */
static struct str fitting(struct str s, size_t *room) {
    if (s.len > *room)
        return STR_NULL;
    *room -= s.len;
    return s;
}

static void publish_dead_letter(struct batch *batch, const struct item *item, struct str reason) {
    const struct log_record *record = item->record;
    size_t room = LOG_RECORD_MAX - LETTER_HEADERS;
    struct str key = fitting(record->key, &room), value = fitting(record->value, &room);
    struct str topic = arena_printf(&batch->arena, "%.*s" TOPIC_DEAD_LETTER_SUFFIX, STR_ARG(record->topic));
    struct log_header extra[] = {
        {STR(HEADER_PARKED_TOPIC), record->topic},
        {STR(HEADER_PARKED_PARTITION), arena_printf(&batch->arena, "%d", record->partition)},
        {STR(HEADER_PARKED_OFFSET), arena_printf(&batch->arena, "%lld", (long long)record->offset)},
        {STR(HEADER_PARKED_REASON), reason},
    };
    struct str type = item->envelope.type.ptr ? storable(batch, item->envelope.type, SUBJECT_MAX) : STR("unknown");
    batch_emit_raw(batch, topic, key, item->envelope.subject, type, value, extra, 4);
}

void batch_park(struct batch *batch, const struct item *item, const char *reason, bool behind) {
    struct parked_op *op = add_op(batch, item, reason);
    op->behind = behind;
    if (item->source == ITEM_PARKED) {
        block(batch, item->envelope.subject);
        return;
    }
    shard_add_parked(item->shard, item->envelope.subject);
    metrics_add(item->shard->service->metrics.parked, 1);
    if (behind)
        return;
    publish_dead_letter(batch, item, op->reason);
    logging_write(LOG_ERROR, "record.parked",
                  "service=%s topic=%.*s partition=%d offset=%lld reason=\"%s\" trace_id=%.*s",
                  item->shard->service->decider->service, STR_ARG(item->record->topic), item->record->partition,
                  (long long)item->record->offset, reason, STR_ARG(envelope_trace_id(item->envelope.traceparent)));
}

bool batch_marked_is_due(struct batch *batch, const struct item *item) {
    if (is_blocked(batch, item->envelope.subject))
        return false;
    if (item->parked_status == PARKED_ITSELF) {
        block(batch, item->envelope.subject);
        return false;
    }
    if (item->parked_status == PARKED_DROP) {
        add_op(batch, item, NULL);
        return false;
    }
    return true;
}

void batch_marked_done(struct batch *batch, const struct item *item) {
    add_op(batch, item, NULL);
}

/* ---- the table ---- */

static void send_new(struct batch *batch, const struct parked_op *op) {
    const struct log_record *record = op->item->record;
    PG_PARAMS_AUTO params = {0};
    buf_reset(&batch->scratch);
    record_encode(&batch->scratch, record);
    pg_add_text(&params, str_from(op->item->shard->service->decider->service));
    pg_add_i64(&params, op->item->shard->index);
    pg_add_text(&params, record->topic);
    pg_add_i64(&params, record->partition);
    pg_add_i64(&params, record->offset);
    pg_add_text(&params, op->item->envelope.subject);
    pg_add_text(&params, op->reason);
    pg_add_bool(&params, op->behind);
    pg_add_bytes(&params, buf_str(&batch->scratch));
    pg_send(
        batch->loop->pg,
        "INSERT INTO decider.parked (service, shard, topic, partition, \"offset\", subject, reason, behind, record) "
        "VALUES ($1, $2::bigint, $3, $4::bigint, $5, $6, $7, $8, $9)",
        &params);
}

static void send_marked(struct batch *batch, const struct parked_op *op) {
    PG_PARAMS_AUTO params = {0};
    pg_add_i64(&params, op->item->parked_id);
    if (!op->reason.ptr) {
        pg_send(batch->loop->pg, "DELETE FROM decider.parked WHERE id = $1", &params);
        return;
    }
    pg_add_text(&params, op->reason);
    pg_send(batch->loop->pg, "UPDATE decider.parked SET status = 'parked', behind = false, reason = $2 WHERE id = $1",
            &params);
}

void batch_send_parked(struct batch *batch) {
    for (const struct parked_op *op = batch->parked; op; op = op->next)
        if (op->item->source == ITEM_PARKED)
            send_marked(batch, op);
        else
            send_new(batch, op);
}

bool shard_load_parked(struct loop *loop, struct shard *shard, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    pg_add_text(&params, str_from(shard->service->decider->service));
    pg_add_i64(&params, shard->index);
    if (!pg_exec(loop->pg, "SELECT DISTINCT subject FROM decider.parked WHERE service = $1 AND shard = $2::bigint",
                 &params, &rows, err))
        return false;
    while (shard->parked_count)
        shard_remove_parked(shard, shard->parked[0]);
    for (int i = 0; i < pg_rows(rows); i++)
        shard_add_parked(shard, pg_get_str(rows, i, 0));
    return true;
}

static enum parked_status status_of(struct str status, bool behind) {
    if (str_eq(status, STR("retry")))
        return PARKED_RETRY;
    if (str_eq(status, STR("drop")))
        return PARKED_DROP;
    return behind ? PARKED_BEHIND : PARKED_ITSELF;
}

static bool add_marked(struct batch *batch, struct shard *shard, const struct pg_result *rows, int i, struct err *err) {
    struct item *item = batch_add_item(batch);
    struct log_record *record = arena_new(&batch->arena, struct log_record);
    struct str bytes = arena_dup(&batch->arena, pg_get_str(rows, i, 1));
    if (!record_decode(&bytes, &batch->arena, record, err))
        return err_wrap(err, "decider.parked row %lld", (long long)pg_get_i64(rows, i, 0));
    record->offset = pg_get_i64(rows, i, 2);
    item->source = ITEM_PARKED;
    item->shard = shard;
    item->record = record;
    item->parked_id = pg_get_i64(rows, i, 0);
    item->parked_status = status_of(pg_get_str(rows, i, 3), pg_get_bool(rows, i, 4));
    item->input.kind = INPUT_RECORD;
    if ((!envelope_read(record, &item->envelope, &item->poison) && !item->poison.kind) || !item_read(batch, item, err))
        return false;
    if (item->parked_id == shard->force_kept_id) {
        err_set(&item->poison, ERR_POISON, REASON_CANNOT_BE_KEPT);
        shard->force_kept_id = 0;
    }
    return true;
}

/* The first record of a subject says whether the subject may go on: marked, or itself only behind one that is gone. */
bool batch_add_marked(struct batch *batch, struct shard *shard, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    pg_add_text(&params, str_from(shard->service->decider->service));
    pg_add_i64(&params, shard->index);
    pg_add_i64(&params, shard->marked_alone ? 1 : LOOP_BATCH_MAX);
    if (!pg_exec(batch->loop->pg,
                 "WITH first AS (SELECT DISTINCT ON (subject) subject, status, behind FROM decider.parked "
                 "WHERE service = $1 AND shard = $2::bigint ORDER BY subject, id) "
                 "SELECT id, record, \"offset\", status, behind FROM decider.parked "
                 "WHERE service = $1 AND shard = $2::bigint "
                 "AND subject IN (SELECT subject FROM first WHERE status <> 'parked' OR behind) ORDER BY id LIMIT $3",
                 &params, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++)
        if (!add_marked(batch, shard, rows, i, err))
            return false;
    if (!pg_rows(rows))
        shard->marked_alone = false;
    return true;
}
