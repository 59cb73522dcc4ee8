/* payments: the money balances. */
#include "tests/domain/payments_script.h"

/* ---- money */

static void test_never_more_than_there_is(void **state) {
    (void)state;
    struct test_room *room = room_after("A a+");
    const struct {
        struct money amount;
        const char *reason;
    } refused[] = {{{TOTAL_MINOR + 1, STR("USD")}, "transition-refused"},
                   {{0, STR("USD")}, "transition-refused"},
                   {{-1, STR("USD")}, "transition-refused"},
                   {{INT64_MIN, STR("USD")}, "transition-refused"},
                   {{TOTAL_MINOR, STR("EUR")}, "wrong-currency"}};
    const struct test_record *record;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        assert_true(capture(room, refused[i].amount));
        record = test_room_last(room, MESSAGE_PAYMENT_COMMAND_REFUSED);
        assert_str(record->message.payment_command_refused.reason, refused[i].reason);
    }
    assert_int_equal(room->intent_count, 1);
    assert_true(capture(room, usd(4000)));
    assert_true(input(room, "c+"));
    assert_int_equal(payment_of(room)->captured_minor, 4000);
    assert_true(refund(room, usd(4001)) && refund(room, usd(INT64_MAX)) && refund(room, usd(0)));
    assert_int_equal(room->intent_count, 2);
    assert_true(refund(room, usd(1500)) && input(room, "r+"));
    assert_true(refund(room, usd(2501)));
    assert_int_equal(room->intent_count, 3);
    assert_int_equal(payment_of(room)->status, STATE_PAYMENT_STATUS_CAPTURED);
    assert_true(refund(room, usd(2500)) && input(room, "r+"));
    assert_int_equal(payment_of(room)->refunded_minor, 4000);
    assert_int_equal(payment_of(room)->status, STATE_PAYMENT_STATUS_REFUNDED);
    test_room_close(room);
}

