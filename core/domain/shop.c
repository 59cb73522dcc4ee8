#include "core/domain/room.h"

struct shop shop_defaults(void) {
    const int64_t second_us = 1000000;
    return (struct shop){
        .currency = STR("USD"),
        .quantity_max = 999,
        .lines_max = 200,
        .payment_attempts = 5,
        .payment_deadline_us = 30 * 60 * second_us,
        .cart_abandon_us = 30 * 24 * 3600 * second_us,
        .hold_expiry_us = 60 * second_us,
        .location = STR("main"),
    };
}
