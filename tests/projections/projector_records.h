/* The part of the suite about records that are not as they should be. */
#ifndef ORDERLOG_TESTS_PROJECTIONS_PROJECTOR_RECORDS_H
#define ORDERLOG_TESTS_PROJECTIONS_PROJECTOR_RECORDS_H

#include "tests/projections/projector_faults.h"

static struct story_order placed_order(struct world *world, int64_t n) {
    struct story_order order = story_order_new(&world->story, n, STORY_COMPLETED);
    story_placed(&world->story, &order);
    return order;
}

static void say_delivered(struct world *world, struct str order_id, int32_t version, int64_t skip) {
    story_append(&world->story,
                 &(struct story_record){.topic = TOPIC_ORDER_EVENTS,
                                        .origin = "orders/0",
                                        .key = order_id,
                                        .skip = skip,
                                        .message = &(struct message){.type = MESSAGE_ORDER_DELIVERED,
                                                                     .order_delivered = {order_id, version}}});
}

static enum order_status status_of(struct world *world, struct str order_id) {
    struct arena arena;
    arena_init(&arena);
    const struct view_order_row *row = row_of(world, &view_orders, order_id, &arena);
    assert_non_null(row);
    enum order_status status = row->order.status;
    arena_free(&arena);
    return status;
}

static void test_duplicates_are_dropped(void **state) {
    (void)state;
    struct world world;
    world_open(&world);
    struct story_order order = placed_order(&world, 1);
    say_delivered(&world, order.id, 2, -1); /* the number of the OrderPlaced again */
    story_flush(&world.story);
    read_all(&world, 0);
    assert_int_equal(status_of(&world, order.id), ORDER_STATUS_PENDING);
    say_delivered(&world, order.id, 3, -1); /* and once more, in a run of its own */
    say_delivered(&world, order.id, 2, 0);
    story_flush(&world.story);
    read_all(&world, 0);
    assert_int_equal(status_of(&world, order.id), ORDER_STATUS_DELIVERED);
    world_close(&world);
}

/* Halts at the record behind the hole; what came before is there, what comes after is not, also after a restart. */
static void test_gap_halts(void **state) {
    (void)state;
    struct world world;
    struct runner runner;
    world_open(&world);
    struct story_order order = placed_order(&world, 1);
    story_status(&world.story, &order, MESSAGE_ORDER_AWAITING_PAYMENT);
    say_delivered(&world, order.id, 3, 1);
    say_delivered(&world, order.id, 4, 0);
    story_flush(&world.story);
    for (int run = 0; run < 2; run++) {
        runner_init(&runner, &world, &view_orders);
        runner_start(&runner);
        await_halted(&runner, 1);
        runner_stop(&runner);
        assert_int_equal(runner.why, ERR_LOST_RECORDS);
        assert_int_equal(runner.halted, 1);
        assert_int_equal(status_of(&world, order.id), ORDER_STATUS_AWAITING_PAYMENT);
    }
    world_close(&world);
}

/* The first number of an origin is 1. */
static void test_missing_beginning_halts(void **state) {
    (void)state;
    struct world world;
    struct runner runner;
    struct arena arena;
    arena_init(&arena);
    world_open(&world);
    struct story_order order = story_order_new(&world.story, 1, STORY_COMPLETED);
    say_delivered(&world, order.id, 1, 1);
    story_flush(&world.story);
    runner_init(&runner, &world, &view_orders);
    runner_start(&runner);
    await_halted(&runner, 1);
    runner_stop(&runner);
    assert_int_equal(runner.why, ERR_LOST_RECORDS);
    assert_null(row_of(&world, &view_orders, order.id, &arena));
    world_close(&world);
    arena_free(&arena);
}

static void test_unknown_schema_halts(void **state) {
    (void)state;
    struct world world;
    struct runner runner;
    world_open(&world);
    struct story_order order = placed_order(&world, 1);
    story_append(&world.story, &(struct story_record){.topic = TOPIC_ORDER_EVENTS,
                                                      .origin = "orders/0",
                                                      .key = order.id,
                                                      .value = {"\0\0\x7F\x7F\x7F\0", 6}});
    say_delivered(&world, order.id, 2, 0);
    story_flush(&world.story);
    runner_init(&runner, &world, &view_orders);
    runner_start(&runner);
    await_halted(&runner, 1);
    runner_stop(&runner);
    assert_int_equal(runner.why, ERR_UNKNOWN_SCHEMA);
    assert_int_equal(status_of(&world, order.id), ORDER_STATUS_PENDING);
    world_close(&world);
}

