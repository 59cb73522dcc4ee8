#include "api/waits.h"

#include "api/answer.h"
#include "api/watch.h"
#include "core/base/clock.h"
#include "core/base/metrics.h"
#include "core/domain/cart.h"
#include "core/domain/reason.h"

#include <strings.h>

/* ---- what rows say ---- */

static struct outcome noted_at(const struct view_command_note_list *notes, size_t at) {
    const struct view_refusal *refusal = notes->items[at].refusal;
    return (struct outcome){
        .shown = true, .refusal = refusal ? refusal->reason : STR_NULL, .detail = refusal ? refusal->detail : STR_NULL};
}

/* By its id and body (projections/commands.h) or, where no body is known of it, by its id alone. */
static struct outcome noted(const struct str_list *ids, const struct view_command_note_list *notes,
                            struct str command_id, struct str body_hash) {
    size_t by_id = SIZE_MAX;
    bool other_body = false;
    for (size_t i = 0; i < ids->count; i++) {
        struct str hash, id = str_cut(ids->items[i], '#', &hash);
        if (!str_eq(id, command_id))
            continue;
        if (!hash.ptr)
            by_id = i;
        else if (body_hash.ptr && str_eq(hash, body_hash))
            return noted_at(notes, i);
        else
            other_body = body_hash.ptr != NULL;
    }
    return by_id == SIZE_MAX || other_body ? (struct outcome){0} : noted_at(notes, by_id);
}

static struct outcome of_cart(const struct state_cart *cart, struct str command_id) {
    const struct state_cart_command *command = cart_command_find(cart, command_id);
    if (!command || !command->answered || !command->body_hash.ptr)
        return (struct outcome){0};
    return (struct outcome){.shown = true, .body_hash = command->body_hash, .refusal = command->refusal};
}

struct outcome outcome_of(const struct view *view, const void *row, struct str command_id, struct str body_hash) {
    if (!row)
        return (struct outcome){0};
    if (view == &view_carts)
        return of_cart(row, command_id);
    if (view == &view_orders) {
        const struct view_order_row *order = row;
        return noted(&order->commands, &order->command_notes, command_id, body_hash);
    }
    const struct view_product_row *product = row;
    return noted(&product->commands, &product->command_notes, command_id, body_hash);
}

struct outcome outcome_of_own(const struct request *request, const struct view *view, const void *row) {
    return outcome_of(view, row, id_str(&request->command_id), str_from(request->body_hash));
}

/* ---- the headers ---- */

/* RFC 7240: what is not understood is not a mistake. */
static int64_t wait_preferred(struct str prefer) {
    static const struct str name = {"wait=", 5};
    while (prefer.ptr) {
        struct str one = str_cut(prefer, ',', &prefer);
        int64_t seconds;
        one = str_cut(one, ';', &(struct str){0});
        while (one.len && (one.ptr[0] == ' ' || one.ptr[0] == '\t'))
            one = (struct str){one.ptr + 1, one.len - 1};
        while (one.len && (one.ptr[one.len - 1] == ' ' || one.ptr[one.len - 1] == '\t'))
            one.len--;
        if (one.len <= name.len || strncasecmp(one.ptr, name.ptr, name.len) != 0)
            continue;
        one = (struct str){one.ptr + name.len, one.len - name.len};
        if (str_to_i64(one, &seconds) && seconds >= 0)
            return seconds < WAIT_S_MAX ? seconds : WAIT_S_MAX;
    }
    return 0;
}

bool waits_check(struct request *request, struct err *err) {
    request->wait_s = wait_preferred(request->prefer);
    return !request->after.ptr || id_valid(request->after) ||
           err_set(err, ERR_INVALID_BODY,
                   "The header Orderlog-After must be the id of a command, as Orderlog-Command "
                   "gave it.");
}

/* ---- waiting ---- */

struct wait {
    struct watched watched;
    struct request *request;
    struct str command_id;
    struct str body_hash; /* ptr NULL: any */
    request_step *then;
    int64_t deadline_us;
    bool again; /* the request looks for itself with each tick: it reads from another store than we */
};

static bool look(struct watched *watched, const void *row) {
    const struct wait *wait = (const struct wait *)watched;
    return outcome_of(watched->view, row, wait->command_id, wait->body_hash).shown;
}

