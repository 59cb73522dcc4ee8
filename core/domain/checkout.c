/* The checkout decider: takes a cart's records in, prices it when the shopper wants to buy, and tells orders.
 *
 * Command ids live in the cart itself (core/domain/cart.h), so the cart's row is all the state that there is. */
#include "core/domain/cart.h"
#include "core/domain/pricing.h"
#include "core/domain/reason.h"

enum { TABLE_CART };

static const struct str TIMER_ABANDONED = {"abandoned", 9};

static struct row *cart_row(struct room *room, const struct envelope *envelope) {
    return room_row(room, TABLE_CART, envelope->key);
}

static void cart_put(struct room *room, struct row *row, struct state_cart *cart) {
    row->state = cart;
    room_put(room, TABLE_CART, row, 0, cart->status == STATE_CART_STATUS_ABANDONED);
}

/* Says something about a cart, and lets the cart know. */
static void say(struct room *room, struct state_cart *cart, const struct message *message) {
    struct envelope envelope = {.key = cart->cart_id, .timestamp_us = room->now_us, .command_id = room->command_id};
    struct str unused;
    cart_evolve(room->shop, room->arena, &cart, &envelope, message, &unused);
    room_emit(room, STR(TOPIC_CHECKOUT_EVENTS), cart->cart_id, cart->cart_id, message);
}

static void refuse_command(struct room *room, struct state_cart *cart, struct str reason, struct str detail) {
    say(room, cart,
        &(struct message){.type = MESSAGE_CHECKOUT_COMMAND_REFUSED,
                          .checkout_command_refused = {cart->cart_id, reason, detail}});
}

static struct str refusal_detail(struct room *room, struct str reason) {
    if (str_eq(reason, reason_slug(REASON_QUANTITY_LIMIT)))
        return REASON_TEXT(room->arena, STR("a cart takes 1 to "), reason_number(room->arena, room->shop->quantity_max),
                           STR(" of a SKU"));
    if (str_eq(reason, reason_slug(REASON_LINE_LIMIT)))
        return REASON_TEXT(room->arena, STR("a cart has at most "), reason_number(room->arena, room->shop->lines_max),
                           STR(" lines"));
    if (str_eq(reason, reason_slug(REASON_WRONG_CURRENCY)))
        return REASON_TEXT(room->arena, STR("this shop sells in "), room->shop->currency);
    if (str_eq(reason, reason_slug(REASON_TRANSITION_REFUSED)))
        return STR("the cart is there already");
    return STR("there is no such cart or line");
}

/* ---- CheckoutRequested */

/* What a checkout comes to: either priced, or a reason with its errors. */
struct verdict {
    enum reason reason;
    struct line_list lines;
    struct totals totals;
    bool priced;
    struct str winner;
    struct field_error_list errors;
};

/* There is room for an error per line of the cart, and one more. */
static void judge(struct verdict *verdict, enum reason reason, struct str pointer, struct str detail) {
    verdict->reason = reason;
    verdict->errors.items[verdict->errors.count++] = (struct field_error){pointer, detail};
}

static bool judge_cart(struct room *room, const struct state_cart *cart, const struct cart_checkout_requested *request,
                       struct verdict *verdict) {
    struct str pointer = STR("/cart_id");
    if (!cart_exists(cart) || !str_eq(cart->shopper_id, request->shopper_id))
        judge(verdict, REASON_NOT_FOUND, pointer, STR("there is no such cart"));
    else if (cart->status == STATE_CART_STATUS_CHECKED_OUT) {
        judge(verdict, REASON_CART_ALREADY_CHECKED_OUT, pointer, STR("the cart went to another order"));
        verdict->winner = cart->live_order_id;
    } else if (cart->status == STATE_CART_STATUS_ABANDONED)
        judge(verdict, REASON_TRANSITION_REFUSED, pointer, STR("the cart was abandoned"));
    else if (cart->lines.count == 0)
        judge(verdict, REASON_EMPTY_CART, pointer, STR("there is nothing in the cart"));
    else if (cart->lines.count > (size_t)room->shop->lines_max)
        judge(verdict, REASON_LINE_LIMIT, pointer, refusal_detail(room, reason_slug(REASON_LINE_LIMIT)));
    else if (!str_eq(cart->currency, room->shop->currency))
        judge(verdict, REASON_WRONG_CURRENCY, pointer, refusal_detail(room, reason_slug(REASON_WRONG_CURRENCY)));
    return verdict->reason == REASON_NONE;
}

