#include "cli/provider_stripe.h"

#include "cli/provider_form.h"
#include "core/base/clock.h"
#include "core/base/ids.h"

#include <stdlib.h>

enum { AMOUNT_MAX = 99999999, KEY_MAX = 255 };

/* One request on its way to an answer. */
struct call {
    struct provider_store *store;
    const struct stripe_request *request;
    struct form form;
    struct stripe_response *response;
    bool keep; /* the endpoint began its work, so that the answer belongs to the idempotency key */
};

/* ---- answers ---- */

static void answer_json(struct stripe_response *ret, int status, json_t *body) {
    char *text = json_dumps(body, JSON_COMPACT);
    ret->status = status;
    buf_reset(&ret->body);
    buf_printf(&ret->body, "%s", text);
    free(text);
}

/* Steals `intent`, which may be NULL. */
static void answer_error(struct stripe_response *ret, int status, const char *type, const char *code, const char *param,
                         json_t *intent, const char *message) {
    json_t *error = json_pack("{s:s, s:s}", "type", type, "message", message);
    if (code)
        json_object_set_new(error, "code", json_string(code));
    if (param)
        json_object_set_new(error, "param", json_string(param));
    if (intent)
        json_object_set_new(error, "payment_intent", intent);
    json_t *body = json_pack("{s:o}", "error", error);
    answer_json(ret, status, body);
    json_decref(body);
}

void stripe_error(struct stripe_response *ret, int status, const char *type, const char *code, const char *param,
                  const char *format, ...) {
    BUF_AUTO message = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&message, format, args);
    va_end(args);
    answer_error(ret, status, type, code, param, NULL, message.ptr);
}

#define invalid(call, code, param, ...)                                                                                \
    stripe_error((call)->response, 400, "invalid_request_error", (code), (param), __VA_ARGS__)

/* ---- parameters ---- */

static bool name_is_known(struct str name, const char *const *known) {
    for (; *known; known++) {
        struct str want = str_from(*known);
        bool whole = str_eq(name, want);
        if (whole || (str_starts_with(name, want) && name.len > want.len && name.ptr[want.len] == '['))
            return true;
    }
    return false;
}

static bool params_check(struct call *call, const char *const *known) {
    for (size_t i = 0; i < call->form.count; i++) {
        struct str name = call->form.fields[i].name;
        if (name_is_known(name, known))
            continue;
        BUF_AUTO text = {0};
        buf_add_str(&text, name);
        invalid(call, "parameter_unknown", text.ptr, "Received unknown parameter: %s", text.ptr ? text.ptr : "");
        return false;
    }
    return true;
}

/* An amount from 1 to `max`; `fallback` when it is not given, unless that is negative: then it must be. */
static bool param_amount(struct call *call, const char *name, int64_t fallback, int64_t max, int64_t *ret) {
    struct str text = form_get(&call->form, str_from(name));
    *ret = fallback;
    if (!text.ptr && fallback >= 0)
        return true;
    if (!text.ptr)
        invalid(call, "parameter_missing", name, "Missing required param: %s.", name);
    else if (!str_to_i64(text, ret))
        invalid(call, "parameter_invalid_integer", name, "Invalid integer: %.*s", STR_ARG(text));
    else if (*ret < 1)
        invalid(call, "parameter_invalid_integer", name, "This value must be greater than or equal to 1.");
    else if (*ret > max)
        invalid(call, "amount_too_large", name, "Amount must be no more than %lld", (long long)max);
    else
        return true;
    return false;
}

static bool param_choice(struct call *call, const char *name, const char *const *choices, const char *fallback,
                         const char **ret) {
    struct str text = form_get(&call->form, str_from(name));
    *ret = fallback;
    if (!text.ptr)
        return true;
    for (; *choices; choices++)
        if (str_eq(text, str_from(*choices))) {
            *ret = *choices;
            return true;
        }
    invalid(call, "parameter_invalid_string", name, "Invalid %s: %.*s", name, STR_ARG(text));
    return false;
}