static bool tick(struct watched *watched, int64_t now_us) {
    const struct wait *wait = (const struct wait *)watched;
    return wait->again || now_us >= wait->deadline_us;
}

static void stop(struct watched *watched) {
    (void)watched;
}

static const struct watched_ops wait_ops = {look, tick, stop};

static void count(struct api *api, int by) {
    metrics_set(api->waiters_metric, atomic_fetch_add(&api->waiters, by) + by);
}

static void end(struct request *request) {
    struct wait *wait = request->wait;
    request->wait = NULL;
    watch_remove(request->api->watch, &wait->watched);
    count(request->api, -1);
}

static void go_on(struct request *request) {
    struct wait *wait = request->wait;
    end(request);
    request->wait_over = wait->watched.gone || wait->watched.unreadable;
    wait->then(request);
}

/* False: too many wait, or it is too late. */
static bool start(struct request *request, const struct view *view, struct str key, struct str command_id,
                  struct str body_hash, int64_t deadline_us, request_step *then) {
    struct api *api = request->api;
    if (!api->watch || request->wait_over || clock_monotonic_us() >= deadline_us || atomic_load(&api->stopping) ||
        atomic_load(&api->waiters) >= api->config.waiters_max)
        return false;
    struct wait *wait = arena_new(&request->arena, struct wait);
    *wait = (struct wait){.watched = {.ops = &wait_ops,
                                      .connection = request->connection,
                                      .view = view,
                                      .key = arena_dup(&request->arena, key)},
                          .request = request,
                          .command_id = command_id,
                          .body_hash = body_hash,
                          .then = then,
                          .deadline_us = deadline_us,
                          .again = request->waited == view};
    count(api, 1);
    request->wait = wait;
    request->resumed = go_on;
    request->abandoned = end;
    watch_add(api->watch, &wait->watched);
    request->waited = view;
    watch_wait(api->watch, &wait->watched, !wait->again);
    return true;
}

static int64_t deadline_of(const struct request *request, int64_t wait_s) {
    return request->began_us + wait_s * 1000000;
}

bool waits_read(struct request *request, const struct view *view, struct str key, const void *row,
                request_step *again) {
    if (!request->after.ptr || outcome_of(view, row, request->after, STR_NULL).shown)
        return true;
    int64_t wait_s = request->wait_s ? request->wait_s : WAIT_S_DEFAULT;
    if (start(request, view, key, request->after, STR_NULL, deadline_of(request, wait_s), again)) {
        request->wait_applied = request->wait_s > 0;
        return false;
    }
    request->stale = true;
    return true;
}

bool waits_write(struct request *request, const struct view *view, struct str key, request_step *then) {
    if (!request->wait_s || !start(request, view, key, id_str(&request->command_id), str_from(request->body_hash),
                                   deadline_of(request, request->wait_s), then))
        return false;
    request->wait_applied = true;
    return true;
}

/* ---- what became of a write ---- */

static enum err_kind kind_of(struct str slug) {
    for (int kind = ERR_NONE + 1; kind < ERR_KIND_COUNT; kind++) {
        int status = err_http_status((enum err_kind)kind);
        if (status >= 400 && status < 500 && str_eq(slug, str_from(err_slug((enum err_kind)kind))))
            return (enum err_kind)kind;
    }
    return ERR_TRANSITION_REFUSED;
}

bool waits_done(struct request *request, const struct outcome *outcome, request_step *unknown) {
    struct err err = {0};
    if (!outcome->shown) {
        unknown(request);
        return false;
    }
    bool reused = outcome->body_hash.ptr && !str_eq(outcome->body_hash, str_from(request->body_hash));
    if (!reused && !outcome->refusal.ptr)
        return true;
    struct str slug = reused ? reason_slug(REASON_IDEMPOTENCY_KEY_REUSED) : outcome->refusal;
    enum err_kind kind = kind_of(slug);
    if (reused)
        err_set(&err, kind, "This key came before with another body; that one stands.");
    else if (outcome->detail.len)
        err_set(&err, kind, "%.*s", STR_ARG(outcome->detail));
    else
        err_set(&err, kind, "Refused: %.*s.", STR_ARG(slug));
    answer_err(request, &err);
    return false;
}
