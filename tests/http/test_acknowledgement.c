/* Acknowledged means durable: what a client is told when the log answers, late, never, or that it could not. */
#include "call.h"
#include "raw.h"
#include "stub_log.h"

#include "core/log/sqlite.h"

#include <sched.h>
#include <stdatomic.h>

struct fixture {
    struct server *s;
    struct stub_log *stub;
    const char *cart_id;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    f->s = server_new();
    f->stub = stub_new(f->s->log);
    f->stub->at_once = true;
    f->s->config.in_flight_max = 2;
    MUST(api_start(&f->s->config, &f->stub->base, &f->s->api, err));
    server_login(f->s);
    struct reply reply = ask(f->s, "POST", "/v1/carts", f->s->shopper, "setup", NULL);
    expect_status(reply, 201);
    f->cart_id = format(f->s, "%s", reply_text(reply, "cart_id"));
    f->stub->at_once = false;
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    api_stop(f->s->api);
    f->s->api = NULL;
    stub_free(f->stub);
    server_free(f->s);
    free(f);
    return 0;
}

static void restart(struct fixture *f, int64_t ack_timeout_ms) {
    api_stop(f->s->api);
    f->s->config.ack_timeout_ms = ack_timeout_ms;
    MUST(api_start(&f->s->config, &f->stub->base, &f->s->api, err));
}

static struct reply give_up_on(struct fixture *f, struct call *call, enum log_outcome outcome) {
    stub_deliver(f->stub, outcome);
    return call_end(call);
}

static void nothing_is_answered_before_the_log_has(void **state) {
    struct fixture *f = *state;
    struct call *call = call_start(f->s, "/v1/carts", "k", NULL);
    stub_await(f->stub, 1);
    /* Other requests are served meanwhile. */
    for (int i = 0; i < 20; i++) {
        struct reply reply = ask(f->s, "GET", "/livez", NULL, NULL, NULL);
        expect_status(reply, 200);
    }
    assert_false(atomic_load(&call->answered));
    struct reply reply = give_up_on(f, call, LOG_PERSISTED);
    expect_status(reply, 201);
}

/* The connection must be suspended by then, or its resumption is lost. */
static void the_log_may_answer_before_the_append_returns(void **state) {
    struct fixture *f = *state;
    f->stub->at_once = true;
    f->stub->return_late_ms = 50;
    for (int i = 0; i < 3; i++) {
        struct reply reply = ask(f->s, "POST", "/v1/carts", f->s->shopper, "k", NULL);
        expect_status(reply, 201);
    }
}

static void what_was_not_kept_is_said_to_be(void **state) {
    struct fixture *f = *state;
    struct call *call = call_start(f->s, "/v1/carts", "k", NULL);
    stub_await(f->stub, 1);
    struct reply reply = give_up_on(f, call, LOG_NOT_PERSISTED);
    expect_problem(f->s, reply, 503, "log-unavailable", NULL);
    assert_string_equal(reply_header(f->s, reply, "Retry-After"), "2");
    assert_null(strstr(reply.body.ptr, "the stub says so"));
}

static void what_is_not_known_is_said_to_be(void **state) {
    struct fixture *f = *state;
    const char *body = format(f->s, CHECKOUT_BODY("%s"), f->cart_id);
    struct call *call = call_start(f->s, "/v1/checkouts", "buy", body);
    stub_await(f->stub, 1);
    stub_deliver(f->stub, LOG_PERSISTED);
    stub_await(f->stub, 2);
    struct reply unknown = give_up_on(f, call, LOG_OUTCOME_UNKNOWN);
    expect_problem(f->s, unknown, 503, "outcome-unknown", NULL);
    assert_string_equal(reply_header(f->s, unknown, "Retry-After"), "1");
    f->stub->at_once = true;
    struct reply again = ask(f->s, "POST", "/v1/checkouts", f->s->shopper, "buy", body);
    expect_status(again, 202);
    assert_string_equal(reply_text(unknown, "order_id"), reply_text(again, "order_id"));
    assert_string_equal(reply_header(f->s, unknown, "Orderlog-Command"), reply_header(f->s, again, "Orderlog-Command"));
}

