#include "core/aws/credentials.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>

#include "core/aws/source.h"
#include "core/base/clock.h"
#include "core/base/metrics.h"

enum { SECOND_US = 1000000 };
/* Fetched again so long before they end, or at three quarters of their life if that is later. */
static const int64_t refresh_before_us = 900LL * SECOND_US;
/* Files are read again that often: somebody may have put other keys there. */
static const int64_t reread_us = 300LL * SECOND_US;
static const int64_t retry_us = 10LL * SECOND_US;

static const struct {
    const char *name;
    source_fetch *fetch;
} sources[] = {
    {"environment", source_environment}, {"web identity", source_web_identity},  {"profile", source_profile},
    {"container", source_container},     {"instance metadata", source_instance},
};

struct aws_chain {
    struct source_settings settings;
    struct metric *failures;
    pthread_mutex_t lock;
    pthread_cond_t fetched;
    struct aws_credentials kept; /* access_key_id NULL: none yet */
    int64_t refresh_us;          /* when to fetch again; 0: never */
    bool fetching;               /* some thread is at it */
    uint64_t fetches;            /* that ended */
    struct err failure;          /* of the last fetch, if it failed */
};

static void wipe(char *text) {
    if (text)
        OPENSSL_cleanse(text, strlen(text));
    free(text);
}

void aws_credentials_free(struct aws_credentials *credentials) {
    free(credentials->access_key_id);
    wipe(credentials->secret_access_key);
    wipe(credentials->session_token);
    *credentials = (struct aws_credentials){0};
}

static void copy(const struct aws_credentials *from, struct aws_credentials *ret) {
    *ret = *from;
    ret->access_key_id = mem_strdup(str_from(from->access_key_id));
    ret->secret_access_key = mem_strdup(str_from(from->secret_access_key));
    if (from->session_token)
        ret->session_token = mem_strdup(str_from(from->session_token));
}

struct aws_chain *aws_chain_open(void) {
    struct aws_chain *chain = mem_zalloc(sizeof *chain);
    source_settings_read(&chain->settings);
    pthread_mutex_init(&chain->lock, NULL);
    pthread_cond_init(&chain->fetched, NULL);
    chain->failures = metrics_counter("orderlog_aws_credentials_failures_total",
                                      "Times that AWS credentials could not be fetched.", "");
    return chain;
}

void aws_chain_close(struct aws_chain *chain) {
    if (!chain)
        return;
    aws_credentials_free(&chain->kept);
    pthread_cond_destroy(&chain->fetched);
    pthread_mutex_destroy(&chain->lock);
    free(chain->settings.region);
    free(chain);
}

const char *aws_chain_region(const struct aws_chain *chain) {
    return chain->settings.region;
}

/* Tries the sources in their order. */
static bool fetch(const struct source_settings *settings, struct aws_credentials *ret, struct err *err) {
    BUF_AUTO tried = {0};
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        struct err why = {0};
        struct aws_credentials made = {0};
        enum source_result result = sources[i].fetch(settings, &made, &why);
        if (result == SOURCE_SERVED && made.expires_us && made.expires_us <= clock_now_us()) {
            char until[CLOCK_TEXT_SIZE];
            clock_format(made.expires_us, until);
            err_set(&why, ERR_IO, "what it serves ended at %s", until);
            result = SOURCE_FAILED;
            aws_credentials_free(&made);
        }
        if (result == SOURCE_SERVED) {
            made.source = sources[i].name;
            *ret = made;
            return true;
        }
        buf_printf(&tried, "%s%s: %s", tried.len ? "; " : "", sources[i].name, why.detail);
        if (result == SOURCE_FAILED)
            return err_set(err, why.kind, "no AWS credentials: %s", tried.ptr);
    }
    return err_set(err, ERR_CONFIG, "no AWS credentials: %s", tried.ptr);
}

static int64_t refresh_time(const struct aws_credentials *credentials, int64_t now_us) {
    if (credentials->expires_us) {
        int64_t quarter_us = (credentials->expires_us - now_us) / 4;
        return credentials->expires_us - (quarter_us < refresh_before_us ? quarter_us : refresh_before_us);
    }
    return strcmp(credentials->source, "profile") == 0 ? now_us + reread_us : 0;
}

static bool are_good(const struct aws_chain *chain, int64_t now_us) {
    return chain->kept.access_key_id && (!chain->kept.expires_us || now_us < chain->kept.expires_us);
}

/* With the lock held, which it lets go of while it asks. */
static void refresh(struct aws_chain *chain) {
    struct aws_credentials made = {0};
    struct err err = {0};
    chain->fetching = true;
    pthread_mutex_unlock(&chain->lock);
    bool ok = fetch(&chain->settings, &made, &err);
    pthread_mutex_lock(&chain->lock);
    int64_t now_us = clock_now_us();
    if (ok) {
        aws_credentials_free(&chain->kept);
        chain->kept = made;
        chain->refresh_us = refresh_time(&made, now_us);
    } else {
        metrics_add(chain->failures, 1);
        chain->refresh_us = now_us + retry_us;
    }
    chain->failure = err;
    chain->fetching = false;
    chain->fetches++;
    pthread_cond_broadcast(&chain->fetched);
}

bool aws_chain_get(struct aws_chain *chain, struct aws_credentials *ret, struct err *err) {
    pthread_mutex_lock(&chain->lock);
    int64_t now_us = clock_now_us();
    bool good = are_good(chain, now_us);
    if (good && chain->refresh_us && now_us >= chain->refresh_us && !chain->fetching)
        refresh(chain);
    uint64_t before = chain->fetches;
    if (!good && chain->fetching)
        while (chain->fetches == before)
            pthread_cond_wait(&chain->fetched, &chain->lock);
    else if (!good)
        refresh(chain);
    good = are_good(chain, clock_now_us());
    if (good)
        copy(&chain->kept, ret);
    else if (err && chain->failure.kind)
        *err = chain->failure;
    else
        err_set(err, ERR_IO, "no AWS credentials: those served ended at once");
    pthread_mutex_unlock(&chain->lock);
    return good;
}
