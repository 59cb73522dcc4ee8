/* payments: every (state, input) pair, the calls that it makes, and requests that come before their order. */
#include "tests/domain/payments_script.h"

/* ---- the matrix */

/* A AuthorizePayment · S SubmitPayment · X a stranger's · V VoidPayment · C CapturePayment · R RefundPayment · N
 * ProviderNotified; answers to authorize, capture, void, refund: + succeeded, - declined, ! failed, ~ expired, ?
 * unknown; T: three hours pass; answers to look: $ captured, _ pending, 0 missing. */
static const char *const inputs[] = {"A",  "S",  "X",  "V",  "C",  "R",  "N",  "a+", "a-", "a~", "a?",
                                     "c+", "c-", "c~", "c?", "v+", "v-", "v~", "v?", "r+", "r-", "r~",
                                     "r?", "T",  "l+", "l-", "l~", "l?", "l$", "l_", "l0"};
enum { INPUTS = sizeof inputs / sizeof *inputs };

/* Records: Q PaymentRequested · A PaymentAuthorized · D PaymentDeclined · U PaymentOutcomeUnknown · C PaymentCaptured ·
 * F CaptureFailed · W PaymentVoidRequested · V PaymentVoided · G VoidFailed · X AuthorizationExpired · P
 * PaymentRefunded · L RefundFailed · u ProviderNotified, set aside · R CommandRefused (transition-refused) · N
 * CommandRefused (not-found). Calls: a c v r l, s: a void of what is held for no payment of ours. Timers: t retry, h
 * held, g given up. `!`: cannot be handled; `.`: nothing, for it was heard or asked before. */
