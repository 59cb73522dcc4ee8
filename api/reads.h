/* The views, as handlers ask them: each call either answers the request (503) and returns false, or fills *ret.
 *
 * A store that does not answer would keep a server's thread for up to a second, and with it the writes of other
 * connections. So after one failure all reads of that store are refused at once, until a thread of its own has seen it
 * answer again. */
#ifndef ORDERLOG_API_READS_H
#define ORDERLOG_API_READS_H

#include "api/internal.h"
#include "projections/views.h"

CHECK_RESULT bool reads_open(struct api *api, int32_t partitions, struct reads **ret, struct err *err);
void reads_close(struct reads *reads); /* NULL is fine */

CHECK_RESULT bool reads_order(struct request *request, struct str order_id, struct view_order_row **ret);
CHECK_RESULT bool reads_product(struct request *request, struct str sku, struct view_product_row **ret);
/* A cart, and the product of each of its lines (NULL where there is none). */
CHECK_RESULT bool reads_cart(struct request *request, struct str cart_id, struct state_cart **ret,
                             struct view_product_row ***ret_products);

/* What was bought together with a product, those still for sale; `product` NULL: it is not known. */
struct recommendations {
    struct view_product_row *product;
    struct view_partner *partners;
    struct view_product_row **products; /* of the partners */
    size_t count;
};
CHECK_RESULT bool reads_recommendations(struct request *request, struct str sku, size_t limit,
                                        struct recommendations *ret);

struct product_page {
    struct view_product_row **rows;
    size_t count;
    struct str next;
};

struct order_page {
    struct view_order_row **rows;
    size_t count;
    struct str next;
};

CHECK_RESULT bool reads_product_page(struct request *request, struct str after, int32_t limit,
                                     struct product_page *ret);
CHECK_RESULT bool reads_order_page(struct request *request, struct str shopper_id, struct str after, int32_t limit,
                                   struct order_page *ret);
CHECK_RESULT bool reads_order_events(struct request *request, struct str order_id, struct buf *ret);
/* Ends {"items":[… */
void reads_end_page(struct buf *reply, struct str next);

/* For /readyz: whether Redis and the lists' database answered when they were last asked. */
bool reads_hot_answers(const struct reads *reads);
bool reads_lists_answer(const struct reads *reads);

#endif