static void test_poison_parks_its_subject(void **state) {
    (void)state;
    struct world world;
    world_open(&world);
    struct story_order order = placed_order(&world, 1), other = order;
    for (int64_t n = 2; log_partition_of(other.id, STORY_PARTITIONS) != log_partition_of(order.id, STORY_PARTITIONS) ||
                        str_eq(other.id, order.id);
         n++)
        other = story_order_new(&world.story, n, STORY_COMPLETED);
    story_placed(&world.story, &other);
    story_append(&world.story, &(struct story_record){.topic = TOPIC_ORDER_EVENTS,
                                                      .origin = "orders/0",
                                                      .key = order.id,
                                                      .value = {"\0\0\0\0\x09\0damaged", 13}});
    say_delivered(&world, order.id, 2, 0);
    say_delivered(&world, other.id, 2, 0);
    story_flush(&world.story);
    read_all(&world, 0);
    assert_int_equal(test_store.parked(world.store_url), 2);
    assert_int_equal(status_of(&world, order.id), ORDER_STATUS_PENDING);
    assert_int_equal(status_of(&world, other.id), ORDER_STATUS_DELIVERED);

    /* Still behind it after a restart, and by another topic. */
    say_delivered(&world, order.id, 3, 0);
    story_payment(&world.story, &order, MESSAGE_PAYMENT_REQUESTED);
    story_flush(&world.story);
    read_all(&world, 0);
    assert_int_equal(test_store.parked(world.store_url), 4);
    assert_int_equal(status_of(&world, order.id), ORDER_STATUS_PENDING);

    /* A rebuild parks the same. */
    char *expected = dump_of(&world);
    test_store.wipe(world.store_url);
    read_all(&world, 0);
    assert_read_as(&world, expected);
    world_close(&world);
}

/* What no store could keep, or what would make two shards write one row. */
static void test_what_cannot_be_kept_is_poison(void **state) {
    (void)state;
    struct world world;
    world_open(&world);
    struct str id = story_id(&world.story, "order", 1), sku = {"a\0b", 3};
    say_delivered(&world, STR("not-a-uuid"), 1, 0);
    story_append(&world.story, &(struct story_record){.topic = TOPIC_ORDER_EVENTS,
                                                      .origin = "orders/0",
                                                      .key = STR("another-key"),
                                                      .message = &(struct message){.type = MESSAGE_ORDER_DELIVERED,
                                                                                   .order_delivered = {id, 1}}});
    story_say(&world.story, TOPIC_CATALOGUE_EVENTS, NULL, sku, STR_NULL,
              &(struct message){.type = MESSAGE_CATALOGUE_PRODUCT_REVISED,
                                .catalogue_product_revised = {sku, STR("x"), story_usd(1), STR("a"), STR("b")}});
    story_flush(&world.story);
    read_all(&world, 0);
    assert_int_equal(test_store.parked(world.store_url), 3);
    world_close(&world);
}

/* The rows are of another log: nobody may go on from there. */
static void test_another_log_halts(void **state) {
    (void)state;
    struct world world, other;
    struct runner runner;
    world_open(&world);
    story_trade(&world.story, 0, 24); /* some in every shard */
    read_all(&world, 0);
    world_open(&other);
    runner_init(&runner, &other, &view_orders);
    runner.config.url = world.store_url;
    runner_start(&runner);
    await_halted(&runner, STORY_PARTITIONS);
    runner_stop(&runner);
    assert_int_equal(runner.why, ERR_CONFIG);
    world_close(&other);
    world_close(&world);
}

static void copy_folder(const char *from, const char *to) {
    BUF_AUTO command = {0};
    buf_printf(&command, "rm -rf '%s' && cp -a '%s' '%s'", to, from, to);
    assert_int_equal(system(command.ptr), 0);
}

/* The log was put back to an earlier time: what the rows know of is gone from it. */
static void test_lost_tail_halts(void **state) {
    (void)state;
    struct world world;
    struct runner runner;
    char backup[80];
    world_open(&world);
    snprintf(backup, sizeof(backup), "%s.backup", world.folder);
    story_trade(&world.story, 0, 8);
    world_close_log(&world);
    copy_folder(world.folder, backup);
    world_open_log(&world);
    story_open(&world.story, world.log);
    placed_order(&world, 100);
    story_flush(&world.story);
    read_all(&world, 0);
    world_close_log(&world);
    copy_folder(backup, world.folder);
    world_open_log(&world);
    story_open(&world.story, world.log);
    runner_init(&runner, &world, &view_orders);
    runner_start(&runner);
    await_halted(&runner, 1);
    runner_stop(&runner);
    assert_int_equal(runner.why, ERR_LOST_RECORDS);
    assert_int_equal(runner.halted, 1);
    nftw(backup, world_remove, 8, FTW_DEPTH | FTW_PHYS);
    world_close(&world);
}

#endif