static bool param_currency(struct call *call, char ret[4]) {
    struct str text = form_get(&call->form, STR("currency"));
    bool valid = text.len == 3;
    for (size_t i = 0; valid && i < 3; i++) {
        ret[i] = (char)(text.ptr[i] | 0x20);
        valid = ret[i] >= 'a' && ret[i] <= 'z';
    }
    ret[3] = '\0';
    if (!text.ptr)
        invalid(call, "parameter_missing", "currency", "Missing required param: currency.");
    else if (!valid)
        invalid(call, "parameter_invalid_string", "currency", "Invalid currency: %.*s", STR_ARG(text));
    return valid;
}

/* metadata[name]=value; an empty value sets nothing, as with Stripe. */
static json_t *param_metadata(const struct call *call) {
    json_t *metadata = json_object();
    for (size_t i = 0; i < call->form.count; i++) {
        struct str name = call->form.fields[i].name, value = call->form.fields[i].value;
        if (!str_starts_with(name, STR("metadata[")) || !str_ends_with(name, STR("]")) || !value.len)
            continue;
        BUF_AUTO key = {0};
        buf_add(&key, name.ptr + 9, name.len - 10);
        json_object_set_new(metadata, key.ptr ? key.ptr : "", json_stringn(value.ptr, value.len));
    }
    return metadata;
}

/* ---- payment methods ---- */

static const struct {
    const char *token;
    const char *decline_code; /* NULL: it pays */
    const char *message;
} methods[] = {
    {"pm_card_visa", NULL, NULL},
    {"pm_card_visa_debit", NULL, NULL},
    {"pm_card_mastercard", NULL, NULL},
    {"pm_card_amex", NULL, NULL},
    {"pm_card_discover", NULL, NULL},
    {"pm_card_us", NULL, NULL},
    {"pm_card_chargeDeclined", "generic_decline", "Your card was declined."},
    {"pm_card_visa_chargeDeclined", "generic_decline", "Your card was declined."},
    {"pm_card_chargeDeclinedInsufficientFunds", "insufficient_funds", "Your card has insufficient funds."},
    {"pm_card_visa_chargeDeclinedInsufficientFunds", "insufficient_funds", "Your card has insufficient funds."},
    {"pm_card_chargeDeclinedLostCard", "lost_card", "Your card was declined."},
    {"pm_card_chargeDeclinedStolenCard", "stolen_card", "Your card was declined."},
};

/* The method's index; -1: there is none such, and that is answered. */
static int param_method(struct call *call, struct str token) {
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (str_eq(token, str_from(methods[i].token)))
            return (int)i;
    /* What it says is not repeated: it might be a card number. */
    invalid(call, "resource_missing", "payment_method", "No such PaymentMethod.");
    return -1;
}

/* ---- payment intents ---- */

static json_t *new_id(const char *prefix) {
    uint8_t bytes[12];
    random_bytes(bytes, sizeof bytes);
    BUF_AUTO text = {0};
    buf_printf(&text, "%s_", prefix);
    buf_add_hex(&text, bytes, sizeof bytes);
    return json_string(text.ptr);
}

static json_t *now_seconds(void) {
    return json_integer(clock_now_us() / 1000000);
}

static void intent_set(json_t *intent, const char *name, json_t *value) {
    json_object_set_new(intent, name, value);
}

static const char *intent_status(const json_t *intent) {
    return json_string_value(json_object_get(intent, "status"));
}

static int64_t intent_number(const json_t *intent, const char *name) {
    return json_integer_value(json_object_get(intent, name));
}

static json_t *intent_new(const struct call *call, int64_t amount, const char *currency, const char *capture_method) {
    json_t *intent = json_pack("{s:o, s:s, s:I, s:i, s:i, s:s, s:s, s:s, s:o, s:b}", "id", new_id("pi"), "object",
                               "payment_intent", "amount", (json_int_t)amount, "amount_capturable", 0,
                               "amount_received", 0, "capture_method", capture_method, "currency", currency, "status",
                               "requires_payment_method", "created", now_seconds(), "livemode", 0);
    intent_set(intent, "metadata", param_metadata(call));
    static const char *const nulls[] = {"canceled_at", "cancellation_reason", "last_payment_error", "latest_charge",
                                        "payment_method"};
    for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++)
        intent_set(intent, nulls[i], json_null());
    return intent;
}

/* Puts the intent and answers it. */
static bool intent_answer(struct call *call, json_t *intent, struct err *err) {
    if (!provider_store_intent_put(call->store, intent, err))
        return false;
    answer_json(call->response, 200, intent);
    return true;
}

