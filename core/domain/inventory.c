/* inventory decides what of the stock is whose. It takes requests in log order, all or nothing per order; every
 * record carries the stock row after it, so that anyone can check that nothing was ever oversold. */
#include "core/domain/inventory.h"
#include "core/domain/reason.h"

static void refuse_order(struct room *room, struct str order_id, struct str location, enum reason reason,
                         struct str detail) {
    inventory_record(room, &(struct message){.type = MESSAGE_RESERVATION_COMMAND_REFUSED,
                                             .reservation_command_refused = {.order_id = order_id,
                                                                             .location = location,
                                                                             .reason = reason_slug(reason),
                                                                             .detail = detail}});
}

static void refuse_stock(struct room *room, struct str sku, struct str location, enum reason reason,
                         struct str detail) {
    inventory_record(room, &(struct message){
                               .type = MESSAGE_STOCK_COMMAND_REFUSED,
                               .stock_command_refused = {
                                   .sku = sku, .location = location, .reason = reason_slug(reason), .detail = detail}});
}

/* ---- what a request is about */

struct about {
    struct str order_id; /* of a reservation, else ptr NULL */
    struct str location;
    struct str sku; /* of a stock row, else ptr NULL */
};

static bool about_of(const struct message *message, struct about *ret) {
    *ret = (struct about){STR_NULL, STR_NULL, STR_NULL};
    switch (message->type) {
    case MESSAGE_INVENTORY_RESERVE_STOCK:
        ret->order_id = message->inventory_reserve_stock.order_id;
        ret->location = message->inventory_reserve_stock.location;
        return true;
    case MESSAGE_INVENTORY_COMMIT_RESERVATION:
        ret->order_id = message->inventory_commit_reservation.order_id;
        ret->location = message->inventory_commit_reservation.location;
        return true;
    case MESSAGE_INVENTORY_RELEASE_RESERVATION:
        ret->order_id = message->inventory_release_reservation.order_id;
        ret->location = message->inventory_release_reservation.location;
        return true;
    case MESSAGE_INVENTORY_CONSUME_RESERVATION:
        ret->order_id = message->inventory_consume_reservation.order_id;
        ret->location = message->inventory_consume_reservation.location;
        return true;
    case MESSAGE_INVENTORY_RECEIVE_STOCK:
        ret->sku = message->inventory_receive_stock.sku;
        ret->location = message->inventory_receive_stock.location;
        return true;
    case MESSAGE_INVENTORY_ADJUST_STOCK:
        ret->sku = message->inventory_adjust_stock.sku;
        ret->location = message->inventory_adjust_stock.location;
        return true;
    default:
        return false;
    }
}

/* ---- want */

static void want_reservation(struct room *room, struct str order_id) {
    room_want(room, INVENTORY_RESERVATION, order_id);
    const struct state_reservation *reservation = room_row(room, INVENTORY_RESERVATION, order_id)->state;
    for (size_t i = 0; reservation && i < reservation->lines.count; i++)
        room_want(room, INVENTORY_STOCK,
                  stock_key(room->arena, reservation->location, reservation->lines.items[i].sku));
}

static void inventory_want(struct room *room, const struct input *input) {
    struct about about;
    if (input->kind != INPUT_RECORD || !about_of(input->message, &about))
        return;
    if (about.sku.ptr) {
        room_want(room, INVENTORY_STOCK, stock_key(room->arena, about.location, about.sku));
        /* Whether it will be short cannot be known yet: records before it in the batch may still take stock. */
        if (input->message->type == MESSAGE_INVENTORY_ADJUST_STOCK &&
            input->message->inventory_adjust_stock.quantity < 0)
            inventory_shortfall_want(room, about.location, about.sku);
    } else {
        want_reservation(room, about.order_id);
        if (input->message->type == MESSAGE_INVENTORY_RESERVE_STOCK) {
            const struct quantity_list *lines = &input->message->inventory_reserve_stock.lines;
            for (size_t i = 0; i < lines->count; i++)
                room_want(room, INVENTORY_STOCK, stock_key(room->arena, about.location, lines->items[i].sku));
        }
    }
}

