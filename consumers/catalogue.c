#include "consumers/catalogue.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/map.h"
#include "core/codec/avro.h"

enum { CATALOGUE_BATCH = 1000, CATALOGUE_WAIT_MS = 5000 };

struct entry {
    struct product product; /* its texts are the entry's own */
    bool for_sale;
};

struct catalogue {
    struct log *log;
    struct log_consumer *consumer;
    struct map products; /* sku -> struct entry */
    struct log_topic topic;
    int64_t *next; /* by partition: the offset after the last one taken */
    struct arena arena;
};

bool catalogue_open(struct log *log, struct catalogue **ret, struct err *err) {
    struct catalogue *catalogue = mem_zalloc(sizeof(*catalogue));
    catalogue->log = log;
    arena_init(&catalogue->arena);
    bool ok = log_topic_find(log, STR(TOPIC_CATALOGUE_EVENTS), &catalogue->topic, err) &&
              log_consumer_open_manual(log, &catalogue->consumer, err);
    if (ok)
        catalogue->next = mem_zalloc((size_t)catalogue->topic.partitions * sizeof(int64_t));
    for (int32_t p = 0; ok && p < catalogue->topic.partitions; p++) {
        int64_t high;
        ok = log_watermarks(log, catalogue->topic.name, p, &catalogue->next[p], &high, err) &&
             log_consumer_seek(catalogue->consumer, catalogue->topic.name, p, catalogue->next[p], err);
    }
    if (!ok) {
        catalogue_close(catalogue);
        return false;
    }
    *ret = catalogue;
    return true;
}

static void free_entry(void *value) {
    struct entry *entry = value;
    free((void *)(uintptr_t)entry->product.sku.ptr);
    free((void *)(uintptr_t)entry->product.name.ptr);
    free((void *)(uintptr_t)entry->product.price.currency.ptr);
    free(entry);
}

void catalogue_close(struct catalogue *catalogue) {
    if (!catalogue)
        return;
    log_consumer_close(catalogue->consumer);
    map_free(&catalogue->products, free_entry);
    arena_free(&catalogue->arena);
    free(catalogue->next);
    free(catalogue);
}

static struct str own(struct str s) {
    return (struct str){mem_strdup(s), s.len};
}

static void revise(struct catalogue *catalogue, const struct catalogue_product_revised *revised, int64_t revision) {
    void **slot = map_put(&catalogue->products, revised->sku);
    if (*slot)
        free_entry(*slot);
    struct entry *entry = mem_zalloc(sizeof(*entry));
    entry->for_sale = true;
    entry->product =
        (struct product){.sku = own(revised->sku),
                         .name = own(revised->name),
                         .price = {.minor = revised->price.minor, .currency = own(revised->price.currency)},
                         .revision = revision};
    *slot = entry;
}

static bool take(struct catalogue *catalogue, const struct log_record *record, struct err *err) {
    struct message message;
    if (!record->value.ptr)
        return err_set(err, ERR_POISON, "a record without a value");
    if (!message_decode(schema_subject_find(STR(TOPIC_CATALOGUE_EVENTS)), record->value, &catalogue->arena, &message,
                        err))
        return err_wrap(err, "%.*s/%d offset %lld", STR_ARG(record->topic), record->partition,
                        (long long)record->offset);
    if (message.type == MESSAGE_UNKNOWN)
        return err_set(err, ERR_UNKNOWN_SCHEMA, "%.*s/%d offset %lld is of a type that this program does not know",
                       STR_ARG(record->topic), record->partition, (long long)record->offset);
    if (message.type == MESSAGE_CATALOGUE_PRODUCT_REVISED)
        revise(catalogue, &message.catalogue_product_revised, record->offset);
    if (message.type == MESSAGE_CATALOGUE_PRODUCT_WITHDRAWN) {
        struct entry *entry = map_get(&catalogue->products, message.catalogue_product_withdrawn.sku);
        if (entry)
            entry->for_sale = false;
    }
    return true;
}

/* After a failure: what was polled and not taken is polled again, so that nobody goes on without it. */
static void go_back(struct catalogue *catalogue) {
    struct err err = {0};
    for (int32_t p = 0; p < catalogue->topic.partitions; p++)
        if (!log_consumer_seek(catalogue->consumer, catalogue->topic.name, p, catalogue->next[p], &err))
            logging_err(&err, "catalogue.seek_failed", "partition=%d", p);
}

static bool poll_once(struct catalogue *catalogue, int64_t timeout_ms, size_t *ret_count, struct err *err) {
    struct log_batch batch;
    if (!log_consumer_poll(catalogue->consumer, CATALOGUE_BATCH, timeout_ms, &batch, err))
        return false;
    for (size_t i = 0; i < batch.count; i++) {
        /* A damaged product cannot be sold, but must not keep the others from it: its old state stays. */
        struct err poison = {0};
        if (!take(catalogue, &batch.records[i], &poison) && poison.kind != ERR_POISON) {
            go_back(catalogue);
            if (err)
                *err = poison;
            return false;
        }
        if (poison.kind)
            logging_err(&poison, "catalogue.record_skipped", " ");
        catalogue->next[batch.records[i].partition] = batch.records[i].offset + 1;
    }
    arena_reset(&catalogue->arena);
    *ret_count = batch.count;
    return true;
}

bool catalogue_poll(struct catalogue *catalogue, struct err *err) {
    size_t count = CATALOGUE_BATCH;
    while (count == CATALOGUE_BATCH)
        if (!poll_once(catalogue, 0, &count, err))
            return false;
    return true;
}

static bool read_to(struct catalogue *catalogue, int32_t partition, int64_t end, int64_t deadline_us, struct err *err) {
    while (catalogue->next[partition] < end) {
        size_t count;
        if (clock_monotonic_us() > deadline_us)
            return err_set(err, ERR_LOG_UNAVAILABLE, "the catalogue could not be read to its end in %d ms",
                           CATALOGUE_WAIT_MS);
        if (!poll_once(catalogue, 100, &count, err))
            return false;
    }
    return true;
}

bool catalogue_catch_up(struct catalogue *catalogue, struct err *err) {
    int64_t deadline_us = clock_monotonic_us() + CATALOGUE_WAIT_MS * INT64_C(1000);
    size_t partitions = (size_t)catalogue->topic.partitions;
    struct log_position *ends = mem_alloc(partitions * sizeof *ends);
    for (size_t p = 0; p < partitions; p++)
        ends[p] = (struct log_position){catalogue->topic.name, (int32_t)p, 0};
    bool ok = log_ends(catalogue->log, ends, partitions, false, err);
    for (size_t p = 0; ok && p < partitions; p++)
        ok = read_to(catalogue, (int32_t)p, ends[p].offset, deadline_us, err);
    free(ends);
    return ok;
}

bool catalogue_find(const struct catalogue *catalogue, struct str sku, struct product *ret) {
    const struct entry *entry = map_get(&catalogue->products, sku);
    if (!entry || !entry->for_sale)
        return false;
    *ret = entry->product;
    return true;
}
