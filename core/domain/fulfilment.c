/* fulfilment follows the goods: open -> picked -> dispatched -> delivered; open -> cancelled. orders asks for it,
 * operators record what they did. */
#include "core/domain/reason.h"
#include "core/domain/room.h"

enum { TABLE_FULFILMENT, TABLE_HELD };
enum { HELD_MAX = 16 }; /* of one order; who sends more has not waited for an answer */

#define TIMER_HELD STR("held")

/* ---- the fold of fulfilment.events */

static struct str order_of_event(const struct message *message) {
    switch (message->type) {
    case MESSAGE_FULFILMENT_REQUESTED:
        return message->fulfilment_requested.order_id;
    case MESSAGE_FULFILMENT_PICKED:
        return message->fulfilment_picked.order_id;
    case MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED:
        return message->fulfilment_shipment_dispatched.order_id;
    case MESSAGE_FULFILMENT_SHIPMENT_DELIVERED:
        return message->fulfilment_shipment_delivered.order_id;
    case MESSAGE_FULFILMENT_CANCELLED:
        return message->fulfilment_cancelled.order_id;
    case MESSAGE_FULFILMENT_CANCELLATION_REFUSED:
        return message->fulfilment_cancellation_refused.order_id;
    case MESSAGE_FULFILMENT_COMMAND_REFUSED:
        return message->fulfilment_command_refused.order_id;
    default:
        return STR_NULL;
    }
}

/* False: the record changes nothing. */
static bool status_of_event(const struct message *message, enum state_fulfilment_status *ret) {
    switch (message->type) {
    case MESSAGE_FULFILMENT_REQUESTED:
        *ret = STATE_FULFILMENT_STATUS_OPEN;
        return true;
    case MESSAGE_FULFILMENT_PICKED:
        *ret = STATE_FULFILMENT_STATUS_PICKED;
        return true;
    case MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED:
        *ret = STATE_FULFILMENT_STATUS_DISPATCHED;
        return true;
    case MESSAGE_FULFILMENT_SHIPMENT_DELIVERED:
        *ret = STATE_FULFILMENT_STATUS_DELIVERED;
        return true;
    case MESSAGE_FULFILMENT_CANCELLED:
        *ret = STATE_FULFILMENT_STATUS_CANCELLED;
        return true;
    default:
        return false;
    }
}

static void fulfilment_evolve(struct room *room, const struct input *input) {
    const struct message *message = input->message;
    enum state_fulfilment_status status;
    if (!status_of_event(message, &status))
        return;
    struct row *row = room_row(room, TABLE_FULFILMENT, order_of_event(message));
    struct state_fulfilment *after = arena_new(room->arena, struct state_fulfilment);
    after->shipment_id = STR("");
    if (row->state)
        *after = *(const struct state_fulfilment *)row->state;
    after->status = status;
    if (message->type == MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED)
        after->shipment_id = arena_dup(room->arena, message->fulfilment_shipment_dispatched.shipment_id);
    row->state = after;
    room_put(room, TABLE_FULFILMENT, row, 0,
             status == STATE_FULFILMENT_STATUS_DELIVERED || status == STATE_FULFILMENT_STATUS_CANCELLED);
}

static void fulfilment_evolve_want(struct room *room, const struct input *input) {
    enum state_fulfilment_status status;
    if (status_of_event(input->message, &status))
        room_want(room, TABLE_FULFILMENT, order_of_event(input->message));
}

static void record(struct room *room, const struct message *message) {
    fulfilment_evolve(room, &(struct input){.kind = INPUT_RECORD, .message = message});
    struct str order_id = order_of_event(message);
    room_emit(room, STR(TOPIC_FULFILMENT_EVENTS), order_id, order_id, message);
}

static void refuse(struct room *room, struct str order_id, enum reason reason, struct str detail) {
    record(room, &(struct message){.type = MESSAGE_FULFILMENT_COMMAND_REFUSED,
                                   .fulfilment_command_refused = {
                                       .order_id = order_id, .reason = reason_slug(reason), .detail = detail}});
}

