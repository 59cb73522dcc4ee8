/* The room that a decider works in: what pure code may see and say.
 *
 * A decider is `want` (which rows a record needs) and `decide` (record + rows -> changed rows + records), for one of
 * five services. Neither does I/O nor looks at a clock; whoever hosts the room loads the rows, keeps what is put,
 * and gives what is emitted its place in the transaction and in the log (consumers/loop.c; tests/support/room.c).
 *
 * Order of a record's handling: want, want again until it asks for nothing new, then decide. Records of a batch are
 * decided one after the other, each seeing the rows as the ones before it left them.
 *
 * State is the fold of a service's own .events and of the .events that it reads: deciders change a row only by
 * passing such a record to their `evolve`. Command ids, held requests, timers and intents are kept apart. */
#ifndef ORDERLOG_DOMAIN_ROOM_H
#define ORDERLOG_DOMAIN_ROOM_H

#include "core/base/arena.h"
#include "core/base/envelope.h"
#include "gen/types.h"

struct room;
struct err;

/* The shop's settings, the same in every process of a deployment. */
struct shop {
    struct str currency;         /* ISO 4217; the only one */
    int32_t quantity_max;        /* of one SKU in a cart: 999 */
    int32_t lines_max;           /* of a cart: 200 */
    int32_t payment_attempts;    /* 5 */
    int64_t payment_deadline_us; /* from the first OrderAwaitingPayment */
    int64_t cart_abandon_us;     /* after a cart's last change */
    int64_t hold_expiry_us;      /* of a request for an order not yet known */
    struct str location;         /* the one that serves orders: the first of ORDERLOG_LOCATIONS */
};

struct shop shop_defaults(void);

enum input_kind {
    INPUT_RECORD, /* a record of an input topic */
    INPUT_TIMER,  /* a timer that this decider set is due */
    INPUT_RESULT, /* what came of an intent: an intent message (MESSAGE_INTENT_PROVIDER_ANSWERED and the like) */
};

struct input {
    enum input_kind kind;
    const struct envelope
        *envelope; /* of the record; for a timer or result: only subject, key, timestamp_us, command_id */
    const struct message *message; /* NULL for a timer */
    struct str timer;              /* the timer's name, else ptr NULL */
};

/* A row of a decider's table: one aggregate. Lives as long as the batch. */
struct row {
    struct str key;
    void *state; /* the table's C type, in the arena; NULL: there is none */
};

struct product {
    struct str sku;
    struct str name;
    struct money price;
    int64_t revision;
};

struct room_ops {
    struct row *(*row)(struct room *room, int table, struct str key);
    void (*want)(struct room *room, int table, struct str key);
    void (*want_open)(struct room *room, int table);
    void (*want_catalogue)(struct room *room);
    void (*put)(struct room *room, int table, struct row *row, int64_t guard, bool closed);
    struct row *(*next_open)(struct room *room, int table, struct row *after);
    void (*emit)(struct room *room, struct str topic, struct str key, struct str subject,
                 const struct message *message);
    void (*timer_set)(struct room *room, struct str key, struct str name, int64_t due_us);
    void (*timer_clear)(struct room *room, struct str key, struct str name);
    void (*intent)(struct room *room, struct str id, struct str key, const struct message *message);
    bool (*product)(struct room *room, struct str sku, struct product *ret);
    struct str (*id)(struct room *room, const struct str *parts, size_t count);
};

struct room {
    const struct room_ops *ops;
    const struct shop *shop;
    struct arena *arena;   /* of the batch: whatever is put or emitted may live here */
    int64_t now_us;        /* the input's time */
    struct str command_id; /* goes into what is emitted; a decider may set it while it answers a held request */
    bool call_over;        /* set while an INPUT_RESULT is decided: its call need not be made again, come what may */
    void *scratch;         /* the decider's own, from the first record of a batch to batch_end; NULL when that begins */
};

/* The row of this key, with state NULL when there is none (as it stands now, in the batch). Never NULL. In `want`
 * it shows what is loaded so far; in `decide` only rows that were wanted may be asked for. */
