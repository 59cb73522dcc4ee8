/* A rebuild beside the live rows: the same tests for all stores. */
#ifndef ORDERLOG_TESTS_PROJECTIONS_PROJECTOR_REBUILD_H
#define ORDERLOG_TESTS_PROJECTIONS_PROJECTOR_REBUILD_H

#include "projections/rebuild.h"
#include "tests/projections/projector_faults.h"

/* ---- what is there, whichever generation it is ---- */

static int line_cmp(const void *a, const void *b) {
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* Of a rebuild that is not over, or of where a shard stands: not rows. */
static bool is_no_row(struct str line) {
    static const char *const marks[] = {":pos:", ":whole:", "orderlog:rebuild:"};
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
        if (memmem(line.ptr, line.len, marks[i], strlen(marks[i])))
            return true;
    return str_starts_with(line, STR("(view-")) && !memmem(line.ptr, line.len, "shop.", 5);
}

/* `live`: rows in Redis that carry a generation's number are left out, else the number is. */
static char *rows_of(const struct world *world, bool without_numbered) {
    char *dump = dump_of(world);
    struct str *lines = mem_alloc((strlen(dump) + 1) * sizeof(*lines));
    struct buf rows = {0};
    size_t count = 0;
    for (struct str rest = str_from(dump); rest.ptr;) {
        struct str line = str_cut(rest, '\n', &rest), after;
        struct str tag = str_cut(line, ':', &after), number = str_cut(after, ':', &after);
        bool numbered = str_starts_with(tag, STR("{p")) && number.len > 1 && number.ptr[0] == 'g' && after.ptr;
        if (!line.len || is_no_row(line) || (numbered && without_numbered))
            continue;
        BUF_AUTO text = {0};
        if (numbered)
            buf_printf(&text, "%.*s:%.*s", STR_ARG(tag), STR_ARG(after));
        else
            buf_add_str(&text, line);
        lines[count++] = (struct str){mem_strdup(buf_str(&text)), text.len};
    }
    if (count)
        qsort(lines, count, sizeof(*lines), line_cmp);
    for (size_t i = 0; i < count; i++) {
        buf_printf(&rows, "%s\n", lines[i].ptr);
        free((void *)(uintptr_t)lines[i].ptr);
    }
    buf_add_char(&rows, '\0');
    free(lines);
    free(dump);
    return rows.ptr;
}

static void assert_rows(const struct world *world, char *expected) {
    char *rows = rows_of(world, false);
    assert_dumps_equal(rows, expected);
    free(rows);
    free(expected);
}

/* What the log comes to by the projectors alone. The store holds just that then. */
static char *rows_by_projectors(struct world *world) {
    test_store.wipe(world->store_url);
    read_all(world, 0);
    return rows_of(world, false);
}

/* ---- running one ---- */

struct rebuilding {
    struct world *world;
    struct rebuild_config config;
    struct rebuild_report report;
    struct shop shop;
    struct err err;
    int stop_at;      /* a phase; -1: none */
    int phases_begun; /* bits */
    void (*on_phase)(struct rebuilding *rebuilding, enum rebuild_phase phase);
    int64_t next_order;
    bool tried_another;
    char first[256]; /* what differed first */
    bool status_differed;
};

static bool rebuilding_progress(void *user, enum rebuild_phase phase, int64_t done, int64_t total) {
    struct rebuilding *rebuilding = user;
    (void)done, (void)total;
    bool begins = !(rebuilding->phases_begun & 1 << phase);
    rebuilding->phases_begun |= 1 << phase;
    if (begins && rebuilding->on_phase)
        rebuilding->on_phase(rebuilding, phase);
    return (int)phase != rebuilding->stop_at;
}

static void rebuilding_differs(void *user, const struct generation_difference *difference) {
    struct rebuilding *rebuilding = user;
    rebuilding->status_differed |= memmem(difference->what.ptr, difference->what.len, "status", 6) != NULL;
    if (!rebuilding->first[0])
        snprintf(rebuilding->first, sizeof(rebuilding->first), "%s %.*s: %.*s", difference->table,
                 STR_ARG(difference->key), STR_ARG(difference->what));
}

static void rebuilding_init(struct rebuilding *rebuilding, struct world *world) {
    *rebuilding = (struct rebuilding){.world = world, .stop_at = -1, .shop = shop_defaults()};
    rebuilding->config = (struct rebuild_config){.log = world->log,
                                                 .store = test_store.generation,
                                                 .url = world->store_url,
                                                 .views = views_all,
                                                 .view_count = VIEW_COUNT,
                                                 .shop = &rebuilding->shop,
                                                 .made_by = STR("test"),
                                                 .progress = rebuilding_progress,
                                                 .differs = rebuilding_differs,
                                                 .user = rebuilding};
}

static bool rebuilding_run(struct rebuilding *rebuilding) {
    buf_free(&rebuilding->report.note);
    rebuilding->phases_begun = 0;
    rebuilding->first[0] = '\0';
    rebuilding->err = (struct err){0};
    rebuilding->config.user = rebuilding;
    rebuilding->config.shop = &rebuilding->shop;
    return rebuild_run(&rebuilding->config, &rebuilding->report, &rebuilding->err);
}

static void rebuilding_must(struct rebuilding *rebuilding) {
    if (!rebuilding_run(rebuilding))
        fail_msg("%s", rebuilding->err.detail);
}

/* ---- damage ---- */

/* As if the projector had written it, and, unless reason is NULL, set aside a record of its subject. */
static void write_row(struct world *world, struct view_order_row *order, const char *reason) {
    struct projector_store *store;
    struct shard_held held = {0};
    struct arena arena;
    struct err err = {0};
    struct str key = order->order.order_id;
    struct view_row row = {.key = key, .value = order, .changed = UINT32_MAX}, *rows[] = {&row};
    struct state_parked parked = {.topic = STR(TOPIC_ORDER_EVENTS),
                                  .partition = log_partition_of(key, STORY_PARTITIONS),
                                  .offset = 1000000,
                                  .subject = key,
                                  .id = STR(""),
                                  .type = STR(""),
                                  .reason = str_from(reason),
                                  .record = STR("")};
    arena_init(&arena);
    row.shard = log_partition_of(key, STORY_PARTITIONS);
    row.held = true;
    assert_true(test_store.ops->open(world->store_url, &view_orders, &store, &err));
    assert_true(test_store.ops->load(store, row.shard, &arena, &held, &err));
    struct view_row there = {.key = key, .shard = row.shard}, *theres[] = {&there};
    held.positions = arena_dup(&arena, held.positions);
    assert_true(test_store.ops->load_rows(store, theres, 1, &arena, &err));
    row.held = there.value != NULL;
    struct shard_save save = {.shard = row.shard,
                              .expected = held.positions,
                              .positions = held.positions,
                              .rows = rows,
                              .row_count = 1,
                              .parked = &parked,
                              .parked_count = reason != NULL};
    if (!test_store.ops->save(store, &save, 1, &arena, &err))
        fail_msg("%s", err.detail);
    assert_false(save.conflict);
    test_store.ops->close(store);
    arena_free(&arena);
}

static void damage(struct world *world) {
    struct arena arena;
    arena_init(&arena);
    struct view_order_row *order = row_of(world, &view_orders, story_id(&world->story, "order", 0), &arena);
    order->order.status = ORDER_STATUS_EXPIRED;
    write_row(world, order, NULL);
    struct view_order_row unknown = {
        .shopper_id = STR(""), .cart_id = STR(""), .order = {.order_id = story_id(&world->story, "order", 777)}};
    write_row(world, &unknown, NULL);
    arena_free(&arena);
}

/* ---- the tests ---- */

static void test_rebuild_mends(void **state) {
    (void)state;
    struct world world;
    struct rebuilding rebuilding;
    world_open(&world);
    story_trade(&world.story, 0, 24);
    read_all(&world, 0);
    char *expected = rows_of(&world, false);
    damage(&world);
    char *damaged = rows_of(&world, false);
    rebuilding_init(&rebuilding, &world);
    rebuilding.config.only_compare = true;
    rebuilding_must(&rebuilding);
    assert_true(rebuilding.report.compared);
    assert_int_equal(rebuilding.report.differences, 2);
    assert_non_null(strstr(rebuilding.first, "orders "));
    assert_true(rebuilding.status_differed);
    assert_false(rebuilding.report.swapped);
    assert_rows(&world, damaged);
    rebuilding.config.only_compare = false;
    rebuilding_must(&rebuilding);
    assert_int_equal(rebuilding.report.differences, 2);
    assert_true(rebuilding.report.swapped);
    assert_false(rebuilding.report.resumed);
    assert_rows(&world, mem_strdup(str_from(expected)));
    rebuilding.config.only_compare = true;
    rebuilding_must(&rebuilding);
    assert_int_equal(rebuilding.report.differences, 0);
    /* The projectors go on from there. */
    story_trade(&world.story, 24, 12);
    read_all(&world, 0);
    char *later = rows_of(&world, false);
    char *plain = rows_by_projectors(&world);
    assert_dumps_equal(later, plain);
    free(later);
    free(plain);
    free(expected);
    buf_free(&rebuilding.report.note);
    world_close(&world);
}

/* One view alone: the others stay as they are, damage and all. */
static void test_rebuild_of_one_view(void **state) {
    (void)state;
    struct world world;
    struct rebuilding rebuilding;
    world_open(&world);
    story_trade(&world.story, 0, 12);
    read_all(&world, 0);
    char *expected = rows_of(&world, false);
    damage(&world);
    char *damaged = rows_of(&world, false);
    rebuilding_init(&rebuilding, &world);
    for (int i = 0; i < VIEW_COUNT; i++) {
        rebuilding.config.views = &views_all[i];
        rebuilding.config.view_count = 1;
        rebuilding_must(&rebuilding);
        assert_true(rebuilding.report.swapped);
        bool mends = views_all[i] == &view_orders;
        assert_int_equal(rebuilding.report.differences, mends ? 2 : 0);
        if (mends) {
            free(damaged);
            damaged = mem_strdup(str_from(expected));
        }
        assert_rows(&world, mem_strdup(str_from(damaged)));
    }
    free(damaged);
    free(expected);
    buf_free(&rebuilding.report.note);
    world_close(&world);
}

static void trade_on(struct rebuilding *rebuilding, enum rebuild_phase phase) {
    (void)phase;
    story_trade(&rebuilding->world->story, rebuilding->next_order, 8);
    rebuilding->next_order += 8;
}

/* Projectors run and records come, at every step of it. */
static void test_rebuild_beside_projectors(void **state) {
    (void)state;
    struct world world;
    struct rebuilding rebuilding;
    struct runner runners[VIEW_COUNT];
    world_open(&world);
    story_trade(&world.story, 0, 16);
    for (size_t i = 0; i < VIEW_COUNT; i++) {
        runner_init(&runners[i], &world, views_all[i]);
        runners[i].config.batch_max = 7;
        runner_start(&runners[i]);
        await_read(&world, views_all[i]);
    }
    rebuilding_init(&rebuilding, &world);
    rebuilding.on_phase = trade_on;
    rebuilding.next_order = 16;
    for (int round = 0; round < 2; round++) {
        rebuilding_must(&rebuilding);
        assert_true(rebuilding.report.swapped && rebuilding.report.compared);
        if (rebuilding.report.differences)
            fail_msg("%s", rebuilding.first);
    }
    assert_true(rebuilding.next_order > 16 + 8 * 6);
    for (size_t i = 0; i < VIEW_COUNT; i++) {
        await_read(&world, views_all[i]);
        runner_stop(&runners[i]);
    }
    char *rows = rows_of(&world, false);
    char *expected = rows_by_projectors(&world);
    assert_dumps_equal(rows, expected);
    free(rows);
    free(expected);
    buf_free(&rebuilding.report.note);
    world_close(&world);
}

/* Stopped at any step, the live rows are as they were; another rebuild goes on or begins anew, and says which. */
static void test_rebuild_interrupted(void **state) {
    (void)state;
    struct world world;
    struct rebuilding rebuilding;
    world_open(&world);
    story_trade(&world.story, 0, 12);
    for (int phase = REBUILD_FOLD; phase <= REBUILD_SWAP; phase++) {
        if (phase == REBUILD_READ_ON || phase == REBUILD_COMPARE)
            continue; /* as the one before */
        char *expected = rows_by_projectors(&world);
        rebuilding_init(&rebuilding, &world);
        rebuilding.stop_at = phase;
        assert_false(rebuilding_run(&rebuilding));
        assert_non_null(strstr(rebuilding.err.detail, "interrupted"));
        char *live = rows_of(&world, true);
        assert_dumps_equal(live, expected);
        free(live);
        story_trade(&world.story, 12 + 4 * phase, 4);
        read_all(&world, 0);
        rebuilding.stop_at = -1;
        rebuilding_must(&rebuilding);
        assert_int_equal(rebuilding.report.resumed, phase > REBUILD_WRITE);
        assert_true(rebuilding.report.note.len > 0);
        assert_int_equal(rebuilding.report.differences, 0);
        free(expected);
        char *rows = rows_of(&world, false);
        expected = rows_by_projectors(&world);
        assert_dumps_equal(rows, expected);
        free(rows);
        free(expected);
        buf_free(&rebuilding.report.note);
    }
    /* What another program left is not taken up. */
    rebuilding_init(&rebuilding, &world);
    rebuilding.stop_at = REBUILD_COMPARE;
    assert_false(rebuilding_run(&rebuilding));
    rebuilding.stop_at = -1;
    rebuilding.config.made_by = STR("another program");
    rebuilding_must(&rebuilding);
    assert_false(rebuilding.report.resumed);
    buf_free(&rebuilding.report.note);
    world_close(&world);
}

static void try_another(struct rebuilding *rebuilding, enum rebuild_phase phase) {
    struct rebuilding other;
    rebuilding_init(&other, rebuilding->world);
    if (phase != REBUILD_WRITE)
        return;
    assert_false(rebuilding_run(&other));
    assert_int_equal(other.err.kind, ERR_FENCED);
    rebuilding->tried_another = true;
    buf_free(&other.report.note);
}

static void test_rebuild_is_alone(void **state) {
    (void)state;
    struct world world;
    struct rebuilding rebuilding;
    world_open(&world);
    story_trade(&world.story, 0, 4);
    read_all(&world, 0);
    rebuilding_init(&rebuilding, &world);
    rebuilding.on_phase = try_another;
    rebuilding_must(&rebuilding);
    assert_true(rebuilding.tried_another);
    assert_true(rebuilding.report.swapped);
    buf_free(&rebuilding.report.note);
    world_close(&world);
}

/* A record was set aside that can be handled now: it comes back, and its subject goes on, under a running projector. */
static void test_rebuild_brings_parked_back(void **state) {
    (void)state;
    struct world world;
    struct rebuilding rebuilding;
    struct runner runner;
    struct arena arena;
    world_open(&world);
    arena_init(&arena);
    story_trade(&world.story, 0, 4);
    struct story_order order = story_order_new(&world.story, 4, STORY_COMPLETED);
    story_placed(&world.story, &order);
    story_flush(&world.story);
    read_all(&world, 0);
    write_row(&world, row_of(&world, &view_orders, order.id, &arena), "could not be handled");
    runner_init(&runner, &world, &view_orders);
    runner_start(&runner);
    story_payment(&world.story, &order, MESSAGE_PAYMENT_REQUESTED);
    story_flush(&world.story);
    await_read(&world, &view_orders);
    assert_int_equal(test_store.parked(world.store_url), 2);
    rebuilding_init(&rebuilding, &world);
    rebuilding_must(&rebuilding);
    assert_int_equal(test_store.parked(world.store_url), 0);
    story_payment(&world.story, &order, MESSAGE_PAYMENT_AUTHORIZED);
    story_flush(&world.story);
    await_read(&world, &view_orders);
    runner_stop(&runner);
    assert_int_equal(test_store.parked(world.store_url), 0);
    char *rows = rows_of(&world, false);
    char *expected = rows_by_projectors(&world);
    assert_dumps_equal(rows, expected);
    free(rows);
    free(expected);
    arena_free(&arena);
    buf_free(&rebuilding.report.note);
    world_close(&world);
}

/* There is nothing live: then there is nothing to compare with, and all of the log is folded. */
static void test_rebuild_from_nothing(void **state) {
    (void)state;
    struct world world;
    struct rebuilding rebuilding;
    world_open(&world);
    story_trade(&world.story, 0, 12);
    char *expected = rows_by_projectors(&world);
    test_store.wipe(world.store_url);
    rebuilding_init(&rebuilding, &world);
    rebuilding.config.memory_bytes = 1; /* every row goes through the file after every batch */
    rebuilding_must(&rebuilding);
    assert_false(rebuilding.report.compared);
    assert_true(rebuilding.report.swapped);
    assert_rows(&world, expected);
    story_trade(&world.story, 12, 4);
    read_all(&world, 0);
    char *rows = rows_of(&world, false);
    expected = rows_by_projectors(&world);
    assert_dumps_equal(rows, expected);
    free(rows);
    free(expected);
    buf_free(&rebuilding.report.note);
    world_close(&world);
}

#define REBUILD_TESTS                                                                                                  \
    cmocka_unit_test(test_rebuild_mends), cmocka_unit_test(test_rebuild_of_one_view),                                  \
        cmocka_unit_test(test_rebuild_beside_projectors), cmocka_unit_test(test_rebuild_interrupted),                  \
        cmocka_unit_test(test_rebuild_is_alone), cmocka_unit_test(test_rebuild_brings_parked_back),                    \
        cmocka_unit_test(test_rebuild_from_nothing)

#endif
