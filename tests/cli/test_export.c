/* orderlog export on a log made here; the Avro files are read by avro-c, which shares nothing with us. */
#include <avro.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "core/base/clock.h"
#include "tests/cli/made_story.h"

enum { ORDER_RECORDS = 9, ORDER_DUPLICATE = 7, ORDER_POISON = 8 }; /* in the partition of the order */
enum { ODD_RECORDS = 40 };

static struct story shared;
static char folder[4096];
static char out[5000]; /* a file in it */

static void make_name(const char *name) {
    snprintf(out, sizeof out, "%s/%s", folder, name);
}

static int make_shared(void **state) {
    (void)state;
    story_begin(&shared);
    story_tell(&shared);
    struct message completed = {.type = MESSAGE_ORDER_COMPLETED,
                                .order_completed = {.order_id = shared.order_id, .version = 7}};
    struct made_record again = {
        .topic = TOPIC_ORDER_EVENTS, .origin = "orders/0", .key = shared.order_id, .message = &completed, .skip = -1};
    struct made_record poison = {
        .topic = TOPIC_ORDER_EVENTS, .origin = "orders/0", .key = shared.order_id, .value = {"\xff\0\1", 3}};
    assert_int_equal(made_append(&shared.made, &again).offset, ORDER_DUPLICATE);
    assert_int_equal(made_append(&shared.made, &poison).offset, ORDER_POISON);
    static char big[2000];
    struct made_record odd = {.topic = TOPIC_STOCK_EVENTS, .key = {"\xff\xfe", 2}, .value = {big, sizeof big}};
    for (int i = 0; i < ODD_RECORDS; i++)
        made_append(&shared.made, &odd);
    made_close(&shared.made);
    snprintf(folder, sizeof folder, "%s", shared.made.folder.path);
    return 0;
}

static int remove_shared(void **state) {
    (void)state;
    made_remove(&shared.made);
    return 0;
}

static int export(struct buf *ret, const char *arguments) {
    buf_reset(ret);
    return made_run(ret, "export --log '%s' %s", shared.made.url, arguments);
}

/* To the file `out`; what is said on standard error comes back. */
static int export_to(struct buf *said, const char *arguments) {
    BUF_AUTO all = {0};
    buf_printf(&all, "%s -O '%s' 2>&1", arguments, out);
    return export(said, all.ptr);
}

static void read_file(const char *path, struct buf *ret) {
    FILE *file = fopen(path, "r");
    char chunk[4096];
    if (!file)
        fail_msg("there is no %s", path);
    for (size_t got; (got = fread(chunk, 1, sizeof chunk, file)) > 0;)
        buf_add(ret, chunk, got);
    fclose(file);
}

static size_t files_like(const char *part) {
    DIR *dir = opendir(folder);
    size_t count = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        count += strstr(entry->d_name, part) != NULL;
    closedir(dir);
    return count;
}

static json_t *line_at(struct buf *text, size_t index) {
    char *line = text->ptr;
    while (index-- && line)
        line = strchr(line, '\n') + 1;
    json_error_t error;
    json_t *json = json_loads(line, JSON_DISABLE_EOF_CHECK, &error);
    if (!json)
        fail_msg("not JSON: %s", error.text);
    return json;
}

static size_t lines_of(const struct buf *text) {
    size_t count = 0;
    for (size_t i = 0; i < text->len; i++)
        count += text->ptr[i] == '\n';
    return count;
}

