#include "cli/top.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"

enum { ANSWER_TIMEOUT_MS = 2000, POLL_MS = 250, BODY_MAX = 16 << 20, FDS_MAX = 4 };

struct call {
    CURL *handle;
    struct buf body;
    char why[CURL_ERROR_SIZE];
};

static size_t on_body(char *bytes, size_t size, size_t count, void *user) {
    struct buf *body = user;
    if (body->len + size * count > BODY_MAX)
        return 0;
    buf_add(body, bytes, size * count);
    return size * count;
}

static bool call_begin(struct call *call, CURLM *multi, const char *url) {
    *call = (struct call){.handle = curl_easy_init()};
    if (!call->handle)
        return false;
    curl_easy_setopt(call->handle, CURLOPT_URL, url);
    curl_easy_setopt(call->handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(call->handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(call->handle, CURLOPT_TIMEOUT_MS, (long)ANSWER_TIMEOUT_MS);
    curl_easy_setopt(call->handle, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(call->handle, CURLOPT_WRITEDATA, &call->body);
    curl_easy_setopt(call->handle, CURLOPT_ERRORBUFFER, call->why);
    return curl_multi_add_handle(multi, call->handle) == CURLM_OK;
}

static void call_end(struct call *call, CURLM *multi, struct top_target *target) {
    long status = 0;
    struct err err = {0};
    curl_easy_getinfo(call->handle, CURLINFO_RESPONSE_CODE, &status);
    top_scrape_free(&target->before);
    target->before = target->now;
    target->now = (struct top_scrape){0};
    bool parsed = status == 200 && !call->why[0] && top_scrape_parse(&call->body, &target->now, &err);
    target->now.at_us = clock_monotonic_us();
    if (!parsed)
        snprintf(target->now.why, sizeof target->now.why, "%.*s", (int)sizeof target->now.why - 1,
                 call->why[0]    ? call->why
                 : status != 200 ? "it does not answer 200"
                                 : err.detail);
    curl_multi_remove_handle(multi, call->handle);
    curl_easy_cleanup(call->handle);
    buf_free(&call->body);
}

/* False: interrupted. */
static bool run(CURLM *multi, const int *fds, size_t fd_count, top_interrupted *interrupted, void *user) {
    struct curl_waitfd waits[FDS_MAX] = {0};
    int running = 1;
    for (size_t i = 0; i < fd_count; i++)
        waits[i] = (struct curl_waitfd){.fd = fds[i], .events = CURL_WAIT_POLLIN};
    while (curl_multi_perform(multi, &running) == CURLM_OK && running) {
        if (interrupted && interrupted(user))
            return false;
        curl_multi_poll(multi, waits, (unsigned)fd_count, POLL_MS, NULL);
    }
    return true;
}

bool top_fetch(struct top_target *targets, size_t count, const int *fds, size_t fd_count, top_interrupted *interrupted,
               void *user, struct err *err) {
    CURLM *multi = curl_multi_init();
    struct call *calls = mem_zalloc((count + 1) * sizeof *calls);
    size_t begun = 0;
    while (multi && begun < count && call_begin(&calls[begun], multi, targets[begun].url))
        begun++;
    bool ok = begun == count || err_set(err, ERR_INTERNAL, "HTTP requests cannot be made");
    bool finished = ok && run(multi, fds, fd_count, interrupted, user);
    for (size_t i = 0; i < begun; i++) {
        if (finished) {
            call_end(&calls[i], multi, &targets[i]);
            continue;
        }
        curl_multi_remove_handle(multi, calls[i].handle);
        curl_easy_cleanup(calls[i].handle);
        buf_free(&calls[i].body);
    }
    free(calls);
    curl_multi_cleanup(multi);
    return ok;
}
