/* CRC-32C (Castagnoli), as in iSCSI, ext4 and Kafka's record batches. */
#ifndef ORDERLOG_LOG_CRC32C_H
#define ORDERLOG_LOG_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* `crc` is 0, or the result for the bytes before these. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);
/* The way that needs no special processor, for tests to compare. */
uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t len);

#endif
