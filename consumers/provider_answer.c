#include "consumers/provider_internal.h"

#include <ctype.h>
#include <jansson.h>

static struct str json_text(json_t *object, const char *key, struct arena *arena) {
    const char *text = json_string_value(json_object_get(object, key));
    return arena_dup(arena, str_from(text ? text : ""));
}

static bool is_status(json_t *intent, const char *status) {
    const char *text = json_string_value(json_object_get(intent, "status"));
    return text && !strcmp(text, status);
}

static bool is_text(json_t *object, const char *key, struct str text) {
    const char *has = json_string_value(json_object_get(object, key));
    return has && str_eq(str_from(has), text);
}

/* `field` of an object of the provider's, in its currency. False: it is not there. */
static bool take_amount(json_t *object, const char *field, struct arena *arena, struct money *ret) {
    json_t *minor = json_object_get(object, field);
    const char *currency = json_string_value(json_object_get(object, "currency"));
    if (!json_is_integer(minor) || !currency)
        return false;
    struct str text = str_from(currency);
    char *upper = arena_alloc(arena, text.len + 1);
    for (size_t i = 0; i < text.len; i++)
        upper[i] = (char)toupper((unsigned char)text.ptr[i]);
    *ret = (struct money){json_integer_value(minor), {upper, text.len}};
    return true;
}

/* What a PaymentIntent says of the money: held, taken, let go, refused, or none of these yet. */
static enum intent_provider_outcome outcome_of_intent(json_t *intent, struct arena *arena,
                                                      struct intent_provider_answered *ret) {
    if (is_status(intent, "requires_capture"))
        return take_amount(intent, "amount_capturable", arena, &ret->amount) ? INTENT_PROVIDER_OUTCOME_SUCCEEDED
                                                                             : INTENT_PROVIDER_OUTCOME_UNKNOWN;
    if (is_status(intent, "succeeded"))
        return take_amount(intent, "amount_received", arena, &ret->amount) ? INTENT_PROVIDER_OUTCOME_CAPTURED
                                                                           : INTENT_PROVIDER_OUTCOME_UNKNOWN;
    if (is_status(intent, "canceled"))
        return INTENT_PROVIDER_OUTCOME_EXPIRED;
    if (is_status(intent, "processing"))
        return INTENT_PROVIDER_OUTCOME_PENDING;
    if (!json_is_string(json_object_get(intent, "status")))
        return INTENT_PROVIDER_OUTCOME_UNKNOWN; /* no object of the provider's, whoever answered */
    json_t *error = json_object_get(intent, "last_payment_error");
    if (!ret->code.len && json_is_object(error))
        ret->code = json_text(error, json_object_get(error, "decline_code") ? "decline_code" : "code", arena);
    return INTENT_PROVIDER_OUTCOME_DECLINED;
}

/* Of a refund. */
static enum intent_provider_outcome outcome_of_refund(json_t *refund, struct arena *arena,
                                                      struct intent_provider_answered *ret) {
    if (!json_is_string(json_object_get(refund, "status")))
        return INTENT_PROVIDER_OUTCOME_UNKNOWN;
    if (is_status(refund, "failed") || is_status(refund, "canceled"))
        return INTENT_PROVIDER_OUTCOME_FAILED;
    return take_amount(refund, "amount", arena, &ret->amount) ? INTENT_PROVIDER_OUTCOME_SUCCEEDED
                                                              : INTENT_PROVIDER_OUTCOME_UNKNOWN;
}

/* What the state that the payment has now says of a capture or void of it. */
static enum intent_provider_outcome outcome_of_call(const struct intent_call_provider *call,
                                                    enum intent_provider_outcome intent) {
    bool capture = call->action == INTENT_PROVIDER_ACTION_CAPTURE;
    if (intent == INTENT_PROVIDER_OUTCOME_CAPTURED)
        return capture ? INTENT_PROVIDER_OUTCOME_SUCCEEDED : INTENT_PROVIDER_OUTCOME_FAILED;
    if (intent == INTENT_PROVIDER_OUTCOME_EXPIRED)
        return capture ? INTENT_PROVIDER_OUTCOME_EXPIRED : INTENT_PROVIDER_OUTCOME_SUCCEEDED;
    return INTENT_PROVIDER_OUTCOME_FAILED;
}

static enum intent_provider_outcome accepted(const struct intent_call_provider *call, json_t *body, struct arena *arena,
                                             struct intent_provider_answered *ret) {
    if (call->action == INTENT_PROVIDER_ACTION_REFUND)
        return outcome_of_refund(body, arena, ret);
    enum intent_provider_outcome intent = outcome_of_intent(body, arena, ret);
    if (call->action == INTENT_PROVIDER_ACTION_AUTHORIZE)
        return intent == INTENT_PROVIDER_OUTCOME_PENDING ? INTENT_PROVIDER_OUTCOME_UNKNOWN : intent;
    enum intent_provider_outcome outcome = outcome_of_call(call, intent);
    return outcome == INTENT_PROVIDER_OUTCOME_FAILED ? INTENT_PROVIDER_OUTCOME_UNKNOWN : outcome;
}