/* Money that is held, but not as it was asked for, is let go, and the attempt has failed. */
static void test_another_amount_is_not_authorised(void **state) {
    (void)state;
    static const struct {
        const char *given;
        char action;
        const char *then;
    } cases[] = {{"A", 'a', "Ds"}, {"A a?", 'a', "Ds"}, {"A V", 'a', "DVs"}, {"A a?", 'l', "Ds"}};
    static const struct money others[] = {
        {TOTAL_MINOR - 1, {"USD", 3}}, {TOTAL_MINOR + 1, {"USD", 3}}, {0, {"USD", 3}}, {TOTAL_MINOR, {"EUR", 3}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
            struct test_room *room = room_after(cases[i].given);
            struct seen before = seen_now(room);
            enum intent_provider_action action =
                cases[i].action == 'a' ? INTENT_PROVIDER_ACTION_AUTHORIZE : INTENT_PROVIDER_ACTION_LOOK;
            struct message message = answer_to(room, action, INTENT_PROVIDER_OUTCOME_SUCCEEDED);
            message.intent_provider_answered.payment_id = payment_of(room)->payment_id;
            message.intent_provider_answered.amount = others[k];
            assert_true(test_room_result(room, ORDER, "c", &message));
            assert_string_equal(effects_since(room, before), cases[i].then);
            assert_str(test_room_last(room, MESSAGE_PAYMENT_DECLINED)->message.payment_declined.code,
                       "amount-mismatch");
            assert_str(call_of(room, INTENT_PROVIDER_ACTION_VOID)->provider_ref, "pi_1");
            test_room_close(room);
        }
}

/* Money that was moved, but not as it was asked for, is for people to settle. */
static void test_another_amount_is_left(void **state) {
    (void)state;
    static const struct {
        const char *given;
        enum intent_provider_action action;
        enum intent_provider_outcome outcome;
    } cases[] = {{"A a+ C", INTENT_PROVIDER_ACTION_CAPTURE, INTENT_PROVIDER_OUTCOME_SUCCEEDED},
                 {"A a+ C c-", INTENT_PROVIDER_ACTION_LOOK, INTENT_PROVIDER_OUTCOME_CAPTURED},
                 {"A a+ C c+ R", INTENT_PROVIDER_ACTION_REFUND, INTENT_PROVIDER_OUTCOME_SUCCEEDED}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct test_room *room = room_after(cases[i].given);
        struct message message = answer_to(room, cases[i].action, cases[i].outcome);
        message.intent_provider_answered.payment_id = payment_of(room)->payment_id;
        message.intent_provider_answered.amount.minor = TOTAL_MINOR - 1;
        assert_false(test_room_result(room, ORDER, "c", &message));
        message.intent_provider_answered.amount = (struct money){TOTAL_MINOR, STR("EUR")};
        assert_false(test_room_result(room, ORDER, "c", &message));
        test_room_close(room);
    }
}

static void test_poison(void **state) {
    (void)state;
    struct test_room *room = room_after("A");
    struct message message = {.type = MESSAGE_PAYMENT_AUTHORIZE_PAYMENT,
                              .payment_authorize_payment = {STR("other"), STR("ann"), usd(-1), STR("pm_1")}};
    assert_false(give(room, NULL, message));
    message.payment_authorize_payment = (struct payment_authorize_payment){STR(""), STR("ann"), usd(1), STR("pm_1")};
    assert_false(give(room, NULL, message));
    message = (struct message){
        .type = MESSAGE_PAYMENT_PROVIDER_NOTIFIED,
        .payment_provider_notified = {STR_NULL, STR("stripe"), STR("evt"), STR("pi"), STR("t"), STR_NULL, STR("hash")}};
    assert_false(give(room, NULL, message));
    message = answer_to(room, INTENT_PROVIDER_ACTION_AUTHORIZE, INTENT_PROVIDER_OUTCOME_SUCCEEDED);
    assert_false(test_room_give(room, "intent/payment", ORDER, "c", &message)); /* a record is not a result */
    message = test_room_last(room, MESSAGE_PAYMENT_REQUESTED)->message;
    assert_false(test_room_result(room, ORDER, "c", &message));
    test_room_close(room);
}

/* ---- random walks */

/* refunded <= captured <= live authorisation <= total, from the emitted stream alone; and no call is made that could
 * take money twice. */
static void check_money(const struct test_room *room) {
    int64_t authorised = 0, captured = 0, refunded = 0;
    size_t requested = 0, ended = 0;
    for (size_t i = 0; i < room->log_count; i++) {
        const struct message *message = &room->log[i]->message;
        if (message->type == MESSAGE_PAYMENT_REQUESTED) {
            assert_int_equal(authorised, 0);
            assert_int_equal(message->payment_requested.attempt, ++requested);
            assert_int_equal(ended, requested - 1);
        } else if (message->type == MESSAGE_PAYMENT_DECLINED) {
            ended++;
        } else if (message->type == MESSAGE_PAYMENT_AUTHORIZED) {
            assert_int_equal(ended, requested - 1);
            authorised = message->payment_authorized.amount.minor;
            assert_true(authorised <= TOTAL_MINOR);
        } else if (message->type == MESSAGE_PAYMENT_CAPTURED) {
            assert_int_equal(captured, 0);
            captured = message->payment_captured.amount.minor;
        } else if (message->type == MESSAGE_PAYMENT_REFUNDED) {
            refunded += message->payment_refunded.amount.minor;
        } else if (message->type == MESSAGE_PAYMENT_VOIDED || message->type == MESSAGE_PAYMENT_AUTHORIZATION_EXPIRED) {
            assert_int_equal(captured, 0);
            authorised = 0;
        }
        assert_true(refunded <= captured && captured <= authorised);
    }
}

/* A look shows what is there; what it cannot settle, and money held for nothing that cannot be let go, is for people.
 */
static void answer_open(struct test_room *room, const struct intent_call_provider *call, char outcome) {
    bool stray = call->attempt == PAYMENTS_STRAY_ATTEMPT, look = call->action == INTENT_PROVIDER_ACTION_LOOK;
    enum intent_provider_outcome known = (enum intent_provider_outcome)(strchr(outcomes, outcome) - outcomes);
    struct message message = answer_to_call(room, call->action, call, known);
    bool handled = test_room_result(room, ORDER, "c", &message);
    if (!stray && !look)
        assert_true(handled);
}

static void answer_any(struct test_room *room, char action, char outcome) {
    const struct intent_call_provider *letting_go = call_of(room, INTENT_PROVIDER_ACTION_VOID);
    bool stray = action == 'v' && letting_go && letting_go->attempt == PAYMENTS_STRAY_ATTEMPT;
    bool handled = answer(room, action, outcome);
    if (!stray)
        assert_true(handled);
}

static void walk(uint64_t seed, size_t *seen) {
    static const char *const names[] = {"A", "S", "S", "X", "V", "C", "C", "R", "h", "h", "N", "T", "?"};
    struct test_room *room = test_room_open(&payments_decider);
    size_t answered = 0; /* intents with a definite answer */
    size_t wild = test_random_below(&seed, 3);
    for (int step = 0; step < 60; step++) {
        const char *name = names[test_random_below(&seed, sizeof names / sizeof *names)];
        /* Mostly the call that is open is answered; in one walk of three, anything may be. */
        bool any = wild == 0 && test_random_below(&seed, 8) == 0;
        if (*name != '?' && (answered == room->intent_count || test_random_below(&seed, 2))) {
            if (*name != 'V' || test_random_below(&seed, 4) == 0)
                assert_true(input(room, name));
        } else if (payment_of(room) && (any || answered < room->intent_count)) {
            char outcome = "+++-!~??"[test_random_below(&seed, 8)];
            if (any)
                answer_any(room, "acvr"[test_random_below(&seed, 4)], outcome);
            else
                answer_open(room, &room->intents[answered].message.intent_call_provider, outcome);
            answered += !any && outcome != '?';
        }
    }
    check_money(room);
    assert_is_fold(room);
    for (size_t i = 0; i < room->log_count; i++)
        seen[room->log[i]->message.type]++;
    test_room_close(room);
}

static void test_walks(void **state) {
    (void)state;
    size_t seen[MESSAGE_TYPE_COUNT] = {0};
    for (uint64_t seed = 1; seed <= 2000; seed++)
        walk(seed, seen);
    for (enum message_type type = MESSAGE_PAYMENT_REQUESTED; type <= MESSAGE_PAYMENT_COMMAND_REFUSED; type++)
        if (seen[type] < 20)
            fail_msg("the walks hardly ever led to %.*s", STR_ARG(message_name(type)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_never_more_than_there_is),
        cmocka_unit_test(test_another_amount_is_not_authorised),
        cmocka_unit_test(test_another_amount_is_left),
        cmocka_unit_test(test_poison),
        cmocka_unit_test(test_walks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