static void personal_details_are_kept_first(void **state) {
    struct fixture *f = *state;
    const char *body = format(f->s, CHECKOUT_BODY("%s"), f->cart_id);
    struct call *call = call_start(f->s, "/v1/checkouts", "buy", body);
    stub_await(f->stub, 1);
    assert_string_equal(stub_topic(f->stub, 0), TOPIC_PERSONAL);
    assert_int_equal(stub_held(f->stub), 1);
    stub_deliver(f->stub, LOG_PERSISTED);
    stub_await(f->stub, 2);
    assert_string_equal(stub_topic(f->stub, 1), TOPIC_CART_EVENTS);
    assert_false(atomic_load(&call->answered));
    struct reply reply = give_up_on(f, call, LOG_PERSISTED);
    expect_status(reply, 202);

    call = call_start(f->s, "/v1/checkouts", "buy2", body);
    stub_await(f->stub, 3);
    reply = give_up_on(f, call, LOG_NOT_PERSISTED);
    expect_problem(f->s, reply, 503, "log-unavailable", NULL);
    assert_int_equal(f->stub->count, 3); /* no CheckoutRequested without the details */
}

/* The log's word comes after the client's: nothing is made of it any more. */
static void a_write_has_a_deadline(void **state) {
    struct fixture *f = *state;
    restart(f, 250);
    struct call *call = call_start(f->s, "/v1/carts", "late", NULL);
    stub_await(f->stub, 1);
    struct reply reply = call_end(call);
    expect_problem(f->s, reply, 503, "outcome-unknown", NULL);
    f->stub->at_once = true;
    struct reply again = ask(f->s, "POST", "/v1/carts", f->s->shopper, "late", NULL);
    expect_status(again, 201);
    assert_string_equal(reply_text(reply, "cart_id"), reply_text(again, "cart_id"));
    stub_deliver(f->stub, LOG_PERSISTED);
}

