/* Part of contract.h: reading, without groups. */

static void contract_records_survive_reopening(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 2);
    put_many(s->log, "t", 0, "a", 50);
    struct log_consumer *consumer = open_reader(s->log, "t", 1);
    struct kept before = poll_count(&s->arena, consumer, 50, 100);
    log_consumer_close(consumer);
    contract_reopen(s);
    assert_int_equal(high_of(s->log, "t", 0), 50);
    assert_int_equal(high_of(s->log, "t", 1), 0);
    put_many(s->log, "t", 0, "b", 50);
    consumer = open_reader(s->log, "t", 2);
    struct kept after = poll_count(&s->arena, consumer, 100, 100);
    for (size_t i = 0; i < 50; i++) {
        assert_int_equal(after.items[i].offset, i);
        assert_true(str_eq(before.items[i].value, after.items[i].value));
        assert_int_equal(before.items[i].timestamp_us, after.items[i].timestamp_us);
        assert_text_number(after.items[50 + i].value, "b", (int)i);
        assert_int_equal(after.items[50 + i].offset, 50 + i);
    }
    log_consumer_close(consumer);
}

static void contract_timestamps_never_decrease(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 1);
    int64_t begin_us = clock_now_us();
    struct log_producer *producer = open_producer(s->log);
    for (int i = 0; i < 20; i++)
        put(producer, "t", 0, "k", "v");
    log_producer_close(producer);
    int64_t end_us = clock_now_us();
    struct log_consumer *consumer = open_reader(s->log, "t", 1);
    struct kept kept = poll_count(&s->arena, consumer, 20, 7);
    for (size_t i = 0; i < kept.count; i++) {
        /* A log may keep milliseconds only. */
        assert_true(kept.items[i].timestamp_us >= begin_us - 1000);
        assert_true(kept.items[i].timestamp_us <= end_us + 1000);
        assert_true(i == 0 || kept.items[i].timestamp_us >= kept.items[i - 1].timestamp_us);
    }
    log_consumer_close(consumer);
}

static void contract_offset_at_time(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 2);
    struct log_producer *producer = open_producer(s->log);
    for (int i = 0; i < 10; i++) {
        put(producer, "t", 0, "k", "v");
        clock_sleep_ms(3);
    }
    log_producer_close(producer);
    struct log_consumer *consumer = open_reader(s->log, "t", 1);
    struct kept kept = poll_count(&s->arena, consumer, 10, 10);
    int64_t offset = -1;
    for (size_t i = 0; i < kept.count; i++) {
        MUST(log_offset_at_time(s->log, STR("t"), 0, kept.items[i].timestamp_us, &offset, err));
        assert_int_equal(offset, i);
        MUST(log_offset_at_time(s->log, STR("t"), 0, kept.items[i].timestamp_us + 1000, &offset, err));
        assert_int_equal(offset, i + 1);
    }
    MUST(log_offset_at_time(s->log, STR("t"), 0, 1, &offset, err));
    assert_int_equal(offset, 0);
    MUST(log_offset_at_time(s->log, STR("t"), 0, clock_now_us() + 1000000, &offset, err));
    assert_int_equal(offset, 10);
    MUST(log_offset_at_time(s->log, STR("t"), 1, 1, &offset, err));
    assert_int_equal(offset, 0);
    MUST_FAIL(ERR_NOT_FOUND, log_offset_at_time(s->log, STR("t"), 2, 1, &offset, err));
    log_consumer_close(consumer);
}

static void contract_ends_of_many(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 3);
    make_topic(s->log, "u", 1);
    put_many(s->log, "t", 2, "a", 7);
    put_many(s->log, "u", 0, "b", 3);
    struct log_position ends[] = {{STR("u"), 0, -5}, {STR("t"), 2, -5}, {STR("t"), 0, -5}, {STR("t"), 1, -5}};
    MUST(log_ends(s->log, ends, 4, false, err));
    assert_int_equal(ends[0].offset, 3);
    assert_int_equal(ends[1].offset, 7);
    assert_int_equal(ends[2].offset, 0);
    assert_int_equal(ends[3].offset, 0);
    MUST(log_ends(s->log, ends, 4, true, err));
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(ends[i].offset, 0);
    MUST(log_ends(s->log, ends, 0, false, err));
    struct log_position unknown = {STR("u"), 1, 0};
    MUST_FAIL(ERR_NOT_FOUND, log_ends(s->log, &unknown, 1, false, err));
}

