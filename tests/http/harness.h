/* The API in this process on the embedded log, and a client that asks it and then looks at what was appended. */
#ifndef ORDERLOG_TESTS_HTTP_HARNESS_H
#define ORDERLOG_TESTS_HTTP_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <curl/curl.h>
#include <dirent.h>
#include <jansson.h>
#include <unistd.h>

#include "api/server.h"
#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/codec/avro.h"
#include "core/log/append.h"
#include "core/log/envelope.h"
#include "producers/topics.h"

#define MUST(expression)                                                                                               \
    do {                                                                                                               \
        struct err must_err_ = {0};                                                                                    \
        struct err *err = &must_err_;                                                                                  \
        if (!(expression))                                                                                             \
            fail_msg("%s: %s", #expression, must_err_.detail);                                                         \
    } while (0)

#define SECRET(letter) ((struct secret_pair){.current = STR(letter letter letter letter letter letter letter letter)})
#define OPERATOR "Authorization: Bearer 0123456789abcdef-ann"
#define OPERATOR_TOKENS "# who may\nann:0123456789abcdef-ann\n\nbob:0123456789abcdef-bob\n"

enum { PATIENCE_MS = 60000, PARTITIONS = 4 };

struct server {
    char folder[4096];
    struct log *log;
    struct api *api;
    struct locations locations;
    struct api_config config;
    struct arena arena; /* of what a test keeps */
    json_t *replies;    /* what was answered, kept to the end */
    CURL *curl;         /* one connection, kept */
    char shopper[512];  /* "Authorization: Bearer …" */
    char shopper_id[37];
    int64_t seen[SCHEMA_SUBJECT_COUNT][PARTITIONS]; /* offsets looked at, by topic */
};

/* ---- starting and stopping ---- */

static inline struct api_config server_config(struct server *s) {
    MUST(locations_parse("main:0,north:3", &s->locations, err));
    return (struct api_config){.listen = "127.0.0.1:0",
                               .session_secrets = SECRET("s3ss"),
                               .id_secrets = SECRET("1d1d"),
                               .personal_secrets = SECRET("p3rs"),
                               .operator_tokens = OPERATOR_TOKENS,
                               .shop = shop_defaults(),
                               .rate_shopper = -1,
                               .rate_address = -1,
                               .rate_operator = -1,
                               .shed_lag_records = -1,
                               .shed_lag_s = -1,
                               .locations = &s->locations};
}

static inline void server_open_log(struct server *s) {
    const char *parent = getenv("TMPDIR");
    char template[4000], url[5000];
    snprintf(template, sizeof template, "%s/http-test-XXXXXX", parent ? parent : ".");
    assert_non_null(mkdtemp(template));
    assert_non_null(realpath(template, s->folder));
    snprintf(url, sizeof url, "sqlite://%s/log.db", s->folder);
    MUST(log_open(url, NULL, &s->log, err));
    MUST(topics_create(s->log, PARTITIONS, err));
}

static inline struct server *server_new(void) {
    struct server *s = calloc(1, sizeof *s);
    logging_init(LOG_WARN);
    arena_init(&s->arena);
    s->config = server_config(s);
    s->curl = curl_easy_init();
    s->replies = json_array();
    server_open_log(s);
    return s;
}

static inline void server_free(struct server *s) {
    api_stop(s->api);
    log_close(s->log);
    DIR *dir = opendir(s->folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
    rmdir(s->folder);
    curl_easy_cleanup(s->curl);
    json_decref(s->replies);
    arena_free(&s->arena);
    free(s);
}

/* ---- asking ---- */

struct reply {
    long status;
    struct str headers; /* as they came */
    struct str body;
    json_t *json; /* NULL when it is none; lives as long as the server */
};

struct ask {
    const char *method;
    const char *path;
    const char *token;      /* "Authorization: …", NULL: none */
    const char *key;        /* of Idempotency-Key, NULL: none */
    const char *body;       /* NULL: none */
    const char *headers[4]; /* more */
    bool own_type;          /* Content-Type is among them, or is to be left out */
    CURL *curl;             /* NULL: the server's own */
};

static inline size_t ask_collect(char *bytes, size_t size, size_t count, void *user) {
    buf_add(user, bytes, size * count);
    return size * count;
}

static inline void reply_parse(struct server *s, struct reply *reply) {
    reply->json = json_loadb(reply->body.ptr, reply->body.len, 0, NULL);
    if (reply->json)
        json_array_append_new(s->replies, reply->json);
}

static inline struct reply server_ask(struct server *s, struct ask ask) {
    CURL *curl = ask.curl ? ask.curl : s->curl;
    struct curl_slist *headers = NULL;
    BUF_AUTO body = {0};
    BUF_AUTO head = {0};
    char text[2048];
    curl_easy_reset(curl);
    snprintf(text, sizeof text, "http://127.0.0.1:%d%s", api_port(s->api), ask.path);
    curl_easy_setopt(curl, CURLOPT_URL, text);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, ask.method);
    if (strcmp(ask.method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    if (ask.body || strcmp(ask.method, "POST") == 0) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(ask.body ? ask.body : ""));
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, ask.body ? ask.body : "");
        if (!ask.own_type)
            headers = curl_slist_append(headers, ask.body ? "Content-Type: application/json" : "Content-Type:");
    }
    if (ask.token)
        headers = curl_slist_append(headers, ask.token);
    if (ask.key) {
        snprintf(text, sizeof text, "Idempotency-Key: %s", ask.key);
        headers = curl_slist_append(headers, text);
    }
    for (size_t i = 0; i < 4 && ask.headers[i]; i++)
        headers = curl_slist_append(headers, ask.headers[i]);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ask_collect);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, ask_collect);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &head);
    CURLcode code = curl_easy_perform(curl);
    curl_slist_free_all(headers);
    if (code != CURLE_OK)
        fail_msg("%s %s: %s", ask.method, ask.path, curl_easy_strerror(code));
    struct reply reply = {0};
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply.status);
    reply.headers = arena_dup(&s->arena, buf_str(&head));
    reply.body = arena_dup(&s->arena, buf_str(&body));
    reply_parse(s, &reply);
    return reply;
}