/* Finds the products; the limits are looked at again, because a setting may have been lowered since. */
static bool judge_lines(struct room *room, const struct state_cart *cart, struct product *products,
                        struct verdict *verdict) {
    struct str pointer = STR("/cart_id");
    for (size_t i = 0; i < cart->lines.count; i++) {
        const struct quantity *line = &cart->lines.items[i];
        if (line->quantity > room->shop->quantity_max)
            judge(verdict, REASON_QUANTITY_LIMIT, pointer,
                  REASON_TEXT(room->arena, line->sku, STR(": "),
                              refusal_detail(room, reason_slug(REASON_QUANTITY_LIMIT))));
        else if (!room_product(room, line->sku, &products[i]))
            judge(verdict, REASON_UNKNOWN_PRODUCT, pointer,
                  REASON_TEXT(room->arena, line->sku, STR(" is not for sale")));
        else if (!str_eq(products[i].price.currency, room->shop->currency))
            judge(verdict, REASON_WRONG_CURRENCY, pointer,
                  REASON_TEXT(room->arena, line->sku, STR(" has its price in "), products[i].price.currency));
    }
    return verdict->reason == REASON_NONE;
}

static void judge_price(struct room *room, const struct state_cart *cart, const struct product *products,
                        const struct money *expected, struct verdict *verdict) {
    if (!price_order(room->arena, room->shop->currency, cart->lines.items, products, cart->lines.count, &verdict->lines,
                     &verdict->totals)) {
        judge(verdict, REASON_QUANTITY_LIMIT, STR("/cart_id"), STR("the total is more than can be paid at once"));
        return;
    }
    verdict->priced = true;
    struct str pointer = STR("/expected_total");
    if (!str_eq(expected->currency, room->shop->currency))
        judge(verdict, REASON_WRONG_CURRENCY, pointer, refusal_detail(room, reason_slug(REASON_WRONG_CURRENCY)));
    else if (expected->minor != verdict->totals.total.minor)
        judge(verdict, REASON_PRICE_CHANGED, pointer,
              REASON_TEXT(room->arena, STR("the total is now "),
                          reason_number(room->arena, verdict->totals.total.minor), STR(" minor units of "),
                          room->shop->currency));
}

static void accept(struct room *room, struct state_cart *cart, const struct envelope *envelope,
                   const struct cart_checkout_requested *request, const struct verdict *verdict) {
    say(room, cart,
        &(struct message){.type = MESSAGE_CHECKOUT_ACCEPTED,
                          .checkout_accepted = {
                              .cart_id = cart->cart_id,
                              .shopper_id = request->shopper_id,
                              .order_id = request->order_id,
                              .cart_offset = envelope->offset,
                              .lines = verdict->lines,
                              .totals = verdict->totals,
                              .ship_to = request->ship_to,
                              .personal_ref = request->personal_ref,
                          }});
    room_emit(room, STR(TOPIC_ORDER_REQUESTS), request->order_id, request->order_id,
              &(struct message){.type = MESSAGE_ORDER_PLACE_ORDER,
                                .order_place_order = {
                                    .order_id = request->order_id,
                                    .cart_id = cart->cart_id,
                                    .shopper_id = request->shopper_id,
                                    .lines = verdict->lines,
                                    .totals = verdict->totals,
                                    .payment_method = request->payment_method,
                                    .ship_to = request->ship_to,
                                    .personal_ref = request->personal_ref,
                                }});
}