static void contract_watermarks(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 2);
    int64_t low = -1, high = -1;
    MUST(log_watermarks(s->log, STR("t"), 1, &low, &high, err));
    assert_int_equal(low, 0);
    assert_int_equal(high, 0);
    put_many(s->log, "t", 1, "x", 7);
    MUST(log_watermarks(s->log, STR("t"), 1, &low, &high, err));
    assert_int_equal(low, 0);
    assert_int_equal(high, 7);
    assert_int_equal(high_of(s->log, "t", 0), 0);
    MUST_FAIL(ERR_NOT_FOUND, log_watermarks(s->log, STR("t"), 2, &low, &high, err));
    MUST_FAIL(ERR_NOT_FOUND, log_watermarks(s->log, STR("u"), 0, &low, &high, err));
}

static void contract_seek_back_and_forth(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 2);
    put_many(s->log, "t", 0, "v", 100);
    struct log_consumer *consumer = open_reader(s->log, "t", 0);
    static const int64_t targets[] = {50, 99, 0, 1, 98, 97, 0, 42};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        MUST(log_consumer_seek(consumer, STR("t"), 0, targets[i], err));
        struct kept kept = poll_count(&s->arena, consumer, 1, 1);
        assert_int_equal(kept.items[0].offset, targets[i]);
        assert_text_number(kept.items[0].value, "v", (int)targets[i]);
    }
    struct kept rest = poll_count(&s->arena, consumer, 57, 1000);
    assert_int_equal(rest.items[0].offset, 43);
    MUST(log_consumer_seek(consumer, STR("t"), 0, 100, err));
    assert_nothing_comes(consumer);
    put_many(s->log, "t", 0, "w", 1);
    assert_int_equal(poll_count(&s->arena, consumer, 1, 10).items[0].offset, 100);
    MUST_FAIL(ERR_NOT_FOUND, log_consumer_seek(consumer, STR("t"), 2, 0, err));
    MUST_FAIL(ERR_NOT_FOUND, log_consumer_seek(consumer, STR("u"), 0, 0, err));
    log_consumer_close(consumer);
}

static void contract_seek_out_of_range(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "shop.t", 2);
    put_many(s->log, "shop.t", 0, "v", 10);
    struct log_consumer *consumer = open_reader(s->log, "shop.t", 0);
    MUST(log_consumer_seek(consumer, STR("shop.t"), 0, 11, err));
    poll_until_error(consumer, ERR_LOST_RECORDS, "shop.t");
    poll_until_error(consumer, ERR_LOST_RECORDS, "11"); /* it does not go away by itself */
    MUST(log_consumer_seek(consumer, STR("shop.t"), 0, -5, err));
    poll_until_error(consumer, ERR_LOST_RECORDS, "-5");
    MUST(log_consumer_seek(consumer, STR("shop.t"), 0, 10, err));
    assert_nothing_comes(consumer);
    /* The others are not held up for ever by one that is wrong. */
    put_many(s->log, "shop.t", 1, "w", 10);
    MUST(log_consumer_seek(consumer, STR("shop.t"), 0, 1000, err));
    MUST(log_consumer_seek(consumer, STR("shop.t"), 1, 0, err));
    size_t seen = 0;
    int errors = 0;
    for (int i = 0; i < 1000 && (seen < 10 || !errors); i++) {
        struct err err = {0};
        struct log_batch batch = {0};
        if (log_consumer_poll(consumer, 3, 100, &batch, &err))
            seen += batch.count;
        else
            errors += err.kind == ERR_LOST_RECORDS;
    }
    assert_int_equal(seen, 10);
    assert_true(errors > 0);
    log_consumer_close(consumer);
}

static void contract_nothing_before_seek(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 1);
    put_many(s->log, "t", 0, "v", 3);
    struct log_consumer *consumer = open_reader(s->log, "t", 0);
    assert_nothing_comes(consumer);
    MUST(log_consumer_seek(consumer, STR("t"), 0, 1, err));
    poll_count(&s->arena, consumer, 2, 10);
    log_consumer_close(consumer);
}

