/* The catalogue in memory: what it takes, what it passes over, and what it must not read past. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "consumers/catalogue.h"
#include "core/base/logging.h"
#include "core/codec/avro.h"
#include "core/log/append.h"

struct place {
    char folder[64];
    struct log *log;
    struct log_producer *producer;
    struct catalogue *catalogue;
};

static int set_up(void **state) {
    struct place *place = mem_zalloc(sizeof(*place));
    struct err err = {0};
    char url[96];
    struct log_options options = {0};
    struct log_topic_spec spec = {.name = TOPIC_CATALOGUE_EVENTS, .partitions = 1, .retention_ms = -1};
    snprintf(place->folder, sizeof(place->folder), "/tmp/orderlog-catalogue.XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    snprintf(url, sizeof(url), "sqlite://%s/log.db", place->folder);
    if (!log_open(url, &options, &place->log, &err) || !log_topics_create(place->log, &spec, 1, &err) ||
        !log_producer_open(place->log, NULL, &place->producer, &err) ||
        !catalogue_open(place->log, &place->catalogue, &err))
        fail_msg("%s", err.detail);
    *state = place;
    return 0;
}

static int tear_down(void **state) {
    struct place *place = *state;
    char command[96];
    catalogue_close(place->catalogue);
    log_producer_close(place->producer);
    log_close(place->log);
    snprintf(command, sizeof(command), "rm -rf %s", place->folder);
    assert_int_equal(system(command), 0);
    free(place);
    return 0;
}

static void append(struct place *place, struct str value) {
    struct err err = {0};
    int32_t partition;
    int64_t offset;
    struct log_record record = {.topic = STR(TOPIC_CATALOGUE_EVENTS), .key = STR("k"), .value = value};
    if (!log_append_wait(place->producer, &record, 10000, &partition, &offset, &err))
        fail_msg("%s", err.detail);
}

static void append_message(struct place *place, const struct message *message) {
    struct err err = {0};
    BUF_AUTO value = {0};
    assert_true(message_encode(schema_subject_find(STR(TOPIC_CATALOGUE_EVENTS)), message, &value, &err));
    append(place, buf_str(&value));
}

static void revise(struct place *place, const char *sku, int64_t minor) {
    struct message message = {.type = MESSAGE_CATALOGUE_PRODUCT_REVISED};
    message.catalogue_product_revised = (struct catalogue_product_revised){.sku = str_from(sku),
                                                                           .name = STR("A thing"),
                                                                           .price = {minor, STR("USD")},
                                                                           .actor = STR("a"),
                                                                           .body_hash = STR("h")};
    append_message(place, &message);
}

static void withdraw(struct place *place, const char *sku) {
    struct message message = {.type = MESSAGE_CATALOGUE_PRODUCT_WITHDRAWN};
    message.catalogue_product_withdrawn =
        (struct catalogue_product_withdrawn){.sku = str_from(sku), .actor = STR("a"), .body_hash = STR("h")};
    append_message(place, &message);
}

/* -1: not for sale. */
static int64_t price_of(const struct place *place, const char *sku) {
    struct product product;
    return catalogue_find(place->catalogue, str_from(sku), &product) ? product.price.minor : -1;
}

static void follows_the_log(void **state) {
    struct place *place = *state;
    struct err err = {0};
    revise(place, "1", 100);
    revise(place, "2", 200);
    withdraw(place, "3"); /* never seen */
    assert_true(catalogue_catch_up(place->catalogue, &err));
    assert_int_equal(price_of(place, "1"), 100);
    assert_int_equal(price_of(place, "2"), 200);
    assert_int_equal(price_of(place, "3"), -1);
    revise(place, "1", 150);
    withdraw(place, "2");
    assert_true(catalogue_catch_up(place->catalogue, &err));
    assert_int_equal(price_of(place, "1"), 150);
    assert_int_equal(price_of(place, "2"), -1);
    revise(place, "2", 250);
    assert_true(catalogue_catch_up(place->catalogue, &err));
    assert_int_equal(price_of(place, "2"), 250);
}

/* A damaged record keeps nobody from the others. */
static void passes_over_damage(void **state) {
    struct place *place = *state;
    struct err err = {0};
    revise(place, "1", 100);
    append(place, STR("not a message"));
    append(place, STR_NULL);
    revise(place, "2", 200);
    assert_true(catalogue_catch_up(place->catalogue, &err));
    assert_int_equal(price_of(place, "1"), 100);
    assert_int_equal(price_of(place, "2"), 200);
}

/* What this program is too old for is never read past, nor is what was polled with it lost. */
static void stands_before_unknown_schema(void **state) {
    struct place *place = *state;
    revise(place, "1", 100);
    append(place, (struct str){"\0\0\1\0\0xyz", 8});
    revise(place, "2", 200);
    for (int i = 0; i < 3; i++) {
        struct err err = {0};
        assert_false(catalogue_catch_up(place->catalogue, &err));
        assert_int_equal(err.kind, ERR_UNKNOWN_SCHEMA);
        assert_non_null(strstr(err.detail, "offset 1"));
    }
    assert_int_equal(price_of(place, "1"), 100);
    assert_int_equal(price_of(place, "2"), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    logging_init(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(follows_the_log),
        TEST(passes_over_damage),
        TEST(stands_before_unknown_schema),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
