/* What a mail server's replies come to, on a real connection: a server that says what each test tells it to. */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
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
    const char *greeting, *from, *recipient, *data, *end;
};

struct server {
    int listener;
    uint16_t port;
    const struct replies *replies;
};

/* False: the connection is at its end. */
static bool say(FILE *out, const char *reply, const char *usual) {
    if (reply && !*reply)
        return false;
    return fprintf(out, "%s\r\n", reply ? reply : usual) > 0 && fflush(out) == 0;
}

static void talk(FILE *in, FILE *out, const struct replies *replies) {
    char line[2000];
    bool data = false, on = say(out, replies->greeting, "220 test");
    while (on && fgets(line, sizeof line, in)) {
        if (data && strcmp(line, ".\r\n") != 0)
            continue;
        if (data)
            on = say(out, replies->end, "250 taken");
        else if (strncmp(line, "MAIL", 4) == 0)
            on = say(out, replies->from, "250 ok");
        else if (strncmp(line, "RCPT", 4) == 0)
            on = say(out, replies->recipient, "250 ok");
        else if (strncmp(line, "DATA", 4) == 0)
            on = say(out, replies->data, "354 go on");
        else
            on = say(out, NULL, strncmp(line, "QUIT", 4) == 0 ? "221 bye" : "250 test");
        data = !data && strncmp(line, "DATA", 4) == 0 && !replies->data;
    }
}

static void *serve_one(void *user) {
    struct server *server = user;
    int fd = accept(server->listener, NULL, NULL);
    FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");
    talk(in, out, server->replies);
    fclose(out);
    shutdown(fd, SHUT_RDWR);
    fclose(in);
    return NULL;
}

static enum mail_outcome outcome_of(const struct replies *replies) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    struct server server = {.listener = socket(AF_INET, SOCK_STREAM, 0), .replies = replies};
    assert_int_equal(bind(server.listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server.listener, 1), 0);
    assert_int_equal(getsockname(server.listener, (struct sockaddr *)&address, &len), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, serve_one, &server), 0);

    char url[64];
    snprintf(url, sizeof url, "smtp+plain://127.0.0.1:%d", ntohs(address.sin_port));
    struct mailer *mailer;
    struct err err = {0};
    assert_true(mailer_open(url, STR("shop@shop.example"), STR("Shop"), &mailer, &err));
    const struct mail mail = {.to = STR("ada@example.org"),
                              .id = STR("o1/order-confirmed/e1"),
                              .subject = STR("s"),
                              .text = STR("text\n"),
                              .html = STR("<p>text</p>"),
                              .date_us = 1};
    enum mail_outcome outcome = mailer_send(mailer, &mail, &err);
    if (outcome != MAIL_SENT)
        assert_null(strstr(err.detail, "ada@"));
    mailer_close(mailer);
    pthread_join(thread, NULL);
    close(server.listener);
    return outcome;
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mail_is_taken),
        cmocka_unit_test(refused_for_good_is_what_concerns_this_mail),
        cmocka_unit_test(what_is_ours_to_mend_or_passes_is_tried_again),
        cmocka_unit_test(handed_over_without_an_answer_is_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
