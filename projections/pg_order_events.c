/* view.order_history, which view.order_events shows event by event: the history of an order, as GET
 * /v1/orders/{id}/events answers it. A row holds what one batch had of an order, for a row and its place in an index
 * cost more than what is in it. A record is written down once, which the positions see to; a shard that begins has
 * nothing here. */
#include <stdlib.h>

#include "core/codec/avro.h"
#include "projections/pg_view.h"

struct event {
    const struct view_fact *fact;
    struct str order_id;
    size_t place;
};

static int compare_events(const void *left, const void *right) {
    const struct event *a = left, *b = right;
    int order = str_cmp(a->order_id, b->order_id);
    return order ? order : (a->place > b->place) - (a->place < b->place);
}

static struct event *by_order(const struct shard_save *shards, size_t count, size_t *ret_count) {
    const struct view_fact *fact;
    size_t facts = 0;
    for (size_t i = 0; i < count; i++)
        facts += shards[i].fact_count;
    struct event *events = mem_alloc((facts + 1) * sizeof(*events));
    *ret_count = 0;
    for (struct pg_cursor at = {0}; (fact = pg_next_fact(&at, shards, count)); ++*ret_count)
        events[*ret_count] = (struct event){fact, view_key(&view_orders, fact->message), *ret_count};
    qsort(events, *ret_count, sizeof(*events), compare_events);
    return events;
}

enum { TOPIC, OFFSET, ID, TYPE, TIME, EVENT, COLUMNS };

static const enum pg_type types[COLUMNS] = {PG_TEXT, PG_I64, PG_TEXT, PG_TEXT, PG_TIME, PG_TEXT};

static void add_event(struct pg_params *row, const struct view_fact *fact, struct buf *scratch) {
    const struct envelope *envelope = fact->envelope;
    const struct message *message = fact->message;
    buf_reset(scratch);
    avro_to_json(schema_messages[message->type], message_body(message), scratch);
    pg_array_str(row, TOPIC, envelope->topic);
    pg_array_i64(row, OFFSET, envelope->offset);
    pg_array_str(row, ID, envelope->id);
    pg_array_str(row, TYPE, message_name(message->type));
    pg_array_i64(row, TIME, envelope->timestamp_us);
    pg_array_str(row, EVENT, buf_str(scratch));
}

static void end_row(struct pg_params *params, const struct event *event, struct pg_params *row) {
    pg_array_str(params, 0, event->order_id);
    pg_array_i64(params, 1, event->fact->envelope->partition);
    for (int i = 0; i < COLUMNS; i++)
        pg_array_move(params, 2 + i, row, i);
}

bool pg_order_events_save(struct pg *pg, const struct shard_save *shards, size_t count, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_PARAMS_AUTO row = {0};
    BUF_AUTO scratch = {0};
    size_t event_count;
    struct event *events = by_order(shards, count, &event_count);
    pg_add_array(&params, PG_TEXT);
    pg_add_array(&params, PG_I64);
    for (int i = 0; i < COLUMNS; i++)
        pg_add_array(&params, PG_BYTES);
    pg_add_arrays(&row, types, COLUMNS);
    for (size_t i = 0; i < event_count; i++) {
        add_event(&row, events[i].fact, &scratch);
        if (i + 1 == event_count || !str_eq(events[i].order_id, events[i + 1].order_id))
            end_row(&params, &events[i], &row);
    }
    free(events);
    return !event_count || pg_exec(pg,
                                   "INSERT INTO view.order_history (order_id, partition, topic, \"offset\", id, type, "
                                   "time, event)", /* always by COPY */
                                   &params, NULL, err);
}