static void refusals_by_the_log_have_their_own_names(void **state) {
    struct fixture *f = *state;
    const struct {
        enum err_kind kind;
        long status;
        const char *slug;
    } cases[] = {
        {ERR_OVERLOADED, 503, "overloaded"},
        {ERR_LOG_UNAVAILABLE, 503, "log-unavailable"},
        {ERR_NOT_FOUND, 500, "internal"},
        {ERR_TOO_LARGE, 500, "internal"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        err_set(&f->stub->refusal, cases[i].kind, "the stub says so");
        struct reply reply = ask(f->s, "POST", "/v1/carts", f->s->shopper, "k", NULL);
        expect_problem(f->s, reply, cases[i].status, cases[i].slug, NULL);
        assert_int_equal(strlen(reply_header(f->s, reply, "Retry-After")), cases[i].status == 503);
        assert_null(strstr(reply.body.ptr, "the stub says so"));
    }
}

static void only_so_many_may_wait(void **state) {
    struct fixture *f = *state;
    struct call *calls[] = {call_start(f->s, "/v1/carts", "1", NULL), call_start(f->s, "/v1/carts", "2", NULL)};
    stub_await(f->stub, 2);
    struct reply reply = ask(f->s, "POST", "/v1/carts", f->s->shopper, "3", NULL);
    expect_problem(f->s, reply, 503, "overloaded", NULL);
    assert_string_equal(reply_header(f->s, reply, "Retry-After"), "1");
    for (size_t i = 0; i < 2; i++)
        stub_deliver(f->stub, LOG_PERSISTED);
    for (size_t i = 0; i < 2; i++) {
        reply = call_end(calls[i]);
        expect_status(reply, 201);
    }
    f->stub->at_once = true;
    reply = ask(f->s, "POST", "/v1/carts", f->s->shopper, "3", NULL);
    expect_status(reply, 201);
}

static void a_log_that_fails_makes_it_unready(void **state) {
    struct fixture *f = *state;
    const char *const paths[] = {"/readyz", "/readyz?verbose=json"};
    err_set(&f->stub->refusal, ERR_LOG_UNAVAILABLE, "the stub says so");
    for (int failing = 0; failing < 3; failing++) {
        f->stub->refusal.kind = failing == 1 ? ERR_LOG_UNAVAILABLE : ERR_NONE;
        f->stub->at_once = true;
        struct reply reply = ask(f->s, "POST", "/v1/carts", f->s->shopper, "k", NULL);
        expect_status(reply, failing == 1 ? 503 : 201);
        for (size_t i = 0; i < 2; i++) {
            reply = ask(f->s, "GET", paths[i], NULL, NULL, NULL);
            expect_status(reply, failing == 1 ? 503 : 200);
            if (i == 1)
                assert_string_equal(reply_text(reply, "status"), failing == 1 ? "unready" : "ready");
        }
    }
}

static void a_client_may_leave_while_the_log_works(void **state) {
    struct fixture *f = *state;
    int fd = raw_connect(f->s);
    raw_send(fd, str_from(format(f->s,
                                 "POST /v1/carts HTTP/1.1\r\nHost: x\r\n%s\r\nIdempotency-Key: k\r\n"
                                 "Content-Length: 0\r\n\r\n",
                                 f->s->shopper)));
    stub_await(f->stub, 1);
    close(fd);
    stub_deliver(f->stub, LOG_PERSISTED);
    struct reply reply = ask(f->s, "GET", "/livez", NULL, NULL, NULL);
    expect_status(reply, 200);
}

static void *stop_run(void *user) {
    api_stop(user);
    return NULL;
}

/* Each client that waits gets an answer before the server is gone. */
static void a_stop_answers_those_who_wait(void **state) {
    struct fixture *f = *state;
    restart(f, 400);
    struct call *calls[] = {call_start(f->s, "/v1/carts", "1", NULL), call_start(f->s, "/v1/carts", "2", NULL)};
    stub_await(f->stub, 2);
    pthread_t stopper;
    assert_int_equal(pthread_create(&stopper, NULL, stop_run, f->s->api), 0);
    stub_deliver(f->stub, LOG_PERSISTED);
    struct reply replies[] = {call_end(calls[0]), call_end(calls[1])};
    pthread_join(stopper, NULL);
    f->s->api = NULL;
    bool first = replies[0].status == 201;
    expect_status(replies[!first], 201);
    expect_problem(f->s, replies[first], 503, "outcome-unknown", NULL);
    assert_int_equal(stub_held(f->stub), 0);
}

/* Connections that were open before may ask on, but not write. */
static void a_stopping_server_takes_no_writes(void **state) {
    struct fixture *f = *state;
    restart(f, 5000);
    struct call *call = call_start(f->s, "/v1/carts", "1", NULL);
    stub_await(f->stub, 1);
    const char *probe = "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n";
    int prober = raw_connect(f->s), writer = raw_connect(f->s);
    raw_send(writer, str_from(probe));
    assert_int_equal(raw_status(raw_receive(f->s, writer, "ready\n")), 200);
    pthread_t stopper;
    assert_int_equal(pthread_create(&stopper, NULL, stop_run, f->s->api), 0);
    do
        raw_send(prober, str_from(probe));
    while (raw_status(raw_receive(f->s, prober, "ready\n")) == 200);
    raw_send(writer, str_from(format(f->s,
                                     "POST /v1/carts HTTP/1.1\r\nHost: x\r\n%s\r\nIdempotency-Key: k\r\n"
                                     "Content-Length: 0\r\n\r\n",
                                     f->s->shopper)));
    struct str answer = raw_receive(f->s, writer, NULL);
    assert_int_equal(raw_status(answer), 503);
    assert_non_null(strstr(answer.ptr, "/problems/log-unavailable"));
    assert_int_equal(f->stub->count, 1);
    close(prober), close(writer);
    expect_status(give_up_on(f, call, LOG_PERSISTED), 201);
    pthread_join(stopper, NULL);
    f->s->api = NULL;
}

/* ---- many at once ---- */

enum { CROWD = 8, CROWD_EACH = 60 };

struct crowd {
    struct fixture *f;
    int number;
    long statuses[CROWD_EACH];
};

static void *crowd_run(void *user) {
    struct crowd *crowd = user;
    for (int i = 0; i < CROWD_EACH; i++) {
        struct call call = {.s = crowd->f->s};
        char key[32];
        snprintf(key, sizeof key, "%d-%d", crowd->number, i);
        call.ask = (struct ask){.path = "/v1/carts", .token = call.s->shopper, .key = key};
        arena_init(&call.arena);
        call_run(&call);
        crowd->statuses[i] = call.reply.status;
        arena_free(&call.arena);
    }
    return NULL;
}

struct deliverer {
    struct stub_log *stub;
    atomic_bool stop;
};

static void *deliver_run(void *user) {
    struct deliverer *deliverer = user;
    for (unsigned i = 0; !atomic_load(&deliverer->stop) || stub_held(deliverer->stub);) {
        if (stub_held(deliverer->stub))
            stub_deliver(deliverer->stub, (enum log_outcome)(i++ % 3));
        else
            sched_yield();
    }
    return NULL;
}

static void a_crowd_gets_what_the_log_said(void **state) {
    struct fixture *f = *state;
    f->s->config.in_flight_max = CROWD;
    restart(f, 10000);
    struct deliverer deliverer = {.stub = f->stub};
    struct crowd crowds[CROWD] = {0};
    pthread_t threads[CROWD], delivering;
    assert_int_equal(pthread_create(&delivering, NULL, deliver_run, &deliverer), 0);
    for (int i = 0; i < CROWD; i++) {
        crowds[i] = (struct crowd){.f = f, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_run, &crowds[i]), 0);
    }
    size_t created = 0, failed = 0;
    for (int i = 0; i < CROWD; i++) {
        pthread_join(threads[i], NULL);
        for (int j = 0; j < CROWD_EACH; j++) {
            created += crowds[i].statuses[j] == 201;
            failed += crowds[i].statuses[j] == 503;
        }
    }
    atomic_store(&deliverer.stop, true);
    pthread_join(delivering, NULL);
    assert_int_equal(created, CROWD * CROWD_EACH / 3);
    assert_int_equal(failed, CROWD * CROWD_EACH * 2 / 3);
}

