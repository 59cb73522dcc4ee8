/* Part of contract.h: topics, ids, the partitioner. */

static void contract_topics_are_made_once(void **state) {
    struct contract_state *s = *state;
    struct log_topic_spec specs[] = {{"shop.a", 3, -1, false}, {"shop.b", 1, 1000, true}};
    MUST(log_topics_create(s->log, specs, 2, err));
    struct log_topic first, again;
    MUST(log_topic_find(s->log, STR("shop.a"), &first, err));
    assert_str(first.name, "shop.a");
    assert_int_equal(first.partitions, 3);
    assert_true(first.id.len > 0);
    MUST(log_topics_create(s->log, specs, 2, err));
    MUST(log_topic_find(s->log, STR("shop.a"), &again, err));
    assert_true(str_eq(first.id, again.id));
    MUST_FAIL(ERR_NOT_FOUND, log_topic_find(s->log, STR("shop.c"), &again, err));
}

static void contract_topics_refuse_other_partitions(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "shop.a", 3);
    struct log_topic_spec specs[] = {{"shop.new", 2, -1, false}, {"shop.a", 4, -1, false}};
    MUST_FAIL(ERR_CONFIG, log_topics_create(s->log, specs, 2, err));
    struct log_topic_spec bad_name = {"no/slash", 1, -1, false}, none = {"shop.none", 0, -1, false};
    MUST_FAIL(ERR_CONFIG, log_topics_create(s->log, &bad_name, 1, err));
    MUST_FAIL(ERR_CONFIG, log_topics_create(s->log, &none, 1, err));
    struct log_topic topic;
    MUST(log_topic_find(s->log, STR("shop.a"), &topic, err));
    assert_int_equal(topic.partitions, 3);
}

static void contract_topics_are_listed_by_name(void **state) {
    struct contract_state *s = *state;
    struct log_topic *topics;
    size_t count;
    MUST(log_topics_list(s->log, &topics, &count, err));
    assert_int_equal(count, 0);
    free(topics);
    make_topic(s->log, "shop.m", 1);
    make_topic(s->log, "shop.z", 2);
    make_topic(s->log, "shop.a", 3);
    MUST(log_topics_list(s->log, &topics, &count, err));
    assert_int_equal(count, 3);
    assert_str(topics[0].name, "shop.a");
    assert_str(topics[1].name, "shop.m");
    assert_str(topics[2].name, "shop.z");
    assert_int_equal(topics[0].partitions, 3);
    assert_false(str_eq(topics[0].id, topics[1].id));
    free(topics);
}

static void contract_ids_stay(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "shop.a", 1);
    struct log_topic topic;
    MUST(log_topic_find(s->log, STR("shop.a"), &topic, err));
    struct str id = arena_dup(&s->arena, log_id(s->log)), topic_id = arena_dup(&s->arena, topic.id);
    assert_true(id.len > 0);
    contract_reopen(s);
    assert_true(str_eq(id, log_id(s->log)));
    MUST(log_topic_find(s->log, STR("shop.a"), &topic, err));
    assert_true(str_eq(topic_id, topic.id));
}

/* The vectors of Kafka's own UtilsTest. By so many partitions the remainder is the hash itself. */
static void contract_partitioner_is_kafkas(void **state) {
    (void)state;
    static const struct {
        const char *key;
        int32_t hash;
    } vectors[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
        {"abc", 479470107},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        struct str key = str_from(vectors[i].key);
        int32_t positive = (int32_t)((uint32_t)vectors[i].hash & 0x7fffffff);
        assert_int_equal(log_partition_of(key, INT32_MAX), positive);
        assert_int_equal(log_partition_of(key, 12), positive % 12);
    }
    assert_int_equal(log_partition_of(STR_NULL, 12), log_partition_of(STR(""), 12));
}
