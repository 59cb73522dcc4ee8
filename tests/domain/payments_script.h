/* Scripts for payments: inputs by short names, and what came of each in letters. */
#ifndef ORDERLOG_TESTS_DOMAIN_PAYMENTS_SCRIPT_H
#define ORDERLOG_TESTS_DOMAIN_PAYMENTS_SCRIPT_H

#include "tests/support/room.h"

#include <stdio.h>

#include "core/domain/payments.h"

#define ORDER "order-1"
enum { TOTAL_MINOR = 5000 };

/* ---- when: an input by its short name (see `matrix`) */

static inline struct money usd(int64_t minor) {
    return (struct money){minor, STR("USD")};
}

static inline bool give(struct test_room *room, const char *id, struct message message) {
    static int commands;
    char text[32];
    snprintf(text, sizeof text, "command-%d", ++commands);
    return test_room_give(room, TOPIC_PAYMENT_REQUESTS, ORDER, id ? id : text, &message);
}

static inline bool authorize(struct test_room *room) {
    return give(room, NULL,
                (struct message){.type = MESSAGE_PAYMENT_AUTHORIZE_PAYMENT,
                                 .payment_authorize_payment = {STR(ORDER), STR("ann"), usd(TOTAL_MINOR), STR("pm_1")}});
}

static inline bool submit(struct test_room *room, const char *shopper_id, const char *id) {
    return give(
        room, id,
        (struct message){.type = MESSAGE_PAYMENT_SUBMIT_PAYMENT,
                         .payment_submit_payment = {STR(ORDER), str_from(shopper_id), STR("pm_2"), STR("hash")}});
}

static inline bool void_payment(struct test_room *room) {
    return give(room, NULL,
                (struct message){.type = MESSAGE_PAYMENT_VOID_PAYMENT,
                                 .payment_void_payment = {STR(ORDER), STR("payment-expired")}});
}

static inline bool capture(struct test_room *room, struct money amount) {
    return give(
        room, NULL,
        (struct message){.type = MESSAGE_PAYMENT_CAPTURE_PAYMENT, .payment_capture_payment = {STR(ORDER), amount}});
}

static inline bool refund(struct test_room *room, struct money amount) {
    return give(room, NULL,
                (struct message){.type = MESSAGE_PAYMENT_REFUND_PAYMENT,
                                 .payment_refund_payment = {STR(ORDER), amount, STR("returned")}});
}

static inline bool notify_of(struct test_room *room, const char *status) {
    return give(room, NULL,
                (struct message){.type = MESSAGE_PAYMENT_PROVIDER_NOTIFIED,
                                 .payment_provider_notified = {STR(ORDER), STR("stripe"), STR("evt_1"), STR("pi_1"),
                                                               STR("payment_intent.some_event"), str_from(status),
                                                               STR("hash")}});
}

static inline bool notify(struct test_room *room) {
    return notify_of(room, "processing");
}

static inline const struct state_payment *payment_of(struct test_room *room) {
    return test_room_state(room, PAYMENTS_PAYMENT, ORDER);
}

/* The last call of that kind; NULL when none was made. */
static inline const struct intent_call_provider *call_of(const struct test_room *room,
                                                         enum intent_provider_action action) {
    for (size_t i = room->intent_count; i-- > 0;)
        if (room->intents[i].message.intent_call_provider.action == action)
            return &room->intents[i].message.intent_call_provider;
    return NULL;
}

static inline struct message answer_to_call(struct test_room *room, enum intent_provider_action action,
                                            const struct intent_call_provider *call,
                                            enum intent_provider_outcome outcome) {
    const struct state_payment *payment = payment_of(room);
    return (struct message){.type = MESSAGE_INTENT_PROVIDER_ANSWERED,
                            .intent_provider_answered = {.action = action,
                                                         .order_id = STR(ORDER),
                                                         .payment_id = call ? call->payment_id : STR("p"),
                                                         .attempt = call      ? call->attempt
                                                                    : payment ? payment->attempt
                                                                              : 1,
                                                         .amount = call ? call->amount : usd(TOTAL_MINOR),
                                                         .outcome = outcome,
                                                         .code = STR("code"),
                                                         .provider = STR("sandbox"),
                                                         .provider_ref = STR("pi_1")}};
}

static inline struct message answer_to(struct test_room *room, enum intent_provider_action action,
                                       enum intent_provider_outcome outcome) {
    return answer_to_call(room, action, call_of(room, action), outcome);
}

static const char actions[] = "acvrl", outcomes[] = "+-!~?$_0";

/* An answer to a look is about the payment that is the latest now. */
static inline bool answer(struct test_room *room, char action, char outcome) {
    struct message message = answer_to(room, (enum intent_provider_action)(strchr(actions, action) - actions),
                                       (enum intent_provider_outcome)(strchr(outcomes, outcome) - outcomes));
    if (action == 'l' && payment_of(room))
        message.intent_provider_answered.payment_id = payment_of(room)->payment_id;
    return test_room_result(room, ORDER, "command-of-the-call", &message);
}

