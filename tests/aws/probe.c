/* What core/aws says, asked by tests/aws/test_credentials.py: reads a command a line, answers a line of JSON each.
 *   get        the credentials, or the error
 *   together N N threads get them at once: how many of each id they got
 *   region     the region
 *   token      an MSK token by them */
#include "core/aws/credentials.h"
#include "core/aws/msk_token.h"
#include "core/base/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS_MAX = 64 };

static struct aws_chain *chain;

static void add_member(struct buf *line, const char *name, const char *text) {
    buf_printf(line, "%s\"%s\":", line->len > 1 ? "," : "", name);
    if (text)
        buf_add_json_string(line, str_from(text));
    else
        buf_printf(line, "null");
}

static void say_get(struct buf *line) {
    AWS_CREDENTIALS_AUTO got = {0};
    struct err err = {0};
    if (!aws_chain_get(chain, &got, &err)) {
        add_member(line, "error", err.detail);
        add_member(line, "kind", err_slug(err.kind));
        return;
    }
    add_member(line, "id", got.access_key_id);
    add_member(line, "secret", got.secret_access_key);
    add_member(line, "token", got.session_token);
    add_member(line, "source", got.source);
    buf_printf(line, ",\"expires_us\":%lld", (long long)got.expires_us);
}

static void *get_once(void *user) {
    struct aws_credentials *ret = user;
    struct err ignored;
    if (!aws_chain_get(chain, ret, &ignored))
        *ret = (struct aws_credentials){0};
    return NULL;
}

static void say_together(int count, struct buf *line) {
    struct aws_credentials got[THREADS_MAX] = {0};
    pthread_t threads[THREADS_MAX];
    count = count > THREADS_MAX ? THREADS_MAX : count;
    for (int i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, get_once, &got[i]) != 0)
            abort();
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    buf_printf(line, "\"ids\":[");
    for (int i = 0; i < count; i++) {
        buf_printf(line, "%s\"%s\"", i ? "," : "", got[i].access_key_id ? got[i].access_key_id : "");
        aws_credentials_free(&got[i]);
    }
    buf_add_char(line, ']');
}

static void say_token(struct buf *line) {
    AWS_CREDENTIALS_AUTO got = {0};
    BUF_AUTO token = {0};
    struct err err = {0};
    int64_t expires_ms = 0;
    if (!aws_chain_get(chain, &got, &err)) {
        add_member(line, "error", err.detail);
        return;
    }
    struct sigv4_keys keys = aws_credentials_keys(&got);
    msk_token_make(str_from(aws_chain_region(chain)), &keys, clock_now_us(), &token, &expires_ms);
    add_member(line, "token", token.ptr);
}

int main(void) {
    char *command = NULL;
    size_t size = 0;
    chain = aws_chain_open();
    while (getline(&command, &size, stdin) > 0) {
        BUF_AUTO line = {0};
        buf_add_char(&line, '{');
        if (strncmp(command, "together ", 9) == 0)
            say_together(atoi(command + 9), &line);
        else if (strcmp(command, "region\n") == 0)
            add_member(&line, "region", aws_chain_region(chain));
        else if (strcmp(command, "token\n") == 0)
            say_token(&line);
        else
            say_get(&line);
        buf_add_char(&line, '}');
        puts(line.ptr);
        fflush(stdout);
    }
    free(command);
    aws_chain_close(chain);
    return 0;
}