/* The order_id was answered with 202, so orders must hear of it too. */
static void reject(struct room *room, struct state_cart *cart, const struct cart_checkout_requested *request,
                   struct verdict *verdict) {
    struct totals *totals = verdict->priced ? &verdict->totals : NULL;
    struct str reason = reason_slug(verdict->reason);
    say(room, cart,
        &(struct message){.type = MESSAGE_CHECKOUT_REFUSED,
                          .checkout_refused = {
                              .cart_id = cart->cart_id,
                              .shopper_id = request->shopper_id,
                              .order_id = request->order_id,
                              .reason = reason,
                              .errors = verdict->errors,
                              .totals = totals,
                              .winner = verdict->winner,
                          }});
    room_emit(room, STR(TOPIC_ORDER_REQUESTS), request->order_id, request->order_id,
              &(struct message){.type = MESSAGE_ORDER_REJECT_ORDER,
                                .order_reject_order = {
                                    .order_id = request->order_id,
                                    .cart_id = cart->cart_id,
                                    .shopper_id = request->shopper_id,
                                    .reason = reason,
                                    .errors = verdict->errors,
                                    .totals = totals,
                                    .winner = verdict->winner,
                                }});
}

static void decide_checkout(struct room *room, struct state_cart *cart, const struct envelope *envelope,
                            const struct cart_checkout_requested *request) {
    if (cart_order_find(cart, request->order_id)) {
        refuse_command(room, cart, reason_slug(REASON_TRANSITION_REFUSED), STR("this order has its answer already"));
        return;
    }
    struct verdict verdict = {
        .winner = STR_NULL,
        .errors.items = arena_array(room->arena, struct field_error, cart->lines.count + 1),
    };
    struct product *products = arena_array(room->arena, struct product, cart->lines.count);
    if (judge_cart(room, cart, request, &verdict) && judge_lines(room, cart, products, &verdict))
        judge_price(room, cart, products, &request->expected_total, &verdict);
    if (verdict.reason == REASON_NONE)
        accept(room, cart, envelope, request, &verdict);
    else
        reject(room, cart, request, &verdict);
}

/* ---- the rest */

static bool decide_cart_event(struct room *room, const struct input *input, const char **why) {
    struct row *row = cart_row(room, input->envelope);
    struct state_cart *cart = row->state;
    struct str reason = STR_NULL;
    switch (cart_evolve(room->shop, room->arena, &cart, input->envelope, input->message, &reason)) {
    case CART_NOT_OURS:
        *why = "the key is not the cart that the record is about";
        return false;
    case CART_AGAIN:
        return true;
    case CART_KEY_REUSED:
        refuse_command(room, cart, reason_slug(REASON_IDEMPOTENCY_KEY_REUSED),
                       STR("the key was used for another request"));
        return true;
    case CART_REFUSED:
        refuse_command(room, cart, reason, refusal_detail(room, reason));
        break;
    case CART_TAKEN:
        if (input->message->type == MESSAGE_CART_CREATED)
            room_timer_set(room, cart->cart_id, TIMER_ABANDONED, room->now_us + room->shop->cart_abandon_us);
        if (input->message->type == MESSAGE_CART_CHECKOUT_REQUESTED)
            decide_checkout(room, cart, input->envelope, &input->message->cart_checkout_requested);
        break;
    }
    cart_put(room, row, cart);
    return true;
}

