/* orderlog tail, topics and lag on a log made here. */
#include "cli/cli.h"
#include "core/base/clock.h"
#include "tests/cli/made_story.h"

/* ---- lines of output ---- */

struct lines {
    struct buf text;
    char *line[512];
    size_t count;
};

static void lines_free(struct lines *lines) {
    buf_free(&lines->text);
}
#define LINES_AUTO __attribute__((cleanup(lines_free))) struct lines

static int tail(struct lines *lines, const struct story *story, const char *arguments) {
    int status = made_run(&lines->text, "tail --log '%s' %s", story->made.url, arguments);
    char *rest = lines->text.ptr;
    for (char *line; rest && (line = strsep(&rest, "\n")) && *line;) {
        assert_true(lines->count < sizeof lines->line / sizeof lines->line[0]);
        lines->line[lines->count++] = line;
    }
    return status;
}

static json_t *line_json(const struct lines *lines, size_t index) {
    json_t *json = json_loads(lines->line[index], 0, NULL);
    if (!json)
        fail_msg("not JSON: %s", lines->line[index]);
    return json;
}

static const char *text_of(json_t *object, const char *name) {
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

/* One log for all tests that only read. */
static struct story shared;

static int make_shared(void **state) {
    (void)state;
    story_begin(&shared);
    story_tell(&shared);
    made_close(&shared.made);
    return 0;
}

static int remove_shared(void **state) {
    (void)state;
    made_remove(&shared.made);
    return 0;
}

/* ---- what is shown ---- */

static void a_line_tells_the_record(void **state) {
    (void)state;
    LINES_AUTO lines = {0};
    assert_int_equal(tail(&lines, &shared, "-t shop.order.events.v1 -e --output json --values hex"), 0);
    assert_int_equal(lines.count, 7);
    json_t *placed = line_json(&lines, 0), *event = json_object_get(placed, "event");
    int64_t time_us;
    assert_string_equal(text_of(placed, "topic"), "shop.order.events.v1");
    assert_true(json_is_integer(json_object_get(placed, "partition")));
    assert_int_equal(json_integer_value(json_object_get(placed, "offset")), 0);
    assert_true(clock_parse(str_from(text_of(placed, "timestamp")), &time_us));
    assert_true(time_us > 0 && time_us <= clock_now_us());
    assert_string_equal(text_of(placed, "type"), "shop.order.v1.OrderPlaced");
    assert_true(str_eq(str_from(text_of(placed, "key")), shared.order_id));
    assert_string_equal(text_of(json_object_get(placed, "headers"), "origin"), "orders/0");
    assert_string_equal(text_of(json_object_get(placed, "headers"), "origin_seq"), "1");
    assert_true(str_eq(str_from(text_of(event, "order_id")), shared.order_id));
    json_t *total = json_object_get(json_object_get(event, "totals"), "total");
    assert_int_equal(json_integer_value(json_object_get(total, "minor")), STORY_TOTAL);
    assert_string_equal(text_of(total, "currency"), "USD");
    assert_string_equal(text_of(event, "placed_at"), "2026-01-01T00:00:00Z");
    assert_true(strncmp(text_of(placed, "value_hex"), "00000000", 8) == 0);
    json_decref(placed);
}

/* Across partitions and topics by time, which is the order that they were appended in here. */
static void what_is_there_comes_in_the_order_of_time(void **state) {
    (void)state;
    LINES_AUTO lines = {0};
    assert_int_equal(tail(&lines, &shared, "-e -f '%T %t %p %o\\n'"), 0);
    assert_int_equal(lines.count, shared.made.made);
    long long before = 0;
    for (size_t i = 0; i < lines.count; i++) {
        long long time_ms = strtoll(lines.line[i], NULL, 10);
        assert_true(time_ms >= before);
        before = time_ms;
    }
    LINES_AUTO types = {0};
    assert_int_equal(tail(&types, &shared, "-e --output json -c 3"), 0);
    static const char *const wanted[] = {"shop.stock.v1.StockReceived", "shop.cart.v1.CartCreated",
                                         "shop.cart.v1.LineAdded"};
    assert_int_equal(types.count, 3);
    for (size_t i = 0; i < 3; i++) {
        json_t *record = line_json(&types, i);
        assert_string_equal(text_of(record, "type"), wanted[i]);
        json_decref(record);
    }
}

static void a_format_is_followed(void **state) {
    (void)state;
    LINES_AUTO lines = {0};
    BUF_AUTO wanted = {0};
    buf_printf(&wanted, "shop.order.events.v1|6|%.*s|36|\t{\"order_id\":\"%.*s\",\"version\":7}%%A",
               STR_ARG(shared.order_id), STR_ARG(shared.order_id));
    assert_int_equal(tail(&lines, &shared,
                          "-t shop.order.events.v1 --type OrderCompleted -e "
                          "-f '%t|%o|%k|%K|\\t%s%%\\x41\\n'"),
                     0);
    assert_int_equal(lines.count, 1);
    assert_string_equal(lines.line[0], wanted.ptr);
    LINES_AUTO headers = {0};
    assert_int_equal(tail(&headers, &shared, "-t shop.order.events.v1 -o -1 -e -f '%h\\n'"), 0);
    assert_non_null(strstr(headers.line[0], "ce_type=shop.order.v1.OrderCompleted,"));
}

static void a_table_has_a_line_for_each_record(void **state) {
    (void)state;
    LINES_AUTO lines = {0};
    assert_int_equal(tail(&lines, &shared, "-t shop.order.events.v1 -e --output table"), 0);
    assert_int_equal(lines.count, 7);
    assert_non_null(strstr(lines.line[6], "OrderCompleted"));
    assert_null(strchr(lines.line[6], '\033')); /* no terminal, no colours */
}

/* ---- which are shown ---- */

static size_t counted(const struct story *story, const char *arguments) {
    LINES_AUTO lines = {0};
    assert_int_equal(tail(&lines, story, arguments), 0);
    return lines.count;
}

static void filters_choose(void **state) {
    (void)state;
    BUF_AUTO arguments = {0};
    assert_int_equal(counted(&shared, "-t shop.order.events.v1,shop.payment.events.v1 -e"), 11);
    assert_int_equal(counted(&shared, "-t shop.order.events.v1 -t shop.payment.events.v1 -e"), 11);
    assert_int_equal(counted(&shared, "-e --type OrderShipped"), 1);
    assert_int_equal(counted(&shared, "-e --type shop.order.v1.OrderShipped"), 1);
    assert_int_equal(counted(&shared, "-e --type Shipped"), 0);
    assert_int_equal(counted(&shared, "-e -k SKU-1"), 4);
    assert_int_equal(counted(&shared, "-e -s SKU-1 -c 2"), 2);
    assert_int_equal(counted(&shared, "-e -c 0"), 0);
    buf_printf(&arguments, "-e -s %.*s", STR_ARG(shared.order_id));
    assert_int_equal(counted(&shared, arguments.ptr), 7 + 4 + 3 + 4);
    /* The API's record is its own command. */
    LINES_AUTO lines = {0};
    tail(&lines, &shared, "-t shop.cart.events.v1 -e -c 1 --output json");
    json_t *created = line_json(&lines, 0);
    buf_reset(&arguments);
    buf_printf(&arguments, "-e --command %s", text_of(json_object_get(created, "headers"), "ce_id"));
    assert_int_equal(counted(&shared, arguments.ptr), 1);
    json_decref(created);
}

static void an_offset_may_be_given_in_every_way(void **state) {
    (void)state;
    const char *orders = "-t shop.order.events.v1 -e";
    BUF_AUTO arguments = {0};
    int32_t partition = log_partition_of(shared.order_id, MADE_PARTITIONS);
    buf_printf(&arguments, "%s -p %d", orders, partition);
    assert_int_equal(counted(&shared, arguments.ptr), 7);
    buf_reset(&arguments);
    buf_printf(&arguments, "%s -p %d", orders, (partition + 1) % MADE_PARTITIONS);
    assert_int_equal(counted(&shared, arguments.ptr), 0);
    static const struct {
        const char *offset;
        size_t count;
    } ways[] = {{"beginning", 7}, {"end", 0}, {"-2", 2}, {"-100", 7}, {"5", 2}, {"0", 7}, {"1000", 0}};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        buf_reset(&arguments);
        buf_printf(&arguments, "%s -o %s", orders, ways[i].offset);
        assert_int_equal(counted(&shared, arguments.ptr), ways[i].count);
    }
}

