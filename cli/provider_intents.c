/* Payment intents and refunds. */
#include "cli/provider_call.h"
#include "cli/provider_events.h"
#include "core/base/clock.h"
#include "core/base/ids.h"

enum { AMOUNT_MAX = 99999999 };

/* ---- payment methods ---- */

struct method {
    struct str token;
    const char *decline_code; /* NULL: it pays */
    const char *message;
};

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

/* False: there is none such, and that is answered. */
static bool param_method(struct stripe_call *call, struct str token, struct method *ret) {
    enum provider_fault fault;
    int64_t times;
    *ret = (struct method){.token = token};
    if (provider_token_parse(token, &fault, &times))
        return true;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (str_eq(token, str_from(methods[i].token))) {
            ret->decline_code = methods[i].decline_code;
            ret->message = methods[i].message;
            return true;
        }
    /* What it says is not repeated: it might be a card number. */
    stripe_invalid(call, "resource_missing", "payment_method", "No such PaymentMethod.");
    return false;
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

static json_t *intent_new(const struct stripe_call *call, int64_t amount, const char *currency,
                          const char *capture_method) {
    json_t *intent = json_pack("{s:o, s:s, s:I, s:i, s:i, s:s, s:s, s:s, s:o, s:b}", "id", new_id("pi"), "object",
                               "payment_intent", "amount", (json_int_t)amount, "amount_capturable", 0,
                               "amount_received", 0, "capture_method", capture_method, "currency", currency, "status",
                               "requires_payment_method", "created", now_seconds(), "livemode", 0);
    intent_set(intent, "metadata", stripe_param_metadata(call));
    static const char *const nulls[] = {"canceled_at", "cancellation_reason", "last_payment_error", "latest_charge",
                                        "payment_method"};
    for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++)
        intent_set(intent, nulls[i], json_null());
    return intent;
}

/* Puts the intent and answers it; `event` is told by a webhook, if it is not NULL. */
static bool intent_answer(struct stripe_call *call, json_t *intent, const char *event, struct err *err) {
    const struct stripe_request *request = call->request;
    if (!provider_store_intent_put(call->store, intent, err) ||
        (event && request->webhooks && !provider_has(request->faults, PROVIDER_FAULT_UNHEARD) &&
         !provider_event_add(call->store, intent, event, request->faults, request->after_ms, err)))
        return false;
    stripe_answer_json(call->response, 200, intent);
    return true;
}

static bool has_fault(const struct stripe_call *call, enum provider_fault fault) {
    return provider_has(call->request->faults, fault);
}

/* The card refuses. */
static bool intent_decline(struct stripe_call *call, json_t *intent, const struct method *method, struct err *err) {
    json_t *error = json_pack("{s:s, s:s, s:s, s:s}", "type", "card_error", "code", "card_declined", "decline_code",
                              method->decline_code, "message", method->message);
    intent_set(intent, "last_payment_error", json_deep_copy(error));
    bool ok = intent_answer(call, intent, "payment_failed", err);
    json_object_set(error, "payment_intent", intent);
    json_t *body = json_pack("{s:o}", "error", error);
    stripe_answer_json(call->response, 402, body);
    json_decref(body);
    return ok;
}

/* The bank takes its time, or wants to see the customer. */
static bool intent_postpone(struct stripe_call *call, json_t *intent, const char *status, struct err *err) {
    const struct stripe_request *request = call->request;
    intent_set(intent, "status", json_string(status));
    return provider_store_plan_add(call->store, str_from(json_string_value(json_object_get(intent, "id"))), "authorize",
                                   clock_now_us() / 1000 + request->after_ms, err) &&
           intent_answer(call, intent, NULL, err);
}

