#include "producers/commands.h"

#include "core/base/clock.h"
#include "core/base/envelope.h"
#include "core/base/ids.h"
#include "core/codec/avro.h"

const char *const command_topics[] = {TOPIC_CART_EVENTS,        TOPIC_CATALOGUE_EVENTS, TOPIC_FULFILMENT_REQUESTS,
                                      TOPIC_INVENTORY_REQUESTS, TOPIC_ORDER_REQUESTS,   TOPIC_PAYMENT_REQUESTS,
                                      TOPIC_PAYMENT_UNROUTED,   TOPIC_PERSONAL};
const size_t command_topic_count = sizeof command_topics / sizeof command_topics[0];

/* Where a message goes, and what it is about. */
struct destination {
    const char *topic;
    struct str key;
    struct str subject;
    struct str location; /* of inventory requests: chooses the partition */
};

static struct destination keyed(const char *topic, struct str key) {
    return (struct destination){.topic = topic, .key = key, .subject = key};
}

static struct destination at_location(struct str location, struct str sku) {
    return (struct destination){TOPIC_INVENTORY_REQUESTS, location, sku, location};
}

static struct destination personal(const struct personal_details *details, struct buf *key) {
    buf_add_str(key, details->shopper_id);
    buf_add_char(key, '/');
    buf_add_str(key, details->ref);
    return (struct destination){.topic = TOPIC_PERSONAL, .key = buf_str(key), .subject = details->ref};
}

static bool destination_of(const struct message *m, struct buf *key, struct destination *ret) {
    switch ((int)m->type) {
    case MESSAGE_CART_CREATED:
        *ret = keyed(TOPIC_CART_EVENTS, m->cart_created.cart_id);
        return true;
    case MESSAGE_CART_LINE_ADDED:
        *ret = keyed(TOPIC_CART_EVENTS, m->cart_line_added.cart_id);
        return true;
    case MESSAGE_CART_LINE_QUANTITY_CHANGED:
        *ret = keyed(TOPIC_CART_EVENTS, m->cart_line_quantity_changed.cart_id);
        return true;
    case MESSAGE_CART_LINE_REMOVED:
        *ret = keyed(TOPIC_CART_EVENTS, m->cart_line_removed.cart_id);
        return true;
    case MESSAGE_CART_CHECKOUT_REQUESTED:
        *ret = keyed(TOPIC_CART_EVENTS, m->cart_checkout_requested.cart_id);
        return true;
    case MESSAGE_CATALOGUE_PRODUCT_REVISED:
        *ret = keyed(TOPIC_CATALOGUE_EVENTS, m->catalogue_product_revised.sku);
        return true;
    case MESSAGE_CATALOGUE_PRODUCT_WITHDRAWN:
        *ret = keyed(TOPIC_CATALOGUE_EVENTS, m->catalogue_product_withdrawn.sku);
        return true;
    case MESSAGE_FULFILMENT_RECORD_PICK:
        *ret = keyed(TOPIC_FULFILMENT_REQUESTS, m->fulfilment_record_pick.order_id);
        return true;
    case MESSAGE_FULFILMENT_RECORD_DISPATCH:
        *ret = keyed(TOPIC_FULFILMENT_REQUESTS, m->fulfilment_record_dispatch.order_id);
        return true;
    case MESSAGE_FULFILMENT_RECORD_DELIVERY:
        *ret = keyed(TOPIC_FULFILMENT_REQUESTS, m->fulfilment_record_delivery.order_id);
        return true;
    case MESSAGE_INVENTORY_RECEIVE_STOCK:
        *ret = at_location(m->inventory_receive_stock.location, m->inventory_receive_stock.sku);
        return true;
    case MESSAGE_INVENTORY_ADJUST_STOCK:
        *ret = at_location(m->inventory_adjust_stock.location, m->inventory_adjust_stock.sku);
        return true;
    case MESSAGE_ORDER_CANCEL_ORDER:
        *ret = keyed(TOPIC_ORDER_REQUESTS, m->order_cancel_order.order_id);
        return true;
    case MESSAGE_PAYMENT_SUBMIT_PAYMENT:
        *ret = keyed(TOPIC_PAYMENT_REQUESTS, m->payment_submit_payment.order_id);
        return true;
    case MESSAGE_PAYMENT_PROVIDER_NOTIFIED:
        *ret = m->payment_provider_notified.order_id.ptr
                   ? keyed(TOPIC_PAYMENT_REQUESTS, m->payment_provider_notified.order_id)
                   : keyed(TOPIC_PAYMENT_UNROUTED, m->payment_provider_notified.object_id);
        return true;
    case MESSAGE_PERSONAL_DETAILS:
        *ret = personal(&m->personal_details, key);
        return true;
    default:
        return false;
    }
}

struct str command_topic(const struct message *message) {
    BUF_AUTO key = {0};
    struct destination to = {0};
    return destination_of(message, &key, &to) ? str_from(to.topic) : STR_NULL;
}

static bool partition_of(const struct locations *locations, const struct destination *to, int32_t *ret,
                         struct err *err) {
    *ret = LOG_BY_KEY;
    if (!to->location.ptr || locations_partition(locations, to->location, ret))
        return true;
    return err_set(err, ERR_INVALID_BODY, "there is no such location");
}

bool command_append(struct log_producer *producer, const struct locations *locations, const struct command *command,
                    log_delivery *delivery, void *user, struct err *err) {
    BUF_AUTO key = {0};
    BUF_AUTO value = {0};
    struct destination to;
    int32_t partition;
    if (!destination_of(command->message, &key, &to))
        return err_set(err, ERR_INTERNAL, "message %d is not the API's to write", (int)command->message->type);
    struct str topic = str_from(to.topic);
    const struct schema_subject *subject = schema_subject_find(topic);
    if (!partition_of(locations, &to, &partition, err) || !message_encode(subject, command->message, &value, err))
        return false;
    char time[CLOCK_TEXT_SIZE];
    size_t time_len = clock_format(command->time_us, time);
    const struct log_header headers[] = {
        {STR(HEADER_SPECVERSION), STR("1.0")},
        {STR(HEADER_ID), command->id},
        {STR(HEADER_SOURCE), STR(COMMAND_SOURCE)},
        {STR(HEADER_TYPE), message_name(command->message->type)},
        {STR(HEADER_TIME), {time, time_len}},
        {STR(HEADER_SUBJECT), to.subject},
        {STR(HEADER_CONTENT_TYPE), STR("application/avro")},
        {STR(HEADER_TRACEPARENT), command->traceparent},
        {STR(HEADER_COMMAND_ID), command->command_id.ptr ? command->command_id : command->id},
        {STR(HEADER_TRACESTATE), command->tracestate},
    };
    const size_t header_count = sizeof headers / sizeof headers[0] - !command->tracestate.ptr;
    const struct log_record record = {.topic = topic,
                                      .partition = partition,
                                      .key = to.key,
                                      .value = buf_str(&value),
                                      .headers = headers,
                                      .header_count = header_count};
    return log_append(producer, &record, delivery, user, err);
}