static void a_time_may_be_given(void **state) {
    (void)state;
    LINES_AUTO lines = {0};
    BUF_AUTO arguments = {0};
    tail(&lines, &shared, "-t shop.order.events.v1 -e --output json");
    json_t *fourth = line_json(&lines, 3);
    const char *time = text_of(fourth, "timestamp");
    buf_printf(&arguments, "-t shop.order.events.v1 -e -o s@%s", time);
    size_t from = counted(&shared, arguments.ptr);
    buf_reset(&arguments);
    buf_printf(&arguments, "-t shop.order.events.v1 -o e@%s", time); /* in the past: ends by itself */
    size_t until = counted(&shared, arguments.ptr);
    assert_int_equal(from, 4);
    assert_int_equal(until, 3);
    assert_int_equal(counted(&shared, "-t shop.order.events.v1 -e -o s@0"), 7);
    assert_int_equal(counted(&shared, "-t shop.order.events.v1 -o e@1"), 0);
    json_decref(fourth);
}

/* ---- what is wrong in a log ---- */

static enum alter repeat(struct story *story, struct message *message, struct made_record *record) {
    if (message->type == MESSAGE_ORDER_CONFIRMED) {
        made_append(&story->made, record);
        record->skip = -1;
    }
    return KEEP;
}

