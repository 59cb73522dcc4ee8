#include "projections/fold_product.h"

#include "core/codec/avro.h"
#include "projections/commands.h"

enum { REVISION_NONE = -1 };

static struct view_product_row *row_new(struct arena *arena, struct str sku) {
    struct view_product_row *row = arena_new(arena, struct view_product_row);
    row->product.sku = row->inventory.sku = arena_dup(arena, sku);
    row->product.name = row->product.price.currency = STR("");
    row->product.revision = REVISION_NONE;
    return row;
}

/* ---- catalogue.events ---- */

static void product_revised(struct arena *arena, struct view_product_row *row, const struct envelope *envelope,
                            const struct catalogue_product_revised *revised) {
    row->product.name = arena_dup(arena, revised->name);
    row->product.price.minor = revised->price.minor;
    row->product.price.currency = arena_dup(arena, revised->price.currency);
    row->product.revision = envelope->offset;
    row->for_sale = true;
}

/* ---- stock.events ---- */

/* In the order of the locations' names, whichever is heard of first. */
static struct view_stock_level *level_of(struct arena *arena, struct view_stock_level_list *list, struct str location) {
    size_t at = 0;
    while (at < list->count && str_cmp(list->items[at].location, location) < 0)
        at++;
    if (at < list->count && str_eq(list->items[at].location, location))
        return &list->items[at];
    struct view_stock_level *items = arena_array(arena, struct view_stock_level, list->count + 1);
    for (size_t i = 0; i < list->count; i++)
        items[i < at ? i : i + 1] = list->items[i];
    items[at].location = arena_dup(arena, location);
    *list = (struct view_stock_level_list){items, list->count + 1};
    return &items[at];
}

static void stock_changed(struct arena *arena, struct view_product_row *row, struct str location,
                          const struct counters *counters) {
    struct view_stock_level *level = level_of(arena, &row->inventory.locations, location);
    if (counters->version <= level->version)
        return;
    level->version = counters->version;
    level->received = counters->received;
    level->adjusted = counters->adjusted;
    level->restocked = counters->restocked;
    level->held = counters->held;
    level->committed = counters->committed;
    level->consumed = counters->consumed;
    level->available = counters->available;
    row->product.available = 0;
    for (size_t i = 0; i < row->inventory.locations.count; i++)
        row->product.available += row->inventory.locations.items[i].available;
}

static bool fold(struct arena *arena, struct view_product_row *row, const struct envelope *envelope,
                 const struct message *m) {
    switch (m->type) {
    case MESSAGE_CATALOGUE_PRODUCT_REVISED:
        product_revised(arena, row, envelope, &m->catalogue_product_revised);
        return true;
    case MESSAGE_CATALOGUE_PRODUCT_WITHDRAWN:
        row->for_sale = false;
        return true;
    case MESSAGE_STOCK_RECEIVED:
        stock_changed(arena, row, m->stock_received.location, &m->stock_received.counters);
        return true;
    case MESSAGE_STOCK_ADJUSTED:
        stock_changed(arena, row, m->stock_adjusted.location, &m->stock_adjusted.counters);
        return true;
    case MESSAGE_STOCK_LEVEL_CHANGED:
        stock_changed(arena, row, m->stock_level_changed.location, &m->stock_level_changed.counters);
        return true;
    case MESSAGE_STOCK_SHORT: /* said beside the StockAdjusted that made it so */
        return true;
    default:
        return m->type == MESSAGE_STOCK_COMMAND_REFUSED;
    }
}

static struct str sku_of(const struct message *message) {
    const struct schema_type *type = schema_messages[message->type];
    if (!type || !type->field_count || strcmp(type->fields[0].name, "sku") != 0)
        return STR_NULL;
    return *(const struct str *)((const char *)message_body(message) + type->fields[0].offset);
}

bool product_row_fold(struct arena *arena, struct view_product_row **row, const struct envelope *envelope,
                      const struct message *message) {
    struct str sku = sku_of(message);
    if (!sku.ptr)
        return false;
    struct view_product_row *folded = *row ? *row : row_new(arena, sku);
    if (!fold(arena, folded, envelope, message))
        return false;
    *row = folded;
    if (message->type == MESSAGE_STOCK_LEVEL_CHANGED)
        return true;
    bool refused = message->type == MESSAGE_STOCK_COMMAND_REFUSED;
    commands_note(arena, &folded->commands, &folded->command_notes, envelope,
                  refused ? message->stock_command_refused.reason : STR_NULL,
                  refused ? message->stock_command_refused.detail : STR_NULL);
    return true;
}
