#include "cli/provider_events.h"

#include <curl/curl.h>
#include <stdlib.h>

#include "core/base/arena.h"
#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/base/logging.h"

enum { WEBHOOK_TIMEOUT_MS = 10000, AGAIN_FIRST_MS = 500, AGAIN_LAST_MS = 30000, IDLE_MS = 60000, OVERTAKEN_MS = 2000 };

struct provider_events {
    struct provider_events_config config;
    pthread_t thread;
    pthread_mutex_t lock; /* guards the two below */
    pthread_cond_t changed;
    bool woken;
    bool stopping;
    CURL *curl;
};

static int64_t now_ms(void) {
    return clock_now_us() / 1000;
}

/* ---- adding ---- */

bool provider_event_add(struct provider_store *store, const json_t *intent, const char *what, provider_faults faults,
                        int64_t after_ms, struct err *err) {
    uint8_t bytes[12];
    BUF_AUTO id = {0};
    BUF_AUTO type = {0};
    random_bytes(bytes, sizeof bytes);
    buf_printf(&id, "evt_");
    buf_add_hex(&id, bytes, sizeof bytes);
    buf_printf(&type, "payment_intent.%s", what);
    json_t *event = json_pack("{s:s, s:s, s:s, s:I, s:b, s:s, s:i, s:{s:O}}", "id", id.ptr, "object", "event", "type",
                              type.ptr, "created", (json_int_t)(now_ms() / 1000), "livemode", 0, "api_version",
                              "2024-06-20", "pending_webhooks", 1, "data", "object", intent);
    char *body = json_dumps(event, JSON_COMPACT);
    int64_t due_ms = now_ms();
    if (provider_has(faults, PROVIDER_FAULT_LATE))
        due_ms += after_ms;
    if (provider_has(faults, PROVIDER_FAULT_REORDER))
        due_ms += OVERTAKEN_MS;
    bool ok = provider_store_webhook_add(store, str_from(body), due_ms, err) &&
              (!provider_has(faults, PROVIDER_FAULT_DUPLICATE) ||
               provider_store_webhook_add(store, str_from(body), due_ms, err));
    free(body);
    json_decref(event);
    return ok;
}

/* ---- sending ---- */

static size_t drop_body(char *bytes, size_t size, size_t count, void *user) {
    (void)bytes, (void)user;
    return size * count;
}