static void duplicates_are_left_out_unless_asked_for(void **state) {
    (void)state;
    struct story story;
    story_begin(&story);
    story.alter = repeat;
    story_tell(&story);
    made_close(&story.made);
    assert_int_equal(counted(&story, "-t shop.order.events.v1 -e"), 7);
    assert_int_equal(counted(&story, "-t shop.order.events.v1 -e --raw"), 8);
    assert_int_equal(counted(&story, "-e --type OrderConfirmed"), 1);
    made_remove(&story.made);
}

static void what_cannot_be_decoded_is_shown_all_the_same(void **state) {
    (void)state;
    struct story story;
    LINES_AUTO lines = {0};
    story_begin(&story);
    made_append(&story.made,
                &(struct made_record){.topic = TOPIC_ORDER_EVENTS, .key = STR("k"), .value = STR("?\x01")});
    made_append(&story.made,
                &(struct made_record){.topic = TOPIC_ORDER_REQUESTS ".dlq", .key = STR("k"), .value = STR("")});
    made_close(&story.made);
    assert_int_equal(tail(&lines, &story, "-e --output json --values hex"), 0);
    assert_int_equal(lines.count, 2);
    for (size_t i = 0; i < 2; i++) {
        json_t *record = line_json(&lines, i);
        assert_true(json_is_null(json_object_get(record, "event")));
        assert_true(strlen(text_of(record, "error")) > 0);
        json_decref(record);
    }
    json_t *first = line_json(&lines, 0);
    assert_string_equal(text_of(first, "value_hex"), "3f01");
    json_decref(first);
    made_remove(&story.made);
}

/* A dead letter is another topic's record, known by its schema id. */
static void dead_letters_are_decoded(void **state) {
    (void)state;
    struct story story;
    LINES_AUTO lines = {0};
    story_begin(&story);
    struct message message = {.type = MESSAGE_ORDER_COMPLETED,
                              .order_completed = {.order_id = story.order_id, .version = 3}};
    struct made_record order = {.topic = TOPIC_ORDER_EVENTS, .key = story.order_id, .message = &message};
    made_append(&story.made, &(struct made_record){.topic = TOPIC_PAYMENT_REQUESTS ".dlq",
                                                   .key = story.order_id,
                                                   .message = &message,
                                                   .value = made_value(&story.made, &order)});
    made_close(&story.made);
    assert_int_equal(tail(&lines, &story, "-e -f '%s\\n'"), 0);
    assert_int_equal(lines.count, 1);
    assert_non_null(strstr(lines.line[0], "\"version\":3"));
    made_remove(&story.made);
}

static void personal_data_is_shown_only_when_named(void **state) {
    (void)state;
    struct story story;
    story_begin(&story);
    struct str empty = STR("");
    struct message message = {.type = MESSAGE_PERSONAL_DETAILS,
                              .personal_details = {story.shopper_id,
                                                   STR("ref"),
                                                   STR("a@example.com"),
                                                   {empty, empty, STR_NULL, empty, empty, empty, STR("US")}}};
    made_append(&story.made, &(struct made_record){.topic = TOPIC_PERSONAL, .key = STR("k"), .message = &message});
    made_close(&story.made);
    assert_int_equal(counted(&story, "-e"), 0);
    assert_int_equal(counted(&story, "-e -t shop.personal.v1"), 1);
    made_remove(&story.made);
}

/* ---- following ---- */

