/* Kafka's default partitioner, so that a key lands where any Java client would put it. */
#include "core/log/log.h"

/* org.apache.kafka.common.utils.Utils.murmur2: MurmurHash2 with the seed 0x9747b28c, little-endian. */
static uint32_t murmur2(const char *bytes, size_t len) {
    const uint32_t m = 0x5bd1e995;
    const uint8_t *at = (const uint8_t *)bytes;
    uint32_t h = 0x9747b28c ^ (uint32_t)len;
    for (; len >= 4; at += 4, len -= 4) {
        uint32_t k = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        k *= m;
        k ^= k >> 24;
        k *= m;
        h = h * m ^ k;
    }
    if (len >= 3)
        h ^= (uint32_t)at[2] << 16;
    if (len >= 2)
        h ^= (uint32_t)at[1] << 8;
    if (len >= 1)
        h = (h ^ at[0]) * m;
    h ^= h >> 13;
    h *= m;
    return h ^ h >> 15;
}

int32_t log_partition_of(struct str key, int32_t partitions) {
    return (int32_t)(murmur2(key.ptr, key.len) & 0x7fffffff) % partitions;
}
