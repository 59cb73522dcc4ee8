/* The one place where money is added up: lines and totals of carts and of orders. Integers in minor units,
 * overflow-checked. Pure; any thread. */
#ifndef ORDERLOG_DOMAIN_PRICING_H
#define ORDERLOG_DOMAIN_PRICING_H

#include "core/domain/room.h"

/* Prices `count` quantities; products[i] is that of quantities[i], or has sku.ptr NULL when it is not for sale: then
 * the line has the SKU as its name and costs nothing (a cart may show such a line; checkout refuses it before).
 * Text is borrowed from the arguments, the list is in the arena.
 * False: a price is negative or in another currency, a quantity is negative, or a sum does not fit in an int64. */
bool price_order(struct arena *arena, struct str currency, const struct quantity *quantities,
                 const struct product *products, size_t count, struct line_list *ret_lines, struct totals *ret_totals);

/* Zero until their issues. */
int64_t price_discount(const struct line_list *lines, int64_t items_minor);
int64_t price_shipping(const struct line_list *lines, int64_t items_minor);
int64_t price_tax(const struct line_list *lines, int64_t taxable_minor);

/* Whether lines + shipping + tax - discount = total, all in one currency, nothing negative, every quantity positive. */
bool price_balances(const struct line_list *lines, const struct totals *totals);

#endif
