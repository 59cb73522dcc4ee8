#include "api/problem.h"

static const char *server_detail(enum err_kind kind) {
    switch ((int)kind) {
    case ERR_LOG_UNAVAILABLE:
        return "Nothing was kept. Try again in a moment, with the same Idempotency-Key.";
    case ERR_OUTCOME_UNKNOWN:
        return "The log has not answered in time. Retry with the same key: it is the same command, and is carried out "
               "once at most.";
    case ERR_OVERLOADED:
        return "Too much is being asked at once. Nothing was kept; try again in a moment, with the same "
               "Idempotency-Key.";
    case ERR_STORE_UNAVAILABLE:
        return "Reads cannot be answered now. Writes are.";
    default:
        return "Nothing is known to be wrong with the request. Please give the trace_id when you ask us about it.";
    }
}

const char *problem_retry_after(enum err_kind kind) {
    switch ((int)kind) {
    case ERR_OVERLOADED:
    case ERR_OUTCOME_UNKNOWN:
    case ERR_RATE_LIMITED:
        return "1";
    case ERR_LOG_UNAVAILABLE:
    case ERR_STORE_UNAVAILABLE:
    case ERR_TIMEOUT:
        return "2";
    default:
        return NULL;
    }
}

static void add_errors(const struct err *err, struct buf *ret) {
    buf_add_str(ret, STR(",\"errors\":["));
    for (size_t i = 0; i < err->field_count; i++) {
        buf_printf(ret, "%s{\"pointer\":", i ? "," : "");
        buf_add_json_string(ret, str_from(err->fields[i].pointer));
        buf_add_str(ret, STR(",\"detail\":"));
        buf_add_json_string(ret, str_from(err->fields[i].detail));
        buf_add_char(ret, '}');
    }
    buf_add_char(ret, ']');
}

void problem_write(const struct problem *problem, struct buf *ret) {
    const struct err *err = problem->err;
    int status = err_http_status(err->kind);
    buf_printf(ret, "{\"type\":\"/problems/%s\",\"title\":", err_slug(err->kind));
    buf_add_json_string(ret, str_from(err_title(err->kind)));
    buf_printf(ret, ",\"status\":%d,\"detail\":", status);
    buf_add_json_string(ret, str_from(status >= 500 ? server_detail(err->kind) : err->detail));
    if (err->field_count && status < 500)
        add_errors(err, ret);
    if (problem->resource_name) {
        buf_printf(ret, ",\"%s\":", problem->resource_name);
        buf_add_json_string(ret, problem->resource);
    }
    if (problem->traceparent.len >= 35) {
        buf_add_str(ret, STR(",\"trace_id\":"));
        buf_add_json_string(ret, (struct str){problem->traceparent.ptr + 3, 32});
    }
    buf_add_char(ret, '}');
}
