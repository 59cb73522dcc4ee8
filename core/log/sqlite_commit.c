/* A journal row's bytes:
 *
 *   head   CRC-32C (little-endian) of (row id, time, the rest of the head)
 *          varint parts | for each: varint tp, varint first offset, varint records, varint bytes, CRC-32C of the bytes
 *   parts  records as by record_encode, without topic, partition and time, which are the head's and the row's
 *
 * Two levels of sums, so that damage in one partition's records leaves the others readable. */
#include "core/log/sqlite_internal.h"

#include <stdlib.h>

#include "core/log/crc32c.h"
#include "core/log/record_codec.h"

enum { SUM_SIZE = 4, PART_HEAD_MIN = 4 + SUM_SIZE, PART_HEAD_MAX = 4 * VARINT_MAX_SIZE + SUM_SIZE };

static char *put_le(char *at, uint64_t value, size_t size) {
    for (size_t i = 0; i < size; i++)
        *at++ = (char)(value >> (8 * i));
    return at;
}

static uint32_t get_le32(const char *at) {
    const uint8_t *bytes = (const uint8_t *)at;
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static uint32_t head_sum(const struct sqlog_commit *commit, const char *head_end) {
    char row[16];
    put_le(put_le(row, (uint64_t)commit->id, 8), (uint64_t)commit->time_us, 8);
    const char *head = commit->bytes + SUM_SIZE;
    return crc32c(crc32c(0, row, sizeof row), head, (size_t)(head_end - head));
}

static struct sqlog_commit *commit_alloc(size_t part_count, size_t len) {
    size_t parts = part_count * sizeof(struct sqlog_part);
    struct sqlog_commit *commit = mem_alloc(sizeof *commit + parts + len);
    memset(commit, 0, sizeof *commit + parts);
    atomic_init(&commit->users, 1);
    commit->part_count = part_count;
    commit->bytes = (char *)commit + sizeof *commit + parts;
    commit->len = len;
    return commit;
}

struct sqlog_commit *sqlog_commit_ref(struct sqlog_commit *commit) {
    atomic_fetch_add_explicit(&commit->users, 1, memory_order_relaxed);
    return commit;
}

void sqlog_commit_unref(struct sqlog_commit *commit) {
    if (commit && atomic_fetch_sub_explicit(&commit->users, 1, memory_order_acq_rel) == 1)
        free(commit);
}

/* ---- making ---- */

struct sqlog_commit *sqlog_commit_new(size_t part_count, size_t bytes) {
    struct sqlog_commit *commit =
        commit_alloc(part_count, SUM_SIZE + VARINT_MAX_SIZE + part_count * PART_HEAD_MAX + bytes);
    commit->made_here = true;
    return commit;
}

/* The sums' places are left open: the records are not there yet. */
static char *part_head_encode(char *at, const struct sqlog_part *part) {
    at = varint_encode(at, (uint64_t)part->tp);
    at = varint_encode(at, (uint64_t)part->base);
    at = varint_encode(at, (uint64_t)part->count);
    at = varint_encode(at, part->records.len);
    return put_le(at, part->sum, SUM_SIZE);
}

static char *head_encode(struct sqlog_commit *commit) {
    char *at = varint_encode(commit->bytes + SUM_SIZE, commit->part_count);
    for (size_t i = 0; i < commit->part_count; i++)
        at = part_head_encode(at, &commit->parts[i]);
    return at;
}

void sqlog_commit_place(struct sqlog_commit *commit) {
    const char *at = head_encode(commit);
    for (size_t i = 0; i < commit->part_count; i++) {
        commit->parts[i].records.ptr = at;
        at += commit->parts[i].records.len;
    }
    commit->len = (size_t)(at - commit->bytes);
}

void sqlog_commit_seal(struct sqlog_commit *commit) {
    for (size_t i = 0; i < commit->part_count; i++)
        commit->parts[i].sum = crc32c(0, commit->parts[i].records.ptr, commit->parts[i].records.len);
    put_le(commit->bytes, head_sum(commit, head_encode(commit)), SUM_SIZE);
}

/* ---- reading ---- */

static bool part_head_decode(struct str *rest, struct sqlog_part *part) {
    uint64_t tp, base, count, len;
    if (!varint_decode(rest, &tp) || !varint_decode(rest, &base) || !varint_decode(rest, &count) ||
        !varint_decode(rest, &len) || rest->len < SUM_SIZE)
        return false;
    if (tp > SQLOG_TP_MAX || base >> SQLOG_OFFSET_BITS || count == 0 || count > len)
        return false;
    *part = (struct sqlog_part){(int64_t)tp, (int64_t)base, (int64_t)count, get_le32(rest->ptr), {NULL, (size_t)len}};
    rest->ptr += SUM_SIZE;
    rest->len -= SUM_SIZE;
    return true;
}

static bool parts_decode(struct sqlog_commit *commit, struct str rest) {
    for (size_t i = 0; i < commit->part_count; i++)
        if (!part_head_decode(&rest, &commit->parts[i]))
            return false;
    if (head_sum(commit, rest.ptr) != get_le32(commit->bytes))
        return false;
    for (size_t i = 0; i < commit->part_count; i++) {
        struct str *records = &commit->parts[i].records;
        if (records->len > rest.len)
            return false;
        records->ptr = rest.ptr;
        rest.ptr += records->len;
        rest.len -= records->len;
    }
    return rest.len == 0;
}

bool sqlog_commit_parse(int64_t id, int64_t time_us, const void *bytes, size_t len, struct sqlog_commit **ret,
                        struct err *err) {
    uint64_t part_count = 0;
    struct str rest = {len > SUM_SIZE ? (const char *)bytes + SUM_SIZE : "", len > SUM_SIZE ? len - SUM_SIZE : 0};
    struct sqlog_commit *commit = NULL;
    if (varint_decode(&rest, &part_count) && part_count && part_count <= rest.len / PART_HEAD_MIN) {
        commit = commit_alloc((size_t)part_count, len);
        commit->id = id;
        commit->time_us = time_us;
        memcpy(commit->bytes, bytes, len);
        if (parts_decode(commit, (struct str){commit->bytes + (len - rest.len), rest.len})) {
            *ret = commit;
            return true;
        }
    }
    sqlog_commit_unref(commit);
    return err_set(err, ERR_CORRUPT, "commit %lld is damaged", (long long)id);
}

bool sqlog_part_check(const struct sqlog_part *part, struct err *err) {
    return crc32c(0, part->records.ptr, part->records.len) == part->sum ||
           err_set(err, ERR_CORRUPT, "the %lld records from offset %lld on are damaged", (long long)part->count,
                   (long long)part->base);
}

struct sqlog_commit *sqlog_commit_of_part(const struct sqlog_commit *commit, const struct sqlog_part *part) {
    struct sqlog_commit *copy = commit_alloc(1, part->records.len);
    copy->id = commit->id;
    copy->time_us = commit->time_us;
    copy->made_here = true;
    copy->parts[0] = *part;
    copy->parts[0].records.ptr = copy->bytes;
    memcpy(copy->bytes, part->records.ptr, part->records.len);
    return copy;
}
