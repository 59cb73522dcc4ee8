/* Webhooks of the payment provider: hints that something has happened to a payment. Only a signed one is looked at, and
 * only a few of its fields go any further.
 *
 * Source: Stripe, "Receive Stripe events in your webhook endpoint" (verify the signature manually). */
#include "api/answer.h"
#include "api/flights.h"
#include "api/json_body.h"
#include "api/limits.h"
#include "api/routes.h"
#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/metrics.h"

enum { TOLERANCE_SECONDS = 300, SIGNATURE_HEADER_MAX = 1024, STATUS_MAX = 64, EVENT_TYPE_MAX = 100 };

/* ---- the signature ---- */

static bool hex_decode(struct str text, uint8_t ret[SHA256_SIZE]) {
    if (text.len != 2 * (size_t)SHA256_SIZE)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0)
            return false;
        ret[i / 2] = (uint8_t)(i % 2 ? ret[i / 2] << 4 | digit : digit);
    }
    return true;
}

static bool is_signed_by(struct str secret, struct str payload, const uint8_t given[SHA256_SIZE]) {
    uint8_t ours[SHA256_SIZE];
    if (!secret.ptr)
        return false;
    hmac_sha256(secret, payload, ours);
    return bytes_equal_secret(ours, given, sizeof ours);
}

/* The seconds of `t`; -1: there is none, or more than one. */
static int64_t signed_at(struct str header) {
    int64_t at = -1;
    struct str rest = header;
    while (rest.ptr) {
        int64_t seconds;
        struct str value, item = str_cut(rest, ',', &rest), name = str_cut(item, '=', &value);
        if (!str_eq(name, STR("t")))
            continue;
        if (at >= 0 || !value.ptr || !str_to_i64(value, &seconds) || seconds < 0)
            return -1;
        at = seconds;
    }
    return at;
}

/* Any of the signatures in the header may be of any of our secrets: while one takes the other's place both are used. */
static bool any_fits(struct str header, const struct secret_pair *secrets, struct str payload) {
    bool fits = false;
    struct str rest = header;
    while (rest.ptr) {
        uint8_t given[SHA256_SIZE];
        struct str value, item = str_cut(rest, ',', &rest), name = str_cut(item, '=', &value);
        if (str_eq(name, STR("v1")) && value.ptr && hex_decode(value, given)) {
            fits |= is_signed_by(secrets->current, payload, given);
            fits |= is_signed_by(secrets->previous, payload, given);
        }
    }
    return fits;
}

static bool signature_check(struct request *request, struct err *err) {
    struct str header = str_from(MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Stripe-Signature"));
    if (!header.ptr || !header.len || header.len > SIGNATURE_HEADER_MAX)
        return err_set(err, ERR_INVALID_BODY, "A Stripe-Signature header is required.");
    int64_t at = signed_at(header), now = clock_now_us() / 1000000;
    if (at < now - TOLERANCE_SECONDS || at > now + TOLERANCE_SECONDS)
        return err_set(err, ERR_INVALID_BODY, "The Stripe-Signature was not made within the last %d seconds.",
                       (int)TOLERANCE_SECONDS);
    BUF_AUTO payload = {0};
    buf_printf(&payload, "%lld.", (long long)at);
    buf_add_str(&payload, buf_str(&request->body));
    return any_fits(header, &request->api->config.webhook_secrets, buf_str(&payload)) ||
           err_set(err, ERR_INVALID_BODY, "The Stripe-Signature does not fit the body.");
}

/* ---- the event ---- */

static struct str text_of(const json_t *object, const char *name) {
    const json_t *text = json_object_get(object, name);
    return json_is_string(text) ? (struct str){json_string_value(text), json_string_length(text)} : STR_NULL;
}

/* Short, and of visible characters, as the provider's ids and words are. */
static bool is_word(struct str text, size_t max) {
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] <= ' ' || text.ptr[i] > '~')
            return false;
    return text.len >= 1 && text.len <= max;
}

/* The payment that the event is about: the object itself, or the one that it names (a charge, a refund). */
static bool object_read(const json_t *object, struct payment_provider_notified *ret, struct err *err) {
    struct str id = text_of(object, "id"), payment = text_of(object, "payment_intent");
    struct str status = text_of(object, "status");
    bool is_payment = str_eq(text_of(object, "object"), STR("payment_intent"));
    ret->object_id = !is_payment && payment.ptr ? payment : id;
    if (!is_word(ret->object_id, 255))
        return err_field(err, ERR_INVALID_BODY, "/data/object/id", "must be the id of an object");
    if (is_payment && is_word(status, STATUS_MAX))
        ret->status = status;
    struct str order_id = text_of(json_object_get(object, "metadata"), "order_id");
    if (order_id.ptr && id_valid(order_id))
        ret->order_id = order_id;
    return true;
}

static bool event_read(struct request *request, struct payment_provider_notified *ret, struct err *err) {
    const json_t *object = json_object_get(json_object_get(request->json, "data"), "object");
    *ret = (struct payment_provider_notified){.provider = STR("stripe"),
                                              .provider_event_id = text_of(request->json, "id"),
                                              .event_type = text_of(request->json, "type"),
                                              .payload_hash = str_from(request->body_hash)};
    if (!is_word(ret->provider_event_id, 255))
        return err_field(err, ERR_INVALID_BODY, "/id", "must be the id of an event");
    if (!is_word(ret->event_type, EVENT_TYPE_MAX))
        return err_field(err, ERR_INVALID_BODY, "/type", "must be the type of an event");
    if (!json_is_object(object))
        return err_field(err, ERR_INVALID_BODY, "/data/object", "must be an object");
    return object_read(object, ret, err);
}

static void count(const char *routed) {
    BUF_AUTO labels = {0};
    buf_printf(&labels, "routed=\"%s\"", routed);
    metrics_add(metrics_counter("orderlog_webhooks_total",
                                "Webhooks of the payment provider that were kept, by whether they name an order.",
                                labels.ptr),
                1);
}

static void kept(struct request *request) {
    buf_printf(answer_json(request, 200), "{\"received\":true}");
}

/* The provider sends as much as there is; what is not signed is as anybody's request. */
static bool rate_check(struct request *request, struct err *err) {
    struct err unsigned_err = {0};
    if (!limits_rate_look(request, err))
        return false;
    if (signature_check(request, &unsigned_err))
        return true;
    if (limits_rate_check(request, err))
        *err = unsigned_err;
    return false;
}

/* A webhook sent again has the same id, so that it is the same command. */
void webhooks_stripe(struct request *request) {
    struct message message = {.type = MESSAGE_PAYMENT_PROVIDER_NOTIFIED};
    struct payment_provider_notified *notified = &message.payment_provider_notified;
    struct err *err = err_none(&request->err);
    if (!request->api->config.webhook_secrets.current.ptr) {
        answer_not_found(request); /* nobody could sign */
        return;
    }
    if (!rate_check(request, err) || !event_read(request, notified, err)) {
        answer_err(request, err);
        return;
    }
    struct str parts[] = {STR("webhook"), notified->provider, notified->provider_event_id};
    request->command_id = id_derive(parts, sizeof parts / sizeof parts[0]);
    count(notified->order_id.ptr ? "yes" : "no");
    if (!notified->order_id.ptr)
        logging_write(LOG_WARN, "webhook.unrouted", "webhook=%.*s type=%.*s object=%.*s",
                      STR_ARG(notified->provider_event_id), STR_ARG(notified->event_type),
                      STR_ARG(notified->object_id));
    flight_start(request, &message, kept);
}
