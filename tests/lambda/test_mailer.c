/* What a mail server's replies come to, on a real connection: a server that says what each test tells it to. */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "consumers/mailer.h"

/* The reply to each; NULL: as a server that takes the mail. An empty one: the connection is cut instead. */
struct replies {
    const char *greeting, *hello, *starttls, *login, *from, *recipient, *data, *end;
};

/* As a reply: there is none, and the connection stays. */
static const char hangs[] = "hangs";

struct server {
    int listener;
    uint16_t port;
    const struct replies *replies;
    char heard[4096]; /* all commands, and what a login is made of */
};

/* False: the connection is at its end. */
static bool say(FILE *out, const char *reply, const char *usual) {
    if (reply == hangs)
        return true;
    if (reply && !*reply)
        return false;
    return fprintf(out, "%s\r\n", reply ? reply : usual) > 0 && fflush(out) == 0;
}

/* Reads what the client answers, as often as the mechanism has it. */
static bool login(struct server *server, FILE *in, FILE *out, const char *mechanism) {
    char line[200];
    for (int lines = strncmp(mechanism, "LOGIN", 5) == 0 ? 2 : 1; lines; lines--) {
        if (!say(out, NULL, lines == 2 ? "334 VXNlcm5hbWU6" : "334 ") || !fgets(line, sizeof line, in))
            return false;
        strncat(server->heard, line, sizeof server->heard - strlen(server->heard) - 1);
    }
    return say(out, server->replies->login, "235 ok");
}

static bool obey(struct server *server, FILE *in, FILE *out, const char *command) {
    const struct replies *replies = server->replies;
    if (strncmp(command, "EHLO", 4) == 0)
        return say(out, replies->hello, "250 test");
    if (strncmp(command, "STARTTLS", 8) == 0)
        return say(out, replies->starttls, "502 no");
    if (strncmp(command, "AUTH ", 5) == 0)
        return login(server, in, out, command + 5);
    if (strncmp(command, "MAIL", 4) == 0)
        return say(out, replies->from, "250 ok");
    if (strncmp(command, "RCPT", 4) == 0)
        return say(out, replies->recipient, "250 ok");
    if (strncmp(command, "DATA", 4) == 0)
        return say(out, replies->data, "354 go on");
    return say(out, NULL, strncmp(command, "QUIT", 4) == 0 ? "221 bye" : "250 test");
}

static void talk(struct server *server, FILE *in, FILE *out) {
    char line[2000];
    bool data = false, on = say(out, server->replies->greeting, "220 test");
    while (on && fgets(line, sizeof line, in)) {
        if (data && strcmp(line, ".\r\n") != 0)
            continue;
        if (!data)
            strncat(server->heard, line, sizeof server->heard - strlen(server->heard) - 1);
        on = data ? say(out, server->replies->end, "250 taken") : obey(server, in, out, line);
        data = !data && strncmp(line, "DATA", 4) == 0 && !server->replies->data;
    }
}

static void *serve_one(void *user) {
    struct server *server = user;
    int fd = accept(server->listener, NULL, NULL);
    FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");
    talk(server, in, out);
    fclose(out);
    shutdown(fd, SHUT_RDWR);
    fclose(in);
    return NULL;
}

/* A mail on its way to a server of its own. */
struct sending {
    struct server server;
    struct mailer *mailer;
    pthread_t serves, sends;
    enum mail_outcome outcome;
    struct err err;
};

static void *send_one(void *user) {
    struct sending *sending = user;
    const struct mail mail = {.to = STR("ada@example.org"),
                              .id = STR("o1/order-confirmed/e1"),
                              .subject = STR("s"),
                              .text = STR("text\n"),
                              .html = STR("<p>text</p>"),
                              .date_us = 1};
    sending->outcome = mailer_send(sending->mailer, &mail, &sending->err);
    return NULL;
}

static void sending_begin(struct sending *sending, const char *scheme, const struct replies *replies) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    char url[64];
    *sending = (struct sending){.server = {.listener = socket(AF_INET, SOCK_STREAM, 0), .replies = replies}};
    assert_int_equal(bind(sending->server.listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(sending->server.listener, 1), 0);
    assert_int_equal(getsockname(sending->server.listener, (struct sockaddr *)&address, &len), 0);
    snprintf(url, sizeof url, "%s127.0.0.1:%d", scheme, ntohs(address.sin_port));
    assert_true(mailer_open(url, NULL, STR("shop@shop.example"), STR("Shop"), &sending->mailer, &sending->err));
    assert_int_equal(pthread_create(&sending->serves, NULL, serve_one, &sending->server), 0);
    assert_int_equal(pthread_create(&sending->sends, NULL, send_one, sending), 0);
}

static enum mail_outcome sending_end(struct sending *sending) {
    pthread_join(sending->sends, NULL);
    pthread_join(sending->serves, NULL);
    mailer_close(sending->mailer);
    close(sending->server.listener);
    assert_null(strstr(sending->err.detail, "ada@"));
    assert_null(strstr(sending->err.detail, "p@ss"));
    return sending->outcome;
}

static enum mail_outcome outcome_of(const struct replies *replies) {
    struct sending sending;
    sending_begin(&sending, "smtp+plain://", replies);
    return sending_end(&sending);
}

static void a_mail_is_taken(void **state) {
    (void)state;
    assert_int_equal(outcome_of(&(struct replies){0}), MAIL_SENT);
}

static void refused_for_good_is_what_concerns_this_mail(void **state) {
    (void)state;
    assert_int_equal(outcome_of(&(struct replies){.recipient = "550 no such mailbox"}), MAIL_REFUSED);
    assert_int_equal(outcome_of(&(struct replies){.data = "554 no"}), MAIL_REFUSED);
    assert_int_equal(outcome_of(&(struct replies){.end = "554 looks like spam"}), MAIL_REFUSED);
}