/* What is appended while tail runs comes too: it is told to stop after one record more than there are. */
static void it_follows_the_log(void **state) {
    (void)state;
    struct story story;
    story_begin(&story);
    story_shop(&story);
    BUF_AUTO command = {0};
    buf_printf(&command, "'%s' tail --log '%s' -f '%%o\\n' -t shop.cart.events.v1 -c 4", getenv("ORDERLOG_BIN"),
               story.made.url);
    FILE *pipe = popen(command.ptr, "r");
    char line[64];
    assert_non_null(pipe);
    for (int i = 0; i < 3; i++)
        assert_non_null(fgets(line, sizeof line, pipe)); /* what was there: from now on it follows */
    struct message message = {.type = MESSAGE_CART_LINE_REMOVED,
                              .cart_line_removed = {story.cart_id, story.shopper_id, STR("SKU-1"), STR("05")}};
    made_append(&story.made,
                &(struct made_record){.topic = TOPIC_CART_EVENTS, .key = story.cart_id, .message = &message});
    assert_non_null(fgets(line, sizeof line, pipe));
    assert_string_equal(line, "3\n");
    assert_null(fgets(line, sizeof line, pipe));
    assert_int_equal(pclose(pipe), 0);
    made_remove(&story.made);
}

/* ---- topics and lag ---- */

static void topics_are_listed_with_their_ends(void **state) {
    (void)state;
    BUF_AUTO out = {0};
    assert_int_equal(made_run(&out, "topics --output json --log '%s'", shared.made.url), 0);
    json_t *report = made_json(&out), *topic;
    size_t i;
    int64_t sum = 0, orders = -1;
    json_array_foreach(json_object_get(report, "topics"), i, topic) {
        int64_t records = json_integer_value(json_object_get(topic, "records"));
        assert_int_equal(json_array_size(json_object_get(topic, "partitions")), MADE_PARTITIONS);
        sum += records;
        if (strcmp(text_of(topic, "topic"), TOPIC_ORDER_EVENTS) == 0)
            orders = records;
    }
    assert_int_equal(orders, 7);
    assert_int_equal(sum, shared.made.made);
    assert_int_equal(json_integer_value(json_object_get(report, "total")), sum);
    json_decref(report);
    buf_reset(&out);
    assert_int_equal(made_run(&out, "topics --output table --log '%s'", shared.made.url), 0);
    assert_non_null(strstr(out.ptr, "TOPIC"));
}

/* The log here has the topics, with MADE_PARTITIONS partitions. */
static void topics_that_differ_are_shown(void **state) {
    (void)state;
    BUF_AUTO out = {0}, said = {0};
    char partitions[16];
    snprintf(partitions, sizeof partitions, "%d", MADE_PARTITIONS);
    setenv("ORDERLOG_PARTITIONS", partitions, 1);
    int same = made_run(&out, "topics diff --output json --log '%s'", shared.made.url);
    assert_int_equal(same, CLI_OK);
    assert_string_equal(out.ptr, "{\"drift\":[]}\n");
    assert_int_equal(made_run(&said, "topics apply --log '%s'", shared.made.url), CLI_OK);
    setenv("ORDERLOG_PARTITIONS", "7", 1);
    buf_reset(&out);
    int other = made_run(&out, "topics diff --output json --log '%s'", shared.made.url);
    int refused = made_run(&said, "topics apply --log '%s'", shared.made.url);
    unsetenv("ORDERLOG_PARTITIONS");
    assert_int_equal(other, CLI_NO);
    assert_int_equal(refused, CLI_USAGE);
    json_t *report = made_json(&out), *first = json_array_get(json_object_get(report, "drift"), 0);
    assert_string_equal(text_of(first, "what"), "partitions");
    assert_string_equal(text_of(first, "wanted"), "7");
    assert_string_equal(text_of(first, "found"), partitions);
    assert_true(json_is_false(json_object_get(first, "mendable")));
    json_decref(report);
}

static void on_assigned(void *user, const struct log_partition *partitions, size_t count) {
    (void)partitions;
    *(size_t *)user += count;
}

static void on_revoked(void *user, const struct log_partition *partitions, size_t count, bool lost) {
    (void)user, (void)partitions, (void)count, (void)lost;
}

