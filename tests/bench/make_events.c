/* A log with some millions of events, as a shop would have made them: make_events LOG-URL EVENTS. For rebuild_rate. */
#include "tests/projections/story_orders.h"

enum { ORDERS_AT_ONCE = 2000 };

static int64_t events_of(struct log *log) {
    int64_t events = 0, low, high;
    struct log_topic *topics;
    struct err err = {0};
    size_t count;
    if (!log_topics_list(log, &topics, &count, &err))
        fail_msg("%s", err.detail);
    for (size_t i = 0; i < count; i++)
        for (int32_t partition = 0; partition < topics[i].partitions; partition++) {
            if (!log_watermarks(log, topics[i].name, partition, &low, &high, &err))
                fail_msg("%s", err.detail);
            events += high;
        }
    free(topics);
    return events;
}

int main(int argc, char **argv) {
    struct story story;
    struct log *log;
    struct err err = {0};
    int64_t wanted;
    if (argc != 3 || !str_to_i64(str_from(argv[2]), &wanted)) {
        fprintf(stderr, "usage: %s LOG-URL EVENTS\n", argv[0]);
        return 2;
    }
    if (!log_open(argv[1], NULL, &log, &err)) {
        fprintf(stderr, "%s\n", err.detail);
        return 2;
    }
    story_open(&story, log);
    for (int64_t first = 0; events_of(log) < wanted; first += ORDERS_AT_ONCE) {
        story_trade(&story, first, ORDERS_AT_ONCE);
        arena_reset(&story.arena);
    }
    printf("%lld\n", (long long)events_of(log));
    story_close(&story);
    log_close(log);
    return 0;
}
