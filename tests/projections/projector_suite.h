/* What every store of read models must do for the projector: the same tests for all of them. */
#ifndef ORDERLOG_TESTS_PROJECTIONS_PROJECTOR_SUITE_H
#define ORDERLOG_TESTS_PROJECTIONS_PROJECTOR_SUITE_H

#include <sys/wait.h>

#include "projections/fold_recommendation.h"
#include "core/domain/cart.h"
#include "tests/projections/projector_faults.h"
#include "tests/projections/projector_rebuild.h"
#include "tests/projections/projector_records.h"

/* ---- rows ---- */

static void test_rows(void **state) {
    (void)state;
    struct world world;
    struct arena arena;
    arena_init(&arena);
    world_open(&world);
    story_trade(&world.story, 0, 8);
    read_all(&world, 0);

    const struct view_order_row *order = row_of(&world, &view_orders, story_id(&world.story, "order", 0), &arena);
    assert_non_null(order);
    assert_int_equal(order->order.status, ORDER_STATUS_COMPLETED);
    assert_int_equal(order->order.lines.count, 2);
    struct str order_sku = order->order.lines.items[0].sku, other_sku = order->order.lines.items[1].sku;
    assert_true(str_eq(order->order.payments.items[0].status, STR("captured")));
    assert_true(str_eq(order->order.shipments.items[0].status, STR("delivered")));
    assert_true(order->confirmed_at.has && order->completed_at.has);
    order = row_of(&world, &view_orders, story_id(&world.story, "order", 2), &arena);
    assert_int_equal(order->order.status, ORDER_STATUS_CANCELLED);
    assert_true(str_eq(order->order.payments.items[0].status, STR("voided")));

    const struct state_cart *cart = row_of(&world, &view_carts, story_id(&world.story, "cart", 0), &arena);
    assert_true(cart_exists(cart));
    assert_int_equal(cart->status, STATE_CART_STATUS_CHECKED_OUT);
    assert_int_equal(cart->lines.count, 1);

    const struct view_product_row *product = row_of(&world, &view_products, STR("SKU-3"), &arena);
    assert_true(product->for_sale);
    assert_int_equal(product->product.price.minor, 203);
    const struct counters *counters = map_get(&world.story.stock, STR("SKU-3"));
    assert_int_equal(product->product.available, counters->available);
    assert_null(row_of(&world, &view_products, STR("SKU-none"), &arena));
    struct str key =
        recommendation_key(&arena, log_partition_of(story_id(&world.story, "order", 0), STORY_PARTITIONS), order_sku);
    const struct view_recommendation_row *recommendation = row_of(&world, &view_recommendations, key, &arena);
    assert_true(str_eq(recommendation->sku, order_sku));
    assert_true(str_eq(recommendation->partners.items[0].sku, other_sku));
    assert_int_equal(recommendation->partners.items[0].orders, recommendation->orders);
    world_close(&world);
    arena_free(&arena);
}

/* ---- going on ---- */

static void test_restart_midway(void **state) {
    (void)state;
    struct world world;
    struct runner runner;
    world_open(&world);
    story_trade(&world.story, 0, 6);
    read_all(&world, 0);
    story_trade(&world.story, 6, 6);
    read_all(&world, 7);
    char *dump = dump_of(&world);
    test_store.wipe(world.store_url);

    struct projector_store_ops ops = faulty_ops(NO_TROUBLE, 0);
    runner_init(&runner, &world, &view_orders);
    runner.config.store = &ops;
    runner_start(&runner);
    await_read(&world, &view_orders);
    runner_stop(&runner);
    assert_true(faulty.saves > 0);
    read_all(&world, 0);
    assert_read_as(&world, dump);

    /* Nothing is left to be done: the next run saves nothing. */
    faulty.saves = 0;
    runner_init(&runner, &world, &view_orders);
    runner.config.store = &ops;
    runner_start(&runner);
    story_trade(&world.story, 12, 1);
    await_read(&world, &view_orders);
    runner_stop(&runner);
    assert_in_range(faulty.saves, 1, 40);
    world_close(&world);
}