/* clang-format off: a table */
static const struct {
    const char *state;
    const char *given;
    const char *then; /* by input */
} matrix[] = {
    /*        A  S  X V  C R N  a+ a- a~ a?  c+ c-  c~ c?  v+ v- v~ v?  r+ r- r~ r?  T  l+ l- l~ l? l$ l_ l0 */
    {"created", "",
     "        Qa h  h V  N N u  !  !  !  !  !  !   !  !  !  !  !  !  !  !  !  !  .  !  !  !  !  !  !  !"},
    {"authorizing", "A",
     "        R  R  N W  R R l  A  D  D  U  .  .   .  .  .  .  .  .  .  .  .  .  .  A  D  D  .  !  .  !"},
    {"unknown", "A a?",
     "        R  R  N W  R R l  A  D  D  .  .  .   .  .  .  .  .  .  .  .  .  .  .  A  D  D  .  !  .  !"},
    {"authorizing, to be voided", "A V",
     "        R  R  N R  R R l  Av DV DV U  .  .   .  .  .  .  .  .  .  .  .  .  .  Av DV DV .  !  .  !"},
    {"unknown, to be voided", "A a? V",
     "        R  R  N R  R R l  Av DV DV .  .  .   .  .  .  .  .  .  .  .  .  .  .  Av DV DV .  !  .  !"},
    {"to be voided, unknown", "A V a?",
     "        R  R  N R  R R l  Av DV DV .  .  .   .  .  .  .  .  .  .  .  .  .  .  Av DV DV .  !  .  !"},
    {"second attempt, to be voided", "A a- S V",
     "        R  R  N R  R R l  Av DV DV U  .  .   .  .  .  .  .  .  .  .  .  .  .  Av DV DV .  !  .  !"},
    {"declined", "A a-",
     "        R  Qa N V  R R l  .  .  .  .  .  .   .  .  .  .  .  .  .  .  .  .  .  s  .  .  .  !  .  !"},
    {"declined for the fifth time", "A a- S a! S a- S a~ S a-",
     "        R  R  N V  R R l  .  .  .  .  .  .   .  .  .  .  .  .  .  .  .  .  .  s  .  .  .  !  .  !"},
    {"authorized", "A a+",
     "        R  R  N v  c R l  .  .  .  .  .  .   .  .  .  .  .  .  .  .  .  .  .  .  !  X  .  !  .  !"},
    {"authorized at the second attempt", "A a- S a? a+",
     "        R  R  N v  c R l  .  .  .  .  .  .   .  .  .  .  .  .  .  .  .  .  .  .  !  X  .  !  .  !"},
    {"capturing", "A a+ C",
     "        R  R  N R  R R l  .  .  .  .  C  Ft  X  .  .  .  .  .  .  .  .  .  .  .  !  .  .  .  .  !"},
    {"to be captured again", "A a+ C c-",
     "        R  R  N R  R R l  .  .  .  .  .  .   .  .  .  .  .  .  .  .  .  .  c  .  !  X  .  C  .  !"},
    {"capturing again", "A a+ C c! T",
     "        R  R  N R  R R l  .  .  .  .  C  Ft  X  .  .  .  .  .  .  .  .  .  .  .  !  .  .  .  .  !"},
    {"capturing for the last time", "A a+ C c- T c- T c- T c- T",
     "        R  R  N R  R R l  .  .  .  .  C  Fg  X  .  .  .  .  .  .  .  .  .  .  .  !  .  .  .  .  !"},
    {"not captured", "A a+ C c- T c- T c- T c- T c-",
     "        R  R  N v  c R l  .  .  .  .  .  .   .  .  .  .  .  .  .  .  .  .  .  .  !  X  .  C  .  !"},
    {"voiding", "A a+ V",
     "        R  R  N R  R R l  .  .  .  .  .  .   .  .  V  Gt V  .  .  .  .  .  .  .  !  .  .  !  .  !"},
    {"voiding what came late", "A V a? a+",
     "        R  R  N R  R R l  .  .  .  .  .  .   .  .  V  Gt V  .  .  .  .  .  .  .  !  .  .  !  .  !"},
    {"to be voided again", "A a+ V v-",
     "        R  R  N R  R R l  .  .  .  .  .  .   .  .  .  .  .  .  .  .  .  .  v  .  !  V  .  !  .  !"},
    {"not voided", "A a+ V v- T v- T v- T v- T v-",
     "        R  R  N v  R R l  .  .  .  .  .  .   .  .  .  .  .  .  .  .  .  .  .  .  !  V  .  !  .  !"},
    {"voided", "A a+ V v+",
     "        R  R  N R  R R l  .  .  .  .  .  .   .  .  .  .  .  .  .  .  .  .  .  s  .  .  .  !  .  !"},
    {"voided when declined", "A a- V",
     "        R  R  N R  R R l  .  .  .  .  .  .   .  .  .  .  .  .  .  .  .  .  .  s  .  .  .  !  .  !"},
    {"voided before it was asked for", "V",
     "        R  N  N R  R R l  .  .  .  .  .  .   .  .  .  .  .  .  .  .  .  .  .  s  .  .  .  !  .  !"},
    {"expired", "A a+ C c~",
     "        R  R  N R  R R l  .  .  .  .  .  .   .  .  .  .  .  .  .  .  .  .  .  s  .  .  .  !  .  !"},
    {"captured", "A a+ C c? c+",
     "        R  R  N R  R r l  .  .  .  .  .  .   .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  !"},
    {"refunding", "A a+ C c+ R",
     "        R  R  N R  R R l  .  .  .  .  .  .   .  .  .  .  .  .  P  Lt Lt .  .  .  .  .  .  .  .  !"},
    {"to be refunded again", "A a+ C c+ R r-",
     "        R  R  N R  R R l  .  .  .  .  .  .   .  .  .  .  .  .  .  .  .  .  r  .  .  .  .  .  .  !"},
    {"not refunded", "A a+ C c+ R r- T r- T r- T r- T r-",
     "        R  R  N R  R r l  .  .  .  .  .  .   .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  !"},
    {"half refunded", "A a+ C c+ h r+",
     "        R  R  N R  R R l  .  .  .  .  .  .   .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  !"},
    {"refunded in halves", "A a+ C c+ h r+ h r+",
     "        R  R  N R  R R l  .  .  .  .  .  .   .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  !"},
};
/* clang-format on */

static void test_every_pair(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof matrix / sizeof *matrix; i++) {
        const char *then = matrix[i].then;
        for (size_t which = 0; which < INPUTS; which++) {
            char expected[8];
            int used = 0;
            assert_int_equal(sscanf(then, "%7s%n", expected, &used), 1);
            then += used;
            struct test_room *room = room_after(matrix[i].given);
            const char *effects = effects_of(room, inputs[which]);
            if (strcmp(effects, expected) != 0)
                fail_msg("%s, %s: %s, not %s", matrix[i].state, inputs[which], effects, expected);
            assert_is_fold(room);
            test_room_close(room);
        }
    }
}

