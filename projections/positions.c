#include "projections/positions.h"

#include "core/codec/avro.h"

void positions_init(struct positions *positions) {
    *positions = (struct positions){0};
    arena_init(&positions->arena);
}

void positions_free(struct positions *positions) {
    arena_free(&positions->arena);
    positions->state = (struct state_positions){0};
}

static const struct schema_subject *subject(void) {
    return schema_subject_find(STR("state/positions"));
}

/* ---- origins: sorted by topic and name ---- */

static int origin_cmp(const struct state_position_origin *held, struct str topic, struct str origin) {
    int order = str_cmp(held->topic, topic);
    return order ? order : str_cmp(held->origin, origin);
}

/* Where it is, or would be. */
static size_t origin_find(const struct state_position_origin_list *list, struct str topic, struct str origin,
                          bool *ret_found) {
    size_t at = 0;
    int order = -1;
    while (at < list->count && (order = origin_cmp(&list->items[at], topic, origin)) < 0)
        at++;
    *ret_found = at < list->count && order == 0;
    return at;
}

static void origin_set(struct positions *positions, struct str topic, struct str origin, int64_t seq) {
    struct state_position_origin_list *list = &positions->state.origins;
    bool found;
    size_t at = origin_find(list, topic, origin, &found);
    if (found) {
        if (seq > list->items[at].last_seq)
            list->items[at].last_seq = seq;
        return;
    }
    struct state_position_origin *items = arena_array(&positions->arena, struct state_position_origin, list->count + 1);
    for (size_t i = 0; i < list->count; i++)
        items[i < at ? i : i + 1] = list->items[i];
    items[at] = (struct state_position_origin){topic, arena_dup(&positions->arena, origin), seq};
    *list = (struct state_position_origin_list){items, list->count + 1};
}

/* ---- from and to bytes ---- */

static void start_at_beginning(struct positions *positions, struct str log_id, const struct log_topic *topics,
                               size_t topic_count) {
    arena_reset(&positions->arena);
    struct state_position_topic *items = arena_array(&positions->arena, struct state_position_topic, topic_count);
    for (size_t i = 0; i < topic_count; i++)
        items[i] = (struct state_position_topic){arena_dup(&positions->arena, topics[i].name),
                                                 arena_dup(&positions->arena, topics[i].id), 0};
    positions->state = (struct state_positions){
        .log_id = arena_dup(&positions->arena, log_id), .topics = {items, topic_count}, .generation = 1};
}

static bool go_on_from(struct positions *positions, const struct state_positions *held, struct err *err) {
    if (!str_eq(held->log_id, positions->state.log_id))
        return err_set(err, ERR_CONFIG, "the rows were made from another log (%.*s, this one is %.*s)",
                       STR_ARG(held->log_id), STR_ARG(positions->state.log_id));
    positions->state.generation = held->generation;
    for (size_t i = 0; i < positions->state.topics.count; i++) {
        struct state_position_topic *topic = &positions->state.topics.items[i];
        for (size_t k = 0; k < held->topics.count; k++) {
            const struct state_position_topic *at = &held->topics.items[k];
            if (!str_eq(at->topic, topic->topic))
                continue;
            if (!log_topic_id_fits(topic->topic_id, at->topic_id))
                return err_set(err, ERR_CONFIG, "topic %.*s was made anew since the rows were made (%.*s, now %.*s)",
                               STR_ARG(topic->topic), STR_ARG(at->topic_id), STR_ARG(topic->topic_id));
            topic->next_offset = at->next_offset;
        }
        for (size_t k = 0; k < held->origins.count; k++)
            if (str_eq(held->origins.items[k].topic, topic->topic))
                origin_set(positions, topic->topic, held->origins.items[k].origin, held->origins.items[k].last_seq);
    }
    return true;
}

bool positions_read(struct positions *positions, struct str log_id, const struct log_topic *topics, size_t topic_count,
                    struct str bytes, struct err *err) {
    struct state_positions held;
    start_at_beginning(positions, log_id, topics, topic_count);
    if (!bytes.ptr)
        return true;
    return state_decode(subject(), bytes, &positions->arena, &held, err) && go_on_from(positions, &held, err);
}

void positions_write(const struct positions *positions, struct buf *ret) {
    state_encode(subject(), &positions->state, ret);
}

/* ---- records ---- */

enum positions_verdict positions_check(const struct positions *positions, size_t topic, struct str origin, int64_t seq,
                                       int64_t *ret_last) {
    bool found;
    *ret_last = 0;
    if (!origin.ptr)
        return POSITIONS_NEXT;
    size_t at = origin_find(&positions->state.origins, positions->state.topics.items[topic].topic, origin, &found);
    if (found)
        *ret_last = positions->state.origins.items[at].last_seq;
    if (seq <= *ret_last)
        return POSITIONS_AGAIN;
    return seq == *ret_last + 1 ? POSITIONS_NEXT : POSITIONS_GAP;
}

void positions_advance(struct positions *positions, size_t topic, int64_t offset, struct str origin, int64_t seq) {
    struct state_position_topic *at = &positions->state.topics.items[topic];
    at->next_offset = offset + 1;
    if (origin.ptr)
        origin_set(positions, at->topic, origin, seq);
}
