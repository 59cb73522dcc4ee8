#include "cli/provider_stripe.h"

#include "cli/provider_call.h"
#include "core/base/ids.h"

enum { KEY_MAX = 255 };

/* ---- routes ---- */

static void not_found(struct stripe_call *call) {
    stripe_error(call->response, 404, "invalid_request_error", NULL, NULL, "Unrecognized request URL (%.*s: %.*s).",
                 STR_ARG(call->request->method), STR_ARG(call->request->path));
}

static bool route(struct stripe_call *call, struct err *err) {
    const struct stripe_request *request = call->request;
    bool post = str_eq(request->method, STR("POST"));
    struct str intents = STR("/v1/payment_intents/");
    bool search = !post && str_eq(request->path, STR("/v1/payment_intents/search"));
    if (!search && str_starts_with(request->path, intents)) {
        struct str rest = {request->path.ptr + intents.len, request->path.len - intents.len};
        bool found = false;
        bool ok = stripe_intent_route(call, rest, &found, err);
        if (ok && !found)
            not_found(call);
        return ok;
    }
    if (search)
        return stripe_intent_search(call, err);
    if (post && str_eq(request->path, STR("/v1/payment_intents")))
        return stripe_intent_create(call, err);
    if (post && str_eq(request->path, STR("/v1/refunds")))
        return stripe_refund_create(call, err);
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
static bool answer_again(struct stripe_call *call, struct str request, bool *ret_done, struct err *err) {
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

static bool answer_once(struct stripe_call *call, struct err *err) {
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
    struct stripe_call call = {
        .store = store, .request = request, .form = form_parse(request->body, &arena), .response = ret};
    bool ok = provider_store_begin(store, err);
    if (ok) {
        ok = answer_once(&call, err) && provider_store_commit(store, err);
        if (!ok)
            provider_store_rollback(store);
    }
    arena_free(&arena);
    return ok;
}
