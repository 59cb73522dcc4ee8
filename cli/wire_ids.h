/* Which ids stand in front of records (core/codec/wire.h), from the settings:
 *
 *   ORDERLOG_WIRE       pinned (the default), confluent or glue: what is written
 *   ORDERLOG_WIRE_IDS   lines TOPIC NUMBER ID, as `orderlog schemas pull --ids` writes them (usually
 *                       ORDERLOG_WIRE_IDS_FILE); of confluent without them ORDERLOG_SCHEMA_REGISTRY is asked, once */
#ifndef ORDERLOG_CLI_WIRE_IDS_H
#define ORDERLOG_CLI_WIRE_IDS_H

#include "core/base/err.h"

/* Once, after the configuration was loaded and before a record is read or written. Blocks when it asks a registry. */
CHECK_RESULT bool wire_ids_init(struct err *err);

#endif