/* ---- the embedded log itself ---- */

static void on_a_full_disk_nothing_is_acknowledged(void **state) {
    struct fixture *f = *state;
    struct server *s = f->s;
    api_stop(s->api);
    MUST(api_start(&s->config, s->log, &s->api, err));
    int64_t before = unseen(s, TOPIC_CART_EVENTS), acknowledged = 0;
    log_sqlite_limit_pages(s->log, 1);
    struct reply reply = {0};
    /* What is there already may still take some. */
    for (int i = 0; i < 100000; i++) {
        reply = ask(s, "POST", "/v1/carts", s->shopper, format(s, "full-%d", i), NULL);
        if (reply.status != 201)
            break;
        acknowledged++;
    }
    expect_problem(s, reply, 503, "log-unavailable", NULL);
    assert_int_equal(unseen(s, TOPIC_CART_EVENTS) - before, acknowledged);
    log_sqlite_limit_pages(s->log, 0);
    reply = ask(s, "POST", "/v1/carts", s->shopper, "empty", NULL);
    expect_status(reply, 201);
    assert_int_equal(unseen(s, TOPIC_CART_EVENTS) - before, acknowledged + 1);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_answered_before_the_log_has),
        TEST(the_log_may_answer_before_the_append_returns),
        TEST(what_was_not_kept_is_said_to_be),
        TEST(what_is_not_known_is_said_to_be),
        TEST(personal_details_are_kept_first),
        TEST(a_write_has_a_deadline),
        TEST(refusals_by_the_log_have_their_own_names),
        TEST(only_so_many_may_wait),
        TEST(a_log_that_fails_makes_it_unready),
        TEST(a_client_may_leave_while_the_log_works),
        TEST(a_stop_answers_those_who_wait),
        TEST(a_stopping_server_takes_no_writes),
        TEST(a_crowd_gets_what_the_log_said),
        TEST(on_a_full_disk_nothing_is_acknowledged),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