/* ---- what the calls say */

static void test_the_first_call(void **state) {
    (void)state;
    struct test_room *room = room_after("A");
    const struct payment_requested *m = &test_room_last(room, MESSAGE_PAYMENT_REQUESTED)->message.payment_requested;
    const struct intent_call_provider *call = call_of(room, INTENT_PROVIDER_ACTION_AUTHORIZE);
    assert_str(m->shopper_id, "ann");
    assert_int_equal(m->attempt, 1);
    assert_int_equal(m->amount.minor, TOTAL_MINOR);
    assert_true(str_eq(m->idempotency_key, call->idempotency_key));
    assert_true(str_eq(m->payment_id, call->payment_id));
    assert_false(str_eq(m->payment_id, m->idempotency_key));
    assert_true(str_eq(room->intents[0].id, call->idempotency_key));
    assert_str(room->intents[0].key, ORDER);
    assert_str(call->order_id, ORDER);
    assert_str(call->payment_method, "pm_1");
    assert_null(call->provider_ref.ptr);
    assert_int_equal(call->amount.minor, TOTAL_MINOR);

    struct test_room *again = room_after("A"); /* the same ids, wherever it is decided */
    assert_true(str_eq(room->intents[0].id, again->intents[0].id));
    test_room_close(again);
    test_room_close(room);
}

static void test_each_attempt_is_another(void **state) {
    (void)state;
    struct test_room *room = room_after("A a- S");
    const struct payment_requested *m = &test_room_last(room, MESSAGE_PAYMENT_REQUESTED)->message.payment_requested;
    assert_int_equal(m->attempt, 2);
    assert_int_equal(m->amount.minor, TOTAL_MINOR);
    assert_str(call_of(room, INTENT_PROVIDER_ACTION_AUTHORIZE)->payment_method, "pm_2");
    assert_false(str_eq(room->intents[0].id, room->intents[1].id));
    assert_false(str_eq(room->intents[0].message.intent_call_provider.payment_id, m->payment_id));
    /* An answer to the attempt before is heard no more. */
    struct message late = answer_to(room, INTENT_PROVIDER_ACTION_AUTHORIZE, INTENT_PROVIDER_OUTCOME_SUCCEEDED);
    late.intent_provider_answered.attempt = 1;
    struct seen before = seen_now(room);
    assert_true(test_room_result(room, ORDER, "c", &late));
    assert_string_equal(effects_since(room, before), ".");
    test_room_close(room);
}

/* A try after a definite no is a call of its own; the provider's object and the money stay the same. */
static void test_each_try_has_its_own_key(void **state) {
    (void)state;
    struct test_room *room = room_after("A a+ C c- T");
    assert_int_equal(room->intent_count, 3);
    const struct intent_call_provider *first = &room->intents[1].message.intent_call_provider;
    const struct intent_call_provider *second = &room->intents[2].message.intent_call_provider;
    assert_int_equal(second->action, INTENT_PROVIDER_ACTION_CAPTURE);
    assert_false(str_eq(first->idempotency_key, second->idempotency_key));
    assert_str(second->provider_ref, "pi_1");
    assert_int_equal(second->amount.minor, TOTAL_MINOR);
    assert_null(second->payment_method.ptr);
    test_room_close(room);
}

static void test_delays_grow(void **state) {
    (void)state;
    struct test_room *room = room_after("A a+ C");
    int64_t last_us = 0;
    for (int tries = 0; tries < 4; tries++) {
        assert_true(input(room, "c-"));
        const struct test_timer *timer = test_room_timer(room, ORDER, "retry");
        assert_non_null(timer);
        assert_true(timer->due_us - room->now_us > last_us);
        last_us = timer->due_us - room->now_us;
        room->now_us = timer->due_us - 1;
        assert_int_equal(test_room_fire(room), 0);
        room->now_us++;
        assert_int_equal(test_room_fire(room), 1);
    }
    test_room_close(room);
}