static const struct state_fulfilment *fulfilment_of(struct room *room, struct str order_id) {
    return (const struct state_fulfilment *)room_row(room, TABLE_FULFILMENT, order_id)->state;
}

/* ---- what operators record */

static struct str step_refusal(enum state_fulfilment_status status) {
    switch (status) {
    case STATE_FULFILMENT_STATUS_OPEN:
        return STR("it is not picked yet");
    case STATE_FULFILMENT_STATUS_PICKED:
        return STR("it is picked, and not dispatched yet");
    case STATE_FULFILMENT_STATUS_DISPATCHED:
        return STR("it is dispatched already");
    case STATE_FULFILMENT_STATUS_DELIVERED:
        return STR("it is delivered already");
    case STATE_FULFILMENT_STATUS_CANCELLED:
        break;
    }
    return STR("it was cancelled");
}

/* The status that a step needs. */
static enum state_fulfilment_status step_from(enum state_fulfilment_step step) {
    switch (step) {
    case STATE_FULFILMENT_STEP_DISPATCH:
        return STATE_FULFILMENT_STATUS_PICKED;
    case STATE_FULFILMENT_STEP_DELIVER:
        return STATE_FULFILMENT_STATUS_DISPATCHED;
    case STATE_FULFILMENT_STEP_PICK:
        break;
    }
    return STATE_FULFILMENT_STATUS_OPEN;
}

/* A step of an order that is known. */
static void take_step(struct room *room, struct str order_id, const struct state_held_fulfilment_request *step) {
    const struct state_fulfilment *fulfilment = fulfilment_of(room, order_id);
    if (fulfilment->status != step_from(step->step)) {
        refuse(room, order_id, REASON_TRANSITION_REFUSED, step_refusal(fulfilment->status));
        return;
    }
    struct message message = {0};
    switch (step->step) {
    case STATE_FULFILMENT_STEP_PICK:
        message.type = MESSAGE_FULFILMENT_PICKED;
        message.fulfilment_picked = (struct fulfilment_picked){order_id, step->actor};
        break;
    case STATE_FULFILMENT_STEP_DISPATCH: {
        struct str parts[] = {order_id, STR("shipment"), STR("1")};
        message.type = MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED;
        message.fulfilment_shipment_dispatched =
            (struct fulfilment_shipment_dispatched){order_id, room_id(room, parts, sizeof(parts) / sizeof(parts[0])),
                                                    step->carrier, step->tracking, step->actor};
        break;
    }
    case STATE_FULFILMENT_STEP_DELIVER:
        message.type = MESSAGE_FULFILMENT_SHIPMENT_DELIVERED;
        message.fulfilment_shipment_delivered =
            (struct fulfilment_shipment_delivered){order_id, fulfilment->shipment_id, step->actor};
        break;
    }
    record(room, &message);
}

/* ---- steps of an order that is not known yet */

static struct state_held_fulfilment_request_list held_of(struct room *room, struct str order_id) {
    const struct state_held_fulfilment *held = room_row(room, TABLE_HELD, order_id)->state;
    return held ? held->requests : (struct state_held_fulfilment_request_list){0};
}

static void held_put(struct room *room, struct str order_id, struct state_held_fulfilment_request_list requests) {
    struct row *row = room_row(room, TABLE_HELD, order_id);
    struct state_held_fulfilment *held = arena_new(room->arena, struct state_held_fulfilment);
    held->requests = requests;
    row->state = held;
    room_put(room, TABLE_HELD, row, 0, requests.count == 0);
}