/* The usual: key and body may be NULL. */
static inline struct reply ask(struct server *s, const char *method, const char *path, const char *token,
                               const char *key, const char *body) {
    return server_ask(s, (struct ask){.method = method, .path = path, .token = token, .key = key, .body = body});
}

/* The value of a header, "" when it is not there. */
static inline const char *reply_header(struct server *s, struct reply reply, const char *name) {
    BUF_AUTO prefix = {0};
    buf_printf(&prefix, "\n%s: ", name);
    const char *at = strcasestr(reply.headers.ptr, prefix.ptr);
    if (!at)
        return "";
    at += prefix.len;
    return arena_dup(&s->arena, (struct str){at, strcspn(at, "\r\n")}).ptr;
}

static inline const char *reply_text(struct reply reply, const char *name) {
    const char *text = json_string_value(json_object_get(reply.json, name));
    return text ? text : "";
}

/* What was decoded is not zero-terminated. */
static inline void expect_text(struct str text, const char *want) {
    if (!str_eq(text, str_from(want)))
        fail_msg("\"%.*s\" instead of \"%s\"", STR_ARG(text), want);
}

static inline void expect_status(struct reply reply, long status) {
    if (reply.status != status)
        fail_msg("answered %ld instead of %ld: %s", reply.status, status, reply.body.ptr);
}

