/* The cart, as checkout decides on it and as the cart views show it: one fold for both.
 *
 * Lines and the shopper fold from cart.events only; status and orders from checkout.events only; so the two topics
 * may be read in any interleaving. An invalid change is a refusal, never an error; a line change is never refused for
 * the cart's status, only for the limits of the shop: who folds with other limits may get other lines. The same record
 * again changes nothing. Pure; any thread. */
#ifndef ORDERLOG_DOMAIN_CART_H
#define ORDERLOG_DOMAIN_CART_H

#include "core/domain/room.h"

enum cart_verdict {
    CART_TAKEN,      /* folded */
    CART_REFUSED,    /* remembered as refused; it changed nothing else. *ret_reason: the slug */
    CART_AGAIN,      /* the same command was read before: nothing changed */
    CART_KEY_REUSED, /* its id was read before with another body: nothing changed */
    CART_NOT_OURS,   /* not a record about this cart: nothing changed */
};

/* Folds a record of cart.events or checkout.events into *cart. *cart is NULL for a cart not heard of yet, and is made;
 * else it is changed in place (its lists are replaced, not written to). The new parts are in the arena and share
 * nothing with the record. Of the envelope, topic is not looked at; id (cart.events), command_id (checkout.events),
 * key and timestamp_us are. A CheckoutRequested is only remembered: what comes of it is for checkout.events to say. */
enum cart_verdict cart_evolve(const struct shop *shop, struct arena *arena, struct state_cart **cart,
                              const struct envelope *envelope, const struct message *message, struct str *ret_reason);

/* A cart may be spoken of before it is created (or without ever being): to its shopper there is no such cart. */
static inline bool cart_exists(const struct state_cart *cart) {
    return cart && cart->shopper_id.len > 0;
}
/* NULL: not heard of. What a reader waits for is there once `answered` is true; `refusal` says if it was in vain. */
const struct state_cart_command *cart_command_find(const struct state_cart *cart, struct str command_id);
const struct state_cart_order *cart_order_find(const struct state_cart *cart, struct str order_id);

#endif
