/* notifier: which events a shopper is told of, and what is said. Pure; any thread.
 *
 * The decider keeps of each order what its OrderPlaced said, and makes an intent (intent/notice) for each event that
 * somebody is to hear of; consumers/notifier.c sends it. The function on Lambda uses the first half without the
 * decider, and keeps the orders elsewhere (cli/lambda.c). */
#ifndef ORDERLOG_DOMAIN_NOTICES_H
#define ORDERLOG_DOMAIN_NOTICES_H

#include "core/domain/room.h"

extern const struct decider notifier_decider;

#define NOTICE_CONFIRMED "order-confirmed"
#define NOTICE_REFUSED "order-refused"
#define NOTICE_SHIPPED "order-shipped"
#define NOTICE_DELIVERED "order-delivered"
#define NOTICE_CANCELLED "order-cancelled"
#define NOTICE_REFUNDED "order-refunded"
#define NOTICE_CHANNEL "email"

struct notice {
    struct str template; /* one of the above */
    struct str order_id; /* borrowed from the message, as is the reason */
    struct str reason;   /* a slug; "" but of a refusal or cancellation */
    int64_t refunded_minor;
};

/* False: nobody is told of such an event. */
bool notice_of(const struct message *message, struct notice *ret);
/* A copy in the arena, sharing nothing with the record. */
struct notice_order *notice_order_copy(struct arena *arena, const struct order_placed *placed);
/* What is said when it cannot be sent for the want of an order. */
#define NOTICE_NOT_PLACED "not-placed"

#endif