static bool webhook_send(struct provider_events *events, struct str body) {
    uint8_t mac[SHA256_SIZE];
    BUF_AUTO payload = {0};
    BUF_AUTO header = {0};
    int64_t seconds = now_ms() / 1000;
    long status = 0;
    buf_printf(&payload, "%lld.", (long long)seconds);
    buf_add_str(&payload, body);
    hmac_sha256(events->config.secret, buf_str(&payload), mac);
    buf_printf(&header, "Stripe-Signature: t=%lld,v1=", (long long)seconds);
    buf_add_hex(&header, mac, sizeof mac);
    buf_add_char(&header, '\0');
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Expect:");
    headers = curl_slist_append(headers, header.ptr);
    curl_easy_reset(events->curl);
    curl_easy_setopt(events->curl, CURLOPT_URL, events->config.url);
    curl_easy_setopt(events->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(events->curl, CURLOPT_POSTFIELDS, body.ptr);
    curl_easy_setopt(events->curl, CURLOPT_POSTFIELDSIZE, (long)body.len);
    curl_easy_setopt(events->curl, CURLOPT_WRITEFUNCTION, drop_body);
    curl_easy_setopt(events->curl, CURLOPT_TIMEOUT_MS, (long)WEBHOOK_TIMEOUT_MS);
    curl_easy_setopt(events->curl, CURLOPT_NOSIGNAL, 1L);
    if (curl_easy_perform(events->curl) == CURLE_OK)
        curl_easy_getinfo(events->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    return status / 100 == 2;
}

/* ---- changing ---- */

/* The card's bank makes up its mind, or lets the money go. What was cancelled meanwhile stays so. */
static bool plan_apply(struct provider_store *store, const struct provider_job *job, struct err *err) {
    json_t *intent = NULL;
    bool expires = str_eq(buf_str(&job->plan), STR("expire"));
    if (!provider_store_intent(store, buf_str(&job->intent), &intent, err))
        return false;
    const char *status = json_string_value(json_object_get(intent, "status"));
    bool ok = true;
    if (status && expires && !strcmp(status, "requires_capture")) {
        json_object_set_new(intent, "status", json_string("canceled"));
        json_object_set_new(intent, "amount_capturable", json_integer(0));
        json_object_set_new(intent, "canceled_at", json_integer(now_ms() / 1000));
        json_object_set_new(intent, "cancellation_reason", json_string("automatic"));
        ok = provider_store_intent_put(store, intent, err) && provider_event_add(store, intent, "canceled", 0, 0, err);
    } else if (status && !expires && (!strcmp(status, "processing") || !strcmp(status, "requires_action"))) {
        json_object_set_new(intent, "status", json_string("requires_capture"));
        json_object_set(intent, "amount_capturable", json_object_get(intent, "amount"));
        ok = provider_store_intent_put(store, intent, err) &&
             provider_event_add(store, intent, "amount_capturable_updated", 0, 0, err);
    }
    json_decref(intent);
    return ok;
}

/* ---- the thread ---- */

/* With the store's lock held. */
static bool job_take(struct provider_events *events, struct provider_job *job, struct err *err) {
    struct provider_store *store = events->config.store;
    if (!provider_store_job(store, now_ms(), job, err))
        return false;
    if (!job->found || (job->body.len && events->config.url))
        return true;
    if (!provider_store_begin(store, err))
        return false;
    bool ok = (!job->plan.len || plan_apply(store, job, err)) && provider_store_job_done(store, job->seq, err) &&
              provider_store_commit(store, err);
    if (!ok)
        provider_store_rollback(store);
    return ok;
}

static int64_t again_ms(int64_t tries) {
    int64_t delay = AGAIN_FIRST_MS;
    while (tries-- > 0 && delay < AGAIN_LAST_MS)
        delay *= 2;
    return delay;
}

static bool webhook_done(struct provider_events *events, const struct provider_job *job, struct err *err) {
    bool sent = webhook_send(events, buf_str(&job->body));
    pthread_mutex_lock(events->config.lock);
    bool ok = sent ? provider_store_job_done(events->config.store, job->seq, err)
                   : provider_store_job_again(events->config.store, job->seq, now_ms() + again_ms(job->tries), err);
    pthread_mutex_unlock(events->config.lock);
    return ok;
}

/* Until when there is nothing to do. */
static int64_t work(struct provider_events *events) {
    struct provider_job job = {0};
    struct err err = {0};
    pthread_mutex_lock(events->config.lock);
    bool ok = job_take(events, &job, &err);
    pthread_mutex_unlock(events->config.lock);
    if (ok && job.found && job.body.len && events->config.url)
        ok = webhook_done(events, &job, &err);
    int64_t until_ms = job.found ? 0 : job.due_ms;
    if (!ok) {
        logging_err(&err, "provider.events_failed", " ");
        until_ms = now_ms() + AGAIN_FIRST_MS;
    }
    buf_free(&job.body);
    buf_free(&job.intent);
    buf_free(&job.plan);
    return until_ms;
}

static void *events_main(void *user) {
    struct provider_events *events = user;
    pthread_mutex_lock(&events->lock);
    while (!events->stopping) {
        events->woken = false;
        pthread_mutex_unlock(&events->lock);
        int64_t until_ms = work(events), last_ms = now_ms() + IDLE_MS;
        if (until_ms > last_ms)
            until_ms = last_ms;
        struct timespec until = {until_ms / 1000, until_ms % 1000 * 1000000};
        pthread_mutex_lock(&events->lock);
        while (!events->stopping && !events->woken && now_ms() < until_ms)
            pthread_cond_timedwait(&events->changed, &events->lock, &until);
    }
    pthread_mutex_unlock(&events->lock);
    return NULL;
}

bool provider_events_start(const struct provider_events_config *config, struct provider_events **ret, struct err *err) {
    struct provider_events *events = mem_zalloc(sizeof *events);
    events->config = *config;
    events->curl = curl_easy_init();
    pthread_mutex_init(&events->lock, NULL);
    pthread_cond_init(&events->changed, NULL);
    if (!events->curl || pthread_create(&events->thread, NULL, events_main, events) != 0) {
        curl_easy_cleanup(events->curl);
        free(events);
        return err_set(err, ERR_INTERNAL, "no thread can be started");
    }
    *ret = events;
    return true;
}

void provider_events_wake(struct provider_events *events) {
    pthread_mutex_lock(&events->lock);
    events->woken = true;
    pthread_cond_signal(&events->changed);
    pthread_mutex_unlock(&events->lock);
}

void provider_events_stop(struct provider_events *events) {
    if (!events)
        return;
    pthread_mutex_lock(&events->lock);
    events->stopping = true;
    pthread_cond_signal(&events->changed);
    pthread_mutex_unlock(&events->lock);
    pthread_join(events->thread, NULL);
    curl_easy_cleanup(events->curl);
    pthread_cond_destroy(&events->changed);
    pthread_mutex_destroy(&events->lock);
    free(events);
}