/* Charges or refuses the card. */
static bool intent_confirm(struct stripe_call *call, json_t *intent, const struct method *method, struct err *err) {
    int64_t amount = intent_number(intent, "amount") - has_fault(call, PROVIDER_FAULT_AMOUNT);
    bool manual = strcmp(json_string_value(json_object_get(intent, "capture_method")), "manual") == 0;
    struct method unlucky = {method->token, "generic_decline", "Your card was declined."};
    intent_set(intent, "latest_charge", new_id("ch"));
    if (method->decline_code || has_fault(call, PROVIDER_FAULT_DECLINE))
        return intent_decline(call, intent, method->decline_code ? method : &unlucky, err);
    intent_set(intent, "payment_method", json_stringn(method->token.ptr, method->token.len));
    if (has_fault(call, PROVIDER_FAULT_PROCESSING))
        return intent_postpone(call, intent, "processing", err);
    if (has_fault(call, PROVIDER_FAULT_ACTION))
        return intent_postpone(call, intent, "requires_action", err);
    intent_set(intent, "status", json_string(manual ? "requires_capture" : "succeeded"));
    intent_set(intent, manual ? "amount_capturable" : "amount_received", json_integer(amount));
    if (has_fault(call, PROVIDER_FAULT_EXPIRE) &&
        !provider_store_plan_add(call->store, str_from(json_string_value(json_object_get(intent, "id"))), "expire",
                                 clock_now_us() / 1000 + call->request->after_ms, err))
        return false;
    return intent_answer(call, intent, manual ? "amount_capturable_updated" : "succeeded", err);
}

bool stripe_intent_create(struct stripe_call *call, struct err *err) {
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
    if (!stripe_params_check(call, known) || !stripe_param_amount(call, "amount", -1, AMOUNT_MAX, &amount) ||
        !stripe_param_currency(call, currency) ||
        !stripe_param_choice(call, "capture_method", capture_methods, "automatic", &capture_method) ||
        !stripe_param_choice(call, "confirm", booleans, "false", &confirm))
        return true;
    struct str token = form_get(&call->form, STR("payment_method"));
    bool confirmed = strcmp(confirm, "true") == 0;
    struct method method = {0};
    if (token.ptr && !param_method(call, token, &method))
        return true;
    if (confirmed && !token.ptr) {
        stripe_invalid(call, "parameter_missing", "payment_method",
                       "You cannot confirm this PaymentIntent because it's missing a payment method.");
        return true;
    }
    call->keep = true;
    json_t *intent = intent_new(call, amount, currency, capture_method);
    if (!confirmed && token.ptr) {
        intent_set(intent, "payment_method", json_stringn(token.ptr, token.len));
        intent_set(intent, "status", json_string("requires_confirmation"));
    }
    bool ok = confirmed ? intent_confirm(call, intent, &method, err) : intent_answer(call, intent, NULL, err);
    json_decref(intent);
    return ok;
}

/* Finds the intent; NULL and true: there is none, and that is answered. */
static bool intent_find(struct stripe_call *call, struct str id, const char *param, int status, json_t **ret,
                        struct err *err) {
    if (!provider_store_intent(call->store, id, ret, err))
        return false;
    if (!*ret)
        stripe_error(call->response, status, "invalid_request_error", "resource_missing", param,
                     "No such payment_intent: '%.*s'", STR_ARG(id));
    return true;
}

static void unexpected_state(struct stripe_call *call, json_t *intent, const char *what) {
    BUF_AUTO message = {0};
    buf_printf(&message, "This PaymentIntent could not be %s because it has a status of %s.", what,
               intent_status(intent));
    stripe_answer_error(call->response, 400, "invalid_request_error", "payment_intent_unexpected_state", NULL,
                        json_deep_copy(intent), message.ptr);
}

static bool intent_get(struct stripe_call *call, json_t *intent, struct err *err) {
    (void)err;
    stripe_answer_json(call->response, 200, intent);
    return true;
}

/* What is not captured is let go. */
static bool intent_capture(struct stripe_call *call, json_t *intent, struct err *err) {
    static const char *const known[] = {"amount_to_capture", "metadata", NULL};
    int64_t capturable = intent_number(intent, "amount_capturable"), amount;
    if (!stripe_params_check(call, known))
        return true;
    call->keep = true;
    if (strcmp(intent_status(intent), "requires_capture") != 0) {
        unexpected_state(call, intent, "captured");
        return true;
    }
    if (!stripe_param_amount(call, "amount_to_capture", capturable, capturable, &amount))
        return true;
    if (has_fault(call, PROVIDER_FAULT_CAPTURE_FAILS)) {
        stripe_error(call->response, 402, "card_error", "charge_exceeds_source_limit", NULL,
                     "The bank does not allow this capture now.");
        return true;
    }
    intent_set(intent, "status", json_string("succeeded"));
    intent_set(intent, "amount_received", json_integer(amount));
    intent_set(intent, "amount_capturable", json_integer(0));
    return intent_answer(call, intent, "succeeded", err);
}

