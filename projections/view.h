/* What a read model is, whichever store holds it: its topics, the key of its rows, and the fold that makes them.
 * Pure data and pure functions; any thread. */
#ifndef ORDERLOG_PROJECTIONS_VIEW_H
#define ORDERLOG_PROJECTIONS_VIEW_H

#include "core/domain/room.h"

struct view {
    const char *name;          /* "orders"; its service is view-orders, its groups redis-view-orders, … */
    const char *key_name;      /* "order": of its rows' keys in Redis */
    const char *key_field;     /* "order_id": of every record that has a place in this view */
    const char *subject;       /* view/order: a row's bytes */
    bool movable;              /* ORDERLOG_VIEWS_URL may keep it elsewhere than in Redis */
    size_t row_size;           /* of the C type */
    const char *const *topics; /* that the rows are made of, with the same key and number of partitions */
    size_t topic_count;
    /* NULL: each record is of one row, by key_field. Else each shard has rows of its own, of which a record may change
     * several or none; their keys begin with "<shard>/". */
    size_t (*keys)(struct arena *arena, int32_t shard, const struct message *message, struct str **ret);
    /* *row NULL: there is none yet of this key. False: not a record of this view. */
    bool (*fold)(const struct shop *shop, struct arena *arena, struct str key, void **row,
                 const struct envelope *envelope, const struct message *message);
};

extern const struct view view_carts, view_orders, view_products, view_recommendations;
extern const struct view *const views_all[];
enum { VIEW_COUNT = 4, VIEW_TOPICS_MAX = 6 };

/* The reason of a parked record that could have been handled, but for those before it. */
#define PARKED_BEHIND "one of its subject before it is parked"

/* NULL when there is none. */
const struct view *view_find(struct str name);
/* The value of the view's key field in a record; ptr NULL when the record has none. */
struct str view_key(const struct view *view, const struct message *message);
/* The keys of the rows that a record in this shard may change; in the arena. */
size_t view_row_keys(const struct view *view, struct arena *arena, int32_t shard, const struct message *message,
                     struct str **ret);
/* The shard that a row's key is of, among so many; -1: no row has such a key. */
int32_t view_shard_of(const struct view *view, struct str key, int32_t shards);
/* False when a text cannot be kept by every store: it holds a zero byte, or a field that must hold a UUID does not.
 * *ret_field: which. */
bool view_text_valid(const struct message *message, const char **ret_field);

#endif
