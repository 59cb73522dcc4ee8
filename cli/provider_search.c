/* Looking payments up by their metadata, and what goes wrong with a request. */
#include "cli/provider_call.h"

enum { CLAUSES_MAX = 8 };

/* ---- search ---- */

/* What stands between quotes, and what follows. */
static bool cut_quoted(struct str text, struct str *ret, struct str *rest) {
    if (!str_starts_with(text, STR("'")))
        return false;
    struct str after = {text.ptr + 1, text.len - 1};
    *ret = str_cut(after, '\'', rest);
    return rest->ptr != NULL;
}

static bool skip(struct str *text, struct str what) {
    if (!str_starts_with(*text, what))
        return false;
    *text = (struct str){text->ptr + what.len, text->len - what.len};
    return true;
}

/* metadata['name']:'value' */
static bool clause_parse(struct str *text, struct provider_metadata *ret) {
    struct str rest = {0};
    if (!skip(text, STR("metadata[")) || !cut_quoted(*text, &ret->name, &rest))
        return false;
    *text = rest;
    if (!skip(text, STR("]:")) || !cut_quoted(*text, &ret->value, &rest))
        return false;
    *text = rest;
    return true;
}

static bool query_parse(struct str text, struct provider_metadata *ret, size_t *ret_count) {
    *ret_count = 0;
    do {
        if (*ret_count == CLAUSES_MAX || !clause_parse(&text, &ret[*ret_count]))
            return false;
        ++*ret_count;
    } while (skip(&text, STR(" AND ")));
    return text.len == 0;
}

bool stripe_intent_search(struct stripe_call *call, struct err *err) {
    struct provider_metadata metadata[CLAUSES_MAX];
    size_t count;
    json_t *found;
    if (!call->request->query.ptr) {
        stripe_invalid(call, "parameter_missing", "query", "Missing required param: query.");
        return true;
    }
    if (!query_parse(call->request->query, metadata, &count)) {
        stripe_invalid(call, NULL, "query", "Only metadata['name']:'value', joined by AND, can be searched for here.");
        return true;
    }
    if (!provider_store_search(call->store, metadata, count, &found, err))
        return false;
    json_t *body = json_pack("{s:s, s:s, s:b, s:n, s:o}", "object", "search_result", "url",
                             "/v1/payment_intents/search", "has_more", 0, "next_page", "data", found);
    stripe_answer_json(call->response, 200, body);
    json_decref(body);
    return true;
}

/* ---- faults ---- */

static bool is_of_transport(enum provider_fault fault) {
    return fault == PROVIDER_FAULT_ERROR || fault == PROVIDER_FAULT_ERROR_AFTER || fault == PROVIDER_FAULT_UNHEARD ||
           fault == PROVIDER_FAULT_TIMEOUT_BEFORE || fault == PROVIDER_FAULT_TIMEOUT_AFTER ||
           fault == PROVIDER_FAULT_SLOW;
}

/* The payment method of the intent that the path names; "" when there is none. */
static bool method_of_path(struct provider_store *store, struct str path, struct buf *ret, struct err *err) {
    struct str prefix = STR("/v1/payment_intents/"), action;
    json_t *intent = NULL;
    if (!str_starts_with(path, prefix))
        return true;
    struct str id = str_cut((struct str){path.ptr + prefix.len, path.len - prefix.len}, '/', &action);
    if (!provider_store_intent(store, id, &intent, err))
        return false;
    const char *method = json_string_value(json_object_get(intent, "payment_method"));
    if (method)
        buf_printf(ret, "%s", method);
    json_decref(intent);
    return true;
}

/* What an intent's method says of its capture or cancellation: so many of them are refused. */
static bool fault_of_later(struct provider_store *store, const struct stripe_request *request, provider_faults *ret,
                           struct err *err) {
    BUF_AUTO method = {0};
    enum provider_fault fault;
    int64_t times, count;
    if (!method_of_path(store, request->path, &method, err))
        return false;
    if (!method.len || !provider_token_parse(buf_str(&method), &fault, &times))
        return true;
    struct str ending = fault == PROVIDER_FAULT_CAPTURE_FAILS ? STR("/capture") : STR("/cancel");
    if ((fault != PROVIDER_FAULT_CAPTURE_FAILS && fault != PROVIDER_FAULT_VOID_FAILS) ||
        !str_ends_with(request->path, ending))
        return true;
    if (!provider_store_try(store, request->path, &count, err))
        return false;
    if (count <= times)
        *ret |= UINT32_C(1) << fault;
    return true;
}

static bool fault_of_method(struct str token, int64_t nth, provider_faults *ret) {
    enum provider_fault fault;
    int64_t times;
    if (!provider_token_parse(token, &fault, &times))
        return false;
    if (!is_of_transport(fault) || nth <= times)
        *ret |= UINT32_C(1) << fault;
    return true;
}

static bool any_rate(const struct provider_rates *rates) {
    for (int i = 1; i < PROVIDER_FAULT_COUNT; i++)
        if (rates->of[i] > 0)
            return true;
    return false;
}

bool stripe_faults_find(struct provider_store *store, const struct provider_rates *rates,
                        const struct stripe_request *request, provider_faults *ret, struct err *err) {
    struct arena arena;
    int64_t nth = 0, times;
    enum provider_fault fault;
    *ret = 0;
    if (!str_eq(request->method, STR("POST")) || !request->idempotency_key.len)
        return true;
    arena_init(&arena);
    struct form form = form_parse(request->body, &arena);
    struct str token = arena_dup(&arena, form_get(&form, STR("payment_method")));
    bool creates = provider_token_parse(token, &fault, &times), rolls = any_rate(rates);
    bool ok = (!creates && !rolls) || provider_store_try(store, request->idempotency_key, &nth, err);
    if (ok && creates)
        fault_of_method(token, nth, ret);
    if (ok && rolls) {
        struct str parts = arena_printf(&arena, "%.*s %lld", STR_ARG(request->idempotency_key), (long long)nth);
        *ret |= provider_rates_roll(rates, parts);
    }
    arena_free(&arena);
    return ok && fault_of_later(store, request, ret, err);
}
