#include "core/trace/export.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <zlib.h>

#include "core/base/clock.h"
#include "core/base/config.h"
#include "core/base/ids.h"
#include "core/base/logging.h"
#include "core/base/metrics.h"
#include "core/base/thread.h"
#include "core/http/http.h"
#include "core/trace/otlp.h"

enum { TRIES_MAX = 6, AGAIN_FIRST_MS = 1000, AGAIN_LAST_MS = 60000 };

struct waiting {
    struct waiting *next;
    size_t len;
    char span[];
};

struct exporter {
    const struct trace_settings *settings;
    pthread_t thread;
    pthread_mutex_t lock; /* guards the four below */
    pthread_cond_t changed;
    struct waiting *first, **end;
    int64_t count;
    bool stopping;
    atomic_int_least64_t until_us; /* monotonic: a call is given up then */
    bool failing;                  /* the thread's, as are the rest */
    struct buf spans, request, packed;
    struct metric *exported, *waits, *failed;
    struct metric *full, *refused, *unsent;
};

/* ---- one request ---- */

static bool pack(struct exporter *exporter, struct err *err) {
    z_stream stream = {0};
    struct buf *from = &exporter->request, *to = &exporter->packed;
    if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, MAX_WBITS + 16 /* gzip */, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return err_set(err, ERR_INTERNAL, "zlib does not start");
    buf_reset(to);
    buf_reserve(to, deflateBound(&stream, from->len));
    stream.next_in = (Bytef *)from->ptr;
    stream.avail_in = (uInt)from->len;
    stream.next_out = (Bytef *)to->ptr;
    stream.avail_out = (uInt)to->cap;
    int code = deflate(&stream, Z_FINISH);
    to->len = stream.total_out;
    deflateEnd(&stream);
    return code == Z_STREAM_END || err_set(err, ERR_INTERNAL, "zlib: %d", code);
}

/* The key in a header may have changed since the last request. */
static bool headers_make(const struct exporter *exporter, struct buf *ret, struct err *err) {
    BUF_AUTO given = {0};
    buf_printf(ret, "Content-Type: application/x-protobuf\n%s",
               exporter->settings->gzip ? "Content-Encoding: gzip\n" : "");
    return !exporter->settings->headers || (config_fresh(exporter->settings->headers, false, &given, err) &&
                                            trace_headers_read(buf_str(&given), ret, err));
}

enum outcome { DONE, AGAIN, REFUSED };

/* By the protocol's rules: these may be tried again, after as long as the collector says. */
static bool may_be_tried_again(long status) {
    return status == 429 || status == 502 || status == 503 || status == 504;
}

static enum outcome post(struct exporter *exporter, int64_t *ret_after_ms, struct err *err) {
    const struct trace_settings *settings = exporter->settings;
    HTTP_ANSWER_AUTO answer = {0};
    BUF_AUTO headers = {0};
    int64_t after_s;
    if (!headers_make(exporter, &headers, err) || (settings->gzip && !pack(exporter, err)))
        return AGAIN;
    const struct http_request request = {.method = "POST",
                                         .url = settings->url.ptr,
                                         .headers = buf_str(&headers),
                                         .body = buf_str(settings->gzip ? &exporter->packed : &exporter->request),
                                         .timeout_ms = settings->timeout_ms,
                                         .until_us = &exporter->until_us,
                                         .ca_file = settings->ca_file};
    if (!http_call(&request, &answer, err))
        return AGAIN;
    if (answer.status >= 200 && answer.status <= 299) {
        metrics_add(exporter->refused, otlp_rejected(buf_str(&answer.body)));
        return DONE;
    }
    err_set(err, ERR_IO, "the collector answered %ld", answer.status);
    if (!may_be_tried_again(answer.status))
        return REFUSED;
    if (str_to_i64(http_answer_header(&answer, STR("Retry-After")), &after_s) && after_s >= 0)
        *ret_after_ms = after_s < AGAIN_LAST_MS / 1000 ? after_s * 1000 : AGAIN_LAST_MS;
    return AGAIN;
}

/* ---- again and again ---- */

/* Twice as long each time, and not all at once: somewhere in the upper half of it. */
static int64_t back_off_ms(int tries) {
    uint32_t random;
    random_bytes(&random, sizeof random);
    int64_t full = (int64_t)AGAIN_FIRST_MS << tries;
    return full / 2 + (int64_t)(random % (uint64_t)(full / 2 + 1));
}

static struct timespec after(int64_t ms) {
    int64_t at_us = clock_monotonic_us() + ms * 1000;
    return (struct timespec){at_us / 1000000, at_us % 1000000 * 1000};
}

/* Until then, or the end. False: it is the end. */
static bool wait_to_go_on(struct exporter *exporter, int64_t ms) {
    struct timespec until = after(ms);
    pthread_mutex_lock(&exporter->lock);
    while (!exporter->stopping && pthread_cond_timedwait(&exporter->changed, &exporter->lock, &until) != ETIMEDOUT)
        continue;
    bool going_on = !exporter->stopping;
    pthread_mutex_unlock(&exporter->lock);
    return going_on;
}

/* Once when it begins to fail, and once when it is over. */
static void tell(struct exporter *exporter, bool failing, const struct err *err) {
    if (failing && !exporter->failing)
        logging_write(LOG_WARN, "trace.export_failed", "why=\"%s\"", err->detail);
    else if (!failing && exporter->failing)
        logging_write(LOG_INFO, "trace.export_goes_on", " ");
    exporter->failing = failing;
}