/* A problem, with the field that is wrong ("" for the whole body, NULL: none is named). */
static inline void expect_problem(struct server *s, struct reply reply, long status, const char *slug,
                                  const char *pointer) {
    char type[80];
    snprintf(type, sizeof type, "/problems/%s", slug);
    expect_status(reply, status);
    assert_string_equal(reply_header(s, reply, "Content-Type"), "application/problem+json");
    assert_string_equal(reply_text(reply, "type"), type);
    assert_int_equal(json_integer_value(json_object_get(reply.json, "status")), status);
    assert_true(strlen(reply_text(reply, "title")) > 0);
    assert_true(strlen(reply_text(reply, "detail")) > 0);
    assert_int_equal(strlen(reply_text(reply, "trace_id")), 32);
    json_t *errors = json_object_get(reply.json, "errors");
    bool named = !pointer && !errors;
    for (size_t i = 0; pointer && i < json_array_size(errors); i++)
        named = named || strcmp(json_string_value(json_object_get(json_array_get(errors, i), "pointer")), pointer) == 0;
    if (!named)
        fail_msg("the problem does not name \"%s\": %s", pointer ? pointer : "(nothing)", reply.body.ptr);
}

static inline void server_login(struct server *s) {
    struct reply reply = server_ask(s, (struct ask){.method = "POST", .path = "/v1/sessions"});
    expect_status(reply, 201);
    snprintf(s->shopper, sizeof s->shopper, "Authorization: Bearer %s", reply_text(reply, "token"));
    snprintf(s->shopper_id, sizeof s->shopper_id, "%s", reply_text(reply, "shopper_id"));
}

static inline void server_start(struct server *s) {
    MUST(api_start(&s->config, s->log, &s->api, err));
    server_login(s);
}

/* ---- what was appended ---- */

struct appended {
    struct envelope envelope;
    struct message message;
    struct str time;
    struct str content_type;
    struct str specversion;
    struct str source;
};

static inline size_t topic_index(const char *topic) {
    const struct schema_subject *subject = schema_subject_find(str_from(topic));
    assert_non_null(subject);
    return (size_t)(subject - schema_subjects);
}

static inline int64_t log_end(struct server *s, const char *topic, int32_t partition) {
    int64_t low, high;
    MUST(log_watermarks(s->log, str_from(topic), partition, &low, &high, err));
    return high;
}

/* The records of a topic that no test has looked at yet. */
static inline int64_t unseen(struct server *s, const char *topic) {
    int64_t sum = 0;
    for (int32_t i = 0; i < PARTITIONS; i++)
        sum += log_end(s, topic, i) - s->seen[topic_index(topic)][i];
    return sum;
}

static inline void expect_nothing_appended(struct server *s) {
    for (size_t i = 0; i < SCHEMA_SUBJECT_COUNT; i++)
        if (!strchr(schema_subjects[i].name, '/') && unseen(s, schema_subjects[i].name))
            fail_msg("something was appended to %s", schema_subjects[i].name);
}

static inline struct str header_of(struct server *s, const struct log_record *record, const char *name) {
    for (size_t i = 0; i < record->header_count; i++)
        if (str_eq(record->headers[i].name, str_from(name)))
            return arena_dup(&s->arena, record->headers[i].value);
    return STR_NULL;
}

static inline struct str kept(struct server *s, struct str text) {
    return arena_dup(&s->arena, text);
}

static inline void appended_read(struct server *s, const struct log_record *record, struct appended *ret) {
    struct envelope *e = &ret->envelope;
    MUST(envelope_read(record, e, err));
    MUST(message_decode(schema_subject_find(record->topic), kept(s, record->value), &s->arena, &ret->message, err));
    e->topic = kept(s, e->topic);
    e->key = kept(s, e->key);
    e->id = kept(s, e->id);
    e->type = kept(s, e->type);
    e->subject = kept(s, e->subject);
    e->command_id = kept(s, e->command_id);
    e->traceparent = kept(s, e->traceparent);
    e->tracestate = kept(s, e->tracestate);
    ret->time = header_of(s, record, HEADER_TIME);
    ret->content_type = header_of(s, record, HEADER_CONTENT_TYPE);
    ret->specversion = header_of(s, record, HEADER_SPECVERSION);
    ret->source = header_of(s, record, HEADER_SOURCE);
}

