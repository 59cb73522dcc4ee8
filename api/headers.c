#include "api/headers.h"

#include <strings.h>

/* What several tracestate headers come to: more is not looked at. */
enum { TRACESTATE_JOINED_MAX = 4096 };

enum known {
    HEADER_AUTHORIZATION,
    HEADER_CONTENT_LENGTH,
    HEADER_CONTENT_TYPE_GIVEN,
    HEADER_HOST,
    HEADER_IDEMPOTENCY_KEY,
    HEADER_LAST_EVENT_ID,
    HEADER_ORDERLOG_AFTER,
    HEADER_PREFER,
    HEADER_TRACEPARENT_GIVEN,
    HEADER_TRACESTATE_GIVEN,
    HEADER_TRANSFER_ENCODING,
    HEADER_KNOWN_COUNT,
};

static const struct str known_names[] = {
    [HEADER_AUTHORIZATION] = {"Authorization", 13},
    [HEADER_CONTENT_LENGTH] = {"Content-Length", 14},
    [HEADER_CONTENT_TYPE_GIVEN] = {"Content-Type", 12},
    [HEADER_HOST] = {"Host", 4},
    [HEADER_IDEMPOTENCY_KEY] = {"Idempotency-Key", 15},
    [HEADER_TRACEPARENT_GIVEN] = {"traceparent", 11},
    [HEADER_TRACESTATE_GIVEN] = {"tracestate", 10},
    [HEADER_ORDERLOG_AFTER] = {"Orderlog-After", 14},
    [HEADER_PREFER] = {"Prefer", 6},
    [HEADER_LAST_EVENT_ID] = {"Last-Event-ID", 13},
    [HEADER_TRANSFER_ENCODING] = {"Transfer-Encoding", 17},
};

struct scan {
    struct request *request;
    struct str values[HEADER_KNOWN_COUNT];
    int traceparents; /* several are as good as none */
    struct err *err;
    bool ok;
};

static bool equal_caseless(struct str a, struct str b) {
    return a.len == b.len && strncasecmp(a.ptr, b.ptr, a.len) == 0;
}

static bool is_token(struct str name) {
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c <= ' ' || c >= 0x7F || strchr("\"(),/:;<=>?@[\\]{}", c))
            return false;
    }
    return name.len > 0;
}

static bool value_is_clean(struct str value) {
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7F)
            return false;
    }
    return true;
}

/* Tracing never fails a request, and a tracestate may come in several headers. */
static void value_take(struct scan *scan, size_t i, struct str text) {
    struct str before = scan->values[i];
    scan->values[i] = text;
    scan->traceparents += i == HEADER_TRACEPARENT_GIVEN;
    if (!before.ptr || i == HEADER_TRACEPARENT_GIVEN)
        return;
    scan->ok = i == HEADER_TRACESTATE_GIVEN;
    if (scan->ok && before.len > TRACESTATE_JOINED_MAX)
        scan->values[i] = before; /* longer than what is passed on: the rest may be dropped */
    else if (scan->ok)
        scan->values[i] = arena_printf(&scan->request->arena, "%.*s,%.*s", STR_ARG(before), STR_ARG(text));
    else
        err_set(scan->err, ERR_INVALID_BODY, "The header %s is given twice.", known_names[i].ptr);
}

static enum MHD_Result scan_header(void *user, enum MHD_ValueKind kind, const char *key, size_t key_len,
                                   const char *value, size_t value_len) {
    (void)kind;
    struct scan *scan = user;
    struct str name = {key, key_len};
    struct str text = {value ? value : "", value ? value_len : 0};
    scan->ok = is_token(name) && value_is_clean(text);
    if (!scan->ok) {
        err_set(scan->err, ERR_INVALID_BODY, "A header holds characters that may not be in one.");
        return MHD_NO;
    }
    for (size_t i = 0; i < HEADER_KNOWN_COUNT; i++) {
        if (!equal_caseless(name, known_names[i]))
            continue;
        while (text.len && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t'))
            text.len--;
        value_take(scan, i, text);
        break;
    }
    return scan->ok ? MHD_YES : MHD_NO;
}

/* RFC 9112, 6.1 and 6.3: what two servers could read in two ways is refused. */
static bool framing_check(struct request *request, const struct scan *scan, struct err *err) {
    struct str length = scan->values[HEADER_CONTENT_LENGTH];
    struct str encoding = scan->values[HEADER_TRANSFER_ENCODING];
    int64_t bytes = 0;
    if (length.ptr && encoding.ptr)
        return err_set(err, ERR_INVALID_BODY, "Content-Length and Transfer-Encoding exclude each other.");
    if (encoding.ptr && !equal_caseless(encoding, STR("chunked")))
        return err_set(err, ERR_INVALID_BODY, "The only Transfer-Encoding known is chunked.");
    if (length.ptr && (!str_to_i64(length, &bytes) || length.ptr[0] == '-'))
        return err_set(err, ERR_INVALID_BODY, "Content-Length is not a number of bytes.");
    request->content_length = (uint64_t)bytes;
    request->has_body = encoding.ptr || bytes > 0;
    return true;
}

/* What is passed on: our own span with tracing on, else the request's context as it came, or a new trace. A later
 * version's is told as version 00's, which is what was understood of it. */
static void trace_take(struct request *request, const struct scan *scan) {
    struct trace_context context;
    struct str text = scan->values[HEADER_TRACEPARENT_GIVEN];
    bool given = scan->traceparents == 1 && trace_context_parse(text, &context);
    if (given)
        request->tracestate = tracestate_read(scan->values[HEADER_TRACESTATE_GIVEN], &request->arena);
    if (trace_on()) {
        span_enter(&request->span, given ? &context : NULL);
        context = request->span.context;
    } else if (!given) {
        trace_context_begin(&context);
    } else if (str_starts_with(text, STR("00"))) {
        request->traceparent = text;
        return;
    }
    request->traceparent = trace_context_format(&context, arena_alloc(&request->arena, TRACEPARENT_SIZE));
}

bool headers_say_json(struct str content_type) {
    struct str parameter;
    struct str type = str_cut(content_type, ';', &parameter);
    while (type.len && type.ptr[type.len - 1] == ' ')
        type.len--;
    if (!content_type.ptr || !equal_caseless(type, STR("application/json")))
        return false;
    while (parameter.len && parameter.ptr[0] == ' ')
        parameter = (struct str){parameter.ptr + 1, parameter.len - 1};
    return parameter.len == 0 || equal_caseless(parameter, STR("charset=utf-8")) ||
           equal_caseless(parameter, STR("charset=\"utf-8\""));
}

/* The strings are the connection's; they live as long as the request. */
bool headers_read(struct request *request, struct err *err) {
    struct scan scan = {.request = request, .err = err, .ok = true};
    MHD_get_connection_values_n(request->connection, MHD_HEADER_KIND, scan_header, &scan);
    trace_take(request, &scan);
    if (!scan.ok || !framing_check(request, &scan, err))
        return false;
    request->authorization = scan.values[HEADER_AUTHORIZATION];
    request->idempotency_key = scan.values[HEADER_IDEMPOTENCY_KEY];
    request->prefer = scan.values[HEADER_PREFER];
    request->after = scan.values[HEADER_ORDERLOG_AFTER];
    request->last_event_id = scan.values[HEADER_LAST_EVENT_ID];
    request->content_type_given = scan.values[HEADER_CONTENT_TYPE_GIVEN];
    return true;
}
