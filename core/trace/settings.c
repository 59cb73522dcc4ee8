#include "core/trace/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "core/base/config.h"
#include "core/base/ids.h"
#include "core/base/url.h"
#include "core/trace/otlp.h"

enum { RESOURCE_MAX = 64 };

struct pair {
    struct buf key, value;
};

/* ---- key=value,key=value ---- */

static int digit_of(char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

static bool decode(struct str text, struct buf *ret) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            int high = i + 2 < text.len ? digit_of(text.ptr[i + 1]) : -1;
            int low = high < 0 ? -1 : digit_of(text.ptr[i + 2]);
            if (low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if ((unsigned char)c < ' ' || c == 0x7F)
            return false;
        buf_add_char(ret, c);
    }
    return str_is_utf8(buf_str(ret));
}

static struct str trimmed(struct str s) {
    while (s.len && *s.ptr == ' ')
        s = (struct str){s.ptr + 1, s.len - 1};
    while (s.len && s.ptr[s.len - 1] == ' ')
        s.len--;
    return s;
}

/* The next pair, or false with ret_end at the end, else at one that is wrong. */
static bool take_pair(struct str *rest, struct pair *ret, bool *ret_end) {
    struct str value, given = {0};
    while (rest->ptr && !given.len)
        given = trimmed(str_cut(*rest, ',', rest));
    *ret_end = !given.len;
    if (*ret_end)
        return false;
    struct str key = trimmed(str_cut(given, '=', &value));
    buf_reset(&ret->key);
    buf_reset(&ret->value);
    return key.len && value.ptr && decode(key, &ret->key) && decode(trimmed(value), &ret->value);
}

static void pair_free(struct pair *pair) {
    buf_free(&pair->key);
    buf_free(&pair->value);
}
#define PAIR_AUTO __attribute__((cleanup(pair_free))) struct pair

static bool is_token(struct str name) {
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] <= ' ' || name.ptr[i] > '~' || strchr("\"(),/:;<=>?@[\\]{}", name.ptr[i]))
            return false;
    return name.len > 0;
}

bool trace_headers_read(struct str given, struct buf *ret, struct err *err) {
    PAIR_AUTO pair = {0};
    bool end = false;
    while (take_pair(&given, &pair, &end) && is_token(buf_str(&pair.key)))
        buf_printf(ret, "%s: %s\n", pair.key.ptr, buf_str(&pair.value).ptr);
    /* What stands there may be secret: it is not repeated. */
    return end ||
           err_set(err, ERR_CONFIG, "OTEL_EXPORTER_OTLP_HEADERS must be NAME=value,… with values percent-encoded");
}

/* ---- the resource ---- */

struct resource {
    struct pair pairs[RESOURCE_MAX];
    size_t count;
};

static bool resource_set(struct resource *resource, struct str key, struct str value) {
    size_t i = 0;
    while (i < resource->count && !str_eq(buf_str(&resource->pairs[i].key), key))
        i++;
    if (i == RESOURCE_MAX)
        return false;
    if (i == resource->count) {
        buf_add_str(&resource->pairs[i].key, key);
        resource->count++;
    }
    buf_reset(&resource->pairs[i].value);
    buf_add_str(&resource->pairs[i].value, value);
    return true;
}

static bool resource_given(struct resource *resource, struct err *err) {
    PAIR_AUTO pair = {0};
    bool end = false;
    struct str given = str_from(config_get("OTEL_RESOURCE_ATTRIBUTES", ""));
    while (take_pair(&given, &pair, &end))
        if (!resource_set(resource, buf_str(&pair.key), buf_str(&pair.value)))
            return err_set(err, ERR_CONFIG, "OTEL_RESOURCE_ATTRIBUTES has too many");
    return end || err_set(err, ERR_CONFIG, "OTEL_RESOURCE_ATTRIBUTES must be key=value,… with values percent-encoded");
}

static bool resource_load(struct buf *ret, struct err *err) {
    struct resource resource = {0};
    struct id instance = id_random();
    const char *name = config_get("OTEL_SERVICE_NAME", NULL);
    char pid[24];
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    resource_set(&resource, STR("service.name"), STR("orderlog"));
    resource_set(&resource, STR("service.version"), STR(ORDERLOG_VERSION));
    resource_set(&resource, STR("service.instance.id"), id_str(&instance));
    resource_set(&resource, STR("telemetry.sdk.name"), STR("orderlog"));
    resource_set(&resource, STR("telemetry.sdk.language"), STR("c"));
    resource_set(&resource, STR("telemetry.sdk.version"), STR(ORDERLOG_VERSION));
    resource_set(&resource, STR("process.pid"), str_from(pid));
    bool ok = resource_given(&resource, err);
    if (name && *name)
        ok = resource_set(&resource, STR("service.name"), str_from(name)) && ok;
    for (size_t i = 0; i < resource.count; i++) {
        otlp_add_resource_attribute(ret, resource.pairs[i].key.ptr, buf_str(&resource.pairs[i].value));
        pair_free(&resource.pairs[i]);
    }
    return ok;
}

/* ---- where to ---- */