/* What the group was told of a partition; -1: nothing. */
static int64_t told_offset(const struct world *world, struct str group, struct str topic, int32_t partition) {
    struct log_group_position *all;
    size_t count;
    int64_t offset = -1;
    struct err err = {0};
    if (!log_group_positions(world->log, &all, &count, &err))
        fail_msg("%s", err.detail);
    for (size_t i = 0; i < count; i++)
        if (str_eq(all[i].group, group) && str_eq(all[i].position.topic, topic) &&
            all[i].position.partition == partition)
            offset = all[i].position.offset;
    free(all);
    return offset;
}

/* What an owner has saved and could not tell any more, the next one tells, also when nothing comes after it. */
static void test_next_owner_tells_group(void **state) {
    (void)state;
    struct world world;
    struct runner runner;
    struct err err = {0};
    const struct str topic = str_from(view_orders.topics[0]);
    struct log_consumer *earlier;
    BUF_AUTO group = {0};
    int64_t low, high = 0;
    int32_t partition = 0;
    world_open(&world);
    story_trade(&world.story, 0, 4);
    read_all(&world, 0);
    buf_printf(&group, "%s-view-%s", test_store.ops->name, view_orders.name);
    for (; partition < STORY_PARTITIONS && high < 2; partition++)
        if (!log_watermarks(world.log, topic, partition, &low, &high, &err))
            fail_msg("%s", err.detail);
    assert_true(high >= 2);
    partition--;
    if (!log_consumer_open(world.log, buf_str(&group), &topic, 1, NULL, &earlier, &err))
        fail_msg("%s", err.detail);
    log_consumer_commit(earlier, &(struct log_position){topic, partition, 1}, 1);
    log_consumer_close(earlier);
    assert_int_equal(told_offset(&world, buf_str(&group), topic, partition), 1);
    runner_init(&runner, &world, &view_orders);
    runner_start(&runner);
    for (int64_t until_us = deadline_us(); told_offset(&world, buf_str(&group), topic, partition) != high;)
        nap(until_us, "what the group is told");
    runner_stop(&runner);
    world_close(&world);
}

/* Whatever the batches are, the rows are the same. */
static void test_rebuild_is_equal(void **state) {
    (void)state;
    struct world world;
    world_open(&world);
    story_trade(&world.story, 0, 24);
    char *expected = expected_of(&world);
    read_all(&world, 3);
    assert_read_as(&world, expected);
    world_close(&world);
}

/* Nothing comes any more, and still it is filled again. */
static void test_wipe_while_idle(void **state) {
    (void)state;
    struct world world;
    struct runner runner;
    world_open(&world);
    story_trade(&world.story, 0, 6);
    char *expected = expected_of(&world);
    runner_init(&runner, &world, &view_orders);
    runner.config.look_ms = 20;
    runner_start(&runner);
    await_read(&world, &view_orders);
    test_store.wipe(world.store_url);
    await_read(&world, &view_orders);
    runner_stop(&runner);
    read_all(&world, 0);
    assert_read_as(&world, expected);
    world_close(&world);
}

static void test_wipe_while_running(void **state) {
    (void)state;
    struct world world;
    struct runner runner;
    world_open(&world);
    story_trade(&world.story, 0, 12);
    char *expected = expected_of(&world);
    runner_init(&runner, &world, &view_orders);
    runner.config.batch_max = 20;
    runner_start(&runner);
    await_read(&world, &view_orders);
    test_store.wipe(world.store_url);
    /* Something must come for it to notice by; of an order that is known, and dropped again as a duplicate. */
    struct story_order order = story_order_new(&world.story, 0, STORY_COMPLETED);
    for (int64_t n = 0; n < 40; n++) {
        struct story_order other = story_order_new(&world.story, n, STORY_COMPLETED);
        if (log_partition_of(other.id, STORY_PARTITIONS) == log_partition_of(order.id, STORY_PARTITIONS))
            order = other;
        story_append(&world.story,
                     &(struct story_record){.topic = TOPIC_ORDER_EVENTS,
                                            .origin = "orders/0",
                                            .key = other.id,
                                            .skip = -1,
                                            .message = &(struct message){.type = MESSAGE_ORDER_DELIVERED,
                                                                         .order_delivered = {other.id, 9}}});
    }
    story_flush(&world.story);
    await_read(&world, &view_orders);
    runner_stop(&runner);
    read_all(&world, 0);
    char *dump = dump_of(&world);
    test_store.wipe(world.store_url);
    free(expected);
    expected = expected_of(&world);
    assert_dumps_equal(dump, expected);
    free(dump);
    free(expected);
    world_close(&world);
}

