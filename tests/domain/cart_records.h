/* Records of cart.events about one cart. */
#ifndef ORDERLOG_TESTS_DOMAIN_CART_RECORDS_H
#define ORDERLOG_TESTS_DOMAIN_CART_RECORDS_H

#include "tests/support/room.h"

#define CART "cart-1"
#define SHOPPER "shopper-1"

static inline struct message cart_created(void) {
    return (struct message){.type = MESSAGE_CART_CREATED,
                            .cart_created = {STR(CART), STR(SHOPPER), STR("USD"), STR("hash")}};
}

static inline struct message cart_added(const char *sku, int32_t quantity) {
    return (struct message){.type = MESSAGE_CART_LINE_ADDED,
                            .cart_line_added = {STR(CART), STR(SHOPPER), str_from(sku), quantity, STR("hash")}};
}

static inline struct message cart_changed(const char *sku, int32_t quantity) {
    return (struct message){
        .type = MESSAGE_CART_LINE_QUANTITY_CHANGED,
        .cart_line_quantity_changed = {STR(CART), STR(SHOPPER), str_from(sku), quantity, STR("hash")}};
}

static inline struct message cart_removed(const char *sku) {
    return (struct message){.type = MESSAGE_CART_LINE_REMOVED,
                            .cart_line_removed = {STR(CART), STR(SHOPPER), str_from(sku), STR("hash")}};
}

static inline struct message cart_checkout(const char *order_id, int64_t expected_minor) {
    return (struct message){.type = MESSAGE_CART_CHECKOUT_REQUESTED,
                            .cart_checkout_requested = {
                                .cart_id = STR(CART),
                                .shopper_id = STR(SHOPPER),
                                .order_id = str_from(order_id),
                                .expected_total = {expected_minor, STR("USD")},
                                .payment_method = STR("pm_card_visa"),
                                .personal_ref = STR("ref-1"),
                                .ship_to = {STR("US"), STR("OR")},
                                .body_hash = STR("hash"),
                            }};
}

static inline struct message cart_reopen(const char *order_id) {
    return (struct message){.type = MESSAGE_CHECKOUT_REOPEN_CART,
                            .checkout_reopen_cart = {STR(CART), str_from(order_id), STR("out-of-stock")}};
}

#endif
