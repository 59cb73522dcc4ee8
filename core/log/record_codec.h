/* One record as bytes: what the embedded log stores in its batches and the deciders in their outbox.
 *
 *   varint length of the rest | flags | [topic] [partition] [time] [key] [value] [header count, headers]
 *
 * Varints are LEB128, the time is zigzag. The flags say which parts are there, so that an absent key (ptr NULL) stays
 * different from an empty one. The offset is not part of it. What our own records repeat, topics, types, headers' names
 * and some of their values, is written as numbers where it is known, and in full where it is not; records that earlier
 * versions wrote have all of it in full. */
#ifndef ORDERLOG_LOG_RECORD_CODEC_H
#define ORDERLOG_LOG_RECORD_CODEC_H

#include "core/base/arena.h"
#include "core/log/log.h"

enum { VARINT_MAX_SIZE = 10 };

/* Left out: a topic with ptr NULL, a partition below 0, a timestamp of 0. */
void record_encode(struct buf *buf, const struct log_record *record);
/* A block of `head` bytes that are the caller's to fill, and *ret_len of the record behind them; to be freed. */
void *record_encode_behind(size_t head, const struct log_record *record, size_t *ret_len);

/* Takes one record off the front of *rest. What was left out comes back as ptr NULL, partition -1 (LOG_BY_KEY) and
 * timestamp 0; the offset is 0. Strings point into the bytes, or to what is there for ever; the headers' array is the
 * arena's (and at most 32 times as large as the bytes). Bytes that are no record: ERR_CORRUPT, *rest and *ret left
 * alone. */
CHECK_RESULT bool record_decode(struct str *rest, struct arena *arena, struct log_record *ret, struct err *err);
/* Takes one record off without looking inside. */
CHECK_RESULT bool record_skip(struct str *rest, struct err *err);

size_t varint_size(uint64_t value);
char *varint_encode(char *at, uint64_t value);
bool varint_decode(struct str *rest, uint64_t *ret);

#endif