/* Not so often that nothing can ever be done. */
static void cut_now_and_then(const char *url) {
    static int looks;
    if (++looks % 10 == 0)
        test_store.cut(url);
}

static void test_cut_connections(void **state) {
    (void)state;
    struct world world;
    struct runner runner;
    world_open(&world);
    story_trade(&world.story, 0, 12);
    char *expected = expected_of(&world);
    runner_init(&runner, &world, &view_orders);
    runner.config.batch_max = 5;
    runner_start(&runner);
    await_read_while(&world, &view_orders, cut_now_and_then);
    runner_stop(&runner);
    read_all(&world, 0);
    assert_read_as(&world, expected);
    world_close(&world);
}

/* ---- exactly once ---- */

static void test_lost_answers(void **state) {
    (void)state;
    struct world world;
    struct runner runner;
    world_open(&world);
    story_trade(&world.story, 0, 10);
    char *expected = expected_of(&world);
    struct projector_store_ops ops = faulty_ops(ANSWER_LOST, 2);
    runner_init(&runner, &world, &view_orders);
    runner.config.store = &ops;
    runner.config.batch_max = 5;
    runner_start(&runner);
    await_read(&world, &view_orders);
    runner_stop(&runner);
    assert_true(faulty.saves > 6);
    read_all(&world, 0);
    assert_read_as(&world, expected);
    world_close(&world);
}

/* In a process of its own that dies around its nth save. Answers whether it did, or came to the end. */
static bool die_at_save(struct world *world, const struct view *view, enum trouble trouble, int save) {
    world_close_log(world);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct runner runner;
        struct projector_store_ops ops = faulty_ops(trouble, save);
        world_open_log(world);
        runner_init(&runner, world, view);
        runner.config.store = &ops;
        runner.config.batch_max = 25;
        runner_start(&runner);
        await_read(world, view);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    world_open_log(world);
    story_open(&world->story, world->log);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status) == 9;
}

static void test_kill_around_saves(void **state) {
    (void)state;
    struct world world;
    int deaths = 0;
    world_open(&world);
    story_trade(&world.story, 0, 10);
    char *expected = expected_of(&world);
    for (size_t i = 0; i < VIEW_COUNT; i++) {
        int round = 0;
        while (die_at_save(&world, views_all[i], round % 2 ? DIE_AFTER : DIE_BEFORE, 1 + round % 3))
            round++;
        deaths += round;
    }
    assert_true(deaths > 4);
    read_all(&world, 0);
    assert_read_as(&world, expected);
    world_close(&world);
}

/* One who read the positions, then slept while another moved on. */
static void test_zombie_is_refused(void **state) {
    (void)state;
    struct world world;
    struct arena arena;
    struct err err = {0};
    struct shard_held held = {0};
    struct projector_store *zombie;
    arena_init(&arena);
    world_open(&world);
    story_trade(&world.story, 0, 4);
    read_all(&world, 0);
    assert_true(test_store.ops->open(world.store_url, &view_orders, &zombie, &err));
    assert_true(test_store.ops->load(zombie, 0, &arena, &held, &err));
    held.positions = arena_dup(&arena, held.positions);
    story_trade(&world.story, 4, 12);
    read_all(&world, 0);
    char *before = dump_of(&world);

    struct str key = story_id(&world.story, "order", 99);
    struct view_order_row order = {.shopper_id = STR(""), .cart_id = STR(""), .order = {.order_id = key}};
    struct view_row row = {.key = key, .value = &order, .changed = 1}, *rows[] = {&row};
    struct shard_save saves[] = {
        {.shard = 0, .expected = held.positions, .positions = STR("new"), .rows = rows, .row_count = 1},
        {.shard = 1, .expected = STR_NULL, .positions = STR("new"), .rows = rows, .row_count = 1}};
    assert_true(test_store.ops->save(zombie, saves, 1, &arena, &err));
    assert_true(saves[0].conflict);
    assert_true(test_store.ops->save(zombie, saves + 1, 1, &arena, &err));
    assert_true(saves[1].conflict);
    char *after = dump_of(&world);
    assert_dumps_equal(after, before);
    free(before);
    free(after);
    test_store.ops->close(zombie);
    world_close(&world);
    arena_free(&arena);
}

