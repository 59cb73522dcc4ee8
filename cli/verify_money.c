/* Money balances: lines add up, totals add up, refunded <= captured <= live authorisation <= total, one currency.
 * Adds up by itself, not by core/domain/pricing.h, so that it would see that one wrong. */
#include "cli/verify.h"
#include "core/base/map.h"

#include <inttypes.h>
#include <stdlib.h>

/* What is known of an order's money. */
struct account {
    bool has_total;
    int64_t total;
    int64_t authorized; /* live */
    int64_t captured;
    int64_t refunded;
    int64_t asked_most; /* the largest amount asked for or authorised, and where */
    struct verify_at asked_at;
};

struct money_check {
    struct map accounts; /* by order_id */
    char *currency;      /* the first seen */
};

static void *money_begin(const struct verify_options *options, struct verify_result *result) {
    (void)options, (void)result;
    return mem_zalloc(sizeof(struct money_check));
}

static void money_end(void *state) {
    struct money_check *check = state;
    map_free(&check->accounts, free);
    free(check->currency);
    free(check);
}

/* One record being looked at. */
struct look {
    struct money_check *check;
    struct verify_result *result;
    const struct verify_record *record;
};

static void look_money(struct look *look, const char *what, struct money money) {
    struct money_check *check = look->check;
    if (!check->currency)
        check->currency = mem_strdup(money.currency);
    if (!str_eq(money.currency, str_from(check->currency)))
        verify_violation(look->result, &look->record->at, "the %s is in %.*s, not in %s", what, STR_ARG(money.currency),
                         check->currency);
    if (money.minor < 0)
        verify_violation(look->result, &look->record->at, "the %s is %" PRId64, what, money.minor);
}

static struct account *account_get(struct look *look, struct str order_id) {
    void **slot = map_put(&look->check->accounts, order_id);
    if (!*slot)
        *slot = mem_zalloc(sizeof(struct account));
    return *slot;
}

/* ---- lines and totals ---- */

static void look_totals(struct look *look, const struct totals *totals) {
    int64_t sum = totals->items.minor;
    look->result->count++;
    look_money(look, "sum of the items", totals->items);
    look_money(look, "discount", totals->discount);
    look_money(look, "shipping", totals->shipping);
    look_money(look, "tax", totals->tax);
    look_money(look, "total", totals->total);
    bool fits = !__builtin_sub_overflow(sum, totals->discount.minor, &sum) &&
                !__builtin_add_overflow(sum, totals->shipping.minor, &sum) &&
                !__builtin_add_overflow(sum, totals->tax.minor, &sum);
    if (!fits || sum != totals->total.minor)
        verify_violation(look->result, &look->record->at,
                         "items %" PRId64 " - discount %" PRId64 " + shipping %" PRId64 " + tax %" PRId64
                         " is not the total %" PRId64,
                         totals->items.minor, totals->discount.minor, totals->shipping.minor, totals->tax.minor,
                         totals->total.minor);
}

static void look_lines(struct look *look, const struct line_list *lines, const struct totals *totals) {
    int64_t sum = 0, line_total;
    bool fits = true;
    for (size_t i = 0; i < lines->count; i++) {
        const struct line *line = &lines->items[i];
        look_money(look, "unit price", line->unit_price);
        look_money(look, "line's total", line->line_total);
        if (__builtin_mul_overflow(line->unit_price.minor, (int64_t)line->quantity, &line_total) ||
            line_total != line->line_total.minor)
            verify_violation(look->result, &look->record->at,
                             "%d of %.*s at %" PRId64 " is not the line's total %" PRId64, line->quantity,
                             STR_ARG(line->sku), line->unit_price.minor, line->line_total.minor);
        if (line->quantity < 1)
            verify_violation(look->result, &look->record->at, "a line of %d of %.*s", line->quantity,
                             STR_ARG(line->sku));
        fits = fits && !__builtin_add_overflow(sum, line->line_total.minor, &sum);
    }
    if (!fits || sum != totals->items.minor)
        verify_violation(look->result, &look->record->at,
                         "the lines add up to %" PRId64 ", the sum of the items is %" PRId64, sum, totals->items.minor);
    look_totals(look, totals);
}

/* checkout, the request and the order tell the same total. */
static void look_order_total(struct look *look, struct str order_id, const struct totals *totals) {
    struct account *account = account_get(look, order_id);
    if (account->has_total && account->total != totals->total.minor)
        verify_violation(look->result, &look->record->at,
                         "order %.*s has the total %" PRId64 " here, and elsewhere %" PRId64, STR_ARG(order_id),
                         totals->total.minor, account->total);
    account->has_total = true;
    account->total = totals->total.minor;
}

/* ---- payments ---- */