/* The group tells that it has read two records of one partition. */
static void make_group(struct story *story) {
    struct err err = {0};
    size_t assigned = 0;
    struct log_listener listener = {&assigned, on_assigned, on_revoked, 0};
    struct str topic = STR(TOPIC_ORDER_EVENTS);
    struct log_consumer *consumer;
    struct log_batch batch;
    if (!log_consumer_open(story->made.log, STR("readers"), &topic, 1, &listener, &consumer, &err))
        fail_msg("%s", err.detail);
    while (assigned < MADE_PARTITIONS)
        if (!log_consumer_poll(consumer, 1, 100, &batch, &err))
            fail_msg("%s", err.detail);
    struct log_position position = {topic, log_partition_of(story->order_id, MADE_PARTITIONS), 2};
    log_consumer_commit(consumer, &position, 1);
    log_consumer_close(consumer);
}

static void lag_is_what_a_group_has_not_read(void **state) {
    (void)state;
    struct story story;
    BUF_AUTO out = {0};
    story_begin(&story);
    story_tell(&story);
    make_group(&story);
    made_close(&story.made);
    assert_int_equal(made_run(&out, "lag --output json --log '%s'", story.made.url), 0);
    json_t *report = made_json(&out), *row, *groups = json_object_get(report, "groups");
    size_t i;
    assert_int_equal(json_array_size(groups), MADE_PARTITIONS);
    json_array_foreach(groups, i, row) {
        bool told = (int32_t)i == log_partition_of(story.order_id, MADE_PARTITIONS);
        assert_string_equal(text_of(row, "group"), "readers");
        assert_int_equal(json_integer_value(json_object_get(row, "partition")), i);
        assert_int_equal(json_integer_value(json_object_get(row, "lag")), told ? 5 : 0);
        assert_int_equal(json_integer_value(json_object_get(row, "end")), told ? 7 : 0);
        assert_int_equal(json_is_null(json_object_get(row, "position")), !told);
        if (told)
            assert_int_equal(json_integer_value(json_object_get(row, "position")), 2);
    }
    assert_int_equal(json_integer_value(json_object_get(report, "total")), 5);
    json_decref(report);
    buf_reset(&out);
    assert_int_equal(made_run(&out, "lag --output table --log '%s'", story.made.url), 0);
    assert_non_null(strstr(out.ptr, "total lag: 5"));
    /* And who is behind cannot be waited for for ever. */
    buf_reset(&out);
    assert_int_equal(made_run(&out, "verify --wait 1 --log '%s' 2>&1", story.made.url), 2);
    assert_non_null(strstr(out.ptr, "group readers is still 5 records behind"));
    made_remove(&story.made);
}

/* ---- wrong usage ---- */

static void wrong_usage_ends_with_2(void **state) {
    (void)state;
    static const char *const wrong[] = {"-o nowhere",
                                        "-o s@yesterday",
                                        "-e -o s@2026-02-01T00:00:00Z -o e@2026-01-01T00:00:00Z",
                                        "-p x",
                                        "-p -1",
                                        "-c many",
                                        "-f '%z'",
                                        "-f '\\q'",
                                        "--output xml",
                                        "--values octal",
                                        "-t nothing -e",
                                        "-p 99 -e",
                                        "operand",
                                        "-f '%s' --output json"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        BUF_AUTO arguments = {0};
        LINES_AUTO lines = {0};
        buf_printf(&arguments, "%s 2>/dev/null", wrong[i]);
        int status = tail(&lines, &shared, arguments.ptr);
        if (status != 2 || lines.count)
            fail_msg("tail %s: status %d, %zu lines", wrong[i], status, lines.count);
    }
    BUF_AUTO out = {0};
    assert_int_equal(made_run(&out, "tail -e >/dev/full 2>/dev/null --log '%s'", shared.made.url), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_tells_the_record),
        cmocka_unit_test(what_is_there_comes_in_the_order_of_time),
        cmocka_unit_test(a_format_is_followed),
        cmocka_unit_test(a_table_has_a_line_for_each_record),
        cmocka_unit_test(filters_choose),
        cmocka_unit_test(an_offset_may_be_given_in_every_way),
        cmocka_unit_test(a_time_may_be_given),
        cmocka_unit_test(duplicates_are_left_out_unless_asked_for),
        cmocka_unit_test(what_cannot_be_decoded_is_shown_all_the_same),
        cmocka_unit_test(dead_letters_are_decoded),
        cmocka_unit_test(personal_data_is_shown_only_when_named),
        cmocka_unit_test(it_follows_the_log),
        cmocka_unit_test(topics_are_listed_with_their_ends),
        cmocka_unit_test(topics_that_differ_are_shown),
        cmocka_unit_test(lag_is_what_a_group_has_not_read),
        cmocka_unit_test(wrong_usage_ends_with_2),
    };
    return cmocka_run_group_tests(tests, make_shared, remove_shared);
}
