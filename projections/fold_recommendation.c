#include "projections/fold_recommendation.h"

#include <stdlib.h>

#include "core/base/map.h"
#include "core/codec/avro.h"

/* ---- the SKUs of an order, each once ---- */

static size_t basket_of(const struct fulfilment_requested *requested, struct str ret[RECOMMENDATION_BASKET_MAX]) {
    size_t count = 0;
    for (size_t i = 0; i < requested->lines.count && count < RECOMMENDATION_BASKET_MAX; i++) {
        bool seen = false;
        for (size_t k = 0; k < count && !seen; k++)
            seen = str_eq(ret[k], requested->lines.items[i].sku);
        if (!seen)
            ret[count++] = requested->lines.items[i].sku;
    }
    return count;
}

struct str recommendation_key(struct arena *arena, int32_t shard, struct str sku) {
    return arena_printf(arena, "%d/%.*s", shard, STR_ARG(sku));
}

size_t recommendation_keys(struct arena *arena, int32_t shard, const struct message *message, struct str **ret) {
    struct str basket[RECOMMENDATION_BASKET_MAX];
    size_t count = 0;
    if (message->type == MESSAGE_FULFILMENT_REQUESTED)
        count = basket_of(&message->fulfilment_requested, basket);
    if (count < 2)
        return 0;
    *ret = arena_array(arena, struct str, count);
    for (size_t i = 0; i < count; i++)
        (*ret)[i] = recommendation_key(arena, shard, basket[i]);
    return count;
}

/* ---- counting ---- */

static bool before(const struct view_partner *a, const struct view_partner *b) {
    return a->orders != b->orders ? a->orders > b->orders : str_cmp(a->sku, b->sku) < 0;
}

static void put_in_order(struct view_partner *items, size_t at) {
    for (; at > 0 && before(&items[at], &items[at - 1]); at--) {
        struct view_partner held = items[at];
        items[at] = items[at - 1];
        items[at - 1] = held;
    }
}

/* One less of each, in place of the one that there is no room for. */
static void make_less(struct view_partner_list *partners) {
    size_t left = 0;
    for (size_t i = 0; i < partners->count; i++)
        if (--partners->items[i].orders > 0)
            left = i + 1;
    partners->count = left;
}

static void count_partner(struct arena *arena, struct view_partner_list *partners, struct str sku) {
    size_t at = 0;
    while (at < partners->count && !str_eq(partners->items[at].sku, sku))
        at++;
    if (at < partners->count) {
        partners->items[at].orders++;
    } else if (partners->count == RECOMMENDATION_PARTNERS_MAX) {
        make_less(partners);
        return;
    } else {
        struct view_partner *items = arena_array(arena, struct view_partner, partners->count + 1);
        if (partners->count)
            memcpy(items, partners->items, partners->count * sizeof(*items));
        items[partners->count++] = (struct view_partner){arena_dup(arena, sku), 1};
        partners->items = items;
    }
    put_in_order(partners->items, at);
}

static struct view_recommendation_row *row_new(struct arena *arena, struct str sku) {
    struct view_recommendation_row *row = arena_new(arena, struct view_recommendation_row);
    row->sku = arena_dup(arena, sku);
    row->counted_to = -1;
    return row;
}

static bool is_known(enum message_type type) {
    return type == MESSAGE_FULFILMENT_PICKED || type == MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED ||
           type == MESSAGE_FULFILMENT_SHIPMENT_DELIVERED || type == MESSAGE_FULFILMENT_CANCELLED ||
           type == MESSAGE_FULFILMENT_CANCELLATION_REFUSED || type == MESSAGE_FULFILMENT_COMMAND_REFUSED;
}

bool recommendation_row_fold(struct arena *arena, struct str key, struct view_recommendation_row **row,
                             const struct envelope *envelope, const struct message *message) {
    struct str basket[RECOMMENDATION_BASKET_MAX], sku;
    if (message->type != MESSAGE_FULFILMENT_REQUESTED)
        return is_known(message->type);
    str_cut(key, '/', &sku);
    struct view_recommendation_row *counted = *row ? *row : row_new(arena, sku);
    *row = counted;
    if (envelope->offset <= counted->counted_to)
        return true;
    size_t count = basket_of(&message->fulfilment_requested, basket);
    for (size_t i = 0; i < count; i++)
        if (!str_eq(basket[i], sku))
            count_partner(arena, &counted->partners, basket[i]);
    counted->orders++;
    counted->counted_to = envelope->offset;
    return true;
}

/* ---- adding up ---- */

static int compare(const void *a, const void *b) {
    return before(a, b) ? -1 : 1;
}

size_t recommendation_merge(struct arena *arena, struct view_recommendation_row *const *rows, size_t count,
                            size_t limit, struct view_partner **ret) {
    struct map by_sku = {0};
    size_t merged = 0;
    *ret = arena_array(arena, struct view_partner, count * RECOMMENDATION_PARTNERS_MAX);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; rows[i] && k < rows[i]->partners.count; k++) {
            const struct view_partner *partner = &rows[i]->partners.items[k];
            void **place = map_put(&by_sku, partner->sku);
            if (*place)
                ((struct view_partner *)*place)->orders += partner->orders;
            else
                *place = memcpy(&(*ret)[merged++], partner, sizeof(*partner));
        }
    map_free(&by_sku, NULL);
    qsort(*ret, merged, sizeof(**ret), compare);
    return merged < limit ? merged : limit;
}
