/* Nobody is charged twice: of an order's attempts to pay, one authorisation at most is live at any time, one capture
 * is made, and no refund is given twice. */
#include "cli/verify.h"
#include "core/base/map.h"

#include <stdlib.h>

struct attempt {
    struct attempt *next;
    char *payment_id;
    bool requested;
    bool authorized; /* at some time */
    bool live;       /* neither voided nor expired */
};

struct refund {
    struct refund *next;
    char *provider_ref;
};

struct charges {
    struct attempt *attempts;
    struct refund *refunds;
    int captures;
};

static void *charges_begin(const struct verify_options *options, struct verify_result *result) {
    (void)options, (void)result;
    return mem_zalloc(sizeof(struct map));
}

static void charges_free(void *value) {
    struct charges *charges = value;
    while (charges->attempts) {
        struct attempt *attempt = charges->attempts;
        charges->attempts = attempt->next;
        free(attempt->payment_id);
        free(attempt);
    }
    while (charges->refunds) {
        struct refund *refund = charges->refunds;
        charges->refunds = refund->next;
        free(refund->provider_ref);
        free(refund);
    }
    free(charges);
}

static void charges_end(void *state) {
    map_free(state, charges_free);
    free(state);
}

static struct charges *charges_get(struct map *orders, struct str order_id) {
    void **slot = map_put(orders, order_id);
    if (!*slot)
        *slot = mem_zalloc(sizeof(struct charges));
    return *slot;
}

static struct attempt *attempt_get(struct charges *charges, struct str payment_id) {
    for (struct attempt *attempt = charges->attempts; attempt; attempt = attempt->next)
        if (str_eq(str_from(attempt->payment_id), payment_id))
            return attempt;
    struct attempt *attempt = mem_zalloc(sizeof *attempt);
    attempt->next = charges->attempts;
    attempt->payment_id = mem_strdup(payment_id);
    charges->attempts = attempt;
    return attempt;
}

static bool other_is_live(const struct charges *charges, const struct attempt *attempt) {
    for (const struct attempt *other = charges->attempts; other; other = other->next)
        if (other != attempt && other->live)
            return true;
    return false;
}

/* What is wrong with it, or NULL. */
static const char *authorized(struct charges *charges, struct attempt *attempt) {
    if (attempt->authorized)
        return "is authorised a second time";
    attempt->authorized = attempt->live = true;
    return other_is_live(charges, attempt) ? "is authorised while another payment of the order is" : NULL;
}

static const char *requested(struct attempt *attempt) {
    if (attempt->requested)
        return "is asked for a second time";
    attempt->requested = true;
    return NULL;
}

static const char *captured(struct charges *charges, const struct attempt *attempt) {
    if (charges->captures++)
        return "is captured, and the order was charged before";
    return attempt->live ? NULL : "is captured without being authorised";
}

static const char *refunded(struct charges *charges, struct str provider_ref) {
    for (const struct refund *refund = charges->refunds; refund; refund = refund->next)
        if (str_eq(str_from(refund->provider_ref), provider_ref))
            return "is refunded twice by the same refund";
    struct refund *refund = mem_zalloc(sizeof *refund);
    refund->next = charges->refunds;
    refund->provider_ref = mem_strdup(provider_ref);
    charges->refunds = refund;
    return charges->captures ? NULL : "is refunded without being captured";
}

static void charges_record(void *state, struct verify_result *result, const struct verify_record *record) {
    const struct message *message = record->message;
    struct str order_id, payment_id;
    switch (message->type) {
#define OF(TYPE, member)                                                                                               \
    case MESSAGE_##TYPE:                                                                                               \
        order_id = message->member.order_id;                                                                           \
        payment_id = message->member.payment_id;                                                                       \
        break;
        OF(PAYMENT_REQUESTED, payment_requested)
        OF(PAYMENT_AUTHORIZED, payment_authorized)
        OF(PAYMENT_VOIDED, payment_voided)
        OF(PAYMENT_AUTHORIZATION_EXPIRED, payment_authorization_expired)
        OF(PAYMENT_CAPTURED, payment_captured)
        OF(PAYMENT_REFUNDED, payment_refunded)
#undef OF
    default:
        return;
    }
    struct charges *charges = charges_get(state, order_id);
    if (!charges->attempts)
        result->count++;
    struct attempt *attempt = attempt_get(charges, payment_id);
    const char *wrong = NULL;
    if (message->type == MESSAGE_PAYMENT_REQUESTED)
        wrong = requested(attempt);
    else if (message->type == MESSAGE_PAYMENT_AUTHORIZED)
        wrong = authorized(charges, attempt);
    else if (message->type == MESSAGE_PAYMENT_CAPTURED)
        wrong = captured(charges, attempt);
    else if (message->type == MESSAGE_PAYMENT_REFUNDED)
        wrong = refunded(charges, message->payment_refunded.provider_ref);
    else
        attempt->live = false;
    if (wrong)
        verify_violation(result, &record->at, "payment %.*s of order %.*s %s", STR_ARG(payment_id), STR_ARG(order_id),
                         wrong);
}

const struct verify_check verify_charges = {
    .name = "one-charge-per-order",
    .holds = "one live authorisation and one capture per order at most, and no refund twice",
    .begin = charges_begin,
    .record = charges_record,
    .end = charges_end,
};
