#include "consumers/notifier.h"

#include "consumers/notice_text.h"
#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/metrics.h"
#include "core/trace/trace.h"
#include "core/domain/notices.h"

static void count(enum intent_notice_outcome outcome) {
    BUF_AUTO labels = {0};
    buf_printf(&labels, "outcome=\"%s\"",
               outcome == INTENT_NOTICE_OUTCOME_UNKNOWN ? "again" : claim_outcome_name(outcome));
    metrics_add(metrics_counter("orderlog_notices_total",
                                "Tries to tell a shopper something, by what came of them; again: to be tried again.",
                                labels.ptr),
                1);
}

void notifier_claim_id(const struct intent_send_notice *notice, struct buf *ret) {
    buf_printf(ret, "%.*s/%.*s/%.*s", STR_ARG(notice->order_id), STR_ARG(notice->template), STR_ARG(notice->cause));
}

/* Of CLAIM_HOLD_MS the look for an address may take so much; the rest is for sending. */
enum { LOOK_MAX_US = (CLAIM_HOLD_MS - MAILER_TIMEOUT_MS) * 1000, TRIES_IN_DOUBT = 2 };

/* One notice that was claimed. */
struct sending {
    struct notifier *notifier;
    const struct intent_send_notice *notice;
    struct str claim;
    int64_t tries;       /* this one included */
    int64_t taken_at_us; /* by our own clock */
    struct arena *arena;
    struct intent_notice_answered *answer;
};

static void tell(const struct sending *sending, enum log_level level, const struct err *why) {
    const struct intent_send_notice *notice = sending->notice;
    logging_write(level, "notifier.not_sent", "order=%.*s template=%.*s outcome=%s why=\"%s\"",
                  STR_ARG(notice->order_id), STR_ARG(notice->template), claim_outcome_name(sending->answer->outcome),
                  why->detail);
}

/* The claim is not touched, or given back. */
static void again(const struct sending *sending, struct str reason, const struct err *why) {
    sending->answer->outcome = INTENT_NOTICE_OUTCOME_UNKNOWN;
    sending->answer->reason = reason;
    if (why)
        tell(sending, LOG_WARN, why);
}

static void give_back(const struct sending *sending, struct str reason, const struct err *why) {
    struct err err = {0};
    again(sending, reason, why);
    if (!claims_give_back(sending->notifier->claims, sending->claim, sending->tries, &err))
        logging_err(&err, "notifier.claim_kept", "claim=%.*s", STR_ARG(sending->claim)); /* it ends by itself */
}

/* A claim that cannot be settled after a mail was sent: what came of it is known all the same, and whoever hosts us
 * keeps it. Only a crash right now could send it again. */
static void settle(const struct sending *sending, enum intent_notice_outcome outcome, struct str reason) {
    struct err err = {0};
    sending->answer->outcome = outcome;
    sending->answer->reason = reason;
    if (!claims_settle(sending->notifier->claims, sending->claim, outcome, reason, &err))
        logging_err(&err, "notifier.claim_not_settled", "claim=%.*s", STR_ARG(sending->claim));
}

static void send(const struct sending *sending, struct str address) {
    NOTICE_TEXT_AUTO text = {0};
    struct err err = {0};
    struct notifier *notifier = sending->notifier;
    if (!notice_text_make(sending->notice, notifier->shop, &text)) {
        settle(sending, INTENT_NOTICE_OUTCOME_FAILED, STR("unknown-template"));
        return;
    }
    const struct mail mail = {.to = address,
                              .id = sending->claim,
                              .subject = buf_str(&text.subject),
                              .text = buf_str(&text.text),
                              .html = buf_str(&text.html),
                              .date_us = clock_now_us()};
    switch (mailer_send(notifier->mailer, &mail, &err)) {
    case MAIL_SENT:
        settle(sending, INTENT_NOTICE_OUTCOME_SENT, STR(""));
        return;
    case MAIL_REFUSED:
        settle(sending, INTENT_NOTICE_OUTCOME_FAILED, STR("refused"));
        tell(sending, LOG_WARN, &err);
        return;
    case MAIL_AGAIN:
        give_back(sending, STR("not-taken"), &err);
        return;
    case MAIL_UNKNOWN:
        /* Once more, when the claim has run out. A server that takes mails and never says so must not send many. */
        if (sending->tries >= TRIES_IN_DOUBT) {
            settle(sending, INTENT_NOTICE_OUTCOME_FAILED, STR("outcome-unknown"));
            tell(sending, LOG_ERROR, &err);
        } else {
            again(sending, STR("no-answer"), &err);
        }
        return;
    }
}

