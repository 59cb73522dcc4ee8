/* view.order_events: the history of an order, as GET /v1/orders/{id}/events answers it. A record is written down once,
 * which the positions see to; a shard that begins has nothing here. */
#include "core/codec/avro.h"
#include "projections/pg_view.h"

static void add_event(struct pg_params *params, const struct view_fact *fact, struct buf *scratch) {
    const struct envelope *envelope = fact->envelope;
    const struct message *message = fact->message;
    buf_reset(scratch);
    avro_to_json(schema_messages[message->type], message_body(message), scratch);
    pg_array_str(params, 0, view_key(&view_orders, message));
    pg_array_str(params, 1, envelope->topic);
    pg_array_i64(params, 2, envelope->partition);
    pg_array_i64(params, 3, envelope->offset);
    pg_array_str(params, 4, envelope->id);
    pg_array_str(params, 5, message_name(message->type));
    pg_array_i64(params, 6, envelope->timestamp_us);
    pg_array_str(params, 7, buf_str(scratch));
}

bool pg_order_events_save(struct pg *pg, const struct shard_save *shards, size_t count, struct err *err) {
    static const enum pg_type types[] = {PG_TEXT, PG_TEXT, PG_I64, PG_I64, PG_TEXT, PG_TEXT, PG_TIME, PG_TEXT};
    PG_PARAMS_AUTO params = {0};
    BUF_AUTO scratch = {0};
    const struct view_fact *fact;
    size_t events = 0;
    pg_add_arrays(&params, types, sizeof(types) / sizeof(types[0]));
    for (struct pg_cursor at = {0}; (fact = pg_next_fact(&at, shards, count)); events++)
        add_event(&params, fact, &scratch);
    return !events ||
           pg_exec(pg,
                   "INSERT INTO view.order_events (order_id, topic, partition, \"offset\", id, type, time, event) "
                   "SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::int[], $4::bigint[], $5::text[], $6::text[], "
                   "$7::timestamptz[], $8::json[])",
                   &params, NULL, err);
}
