#include "projections/view.h"

#include "core/base/ids.h"
#include "core/codec/avro.h"
#include "core/domain/cart.h"
#include "core/log/log.h"
#include "projections/fold_order.h"
#include "projections/fold_product.h"
#include "projections/fold_recommendation.h"

static bool fold_cart(const struct shop *shop, struct arena *arena, struct str key, void **row,
                      const struct envelope *envelope, const struct message *message) {
    (void)key;
    struct state_cart *cart = *row;
    struct str reason = STR_NULL;
    enum cart_verdict verdict = cart_evolve(shop, arena, &cart, envelope, message, &reason);
    *row = cart;
    return verdict != CART_NOT_OURS;
}

static bool fold_order(const struct shop *shop, struct arena *arena, struct str key, void **row,
                       const struct envelope *envelope, const struct message *message) {
    (void)shop;
    (void)key;
    struct view_order_row *order = *row;
    bool folded = order_row_fold(arena, &order, envelope, message);
    *row = order;
    return folded;
}

static bool fold_product(const struct shop *shop, struct arena *arena, struct str key, void **row,
                         const struct envelope *envelope, const struct message *message) {
    (void)shop;
    (void)key;
    struct view_product_row *product = *row;
    bool folded = product_row_fold(arena, &product, envelope, message);
    *row = product;
    return folded;
}

static bool fold_recommendation(const struct shop *shop, struct arena *arena, struct str key, void **row,
                                const struct envelope *envelope, const struct message *message) {
    (void)shop;
    struct view_recommendation_row *recommendation = *row;
    bool folded = recommendation_row_fold(arena, key, &recommendation, envelope, message);
    *row = recommendation;
    return folded;
}

static const char *const cart_topics[] = {TOPIC_CART_EVENTS, TOPIC_CHECKOUT_EVENTS};
static const char *const order_topics[] = {TOPIC_ORDER_EVENTS, TOPIC_PAYMENT_EVENTS, TOPIC_FULFILMENT_EVENTS};
static const char *const product_topics[] = {TOPIC_CATALOGUE_EVENTS, TOPIC_STOCK_EVENTS};

static const char *const recommendation_topics[] = {TOPIC_FULFILMENT_EVENTS};

#define TOPICS(list) .topics = list, .topic_count = sizeof(list) / sizeof((list)[0])

const struct view view_carts = {.name = "carts",
                                .key_name = "cart",
                                .key_field = "cart_id",
                                .subject = "state/cart",
                                .row_size = sizeof(struct state_cart),
                                .movable = true,
                                .fold = fold_cart,
                                TOPICS(cart_topics)};
const struct view view_orders = {.name = "orders",
                                 .key_name = "order",
                                 .key_field = "order_id",
                                 .subject = "view/order",
                                 .row_size = sizeof(struct view_order_row),
                                 .fold = fold_order,
                                 TOPICS(order_topics)};
const struct view view_products = {.name = "products",
                                   .key_name = "product",
                                   .key_field = "sku",
                                   .subject = "view/product",
                                   .row_size = sizeof(struct view_product_row),
                                   .fold = fold_product,
                                   TOPICS(product_topics)};

const struct view view_recommendations = {.name = "recommendations",
                                          .key_name = "recommendation",
                                          .key_field = "order_id",
                                          .subject = "view/recommendation",
                                          .row_size = sizeof(struct view_recommendation_row),
                                          .movable = true,
                                          .keys = recommendation_keys,
                                          .fold = fold_recommendation,
                                          TOPICS(recommendation_topics)};

const struct view *const views_all[VIEW_COUNT] = {&view_carts, &view_orders, &view_products, &view_recommendations};

const struct view *view_find(struct str name) {
    for (size_t i = 0; i < VIEW_COUNT; i++)
        if (str_eq(name, str_from(views_all[i]->name)))
            return views_all[i];
    return NULL;
}

struct str view_key(const struct view *view, const struct message *message) {
    const struct schema_type *type = schema_messages[message->type];
    for (size_t i = 0; type && i < type->field_count; i++)
        if (type->fields[i].type->kind == SCHEMA_STRING && strcmp(type->fields[i].name, view->key_field) == 0)
            return *(const struct str *)((const char *)message_body(message) + type->fields[i].offset);
    return STR_NULL;
}

size_t view_row_keys(const struct view *view, struct arena *arena, int32_t shard, const struct message *message,
                     struct str **ret) {
    if (view->keys)
        return view->keys(arena, shard, message, ret);
    *ret = arena_array(arena, struct str, 1);
    (*ret)[0] = view_key(view, message);
    return 1;
}

int32_t view_shard_of(const struct view *view, struct str key, int32_t shards) {
    struct str rest;
    int64_t shard;
    if (!view->keys)
        return log_partition_of(key, shards);
    struct str number = str_cut(key, '/', &rest);
    return rest.ptr && str_to_i64(number, &shard) && shard >= 0 && shard < shards ? (int32_t)shard : -1;
}

/* ---- what every store can keep ---- */

static bool text_valid(const struct schema_type *type, struct str text) {
    if (!text.ptr)
        return true;
    return type->logical == SCHEMA_UUID ? id_valid(text) : !text.len || !memchr(text.ptr, '\0', text.len);
}

static bool record_valid(const struct schema_type *type, const char *record, const char **ret_field);

static bool value_valid(const struct schema_type *type, const char *value, const char **ret_field) {
    const struct schema_list *list = (const struct schema_list *)value;
    switch (type->kind) {
    case SCHEMA_STRING:
        return text_valid(type, *(const struct str *)value);
    case SCHEMA_RECORD:
        return record_valid(type, value, ret_field);
    case SCHEMA_ARRAY:
        for (size_t i = 0; i < list->count; i++)
            if (!value_valid(type->item, (const char *)list->items + i * type->item->size, ret_field))
                return false;
        return true;
    case SCHEMA_OPTION:
        if (type->item->kind == SCHEMA_STRING)
            return text_valid(type->item, *(const struct str *)value);
        if (type->item->kind == SCHEMA_RECORD && *(const char *const *)value)
            return record_valid(type->item, *(const char *const *)value, ret_field);
        return true;
    default:
        return true;
    }
}

static bool record_valid(const struct schema_type *type, const char *record, const char **ret_field) {
    for (size_t i = 0; i < type->field_count; i++)
        if (!value_valid(type->fields[i].type, record + type->fields[i].offset, ret_field)) {
            *ret_field = type->fields[i].name;
            return false;
        }
    return true;
}

bool view_text_valid(const struct message *message, const char **ret_field) {
    return record_valid(schema_messages[message->type], message_body(message), ret_field);
}