static inline struct row *room_row(struct room *room, int table, struct str key) {
    return room->ops->row(room, table, key);
}
/* Asks for a row; asking again is free. */
static inline void room_want(struct room *room, int table, struct str key) {
    room->ops->want(room, table, key);
}
/* Asks for all rows of a table that are not closed. Expensive; for what operators do now and then. */
static inline void room_want_open(struct room *room, int table) {
    room->ops->want_open(room, table);
}
/* checkout only: the catalogue must be as new as the log is now, before this record is decided. */
static inline void room_want_catalogue(struct room *room) {
    if (room->ops->want_catalogue)
        room->ops->want_catalogue(room);
}
/* The loaded rows that are not closed, in no particular order: NULL begins and ends. */
static inline struct row *room_next_open(struct room *room, int table, struct row *after) {
    return room->ops->next_open(room, table, after);
}
/* Keeps row->state. `guard` is a number that may never go below zero (the database checks: available stock); `closed`
 * says that the aggregate has come to its end and no room_want_open needs it. */
static inline void room_put(struct room *room, int table, struct row *row, int64_t guard, bool closed) {
    room->ops->put(room, table, row, guard, closed);
}
/* Appends a record to a topic. Copied before it returns (encoded). */
static inline void room_emit(struct room *room, struct str topic, struct str key, struct str subject,
                             const struct message *message) {
    room->ops->emit(room, topic, key, subject, message);
}
/* One timer per (key, name) of this service; setting again moves it. It comes back as an INPUT_TIMER with that key
 * as envelope->key, at or after due_us, once everything that the log held by then was decided. */
static inline void room_timer_set(struct room *room, struct str key, struct str name, int64_t due_us) {
    room->ops->timer_set(room, key, name, due_us);
}
static inline void room_timer_clear(struct room *room, struct str key, struct str name) {
    room->ops->timer_clear(room, key, name);
}
/* A call to the outside (intent/payment, intent/notice), made after the commit, again and again until an INPUT_RESULT
 * could be decided. `id` is unique per service (an idempotency key serves): the same id again is the same call, made
 * once while it is open. */
static inline void room_intent(struct room *room, struct str id, struct str key, const struct message *message) {
    room->ops->intent(room, id, key, message);
}
/* checkout only: the catalogue as far as it is known; false when there is no such product. */
static inline bool room_product(struct room *room, struct str sku, struct product *ret) {
    return room->ops->product(room, sku, ret);
}
/* A UUID that depends on the parts only. */
static inline struct str room_id(struct room *room, const struct str *parts, size_t count) {
    return room->ops->id(room, parts, count);
}

struct decider_table {
    const char *name;    /* of the PostgreSQL table decider.<name> */
    const char *subject; /* of its schema: state/<…> */
    size_t size;         /* of the C type */
    bool swept;          /* room_want_open is used on it: the rows that are not closed have an index */
    bool apart;          /* held requests and the like: not a fold of the log, so a rebuild leaves it alone */
};

struct decider {
    const char *service;
    const char *const *inputs; /* topics with the same key */
    size_t input_count;
    /* Its own .events, NULL at the end. Whatever it decides, something of it is told there. */
    const char *const *events;
    const struct decider_table *tables;
    size_t table_count;
    bool reads_catalogue;
    /* Whether records without an origin (the API's) are to be dropped when their id was seen before. checkout keeps
     * the ids in the cart instead. */
    bool remembers_commands;
    void (*want)(struct room *room, const struct input *input);
    /* false: this record cannot be handled (*why: a static text); nothing was put or emitted. */
    bool (*decide)(struct room *room, const struct input *input, const char **why);
    /* After the last record of a batch; may be NULL. */
    void (*batch_end)(struct room *room);
    /* Folds one record of the service's own .events, or of the .events that it reads, into the rows: how the tables
     * are rebuilt from the log. `want` for such a record is `evolve_want`. */
    void (*evolve_want)(struct room *room, const struct input *input);
    void (*evolve)(struct room *room, const struct input *input);
    /* The answer to a command whose id was seen with another body: emits this service's CommandRefused
     * (idempotency-key-reused). */
    void (*refuse_reused)(struct room *room, const struct input *input);
};

extern const struct decider checkout_decider;
extern const struct decider orders_decider;
extern const struct decider inventory_decider;
extern const struct decider payments_decider;
extern const struct decider fulfilment_decider;

#endif