/* ---- reservations */

/* One line per SKU. False: a line without SKU, a quantity below one, or a sum over what a line can say. */
static bool lines_merge(struct arena *arena, const struct quantity_list *asked, struct stock_line_list *ret) {
    struct stock_line *lines = arena_array(arena, struct stock_line, asked->count);
    size_t count = 0;
    for (size_t i = 0; i < asked->count; i++) {
        struct str sku = asked->items[i].sku;
        int32_t quantity = asked->items[i].quantity;
        if (!sku.len || quantity < 1)
            return false;
        size_t at = 0;
        while (at < count && !str_eq(lines[at].sku, sku))
            at++;
        if (at == count)
            lines[count++].sku = sku;
        if (__builtin_add_overflow(lines[at].quantity, quantity, &lines[at].quantity))
            return false;
    }
    *ret = (struct stock_line_list){lines, count};
    return count > 0;
}

static bool decide_reserve(struct room *room, const struct inventory_reserve_stock *m, const char **why) {
    struct stock_line_list lines;
    if (!lines_merge(room->arena, &m->lines, &lines)) {
        *why = "ReserveStock without lines, or with a quantity that cannot be";
        return false;
    }
    if (room_row(room, INVENTORY_RESERVATION, m->order_id)->state) {
        refuse_order(room, m->order_id, m->location, REASON_TRANSITION_REFUSED,
                     STR("stock was asked for this order before, or given back"));
        return true;
    }
    struct reservation_refused_line *missing = arena_array(room->arena, struct reservation_refused_line, lines.count);
    size_t missing_count = 0;
    struct inventory_draft draft = {0};
    for (size_t i = 0; i < lines.count; i++) {
        struct stock_line *line = &lines.items[i];
        if (inventory_draft_change(room, &draft, m->location, line->sku, (struct stock_change){.held = line->quantity},
                                   &line->counters))
            continue;
        const struct row *row = room_row(room, INVENTORY_STOCK, stock_key(room->arena, m->location, line->sku));
        missing[missing_count++] =
            (struct reservation_refused_line){line->sku, line->quantity, stock_counters(row).available};
    }
    struct message message = {.type = MESSAGE_RESERVATION_STOCK_RESERVED};
    if (missing_count) {
        message.type = MESSAGE_RESERVATION_STOCK_REFUSED;
        message.reservation_stock_refused =
            (struct reservation_stock_refused){m->order_id, m->location, {missing, missing_count}};
    } else {
        message.reservation_stock_reserved = (struct reservation_stock_reserved){m->order_id, m->location, lines};
    }
    inventory_record(room, &message);
    return true;
}

static bool move_allowed(enum inventory_move move, enum state_reservation_status status) {
    switch (move) {
    case INVENTORY_COMMIT:
        return status == STATE_RESERVATION_STATUS_HELD;
    case INVENTORY_CONSUME:
        return status == STATE_RESERVATION_STATUS_COMMITTED;
    case INVENTORY_RELEASE:
        break;
    }
    return status == STATE_RESERVATION_STATUS_HELD || status == STATE_RESERVATION_STATUS_COMMITTED;
}

static struct str status_text(enum state_reservation_status status) {
    switch (status) {
    case STATE_RESERVATION_STATUS_HELD:
        return STR("the reservation is held, not committed");
    case STATE_RESERVATION_STATUS_COMMITTED:
        return STR("the reservation is committed already");
    case STATE_RESERVATION_STATUS_RELEASED:
        return STR("the reservation was released");
    case STATE_RESERVATION_STATUS_CONSUMED:
        return STR("the reservation was consumed");
    case STATE_RESERVATION_STATUS_REFUSED:
        break;
    }
    return STR("the stock was refused");
}

