/* A batch's bytes: CRC-32C of (row id, the rest), little-endian | varint time | varint count | records as by
 * record_encode, without topic, partition and time. The row id is in the sum, so that a batch cannot pass for another.
 */
#include "core/log/sqlite_internal.h"

#include <stdlib.h>

#include "core/log/crc32c.h"
#include "core/log/record_codec.h"

enum { CRC_SIZE = 4 };

static void put_le(char *at, uint64_t value, size_t size) {
    for (size_t i = 0; i < size; i++)
        at[i] = (char)(value >> (8 * i));
}

static struct sqlog_batch *batch_alloc(struct sqlog_partition *partition, int64_t base, size_t len) {
    struct sqlog_batch *batch = mem_alloc(sizeof *batch + len);
    atomic_init(&batch->users, 1);
    batch->partition = partition;
    batch->base = base;
    batch->count = 0;
    batch->next = NULL;
    batch->len = len;
    return batch;
}

struct sqlog_batch *sqlog_batch_new(struct sqlog_partition *partition, int64_t base, int64_t count, int64_t time_us,
                                    size_t bytes, char **ret_at) {
    size_t head = CRC_SIZE + varint_size((uint64_t)time_us) + varint_size((uint64_t)count);
    struct sqlog_batch *batch = batch_alloc(partition, base, head + bytes);
    batch->count = count;
    *ret_at = varint_encode(varint_encode(batch->bytes + CRC_SIZE, (uint64_t)time_us), (uint64_t)count);
    return batch;
}

static uint32_t batch_sum(const struct sqlog_batch *batch) {
    char id[8];
    put_le(id, (uint64_t)sqlog_row_id(batch->partition, batch->base), sizeof id);
    return crc32c(crc32c(0, id, sizeof id), batch->bytes + CRC_SIZE, batch->len - CRC_SIZE);
}

void sqlog_batch_seal(struct sqlog_batch *batch) {
    put_le(batch->bytes, batch_sum(batch), CRC_SIZE);
}

struct sqlog_batch *sqlog_batch_ref(struct sqlog_batch *batch) {
    atomic_fetch_add_explicit(&batch->users, 1, memory_order_relaxed);
    return batch;
}

void sqlog_batch_unref(struct sqlog_batch *batch) {
    if (batch && atomic_fetch_sub_explicit(&batch->users, 1, memory_order_acq_rel) == 1)
        free(batch);
}

static bool batch_read_head(const struct sqlog_batch *batch, struct str *ret_records, int64_t *ret_time_us,
                            int64_t *ret_count) {
    struct str rest = {batch->bytes + CRC_SIZE, batch->len - CRC_SIZE};
    uint64_t time_us, count;
    if (!varint_decode(&rest, &time_us) || !varint_decode(&rest, &count) || count == 0 || count > rest.len)
        return false;
    *ret_records = rest;
    *ret_time_us = (int64_t)time_us;
    *ret_count = (int64_t)count;
    return true;
}

static bool batch_damaged(const struct sqlog_batch *batch, struct err *err) {
    return err_set(err, ERR_CORRUPT, "the batch at %.*s/%d offset %lld is damaged",
                   STR_ARG(batch->partition->topic->info.name), batch->partition->index, (long long)batch->base);
}

bool sqlog_batch_open(struct sqlog_batch *batch, struct str *ret_records, int64_t *ret_time_us, struct err *err) {
    int64_t count;
    return batch_read_head(batch, ret_records, ret_time_us, &count) || batch_damaged(batch, err);
}

bool sqlog_batch_from_row(struct sqlog_partition *partition, int64_t id, const void *bytes, size_t len,
                          struct sqlog_batch **ret, struct err *err) {
    struct sqlog_batch *batch = batch_alloc(partition, sqlog_row_offset(id), len);
    if (len)
        memcpy(batch->bytes, bytes, len);
    char sum[CRC_SIZE];
    struct str records;
    int64_t time_us;
    if (len > CRC_SIZE)
        put_le(sum, batch_sum(batch), CRC_SIZE);
    if (len <= CRC_SIZE || memcmp(sum, batch->bytes, CRC_SIZE) != 0 ||
        !batch_read_head(batch, &records, &time_us, &batch->count)) {
        batch_damaged(batch, err);
        sqlog_batch_unref(batch);
        return false;
    }
    *ret = batch;
    return true;
}