static void what_is_ours_to_mend_or_passes_is_tried_again(void **state) {
    (void)state;
    assert_int_equal(outcome_of(&(struct replies){.greeting = "554 your address is blocked"}), MAIL_AGAIN);
    assert_int_equal(outcome_of(&(struct replies){.from = "550 this sender is not allowed"}), MAIL_AGAIN);
    assert_int_equal(outcome_of(&(struct replies){.recipient = "450 later"}), MAIL_AGAIN);
    assert_int_equal(outcome_of(&(struct replies){.recipient = "552 the mailbox is full"}), MAIL_AGAIN);
    assert_int_equal(outcome_of(&(struct replies){.end = "451 later"}), MAIL_AGAIN);
    assert_int_equal(outcome_of(&(struct replies){.from = ""}), MAIL_AGAIN);
}

static void handed_over_without_an_answer_is_unknown(void **state) {
    (void)state;
    assert_int_equal(outcome_of(&(struct replies){.end = ""}), MAIL_UNKNOWN);
}

static void logs_in_as_the_server_wants_it(void **state) {
    (void)state;
    static const struct {
        const char *hello, *heard;
    } cases[] = {
        {"250-test\r\n250 AUTH PLAIN", "\r\nAUTH PLAIN\r\nAHNob3AAcEBzcw==\r\nMAIL FROM:<shop@"},
        {"250-test\r\n250 AUTH LOGIN", "\r\nAUTH LOGIN\r\nc2hvcA==\r\ncEBzcw==\r\nMAIL FROM:<shop@"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sending sending;
        sending_begin(&sending, "smtp+plain://shop:p%40ss@", &(struct replies){.hello = cases[i].hello});
        assert_int_equal(sending_end(&sending), MAIL_SENT);
        assert_non_null(strstr(sending.server.heard, cases[i].heard));
    }
}

static void a_login_that_is_refused_is_ours_to_mend(void **state) {
    (void)state;
    struct sending sending;
    sending_begin(&sending, "smtp+plain://shop:p%40ss@",
                  &(struct replies){.hello = "250-test\r\n250 AUTH PLAIN", .login = "535 wrong password"});
    assert_int_equal(sending_end(&sending), MAIL_AGAIN);
    assert_null(strstr(sending.server.heard, "MAIL"));
}

/* What stands between us and the server may take its offer of TLS away: then nothing is told. */
static void without_tls_no_password_and_no_mail_is_sent(void **state) {
    (void)state;
    static const struct replies cases[] = {
        {.hello = "250-test\r\n250 AUTH PLAIN LOGIN"},
        {.hello = "250-test\r\n250-STARTTLS\r\n250 AUTH PLAIN", .starttls = "454 not now"},
        {.hello = "250-test\r\n250-STARTTLS\r\n250 AUTH PLAIN", .starttls = "220 go on\r\n250 but without TLS"},
        {.hello = "250-test\r\n250-STARTTLS\r\n250 AUTH PLAIN", .starttls = ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sending sending;
        sending_begin(&sending, "smtp://shop:p%40ss@", &cases[i]);
        assert_int_equal(sending_end(&sending), MAIL_AGAIN);
        assert_null(strstr(sending.server.heard, "AUTH"));
        assert_null(strstr(sending.server.heard, "MAIL"));
    }
}

static void a_server_that_hangs_is_given_up(void **state) {
    (void)state;
    static const struct {
        struct replies replies;
        enum mail_outcome outcome;
    } cases[] = {
        {{.greeting = hangs}, MAIL_AGAIN},
        {{.recipient = hangs}, MAIL_AGAIN},
        {{.end = hangs}, MAIL_UNKNOWN},
    };
    enum { CASES = sizeof cases / sizeof cases[0] };
    struct sending sendings[CASES]; /* at once: each takes its time */
    for (size_t i = 0; i < CASES; i++)
        sending_begin(&sendings[i], "smtp+plain://", &cases[i].replies);
    for (size_t i = 0; i < CASES; i++) {
        assert_int_equal(sending_end(&sendings[i]), cases[i].outcome);
        assert_int_equal(sendings[i].err.kind, ERR_TIMEOUT);
    }
}

static void wrong_settings_are_told_without_the_password(void **state) {
    (void)state;
    static const char *const urls[] = {"smtp://shop:p@ss@host:x", "smpt://shop:p@ss@host", "smtp://shop@host"};
    struct mailer *mailer;
    struct err err = {0};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        assert_false(mailer_open(urls[i], NULL, STR("shop@shop.example"), STR("Shop"), &mailer, &err));
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_null(strstr(err.detail, "p@ss"));
    }
    assert_false(mailer_open("smtp://host", "/nowhere", STR("shop@shop.example"), STR("Shop"), &mailer, &err));
    assert_non_null(strstr(err.detail, "ORDERLOG_MAIL_CA: cannot read /nowhere"));
}

int main(void) {
    signal(SIGPIPE, SIG_IGN); /* a client that gives up closes its end */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mail_is_taken),
        cmocka_unit_test(refused_for_good_is_what_concerns_this_mail),
        cmocka_unit_test(what_is_ours_to_mend_or_passes_is_tried_again),
        cmocka_unit_test(handed_over_without_an_answer_is_unknown),
        cmocka_unit_test(logs_in_as_the_server_wants_it),
        cmocka_unit_test(a_login_that_is_refused_is_ours_to_mend),
        cmocka_unit_test(without_tls_no_password_and_no_mail_is_sent),
        cmocka_unit_test(a_server_that_hangs_is_given_up),
        cmocka_unit_test(wrong_settings_are_told_without_the_password),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
