/* Reading the views: what the API serves. Redis holds them hot (section 7 of the design); values are the Avro bytes
 * of view/… and state/cart.
 *
 * While Redis is away its rows are read from PostgreSQL, if there is one: they may be a little older than those that
 * Redis showed before. Redis is asked again a second later.
 *
 * A `struct views` belongs to one thread. Calls block on Redis for at most a second. What is returned lives in the
 * caller's arena. */
#ifndef ORDERLOG_PROJECTIONS_VIEWS_H
#define ORDERLOG_PROJECTIONS_VIEWS_H

#include "core/base/arena.h"
#include "core/base/err.h"
#include "projections/view.h"

#include <stdatomic.h>

struct views;

/* Does not connect yet: a store that is away gives ERR_STORE_UNAVAILABLE on each call and is tried again. `partitions`
 * is that of the topics (all views' topics have the same). */
CHECK_RESULT bool views_open(const char *redis_url, const char *database_url, int32_t partitions, struct views **ret,
                             struct err *err);
void views_close(struct views *views);
/* The views that may be kept elsewhere (struct view's movable) are read from this DynamoDB table from now on:
 * dynamodb://TABLE. While it is away, or is being filled, they come from PostgreSQL, if there is one. NULL: as before.
 */
CHECK_RESULT bool views_move(struct views *views, const char *dynamodb_url, struct err *err);
/* Several that read the same Redis share what one has found out: while `away_until_us` is ahead, none asks it, but for
 * views_ping. It must outlive them; begins as 0. */
void views_share(struct views *views, atomic_int_least64_t *away_until_us);
/* Whether rows can be read. Asks Redis also while it is away: somebody must find out that it is back. */
CHECK_RESULT bool views_ping(struct views *views, struct err *err);

/* Rows of any view by their keys, in one round trip: ret[i] is of the view's type, NULL where there is none to be
 * shown. *ret_hot: they are Redis' own, so that who is told of its changes (changes.h) is told of all that these do not
 * show; else they come from PostgreSQL, or Redis is still being filled. */
CHECK_RESULT bool views_rows(struct views *views, const struct view *view, const struct str *keys, size_t count,
                             struct arena *arena, void **ret, bool *ret_hot, struct err *err);

/* *ret is NULL when there is none. */
CHECK_RESULT bool views_order(struct views *views, struct str order_id, struct arena *arena,
                              struct view_order_row **ret, struct err *err);
CHECK_RESULT bool views_product(struct views *views, struct str sku, struct arena *arena, struct view_product_row **ret,
                                struct err *err);
/* One round trip for many; ret[i] is NULL where there is none. */
CHECK_RESULT bool views_products(struct views *views, const struct str *skus, size_t count, struct arena *arena,
                                 struct view_product_row **ret, struct err *err);
/* What confirmed orders held beside a SKU: at most `limit` partners, those of the most orders first. */
CHECK_RESULT bool views_recommendations(struct views *views, struct str sku, size_t limit, struct arena *arena,
                                        struct view_partner **ret, size_t *ret_count, struct err *err);
/* The cart as its records made it (fold of cart.events and checkout.events). */
struct state_cart;
CHECK_RESULT bool views_cart(struct views *views, struct str cart_id, struct arena *arena, struct state_cart **ret,
                             struct err *err);

/* Pages, from PostgreSQL. `after` is the last key of the page before (ptr NULL: from the start). Ordered: products by
 * sku; orders newest first, `after` being an order_id. *ret_next has ptr NULL on the last page. */
CHECK_RESULT bool views_product_page(struct views *views, struct str after, int32_t limit, struct arena *arena,
                                     struct view_product_row ***ret, size_t *ret_count, struct str *ret_next,
                                     struct err *err);
CHECK_RESULT bool views_order_page(struct views *views, struct str shopper_id, struct str after, int32_t limit,
                                   struct arena *arena, struct view_order_row ***ret, size_t *ret_count,
                                   struct str *ret_next, struct err *err);

/* The events of an order, oldest first, from PostgreSQL: a JSON array as GET /v1/orders/{id}/events answers it. */
CHECK_RESULT bool views_order_events_json(struct views *views, struct str order_id, struct buf *ret, struct err *err);

#endif