static const char *text_in(json_t *object, const char *name) {
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

/* ---- JSON lines ---- */

static void lines_hold_all_but_duplicates(void **state) {
    (void)state;
    BUF_AUTO text = {0};
    assert_int_equal(export(&text, "-t shop.order.events.v1 2>/dev/null"), 0);
    assert_int_equal(lines_of(&text), ORDER_RECORDS - 1);
    json_t *placed = line_at(&text, 0), *poison = line_at(&text, ORDER_RECORDS - 2);
    assert_string_equal(text_in(placed, "type"), "shop.order.v1.OrderPlaced");
    assert_string_equal(text_in(json_object_get(placed, "event"), "placed_at"), "2026-01-01T00:00:00Z");
    assert_null(json_object_get(placed, "value_hex"));
    assert_int_equal(json_integer_value(json_object_get(poison, "offset")), ORDER_POISON);
    assert_true(json_is_null(json_object_get(poison, "event")));
    assert_string_equal(text_in(poison, "value_hex"), "ff0001");
    assert_true(strlen(text_in(poison, "error")) > 0);
    json_decref(placed);
    json_decref(poison);
    assert_int_equal(export(&text, "-t shop.order.events.v1 --raw 2>/dev/null"), 0);
    assert_int_equal(lines_of(&text), ORDER_RECORDS);
    assert_int_equal(export(&text, "-t shop.stock.events.v1 -o -1 2>/dev/null | grep -c '\"key_hex\":\"fffe\"'"), 0);
}

/* Of several topics in one file: in the order of time. */
static void all_topics_but_the_personal_one(void **state) {
    (void)state;
    BUF_AUTO text = {0};
    BUF_AUTO before = {0};
    assert_int_equal(export(&text, "2>/dev/null"), 0);
    size_t count = lines_of(&text);
    assert_true(count > ODD_RECORDS + 25);
    for (size_t i = 0; i < count; i++) {
        json_t *line = line_at(&text, i);
        assert_true(before.len == 0 || strcmp(before.ptr, text_in(line, "timestamp")) <= 0);
        assert_string_not_equal(text_in(line, "topic"), TOPIC_PERSONAL);
        buf_reset(&before);
        buf_printf(&before, "%s", text_in(line, "timestamp"));
        json_decref(line);
    }
}

static void a_range_by_offset_and_by_time(void **state) {
    (void)state;
    BUF_AUTO text = {0};
    BUF_AUTO arguments = {0};
    assert_int_equal(export(&text, "-t shop.order.events.v1 -o 2 --until 4 2>/dev/null"), 0);
    assert_int_equal(lines_of(&text), 2);
    json_t *first = line_at(&text, 0), *second = line_at(&text, 1);
    assert_int_equal(json_integer_value(json_object_get(first, "offset")), 2);
    buf_printf(&arguments, "-t shop.order.events.v1 -o s@%s -o e@%s 2>/dev/null", text_in(first, "timestamp"),
               text_in(second, "timestamp"));
    assert_int_equal(export(&text, arguments.ptr), 0);
    assert_int_equal(lines_of(&text), 1);
    json_decref(first);
    json_decref(second);
    assert_int_equal(export(&text, "-t shop.order.events.v1 -o -2 --raw 2>/dev/null"), 0);
    assert_int_equal(lines_of(&text), 2);
}

/* Two ranges that meet hold each record once, also when a duplicate is the first of the second. */
static void a_duplicate_of_what_came_before_the_range(void **state) {
    (void)state;
    BUF_AUTO text = {0};
    assert_int_equal(export(&text, "-t shop.order.events.v1 -o 7 --until 8 2>/dev/null"), 0);
    assert_int_equal(lines_of(&text), 0);
    assert_int_equal(export(&text, "-t shop.order.events.v1 -o 7 --until 8 --raw 2>/dev/null"), 0);
    assert_int_equal(lines_of(&text), 1);
}

/* ---- Avro ---- */

static const char *branch_of(avro_value_t *record, const char *field) {
    avro_value_t union_, branch;
    assert_int_equal(avro_value_get_by_name(record, field, &union_, NULL), 0);
    assert_int_equal(avro_value_get_current_branch(&union_, &branch), 0);
    return avro_schema_type_name(avro_value_get_schema(&branch));
}

static int64_t long_of(avro_value_t *record, const char *field) {
    avro_value_t value;
    int64_t number = -1;
    assert_int_equal(avro_value_get_by_name(record, field, &value, NULL), 0);
    assert_int_equal(avro_value_get_long(&value, &number), 0);
    return number;
}

static void check_avro_record(avro_value_t *record, int64_t index) {
    static const char *const events[] = {"OrderPlaced",  "OrderAwaitingPayment", "OrderConfirmed", "OrderProcessing",
                                         "OrderShipped", "OrderDelivered",       "OrderCompleted"};
    bool poison = index == ORDER_DUPLICATE;
    assert_int_equal(long_of(record, "offset"), poison ? ORDER_POISON : index);
    int64_t time_us = long_of(record, "timestamp");
    assert_true(time_us > 0 && time_us <= clock_now_us());
    assert_string_equal(branch_of(record, "event"), poison ? "null" : events[index]);
    assert_string_equal(branch_of(record, "error"), poison ? "string" : "null");
    assert_string_equal(branch_of(record, "raw"), poison ? "map" : "null");
    if (index)
        return;
    avro_value_t event, body, at;
    int64_t placed_at;
    assert_int_equal(avro_value_get_by_name(record, "event", &event, NULL), 0);
    assert_int_equal(avro_value_get_current_branch(&event, &body), 0);
    assert_int_equal(avro_value_get_by_name(&body, "placed_at", &at, NULL), 0);
    assert_int_equal(avro_value_get_long(&at, &placed_at), 0);
    assert_int_equal(placed_at, 1767225600000000);
}

static void check_avro_file(const char *arguments) {
    BUF_AUTO said = {0};
    avro_file_reader_t reader;
    assert_int_equal(export_to(&said, arguments), 0);
    if (avro_file_reader(out, &reader))
        fail_msg("%s", avro_strerror());
    avro_schema_t schema = avro_file_reader_get_writer_schema(reader);
    avro_value_iface_t *class = avro_generic_class_from_schema(schema);
    avro_value_t record;
    avro_generic_value_new(class, &record);
    int64_t count = 0;
    for (; avro_file_reader_read_value(reader, &record) == 0; count++) {
        check_avro_record(&record, count);
        avro_value_reset(&record);
    }
    assert_int_equal(count, ORDER_RECORDS - 1);
    avro_value_decref(&record);
    avro_value_iface_decref(class);
    avro_schema_decref(schema);
    avro_file_reader_close(reader);
    unlink(out);
}

static void avro_is_read_by_others(void **state) {
    (void)state;
    make_name("orders.avro");
    check_avro_file("-t shop.order.events.v1");
    check_avro_file("-t shop.order.events.v1 --codec null");
    make_name("orders");
    check_avro_file("-t shop.order.events.v1 --format avro --codec deflate");
}

static void the_same_range_gives_the_same_bytes(void **state) {
    (void)state;
    BUF_AUTO first = {0};
    BUF_AUTO second = {0};
    BUF_AUTO other = {0};
    assert_int_equal(export(&first, "-t shop.order.events.v1 --format avro 2>/dev/null"), 0);
    assert_int_equal(export(&second, "-t shop.order.events.v1 --format avro 2>/dev/null"), 0);
    assert_int_equal(export(&other, "-t shop.order.events.v1 --format avro --until 3 2>/dev/null"), 0);
    assert_true(first.len > 0 && str_eq(buf_str(&first), buf_str(&second)));
    assert_false(str_eq(buf_str(&first), buf_str(&other)));
}

/* ---- files ---- */

static void a_folder_gets_a_file_for_each_topic(void **state) {
    (void)state;
    BUF_AUTO said = {0};
    snprintf(out, sizeof out, "%s/", folder);
    assert_int_equal(export_to(&said, "-t shop.order.events.v1,shop.payment.events.v1"), 0);
    assert_int_equal(files_like(".jsonl"), 2);
    assert_int_equal(export_to(&said, "-t shop.payment.events.v1,shop.cart.events.v1"), 2);
    assert_non_null(strstr(said.ptr, "shop.payment.events.v1.jsonl is there already"));
    assert_int_equal(files_like(".jsonl"), 2);
    assert_int_equal(export_to(&said, "-t shop.order.events.v1,shop.payment.events.v1 --format avro"), 0);
    assert_int_equal(files_like(".avro"), 2);
    assert_int_equal(files_like(".part"), 0);
    static const char *const made[] = {"shop.order.events.v1.jsonl", "shop.payment.events.v1.jsonl",
                                       "shop.order.events.v1.avro", "shop.payment.events.v1.avro"};
    for (size_t i = 0; i < 4; i++) {
        make_name(made[i]);
        assert_int_equal(unlink(out), 0);
    }
}

static void a_file_is_not_replaced_unless_forced(void **state) {
    (void)state;
    BUF_AUTO said = {0};
    BUF_AUTO text = {0};
    make_name("there.jsonl");
    FILE *file = fopen(out, "w");
    fputs("mine", file);
    fclose(file);
    assert_int_equal(export_to(&said, "-t shop.order.events.v1"), 2);
    assert_non_null(strstr(said.ptr, "--force"));
    read_file(out, &text);
    assert_true(str_eq(buf_str(&text), STR("mine")));
    assert_int_equal(export_to(&said, "-t shop.order.events.v1 --force"), 0);
    buf_reset(&text);
    read_file(out, &text);
    assert_int_equal(lines_of(&text), ORDER_RECORDS - 1);
    unlink(out);
}

static void a_device_is_never_replaced(void **state) {
    (void)state;
    BUF_AUTO said = {0};
    make_name("pipe");
    assert_int_equal(mkfifo(out, 0600), 0);
    BUF_AUTO reader = {0};
    buf_printf(&reader, "timeout 20 cat '%s' >/dev/null &", out);
    assert_int_equal(system(reader.ptr), 0);
    assert_int_equal(export_to(&said, "-t shop.order.events.v1 --force"), 0);
    struct stat found;
    assert_int_equal(stat(out, &found), 0);
    assert_true(S_ISFIFO(found.st_mode));
    unlink(out);
}

/* What happens on a full disk happens, too, to a file that may not grow. */
static void a_full_disk_leaves_nothing(void **state) {
    (void)state;
    BUF_AUTO said = {0};
    struct rlimit before, small;
    snprintf(out, sizeof out, "/dev/full");
    assert_int_equal(export_to(&said, "-t shop.order.events.v1"), 2);
    assert_non_null(strstr(said.ptr, "No space left"));
    make_name("big.jsonl");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 64 * 1024, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int status = export_to(&said, "");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, 2);
    assert_non_null(strstr(said.ptr, "big.jsonl: File too large"));
    assert_int_equal(files_like("big.jsonl"), 0);
}

