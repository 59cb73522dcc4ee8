/* What the files of `orderlog bench` share: a cheap HTTP client for many connections on one thread, the orders that it
 * places, and the CPU time and memory of the stack's processes. Main thread only. */
#ifndef ORDERLOG_CLI_BENCH_H
#define ORDERLOG_CLI_BENCH_H

#include <sys/socket.h>

#include <jansson.h>

#include "core/base/arena.h"
#include "core/base/err.h"
#include "core/base/map.h"
#include "core/log/log.h"

/* ---- bench_answer.c: the answers of an HTTP/1.1 server ---- */

struct bench_answer {
    int status;
    struct str body; /* belongs to the buffer that was read into */
};

/* How far the answer in a buffer is understood. All-zero before its first byte. */
struct bench_reading {
    size_t at;   /* the next byte of the buffer to look at */
    size_t body; /* where the body begins; 0: still in the headers */
    size_t end;  /* of the body, as far as it is there without the chunks' frames */
    size_t left; /* bytes that are to come: of the body, or of this chunk */
    int status;
    bool chunked;
    bool in_chunk;
    bool last_chunk; /* only trailers are to come */
    bool closes;     /* the server closes the connection behind it */
};

enum bench_read { BENCH_READ_MORE, BENCH_READ_WHOLE, BENCH_READ_BAD };

/* Reads on in `in`, taking chunks' frames out of it. Once whole, the body is [reading->body, reading->end) of it. */
enum bench_read bench_read(struct bench_reading *reading, struct buf *in);

/* ---- bench_address.c ---- */

struct bench_address {
    char host[256]; /* for the Host header */
    struct sockaddr_storage address;
    socklen_t len;
};

/* `url` is http://host:port. ERR_CONFIG when it is not, or the host is not known. */
CHECK_RESULT bool bench_address_find(const char *url, struct bench_address *ret, struct err *err);

/* ---- bench_net.c: jobs over connections ---- */

enum bench_next {
    BENCH_SEND,  /* `out` holds the job's next request */
    BENCH_PAUSE, /* the same, but after a pause */
    BENCH_DONE,
    BENCH_FAIL, /* `err` says why everything ends */
};

/* Each job is some requests, one after the other on one connection. */
struct bench_work {
    const char *what; /* for the progress: "orders" */
    size_t count;
    size_t concurrency; /* jobs on their way at once */
    double rate;        /* jobs started a second, whether or not others have ended; 0: each as soon as one has ended */
    bool poisson;       /* with a rate: at random moments */
    int64_t pause_ms;   /* of BENCH_PAUSE */
    void *user;
    /* The first request. `start_us` (monotonic) is when the job was meant to start. */
    void (*begin)(void *user, size_t job, int64_t start_us, struct buf *out);
    enum bench_next (*answered)(void *user, size_t job, const struct bench_answer *answer, struct buf *out,
                                struct err *err);
};

struct bench_net;

/* `url` is http://host:port; borrowed. ERR_CONFIG when it is not, or the host is not known. */
CHECK_RESULT bool bench_net_open(const char *url, size_t connections, struct bench_net **ret, struct err *err);
void bench_net_close(struct bench_net *net);             /* NULL is fine */
const char *bench_net_host(const struct bench_net *net); /* for the Host header */
/* Blocks until all jobs are done. ERR_TIMEOUT when nothing has been answered for `BENCH_STALL_S`; *ret_done tells how
 * many were done, also then. A request whose connection breaks is sent again, so each must be safe to send twice. After
 * a failure only bench_net_close may follow. */
CHECK_RESULT bool bench_net_run(struct bench_net *net, const struct bench_work *work, size_t *ret_done,
                                struct err *err);
size_t bench_net_reconnects(const struct bench_net *net);

enum { BENCH_STALL_S = 30 };

/* ---- bench_shop.c: goods, shoppers and their orders ---- */

struct bench_options {
    const char *url;
    const char *run_dir;
    const char *latencies; /* a file to be written, or NULL */
    const char *hook;      /* a command that is run when measuring begins and when it ends, or NULL */
    int64_t orders, warmup, concurrency, skus, lines;
    double rate;
    bool hot, poisson;
};