/* The provider says that the object's state does not allow it; the object comes with the error. */
static enum intent_provider_outcome refused(const struct intent_call_provider *call, json_t *error, struct arena *arena,
                                            struct intent_provider_answered *ret) {
    json_t *intent = json_object_get(error, "payment_intent");
    bool moves = call->action == INTENT_PROVIDER_ACTION_CAPTURE || call->action == INTENT_PROVIDER_ACTION_VOID;
    if (!moves || !json_is_object(intent))
        return INTENT_PROVIDER_OUTCOME_FAILED;
    struct str code = ret->code;
    enum intent_provider_outcome outcome = outcome_of_call(call, outcome_of_intent(intent, arena, ret));
    ret->code = code;
    return outcome;
}

/* ---- looking */

/* A payment of another order is not what was looked for. */
static enum intent_provider_outcome looked(const struct intent_call_provider *call, json_t *intent, struct arena *arena,
                                           struct intent_provider_answered *ret) {
    json_t *metadata = json_object_get(intent, "metadata");
    if (!json_is_string(json_object_get(intent, "status")))
        return INTENT_PROVIDER_OUTCOME_UNKNOWN;
    if (!is_text(metadata, "order_id", call->order_id))
        return INTENT_PROVIDER_OUTCOME_MISSING;
    enum intent_provider_outcome outcome = outcome_of_intent(intent, arena, ret);
    if (call->action == INTENT_PROVIDER_ACTION_LOOK) {
        ret->payment_id = json_text(metadata, "payment_id", arena);
        return outcome;
    }
    if (call->action == INTENT_PROVIDER_ACTION_AUTHORIZE)
        return outcome == INTENT_PROVIDER_OUTCOME_PENDING ? INTENT_PROVIDER_OUTCOME_UNKNOWN : outcome;
    return outcome == INTENT_PROVIDER_OUTCOME_UNKNOWN ? outcome : outcome_of_call(call, outcome);
}

static enum intent_provider_outcome found(const struct intent_call_provider *call, json_t *body, struct arena *arena,
                                          struct intent_provider_answered *ret) {
    if (!call->look_up || call->action != INTENT_PROVIDER_ACTION_AUTHORIZE)
        return looked(call, body, arena, ret);
    json_t *list = json_object_get(body, "data");
    if (!json_is_array(list))
        return INTENT_PROVIDER_OUTCOME_UNKNOWN;
    ret->code = json_array_size(list) > 1 ? STR("several-found") : STR("");
    if (json_array_size(list) != 1)
        return INTENT_PROVIDER_OUTCOME_MISSING;
    json_t *intent = json_array_get(list, 0);
    ret->provider_ref = json_text(intent, "id", arena);
    if (!is_text(json_object_get(intent, "metadata"), "payment_id", call->payment_id))
        return INTENT_PROVIDER_OUTCOME_MISSING;
    return looked(call, intent, arena, ret);
}

/* ---- the whole */

/* Whether the call was not carried out, or nobody knows: redirected, not allowed, too early, too often, failed. */
static bool is_no_outcome(long status) {
    return status / 100 == 3 || status / 100 == 5 || status == 401 || status == 403 || status == 408 || status == 409 ||
           status == 425 || status == 429;
}

static enum intent_provider_outcome outcome_of(const struct intent_call_provider *call, long status, json_t *body,
                                               struct arena *arena, struct intent_provider_answered *ret) {
    bool looks = call->look_up || call->action == INTENT_PROVIDER_ACTION_LOOK;
    json_t *error = json_object_get(body, "error");
    if (!json_is_object(body) || is_no_outcome(status))
        return INTENT_PROVIDER_OUTCOME_UNKNOWN;
    if (status / 100 == 2)
        return looks ? found(call, body, arena, ret) : accepted(call, body, arena, ret);
    if (!json_is_object(error)) /* a proxy's 4xx: nobody has looked at the payment */
        return INTENT_PROVIDER_OUTCOME_UNKNOWN;
    if (looks)
        return status == 404 ? INTENT_PROVIDER_OUTCOME_MISSING : INTENT_PROVIDER_OUTCOME_UNKNOWN;
    return status == 402 ? INTENT_PROVIDER_OUTCOME_DECLINED : refused(call, error, arena, ret);
}

void provider_answer_read(const struct intent_call_provider *call, long status, struct str text, struct arena *arena,
                          struct intent_provider_answered *ret) {
    json_t *body = json_loadb(text.ptr, text.len, 0, NULL);
    json_t *error = json_object_get(body, "error");
    json_t *object = error ? json_object_get(error, "payment_intent") : body;
    ret->code = json_text(error, json_object_get(error, "decline_code") ? "decline_code" : "code", arena);
    if (json_object_get(object, "id"))
        ret->provider_ref = json_text(object, "id", arena);
    ret->outcome = outcome_of(call, status, body, arena, ret);
    json_decref(body);
}