/* Charges or refuses the card. */
static bool intent_confirm(struct call *call, json_t *intent, int method, struct err *err) {
    int64_t amount = intent_number(intent, "amount");
    bool manual = strcmp(json_string_value(json_object_get(intent, "capture_method")), "manual") == 0;
    intent_set(intent, "latest_charge", new_id("ch"));
    if (!methods[method].decline_code) {
        intent_set(intent, "payment_method", json_string(methods[method].token));
        intent_set(intent, "status", json_string(manual ? "requires_capture" : "succeeded"));
        intent_set(intent, manual ? "amount_capturable" : "amount_received", json_integer(amount));
        return intent_answer(call, intent, err);
    }
    json_t *error = json_pack("{s:s, s:s, s:s, s:s}", "type", "card_error", "code", "card_declined", "decline_code",
                              methods[method].decline_code, "message", methods[method].message);
    intent_set(intent, "last_payment_error", json_deep_copy(error));
    bool ok = provider_store_intent_put(call->store, intent, err);
    json_object_set(error, "payment_intent", intent);
    json_t *body = json_pack("{s:o}", "error", error);
    answer_json(call->response, 402, body);
    json_decref(body);
    return ok;
}

static bool intent_create(struct call *call, struct err *err) {
    static const char *const known[] = {"amount",
                                        "currency",
                                        "capture_method",
                                        "confirm",
                                        "payment_method",
                                        "payment_method_types",
                                        "description",
                                        "metadata",
                                        "off_session",
                                        "automatic_payment_methods",
                                        "error_on_requires_action",
                                        "confirmation_method",
                                        NULL};
    static const char *const capture_methods[] = {"automatic", "automatic_async", "manual", NULL};
    static const char *const booleans[] = {"true", "false", NULL};
    int64_t amount;
    char currency[4];
    const char *capture_method, *confirm;
    if (!params_check(call, known) || !param_amount(call, "amount", -1, AMOUNT_MAX, &amount) ||
        !param_currency(call, currency) ||
        !param_choice(call, "capture_method", capture_methods, "automatic", &capture_method) ||
        !param_choice(call, "confirm", booleans, "false", &confirm))
        return true;
    struct str token = form_get(&call->form, STR("payment_method"));
    bool confirmed = strcmp(confirm, "true") == 0;
    int method = token.ptr ? param_method(call, token) : -1;
    if (token.ptr && method < 0)
        return true;
    if (confirmed && method < 0) {
        invalid(call, "parameter_missing", "payment_method",
                "You cannot confirm this PaymentIntent because it's missing a payment method.");
        return true;
    }
    call->keep = true;
    json_t *intent = intent_new(call, amount, currency, capture_method);
    if (!confirmed && method >= 0) {
        intent_set(intent, "payment_method", json_string(methods[method].token));
        intent_set(intent, "status", json_string("requires_confirmation"));
    }
    bool ok = confirmed ? intent_confirm(call, intent, method, err) : intent_answer(call, intent, err);
    json_decref(intent);
    return ok;
}

/* Finds the intent; NULL and true: there is none, and that is answered. */
static bool intent_find(struct call *call, struct str id, const char *param, int status, json_t **ret,
                        struct err *err) {
    if (!provider_store_intent(call->store, id, ret, err))
        return false;
    if (!*ret)
        stripe_error(call->response, status, "invalid_request_error", "resource_missing", param,
                     "No such payment_intent: '%.*s'", STR_ARG(id));
    return true;
}

static void unexpected_state(struct call *call, json_t *intent, const char *what) {
    BUF_AUTO message = {0};
    buf_printf(&message, "This PaymentIntent could not be %s because it has a status of %s.", what,
               intent_status(intent));
    answer_error(call->response, 400, "invalid_request_error", "payment_intent_unexpected_state", NULL,
                 json_deep_copy(intent), message.ptr);
}

static bool intent_get(struct call *call, json_t *intent, struct err *err) {
    (void)err;
    answer_json(call->response, 200, intent);
    return true;
}

