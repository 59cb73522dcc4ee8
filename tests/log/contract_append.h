/* Part of contract.h: the writing half. */
#include <pthread.h>

static void contract_offsets_are_contiguous(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 2);
    struct log_producer *producer = open_producer(s->log);
    for (int i = 0; i < 5; i++)
        for (int32_t p = 0; p < 2; p++)
            assert_int_equal(put(producer, "t", p, "k", "v"), i);
    log_producer_close(producer);
    put_many(s->log, "t", 1, "x", 1000);
    assert_int_equal(high_of(s->log, "t", 0), 5);
    assert_int_equal(high_of(s->log, "t", 1), 1005);
    struct log_consumer *consumer = open_reader(s->log, "t", 2);
    struct kept kept = poll_count(&s->arena, consumer, 1010, 300);
    int64_t next[2] = {0};
    for (size_t i = 0; i < kept.count; i++)
        assert_int_equal(kept.items[i].offset, next[kept.items[i].partition]++);
    log_consumer_close(consumer);
}

struct delivery_order {
    pthread_mutex_t mutex;
    int count;
    int64_t next_offset[4];
    int times[4000];
    bool wrong;
};
struct delivery_user {
    struct delivery_order *order;
    int number;
};

static void delivery_order_check(void *user, enum log_outcome outcome, int32_t partition, int64_t offset,
                                 const struct err *err) {
    struct delivery_user *one = user;
    struct delivery_order *order = one->order;
    pthread_mutex_lock(&order->mutex);
    order->wrong |= outcome != LOG_PERSISTED || err || partition != one->number % 4 ||
                    offset != order->next_offset[partition]++ || offset != one->number / 4;
    order->times[one->number]++;
    order->count++;
    pthread_mutex_unlock(&order->mutex);
}

static void contract_deliveries_come_once_in_order(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 4);
    struct delivery_order order = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct delivery_user *users = calloc(4000, sizeof *users);
    struct log_producer *producer = open_producer(s->log);
    for (int i = 0; i < 4000; i++) {
        users[i] = (struct delivery_user){&order, i};
        struct log_record record = simple_record("t", i % 4, "key", "value");
        MUST(log_append(producer, &record, delivery_order_check, &users[i], err));
    }
    assert_true(log_flush(producer, PATIENCE_MS));
    pthread_mutex_lock(&order.mutex);
    assert_int_equal(order.count, 4000);
    assert_false(order.wrong);
    for (int i = 0; i < 4000; i++)
        assert_int_equal(order.times[i], 1);
    pthread_mutex_unlock(&order.mutex);
    log_producer_close(producer);
    free(users);
}

static void contract_keys_choose_partitions(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 5);
    put_many(s->log, "t", LOG_BY_KEY, "key-", 500);
    struct log_consumer *consumer = open_reader(s->log, "t", 5);
    struct kept kept = poll_count(&s->arena, consumer, 500, 100);
    for (size_t i = 0; i < kept.count; i++)
        assert_int_equal(kept.items[i].partition, log_partition_of(kept.items[i].key, 5));
    log_consumer_close(consumer);
}

static void contract_append_refuses_unknown_places(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 2);
    struct log_producer *producer = open_producer(s->log);
    struct tally tally = {0};
    struct log_record no_topic = simple_record("u", 0, "k", "v"), over = simple_record("t", 2, "k", "v"),
                      under = simple_record("t", -2, "k", "v");
    MUST_FAIL(ERR_NOT_FOUND, log_append(producer, &no_topic, tally_delivery, &tally, err));
    MUST_FAIL(ERR_NOT_FOUND, log_append(producer, &over, tally_delivery, &tally, err));
    MUST_FAIL(ERR_NOT_FOUND, log_append(producer, &under, tally_delivery, &tally, err));
    log_producer_close(producer);
    assert_int_equal(tally.persisted + tally.failed, 0);
}

static void contract_headers_are_kept(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 1);
    const struct log_header headers[] = {
        {STR("name"), STR("value")},    {STR("binary"), {"\0\xff\n\0", 4}}, {STR("empty"), STR("")},
        {STR("none"), STR_NULL},        {STR("twice"), STR("first")},       {STR("twice"), STR("second")},
        {STR("n\xc3\xa4me"), STR("ü")},
    };
    const size_t count = sizeof headers / sizeof headers[0];
    struct log_record record = simple_record("t", 0, "k", "v");
    record.headers = headers;
    record.header_count = count;
    struct log_producer *producer = open_producer(s->log);
    MUST(log_append_wait(producer, &record, PATIENCE_MS, NULL, NULL, err));
    log_producer_close(producer);
    struct log_consumer *consumer = open_reader(s->log, "t", 1);
    struct kept kept = poll_count(&s->arena, consumer, 1, 10);
    assert_int_equal(kept.items[0].header_count, count);
    for (size_t i = 0; i < count; i++) {
        const struct log_header *got = &kept.items[0].headers[i];
        assert_true(str_eq(got->name, headers[i].name));
        assert_true(str_eq(got->value, headers[i].value));
        assert_int_equal(got->value.ptr == NULL, headers[i].value.ptr == NULL);
    }
    log_consumer_close(consumer);
}

static void contract_null_is_not_empty(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 1);
    static const char *const cases[][2] = {{NULL, NULL}, {"", ""}, {NULL, ""}, {"", NULL}, {"k", NULL}, {NULL, "v"}};
    struct log_producer *producer = open_producer(s->log);
    for (size_t i = 0; i < 6; i++)
        put(producer, "t", 0, cases[i][0], cases[i][1]);
    log_producer_close(producer);
    struct log_consumer *consumer = open_reader(s->log, "t", 1);
    struct kept kept = poll_count(&s->arena, consumer, 6, 10);
    for (size_t i = 0; i < 6; i++) {
        assert_str(kept.items[i].key, cases[i][0]);
        assert_str(kept.items[i].value, cases[i][1]);
        assert_int_equal(kept.items[i].header_count, 0);
    }
    log_consumer_close(consumer);
}