static void contract_pause_until_seek(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 2);
    put_many(s->log, "t", 0, "v", 10);
    struct log_consumer *consumer = open_reader(s->log, "t", 2);
    poll_count(&s->arena, consumer, 4, 4);
    log_consumer_pause(consumer, STR("t"), 0);
    assert_nothing_comes(consumer);
    put_many(s->log, "t", 1, "w", 2);
    poll_count(&s->arena, consumer, 2, 10);
    MUST(log_consumer_seek(consumer, STR("t"), 0, 4, err));
    assert_int_equal(poll_count(&s->arena, consumer, 6, 10).items[0].offset, 4);
    log_consumer_close(consumer);
}

static void contract_small_polls_see_all(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 3);
    for (int32_t p = 0; p < 3; p++)
        put_many(s->log, "t", p, "v", 40 * (p + 1));
    for (size_t max = 1; max < 300; max = max * 2 + 1) {
        struct log_consumer *consumer = open_reader(s->log, "t", 3);
        struct kept kept = poll_count(&s->arena, consumer, 240, max);
        int64_t next[3] = {0};
        for (size_t i = 0; i < kept.count; i++) {
            int32_t p = kept.items[i].partition;
            assert_int_equal(kept.items[i].offset, next[p]);
            assert_text_number(kept.items[i].value, "v", (int)next[p]++);
        }
        assert_nothing_comes(consumer);
        log_consumer_close(consumer);
    }
}

static void contract_records_stay_until_next_poll(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 1);
    put_many(s->log, "t", 0, "v", 100);
    struct log_consumer *consumer = open_reader(s->log, "t", 1);
    struct log_batch batch = {0};
    for (int i = 0; i < 1000 && !batch.count; i++)
        MUST(log_consumer_poll(consumer, 50, 1000, &batch, err));
    assert_true(batch.count > 0);
    MUST(log_consumer_seek(consumer, STR("t"), 0, 90, err));
    log_consumer_pause(consumer, STR("t"), 0);
    put_many(s->log, "t", 0, "w", 100);
    for (size_t i = 0; i < batch.count; i++)
        assert_text_number(batch.records[i].value, "v", (int)i);
    log_consumer_close(consumer);
}

static void contract_readers_are_independent(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 2);
    struct log_consumer *early = open_reader(s->log, "t", 2), *other = open_reader(s->log, "t", 2);
    put_many(s->log, "t", 0, "v", 100);
    put_many(s->log, "t", 1, "v", 100);
    struct log_consumer *late = open_reader(s->log, "t", 2);
    poll_count(&s->arena, early, 200, 30);
    poll_count(&s->arena, other, 200, 1000);
    poll_count(&s->arena, late, 200, 7);
    log_consumer_close(other);
    put_many(s->log, "t", 1, "v", 10);
    poll_count(&s->arena, early, 10, 30);
    poll_count(&s->arena, late, 10, 30);
    log_consumer_close(early);
    log_consumer_close(late);
}

static void contract_large_partition_starves_none(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 4);
    put_many(s->log, "t", 0, "big", 40000);
    for (int32_t p = 1; p < 4; p++)
        put_many(s->log, "t", p, "small", 10);
    struct log_consumer *consumer = open_reader(s->log, "t", 4);
    size_t big = 0, small = 0;
    while (small < 30) {
        struct log_batch batch = {0};
        MUST(log_consumer_poll(consumer, 100, 1000, &batch, err));
        for (size_t i = 0; i < batch.count; i++)
            if (batch.records[i].partition == 0)
                big++;
            else
                small++;
    }
    assert_true(big < 20000);
    log_consumer_close(consumer);
}

/* Also one who pauses and seeks has no poll after poll that brings nothing while there is much. */
static void contract_much_is_read_without_a_wait(void **state) {
    struct contract_state *s = *state;
    enum { EACH = 120000, IDLE_MS = 500 };
    make_topic(s->log, "t", 2);
    for (int i = 0; i < 4; i++)
        put_many(s->log, "t", i % 2, "v", EACH / 2);
    struct log_consumer *consumer = open_reader(s->log, "t", 2);
    int64_t next[2] = {0};
    size_t idle = 0, since_seek = 0;
    while (next[0] + next[1] < 2 * EACH) {
        struct log_batch batch = {0};
        MUST(log_consumer_poll(consumer, 1000, IDLE_MS, &batch, err));
        idle += !batch.count && next[0] + next[1] > 0; /* joining may take its time */
        for (size_t i = 0; i < batch.count; i++)
            assert_int_equal(batch.records[i].offset, next[batch.records[i].partition]++);
        since_seek += batch.count;
        if (since_seek > 10000) {
            since_seek = 0;
            log_consumer_pause(consumer, STR("t"), 0);
            MUST(log_consumer_seek(consumer, STR("t"), 0, next[0], err));
        }
    }
    assert_true(idle < 20);
    log_consumer_close(consumer);
}