/* A setting of traces alone wins over that of all signals. */
static const char *signal_get(const char *what, const char *fallback) {
    char all[64], traces[64];
    snprintf(all, sizeof all, "OTEL_EXPORTER_OTLP_%s", what);
    snprintf(traces, sizeof traces, "OTEL_EXPORTER_OTLP_TRACES_%s", what);
    const char *value = config_get(traces, NULL);
    value = value && *value ? value : config_get(all, NULL);
    return value && *value ? value : fallback;
}

static bool endpoint_load(struct buf *ret) {
    const char *own = config_get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", NULL);
    struct str all = str_from(config_get("OTEL_EXPORTER_OTLP_ENDPOINT", NULL));
    if (own && *own) {
        buf_add_str(ret, str_from(own));
        return true;
    }
    while (all.len && all.ptr[all.len - 1] == '/')
        all.len--;
    if (all.len)
        buf_printf(ret, "%.*s/v1/traces", STR_ARG(all));
    return all.len > 0;
}

static bool is_switched_off(bool *ret, struct err *err) {
    const char *exporter = config_get("OTEL_TRACES_EXPORTER", "otlp");
    *ret = strcasecmp(config_get("OTEL_SDK_DISABLED", "false"), "true") == 0 || strcmp(exporter, "none") == 0;
    return *ret || !*exporter || strcmp(exporter, "otlp") == 0 ||
           err_set(err, ERR_CONFIG, "OTEL_TRACES_EXPORTER must be otlp or none, not %s", exporter);
}

static bool transport_load(struct trace_settings *ret, struct err *err) {
    const char *protocol = signal_get("PROTOCOL", "http/protobuf"), *compression = signal_get("COMPRESSION", "none");
    BUF_AUTO lines = {0};
    ret->headers = signal_get("HEADERS", NULL);
    ret->ca_file = signal_get("CERTIFICATE", NULL);
    ret->gzip = strcmp(compression, "gzip") == 0;
    if (strcmp(protocol, "http/protobuf") != 0)
        return err_set(err, ERR_CONFIG, "OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf, not %s", protocol);
    if (!ret->gzip && strcmp(compression, "none") != 0)
        return err_set(err, ERR_CONFIG, "OTEL_EXPORTER_OTLP_COMPRESSION must be gzip or none, not %s", compression);
    if (strncasecmp(ret->url.ptr, "http://", 7) != 0 && strncasecmp(ret->url.ptr, "https://", 8) != 0)
        return err_set(err, ERR_CONFIG, "OTEL_EXPORTER_OTLP_ENDPOINT must be an http(s) URL, not %s",
                       url_show(ret->url.ptr).text);
    return !ret->headers || trace_headers_read(str_from(ret->headers), &lines, err);
}

static bool numbers_load(struct trace_settings *ret, struct err *err) {
    int64_t all_ms;
    return config_int("OTEL_EXPORTER_OTLP_TIMEOUT", 10000, 1, 600000, &all_ms, err) &&
           config_int("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", all_ms, 1, 600000, &ret->timeout_ms, err) &&
           config_int("OTEL_BSP_SCHEDULE_DELAY", 5000, 1, 600000, &ret->delay_ms, err) &&
           config_int("OTEL_BSP_MAX_QUEUE_SIZE", 16384, 1, 1000000, &ret->queue_max, err) &&
           config_int("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, 1, 100000, &ret->batch_max, err);
}

/* ---- which traces ---- */

static bool ratio_load(double *ret, struct err *err) {
    const char *text = config_get("OTEL_TRACES_SAMPLER_ARG", "1");
    char *end;
    *ret = strtod(text, &end);
    return (end != text && !*end && *ret >= 0 && *ret <= 1) ||
           err_set(err, ERR_CONFIG, "OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1, not %s", text);
}

static bool sampler_load(struct trace_settings *ret, struct err *err) {
    static const struct str prefix = {"parentbased_", 12};
    const char *name = config_get("OTEL_TRACES_SAMPLER", "parentbased_always_on");
    struct str root = str_from(name);
    double ratio = 1;
    ret->by_parent = str_starts_with(root, prefix);
    if (ret->by_parent)
        root = (struct str){root.ptr + prefix.len, root.len - prefix.len};
    if (str_eq(root, STR("always_off")))
        ratio = 0;
    else if (str_eq(root, STR("traceidratio")) && !ratio_load(&ratio, err))
        return false;
    else if (!str_eq(root, STR("always_on")) && !str_eq(root, STR("traceidratio")))
        return err_set(
            err, ERR_CONFIG,
            "OTEL_TRACES_SAMPLER must be always_on, always_off or traceidratio, or that behind parentbased_, "
            "not %s",
            name);
    ret->always = ratio >= 1;
    ret->below = ret->always ? UINT64_MAX : (uint64_t)(ratio * 18446744073709551616.0);
    return true;
}

bool trace_settings_load(struct trace_settings *ret, struct err *err) {
    bool off;
    if (!is_switched_off(&off, err))
        return false;
    if (off || !endpoint_load(&ret->url))
        return true;
    ret->on = transport_load(ret, err) && numbers_load(ret, err) && sampler_load(ret, err) &&
              resource_load(&ret->resource, err);
    return ret->on;
}

void trace_settings_free(struct trace_settings *settings) {
    buf_free(&settings->url);
    buf_free(&settings->resource);
}
