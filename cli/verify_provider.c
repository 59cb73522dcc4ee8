/* The sandbox provider's ledger beside the log: what it holds and what it took, payment by payment, to the cent. */
#include "cli/verify.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#include "core/base/config.h"
#include "core/base/map.h"
#include "core/base/url.h"

enum { LEDGER_TIMEOUT_MS = 60000 };

/* What the log says of a payment, and what the ledger does. */
struct side {
    bool there;
    int64_t held_minor;
    int64_t taken_minor; /* less what was given back */
};

struct payment {
    char *order_id;
    char currency[8];
    struct side log, ledger;
    char *object; /* the provider's; NULL: none seen yet */
};

struct books {
    struct map payments; /* by payment_id */
    struct map objects;  /* the provider's id to struct payment; those are not ours to free */
};

static void payment_free(void *value) {
    struct payment *payment = value;
    free(payment->order_id);
    free(payment->object);
    free(payment);
}

static struct payment *payment_get(struct books *books, struct str payment_id) {
    void **slot = map_put(&books->payments, payment_id);
    if (!*slot)
        *slot = mem_zalloc(sizeof(struct payment));
    return *slot;
}

/* ---- the log ---- */

static void *books_begin(const struct verify_options *options, struct verify_result *result) {
    if (!options->provider_url[0]) {
        verify_skip(result, "no provider with a ledger was named (--provider)");
        return NULL;
    }
    return mem_zalloc(sizeof(struct books));
}

static void set_currency(struct payment *payment, struct str currency) {
    snprintf(payment->currency, sizeof payment->currency, "%.*s", STR_ARG(currency));
}

static void books_record(void *state, struct verify_result *result, const struct verify_record *record) {
    (void)result;
    const struct message *message = record->message;
    struct payment *payment;
    switch (message->type) {
    case MESSAGE_PAYMENT_REQUESTED:
        payment = payment_get(state, message->payment_requested.payment_id);
        payment->log.there = true;
        free(payment->order_id);
        payment->order_id = mem_strdup(message->payment_requested.order_id);
        set_currency(payment, message->payment_requested.amount.currency);
        return;
    case MESSAGE_PAYMENT_AUTHORIZED:
        payment = payment_get(state, message->payment_authorized.payment_id);
        payment->log.held_minor = message->payment_authorized.amount.minor;
        return;
    case MESSAGE_PAYMENT_CAPTURED:
        payment = payment_get(state, message->payment_captured.payment_id);
        payment->log.held_minor = 0;
        payment->log.taken_minor += message->payment_captured.amount.minor;
        return;
    case MESSAGE_PAYMENT_REFUNDED:
        payment = payment_get(state, message->payment_refunded.payment_id);
        payment->log.taken_minor -= message->payment_refunded.amount.minor;
        return;
    case MESSAGE_PAYMENT_VOIDED:
        payment_get(state, message->payment_voided.payment_id)->log.held_minor = 0;
        return;
    case MESSAGE_PAYMENT_AUTHORIZATION_EXPIRED:
        payment_get(state, message->payment_authorization_expired.payment_id)->log.held_minor = 0;
        return;
    default:
        return;
    }
}

/* ---- the ledger ---- */

static size_t on_body(char *bytes, size_t size, size_t count, void *user) {
    buf_add(user, bytes, size * count);
    return size * count;
}

static bool fetch(const char *provider_url, struct buf *body, long *ret_status, struct err *err) {
    const char *secret;
    BUF_AUTO url = {0};
    BUF_AUTO header = {0};
    if (!config_require("ORDERLOG_PROVIDER_SECRET", &secret, err))
        return false;
    buf_printf(&url, "%s/sandbox/ledger", provider_url);
    buf_printf(&header, "Authorization: Bearer %s", secret);
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, header.ptr);
    curl_easy_setopt(curl, CURLOPT_URL, url.ptr);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)LEDGER_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return code == CURLE_OK ||
           err_set(err, ERR_PROVIDER_UNAVAILABLE, "%s: %s", url_show(url.ptr).text, curl_easy_strerror(code));
}

static struct str text_of(const json_t *object, const char *name) {
    return str_from(json_string_value(json_object_get(object, name)));
}

