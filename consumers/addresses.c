#include "consumers/addresses.h"

#include <pthread.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/map.h"
#include "core/codec/avro.h"

enum { BATCH = 1000, WAIT_MS = 5000 };

struct addresses {
    struct log *log;
    pthread_mutex_t lock; /* guards all below */
    struct log_consumer *consumer;
    struct map emails; /* "<shopper>/<ref>" -> char *; NULL: erased */
    struct log_topic topic;
    int64_t *next; /* by partition: the offset after the last one taken */
    struct arena arena;
};

bool addresses_open(struct log *log, struct addresses **ret, struct err *err) {
    struct addresses *addresses = mem_zalloc(sizeof *addresses);
    addresses->log = log;
    pthread_mutex_init(&addresses->lock, NULL);
    arena_init(&addresses->arena);
    bool ok = log_topic_find(log, STR(TOPIC_PERSONAL), &addresses->topic, err) &&
              log_consumer_open_manual(log, &addresses->consumer, err);
    if (ok)
        addresses->next = mem_zalloc((size_t)addresses->topic.partitions * sizeof(int64_t));
    for (int32_t p = 0; ok && p < addresses->topic.partitions; p++) {
        int64_t high;
        ok = log_watermarks(log, addresses->topic.name, p, &addresses->next[p], &high, err) &&
             log_consumer_seek(addresses->consumer, addresses->topic.name, p, addresses->next[p], err);
    }
    if (!ok) {
        addresses_close(addresses);
        return false;
    }
    *ret = addresses;
    return true;
}

void addresses_close(struct addresses *addresses) {
    if (!addresses)
        return;
    log_consumer_close(addresses->consumer);
    map_free(&addresses->emails, free);
    arena_free(&addresses->arena);
    pthread_mutex_destroy(&addresses->lock);
    free(addresses->next);
    free(addresses);
}

static bool take(struct addresses *addresses, const struct log_record *record, struct err *err) {
    struct message message;
    struct str email = STR_NULL;
    if (record->value.ptr) {
        if (!message_decode(schema_subject_find(STR(TOPIC_PERSONAL)), record->value, &addresses->arena, &message, err))
            return false;
        if (message.type != MESSAGE_PERSONAL_DETAILS)
            return err_set(err, ERR_UNKNOWN_SCHEMA, "a record of a type that this program does not know");
        email = message.personal_details.email;
    }
    void **slot = map_put(&addresses->emails, record->key);
    free(*slot);
    *slot = email.ptr ? mem_strdup(email) : NULL;
    return true;
}

/* What cannot be read names nobody who could be written to; others must not suffer for it. */
static bool poll_once(struct addresses *addresses, size_t *ret_count, struct err *err) {
    struct log_batch batch;
    if (!log_consumer_poll(addresses->consumer, BATCH, 100, &batch, err))
        return false;
    for (size_t i = 0; i < batch.count; i++) {
        const struct log_record *record = &batch.records[i];
        struct err skipped = {0};
        if (!take(addresses, record, &skipped))
            logging_err(&skipped, "addresses.record_skipped", "partition=%d offset=%lld", record->partition,
                        (long long)record->offset);
        addresses->next[record->partition] = record->offset + 1;
    }
    arena_reset(&addresses->arena);
    *ret_count = batch.count;
    return true;
}

/* The last offsets of a compacted topic may be of records that are gone: when nothing at all comes although the log
 * answers, that is the end as well. */
static bool catch_up(struct addresses *addresses, int32_t partition, struct err *err) {
    int64_t low, high, deadline_us = clock_monotonic_us() + WAIT_MS * INT64_C(1000);
    size_t taken = 0, count = 0;
    if (!log_watermarks(addresses->log, addresses->topic.name, partition, &low, &high, err))
        return false;
    for (; addresses->next[partition] < high; taken += count) {
        if (clock_monotonic_us() > deadline_us && taken)
            return err_set(err, ERR_TIMEOUT, "%s could not be read to its end in %d ms", TOPIC_PERSONAL, WAIT_MS);
        if (clock_monotonic_us() > deadline_us)
            addresses->next[partition] = high;
        else if (!poll_once(addresses, &count, err))
            return false;
    }
    return true;
}

bool addresses_find(struct addresses *addresses, struct str shopper_id, struct str ref, struct arena *arena,
                    struct str *ret, struct err *err) {
    BUF_AUTO key = {0};
    buf_printf(&key, "%.*s/%.*s", STR_ARG(shopper_id), STR_ARG(ref));
    pthread_mutex_lock(&addresses->lock);
    bool ok = catch_up(addresses, log_partition_of(buf_str(&key), addresses->topic.partitions), err);
    if (ok)
        *ret = arena_dup(arena, str_from(map_get(&addresses->emails, buf_str(&key))));
    pthread_mutex_unlock(&addresses->lock);
    return ok;
}