static bool intent_cancel(struct stripe_call *call, json_t *intent, struct err *err) {
    static const char *const known[] = {"cancellation_reason", NULL};
    static const char *const reasons[] = {"duplicate", "fraudulent", "requested_by_customer", "abandoned", NULL};
    const char *reason;
    if (!stripe_params_check(call, known) || !stripe_param_choice(call, "cancellation_reason", reasons, NULL, &reason))
        return true;
    call->keep = true;
    if (strcmp(intent_status(intent), "succeeded") == 0 || strcmp(intent_status(intent), "canceled") == 0) {
        unexpected_state(call, intent, "canceled");
        return true;
    }
    if (has_fault(call, PROVIDER_FAULT_VOID_FAILS)) {
        stripe_error(call->response, 402, "card_error", "processing_error", NULL,
                     "The bank does not allow this cancellation now.");
        return true;
    }
    intent_set(intent, "status", json_string("canceled"));
    intent_set(intent, "amount_capturable", json_integer(0));
    intent_set(intent, "canceled_at", now_seconds());
    intent_set(intent, "cancellation_reason", reason ? json_string(reason) : json_null());
    return intent_answer(call, intent, "canceled", err);
}

bool stripe_intent_route(struct stripe_call *call, struct str rest, bool *ret_found, struct err *err) {
    struct str action, id = str_cut(rest, '/', &action);
    bool post = str_eq(call->request->method, STR("POST"));
    bool (*run)(struct stripe_call *, json_t *, struct err *) = NULL;
    if (post && str_eq(action, STR("capture")))
        run = intent_capture;
    else if (post && str_eq(action, STR("cancel")))
        run = intent_cancel;
    else if (str_eq(call->request->method, STR("GET")) && !action.ptr && id.len)
        run = intent_get;
    json_t *intent = NULL;
    *ret_found = run != NULL;
    if (!run)
        return true;
    if (!intent_find(call, id, "intent", 404, &intent, err))
        return false;
    bool ok = !intent || run(call, intent, err);
    json_decref(intent);
    return ok;
}

/* ---- refunds ---- */

static bool refund_make(struct stripe_call *call, json_t *intent, const char *reason, struct err *err) {
    struct str id = form_get(&call->form, STR("payment_intent"));
    int64_t refunded, amount, received = intent_number(intent, "amount_received");
    if (strcmp(intent_status(intent), "succeeded") != 0) {
        unexpected_state(call, intent, "refunded");
        return true;
    }
    if (!provider_store_refunded(call->store, id, &refunded, err))
        return false;
    if (refunded >= received) {
        stripe_invalid(call, "charge_already_refunded", NULL, "Charge %s has already been refunded.",
                       json_string_value(json_object_get(intent, "latest_charge")));
        return true;
    }
    if (!stripe_param_amount(call, "amount", received - refunded, received - refunded, &amount))
        return true;
    json_t *refund =
        json_pack("{s:o, s:s, s:I, s:O, s:O, s:O, s:o, s:s}", "id", new_id("re"), "object", "refund", "amount",
                  (json_int_t)amount, "currency", json_object_get(intent, "currency"), "payment_intent",
                  json_object_get(intent, "id"), "charge", json_object_get(intent, "latest_charge"), "created",
                  now_seconds(), "status", "succeeded");
    intent_set(refund, "reason", reason ? json_string(reason) : json_null());
    intent_set(refund, "metadata", stripe_param_metadata(call));
    bool ok = provider_store_refund_add(call->store, refund, err);
    stripe_answer_json(call->response, 200, refund);
    json_decref(refund);
    return ok;
}

bool stripe_refund_create(struct stripe_call *call, struct err *err) {
    static const char *const known[] = {"payment_intent", "amount", "reason", "metadata", NULL};
    static const char *const reasons[] = {"duplicate", "fraudulent", "requested_by_customer", NULL};
    struct str id = form_get(&call->form, STR("payment_intent"));
    const char *reason;
    json_t *intent;
    if (!stripe_params_check(call, known) || !stripe_param_choice(call, "reason", reasons, NULL, &reason))
        return true;
    if (!id.ptr) {
        stripe_invalid(call, "parameter_missing", "payment_intent", "Missing required param: payment_intent.");
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
