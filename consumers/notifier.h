/* Sends what was decided to be told to a shopper (core/domain/notices.h): claims it, looks the address up, makes the
 * text, and hands it to the mailer. Thread-safe; blocks. */
#ifndef ORDERLOG_CONSUMERS_NOTIFIER_H
#define ORDERLOG_CONSUMERS_NOTIFIER_H

#include "consumers/claims.h"
#include "consumers/mailer.h"

/* Where to write to: *ret in the arena, ptr NULL when there is no address (any more). */
typedef bool notifier_address(void *user, const struct intent_send_notice *notice, struct arena *arena, struct str *ret,
                              struct err *err);

struct notifier {
    struct mailer *mailer;
    struct claims *claims;
    notifier_address *address;
    void *address_user;
    struct str shop;   /* its name */
    int64_t within_us; /* what is older than this is not sent any more */
};

#define NOTIFIER_WITHIN_S (INT64_C(24) * 3600)

/* Fills *answer (its texts are static, the notice's, or in the arena); an outcome that is not known yet is an answer,
 * too: the claim is held by another, or something was away. */
void notifier_send(struct notifier *notifier, const struct intent_send_notice *notice, struct arena *arena,
                   struct intent_notice_answered *answer);
/* Without a try: notes that it is not to be sent, unless it was settled otherwise already. `reason` is static. */
void notifier_suppress(struct notifier *notifier, const struct intent_send_notice *notice, struct str reason,
                       struct arena *arena, struct intent_notice_answered *answer);
/* An effect_call; `user` is the struct notifier. */
void notifier_call(void *user, const struct message *request, struct str traceparent, struct arena *arena,
                   struct message *answer);
/* The claim's id. */
void notifier_claim_id(const struct intent_send_notice *notice, struct buf *ret);

#endif
