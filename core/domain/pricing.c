#include "core/domain/pricing.h"

int64_t price_discount(const struct line_list *lines, int64_t items_minor) {
    (void)lines;
    (void)items_minor;
    return 0;
}

int64_t price_shipping(const struct line_list *lines, int64_t items_minor) {
    (void)lines;
    (void)items_minor;
    return 0;
}

int64_t price_tax(const struct line_list *lines, int64_t taxable_minor) {
    (void)lines;
    (void)taxable_minor;
    return 0;
}

static bool price_line(struct str currency, const struct quantity *quantity, const struct product *product,
                       struct line *ret) {
    bool for_sale = product->sku.ptr != NULL;
    int64_t unit = for_sale ? product->price.minor : 0;
    int64_t total;
    if (unit < 0 || quantity->quantity < 0 || (for_sale && !str_eq(product->price.currency, currency)) ||
        __builtin_mul_overflow(unit, quantity->quantity, &total))
        return false;
    *ret = (struct line){
        .sku = quantity->sku,
        .name = for_sale ? product->name : quantity->sku,
        .quantity = quantity->quantity,
        .unit_price = {unit, currency},
        .line_total = {total, currency},
        .revision = for_sale ? product->revision : 0,
    };
    return true;
}

bool price_order(struct arena *arena, struct str currency, const struct quantity *quantities,
                 const struct product *products, size_t count, struct line_list *ret_lines, struct totals *ret_totals) {
    struct line_list lines = {arena_array(arena, struct line, count), count};
    int64_t items = 0;
    for (size_t i = 0; i < count; i++)
        if (!price_line(currency, &quantities[i], &products[i], &lines.items[i]) ||
            __builtin_add_overflow(items, lines.items[i].line_total.minor, &items))
            return false;
    int64_t discount = price_discount(&lines, items);
    int64_t shipping = price_shipping(&lines, items);
    int64_t taxable, tax, total;
    if (__builtin_sub_overflow(items, discount, &taxable) || __builtin_add_overflow(taxable, shipping, &taxable))
        return false;
    tax = price_tax(&lines, taxable);
    if (__builtin_add_overflow(taxable, tax, &total))
        return false;
    *ret_lines = lines;
    *ret_totals = (struct totals){
        .items = {items, currency},
        .discount = {discount, currency},
        .shipping = {shipping, currency},
        .tax = {tax, currency},
        .total = {total, currency},
    };
    return true;
}

bool price_balances(const struct line_list *lines, const struct totals *totals) {
    struct str currency = totals->total.currency;
    const struct money *parts[] = {&totals->items, &totals->discount, &totals->shipping, &totals->tax, &totals->total};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (parts[i]->minor < 0 || !str_eq(parts[i]->currency, currency))
            return false;
    int64_t items = 0;
    for (size_t i = 0; i < lines->count; i++) {
        const struct line *line = &lines->items[i];
        int64_t total;
        if (line->quantity <= 0 || line->unit_price.minor < 0 || !str_eq(line->unit_price.currency, currency) ||
            !str_eq(line->line_total.currency, currency) ||
            __builtin_mul_overflow(line->unit_price.minor, line->quantity, &total) || total != line->line_total.minor ||
            __builtin_add_overflow(items, total, &items))
            return false;
    }
    int64_t total;
    return items == totals->items.minor && !__builtin_add_overflow(items, totals->shipping.minor, &total) &&
           !__builtin_add_overflow(total, totals->tax.minor, &total) &&
           !__builtin_sub_overflow(total, totals->discount.minor, &total) && total == totals->total.minor;
}
