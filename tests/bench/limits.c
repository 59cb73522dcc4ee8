/* What the parts of this machine can do, each alone: flushes to disk, appends to the embedded log, order-sized
 * transactions in PostgreSQL, writes to Redis, round trips over HTTP. Run by tests/bench/limits, against a stack of its
 * own.
 *
 *   limits RUN_DIR WORK_DIR SECONDS        ORDERLOG_API, DATABASE_URL and REDIS_URL say where the stack is */
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/bench.h"
#include "core/base/clock.h"
#include "core/base/config.h"
#include "core/log/append.h"
#include "core/store/pg.h"
#include "core/store/redis.h"

enum { AT_ONCE = 64, CLIENTS = 8, RECORD_BYTES = 400, VIEW_BYTES = 1000, LINES = 3, OUTBOX_BYTES = 4000 };

static struct {
    struct bench_procs procs;
    const char *work_dir;
    int64_t us; /* that each part is measured for */
    json_t *result;
    int64_t own_us, started_us;
} limits;

/* ---- measuring ---- */

static bool start(struct err *err) {
    limits.own_us = bench_own_cpu_us();
    limits.started_us = clock_monotonic_us();
    return bench_procs_cpu(&limits.procs, err);
}

static bool goes_on(void) {
    return clock_monotonic_us() - limits.started_us < limits.us;
}

/* So many operations were done since start(): their rate, and the CPU time of one, ours and the stack's. */
static bool stop(const char *name, size_t count, struct err *err) {
    double seconds = (double)(clock_monotonic_us() - limits.started_us) / 1e6;
    struct bench_procs now = limits.procs;
    if (!count || !bench_procs_cpu(&now, err))
        return count || err_set(err, ERR_TIMEOUT, "%s: not one was done", name);
    double each = 1.0 / (double)count, own = (double)(bench_own_cpu_us() - limits.own_us) * each, total = own;
    json_t *cpu = json_object();
    json_object_set_new(cpu, "client", json_real(round(own * 10) / 10));
    for (size_t i = 0; i < now.count; i++) {
        double us = (double)(now.items[i].cpu_us - limits.procs.items[i].cpu_us) * each;
        total += us;
        json_object_set_new(cpu, now.items[i].name, json_real(round(us * 10) / 10));
    }
    json_object_set_new(cpu, "total", json_real(round(total * 10) / 10));
    json_object_set_new(limits.result, name,
                        json_pack("{s:f, s:o}", "per_s", round((double)count / seconds * 10) / 10, "cpu_us", cpu));
    return true;
}

/* ---- the disk ---- */