static void contract_sizes_up_to_the_limit(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 1);
    static const size_t sizes[] = {0, 1, 127, 128, 16383, 16384, 100000, LOG_RECORD_MAX - 3, 5};
    const size_t count = sizeof sizes / sizeof sizes[0];
    char *bytes = malloc(LOG_RECORD_MAX);
    for (size_t i = 0; i < LOG_RECORD_MAX; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    struct log_record record = simple_record("t", 0, "key", NULL);
    struct log_producer *producer = open_producer(s->log);
    for (size_t i = 0; i < count; i++) {
        record.value = (struct str){bytes, sizes[i]};
        MUST(log_append_wait(producer, &record, PATIENCE_MS, NULL, NULL, err));
    }
    record.value = (struct str){bytes, LOG_RECORD_MAX - 2};
    MUST_FAIL(ERR_TOO_LARGE, log_append_wait(producer, &record, PATIENCE_MS, NULL, NULL, err));
    const struct log_header header = {STR("abc"), {bytes, LOG_RECORD_MAX - 5}};
    record.value = STR_NULL;
    record.headers = &header;
    record.header_count = 1;
    MUST_FAIL(ERR_TOO_LARGE, log_append_wait(producer, &record, PATIENCE_MS, NULL, NULL, err));
    log_producer_close(producer);
    struct log_consumer *consumer = open_reader(s->log, "t", 1);
    struct kept kept = poll_count(&s->arena, consumer, count, 4);
    for (size_t i = 0; i < count; i++)
        assert_true(str_eq(kept.items[i].value, (struct str){bytes, sizes[i]}));
    log_consumer_close(consumer);
    free(bytes);
}

static void contract_queue_is_bounded(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 1);
    struct log_producer_options options = {.max_queued_bytes = 4 << 20};
    struct log_producer *producer;
    MUST(log_producer_open(s->log, &options, &producer, err));
    struct tally tally = {0};
    char *bytes = calloc(1, 1 << 20);
    struct log_record record = simple_record("t", 0, "k", NULL);
    record.value = (struct str){bytes, (1 << 20) - 1};
    int accepted = 0;
    bool refused = false;
    for (; accepted < 1000 && !refused; accepted++) {
        struct err err = {0};
        refused = !log_append(producer, &record, tally_delivery, &tally, &err);
        if (refused)
            assert_int_equal(err.kind, ERR_OVERLOADED);
    }
    assert_true(refused);
    assert_true(log_flush(producer, PATIENCE_MS));
    assert_int_equal(tally.persisted, accepted - 1);
    MUST(log_append_wait(producer, &record, PATIENCE_MS, NULL, NULL, err));
    log_producer_close(producer);
    assert_int_equal(high_of(s->log, "t", 0), accepted);
    free(bytes);
}

enum { WRITERS = 4, PER_WRITER = 2000 };
struct writer {
    struct log *log;
    int number;
    struct tally tally;
};

static void *writer_main(void *user) {
    struct writer *writer = user;
    struct log_producer *producer = NULL;
    struct err err;
    if (!log_producer_open(writer->log, NULL, &producer, &err))
        return NULL;
    for (int i = 0; i < PER_WRITER; i++) {
        char key[32], value[32];
        snprintf(key, sizeof key, "w%d-%d", writer->number, i % 10);
        snprintf(value, sizeof value, "%d", i);
        struct log_record record = simple_record("t", LOG_BY_KEY, key, value);
        while (!log_append(producer, &record, tally_delivery, &writer->tally, &err))
            clock_sleep_ms(1);
    }
    log_producer_close(producer);
    return NULL;
}

/* Whatever runs at once, each key's records keep their order. */
static void contract_producers_run_at_once(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 3);
    struct writer writers[WRITERS] = {0};
    pthread_t threads[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        writers[i].log = s->log;
        writers[i].number = i;
        assert_int_equal(pthread_create(&threads[i], NULL, writer_main, &writers[i]), 0);
    }
    struct log_consumer *consumer = open_reader(s->log, "t", 3);
    struct kept kept = poll_count(&s->arena, consumer, WRITERS * PER_WRITER, 500);
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(writers[i].tally.persisted, PER_WRITER);
    }
    int next[WRITERS][10] = {0};
    for (size_t i = 0; i < kept.count; i++) {
        int writer = 0, key = 0;
        char text[32] = "";
        memcpy(text, kept.items[i].key.ptr, kept.items[i].key.len);
        assert_int_equal(sscanf(text, "w%d-%d", &writer, &key), 2);
        assert_text_number(kept.items[i].value, "", next[writer][key] * 10 + key);
        next[writer][key]++;
    }
    log_consumer_close(consumer);
}

static void contract_close_delivers_all(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 1);
    struct log_producer *producer = open_producer(s->log);
    struct tally tally = {0};
    for (int i = 0; i < 3000; i++) {
        struct log_record record = simple_record("t", 0, "k", "v");
        MUST(log_append(producer, &record, i % 2 ? tally_delivery : NULL, &tally, err));
    }
    log_producer_close(producer);
    assert_int_equal(tally.persisted, 1500);
    assert_int_equal(high_of(s->log, "t", 0), 3000);
    log_producer_close(NULL);
    log_consumer_close(NULL);
}