static void test_why_it_was_voided(void **state) {
    (void)state;
    static const char *const scripts[] = {"V", "A a- V", "A V a-", "A V a+ v+", "A a+ V v+", "A a+ V v- T v~"};
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        struct test_room *room = room_after(scripts[i]);
        const struct payment_voided *m = &test_room_last(room, MESSAGE_PAYMENT_VOIDED)->message.payment_voided;
        assert_str(m->reason, "payment-expired");
        assert_int_equal(m->attempt, i == 0 ? 0 : 1);
        assert_true(test_room_closed(room, PAYMENTS_PAYMENT, ORDER));
        test_room_close(room);
    }
}

/* ---- requests for an order that is not known yet */

static void assert_refused(const struct test_record *record, const char *command_id, const char *reason) {
    assert_int_equal(record->message.type, MESSAGE_PAYMENT_COMMAND_REFUSED);
    assert_str(record->command_id, command_id);
    assert_str(record->message.payment_command_refused.reason, reason);
}

static void test_held_until_it_is_known(void **state) {
    (void)state;
    struct test_room *room = test_room_open(&payments_decider);
    assert_true(submit(room, "ann", "hers") && submit(room, "bob", "his"));
    test_room_expect_nothing(room);
    assert_true(authorize(room));
    size_t last = room->log_count - 1;
    test_room_expect(room, MESSAGE_PAYMENT_REQUESTED, MESSAGE_PAYMENT_COMMAND_REFUSED, MESSAGE_PAYMENT_COMMAND_REFUSED);
    assert_refused(room->log[last - 1], "hers", "transition-refused");
    assert_refused(room->log[last], "his", "not-found");
    assert_null(test_room_timer(room, ORDER, "held"));
    assert_true(test_room_closed(room, PAYMENTS_HELD, ORDER));
    assert_int_equal(room->intent_count, 1);
    test_room_close(room);
}

static void test_held_until_it_expires(void **state) {
    (void)state;
    struct test_room *room = test_room_open(&payments_decider);
    assert_true(submit(room, "ann", "first"));
    room->now_us += room->shop.hold_expiry_us / 2;
    assert_true(submit(room, "ann", "second"));
    room->now_us += room->shop.hold_expiry_us / 2;
    assert_int_equal(test_room_fire(room), 1);
    test_room_expect(room, MESSAGE_PAYMENT_COMMAND_REFUSED);
    assert_refused(test_room_last(room, MESSAGE_PAYMENT_COMMAND_REFUSED), "first", "not-found");
    room->now_us += room->shop.hold_expiry_us / 2;
    assert_int_equal(test_room_fire(room), 1);
    test_room_expect(room, MESSAGE_PAYMENT_COMMAND_REFUSED);
    assert_refused(test_room_last(room, MESSAGE_PAYMENT_COMMAND_REFUSED), "second", "not-found");
    assert_null(test_room_timer(room, ORDER, "held"));
    assert_null(payment_of(room));
    test_room_close(room);
}

static void test_held_and_voided(void **state) {
    (void)state;
    struct test_room *room = room_after("S");
    assert_true(void_payment(room));
    test_room_expect(room, MESSAGE_PAYMENT_VOIDED, MESSAGE_PAYMENT_COMMAND_REFUSED);
    assert_null(test_room_timer(room, ORDER, "held"));
    test_room_close(room);
}

static void test_no_more_than_sixteen_are_held(void **state) {
    (void)state;
    struct test_room *room = test_room_open(&payments_decider);
    for (int i = 0; i < 16; i++)
        assert_true(submit(room, "ann", NULL));
    test_room_expect_nothing(room);
    assert_true(submit(room, "ann", "one-too-many"));
    test_room_expect(room, MESSAGE_PAYMENT_COMMAND_REFUSED);
    assert_refused(test_room_last(room, MESSAGE_PAYMENT_COMMAND_REFUSED), "one-too-many", "not-found");
    test_room_close(room);
}

/* A call that is being made, or is over, is not made again. */
static void test_nothing_is_tried_again_that_does_not_wait(void **state) {
    (void)state;
    static const char *const given[] = {"", "A", "A a+", "A a+ C", "A a+ C c- T", "A a+ C c+", "A a+ V v+"};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        struct test_room *room = room_after(given[i]);
        struct seen before = seen_now(room);
        assert_true(test_room_timer_due(room, ORDER, "retry"));
        assert_str(str_from(effects_since(room, before)), ".");
        test_room_close(room);
    }
}