static int64_t number_of(const json_t *object, const char *name) {
    return json_integer_value(json_object_get(object, name));
}

static void take_intent(struct books *books, struct verify_result *result, const json_t *intent) {
    const json_t *metadata = json_object_get(intent, "metadata");
    struct str id = text_of(intent, "id"), payment_id = text_of(metadata, "payment_id");
    struct payment *payment = payment_id.len ? map_get(&books->payments, payment_id) : NULL;
    if (!payment || !payment->log.there) {
        verify_violation(result, NULL, "the provider has %.*s, which the log never asked for", STR_ARG(id));
        return;
    }
    if (payment->object)
        verify_violation(result, NULL, "payment %.*s of order %s was made twice: %s and %.*s", STR_ARG(payment_id),
                         payment->order_id, payment->object, STR_ARG(id));
    if (!str_eq(text_of(metadata, "order_id"), str_from(payment->order_id)) ||
        strcasecmp(json_string_value(json_object_get(intent, "currency")), payment->currency) != 0)
        verify_violation(result, NULL, "%.*s is of another order or currency than payment %.*s", STR_ARG(id),
                         STR_ARG(payment_id));
    free(payment->object);
    payment->object = mem_strdup(id);
    payment->ledger.there = true;
    payment->ledger.held_minor += number_of(intent, "amount_capturable");
    payment->ledger.taken_minor += number_of(intent, "amount_received");
    *map_put(&books->objects, id) = payment;
}

static void take_refund(struct books *books, const json_t *refund) {
    struct payment *payment = map_get(&books->objects, text_of(refund, "payment_intent"));
    if (payment)
        payment->ledger.taken_minor -= number_of(refund, "amount");
}

static void compare(const struct books *books, const struct verify_options *options, struct verify_result *result) {
    int64_t held_minor = 0, taken_minor = 0;
    for (struct map_entry *at = NULL; (at = map_next(&books->payments, at));) {
        const struct payment *payment = at->value;
        const struct side *log = &payment->log, *ledger = &payment->ledger;
        if (!log->there)
            continue;
        result->count++;
        held_minor += ledger->held_minor;
        taken_minor += ledger->taken_minor;
        bool equal = log->held_minor == ledger->held_minor && log->taken_minor == ledger->taken_minor;
        if (!equal && !options->in_flight)
            verify_violation(result, NULL,
                             "payment %.*s of order %s: by the log %" PRId64 " is held and %" PRId64
                             " taken, by the provider %" PRId64 " and %" PRId64,
                             STR_ARG(at->key), payment->order_id, log->held_minor, log->taken_minor, ledger->held_minor,
                             ledger->taken_minor);
    }
    if (!result->violations)
        buf_printf(&result->note, "held %" PRId64 ", taken %" PRId64 " minor units, by both", held_minor, taken_minor);
}

static bool books_finish(void *state, const struct verify_options *options, struct verify_result *result,
                         struct err *err) {
    struct books *books = state;
    BUF_AUTO body = {0};
    long status = 0;
    size_t i;
    json_t *object;
    if (!fetch(options->provider_url, &body, &status, err))
        return false;
    json_t *ledger = json_loadb(body.ptr ? body.ptr : "", body.len, 0, NULL);
    bool ok = status == 200 && json_is_array(json_object_get(ledger, "payment_intents"));
    json_array_foreach(json_object_get(ledger, "payment_intents"), i, object) take_intent(books, result, object);
    json_array_foreach(json_object_get(ledger, "refunds"), i, object) take_refund(books, object);
    json_decref(ledger);
    if (!ok)
        return err_set(err, ERR_PROVIDER_UNAVAILABLE, "%s/sandbox/ledger was answered %ld, and is no ledger",
                       url_show(options->provider_url).text, status);
    compare(books, options, result);
    return true;
}

static void books_end(void *state) {
    struct books *books = state;
    map_free(&books->objects, NULL);
    map_free(&books->payments, payment_free);
    free(books);
}

const struct verify_check verify_provider = {
    .name = "provider-equals-log",
    .holds = "the provider holds and took what the log says, to the cent",
    .begin = books_begin,
    .record = books_record,
    .finish = books_finish,
    .end = books_end,
};
