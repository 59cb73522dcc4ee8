/* A request on a thread and a connection of its own, so that a test can look on while it waits. */
#ifndef ORDERLOG_TESTS_HTTP_CALL_H
#define ORDERLOG_TESTS_HTTP_CALL_H

#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>

struct call {
    struct server *s;
    struct ask ask;
    pthread_t thread;
    struct reply reply;
    struct arena arena;
    atomic_bool answered;
};

static inline size_t call_keep(char *bytes, size_t size, size_t count, void *user) {
    buf_add(user, bytes, size * count);
    return size * count;
}

/* No assertions here: they may only fail on the main thread. */
static inline void *call_run(void *user) {
    struct call *call = user;
    CURL *curl = curl_easy_init();
    BUF_AUTO body = {0};
    BUF_AUTO head = {0};
    BUF_AUTO text = {0};
    struct curl_slist *headers = curl_slist_append(NULL, call->ask.token);
    if (call->ask.key) {
        buf_printf(&text, "Idempotency-Key: %s", call->ask.key);
        headers = curl_slist_append(headers, text.ptr);
        headers = curl_slist_append(headers, "Content-Type: application/json");
    }
    for (size_t i = 0; i < 4 && call->ask.headers[i]; i++)
        headers = curl_slist_append(headers, call->ask.headers[i]);
    buf_reset(&text);
    buf_printf(&text, "http://127.0.0.1:%d%s", api_port(call->s->api), call->ask.path);
    curl_easy_setopt(curl, CURLOPT_URL, text.ptr);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    if (call->ask.method)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->ask.method);
    if (call->ask.key)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->ask.body ? call->ask.body : "");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, call_keep);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, call_keep);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &head);
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &call->reply.status);
    call->reply.headers = arena_dup(&call->arena, buf_str(&head));
    call->reply.body = arena_dup(&call->arena, buf_str(&body));
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    atomic_store(&call->answered, true);
    return NULL;
}

/* Any request with a token; a write has a key. */
static inline struct call *call_start_ask(struct server *s, struct ask ask) {
    struct call *call = calloc(1, sizeof *call);
    call->s = s;
    call->ask = ask;
    arena_init(&call->arena);
    assert_int_equal(pthread_create(&call->thread, NULL, call_run, call), 0);
    return call;
}

static inline struct call *call_start(struct server *s, const char *path, const char *key, const char *body) {
    return call_start_ask(s, (struct ask){.path = path, .token = s->shopper, .key = key, .body = body});
}

/* The reply's texts live as long as the server. */
static inline struct reply call_end(struct call *call) {
    pthread_join(call->thread, NULL);
    struct reply reply = call->reply;
    reply.headers = arena_dup(&call->s->arena, reply.headers);
    reply.body = arena_dup(&call->s->arena, reply.body);
    reply_parse(call->s, &reply);
    arena_free(&call->arena);
    free(call);
    return reply;
}

#endif