static void test_key_reused(void **state) {
    (void)state;
    struct test_room *room = room_after("A a-");
    struct message message = {.type = MESSAGE_PAYMENT_SUBMIT_PAYMENT,
                              .payment_submit_payment = {STR(ORDER), STR("ann"), STR("pm_3"), STR("other")}};
    test_room_reuse(room, TOPIC_PAYMENT_REQUESTS, ORDER, "again", &message);
    assert_refused(test_room_last(room, MESSAGE_PAYMENT_COMMAND_REFUSED), "again", "idempotency-key-reused");
    assert_int_equal(room->intent_count, 1);
    test_room_close(room);
}

/* ---- webhooks */

/* A hint that says what is known already is not worth a call; any other is looked after. */
static void test_hints(void **state) {
    (void)state;
    static const struct {
        const char *given, *known; /* statuses */
    } cases[] = {
        {"A", ""},
        {"A a?", ""},
        {"A a+", "requires_capture"},
        {"A a-", "requires_payment_method canceled"},
        {"A a+ V v+", "requires_payment_method canceled"},
        {"A a+ C c~", "requires_payment_method canceled"},
        {"A a+ C c+", "succeeded"},
        {"A a+ C c+ R r+", "succeeded"},
    };
    static const char *const statuses[] = {"requires_capture", "requires_payment_method", "canceled", "succeeded",
                                           "processing"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t s = 0; s < sizeof statuses / sizeof *statuses; s++) {
            struct test_room *room = room_after(cases[i].given);
            struct seen before = seen_now(room);
            assert_true(notify_of(room, statuses[s]));
            const char *expected = strstr(cases[i].known, statuses[s]) ? "." : "l";
            if (strcmp(effects_since(room, before), expected) != 0)
                fail_msg("%s, %s: not %s", cases[i].given, statuses[s], expected);
            test_room_close(room);
        }
}

static void test_a_hint_is_looked_after_once(void **state) {
    (void)state;
    struct test_room *room = room_after("A a? N N N");
    const struct intent_call_provider *call = call_of(room, INTENT_PROVIDER_ACTION_LOOK);
    assert_int_equal(room->intent_count, 2);
    assert_str(call->provider_ref, "pi_1");
    assert_false(call->look_up);
    test_room_close(room);
}

/* A late authorisation of an attempt that is over is let go; the one that is live is not touched. */
static void test_another_attempts_money(void **state) {
    (void)state;
    static const char *const given[] = {"A a- S",      "A a- S a?",      "A a- S a+",
                                        "A a- S a+ C", "A a- S a+ C c+", "A a- S V"};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        struct test_room *room = room_after(given[i]);
        struct seen before = seen_now(room);
        struct message late = answer_to(room, INTENT_PROVIDER_ACTION_LOOK, INTENT_PROVIDER_OUTCOME_SUCCEEDED);
        late.intent_provider_answered.payment_id = room->intents[0].message.intent_call_provider.payment_id;
        late.intent_provider_answered.provider_ref = STR("pi_0");
        assert_true(test_room_result(room, ORDER, "c", &late));
        assert_string_equal(effects_since(room, before), "s");
        assert_str(call_of(room, INTENT_PROVIDER_ACTION_VOID)->provider_ref, "pi_0");
        late.intent_provider_answered.outcome = INTENT_PROVIDER_OUTCOME_CAPTURED;
        assert_false(test_room_result(room, ORDER, "c", &late));
        test_room_close(room);
    }
}