static void held_add(struct room *room, struct str order_id, const struct state_held_fulfilment_request *step) {
    struct state_held_fulfilment_request_list before = held_of(room, order_id);
    if (before.count >= HELD_MAX) {
        refuse(room, order_id, REASON_NOT_FOUND, STR("there is no such order yet"));
        return;
    }
    struct arena *arena = room->arena;
    struct state_held_fulfilment_request *requests =
        arena_array(arena, struct state_held_fulfilment_request, before.count + 1);
    if (before.count)
        memcpy(requests, before.items, before.count * sizeof(*requests));
    int64_t due_us = room->now_us + room->shop->hold_expiry_us;
    requests[before.count] = (struct state_held_fulfilment_request){.command_id = arena_dup(arena, room->command_id),
                                                                    .due_at = due_us,
                                                                    .step = step->step,
                                                                    .carrier = arena_dup(arena, step->carrier),
                                                                    .tracking = arena_dup(arena, step->tracking),
                                                                    .actor = arena_dup(arena, step->actor)};
    held_put(room, order_id, (struct state_held_fulfilment_request_list){requests, before.count + 1});
    if (before.count == 0)
        room_timer_set(room, order_id, TIMER_HELD, due_us);
}

/* The order is known now: each is answered, under its own command id. */
static void held_answer(struct room *room, struct str order_id) {
    struct state_held_fulfilment_request_list held = held_of(room, order_id);
    if (!held.count)
        return;
    struct str command_id = room->command_id;
    for (size_t i = 0; i < held.count; i++) {
        room->command_id = held.items[i].command_id;
        take_step(room, order_id, &held.items[i]);
    }
    room->command_id = command_id;
    held_put(room, order_id, (struct state_held_fulfilment_request_list){0});
    room_timer_clear(room, order_id, TIMER_HELD);
}

static void held_expire(struct room *room, struct str order_id) {
    struct state_held_fulfilment_request_list held = held_of(room, order_id);
    struct str command_id = room->command_id;
    size_t expired = 0;
    for (; expired < held.count && held.items[expired].due_at <= room->now_us; expired++) {
        room->command_id = held.items[expired].command_id;
        refuse(room, order_id, REASON_NOT_FOUND, STR("there is no such order"));
    }
    room->command_id = command_id;
    if (!held.count)
        return;
    held_put(room, order_id, (struct state_held_fulfilment_request_list){held.items + expired, held.count - expired});
    if (expired < held.count)
        room_timer_set(room, order_id, TIMER_HELD, held.items[expired].due_at);
}

/* ---- what orders asks */

static void request_fulfilment(struct room *room, const struct fulfilment_request_fulfilment *m) {
    if (fulfilment_of(room, m->order_id)) {
        refuse(room, m->order_id, REASON_TRANSITION_REFUSED, STR("it was asked for before, or cancelled"));
        return;
    }
    record(room, &(struct message){.type = MESSAGE_FULFILMENT_REQUESTED,
                                   .fulfilment_requested = {m->order_id, m->location, m->lines}});
    held_answer(room, m->order_id);
}

static void cancel_fulfilment(struct room *room, const struct fulfilment_cancel_fulfilment *m) {
    const struct state_fulfilment *fulfilment = fulfilment_of(room, m->order_id);
    if (!fulfilment || fulfilment->status == STATE_FULFILMENT_STATUS_OPEN) {
        /* Requests of an order come in order, so it should be known; if not, nothing may be picked later. */
        record(room, &(struct message){.type = MESSAGE_FULFILMENT_CANCELLED,
                                       .fulfilment_cancelled = {m->order_id, m->reason}});
        if (!fulfilment)
            held_answer(room, m->order_id);
    } else if (fulfilment->status == STATE_FULFILMENT_STATUS_CANCELLED) {
        refuse(room, m->order_id, REASON_TRANSITION_REFUSED, STR("it was cancelled before"));
    } else {
        record(room, &(struct message){
                         .type = MESSAGE_FULFILMENT_CANCELLATION_REFUSED,
                         .fulfilment_cancellation_refused = {m->order_id, reason_slug(REASON_TRANSITION_REFUSED)}});
    }
}

/* ---- the decider */