struct later {
    struct log *log;
    struct log_consumer *consumer;
};

static void *append_later(void *user) {
    struct later *later = user;
    clock_sleep_ms(100);
    put_many(later->log, "t", 1, "late", 1);
    return NULL;
}

static void *wake_later(void *user) {
    struct later *later = user;
    clock_sleep_ms(100);
    log_consumer_wake(later->consumer);
    return NULL;
}

static void contract_append_wakes_reader(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 2);
    struct log_consumer *consumer = open_reader(s->log, "t", 2);
    struct later later = {s->log, consumer};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, append_later, &later), 0);
    int64_t begin_us = clock_monotonic_us();
    struct log_batch batch = {0};
    MUST(log_consumer_poll(consumer, 10, PATIENCE_MS, &batch, err));
    assert_int_equal(batch.count, 1);
    assert_str(batch.records[0].value, "late0");
    assert_true(clock_monotonic_us() - begin_us < PATIENCE_MS * 1000LL);
    pthread_join(thread, NULL);
    log_consumer_close(consumer);
}

static void contract_wake_ends_poll(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 1);
    struct log_consumer *consumer = open_reader(s->log, "t", 1);
    struct later later = {s->log, consumer};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wake_later, &later), 0);
    int64_t begin_us = clock_monotonic_us();
    struct log_batch batch = {0};
    MUST(log_consumer_poll(consumer, 10, PATIENCE_MS, &batch, err));
    assert_int_equal(batch.count, 0);
    pthread_join(thread, NULL);
    log_consumer_wake(consumer);
    MUST(log_consumer_poll(consumer, 10, PATIENCE_MS, &batch, err));
    assert_int_equal(batch.count, 0);
    assert_true(clock_monotonic_us() - begin_us < PATIENCE_MS * 1000LL);
    log_consumer_close(consumer);
}

static void count_up(void *user) {
    atomic_fetch_add((atomic_int *)user, 1);
}

/* Once for what comes after a poll that saw all; a wake, too. */
static void contract_notify_tells_of_records(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 1);
    struct log_consumer *consumer = open_reader(s->log, "t", 1);
    atomic_int told = 0;
    struct log_batch batch = {0};
    log_consumer_notify(consumer, count_up, &told);
    for (int i = 0; i < 3; i++) {
        while (atomic_exchange(&told, 0) || batch.count)
            MUST(log_consumer_poll(consumer, 10, 0, &batch, err));
        put_many(s->log, "t", 0, "r", 1);
        for (int64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000LL; !atomic_load(&told);)
            assert_true(clock_monotonic_us() < end_us);
        MUST(log_consumer_poll(consumer, 10, PATIENCE_MS, &batch, err));
        assert_int_equal(batch.count, 1);
    }
    atomic_store(&told, 0);
    log_consumer_wake(consumer);
    assert_int_equal(atomic_load(&told), 1);
    log_consumer_close(consumer);
}

static void contract_many_partitions(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "wide", 64);
    make_topic(s->log, "narrow", 1);
    put_many(s->log, "wide", LOG_BY_KEY, "key", 5000);
    put_many(s->log, "narrow", LOG_BY_KEY, "key", 10);
    struct log_consumer *consumer = open_reader(s->log, "wide", 64);
    MUST(log_consumer_seek(consumer, STR("narrow"), 0, 0, err));
    struct kept kept = poll_count(&s->arena, consumer, 5010, 700);
    int64_t next[65] = {0}, high = 0;
    for (size_t i = 0; i < kept.count; i++) {
        int32_t slot = str_eq(kept.items[i].topic, STR("wide")) ? kept.items[i].partition : 64;
        assert_int_equal(kept.items[i].offset, next[slot]++);
    }
    for (int32_t p = 0; p < 64; p++)
        high += high_of(s->log, "wide", p);
    assert_int_equal(high, 5000);
    log_consumer_close(consumer);
}
