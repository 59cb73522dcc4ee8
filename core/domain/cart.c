#include "core/domain/cart.h"

#include "core/domain/reason.h"

/* The first command that is not before this id. */
static size_t command_place(const struct state_cart *cart, struct str command_id) {
    size_t low = 0, high = cart->commands.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (str_cmp(cart->commands.items[middle].command_id, command_id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct state_cart_command *cart_command_find(const struct state_cart *cart, struct str command_id) {
    size_t at = command_place(cart, command_id);
    bool found = at < cart->commands.count && str_eq(cart->commands.items[at].command_id, command_id);
    return found ? &cart->commands.items[at] : NULL;
}

const struct state_cart_order *cart_order_find(const struct state_cart *cart, struct str order_id) {
    for (size_t i = 0; i < cart->orders.count; i++)
        if (str_eq(cart->orders.items[i].order_id, order_id))
            return &cart->orders.items[i];
    return NULL;
}

/* Lists are replaced: who holds the cart as it was before still sees that. */
static void command_set(struct arena *arena, struct state_cart *cart, struct state_cart_command command) {
    size_t at = command_place(cart, command.command_id);
    const struct state_cart_command_list old = cart->commands;
    size_t replaced = at < old.count && str_eq(old.items[at].command_id, command.command_id);
    struct state_cart_command_list list = {.count = old.count + 1 - replaced};
    list.items = arena_array(arena, struct state_cart_command, list.count);
    if (at)
        memcpy(list.items, old.items, at * sizeof *list.items);
    if (old.count > at + replaced)
        memcpy(list.items + at + 1, old.items + at + replaced, (old.count - at - replaced) * sizeof *list.items);
    command.command_id = replaced ? old.items[at].command_id : arena_dup(arena, command.command_id);
    list.items[at] = command;
    cart->commands = list;
}

static void order_set(struct arena *arena, struct state_cart *cart, struct str order_id,
                      enum state_cart_outcome outcome, struct str reason) {
    const struct state_cart_order *known = cart_order_find(cart, order_id);
    size_t at = known ? (size_t)(known - cart->orders.items) : cart->orders.count;
    struct state_cart_order_list list = {.count = cart->orders.count + (known == NULL)};
    list.items = arena_array(arena, struct state_cart_order, list.count);
    if (cart->orders.count)
        memcpy(list.items, cart->orders.items, cart->orders.count * sizeof *list.items);
    list.items[at] = (struct state_cart_order){arena_dup(arena, order_id), outcome, arena_dup(arena, reason)};
    cart->orders = list;
}

/* ---- cart.events */

static size_t line_place(const struct state_cart *cart, struct str sku) {
    size_t at = 0;
    while (at < cart->lines.count && !str_eq(cart->lines.items[at].sku, sku))
        at++;
    return at;
}

/* A quantity of zero takes the line out. */
static void line_set(struct arena *arena, struct state_cart *cart, size_t at, struct str sku, int32_t quantity) {
    const struct quantity_list old = cart->lines;
    bool is_new = at == old.count;
    struct quantity_list list = {.count = old.count + is_new - (quantity == 0)};
    list.items = arena_array(arena, struct quantity, list.count);
    if (at)
        memcpy(list.items, old.items, at * sizeof *list.items);
    size_t kept = quantity == 0 ? at : at + 1;
    if (list.count > kept)
        memcpy(list.items + kept, old.items + at + 1, (list.count - kept) * sizeof *list.items);
    if (quantity)
        list.items[at] = (struct quantity){is_new ? arena_dup(arena, sku) : old.items[at].sku, quantity};
    cart->lines = list;
}

static enum reason line_change(const struct shop *shop, struct arena *arena, struct state_cart *cart, struct str sku,
                               int64_t quantity, bool relative) {
    size_t at = line_place(cart, sku);
    bool is_new = at == cart->lines.count;
    if (is_new && !relative)
        return REASON_NOT_FOUND;
    if (is_new && cart->lines.count >= (size_t)shop->lines_max)
        return REASON_LINE_LIMIT;
    int64_t result = quantity + (relative && !is_new ? cart->lines.items[at].quantity : 0);
    if (quantity < 1 || result > shop->quantity_max)
        return REASON_QUANTITY_LIMIT;
    line_set(arena, cart, at, sku, (int32_t)result);
    return REASON_NONE;
}

static enum reason line_remove(struct arena *arena, struct state_cart *cart, struct str sku) {
    size_t at = line_place(cart, sku);
    if (at == cart->lines.count)
        return REASON_NOT_FOUND;
    line_set(arena, cart, at, sku, 0);
    return REASON_NONE;
}

static enum reason created(const struct shop *shop, struct arena *arena, struct state_cart *cart,
                           const struct cart_created *event) {
    if (cart_exists(cart))
        return REASON_TRANSITION_REFUSED;
    if (!str_eq(event->currency, shop->currency))
        return REASON_WRONG_CURRENCY;
    cart->shopper_id = arena_dup(arena, event->shopper_id);
    cart->currency = arena_dup(arena, event->currency);
    return REASON_NONE;
}

/* What every record of cart.events has. */
struct request {
    struct str cart_id;
    struct str shopper_id;
    struct str body_hash;
};

static bool request_of(const struct message *message, struct request *ret) {
    switch (message->type) {
#define REQUEST(TYPE, member)                                                                                          \
    case MESSAGE_##TYPE:                                                                                               \
        *ret = (struct request){message->member.cart_id, message->member.shopper_id, message->member.body_hash};       \
        return true;
        REQUEST(CART_CREATED, cart_created)
        REQUEST(CART_LINE_ADDED, cart_line_added)
        REQUEST(CART_LINE_QUANTITY_CHANGED, cart_line_quantity_changed)
        REQUEST(CART_LINE_REMOVED, cart_line_removed)
        REQUEST(CART_CHECKOUT_REQUESTED, cart_checkout_requested)
#undef REQUEST
    default:
        return false;
    }
}

static enum reason request_apply(const struct shop *shop, struct arena *arena, struct state_cart *cart,
                                 const struct request *request, const struct message *message) {
    if (message->type == MESSAGE_CART_CREATED)
        return created(shop, arena, cart, &message->cart_created);
    if (message->type == MESSAGE_CART_CHECKOUT_REQUESTED)
        return REASON_NONE;
    if (!cart_exists(cart) || !str_eq(cart->shopper_id, request->shopper_id))
        return REASON_NOT_FOUND;
    if (message->type == MESSAGE_CART_LINE_ADDED) {
        const struct cart_line_added *event = &message->cart_line_added;
        return line_change(shop, arena, cart, event->sku, event->quantity, true);
    }
    if (message->type == MESSAGE_CART_LINE_QUANTITY_CHANGED) {
        const struct cart_line_quantity_changed *event = &message->cart_line_quantity_changed;
        return line_change(shop, arena, cart, event->sku, event->quantity, false);
    }
    return line_remove(arena, cart, message->cart_line_removed.sku);
}

static enum cart_verdict evolve_request(const struct shop *shop, struct arena *arena, struct state_cart *cart,
                                        const struct envelope *envelope, const struct request *request,
                                        const struct message *message, struct str *ret_reason) {
    const struct state_cart_command *known = cart_command_find(cart, envelope->id);
    if (known && known->body_hash.ptr)
        return str_eq(known->body_hash, request->body_hash) ? CART_AGAIN : CART_KEY_REUSED;
    enum reason reason = request_apply(shop, arena, cart, request, message);
    bool checkout = message->type == MESSAGE_CART_CHECKOUT_REQUESTED;
    struct state_cart_command command = known ? *known : (struct state_cart_command){.command_id = envelope->id};
    command.body_hash = arena_dup(arena, request->body_hash);
    command.answered = command.answered || !checkout;
    if (reason != REASON_NONE)
        command.refusal = reason_slug(reason);
    command_set(arena, cart, command);
    if (envelope->timestamp_us > cart->changed_at)
        cart->changed_at = envelope->timestamp_us;
    if (reason == REASON_NONE)
        return CART_TAKEN;
    *ret_reason = reason_slug(reason);
    return CART_REFUSED;
}

/* ---- checkout.events */

static bool verdict_cart_id(const struct message *message, struct str *ret) {
    switch (message->type) {
    case MESSAGE_CHECKOUT_ACCEPTED:
        *ret = message->checkout_accepted.cart_id;
        return true;
    case MESSAGE_CHECKOUT_REFUSED:
        *ret = message->checkout_refused.cart_id;
        return true;
    case MESSAGE_CHECKOUT_CART_REOPENED:
        *ret = message->checkout_cart_reopened.cart_id;
        return true;
    case MESSAGE_CHECKOUT_CART_ABANDONED:
        *ret = message->checkout_cart_abandoned.cart_id;
        return true;
    case MESSAGE_CHECKOUT_COMMAND_REFUSED:
        *ret = message->checkout_command_refused.cart_id;
        return true;
    default:
        return false;
    }
}

static void answer(struct arena *arena, struct state_cart *cart, struct str command_id, struct str refusal) {
    if (!command_id.len)
        return;
    const struct state_cart_command *known = cart_command_find(cart, command_id);
    struct state_cart_command command = known ? *known : (struct state_cart_command){.command_id = command_id};
    command.answered = true;
    command.refusal = arena_dup(arena, refusal);
    command_set(arena, cart, command);
}

static void evolve_verdict(struct arena *arena, struct state_cart *cart, struct str command_id,
                           const struct message *message) {
    switch (message->type) {
    case MESSAGE_CHECKOUT_ACCEPTED:
        cart->status = STATE_CART_STATUS_CHECKED_OUT;
        cart->live_order_id = arena_dup(arena, message->checkout_accepted.order_id);
        order_set(arena, cart, cart->live_order_id, STATE_CART_OUTCOME_ACCEPTED, STR_NULL);
        answer(arena, cart, command_id, STR_NULL);
        return;
    case MESSAGE_CHECKOUT_REFUSED:
        order_set(arena, cart, message->checkout_refused.order_id, STATE_CART_OUTCOME_REFUSED,
                  message->checkout_refused.reason);
        answer(arena, cart, command_id, message->checkout_refused.reason);
        return;
    case MESSAGE_CHECKOUT_CART_REOPENED:
        cart->status = STATE_CART_STATUS_OPEN;
        cart->live_order_id = STR_NULL;
        order_set(arena, cart, message->checkout_cart_reopened.order_id, STATE_CART_OUTCOME_REOPENED,
                  message->checkout_cart_reopened.reason);
        return;
    case MESSAGE_CHECKOUT_CART_ABANDONED:
        cart->status = STATE_CART_STATUS_ABANDONED;
        return;
    default: /* CommandRefused; one for a key used again does not take away the answer that the key has */
        if (!str_eq(message->checkout_command_refused.reason, reason_slug(REASON_IDEMPOTENCY_KEY_REUSED)))
            answer(arena, cart, command_id, message->checkout_command_refused.reason);
        return;
    }
}

enum cart_verdict cart_evolve(const struct shop *shop, struct arena *arena, struct state_cart **cart,
                              const struct envelope *envelope, const struct message *message, struct str *ret_reason) {
    struct request request = {0};
    struct str cart_id = STR_NULL;
    bool is_request = request_of(message, &request);
    if (is_request)
        cart_id = request.cart_id;
    else if (!verdict_cart_id(message, &cart_id))
        return CART_NOT_OURS;
    if (!str_eq(cart_id, envelope->key))
        return CART_NOT_OURS;
    if (!*cart) {
        *cart = arena_new(arena, struct state_cart);
        **cart = (struct state_cart){.cart_id = arena_dup(arena, cart_id),
                                     .shopper_id = STR(""),
                                     .currency = STR(""),
                                     .live_order_id = STR_NULL};
    }
    if (is_request)
        return evolve_request(shop, arena, *cart, envelope, &request, message, ret_reason);
    evolve_verdict(arena, *cart, envelope->command_id, message);
    return CART_TAKEN;
}