static void record_move(struct room *room, enum inventory_move move, struct str order_id, struct str location,
                        struct stock_line_list lines, struct str reason) {
    struct message message = {0};
    switch (move) {
    case INVENTORY_COMMIT:
        message.type = MESSAGE_RESERVATION_COMMITTED;
        message.reservation_committed = (struct reservation_committed){order_id, location, lines};
        break;
    case INVENTORY_CONSUME:
        message.type = MESSAGE_RESERVATION_CONSUMED;
        message.reservation_consumed = (struct reservation_consumed){order_id, location, lines};
        break;
    case INVENTORY_RELEASE:
        message.type = MESSAGE_RESERVATION_RELEASED;
        message.reservation_released = (struct reservation_released){order_id, location, lines, reason};
        break;
    }
    inventory_record(room, &message);
}

static bool decide_move(struct room *room, enum inventory_move move, const struct about *about, struct str reason,
                        const char **why) {
    const struct state_reservation *reservation = room_row(room, INVENTORY_RESERVATION, about->order_id)->state;
    if (!reservation && move == INVENTORY_RELEASE) {
        /* Requests of an order come in order, so this should not be; but if, nothing may be held for it later. */
        record_move(room, move, about->order_id, about->location, (struct stock_line_list){0}, reason);
        return true;
    }
    if (!reservation || !str_eq(reservation->location, about->location)) {
        refuse_order(room, about->order_id, about->location, REASON_NOT_FOUND,
                     STR("this order holds nothing at this location"));
        return true;
    }
    if (!move_allowed(move, reservation->status)) {
        refuse_order(room, about->order_id, about->location, REASON_TRANSITION_REFUSED,
                     status_text(reservation->status));
        return true;
    }
    struct inventory_draft draft = {0};
    struct stock_line_list lines;
    if (!inventory_draft_move(room, &draft, reservation, move, &lines)) {
        *why = "a stock row does not hold what the reservation says";
        return false;
    }
    record_move(room, move, about->order_id, about->location, lines, reason);
    return true;
}

/* ---- stock */

static void decide_receive(struct room *room, const struct inventory_receive_stock *m) {
    struct inventory_draft draft = {0};
    struct counters counters;
    if (m->quantity < 1) {
        refuse_stock(room, m->sku, m->location, REASON_INVALID_BODY, STR("the quantity must be at least 1"));
    } else if (!inventory_draft_change(room, &draft, m->location, m->sku,
                                       (struct stock_change){.received = m->quantity}, &counters)) {
        refuse_stock(room, m->sku, m->location, REASON_QUANTITY_LIMIT, STR("that is more than can be counted"));
    } else {
        struct message message = {.type = MESSAGE_STOCK_RECEIVED};
        message.stock_received = (struct stock_received){m->sku, m->location, m->quantity, counters, m->actor};
        inventory_record(room, &message);
    }
}

static void record_adjusted(struct room *room, const struct inventory_adjust_stock *m, struct counters counters) {
    struct message message = {.type = MESSAGE_STOCK_ADJUSTED};
    message.stock_adjusted = (struct stock_adjusted){m->sku, m->location, m->quantity, m->reason, counters, m->actor};
    inventory_record(room, &message);
}

static void adjust_short(struct room *room, const struct inventory_adjust_stock *m, int64_t available) {
    struct inventory_release *releases;
    size_t count;
    struct counters counters;
    if (!inventory_shortfall(room, m->location, m->sku, m->quantity, &releases, &count, &counters)) {
        refuse_stock(room, m->sku, m->location, REASON_TRANSITION_REFUSED,
                     STR("there is not that much to take, even from what is reserved"));
        return;
    }
    /* Cannot overflow: what is short was found among the promises. */
    struct message message = {.type = MESSAGE_STOCK_SHORT};
    message.stock_short = (struct stock_short){m->sku, m->location, -(available + m->quantity)};
    inventory_record(room, &message);
    for (size_t i = 0; i < count; i++)
        record_move(room, INVENTORY_RELEASE, releases[i].order_id, m->location, releases[i].lines,
                    reason_slug(REASON_STOCK_SHORT));
    record_adjusted(room, m, counters);
}