/* A page of a file that has its length already, as a database's write-ahead log is written. */
static bool measure_fsync(struct err *err) {
    enum { PAGE = 8192, PAGES = 2048 };
    BUF_AUTO path = {0};
    static char page[PAGE];
    size_t count = 0;
    buf_printf(&path, "%s/fsync", limits.work_dir);
    int file = open(path.ptr, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = file >= 0;
    for (size_t i = 0; ok && i < PAGES; i++)
        ok = write(file, page, PAGE) == PAGE;
    ok = ok && fsync(file) == 0 && start(err);
    for (; ok && goes_on(); count++) {
        memset(page, (int)count, PAGE);
        ok = pwrite(file, page, PAGE, (off_t)(count % PAGES * PAGE)) == PAGE && fdatasync(file) == 0;
    }
    ok = ok ? stop("fsync", count, err) : err_set(err, ERR_IO, "%s cannot be written", path.ptr);
    if (file >= 0)
        close(file);
    return ok;
}

/* ---- the embedded log ---- */

static atomic_size_t not_persisted;

static void on_delivery(void *user, enum log_outcome outcome, int32_t partition, int64_t offset,
                        const struct err *err) {
    (void)user, (void)partition, (void)offset, (void)err;
    if (outcome != LOG_PERSISTED)
        atomic_fetch_add(&not_persisted, 1);
}

/* So many records, then all acknowledgements, and so on. */
static bool append_bunches(struct log_producer *producer, size_t bunch, const char *name, struct err *err) {
    char value[RECORD_BYTES], key[37];
    size_t count = 0;
    memset(value, 'v', sizeof value);
    if (!start(err))
        return false;
    for (; goes_on(); count += bunch) {
        for (size_t i = 0; i < bunch; i++) {
            snprintf(key, sizeof key, "%036zu", count + i);
            struct log_record record = {.topic = STR("limits"), .key = {key, 36}, .value = {value, sizeof value}};
            record.partition = LOG_BY_KEY;
            if (!log_append(producer, &record, on_delivery, NULL, err))
                return false;
        }
        if (!log_flush(producer, 10000) || atomic_load(&not_persisted))
            return err_set(err, ERR_LOG_UNAVAILABLE, "the log does not take appends");
    }
    return stop(name, count, err);
}

static bool measure_appends(struct err *err) {
    BUF_AUTO url = {0};
    struct log *log = NULL;
    struct log_producer *producer = NULL;
    const struct log_topic_spec spec = {.name = "limits", .partitions = 4, .retention_ms = -1};
    buf_printf(&url, "sqlite://%s/limits.db", limits.work_dir);
    bool ok = log_open(url.ptr, &(struct log_options){0}, &log, err) && log_topics_create(log, &spec, 1, err) &&
              log_producer_open(log, &(struct log_producer_options){0}, &producer, err) &&
              append_bunches(producer, 1, "append, 1 record at a time", err) &&
              append_bunches(producer, 64, "append, 64 records at a time", err) &&
              append_bunches(producer, 1024, "append, 1,024 records at a time", err);
    log_producer_close(producer);
    log_close(log);
    return ok;
}

/* ---- PostgreSQL ---- */

static const char tables[] =
    "CREATE SCHEMA limits; "
    "CREATE TABLE limits.orders (id bigint PRIMARY KEY, state bytea); "
    "CREATE TABLE limits.stock (sku bigint PRIMARY KEY, held bigint) WITH (fillfactor = 50); "
    "CREATE TABLE limits.holds (id bigint, line int, state bytea, PRIMARY KEY (id, line)); "
    "CREATE TABLE limits.shard (id bigint PRIMARY KEY, position bigint) WITH (fillfactor = 50); "
    "CREATE TABLE limits.outbox (id bigint PRIMARY KEY, records bytea); "
    "ALTER TABLE limits.outbox ALTER records SET STORAGE EXTERNAL; "
    "INSERT INTO limits.stock SELECT i, 0 FROM generate_series(0, 999) i; "
    "INSERT INTO limits.shard SELECT i, 0 FROM generate_series(0, 99) i; "
    "ANALYZE limits.stock, limits.shard";

static atomic_size_t next_order;
static atomic_bool client_failed;

static int compare_numbers(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* Stock rows in ascending order, so that clients cannot wait for each other in a ring. */
static void choose_skus(size_t first, size_t bunch, int64_t *ret) {
    for (size_t i = 0; i < bunch * LINES; i++)
        ret[i] = (int64_t)((first * 31 + i * 7) % 1000);
    qsort(ret, bunch * LINES, sizeof *ret, compare_numbers);
}

/* The rows of so many orders of three lines, in one transaction and one round trip. */
static bool order_transaction(struct pg *pg, int client, size_t bunch, struct err *err) {
    static const char state[300] = {1};
    static const char records[OUTBOX_BYTES] = {1};
    size_t first = atomic_fetch_add(&next_order, bunch);
    int64_t skus[AT_ONCE * LINES];
    PG_PARAMS_AUTO orders = {0};
    PG_PARAMS_AUTO holds = {0};
    PG_PARAMS_AUTO stock = {0};
    PG_PARAMS_AUTO shard = {0};
    PG_PARAMS_AUTO outbox = {0};
    choose_skus(first, bunch, skus);
    pg_add_array(&orders, PG_I64);
    for (size_t i = 0; i < bunch; i++)
        pg_array_i64(&orders, 0, (int64_t)(first + i));
    pg_add_bytes(&orders, (struct str){state, sizeof state});
    pg_add_array(&holds, PG_I64);
    for (size_t i = 0; i < bunch; i++)
        pg_array_i64(&holds, 0, (int64_t)(first + i));
    pg_add_bytes(&holds, (struct str){state, 80});
    pg_add_array(&stock, PG_I64);
    for (size_t i = 0; i < bunch * LINES; i++)
        pg_array_i64(&stock, 0, skus[i]);
    pg_add_i64(&shard, client);
    pg_add_i64(&outbox, (int64_t)first);
    pg_add_bytes(&outbox, (struct str){records, bunch == 1 ? sizeof records : sizeof records * 8});
    pg_send(pg, "UPDATE limits.shard SET position = position + 1 WHERE id = $1", &shard);
    pg_send(pg, "INSERT INTO limits.orders SELECT id, $2 FROM UNNEST($1::bigint[]) id", &orders);
    pg_send(pg, "INSERT INTO limits.holds SELECT id, line, $2 FROM UNNEST($1::bigint[]) id, generate_series(1, 3) line",
            &holds);
    pg_send(pg,
            "UPDATE limits.stock s SET held = held + n FROM (SELECT sku, count(*) AS n FROM UNNEST($1::bigint[]) sku "
            "GROUP BY sku ORDER BY sku) AS more WHERE s.sku = more.sku",
            &stock);
    pg_send(pg, "INSERT INTO limits.outbox VALUES ($1, $2)", &outbox);
    return pg_sync(pg, err);
}

struct client {
    pthread_t thread;
    int number;
    size_t bunch, done;
    struct err err;
};

static void *client_main(void *user) {
    struct client *client = user;
    struct pg *pg;
    if (!pg_open(config_get("DATABASE_URL", ""), NULL, &pg, &client->err)) {
        atomic_store(&client_failed, true);
        return NULL;
    }
    while (goes_on() && !atomic_load(&client_failed)) {
        if (!order_transaction(pg, client->number, client->bunch, &client->err))
            atomic_store(&client_failed, true);
        else
            client->done += client->bunch;
    }
    pg_close(pg);
    return NULL;
}

static bool measure_clients(int count, size_t bunch, const char *name, struct err *err) {
    struct client clients[CLIENTS] = {0};
    size_t done = 0;
    int started = 0;
    if (!start(err))
        return false;
    for (int i = 0; i < count; i++) {
        clients[i] = (struct client){.number = i, .bunch = bunch};
        started += pthread_create(&clients[i].thread, NULL, client_main, &clients[i]) == 0;
    }
    for (int i = 0; i < started; i++) {
        pthread_join(clients[i].thread, NULL);
        done += clients[i].done;
        if (clients[i].err.kind)
            *err = clients[i].err;
    }
    return !atomic_load(&client_failed) && stop(name, done, err);
}

static bool measure_transactions(struct err *err) {
    struct pg *pg;
    if (!pg_open(config_get("DATABASE_URL", ""), NULL, &pg, err))
        return false;
    bool ok = pg_script(pg, tables, err) && measure_clients(1, 1, "order in a transaction, 1 client", err) &&
              measure_clients(CLIENTS, 1, "order in a transaction, 8 clients", err) &&
              measure_clients(1, AT_ONCE, "order in a transaction of 64, 1 client", err) &&
              pg_script(pg, "DROP SCHEMA limits CASCADE", err);
    pg_close(pg);
    return ok;
}

/* ---- Redis ---- */

/* Rows of a view, so many a command. */
static bool set_rows(struct redis *redis, size_t bunch, const char *name, struct err *err) {
    static char keys[AT_ONCE][32], row[VIEW_BYTES];
    struct str args[1 + 2 * AT_ONCE] = {bunch == 1 ? STR("SET") : STR("MSET")};
    size_t count = 0;
    memset(row, 'r', sizeof row);
    if (!start(err))
        return false;
    for (; goes_on(); count += bunch) {
        for (size_t i = 0; i < bunch; i++) {
            int len = snprintf(keys[i], sizeof keys[i], "limits:%zu", (count + i) % 10000);
            args[1 + 2 * i] = (struct str){keys[i], (size_t)len};
            args[2 + 2 * i] = (struct str){row, sizeof row};
        }
        if (!redis_call(redis, args, 1 + 2 * bunch, NULL, err))
            return false;
    }
    return stop(name, count, err);
}

static bool measure_redis(struct err *err) {
    struct redis *redis;
    const struct str flush[] = {STR("EVAL"), STR("for i = 0, 9999 do redis.call('DEL', 'limits:' .. i) end return 0"),
                                STR("0")};
    if (!redis_open(config_get("REDIS_URL", ""), NULL, &redis, err))
        return false;
    bool ok = set_rows(redis, 1, "Redis SET", err) && set_rows(redis, AT_ONCE, "Redis row in an MSET of 64", err) &&
              redis_call(redis, flush, 3, NULL, err);
    redis_close(redis);
    return ok;
}

/* ---- HTTP ---- */

static void add_livez(void *user, size_t job, int64_t start_us, struct buf *out) {
    (void)job, (void)start_us;
    buf_printf(out, "GET /livez HTTP/1.1\r\nHost: %s\r\n\r\n", bench_net_host(user));
}

/* A job asks until the time is over. */
static enum bench_next livez_answered(void *user, size_t job, const struct bench_answer *answer, struct buf *out,
                                      struct err *err) {
    (void)user;
    if (answer->status != 200) {
        err_set(err, ERR_IO, "GET /livez was answered %d", answer->status);
        return BENCH_FAIL;
    }
    atomic_fetch_add_explicit(&next_order, 1, memory_order_relaxed);
    if (!goes_on())
        return BENCH_DONE;
    add_livez(user, job, 0, out);
    return BENCH_SEND;
}

static bool measure_http(struct err *err) {
    struct bench_net *net;
    size_t done;
    if (!bench_net_open(config_get("ORDERLOG_API", ""), AT_ONCE, &net, err))
        return false;
    struct bench_work work = {
        .count = AT_ONCE, .concurrency = AT_ONCE, .user = net, .begin = add_livez, .answered = livez_answered};
    atomic_store(&next_order, 0);
    bool ok = start(err) && bench_net_run(net, &work, &done, err) &&
              stop("HTTP round trip, 64 connections", atomic_load(&next_order), err);
    bench_net_close(net);
    return ok;
}

int main(int argc, char **argv) {
    struct err err = {0};
    double seconds = argc == 4 ? strtod(argv[3], NULL) : 0;
    if (!(seconds > 0 && seconds <= 3600)) {
        fprintf(stderr, "usage: limits RUN_DIR WORK_DIR SECONDS\n");
        return 2;
    }
    limits.work_dir = argv[2];
    limits.us = (int64_t)(seconds * 1e6);
    limits.result = json_object();
    bool ok = config_load(&err) && bench_procs_find(argv[1], &limits.procs, &err) && measure_fsync(&err) &&
              measure_appends(&err) && measure_transactions(&err) && measure_redis(&err) && measure_http(&err);
    if (ok)
        ok = json_dumpf(limits.result, stdout, JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9)) == 0 &&
             putchar('\n') == '\n';
    else
        fprintf(stderr, "limits: %s\n", err.detail);
    json_decref(limits.result);
    return ok ? 0 : 1;
}