/* What is not captured is let go. */
static bool intent_capture(struct call *call, json_t *intent, struct err *err) {
    static const char *const known[] = {"amount_to_capture", "metadata", NULL};
    int64_t capturable = intent_number(intent, "amount_capturable"), amount;
    if (!params_check(call, known))
        return true;
    call->keep = true;
    if (strcmp(intent_status(intent), "requires_capture") != 0) {
        unexpected_state(call, intent, "captured");
        return true;
    }
    if (!param_amount(call, "amount_to_capture", capturable, capturable, &amount))
        return true;
    intent_set(intent, "status", json_string("succeeded"));
    intent_set(intent, "amount_received", json_integer(amount));
    intent_set(intent, "amount_capturable", json_integer(0));
    return intent_answer(call, intent, err);
}

static bool intent_cancel(struct call *call, json_t *intent, struct err *err) {
    static const char *const known[] = {"cancellation_reason", NULL};
    static const char *const reasons[] = {"duplicate", "fraudulent", "requested_by_customer", "abandoned", NULL};
    const char *reason;
    if (!params_check(call, known) || !param_choice(call, "cancellation_reason", reasons, NULL, &reason))
        return true;
    call->keep = true;
    if (strcmp(intent_status(intent), "succeeded") == 0 || strcmp(intent_status(intent), "canceled") == 0) {
        unexpected_state(call, intent, "canceled");
        return true;
    }
    intent_set(intent, "status", json_string("canceled"));
    intent_set(intent, "amount_capturable", json_integer(0));
    intent_set(intent, "canceled_at", now_seconds());
    intent_set(intent, "cancellation_reason", reason ? json_string(reason) : json_null());
    return intent_answer(call, intent, err);
}

/* ---- refunds ---- */

static bool refund_make(struct call *call, json_t *intent, const char *reason, struct err *err) {
    struct str id = form_get(&call->form, STR("payment_intent"));
    int64_t refunded, amount, received = intent_number(intent, "amount_received");
    if (strcmp(intent_status(intent), "succeeded") != 0) {
        unexpected_state(call, intent, "refunded");
        return true;
    }
    if (!provider_store_refunded(call->store, id, &refunded, err))
        return false;
    if (refunded >= received) {
        invalid(call, "charge_already_refunded", NULL, "Charge %s has already been refunded.",
                json_string_value(json_object_get(intent, "latest_charge")));
        return true;
    }
    if (!param_amount(call, "amount", received - refunded, received - refunded, &amount))
        return true;
    json_t *refund =
        json_pack("{s:o, s:s, s:I, s:O, s:O, s:O, s:o, s:s}", "id", new_id("re"), "object", "refund", "amount",
                  (json_int_t)amount, "currency", json_object_get(intent, "currency"), "payment_intent",
                  json_object_get(intent, "id"), "charge", json_object_get(intent, "latest_charge"), "created",
                  now_seconds(), "status", "succeeded");
    intent_set(refund, "reason", reason ? json_string(reason) : json_null());
    intent_set(refund, "metadata", param_metadata(call));
    bool ok = provider_store_refund_add(call->store, refund, err);
    answer_json(call->response, 200, refund);
    json_decref(refund);
    return ok;
}

static bool refund_create(struct call *call, struct err *err) {
    static const char *const known[] = {"payment_intent", "amount", "reason", "metadata", NULL};
    static const char *const reasons[] = {"duplicate", "fraudulent", "requested_by_customer", NULL};
    struct str id = form_get(&call->form, STR("payment_intent"));
    const char *reason;
    json_t *intent;
    if (!params_check(call, known) || !param_choice(call, "reason", reasons, NULL, &reason))
        return true;
    if (!id.ptr) {
        invalid(call, "parameter_missing", "payment_intent", "Missing required param: payment_intent.");
        return true;
    }
    if (!intent_find(call, id, "payment_intent", 400, &intent, err))
        return false;
    if (!intent)
        return true;
    call->keep = true;
    bool ok = refund_make(call, intent, reason, err);
    json_decref(intent);
    return ok;
}

/* ---- routes ---- */

static void not_found(struct call *call) {
    stripe_error(call->response, 404, "invalid_request_error", NULL, NULL, "Unrecognized request URL (%.*s: %.*s).",
                 STR_ARG(call->request->method), STR_ARG(call->request->path));
}