struct bench_order {
    const char *token;
    char cart_id[37];
    char order_id[37];
    int32_t step;
    bool confirmed;
    uint32_t latency_us; /* from the moment when it was meant to start until it was seen confirmed */
    int64_t start_us;
    int64_t total_minor;
    int32_t first_sku; /* of its lines; the next ones follow in the list of products */
};

struct bench_shop {
    const struct bench_options *options;
    struct bench_net *net;
    const char *operator_token;
    const char *currency;
    struct str location;        /* that serves orders */
    char run[17];               /* this run's own part of idempotency keys */
    struct arena arena;         /* the tokens */
    struct bench_order *orders; /* those of the warm-up first */
    size_t order_count;
    size_t product_count; /* with --hot, the hot one is the last */
    int64_t *demand;      /* of each product */
    struct map problems;  /* "503 overloaded" -> how often, while measured */
    struct map outcomes;  /* of orders that were not confirmed: "rejected" -> how often */
    size_t first;         /* of the orders that are being sold */
    size_t requests;
};

void bench_shop_init(struct bench_shop *shop, const struct bench_options *options, struct bench_net *net);
void bench_shop_free(struct bench_shop *shop);
/* Puts the products up for sale and receives just what the orders need. */
CHECK_RESULT bool bench_shop_stock(struct bench_shop *shop, struct err *err);
/* A session and a cart with its lines for each order. */
CHECK_RESULT bool bench_shop_fill_carts(struct bench_shop *shop, struct err *err);
/* Checks orders [first, first + count) out and waits until each is seen confirmed. */
CHECK_RESULT bool bench_shop_sell(struct bench_shop *shop, size_t first, size_t count, double rate, struct err *err);

/* ---- bench_proc.c: what the stack's processes use ---- */

enum { BENCH_PROCS_MAX = 32 };

struct bench_proc {
    char name[32]; /* the group: orderlog, postgres, redis, … */
    int pid;
    int64_t cpu_us;
    double pss_mib; /* negative: not known */
};

struct bench_procs {
    struct bench_proc items[BENCH_PROCS_MAX];
    size_t count;
};

/* The processes of run_dir/NAME.pid, one item each. ERR_CONFIG when there are none. */
CHECK_RESULT bool bench_procs_find(const char *run_dir, struct bench_procs *ret, struct err *err);
/* Fills cpu_us: of each process, its children, and those that it has waited for. ERR_IO when one is gone. */
CHECK_RESULT bool bench_procs_cpu(struct bench_procs *procs, struct err *err);
/* Adds the microseconds of each thread of orderlog's processes to *ret, by the threads' names. */
void bench_threads_cpu(const struct bench_procs *procs, struct map *ret);
void bench_procs_pss(struct bench_procs *procs);
/* The value of a variable in a process's environment; false when there is none or it may not be read. */
bool bench_proc_setting(int pid, const char *name, struct buf *ret);
int64_t bench_own_cpu_us(void);

/* The machine's processors since it was started, in microseconds of all of them together. */
struct bench_machine {
    int64_t total_us;
    int64_t busy_us;   /* by any process, or the kernel */
    int64_t stolen_us; /* taken by other virtual machines */
};
CHECK_RESULT bool bench_machine_read(struct bench_machine *ret, struct err *err);

/* ---- bench_report.c: the result ---- */

struct bench {
    struct bench_options options;
    struct log *log;
    struct bench_net *net;
    struct bench_shop shop;
    struct bench_procs procs;
    struct bench_procs before;
    struct map threads, threads_before;
    int64_t records; /* in the log, before; then those that were written */
    double idle_cpu_us_per_s;
    double others_share; /* of the machine's processors, that other processes took */
    double stolen_share;
    double seconds;
    int64_t own_cpu_us;
};

/* Writes a line of start and latency for each confirmed order to --latencies. */
CHECK_RESULT bool bench_write_latencies(const struct bench *bench, struct err *err);
/* Prints the JSON object; CLI_OK when all orders were confirmed, else CLI_NO, having said so. */
int bench_report(const struct bench *bench);

#endif