/* A call whose outcome was learnt in another way need not be made again; while it is open it must be. */
static void test_a_call_that_is_over(void **state) {
    (void)state;
    static const struct {
        const char *given;
        char action;
        bool over;
    } cases[] = {{"A", 'a', false},        {"A a?", 'a', false},     {"A V", 'a', false},
                 {"A l+", 'a', true},      {"A a? l-", 'a', true},   {"A a+ C", 'c', false},
                 {"A a+ C c+", 'c', true}, {"A a+ V v~", 'v', true}, {"A a+ V", 'v', false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct test_room *room = room_after(cases[i].given);
        room->room.call_over = false;
        assert_true(answer(room, cases[i].action, '?'));
        if (room->room.call_over != cases[i].over)
            fail_msg("%s: %d", cases[i].given, room->room.call_over);
        test_room_close(room);
    }
}

static void test_closed_by_an_operator(void **state) {
    (void)state;
    static const struct {
        const char *given, *then;
        enum intent_provider_action action;
    } cases[] = {{"A a?", "D", INTENT_PROVIDER_ACTION_AUTHORIZE},
                 {"A V", "DV", INTENT_PROVIDER_ACTION_AUTHORIZE},
                 {"A a+ C", "Ft", INTENT_PROVIDER_ACTION_CAPTURE},
                 {"A a? N", ".", INTENT_PROVIDER_ACTION_LOOK},
                 {"A a+ N", ".", INTENT_PROVIDER_ACTION_LOOK},
                 {"A a- l+", ".", INTENT_PROVIDER_ACTION_VOID}}; /* of what is held for nothing */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct test_room *room = room_after(cases[i].given);
        struct seen before = seen_now(room);
        struct message message = answer_to(room, cases[i].action, INTENT_PROVIDER_OUTCOME_FAILED);
        message.intent_provider_answered.provider = PAYMENTS_BY_OPERATOR;
        if (cases[i].action == INTENT_PROVIDER_ACTION_LOOK)
            message.intent_provider_answered.payment_id = payment_of(room)->payment_id;
        assert_true(test_room_result(room, ORDER, "c", &message));
        assert_string_equal(effects_since(room, before), cases[i].then);
        test_room_close(room);
    }
}

/* What is let go is no payment of ours: done, or for people. */
static void test_answers_about_strays(void **state) {
    (void)state;
    static const char handled[] = "+~?_", not_handled[] = "-!$0";
    struct test_room *room = room_after("A a- l+");
    struct message message = answer_to(room, INTENT_PROVIDER_ACTION_VOID, INTENT_PROVIDER_OUTCOME_SUCCEEDED);
    assert_int_equal(message.intent_provider_answered.attempt, PAYMENTS_STRAY_ATTEMPT);
    for (size_t i = 0; i < 4; i++) {
        struct seen before = seen_now(room);
        message.intent_provider_answered.outcome =
            (enum intent_provider_outcome)(strchr(outcomes, handled[i]) - outcomes);
        assert_true(test_room_result(room, ORDER, "c", &message));
        assert_string_equal(effects_since(room, before), ".");
        message.intent_provider_answered.outcome =
            (enum intent_provider_outcome)(strchr(outcomes, not_handled[i]) - outcomes);
        assert_false(test_room_result(room, ORDER, "c", &message));
    }
    test_room_close(room);
}

/* An operator may have what was given up tried again: a call of its own, and the note is gone. */
static void test_given_up_and_tried_again(void **state) {
    (void)state;
    struct test_room *room = room_after("A a+ C c- T c- T c- T c- T c-");
    assert_non_null(test_room_timer(room, ORDER, "given-up"));
    size_t calls = room->intent_count;
    assert_true(test_room_timer_due(room, ORDER, "retry"));
    assert_null(test_room_timer(room, ORDER, "given-up"));
    assert_int_equal(room->intent_count, calls + 1);
    assert_true(input(room, "c-"));
    assert_non_null(test_room_timer(room, ORDER, "given-up"));
    assert_true(test_room_timer_due(room, ORDER, "retry") && input(room, "c+"));
    assert_null(test_room_timer(room, ORDER, "given-up"));
    test_room_close(room);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair),
        cmocka_unit_test(test_the_first_call),
        cmocka_unit_test(test_each_attempt_is_another),
        cmocka_unit_test(test_each_try_has_its_own_key),
        cmocka_unit_test(test_delays_grow),
        cmocka_unit_test(test_why_it_was_voided),
        cmocka_unit_test(test_held_until_it_is_known),
        cmocka_unit_test(test_held_until_it_expires),
        cmocka_unit_test(test_held_and_voided),
        cmocka_unit_test(test_no_more_than_sixteen_are_held),
        cmocka_unit_test(test_nothing_is_tried_again_that_does_not_wait),
        cmocka_unit_test(test_key_reused),
        cmocka_unit_test(test_hints),
        cmocka_unit_test(test_a_hint_is_looked_after_once),
        cmocka_unit_test(test_another_attempts_money),
        cmocka_unit_test(test_a_call_that_is_over),
        cmocka_unit_test(test_closed_by_an_operator),
        cmocka_unit_test(test_answers_about_strays),
        cmocka_unit_test(test_given_up_and_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