static void decide_adjust(struct room *room, const struct inventory_adjust_stock *m) {
    const struct row *row = room_row(room, INVENTORY_STOCK, stock_key(room->arena, m->location, m->sku));
    struct counters before = stock_counters(row);
    struct counters counters;
    if (m->quantity == 0)
        refuse_stock(room, m->sku, m->location, REASON_INVALID_BODY, STR("the quantity must not be 0"));
    else if (stock_change(&before, (struct stock_change){.adjusted = m->quantity}, &counters))
        record_adjusted(room, m, counters);
    else if (m->quantity > 0)
        refuse_stock(room, m->sku, m->location, REASON_QUANTITY_LIMIT, STR("that is more than can be counted"));
    else
        adjust_short(room, m, before.available);
}

/* ---- the decider */

static bool inventory_decide(struct room *room, const struct input *input, const char **why) {
    struct about about;
    if (input->kind != INPUT_RECORD || !about_of(input->message, &about)) {
        *why = "not a request to inventory";
        return false;
    }
    if (!stock_location_valid(about.location) || (about.sku.ptr ? !about.sku.len : !about.order_id.len)) {
        *why = "a request to inventory without order or SKU, or with a location that cannot be";
        return false;
    }
    const struct message *message = input->message;
    switch (message->type) {
    case MESSAGE_INVENTORY_RESERVE_STOCK:
        return decide_reserve(room, &message->inventory_reserve_stock, why);
    case MESSAGE_INVENTORY_COMMIT_RESERVATION:
        return decide_move(room, INVENTORY_COMMIT, &about, STR_NULL, why);
    case MESSAGE_INVENTORY_RELEASE_RESERVATION:
        return decide_move(room, INVENTORY_RELEASE, &about, message->inventory_release_reservation.reason, why);
    case MESSAGE_INVENTORY_CONSUME_RESERVATION:
        return decide_move(room, INVENTORY_CONSUME, &about, STR_NULL, why);
    case MESSAGE_INVENTORY_RECEIVE_STOCK:
        decide_receive(room, &message->inventory_receive_stock);
        return true;
    default:
        decide_adjust(room, &message->inventory_adjust_stock);
        return true;
    }
}

static void inventory_refuse_reused(struct room *room, const struct input *input) {
    struct str detail = STR("this idempotency key was used for another request");
    struct about about;
    if (!about_of(input->message, &about))
        return;
    if (about.sku.ptr)
        refuse_stock(room, about.sku, about.location, REASON_IDEMPOTENCY_KEY_REUSED, detail);
    else
        refuse_order(room, about.order_id, about.location, REASON_IDEMPOTENCY_KEY_REUSED, detail);
}

const struct decider inventory_decider = {
    .service = "inventory",
    .inputs = (const char *const[]){TOPIC_INVENTORY_REQUESTS},
    .input_count = 1,
    .events = (const char *const[]){TOPIC_RESERVATION_EVENTS, TOPIC_STOCK_EVENTS, NULL},
    .tables =
        (const struct decider_table[]){
            [INVENTORY_STOCK] = {.name = "stock", .subject = "state/stock", .size = sizeof(struct state_stock)},
            [INVENTORY_RESERVATION] = {.name = "reservation",
                                       .swept = true,
                                       .subject = "state/reservation",
                                       .size = sizeof(struct state_reservation)}},
    .table_count = 2,
    .remembers_commands = true,
    .want = inventory_want,
    .decide = inventory_decide,
    .batch_end = inventory_batch_end,
    .evolve_want = inventory_evolve_want,
    .evolve = inventory_evolve,
    .refuse_reused = inventory_refuse_reused,
};