static bool decide_reopen(struct room *room, const struct input *input, const char **why) {
    const struct checkout_reopen_cart *request = &input->message->checkout_reopen_cart;
    if (!str_eq(request->cart_id, input->envelope->key)) {
        *why = "the key is not the cart that the record is about";
        return false;
    }
    struct row *row = cart_row(room, input->envelope);
    struct state_cart *cart = row->state;
    if (!cart || cart->status != STATE_CART_STATUS_CHECKED_OUT || !str_eq(cart->live_order_id, request->order_id))
        return true;
    say(room, cart,
        &(struct message){.type = MESSAGE_CHECKOUT_CART_REOPENED,
                          .checkout_cart_reopened = {cart->cart_id, request->order_id, request->reason}});
    room_timer_set(room, cart->cart_id, TIMER_ABANDONED, room->now_us + room->shop->cart_abandon_us);
    cart_put(room, row, cart);
    return true;
}

/* The timer is not moved with each change of the cart, which would be a row written each time: it looks, and waits on.
 */
static bool decide_timer(struct room *room, const struct input *input, const char **why) {
    if (!str_eq(input->timer, TIMER_ABANDONED)) {
        *why = "checkout sets no such timer";
        return false;
    }
    struct row *row = cart_row(room, input->envelope);
    struct state_cart *cart = row->state;
    if (!cart || cart->status != STATE_CART_STATUS_OPEN)
        return true;
    int64_t due_us = cart->changed_at + room->shop->cart_abandon_us;
    if (due_us > room->now_us) {
        room_timer_set(room, cart->cart_id, TIMER_ABANDONED, due_us);
        return true;
    }
    say(room, cart,
        &(struct message){.type = MESSAGE_CHECKOUT_CART_ABANDONED, .checkout_cart_abandoned = {cart->cart_id}});
    cart_put(room, row, cart);
    return true;
}

static void evolve_want(struct room *room, const struct input *input) {
    room_want(room, TABLE_CART, input->envelope->key);
}

/* A refusal for an unknown product or another price must not be a matter of which topic was read first. */
static void want(struct room *room, const struct input *input) {
    evolve_want(room, input);
    if (input->kind == INPUT_RECORD && input->message->type == MESSAGE_CART_CHECKOUT_REQUESTED)
        room_want_catalogue(room);
}

static bool decide(struct room *room, const struct input *input, const char **why) {
    if (input->kind == INPUT_TIMER)
        return decide_timer(room, input, why);
    if (input->kind == INPUT_RECORD)
        switch (input->message->type) {
        case MESSAGE_CART_CREATED:
        case MESSAGE_CART_LINE_ADDED:
        case MESSAGE_CART_LINE_QUANTITY_CHANGED:
        case MESSAGE_CART_LINE_REMOVED:
        case MESSAGE_CART_CHECKOUT_REQUESTED:
            return decide_cart_event(room, input, why);
        case MESSAGE_CHECKOUT_REOPEN_CART:
            return decide_reopen(room, input, why);
        default:
            break;
        }
    *why = "checkout takes no such record";
    return false;
}

static void evolve(struct room *room, const struct input *input) {
    struct row *row = cart_row(room, input->envelope);
    struct state_cart *cart = row->state;
    struct str unused;
    enum cart_verdict verdict = cart_evolve(room->shop, room->arena, &cart, input->envelope, input->message, &unused);
    if (verdict == CART_TAKEN || verdict == CART_REFUSED)
        cart_put(room, row, cart);
}

static const char *const inputs[] = {TOPIC_CART_EVENTS, TOPIC_CHECKOUT_REQUESTS};
static const struct decider_table tables[] = {
    [TABLE_CART] = {.name = "cart", .subject = "state/cart", .size = sizeof(struct state_cart)}};

const struct decider checkout_decider = {
    .service = "checkout",
    .inputs = inputs,
    .input_count = sizeof inputs / sizeof inputs[0],
    .events = (const char *const[]){TOPIC_CHECKOUT_EVENTS, NULL},
    .tables = tables,
    .table_count = sizeof tables / sizeof tables[0],
    .reads_catalogue = true,
    .remembers_commands = false, /* so that refuse_reused is never called */
    .want = want,
    .decide = decide,
    .evolve_want = evolve_want,
    .evolve = evolve,
};