static struct str order_of_request(const struct message *message) {
    switch (message->type) {
    case MESSAGE_FULFILMENT_REQUEST_FULFILMENT:
        return message->fulfilment_request_fulfilment.order_id;
    case MESSAGE_FULFILMENT_CANCEL_FULFILMENT:
        return message->fulfilment_cancel_fulfilment.order_id;
    case MESSAGE_FULFILMENT_RECORD_PICK:
        return message->fulfilment_record_pick.order_id;
    case MESSAGE_FULFILMENT_RECORD_DISPATCH:
        return message->fulfilment_record_dispatch.order_id;
    case MESSAGE_FULFILMENT_RECORD_DELIVERY:
        return message->fulfilment_record_delivery.order_id;
    default:
        return STR_NULL;
    }
}

static struct state_held_fulfilment_request step_of(const struct message *message) {
    struct state_held_fulfilment_request step = {.carrier = STR(""), .tracking = STR("")};
    if (message->type == MESSAGE_FULFILMENT_RECORD_PICK) {
        step.step = STATE_FULFILMENT_STEP_PICK;
        step.actor = message->fulfilment_record_pick.actor;
    } else if (message->type == MESSAGE_FULFILMENT_RECORD_DISPATCH) {
        step.step = STATE_FULFILMENT_STEP_DISPATCH;
        step.actor = message->fulfilment_record_dispatch.actor;
        step.carrier = message->fulfilment_record_dispatch.carrier;
        step.tracking = message->fulfilment_record_dispatch.tracking;
    } else {
        step.step = STATE_FULFILMENT_STEP_DELIVER;
        step.actor = message->fulfilment_record_delivery.actor;
    }
    return step;
}

static void fulfilment_want(struct room *room, const struct input *input) {
    struct str order_id = input->kind == INPUT_TIMER ? input->envelope->key : order_of_request(input->message);
    if (!order_id.len)
        return;
    room_want(room, TABLE_FULFILMENT, order_id);
    room_want(room, TABLE_HELD, order_id);
}

static bool fulfilment_decide(struct room *room, const struct input *input, const char **why) {
    if (input->kind == INPUT_TIMER && str_eq(input->timer, TIMER_HELD)) {
        held_expire(room, input->envelope->key);
        return true;
    }
    struct str order_id = input->kind == INPUT_RECORD ? order_of_request(input->message) : STR_NULL;
    if (!order_id.len) {
        *why = "not a request to fulfilment, or one without an order";
        return false;
    }
    if (input->message->type == MESSAGE_FULFILMENT_REQUEST_FULFILMENT) {
        request_fulfilment(room, &input->message->fulfilment_request_fulfilment);
    } else if (input->message->type == MESSAGE_FULFILMENT_CANCEL_FULFILMENT) {
        cancel_fulfilment(room, &input->message->fulfilment_cancel_fulfilment);
    } else {
        struct state_held_fulfilment_request step = step_of(input->message);
        if (fulfilment_of(room, order_id))
            take_step(room, order_id, &step);
        else
            held_add(room, order_id, &step);
    }
    return true;
}

static void fulfilment_refuse_reused(struct room *room, const struct input *input) {
    struct str order_id = order_of_request(input->message);
    if (order_id.len)
        refuse(room, order_id, REASON_IDEMPOTENCY_KEY_REUSED, STR("this idempotency key was used for another request"));
}

const struct decider fulfilment_decider = {
    .service = "fulfilment",
    .inputs = (const char *const[]){TOPIC_FULFILMENT_REQUESTS},
    .input_count = 1,
    .events = (const char *const[]){TOPIC_FULFILMENT_EVENTS, NULL},
    .tables = (const struct decider_table[]){[TABLE_FULFILMENT] = {.name = "fulfilment",
                                                                   .subject = "state/fulfilment",
                                                                   .size = sizeof(struct state_fulfilment)},
                                             [TABLE_HELD] = {.name = "held_fulfilment",
                                                             .subject = "state/held_fulfilment",
                                                             .size = sizeof(struct state_held_fulfilment),
                                                             .apart = true}},
    .table_count = 2,
    .remembers_commands = true,
    .want = fulfilment_want,
    .decide = fulfilment_decide,
    .evolve_want = fulfilment_evolve_want,
    .evolve = fulfilment_evolve,
    .refuse_reused = fulfilment_refuse_reused,
};