/* The claim is ours. */
static void try_to_send(const struct sending *sending) {
    struct notifier *notifier = sending->notifier;
    struct str address;
    struct err err = {0};
    if (clock_now_us() - sending->notice->caused_at > notifier->within_us) {
        bool tried = sending->tries > 1;
        settle(sending, tried ? INTENT_NOTICE_OUTCOME_FAILED : INTENT_NOTICE_OUTCOME_SUPPRESSED,
               tried ? STR("not-taken-in-time") : STR("too-old"));
        if (tried) {
            err_set(&err, ERR_TIMEOUT, "it could not be sent in time");
            tell(sending, LOG_ERROR, &err);
        }
        return;
    }
    if (!notifier->address(notifier->address_user, sending->notice, sending->arena, &address, &err))
        give_back(sending, STR("address-not-known-yet"), &err);
    else if (!address.ptr)
        settle(sending, INTENT_NOTICE_OUTCOME_SUPPRESSED, STR("no-address"));
    else if (!mail_address_valid(address))
        settle(sending, INTENT_NOTICE_OUTCOME_SUPPRESSED, STR("no-valid-address"));
    else if (clock_monotonic_us() - sending->taken_at_us > LOOK_MAX_US)
        give_back(sending, STR("address-came-late"), NULL); /* the claim might run out while it is sent */
    else
        send(sending, address);
}

/* `suppress` ptr NULL: it is tried. */
static void answer_for(struct notifier *notifier, const struct intent_send_notice *notice, struct str suppress,
                       struct arena *arena, struct intent_notice_answered *answer) {
    struct claim claim;
    struct err err = {0};
    BUF_AUTO id = {0};
    notifier_claim_id(notice, &id);
    *answer = (struct intent_notice_answered){.order_id = notice->order_id,
                                              .template = notice->template,
                                              .cause = notice->cause,
                                              .channel = STR(NOTICE_CHANNEL),
                                              .reason = STR("")};
    struct sending sending = {.notifier = notifier,
                              .notice = notice,
                              .claim = buf_str(&id),
                              .taken_at_us = clock_monotonic_us(),
                              .arena = arena,
                              .answer = answer};
    if (!claims_take(notifier->claims, sending.claim, arena, &claim, &err)) {
        again(&sending, STR("claims-away"), &err);
    } else if (claim.state == CLAIM_HELD) {
        again(&sending, STR("claimed-by-another"), NULL);
    } else if (claim.state == CLAIM_OVER) {
        answer->outcome = claim.outcome;
        answer->reason = claim.reason;
        return;
    } else if (suppress.ptr) {
        settle(&sending, INTENT_NOTICE_OUTCOME_SUPPRESSED, suppress);
    } else {
        sending.tries = claim.tries;
        try_to_send(&sending);
    }
    count(answer->outcome);
}

void notifier_send(struct notifier *notifier, const struct intent_send_notice *notice, struct arena *arena,
                   struct intent_notice_answered *answer) {
    answer_for(notifier, notice, STR_NULL, arena, answer);
}

void notifier_suppress(struct notifier *notifier, const struct intent_send_notice *notice, struct str reason,
                       struct arena *arena, struct intent_notice_answered *answer) {
    answer_for(notifier, notice, reason, arena, answer);
}

void notifier_call(void *user, const struct message *request, struct str traceparent, struct arena *arena,
                   struct message *answer) {
    const struct intent_send_notice *notice = &request->intent_send_notice;
    struct intent_notice_answered *answered = &answer->intent_notice_answered;
    struct span span;
    span_begin(&span, traceparent); /* the mail itself carries none */
    answer->type = MESSAGE_INTENT_NOTICE_ANSWERED;
    notifier_send(user, notice, arena, answered);
    bool failed =
        answered->outcome != INTENT_NOTICE_OUTCOME_SENT && answered->outcome != INTENT_NOTICE_OUTCOME_SUPPRESSED;
    const struct span_attribute attributes[] = {
        {"orderlog.order_id", notice->order_id, 0},
        {"orderlog.notice.template", notice->template, 0},
        {answered->reason.len ? "orderlog.notice.reason" : NULL, answered->reason, 0},
    };
    const struct span_facts facts = {.kind = SPAN_CLIENT,
                                     .verb = "mail",
                                     .what = notice->template,
                                     .failed = failed,
                                     .attributes = attributes,
                                     .attribute_count = sizeof attributes / sizeof attributes[0]};
    span_end(&span, &facts);
}