static inline bool input(struct test_room *room, const char *name) {
    if (name[1])
        return answer(room, name[0], name[1]);
    switch (name[0]) {
    case 'A':
        return authorize(room);
    case 'S':
        return submit(room, "ann", NULL);
    case 'X':
        return submit(room, "bob", NULL);
    case 'V':
        return void_payment(room);
    case 'C':
        return capture(room, usd(TOTAL_MINOR));
    case 'R':
        return refund(room, usd(TOTAL_MINOR));
    case 'h':
        return refund(room, usd(TOTAL_MINOR / 2));
    case 'N':
        return notify(room);
    default:
        room->now_us += INT64_C(3) * 3600 * 1000000;
        test_room_fire(room);
        return true;
    }
}

/* ---- then: what came of it, a letter for each record, then for each call, then for each timer that was set */

static inline char letter_of(const struct message *message) {
    switch (message->type) {
    case MESSAGE_PAYMENT_REQUESTED:
        return 'Q';
    case MESSAGE_PAYMENT_AUTHORIZED:
        return 'A';
    case MESSAGE_PAYMENT_DECLINED:
        return 'D';
    case MESSAGE_PAYMENT_OUTCOME_UNKNOWN:
        return 'U';
    case MESSAGE_PAYMENT_CAPTURED:
        return 'C';
    case MESSAGE_PAYMENT_CAPTURE_FAILED:
        return 'F';
    case MESSAGE_PAYMENT_VOID_REQUESTED:
        return 'W';
    case MESSAGE_PAYMENT_VOIDED:
        return 'V';
    case MESSAGE_PAYMENT_VOID_FAILED:
        return 'G';
    case MESSAGE_PAYMENT_AUTHORIZATION_EXPIRED:
        return 'X';
    case MESSAGE_PAYMENT_REFUNDED:
        return 'P';
    case MESSAGE_PAYMENT_REFUND_FAILED:
        return 'L';
    case MESSAGE_PAYMENT_PROVIDER_NOTIFIED:
        return 'u';
    default: {
        struct str reason = message->payment_command_refused.reason;
        return str_eq(reason, STR("transition-refused")) ? 'R' : str_eq(reason, STR("not-found")) ? 'N' : '?';
    }
    }
}

struct seen {
    size_t log_count;
    size_t intent_count;
    bool retry;
    bool held;
    bool given_up;
};

static inline struct seen seen_now(const struct test_room *room) {
    return (struct seen){room->log_count, room->intent_count, test_room_timer(room, ORDER, "retry") != NULL,
                         test_room_timer(room, ORDER, "held") != NULL,
                         test_room_timer(room, ORDER, "given-up") != NULL};
}

static inline char letter_of_call(const struct intent_call_provider *call) {
    bool stray = call->action == INTENT_PROVIDER_ACTION_VOID && call->attempt == PAYMENTS_STRAY_ATTEMPT;
    return stray ? 's' : actions[call->action];
}

static inline const char *effects_since(const struct test_room *room, struct seen before) {
    static char letters[64];
    size_t count = 0;
    for (size_t i = before.log_count; i < room->log_count; i++)
        if (str_eq(room->log[i]->topic, STR(TOPIC_PAYMENT_EVENTS)) ||
            str_eq(room->log[i]->topic, STR(TOPIC_PAYMENT_UNROUTED)))
            letters[count++] = letter_of(&room->log[i]->message);
    for (size_t i = before.intent_count; i < room->intent_count; i++)
        letters[count++] = letter_of_call(&room->intents[i].message.intent_call_provider);
    if (!before.retry && test_room_timer(room, ORDER, "retry"))
        letters[count++] = 't';
    if (!before.given_up && test_room_timer(room, ORDER, "given-up"))
        letters[count++] = 'g';
    if (!before.held && test_room_timer(room, ORDER, "held"))
        letters[count++] = 'h';
    letters[count] = 0;
    return count ? letters : ".";
}

static inline const char *effects_of(struct test_room *room, const char *name) {
    struct seen before = seen_now(room);
    return input(room, name) ? effects_since(room, before) : "!";
}

/* Inputs, a space between them. */
static inline struct test_room *room_after(const char *script) {
    struct test_room *room = test_room_open(&payments_decider);
    char name[3];
    int used;
    while (sscanf(script, "%2s%n", name, &used) == 1) {
        assert_true(input(room, name));
        script += used;
    }
    return room;
}

static inline void assert_is_fold(struct test_room *room) {
    struct test_room *folded = test_room_open(&payments_decider);
    for (size_t i = 0; i < room->log_count; i++)
        if (str_eq(room->log[i]->topic, STR(TOPIC_PAYMENT_EVENTS)))
            test_room_fold(folded, room->log[i]);
    test_room_same_rows(room, folded);
    test_room_close(folded);
}

#endif
