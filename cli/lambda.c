#include "cli/lambda.h"

#include <stdlib.h>

#include "cli/cli.h"
#include "cli/kafka_auth.h"
#include "cli/process_notifier.h"
#include "cli/secrets.h"
#include "cli/wire_ids.h"
#include "core/base/clock.h"
#include "core/base/config.h"
#include "core/base/logging.h"
#include "core/http/http.h"

#define RUNTIME_API "2018-06-01/runtime"

enum { CALL_MS = 10000, NO_LIMIT = 0 };

/* ---- the Runtime API: four calls, by HTTP, to an address that Lambda names ---- */

struct runtime {
    const char *host;
};

static bool post(const struct runtime *runtime, const char *path, const char *error_type, struct str body,
                 struct err *err) {
    HTTP_ANSWER_AUTO answer = {0};
    BUF_AUTO url = {0};
    BUF_AUTO headers = {0};
    buf_printf(&url, "http://%s/" RUNTIME_API "/%s", runtime->host, path);
    buf_printf(&headers, "Content-Type: application/json\n");
    if (error_type)
        buf_printf(&headers, "Lambda-Runtime-Function-Error-Type: %s\n", error_type);
    if (!http_call(&(struct http_request){.method = "POST",
                                          .url = url.ptr,
                                          .headers = buf_str(&headers),
                                          .body = body,
                                          .timeout_ms = CALL_MS,
                                          .direct = true},
                   &answer, err))
        return err_wrap(err, "the Runtime API, %s", path);
    return answer.status == 202 || err_set(err, ERR_IO, "the Runtime API, %s: HTTP %ld", path, answer.status);
}

static void post_error(const struct runtime *runtime, const char *path, const struct err *why) {
    struct err err = {0};
    BUF_AUTO type = {0};
    BUF_AUTO body = {0};
    buf_printf(&type, "orderlog.%s", err_slug(why->kind));
    buf_printf(&body, "{\"errorMessage\":");
    buf_add_json_string(&body, str_from(why->detail));
    buf_printf(&body, ",\"errorType\":");
    buf_add_json_string(&body, buf_str(&type));
    buf_printf(&body, ",\"stackTrace\":[]}");
    if (!post(runtime, path, type.ptr, buf_str(&body), &err))
        logging_err(&err, "lambda.error_not_told", " ");
}

/* Waits, as long as Lambda has nothing to do for us; the process is frozen meanwhile. */
static bool next(const struct runtime *runtime, struct http_answer *ret, struct err *err) {
    BUF_AUTO url = {0};
    buf_printf(&url, "http://%s/" RUNTIME_API "/invocation/next", runtime->host);
    if (!http_call(
            &(struct http_request){
                .url = url.ptr, .headers = STR(""), .connect_ms = CALL_MS, .timeout_ms = NO_LIMIT, .direct = true},
            ret, err))
        return err_wrap(err, "the Runtime API, next");
    return ret->status == 200 || err_set(err, ERR_IO, "the Runtime API, next: HTTP %ld", ret->status);
}

static bool handle(struct lambda *lambda, const struct runtime *runtime, const struct http_answer *invocation,
                   struct err *err) {
    struct str id = http_answer_header(invocation, STR("Lambda-Runtime-Aws-Request-Id"));
    struct str deadline = http_answer_header(invocation, STR("Lambda-Runtime-Deadline-Ms"));
    int64_t deadline_ms;
    struct err why = {0};
    BUF_AUTO answer = {0};
    BUF_AUTO path = {0};
    if (!id.len || !str_to_i64(deadline, &deadline_ms))
        return err_set(err, ERR_IO, "the Runtime API, next: no request id, or no deadline");
    bool ok = lambda_take_event(lambda, buf_str(&invocation->body), deadline_ms * 1000, &answer, &why);
    buf_printf(&path, "invocation/%.*s/%s", STR_ARG(id), ok ? "response" : "error");
    if (ok)
        return post(runtime, path.ptr, NULL, buf_str(&answer), err);
    logging_err(&why, "lambda.event_refused", "request=%.*s", STR_ARG(id));
    post_error(runtime, path.ptr, &why);
    return true;
}

/* ---- start ---- */

bool lambda_open_log(struct lambda *lambda, const char *url, struct err *err) {
    struct log *log;
    if (!log_open(url, &(struct log_options){0}, &log, err))
        return false;
    if (!log_producer_open(log, &(struct log_producer_options){.delivery_timeout_ms = CALL_MS}, &lambda->producer,
                           err)) {
        log_close(log);
        return false;
    }
    lambda->log = log;
    return true;
}

static bool start(struct lambda *lambda, struct err *err) {
    if (!config_load(err) || !secrets_init(err) || !kafka_auth_init(err) || !wire_ids_init(err) ||
        !notifier_settings_load(NULL, &lambda->notifier, err))
        return false;
    lambda->notifier.address = lambda_address;
    lambda->notifier.address_user = lambda;
    lambda->db = claims_dynamodb(lambda->notifier.claims, &lambda->table);
    if (!lambda->db)
        return err_set(err, ERR_CONFIG, "ORDERLOG_CLAIMS must be dynamodb://TABLE on Lambda");
    const char *url = config_get("ORDERLOG_LOG", NULL);
    return !url || lambda_open_log(lambda, url, err);
}

static void stop(struct lambda *lambda) {
    log_producer_close(lambda->producer);
    log_close(lambda->log);
    notifier_settings_free(&lambda->notifier);
}

int lambda_main(void) {
    struct lambda lambda = {0};
    struct err err = {0};
    const struct runtime runtime = {getenv("AWS_LAMBDA_RUNTIME_API")};
    logging_init(LOG_INFO);
    if (!runtime.host)
        return cli_usage_error("bootstrap is started by AWS Lambda, which sets AWS_LAMBDA_RUNTIME_API");
    if (!start(&lambda, &err)) {
        logging_err(&err, "lambda.cannot_start", " ");
        post_error(&runtime, "init/error", &err);
        stop(&lambda);
        return CLI_USAGE;
    }
    bool ok = true;
    while (ok) {
        HTTP_ANSWER_AUTO invocation = {0};
        ok = next(&runtime, &invocation, &err) && handle(&lambda, &runtime, &invocation, &err);
    }
    logging_err(&err, "lambda.ended", " "); /* Lambda starts another */
    stop(&lambda);
    return CLI_NO;
}
