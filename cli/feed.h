/* What the files of `orderlog feed` share: the baskets of a CSV, the shop's API as a shopper sees it, and what is kept
 * of each basket so that a feed that was killed goes on. */
#ifndef ORDERLOG_CLI_FEED_H
#define ORDERLOG_CLI_FEED_H

#include <pthread.h>
#include <stdatomic.h>

#include <curl/curl.h>
#include <jansson.h>

#include "core/base/arena.h"
#include "core/base/err.h"
#include "core/base/map.h"

enum { FEED_QUANTITY_MAX = 999 };

/* ---- feed_data.c: the CSV files ---- */

struct feed_line {
    struct str sku;
    int64_t quantity;
    struct str sales_value; /* as it stands in the file */
};

struct feed_basket {
    struct str id;
    struct str household;
    struct feed_line *lines;
    size_t line_count;
};

struct feed_product {
    struct str sku;
    struct str name;
    int64_t price_minor; /* 0: no line of the file gives it one */
    int64_t demand;      /* of the lines that the API accepts */
};

struct feed_data {
    struct arena arena;
    struct feed_basket *baskets; /* in the order of their first lines */
    size_t basket_count;
    struct feed_product **products; /* in the order of their first lines */
    size_t product_count;
    struct map by_sku;
};

/* ERR_CONFIG names the file and the line that is wrong. */
CHECK_RESULT bool feed_data_load(const char *baskets_path, const char *products_path, struct feed_data *ret,
                                 struct err *err);
void feed_data_free(struct feed_data *data);
/* sales_value / quantity in cents, decimal, half up, at least 1. False when sales_value is no decimal number. */
bool feed_price(struct str sales_value, int64_t quantity, int64_t *ret_minor);
/* So many percent of the demand, rounded up. */
int64_t feed_stock(int64_t demand, int64_t percent);

/* ---- feed_http.c ---- */

struct feed_http {
    CURL *handle;
    const char *api;
    const atomic_bool *stop;
    struct buf answer;
    json_t *json; /* the answer, or NULL */
    long status;
};

struct feed_call {
    const char *method;
    const char *path;
    const char *token;
    const char *key;  /* Idempotency-Key, or NULL */
    const char *body; /* or NULL */
};

void feed_http_open(struct feed_http *http, const char *api, const atomic_bool *stop);
void feed_http_close(struct feed_http *http);
/* Calls until there is an answer that is not 429, 500 or 503, with the same key; gives up after ten minutes without
 * one, or when stopped. The answer is in http->status and ->json. */
CHECK_RESULT bool feed_http_call(struct feed_http *http, const struct feed_call *call, struct err *err);
/* The slug of a problem, "" for none. Borrowed from http->json. */
const char *feed_http_problem(const struct feed_http *http);

/* ---- feed_state.c: what is kept below --state ---- */

struct feed_fate {
    const char *outcome; /* "completed", "rejected:out-of-stock", "empty", … */
    const char *order_id;
    int64_t revenue_minor;
    struct map refused; /* slug -> count */
};

struct feed_state {
    pthread_mutex_t lock;
    char *folder;
    int fates_file;
    int tokens_file;
    struct map done;     /* basket id -> "" */
    struct map tokens;   /* household -> char * */
    struct map outcomes; /* outcome -> count */
    struct map refused;  /* slug -> count */
    int64_t revenue_minor;
    size_t done_count;
};

CHECK_RESULT bool feed_state_open(struct feed_state *state, const char *folder, struct err *err);
void feed_state_close(struct feed_state *state);
bool feed_state_is_done(struct feed_state *state, struct str basket);
CHECK_RESULT bool feed_state_add(struct feed_state *state, struct str basket, const struct feed_fate *fate,
                                 struct err *err);
/* NULL: no token yet. Borrowed, lives as long as the state. */
const char *feed_state_token(struct feed_state *state, struct str household);
CHECK_RESULT bool feed_state_set_token(struct feed_state *state, struct str household, const char *token,
                                       struct err *err);
bool feed_state_stocked(const struct feed_state *state, int64_t percent);
CHECK_RESULT bool feed_state_set_stocked(const struct feed_state *state, int64_t percent, struct err *err);
/* Counts one up. */
void feed_count(struct map *counts, struct str name, int64_t by);

/* ---- feed_shop.c: what shoppers and the warehouse do ---- */

struct feed_shop {
    const char *operator_token;
    const char *currency;
    bool fulfil;
    bool stocked; /* by this feed: every product is for sale */
    struct feed_state *state;
};

CHECK_RESULT bool feed_stock_product(struct feed_http *http, const struct feed_shop *shop,
                                     const struct feed_product *product, int64_t percent, struct err *err);
/* From an empty cart to the basket's fate, which is kept. */
CHECK_RESULT bool feed_basket_run(struct feed_http *http, const struct feed_shop *shop,
                                  const struct feed_basket *basket, struct err *err);

#endif