static void look_asked(struct look *look, struct account *account, struct money amount) {
    if (amount.minor <= account->asked_most)
        return;
    account->asked_most = amount.minor;
    account->asked_at = look->record->at;
}

static void look_added(struct look *look, struct str order_id, int64_t *sum, struct money amount, const char *what,
                       int64_t limit, const char *limit_what) {
    if (__builtin_add_overflow(*sum, amount.minor, sum) || *sum > limit)
        verify_violation(look->result, &look->record->at, "order %.*s: %s %" PRId64 " is more than the %" PRId64 " %s",
                         STR_ARG(order_id), what, *sum, limit, limit_what);
}

/* Of an authorisation that ended, all is let go: there is one at a time (see one-charge-per-order). */
static void look_payment(struct look *look, const struct message *message) {
    struct money amount;
    struct str order_id;
    switch (message->type) {
    case MESSAGE_PAYMENT_REQUESTED:
        order_id = message->payment_requested.order_id;
        amount = message->payment_requested.amount;
        break;
    case MESSAGE_PAYMENT_AUTHORIZED:
        order_id = message->payment_authorized.order_id;
        amount = message->payment_authorized.amount;
        break;
    case MESSAGE_PAYMENT_CAPTURED:
        order_id = message->payment_captured.order_id;
        amount = message->payment_captured.amount;
        break;
    case MESSAGE_PAYMENT_REFUNDED:
        order_id = message->payment_refunded.order_id;
        amount = message->payment_refunded.amount;
        break;
    case MESSAGE_PAYMENT_VOIDED:
        account_get(look, message->payment_voided.order_id)->authorized = 0;
        return;
    case MESSAGE_PAYMENT_AUTHORIZATION_EXPIRED:
        account_get(look, message->payment_authorization_expired.order_id)->authorized = 0;
        return;
    default:
        return;
    }
    struct account *account = account_get(look, order_id);
    look->result->count++;
    look_money(look, "amount", amount);
    look_asked(look, account, amount);
    if (message->type == MESSAGE_PAYMENT_AUTHORIZED)
        account->authorized = amount.minor;
    if (message->type == MESSAGE_PAYMENT_CAPTURED)
        look_added(look, order_id, &account->captured, amount, "captured", account->authorized, "authorised");
    if (message->type == MESSAGE_PAYMENT_REFUNDED)
        look_added(look, order_id, &account->refunded, amount, "refunded", account->captured, "captured");
}

static void money_record(void *state, struct verify_result *result, const struct verify_record *record) {
    const struct message *message = record->message;
    struct look look = {state, result, record};
    switch (message->type) {
#define PRICED(TYPE, member)                                                                                           \
    case MESSAGE_##TYPE:                                                                                               \
        look_lines(&look, &message->member.lines, &message->member.totals);                                            \
        look_order_total(&look, message->member.order_id, &message->member.totals);                                    \
        break;
#define REFUSED(TYPE, member)                                                                                          \
    case MESSAGE_##TYPE:                                                                                               \
        if (message->member.totals)                                                                                    \
            look_totals(&look, message->member.totals);                                                                \
        break;
        PRICED(CHECKOUT_ACCEPTED, checkout_accepted)
        PRICED(ORDER_PLACE_ORDER, order_place_order)
        PRICED(ORDER_PLACED, order_placed)
        REFUSED(CHECKOUT_REFUSED, checkout_refused)
        REFUSED(ORDER_REJECT_ORDER, order_reject_order)
        REFUSED(ORDER_REJECTED, order_rejected)
#undef PRICED
#undef REFUSED
    default:
        look_payment(&look, message);
        break;
    }
}

/* Payments are read beside the orders, so that the total may be known only now. */
static bool money_finish(void *state, const struct verify_options *options, struct verify_result *result,
                         struct err *err) {
    (void)err;
    const struct money_check *check = state;
    for (struct map_entry *entry = map_next(&check->accounts, NULL); entry; entry = map_next(&check->accounts, entry)) {
        const struct account *account = entry->value;
        if (!account->asked_at.topic || (!account->has_total && options->in_flight))
            continue;
        if (!account->has_total)
            verify_violation(result, &account->asked_at, "order %.*s, which is to be paid, was never placed",
                             STR_ARG(entry->key));
        else if (account->asked_most > account->total)
            verify_violation(result, &account->asked_at, "order %.*s: %" PRId64 " is asked for, its total is %" PRId64,
                             STR_ARG(entry->key), account->asked_most, account->total);
    }
    return true;
}

const struct verify_check verify_money = {
    .name = "money-balances",
    .holds = "lines and totals add up; refunded <= captured <= authorised <= total; one currency",
    .begin = money_begin,
    .record = money_record,
    .finish = money_finish,
    .end = money_end,
};
