/* Order per key: an order, its reservation and its fulfilment each go the ways that there are, step by step, in one
 * partition; and the order's versions count the steps. */
#include "cli/verify.h"
#include "core/base/map.h"

#include <stdlib.h>

/* ---- the ways ---- */

enum reservation_status {
    RESERVATION_NONE,
    RESERVATION_HELD,
    RESERVATION_REFUSED,
    RESERVATION_COMMITTED,
    RESERVATION_RELEASED,
    RESERVATION_CONSUMED
};
enum fulfilment_status {
    FULFILMENT_NONE,
    FULFILMENT_OPEN,
    FULFILMENT_PICKED,
    FULFILMENT_DISPATCHED,
    FULFILMENT_DELIVERED,
    FULFILMENT_CANCELLED
};

/* Statuses are bits; a thing that was not heard of has the first. Those of an order come after it. */
#define BIT(status) (1u << (status))
#define ORDER_NONE 0
#define ORDER(name) (1 + ORDER_STATUS_##name)

struct step {
    enum message_type type;
    unsigned from; /* bits */
    int to;
};

static const struct step order_steps[] = {
    {MESSAGE_ORDER_PLACED, BIT(ORDER_NONE), ORDER(PENDING)},
    {MESSAGE_ORDER_REJECTED, BIT(ORDER_NONE) | BIT(ORDER(PENDING)), ORDER(REJECTED)},
    {MESSAGE_ORDER_AWAITING_PAYMENT, BIT(ORDER(PENDING)) | BIT(ORDER(PAYMENT_FAILED)), ORDER(AWAITING_PAYMENT)},
    {MESSAGE_ORDER_CONFIRMED, BIT(ORDER(AWAITING_PAYMENT)), ORDER(CONFIRMED)},
    {MESSAGE_ORDER_PAYMENT_FAILED, BIT(ORDER(AWAITING_PAYMENT)), ORDER(PAYMENT_FAILED)},
    {MESSAGE_ORDER_EXPIRED, BIT(ORDER(AWAITING_PAYMENT)) | BIT(ORDER(PAYMENT_FAILED)), ORDER(EXPIRED)},
    {MESSAGE_ORDER_PROCESSING, BIT(ORDER(CONFIRMED)) | BIT(ORDER(CANCELLING)), ORDER(PROCESSING)},
    {MESSAGE_ORDER_CANCELLING, BIT(ORDER(CONFIRMED)), ORDER(CANCELLING)},
    {MESSAGE_ORDER_CANCELLED,
     BIT(ORDER(PENDING)) | BIT(ORDER(AWAITING_PAYMENT)) | BIT(ORDER(PAYMENT_FAILED)) | BIT(ORDER(CANCELLING)),
     ORDER(CANCELLED)},
    {MESSAGE_ORDER_SHIPPED, BIT(ORDER(PROCESSING)), ORDER(SHIPPED)},
    {MESSAGE_ORDER_DELIVERED, BIT(ORDER(SHIPPED)), ORDER(DELIVERED)},
    {MESSAGE_ORDER_COMPLETED, BIT(ORDER(DELIVERED)), ORDER(COMPLETED)},
};

/* Where requests come in another order than they should, a release or cancellation may come first. */
static const struct step reservation_steps[] = {
    {MESSAGE_RESERVATION_STOCK_RESERVED, BIT(RESERVATION_NONE), RESERVATION_HELD},
    {MESSAGE_RESERVATION_STOCK_REFUSED, BIT(RESERVATION_NONE), RESERVATION_REFUSED},
    {MESSAGE_RESERVATION_COMMITTED, BIT(RESERVATION_HELD), RESERVATION_COMMITTED},
    {MESSAGE_RESERVATION_RELEASED, BIT(RESERVATION_NONE) | BIT(RESERVATION_HELD) | BIT(RESERVATION_COMMITTED),
     RESERVATION_RELEASED},
    {MESSAGE_RESERVATION_CONSUMED, BIT(RESERVATION_COMMITTED), RESERVATION_CONSUMED},
};

static const struct step fulfilment_steps[] = {
    {MESSAGE_FULFILMENT_REQUESTED, BIT(FULFILMENT_NONE), FULFILMENT_OPEN},
    {MESSAGE_FULFILMENT_PICKED, BIT(FULFILMENT_OPEN), FULFILMENT_PICKED},
    {MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED, BIT(FULFILMENT_PICKED), FULFILMENT_DISPATCHED},
    {MESSAGE_FULFILMENT_SHIPMENT_DELIVERED, BIT(FULFILMENT_DISPATCHED), FULFILMENT_DELIVERED},
    {MESSAGE_FULFILMENT_CANCELLED, BIT(FULFILMENT_NONE) | BIT(FULFILMENT_OPEN), FULFILMENT_CANCELLED},
};

static const char *const order_names[] = {
    "not heard of", "pending",   "awaiting_payment", "payment_failed", "confirmed", "processing", "shipped",
    "delivered",    "completed", "cancelling",       "cancelled",      "rejected",  "expired"};
