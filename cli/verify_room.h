/* A room in memory for a decider's fold: its tables as the log makes them. Only evolve may be run in it: what a
 * decider would say there goes nowhere. */
#ifndef ORDERLOG_CLI_VERIFY_ROOM_H
#define ORDERLOG_CLI_VERIFY_ROOM_H

#include "cli/verify.h"
#include "core/domain/room.h"

enum { FOLD_TABLES_MAX = 8 };

struct fold_state {
    struct verify_at at; /* of the last record that is in it */
    bool seen;
    bool closed;
    int64_t guard;
    size_t len;
    char bytes[]; /* of the table's subject */
};

struct fold_service {
    const struct decider *decider;
};
enum { FOLD_SERVICE_COUNT = 5 };
extern const struct fold_service fold_services[FOLD_SERVICE_COUNT];

bool fold_service_writes(const struct fold_service *service, const char *topic);
/* Whether its tables are made of this topic's records: its own events, and the events that it reads. */
bool fold_service_reads(const struct fold_service *service, const char *topic);

struct fold_loaded;

struct fold_room {
    struct room room; /* first: the ops cast it back */
    const struct decider *decider;
    struct map tables[FOLD_TABLES_MAX]; /* by key: a struct fold_state */
    struct arena arena;                 /* of the record */
    struct fold_loaded *loaded;         /* rows asked for while this record is folded */
    struct verify_at at;
};

void fold_room_init(struct fold_room *room, const struct decider *decider, const struct shop *shop);
void fold_room_free(struct fold_room *room);
void fold_room_take(struct fold_room *room, const struct verify_record *record);

#endif
