/* Part of contract.h: groups. */

enum { SHARDS = 6 };

/* Who owns what: filled by the listeners, so that two owners at once show. */
struct ownership {
    pthread_mutex_t mutex;
    int owner[2][SHARDS]; /* by topic ("a", "b") and partition; 0: none, else the member's number */
    int64_t next[2][SHARDS];
    bool twice, stranger, out_of_order;
    int seen;
};

struct member {
    struct ownership *ownership;
    struct log_consumer *consumer;
    int number;
    _Atomic int owned;
    bool has_none; /* as it was told last */
    bool seek;
    _Atomic bool stop;
    struct log *log;
    int polls;
};

static int topic_index(struct str topic) {
    return str_eq(topic, STR("b"));
}

static void member_assigned(void *user, const struct log_partition *partitions, size_t count) {
    struct member *member = user;
    struct ownership *all = member->ownership;
    pthread_mutex_lock(&all->mutex);
    member->has_none = count == 0;
    for (size_t i = 0; i < count; i++) {
        int t = topic_index(partitions[i].topic), p = partitions[i].partition;
        all->twice |= all->owner[t][p] != 0;
        all->owner[t][p] = member->number;
        member->owned++;
        struct err err;
        if (member->seek && !log_consumer_seek(member->consumer, partitions[i].topic, p, all->next[t][p], &err))
            all->stranger = true;
    }
    pthread_mutex_unlock(&all->mutex);
}

static void member_revoked(void *user, const struct log_partition *partitions, size_t count, bool lost) {
    struct member *member = user;
    struct ownership *all = member->ownership;
    (void)lost;
    if (member->polls % 3 == 0)
        clock_sleep_ms(5); /* whoever is given them too early will show */
    pthread_mutex_lock(&all->mutex);
    for (size_t i = 0; i < count; i++) {
        int *owner = &all->owner[topic_index(partitions[i].topic)][partitions[i].partition];
        all->stranger |= *owner != member->number;
        *owner = 0;
        member->owned--;
    }
    pthread_mutex_unlock(&all->mutex);
}

static void member_join(struct member *member, struct log *log, const char *group) {
    const struct str topics[] = {STR("a"), STR("b")};
    const struct log_listener listener = {member, member_assigned, member_revoked, 0};
    member->log = log;
    MUST(log_consumer_open(log, str_from(group), topics, 2, &listener, &member->consumer, err));
}

static struct log_batch member_poll(struct member *member, int64_t timeout_ms) {
    struct log_batch batch = {0};
    MUST(log_consumer_poll(member->consumer, 100, timeout_ms, &batch, err));
    member->polls++;
    return batch;
}

/* Polls them in turn until each owns as many partitions as said. */
static void members_settle(struct member *members, const int *owned, int count) {
    for (int round = 0; round < 2000; round++) {
        bool settled = true;
        for (int i = 0; i < count; i++)
            settled &= members[i].owned == owned[i];
        if (settled)
            return;
        for (int i = 0; i < count; i++)
            member_poll(&members[i], 20);
    }
    fail_msg("the group does not settle");
}

static void group_topics(struct contract_state *s) {
    make_topic(s->log, "a", SHARDS);
    make_topic(s->log, "b", SHARDS);
}

static void ownership_check(const struct ownership *all) {
    assert_false(all->twice);
    assert_false(all->stranger);
    assert_false(all->out_of_order);
    for (int p = 0; p < SHARDS; p++)
        assert_int_equal(all->owner[0][p], all->owner[1][p]); /* co-partitioned */
}

static void contract_one_member_gets_all(void **state) {
    struct contract_state *s = *state;
    group_topics(s);
    struct ownership all = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct member member = {.ownership = &all, .number = 1};
    member_join(&member, s->log, "g");
    assert_int_equal(member.owned, 0); /* only inside of poll */
    members_settle(&member, (int[]){2 * SHARDS}, 1);
    put_many(s->log, "a", 3, "v", 5);
    assert_nothing_comes(member.consumer);
    MUST(log_consumer_seek(member.consumer, STR("a"), 3, 2, err));
    assert_int_equal(poll_count(&s->arena, member.consumer, 3, 10).items[0].offset, 2);
    log_consumer_close(member.consumer);
    assert_int_equal(member.owned, 0);
    ownership_check(&all);
}

static void contract_unknown_topic_cannot_be_joined(void **state) {
    struct contract_state *s = *state;
    group_topics(s);
    const struct str topics[] = {STR("a"), STR("none")};
    struct log_consumer *consumer;
    MUST_FAIL(ERR_NOT_FOUND, log_consumer_open(s->log, STR("g"), topics, 2, NULL, &consumer, err));
    MUST_FAIL(ERR_USAGE, log_consumer_open(s->log, STR("g"), topics, 0, NULL, &consumer, err));
    MUST_FAIL(ERR_USAGE, log_consumer_open(s->log, STR(""), topics, 1, NULL, &consumer, err));
}