/* A reader that never comes: opening waits, until the signal. */
static void a_signal_ends_it(void **state) {
    (void)state;
    BUF_AUTO command = {0};
    make_name("never");
    assert_int_equal(mkfifo(out, 0600), 0);
    buf_printf(&command, "timeout --preserve-status -s TERM 1 '%s' export --log '%s' -O '%s' 2>/dev/null",
               getenv("ORDERLOG_BIN"), shared.made.url, out);
    int status = system(command.ptr);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    unlink(out);
}

/* ---- nonsense ---- */

static void nonsense_is_refused(void **state) {
    (void)state;
    static const char *const wrong[][2] = {
        {"-t shop.nothing.v1", "there is no topic shop.nothing.v1"},
        {"-t shop.personal.v1", "shop.personal.v1 is not exported"},
        {"-t shop.order.events.v1,shop.personal.v1", "shop.personal.v1 is not exported"},
        {"-p 77", "no topic here has a partition 77"},
        {"-p x", "-p must be an integer"},
        {"-o end", "-o must be"},
        {"-o s@yesterday", "-o must be"},
        {"-o s@2026-02-01T00:00:00Z -o e@2026-01-01T00:00:00Z", "is before the beginning"},
        {"-o 5 --until 4", "--until 4 is before the beginning"},
        {"--until -1", "--until must be"},
        {"--format csv", "--format must be json or avro"},
        {"--codec snappy --format avro", "--codec must be deflate or null"},
        {"--codec null", "--codec goes with --format avro"},
        {"more", "unexpected 'more'"},
    };
    BUF_AUTO said = {0};
    make_name("nonsense");
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(export_to(&said, wrong[i][0]), 2);
        if (!strstr(said.ptr, wrong[i][1]))
            fail_msg("%s: %s", wrong[i][0], said.ptr);
    }
    assert_int_equal(export_to(&said, "--format avro"), 2);
    assert_non_null(strstr(said.ptr, "an Avro file holds one topic"));
    snprintf(out, sizeof out, "%s/no-such-folder/", folder);
    assert_int_equal(export_to(&said, "-t shop.order.events.v1"), 2);
    assert_non_null(strstr(said.ptr, "No such file or directory"));
    assert_int_equal(files_like("nonsense"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_hold_all_but_duplicates),
        cmocka_unit_test(all_topics_but_the_personal_one),
        cmocka_unit_test(a_range_by_offset_and_by_time),
        cmocka_unit_test(a_duplicate_of_what_came_before_the_range),
        cmocka_unit_test(avro_is_read_by_others),
        cmocka_unit_test(the_same_range_gives_the_same_bytes),
        cmocka_unit_test(a_folder_gets_a_file_for_each_topic),
        cmocka_unit_test(a_file_is_not_replaced_unless_forced),
        cmocka_unit_test(a_device_is_never_replaced),
        cmocka_unit_test(a_full_disk_leaves_nothing),
        cmocka_unit_test(a_signal_ends_it),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, make_shared, remove_shared);
}