/* The oldest unseen record of the topic, which there must be. */
static inline struct appended take_appended(struct server *s, const char *topic) {
    struct appended ret = {0};
    int64_t *seen = s->seen[topic_index(topic)];
    int32_t partition = 0;
    while (partition < PARTITIONS && seen[partition] == log_end(s, topic, partition))
        partition++;
    if (partition == PARTITIONS)
        fail_msg("nothing was appended to %s", topic);
    struct log_consumer *consumer;
    struct log_batch batch = {0};
    MUST(log_consumer_open_manual(s->log, &consumer, err));
    MUST(log_consumer_seek(consumer, str_from(topic), partition, seen[partition], err));
    MUST(log_consumer_poll(consumer, 1, PATIENCE_MS, &batch, err));
    assert_int_equal(batch.count, 1);
    appended_read(s, &batch.records[0], &ret);
    log_consumer_close(consumer);
    seen[partition]++;
    return ret;
}

/* What every record of the API's has in common (section 5). */
static inline void check_headers(struct appended a, struct reply reply, struct server *s, const char *key,
                                 const char *subject) {
    int64_t time_us;
    assert_string_equal(a.envelope.key.ptr, key);
    assert_string_equal(a.envelope.subject.ptr, subject);
    assert_true(str_eq(a.envelope.type, message_name(a.message.type)));
    assert_true(id_valid(a.envelope.id));
    assert_string_equal(a.envelope.id.ptr, reply_header(s, reply, "Orderlog-Command"));
    assert_string_equal(a.envelope.command_id.ptr, a.envelope.id.ptr);
    assert_int_equal(a.envelope.traceparent.len, 55);
    assert_null(a.envelope.origin.ptr);
    assert_string_equal(a.content_type.ptr, "application/avro");
    assert_string_equal(a.specversion.ptr, "1.0");
    assert_string_equal(a.source.ptr, "/orderlog/api");
    assert_true(clock_parse(a.time, &time_us));
}

/* ---- a little more than every test needs ---- */

static inline const char *format(struct server *s, const char *text, ...) {
    BUF_AUTO buf = {0};
    va_list args;
    va_start(args, text);
    buf_vprintf(&buf, text, args);
    va_end(args);
    return arena_dup(&s->arena, buf_str(&buf)).ptr;
}

static inline const char *body_hash_of(struct server *s, const char *body) {
    uint8_t hash[SHA256_SIZE];
    BUF_AUTO hex = {0};
    sha256(str_from(body), hash);
    buf_add_hex(&hex, hash, 16);
    return arena_dup(&s->arena, buf_str(&hex)).ptr;
}

/* A cart of the shopper's; what it appended is taken. */
static inline const char *cart_new(struct server *s, const char *key) {
    struct reply reply =
        server_ask(s, (struct ask){.method = "POST", .path = "/v1/carts", .token = s->shopper, .key = key});
    expect_status(reply, 201);
    const char *cart_id = format(s, "%s", reply_text(reply, "cart_id"));
    take_appended(s, TOPIC_CART_EVENTS);
    return cart_id;
}

#define CHECKOUT_BODY(cart_id)                                                                                         \
    "{\"cart_id\":\"" cart_id "\",\"expected_total\":{\"minor\":1999,\"currency\":\"USD\"},"                           \
    "\"payment_method\":\"pm_card_visa\",\"email\":\"ada@example.org\",\"shipping_address\":{\"name\":\"Ada L\","      \
    "\"line1\":\"1 Main "                                                                                              \
    "St\",\"city\":\"Springfield\",\"region\":\"IL\",\"postal_code\":\"62701\",\"country\":\"US\"}}"

#endif
