#include "cli/feed.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/base/clock.h"
#include "core/base/config.h"

const char feed_help[] =
    "Usage: orderlog feed --baskets CSV --products CSV --state DIR [OPTION...]\n"
    "\n"
    "Takes baskets through the public HTTP API as their shoppers would: a session, a cart, its lines, a checkout, and\n"
    "then the order until it is settled; when a card is declined, with another, up to five times. Baskets come in the\n"
    "order of the file, several at once. What became of each is kept below --state, so that a feed that was stopped "
    "or\n"
    "killed goes on where it was when it is started again.\n"
    "\n"
    "  --baskets CSV          time,household_id,basket_id,product_id,quantity,sales_value,...\n"
    "  --products CSV         product_id,department,product_category,product_type,package_size,...\n"
    "  --state DIR            where fates and shoppers' tokens are kept; made if missing\n"
    "  --stock-percent N      first put all products up for sale and receive N % of their demand, rounded up\n"
    "  --fulfil               act as the warehouse too: pick, dispatch and deliver what is confirmed\n"
    "  --concurrency N        shoppers at once (32)\n"
    "  --limit N              only the first N baskets\n"
    "  --report FILE          write the report there, not to standard output\n"
    "\n"
    "Settings: ORDERLOG_API, ORDERLOG_OPERATOR_TOKEN (for --stock-percent and --fulfil), ORDERLOG_CURRENCY (USD).\n"
    "Exit codes: 0 every basket has its fate; 1 some have none yet; 2 wrong usage, or it could not be done.\n"
    "\n"
    "Example:\n"
    "  orderlog feed --baskets tests/data/baskets.csv --products tests/data/products.csv --state var/feed \\\n"
    "      --stock-percent 95 --fulfil\n";

struct options {
    const char *baskets, *products, *state, *report;
    int64_t stock_percent, concurrency, limit;
    bool fulfil;
};

struct feed {
    struct options options;
    struct feed_data data;
    struct feed_state state;
    struct feed_shop shop;
    const char *api;
    size_t todo; /* of the phase */
    bool stocking;
    atomic_size_t next;
    atomic_size_t done;
    atomic_bool failed;
    pthread_mutex_t err_lock; /* guards `err` */
    struct err err;
    int64_t started_us;
};

static atomic_bool stop_asked;

static void on_signal(int number) {
    (void)number;
    atomic_store(&stop_asked, true);
}

/* ---- options ---- */