static void send_spans(struct exporter *exporter, int64_t count) {
    buf_reset(&exporter->request);
    otlp_add_request(&exporter->request, buf_str(&exporter->settings->resource), buf_str(&exporter->spans));
    for (int tries = 0;; tries++) {
        struct err err = {0};
        int64_t after_ms = back_off_ms(tries);
        enum outcome outcome = post(exporter, &after_ms, &err);
        tell(exporter, outcome != DONE, &err);
        if (outcome == DONE) {
            metrics_add(exporter->exported, count);
            return;
        }
        metrics_add(exporter->failed, 1);
        if (outcome == REFUSED || tries + 1 == TRIES_MAX || !wait_to_go_on(exporter, after_ms)) {
            metrics_add(outcome == REFUSED ? exporter->refused : exporter->unsent, count);
            return;
        }
    }
}

/* ---- the queue ---- */

void exporter_add(struct exporter *exporter, struct str span) {
    struct waiting *waiting = mem_alloc(sizeof *waiting + span.len);
    waiting->next = NULL;
    waiting->len = span.len;
    memcpy(waiting->span, span.ptr, span.len);
    pthread_mutex_lock(&exporter->lock);
    bool fits = exporter->count < exporter->settings->queue_max;
    if (fits) {
        *exporter->end = waiting;
        exporter->end = &waiting->next;
        if (++exporter->count == exporter->settings->batch_max)
            pthread_cond_signal(&exporter->changed);
    }
    pthread_mutex_unlock(&exporter->lock);
    if (fits)
        return;
    free(waiting);
    metrics_add(exporter->full, 1);
}

/* With the lock held. */
static int64_t take(struct exporter *exporter) {
    int64_t count = 0;
    buf_reset(&exporter->spans);
    while (exporter->first && count < exporter->settings->batch_max) {
        struct waiting *waiting = exporter->first;
        exporter->first = waiting->next;
        buf_add(&exporter->spans, waiting->span, waiting->len);
        free(waiting);
        count++;
    }
    if (!exporter->first)
        exporter->end = &exporter->first;
    exporter->count -= count;
    metrics_set(exporter->waits, (double)exporter->count);
    return count;
}

static void wait_for_spans(struct exporter *exporter) {
    struct timespec until = after(exporter->settings->delay_ms);
    while (!exporter->stopping && exporter->count < exporter->settings->batch_max &&
           pthread_cond_timedwait(&exporter->changed, &exporter->lock, &until) != ETIMEDOUT)
        continue;
}

static void *exporter_main(void *user) {
    struct exporter *exporter = user;
    thread_name("traces");
    pthread_mutex_lock(&exporter->lock);
    while (!exporter->stopping || (exporter->first && clock_monotonic_us() < atomic_load(&exporter->until_us))) {
        wait_for_spans(exporter);
        int64_t count = take(exporter);
        pthread_mutex_unlock(&exporter->lock);
        if (count)
            send_spans(exporter, count);
        pthread_mutex_lock(&exporter->lock);
    }
    pthread_mutex_unlock(&exporter->lock);
    return NULL;
}

/* ---- opening and closing ---- */

static void open_metrics(struct exporter *exporter) {
    static const char dropped[] = "orderlog_trace_spans_dropped_total";
    static const char help[] = "Spans that were not told: too many waited, the collector refused them, or was away.";
    exporter->exported = metrics_counter("orderlog_trace_spans_exported_total", "Spans that the collector took.", "");
    exporter->failed = metrics_counter("orderlog_trace_export_failures_total",
                                       "Requests to the collector that were not answered with success.", "");
    exporter->waits = metrics_gauge("orderlog_trace_queue_spans", "Spans that wait to be told to the collector.", "");
    exporter->full = metrics_counter(dropped, help, "reason=\"queue\"");
    exporter->refused = metrics_counter(dropped, help, "reason=\"refused\"");
    exporter->unsent = metrics_counter(dropped, help, "reason=\"unsent\"");
}

static void exporter_free(struct exporter *exporter) {
    buf_free(&exporter->spans);
    buf_free(&exporter->request);
    buf_free(&exporter->packed);
    pthread_cond_destroy(&exporter->changed);
    pthread_mutex_destroy(&exporter->lock);
    free(exporter);
}

bool exporter_open(const struct trace_settings *settings, struct exporter **ret, struct err *err) {
    struct exporter *exporter = mem_zalloc(sizeof *exporter);
    exporter->settings = settings;
    exporter->end = &exporter->first;
    atomic_store(&exporter->until_us, INT64_MAX);
    pthread_mutex_init(&exporter->lock, NULL);
    thread_cond_init(&exporter->changed);
    open_metrics(exporter);
    if (pthread_create(&exporter->thread, NULL, exporter_main, exporter) != 0) {
        exporter_free(exporter);
        return err_set(err, ERR_INTERNAL, "no thread can be started");
    }
    *ret = exporter;
    return true;
}

void exporter_close(struct exporter *exporter) {
    atomic_store(&exporter->until_us, clock_monotonic_us() + EXPORTER_STOP_MS * 1000);
    pthread_mutex_lock(&exporter->lock);
    exporter->stopping = true;
    pthread_cond_signal(&exporter->changed);
    pthread_mutex_unlock(&exporter->lock);
    pthread_join(exporter->thread, NULL);
    int64_t left = exporter->count;
    while (exporter->first)
        take(exporter);
    metrics_add(exporter->unsent, left);
    if (left)
        logging_write(LOG_WARN, "trace.not_told", "spans=%" PRId64, left);
    exporter_free(exporter);
}
