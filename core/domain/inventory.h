/* Inside of inventory: its tables, its fold, and what an adjustment takes that was promised. */
#ifndef ORDERLOG_DOMAIN_INVENTORY_H
#define ORDERLOG_DOMAIN_INVENTORY_H

#include "core/domain/stock.h"

enum { INVENTORY_STOCK, INVENTORY_RESERVATION };

/* Folds reservation.events and stock.events, in any interleaving of the two topics: of a stock row's counters the
 * newest version counts. */
void inventory_evolve(struct room *room, const struct input *input);
void inventory_evolve_want(struct room *room, const struct input *input);

/* Folds a record of inventory's own and emits it; the rows that it changed are remembered for the batch's end. */
void inventory_record(struct room *room, const struct message *message);
void inventory_batch_end(struct room *room);

/* Stock rows as they will stand. A change is tried here first, line by line, so that what cannot be done to the end
 * is not begun. All-zero is an empty draft. */
struct inventory_draft {
    struct inventory_draft_row *rows;
    size_t count;
    size_t capacity;
};

/* *ret are the SKU's counters after the change; false: it cannot be (see stock_change), and the draft is unchanged. */
bool inventory_draft_change(struct room *room, struct inventory_draft *draft, struct str location, struct str sku,
                            struct stock_change change, struct counters *ret);

enum inventory_move { INVENTORY_COMMIT, INVENTORY_RELEASE, INVENTORY_CONSUME };

/* The lines of a reservation that is held or committed, each with its stock row after the move. False: a stock row
 * does not hold what the reservation says. */
bool inventory_draft_move(struct room *room, struct inventory_draft *draft, const struct state_reservation *reservation,
                          enum inventory_move move, struct stock_line_list *ret);

/* A reservation that an adjustment takes from. */
struct inventory_release {
    struct str order_id;
    struct stock_line_list lines;
};

/* Asks for all that inventory_shortfall may look at. */
void inventory_shortfall_want(struct room *room, struct str location, struct str sku);
/* For an adjustment by `quantity` (negative) that more is promised than it leaves: which reservations to release, in
 * order (held before committed, newest first) and no more than needed, and the SKU's counters after them and after the
 * adjustment. False: not even releasing all of them would do. The array is in the arena. */
bool inventory_shortfall(struct room *room, struct str location, struct str sku, int64_t quantity,
                         struct inventory_release **ret_releases, size_t *ret_count, struct counters *ret_counters);

#endif