static int parse_options(int argc, char **argv, struct options *ret) {
    static const struct option options[] = {{"baskets", required_argument, NULL, 'b'},
                                            {"products", required_argument, NULL, 'p'},
                                            {"state", required_argument, NULL, 's'},
                                            {"report", required_argument, NULL, 'r'},
                                            {"stock-percent", required_argument, NULL, 'S'},
                                            {"fulfil", no_argument, NULL, 'f'},
                                            {"concurrency", required_argument, NULL, 'c'},
                                            {"limit", required_argument, NULL, 'l'},
                                            {0}};
    int option;
    bool ok = true;
    *ret = (struct options){.concurrency = 32, .limit = -1, .stock_percent = -1};
    while (ok && (option = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (option) {
        case 'b':
            ret->baskets = optarg;
            break;
        case 'p':
            ret->products = optarg;
            break;
        case 's':
            ret->state = optarg;
            break;
        case 'r':
            ret->report = optarg;
            break;
        case 'f':
            ret->fulfil = true;
            break;
        case 'S':
            ok = cli_number("--stock-percent", optarg, 0, 1000, &ret->stock_percent);
            break;
        case 'c':
            ok = cli_number("--concurrency", optarg, 1, 1024, &ret->concurrency);
            break;
        case 'l':
            ok = cli_number("--limit", optarg, 0, INT64_MAX, &ret->limit);
            break;
        default:
            return cli_usage_hint();
        }
    if (!ok || !cli_no_operands(argc, argv))
        return CLI_USAGE;
    if (!ret->baskets || !ret->products || !ret->state)
        return cli_usage_error("--baskets, --products and --state are needed");
    return CLI_OK;
}

/* ---- progress ---- */

static void show_progress(struct feed *feed, bool last) {
    static int64_t shown_us;
    int64_t now_us = clock_monotonic_us();
    bool terminal = isatty(STDERR_FILENO);
    if (!last && now_us - shown_us < (terminal ? 200000 : 5000000))
        return;
    shown_us = now_us;
    size_t done = atomic_load(&feed->done);
    double seconds = (double)(now_us - feed->started_us) / 1e6, rate = seconds > 0 ? (double)done / seconds : 0;
    double eta = rate > 0 ? (double)(feed->todo - done) / rate : 0;
    const char *what = feed->stocking ? "products stocked" : "baskets";
    if (terminal) {
        int filled = feed->todo ? (int)(30 * done / feed->todo) : 30;
        fprintf(stderr, "\r[%.*s%*s] %zu/%zu %s  %.0f/s  %.0f s left \033[K%s", filled,
                "##############################", 30 - filled, "", done, feed->todo, what, rate, eta, last ? "\n" : "");
    } else {
        fprintf(stderr, "%zu/%zu %s, %.0f/s, about %.0f s left\n", done, feed->todo, what, rate, eta);
    }
}

/* ---- workers ---- */

static void fail(struct feed *feed, const struct err *err) {
    pthread_mutex_lock(&feed->err_lock);
    if (!atomic_exchange(&feed->failed, true))
        feed->err = *err;
    pthread_mutex_unlock(&feed->err_lock);
    atomic_store(&stop_asked, true);
}

static void *worker_main(void *user) {
    struct feed *feed = user;
    struct feed_http http;
    feed_http_open(&http, feed->api, &stop_asked);
    for (;;) {
        size_t i = atomic_fetch_add(&feed->next, 1);
        struct err err = {0};
        if (i >= feed->todo || atomic_load(&stop_asked))
            break;
        bool ok = true;
        if (feed->stocking)
            ok = feed_stock_product(&http, &feed->shop, feed->data.products[i], feed->options.stock_percent, &err);
        else if (!feed_state_is_done(&feed->state, feed->data.baskets[i].id))
            ok = feed_basket_run(&http, &feed->shop, &feed->data.baskets[i], &err);
        if (ok)
            atomic_fetch_add(&feed->done, 1);
        else if (!atomic_load(&stop_asked))
            fail(feed, &err);
    }
    feed_http_close(&http);
    return NULL;
}

/* All of the phase's work by so many workers. False: stopped, or feed->err says why not. */
static bool run_phase(struct feed *feed, bool stocking, size_t todo) {
    pthread_t threads[1024];
    int64_t count = 0;
    feed->stocking = stocking;
    feed->todo = todo;
    atomic_store(&feed->next, 0);
    atomic_store(&feed->done, 0);
    feed->started_us = clock_monotonic_us();
    while (count < feed->options.concurrency && pthread_create(&threads[count], NULL, worker_main, feed) == 0)
        count++;
    if (!count)
        fail(feed, &(struct err){.kind = ERR_INTERNAL, .detail = "no thread can be started"});
    while (atomic_load(&feed->done) < todo && !atomic_load(&stop_asked)) {
        clock_sleep_ms(20);
        show_progress(feed, false);
    }
    for (int64_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    show_progress(feed, true);
    return atomic_load(&feed->done) == todo;
}

/* ---- the report ---- */

static json_t *counts_json(const struct map *counts) {
    json_t *json = json_object();
    for (struct map_entry *e = map_next(counts, NULL); e; e = map_next(counts, e))
        json_object_setn_new(json, e->key.ptr, e->key.len, json_integer((intptr_t)e->value));
    return json;
}

/* Products of which nothing is left. */
static bool count_sold_out(struct feed *feed, int64_t *ret, struct err *err) {
    struct feed_http http;
    BUF_AUTO path = {0};
    bool more = true, ok = true;
    *ret = 0;
    feed_http_open(&http, feed->api, &stop_asked);
    buf_printf(&path, "/v1/products?limit=100");
    while (ok && more) {
        size_t i;
        json_t *product;
        struct feed_call call = {"GET", path.ptr, feed->shop.operator_token, NULL, NULL};
        ok = feed_http_call(&http, &call, err);
        if (ok && http.status != 200)
            ok = err_set(err, ERR_IO, "GET %s was answered %ld", path.ptr, http.status);
        json_array_foreach(json_object_get(http.json, "items"), i, product) *ret +=
            json_integer_value(json_object_get(product, "available")) <= 0;
        const char *next = ok ? json_string_value(json_object_get(http.json, "next")) : NULL;
        more = next != NULL;
        if (more) {
            buf_reset(&path);
            buf_printf(&path, "/v1/products?limit=100&after=%s", next);
        }
    }
    feed_http_close(&http);
    return ok;
}

static bool write_report(struct feed *feed, double seconds, struct err *err) {
    int64_t sold_out = 0;
    if (!count_sold_out(feed, &sold_out, err))
        return false;
    json_t *report =
        json_pack("{s:I, s:o, s:o, s:{s:I, s:s}, s:I, s:f}", "baskets", (json_int_t)feed->state.done_count, "outcomes",
                  counts_json(&feed->state.outcomes), "refused_lines", counts_json(&feed->state.refused), "revenue",
                  "minor", (json_int_t)feed->state.revenue_minor, "currency", feed->shop.currency, "sold_out",
                  (json_int_t)sold_out, "seconds", seconds);
    bool ok = feed->options.report
                  ? json_dump_file(report, feed->options.report, JSON_INDENT(2) | JSON_SORT_KEYS) == 0
                  : json_dumpf(report, stdout, JSON_INDENT(2) | JSON_SORT_KEYS) == 0 && putchar('\n') != EOF;
    json_decref(report);
    return ok || err_set(err, ERR_IO, "the report cannot be written to %s",
                         feed->options.report ? feed->options.report : "standard output");
}

/* ---- all of it ---- */

static bool prepare(struct feed *feed, struct err *err) {
    if (!config_require("ORDERLOG_API", &feed->api, err))
        return false;
    feed->shop = (struct feed_shop){.operator_token = config_get("ORDERLOG_OPERATOR_TOKEN", NULL),
                                    .currency = config_get("ORDERLOG_CURRENCY", "USD"),
                                    .fulfil = feed->options.fulfil,
                                    .stocked = feed->options.stock_percent >= 0,
                                    .state = &feed->state};
    if (!feed->shop.operator_token && (feed->options.fulfil || feed->options.stock_percent >= 0))
        return err_set(err, ERR_CONFIG, "ORDERLOG_OPERATOR_TOKEN is needed for --stock-percent and --fulfil");
    return feed_data_load(feed->options.baskets, feed->options.products, &feed->data, err) &&
           feed_state_open(&feed->state, feed->options.state, err);
}

static bool stock(struct feed *feed, struct err *err) {
    int64_t percent = feed->options.stock_percent;
    if (percent < 0 || feed_state_stocked(&feed->state, percent))
        return true;
    if (run_phase(feed, true, feed->data.product_count))
        return feed_state_set_stocked(&feed->state, percent, err);
    *err = feed->err;
    return false;
}

static bool sell(struct feed *feed, struct err *err) {
    size_t count = feed->data.basket_count;
    int64_t started_us = clock_monotonic_us();
    if (feed->options.limit >= 0 && (size_t)feed->options.limit < count)
        count = (size_t)feed->options.limit;
    if (run_phase(feed, false, count))
        return write_report(feed, (double)(clock_monotonic_us() - started_us) / 1e6, err);
    *err = feed->err;
    return false;
}

int feed_main(int argc, char **argv) {
    struct feed feed = {.err_lock = PTHREAD_MUTEX_INITIALIZER, .state = {.fates_file = -1, .tokens_file = -1}};
    struct err err = {0};
    int status = parse_options(argc, argv, &feed.options);
    if (status != CLI_OK)
        return status;
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    if (!prepare(&feed, &err))
        status = cli_fail(&err);
    else if (!stock(&feed, &err) || !sell(&feed, &err)) {
        if (!err.kind)
            cli_note("stopped; started again, it goes on");
        status = err.kind ? cli_fail(&err) : CLI_NO;
    }
    feed_state_close(&feed.state);
    feed_data_free(&feed.data);
    curl_global_cleanup();
    return status;
}