static void contract_members_split_partitions(void **state) {
    struct contract_state *s = *state;
    group_topics(s);
    struct ownership all = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct member members[4];
    for (int i = 0; i < 4; i++) {
        members[i] = (struct member){.ownership = &all, .number = i + 1};
        member_join(&members[i], s->log, "g");
    }
    /* Range: 6 partitions among 4 are 2, 2, 1, 1, in whatever order the members stand. */
    int counts[3] = {0};
    for (int round = 0; round < 2000 && !(counts[1] == 2 && counts[2] == 2); round++) {
        counts[1] = counts[2] = 0;
        for (int i = 0; i < 4; i++) {
            member_poll(&members[i], 20);
            if (members[i].owned == 2 || members[i].owned == 4)
                counts[members[i].owned / 2]++;
        }
    }
    assert_int_equal(counts[1], 2);
    assert_int_equal(counts[2], 2);
    ownership_check(&all);
    MUST_FAIL(ERR_NOT_FOUND,
              log_consumer_seek(members[0].consumer, STR("a"), all.owner[0][0] == 1 ? SHARDS - 1 : 0, 0, err));
    for (int i = 0; i < 4; i++)
        log_consumer_close(members[i].consumer);
    ownership_check(&all);
}

static void contract_more_members_than_partitions(void **state) {
    struct contract_state *s = *state;
    group_topics(s);
    struct ownership all = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct member members[SHARDS + 2];
    for (int i = 0; i < SHARDS + 2; i++) {
        members[i] = (struct member){.ownership = &all, .number = i + 1};
        member_join(&members[i], s->log, "g");
    }
    int with = 0, without = 0;
    for (int round = 0; round < 2000 && !(with == SHARDS && without == 2); round++) {
        with = without = 0;
        for (int i = 0; i < SHARDS + 2; i++) {
            member_poll(&members[i], 10);
            with += members[i].owned == 2;
            without += members[i].owned == 0 && members[i].has_none;
        }
    }
    assert_int_equal(with, SHARDS);
    assert_int_equal(without, 2); /* they are told */
    ownership_check(&all);
    for (int i = 0; i < SHARDS + 2; i++)
        log_consumer_close(members[i].consumer);
}

static void contract_groups_are_independent(void **state) {
    struct contract_state *s = *state;
    group_topics(s);
    struct ownership one = {.mutex = PTHREAD_MUTEX_INITIALIZER}, two = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct member members[2] = {{.ownership = &one, .number = 1, .seek = true},
                                {.ownership = &two, .number = 1, .seek = true}};
    member_join(&members[0], s->log, "one");
    member_join(&members[1], s->log, "two");
    members_settle(members, (int[]){2 * SHARDS, 2 * SHARDS}, 2);
    put_many(s->log, "b", LOG_BY_KEY, "v", 100);
    poll_count(&s->arena, members[0].consumer, 100, 30);
    poll_count(&s->arena, members[1].consumer, 100, 30);
    log_consumer_close(members[0].consumer);
    log_consumer_close(members[1].consumer);
}

static void contract_revoked_before_assigned(void **state) {
    struct contract_state *s = *state;
    group_topics(s);
    struct ownership all = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct member members[3] = {
        {.ownership = &all, .number = 1}, {.ownership = &all, .number = 2}, {.ownership = &all, .number = 3}};
    member_join(&members[0], s->log, "g");
    members_settle(members, (int[]){2 * SHARDS}, 1);
    member_join(&members[1], s->log, "g");
    /* The second gets nothing as long as the first has not let go in its poll. */
    for (int i = 0; i < 3; i++)
        member_poll(&members[1], 20);
    assert_false(all.twice);
    members_settle(members, (int[]){SHARDS, SHARDS}, 2);
    ownership_check(&all);
    member_join(&members[2], s->log, "g");
    members_settle(members, (int[]){4, 4, 4}, 3);
    ownership_check(&all);
    log_consumer_close(members[0].consumer);
    assert_int_equal(members[0].owned, 0);
    members_settle(members + 1, (int[]){SHARDS, SHARDS}, 2);
    ownership_check(&all);
    log_consumer_close(members[2].consumer);
    members_settle(members + 1, (int[]){2 * SHARDS}, 1);
    log_consumer_close(members[1].consumer);
    ownership_check(&all);
}

/* Takes a batch's records into account as a decider would: positions live outside of the log. */
static void member_process(struct member *member, struct log_batch batch) {
    struct ownership *all = member->ownership;
    pthread_mutex_lock(&all->mutex);
    for (size_t i = 0; i < batch.count; i++) {
        int t = topic_index(batch.records[i].topic), p = batch.records[i].partition;
        all->stranger |= all->owner[t][p] != member->number;
        all->out_of_order |= batch.records[i].offset != all->next[t][p]++;
        all->seen++;
    }
    pthread_mutex_unlock(&all->mutex);
}