/* ---- several views in one thread ---- */

struct together {
    struct runner runners[VIEW_COUNT];
    pthread_t thread;
    bool ok;
    struct err err;
};

static void *together_main(void *user) {
    struct together *together = user;
    const struct projector_config *configs[VIEW_COUNT];
    for (size_t i = 0; i < VIEW_COUNT; i++)
        configs[i] = &together->runners[i].config;
    together->ok = projector_run_together(together->runners[0].world->log, configs, VIEW_COUNT,
                                          &together->runners[0].stop, &together->err);
    return NULL;
}

static void together_start(struct together *together, struct world *world) {
    for (size_t i = 0; i < VIEW_COUNT; i++) {
        runner_init(&together->runners[i], world, views_all[i]);
        together->runners[i].config.batch_max = 7;
    }
    assert_int_equal(pthread_create(&together->thread, NULL, together_main, together), 0);
}

static void together_await(const struct world *world, void (*meanwhile)(const char *url)) {
    for (size_t i = 0; i < VIEW_COUNT; i++)
        await_read_while(world, views_all[i], meanwhile);
}

static void together_stop(struct together *together) {
    atomic_store(&together->runners[0].stop, true);
    projector_wake(&together->runners[0].waker);
    pthread_join(together->thread, NULL);
    if (!together->ok)
        fail_msg("%s", together->err.detail);
}

/* They come to the same rows as each alone, also when connections are cut and when all is wiped meanwhile: then all
 * shards of all views find other positions than they expect, and begin again. */
static void test_together(void **state) {
    (void)state;
    struct world world;
    struct together together;
    world_open(&world);
    story_trade(&world.story, 0, 12);
    together_start(&together, &world);
    together_await(&world, cut_now_and_then);
    test_store.wipe(world.store_url);
    story_trade(&world.story, 12, 24); /* something must come to each shard for it to notice by */
    together_await(&world, NULL);
    together_stop(&together);
    read_all(&world, 0);
    char *dump = dump_of(&world), *expected;
    test_store.wipe(world.store_url);
    expected = expected_of(&world);
    assert_dumps_equal(dump, expected);
    free(dump);
    free(expected);
    world_close(&world);
}

/* One view's shards are halted: the others go on. */
static void test_together_one_halts(void **state) {
    (void)state;
    struct world world;
    struct together together;
    world_open(&world);
    story_trade(&world.story, 0, 4);
    struct story_order order = placed_order(&world, 50);
    say_delivered(&world, order.id, 2, 1);
    story_flush(&world.story);
    together_start(&together, &world);
    await_halted(&together.runners[1], 1);
    await_read(&world, views_all[0]);
    await_read(&world, views_all[2]);
    assert_int_equal(atomic_load(&together.runners[0].halted) + atomic_load(&together.runners[2].halted), 0);
    together_stop(&together);
    world_close(&world);
}

#define PROJECTOR_TESTS                                                                                                \
    cmocka_unit_test(test_rows), cmocka_unit_test(test_restart_midway), cmocka_unit_test(test_rebuild_is_equal),       \
        cmocka_unit_test(test_next_owner_tells_group), cmocka_unit_test(test_wipe_while_idle),                         \
        cmocka_unit_test(test_wipe_while_running), cmocka_unit_test(test_cut_connections),                             \
        cmocka_unit_test(test_lost_answers), cmocka_unit_test(test_kill_around_saves),                                 \
        cmocka_unit_test(test_zombie_is_refused), cmocka_unit_test(test_duplicates_are_dropped),                       \
        cmocka_unit_test(test_gap_halts), cmocka_unit_test(test_missing_beginning_halts),                              \
        cmocka_unit_test(test_unknown_schema_halts), cmocka_unit_test(test_poison_parks_its_subject),                  \
        cmocka_unit_test(test_what_cannot_be_kept_is_poison), cmocka_unit_test(test_another_log_halts),                \
        cmocka_unit_test(test_lost_tail_halts), cmocka_unit_test(test_together),                                       \
        cmocka_unit_test(test_together_one_halts)

#endif