/* /v1/payment_intents/{id}[/capture|/cancel] */
static bool route_intent(struct call *call, struct str rest, struct err *err) {
    struct str action, id = str_cut(rest, '/', &action);
    bool post = str_eq(call->request->method, STR("POST"));
    bool (*run)(struct call *, json_t *, struct err *) = NULL;
    if (post && str_eq(action, STR("capture")))
        run = intent_capture;
    else if (post && str_eq(action, STR("cancel")))
        run = intent_cancel;
    else if (str_eq(call->request->method, STR("GET")) && !action.ptr && id.len)
        run = intent_get;
    json_t *intent = NULL;
    if (!run) {
        not_found(call);
        return true;
    }
    if (!intent_find(call, id, "intent", 404, &intent, err))
        return false;
    bool ok = !intent || run(call, intent, err);
    json_decref(intent);
    return ok;
}

static bool route(struct call *call, struct err *err) {
    const struct stripe_request *request = call->request;
    bool post = str_eq(request->method, STR("POST"));
    struct str intents = STR("/v1/payment_intents/");
    if (str_starts_with(request->path, intents))
        return route_intent(call, (struct str){request->path.ptr + intents.len, request->path.len - intents.len}, err);
    if (post && str_eq(request->path, STR("/v1/payment_intents")))
        return intent_create(call, err);
    if (post && str_eq(request->path, STR("/v1/refunds")))
        return refund_create(call, err);
    if (!post && str_eq(request->path, STR("/sandbox/ledger"))) {
        call->response->status = 200;
        return provider_store_ledger(call->store, &call->response->body, err);
    }
    not_found(call);
    return true;
}

/* ---- idempotency ---- */

/* What an idempotency key stands for: the endpoint and its parameters. */
static void request_text(const struct stripe_request *request, struct buf *ret) {
    uint8_t hash[SHA256_SIZE];
    sha256(request->body, hash);
    buf_add_str(ret, request->path);
    buf_add_char(ret, ' ');
    buf_add_hex(ret, hash, sizeof hash);
}

/* *ret_done: the key was used before, and that is answered. */
static bool answer_again(struct call *call, struct str request, bool *ret_done, struct err *err) {
    struct provider_answer old = {0};
    bool ok = provider_store_answer(call->store, call->request->idempotency_key, &old, err);
    *ret_done = ok && old.found;
    if (*ret_done && str_eq(buf_str(&old.request), request)) {
        call->response->status = old.status;
        call->response->replayed = true;
        buf_add_str(&call->response->body, buf_str(&old.body));
    } else if (*ret_done) {
        stripe_error(call->response, 400, "idempotency_error", NULL, NULL,
                     "Keys for idempotent requests can only be used with the same parameters they were first used "
                     "with. Try using a key other than '%.*s' if you meant to execute a different request.",
                     STR_ARG(call->request->idempotency_key));
    }
    buf_free(&old.body);
    buf_free(&old.request);
    return ok;
}

static bool answer_once(struct call *call, struct err *err) {
    struct str key = call->request->idempotency_key;
    bool keyed = key.ptr && str_eq(call->request->method, STR("POST")), done = false;
    if (!keyed)
        return route(call, err);
    if (!key.len || key.len > KEY_MAX) {
        stripe_error(call->response, 400, "idempotency_error", NULL, NULL,
                     "An Idempotency-Key must have from 1 to %d characters.", (int)KEY_MAX);
        return true;
    }
    BUF_AUTO request = {0};
    request_text(call->request, &request);
    if (!answer_again(call, buf_str(&request), &done, err))
        return false;
    if (done)
        return true;
    return route(call, err) &&
           (!call->keep || provider_store_answer_add(call->store, key, buf_str(&request), call->response->status,
                                                     buf_str(&call->response->body), err));
}

bool stripe_answer(struct provider_store *store, const struct stripe_request *request, struct stripe_response *ret,
                   struct err *err) {
    struct arena arena;
    arena_init(&arena);
    struct call call = {.store = store, .request = request, .form = form_parse(request->body, &arena), .response = ret};
    bool ok = provider_store_begin(store, err);
    if (ok) {
        ok = answer_once(&call, err) && provider_store_commit(store, err);
        if (!ok)
            provider_store_rollback(store);
    }
    arena_free(&arena);
    return ok;
}