static void *member_main(void *user) {
    struct member *member = user;
    while (!member->stop) {
        struct log_batch batch = {0};
        struct err err;
        if (log_consumer_poll(member->consumer, 50, 100, &batch, &err))
            member_process(member, batch);
        else
            member->ownership->stranger = true;
        member->polls++;
    }
    log_consumer_close(member->consumer);
    return NULL;
}

enum { HANDOVER_RECORDS = 6000, HANDOVER_MEMBERS = 3 };

/* Members come and go on threads of their own while records are appended: each record is seen once, in order. */
static void contract_handing_over_loses_nothing(void **state) {
    struct contract_state *s = *state;
    group_topics(s);
    struct ownership all = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct member members[12];
    pthread_t threads[12];
    int begun = 0, ended = 0;
    struct log_producer *producer = open_producer(s->log);
    struct tally tally = {0};
    for (int i = 0; i < HANDOVER_RECORDS; i++) {
        if (i % (HANDOVER_RECORDS / 10) == 0) {
            members[begun] = (struct member){.ownership = &all, .number = begun + 1, .seek = true};
            member_join(&members[begun], s->log, "g");
            assert_int_equal(pthread_create(&threads[begun], NULL, member_main, &members[begun]), 0);
            begun++;
            if (begun - ended > HANDOVER_MEMBERS)
                members[ended++].stop = true;
            clock_sleep_ms(20);
        }
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        struct log_record record = simple_record(i % 2 ? "a" : "b", LOG_BY_KEY, key, "v");
        MUST(log_append(producer, &record, tally_delivery, &tally, err));
    }
    log_producer_close(producer);
    for (int round = 0, seen = 0; round < PATIENCE_MS / 10 && seen < HANDOVER_RECORDS; round++) {
        pthread_mutex_lock(&all.mutex);
        seen = all.seen;
        pthread_mutex_unlock(&all.mutex);
        clock_sleep_ms(10);
    }
    for (int i = 0; i < begun; i++)
        members[i].stop = true;
    for (int i = 0; i < begun; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(all.seen, HANDOVER_RECORDS);
    ownership_check(&all);
}

/* The position that a group has told for a partition, or -1. */
static int64_t told_position(struct log *log, const char *group, const char *topic, int32_t partition,
                             int64_t *ret_time_us) {
    struct log_group_position *all;
    size_t count;
    int64_t offset = -1;
    MUST(log_group_positions(log, &all, &count, err));
    for (size_t i = 0; i < count; i++)
        if (str_eq(all[i].group, str_from(group)) && str_eq(all[i].position.topic, str_from(topic)) &&
            all[i].position.partition == partition) {
            offset = all[i].position.offset;
            *ret_time_us = all[i].committed_at_us;
        }
    free(all);
    return offset;
}

static void contract_group_positions(void **state) {
    struct contract_state *s = *state;
    group_topics(s);
    put_many(s->log, "a", 0, "v", 10);
    struct ownership all = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct member member = {.ownership = &all, .number = 1};
    int64_t begin_us = clock_now_us(), time_us = 0;
    member_join(&member, s->log, "group");
    members_settle(&member, (int[]){2 * SHARDS}, 1);
    assert_int_equal(told_position(s->log, "group", "a", 0, &time_us), -1);
    log_consumer_commit(member.consumer, (struct log_position[]){{STR("a"), 0, 4}, {STR("b"), 5, 7}}, 2);
    log_consumer_commit(member.consumer, (struct log_position[]){{STR("a"), 0, 9}}, 1);
    int64_t deadline_us = clock_monotonic_us() + PATIENCE_MS * 1000LL;
    while (told_position(s->log, "group", "a", 0, &time_us) != 9 && clock_monotonic_us() < deadline_us)
        member_poll(&member, 10);
    assert_int_equal(told_position(s->log, "group", "a", 0, &time_us), 9);
    assert_int_equal(told_position(s->log, "group", "b", 5, &time_us), 7);
    assert_true(time_us == 0 || (time_us >= begin_us - 1000 && time_us <= clock_now_us() + 1000));
    assert_int_equal(told_position(s->log, "group", "a", 1, &time_us), -1);
    assert_int_equal(told_position(s->log, "other", "a", 0, &time_us), -1);
    log_consumer_commit(member.consumer, (struct log_position[]){{STR("a"), 0, 10}}, 1);
    log_consumer_close(member.consumer);
    contract_reopen(s);
    assert_int_equal(told_position(s->log, "group", "a", 0, &time_us), 10);
    assert_int_equal(told_position(s->log, "group", "b", 5, &time_us), 7);
}