static const char *const reservation_names[] = {"not heard of", "held", "refused", "committed", "released", "consumed"};
static const char *const fulfilment_names[] = {"not heard of", "open",      "picked",
                                               "dispatched",   "delivered", "cancelled"};

struct way {
    const char *topic;
    const char *what;
    const struct step *steps;
    size_t step_count;
    const char *const *names;
};

#define STEPS(array) .steps = array, .step_count = sizeof(array) / sizeof((array)[0])

static const struct way ways[] = {
    {.topic = TOPIC_ORDER_EVENTS, .what = "order", STEPS(order_steps), .names = order_names},
    {.topic = TOPIC_RESERVATION_EVENTS,
     .what = "the reservation of order",
     STEPS(reservation_steps),
     .names = reservation_names},
    {.topic = TOPIC_FULFILMENT_EVENTS,
     .what = "the fulfilment of order",
     STEPS(fulfilment_steps),
     .names = fulfilment_names},
};

enum { WAY_COUNT = sizeof ways / sizeof ways[0] };

/* ---- those who go them ---- */

struct walker {
    int status;
    int32_t version;
    int32_t partition;
};

struct paths {
    struct map walkers[WAY_COUNT]; /* by order_id */
};

static void *paths_begin(const struct verify_options *options, struct verify_result *result) {
    (void)options, (void)result;
    return mem_zalloc(sizeof(struct paths));
}

static void paths_end(void *state) {
    struct paths *paths = state;
    for (size_t i = 0; i < WAY_COUNT; i++)
        map_free(&paths->walkers[i], free);
    free(paths);
}

/* All of these records begin with it. */
static struct str order_id_of(const struct message *message) {
    return message->order_completed.order_id;
}

/* Those of order.events but CommandRefused have it next. */
static int32_t version_of(const struct message *message) {
    return message->order_completed.version;
}

/* The order goes on as it was before the cancellation was asked for, or as it still is. */
static bool refusal_fits(const struct walker *walker, enum order_status status) {
    if (walker->status == 1 + (int)status)
        return true;
    return walker->status == ORDER(CANCELLING) &&
           (status == ORDER_STATUS_CONFIRMED || status == ORDER_STATUS_PROCESSING);
}

static void walk(const struct way *way, struct walker *walker, struct verify_result *result,
                 const struct verify_record *record) {
    const struct message *message = record->message;
    struct str order_id = order_id_of(message);
    if (message->type == MESSAGE_ORDER_CANCELLATION_REFUSED) {
        if (!refusal_fits(walker, message->order_cancellation_refused.status))
            verify_violation(result, &record->at, "order %.*s, which is %s, goes on as %s after a refused cancellation",
                             STR_ARG(order_id), way->names[walker->status],
                             way->names[1 + (int)message->order_cancellation_refused.status]);
        walker->status = 1 + (int)message->order_cancellation_refused.status;
        return;
    }
    for (size_t i = 0; i < way->step_count; i++) {
        const struct step *step = &way->steps[i];
        if (step->type != message->type)
            continue;
        if (!(step->from & BIT(walker->status)))
            verify_violation(result, &record->at, "%s %.*s, which is %s, becomes %s", way->what, STR_ARG(order_id),
                             way->names[walker->status], way->names[step->to]);
        walker->status = step->to;
    }
}

static bool has_step(const struct way *way, enum message_type type) {
    for (size_t i = 0; i < way->step_count; i++)
        if (way->steps[i].type == type)
            return true;
    return type == MESSAGE_ORDER_CANCELLATION_REFUSED;
}

static void way_record(const struct way *way, struct map *walkers, struct verify_result *result,
                       const struct verify_record *record) {
    struct str order_id = order_id_of(record->message);
    if (!has_step(way, record->message->type))
        return;
    void **slot = map_put(walkers, order_id);
    struct walker *walker = *slot;
    if (!walker) {
        walker = *slot = mem_zalloc(sizeof *walker);
        walker->partition = record->at.partition;
        result->count++;
    }
    if (walker->partition != record->at.partition)
        verify_violation(result, &record->at, "%s %.*s is also in partition %d", way->what, STR_ARG(order_id),
                         walker->partition);
    if (!record->envelope->key.ptr || !str_eq(record->envelope->key, order_id))
        verify_violation(result, &record->at, "the key is not the order's id, %.*s", STR_ARG(order_id));
    if (way == &ways[0] && version_of(record->message) != walker->version + 1)
        verify_violation(result, &record->at, "order %.*s goes from version %d to %d", STR_ARG(order_id),
                         walker->version, version_of(record->message));
    if (way == &ways[0])
        walker->version = version_of(record->message);
    walk(way, walker, result, record);
}

static void paths_record(void *state, struct verify_result *result, const struct verify_record *record) {
    struct paths *paths = state;
    for (size_t i = 0; i < WAY_COUNT; i++)
        if (strcmp(record->at.topic, ways[i].topic) == 0)
            way_record(&ways[i], &paths->walkers[i], result, record);
}

const struct verify_check verify_paths = {
    .name = "order-per-key",
    .holds = "orders, reservations and fulfilments go from status to status as they may, version by version",
    .begin = paths_begin,
    .record = paths_record,
    .end = paths_end,
};
