/* orderlog bench: what an order costs, from checkout to confirmed. */
#include "cli/bench.h"

#include <getopt.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "core/base/clock.h"
#include "core/base/config.h"
#include "core/base/url.h"
#include "core/log/lag.h"
#include "projections/views_dynamodb.h"

const char bench_help[] =
    "Usage: orderlog bench [OPTION...]\n"
    "\n"
    "Measures what an order costs a running stack: from the moment its checkout is sent until its shopper can see it\n"
    "confirmed, over the HTTP API, and the CPU time that all processes of the stack spend on it. The stack's payment\n"
    "provider must be 'instant'. Products, stock, sessions and carts are made before, and are not measured. CPU time\n"
    "counts until the stack is quiet again, so that what it puts off is in it; the load generator is left out.\n"
    "\n"
    "  --orders N        orders to measure (10000)\n"
    "  --concurrency N   orders on their way at once (64; with --rate at most so many: 1024)\n"
    "  --rate R          start R orders a second, whether or not others have ended. An order's time runs from the\n"
    "                    moment when it was meant to start, so that a slow stack cannot hide behind a late start\n"
    "                    (coordinated omission). Without --rate, one starts when another has ended\n"
    "  --poisson         with --rate: at random moments, not at even distances\n"
    "  --lines N         lines of each order, of different products (3)\n"
    "  --skus N          products that the lines are spread over (1000)\n"
    "  --hot             each order has one line of the same product\n"
    "  --warmup N        orders before those that are measured (200)\n"
    "  --url URL         the API (default: ORDERLOG_API)\n"
    "  --run-dir DIR     where the stack's pid files are (default: run/ beside the log's folder)\n"
    "  --latencies FILE  write there, as CSV, when each order was meant to start and how long it took, in ms\n"
    "  --hook COMMAND    run COMMAND with the argument 'begin' before what is measured, and 'end' after it\n"
    "\n"
    "Settings: ORDERLOG_API, ORDERLOG_OPERATOR_TOKEN, ORDERLOG_LOG (to see when the stack is quiet),\n"
    "ORDERLOG_CURRENCY (USD), ORDERLOG_LOCATIONS (main:0).\n"
    "\n"
    "JSON: "
    "{\"orders\",\"seconds\",\"orders_per_s\",\"p50_ms\",\"p99_ms\",\"max_ms\",\"cpu_us_per_order\":{\"total\","
    "\"orderlog\",\n"
    "\"postgres\",\"redis\"},\"pss_mib\":{...},...}. Progress goes to standard error, when it is a terminal.\n"
    "\n"
    "Exit codes: 0 all orders were confirmed; 1 some were not; 2 wrong usage, or it could not be done.\n"
    "\n"
    "Examples:\n"
    "  tests/bench/order_cost --concurrency 64         # in a stack of its own\n"
    "  . var/env && orderlog bench --orders 20000 --rate 500\n";

enum { QUIET_S = 300, IDLE_MS = 1000, CLOSED_AT_ONCE = 64, OPEN_AT_ONCE = 1024 };

/* ---- options ---- */

static bool parse_rate(const char *text, double *ret) {
    char *end;
    double rate = strtod(text, &end);
    if (*text && !*end && rate > 0 && rate <= 1e6) {
        *ret = rate;
        return true;
    }
    cli_usage_error("--rate must be a number of orders a second, not '%s'", text);
    return false;
}

static bool parse_option(int option, struct bench_options *ret) {
    switch (option) {
    case 'o':
        return cli_number("--orders", optarg, 1, 10000000, &ret->orders);
    case 'c':
        return cli_number("--concurrency", optarg, 1, 4096, &ret->concurrency);
    case 'r':
        return parse_rate(optarg, &ret->rate);
    case 'l':
        return cli_number("--lines", optarg, 1, 50, &ret->lines);
    case 's':
        return cli_number("--skus", optarg, 1, 99999, &ret->skus);
    case 'w':
        return cli_number("--warmup", optarg, 0, 1000000, &ret->warmup);
    case 'p':
        ret->poisson = true;
        return true;
    case 'h':
        ret->hot = true;
        return true;
    case 'L':
        ret->latencies = optarg;
        return true;
    case 'H':
        ret->hook = optarg;
        return true;
    case 'u':
        ret->url = optarg;
        return true;
    default:
        ret->run_dir = optarg;
        return true;
    }
}

static int parse_options(int argc, char **argv, struct bench_options *ret) {
    static const struct option options[] = {{"orders", required_argument, NULL, 'o'},
                                            {"concurrency", required_argument, NULL, 'c'},
                                            {"rate", required_argument, NULL, 'r'},
                                            {"lines", required_argument, NULL, 'l'},
                                            {"skus", required_argument, NULL, 's'},
                                            {"warmup", required_argument, NULL, 'w'},
                                            {"poisson", no_argument, NULL, 'p'},
                                            {"hot", no_argument, NULL, 'h'},
                                            {"hook", required_argument, NULL, 'H'},
                                            {"latencies", required_argument, NULL, 'L'},
                                            {"url", required_argument, NULL, 'u'},
                                            {"run-dir", required_argument, NULL, 'd'},
                                            {0}};
    *ret = (struct bench_options){.orders = 10000, .warmup = 200, .skus = 1000, .lines = 3};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == '?')
            return cli_usage_hint();
        if (!parse_option(option, ret))
            return CLI_USAGE;
    }
    if (!cli_no_operands(argc, argv))
        return CLI_USAGE;
    if (ret->poisson && ret->rate <= 0)
        return cli_usage_error("--poisson needs --rate");
    if (ret->lines - ret->hot > ret->skus)
        return cli_usage_error("an order's lines are of different products: --skus must not be less than --lines");
    if (!ret->concurrency)
        ret->concurrency = ret->rate > 0 ? OPEN_AT_ONCE : CLOSED_AT_ONCE;
    return CLI_OK;
}

/* ---- the stack ---- */

/* infra/local keeps data/log.db and run/ side by side. */
static bool default_run_dir(const char *log_url, struct buf *ret) {
    struct str path = str_from(log_url);
    if (!str_starts_with(path, STR("sqlite://")) || !str_ends_with(path, STR("/data/log.db")))
        return false;
    buf_printf(ret, "%.*s/run", (int)(path.len - 9 - 12), path.ptr + 9);
    return true;
}

/* What can be known of the processes: that they serve this API, and take payments for granted. */
static bool check_stack(const struct bench *bench, struct err *err) {
    BUF_AUTO value = {0};
    for (size_t i = 0; i < bench->procs.count; i++) {
        const struct bench_proc *proc = &bench->procs.items[i];
        if (strcmp(proc->name, "orderlog") != 0)
            continue;
        if (bench_proc_setting(proc->pid, "ORDERLOG_PROVIDER", &value) && strcmp(value.ptr, "instant") != 0)
            return err_set(err, ERR_CONFIG, "the stack has the payment provider '%s'; start it with %s",
                           url_show(value.ptr).text,
                           "ORDERLOG_PROVIDER=instant, so that no other program's work is measured");
        const char *port = strrchr(bench->options.url, ':');
        if (port && bench_proc_setting(proc->pid, "ORDERLOG_LISTEN", &value) &&
            !str_ends_with(str_from(value.ptr), str_from(port)))
            return err_set(err, ERR_CONFIG, "%s is not served by the stack of --run-dir, which listens at %s",
                           url_show(bench->options.url).text, value.ptr);
    }
    return true;
}

static bool find_stack(struct bench *bench, struct err *err) {
    const char *log_url;
    BUF_AUTO run_dir = {0};
    if (!config_require("ORDERLOG_LOG", &log_url, err) ||
        !config_require("ORDERLOG_OPERATOR_TOKEN", &bench->shop.operator_token, err) ||
        (!bench->options.url && !config_require("ORDERLOG_API", &bench->options.url, err)))
        return false;
    if (bench->options.run_dir)
        buf_printf(&run_dir, "%s", bench->options.run_dir);
    else if (!default_run_dir(log_url, &run_dir))
        return err_set(err, ERR_CONFIG, "where are the pid files of the stack? Give --run-dir DIR");
    return bench_procs_find(run_dir.ptr, &bench->procs, err) && check_stack(bench, err) &&
           log_open(log_url, &(struct log_options){.read_only = true}, &bench->log, err) &&
           bench_net_open(bench->options.url, (size_t)bench->options.concurrency, &bench->net, err);
}

/* ---- the steps ---- */

static bool wait_quiet(struct bench *bench, struct err *err) {
    const char *views_url;
    struct lag_left left;
    if (!views_url_load(&views_url, err))
        return false;
    views_groups_left(views_url, &left);
    return lag_wait(bench->log, &left, QUIET_S, err);
}

static bool count_records(struct bench *bench, int64_t *ret, struct err *err) {
    struct log_topic *topics = NULL;
    size_t count = 0;
    int64_t records = 0, low, high;
    bool ok = log_topics_list(bench->log, &topics, &count, err);
    for (size_t i = 0; ok && i < count; i++)
        for (int32_t partition = 0; ok && partition < topics[i].partitions; partition++) {
            ok = log_watermarks(bench->log, topics[i].name, partition, &low, &high, err);
            records += ok ? high : 0;
        }
    free(topics);
    *ret = records;
    return ok;
}

/* What the stack spends on nothing at all, so that a reader can judge how much of the result it is. */
static bool measure_idle(struct bench *bench, struct err *err) {
    int64_t started_us = clock_monotonic_us(), spent_us = 0;
    if (!bench_procs_cpu(&bench->procs, err))
        return false;
    bench->before = bench->procs;
    clock_sleep_ms(IDLE_MS);
    if (!bench_procs_cpu(&bench->procs, err))
        return false;
    for (size_t i = 0; i < bench->procs.count; i++)
        spent_us += bench->procs.items[i].cpu_us - bench->before.items[i].cpu_us;
    bench->idle_cpu_us_per_s = (double)spent_us * 1e6 / (double)(clock_monotonic_us() - started_us);
    return true;
}

static bool warm_up(struct bench *bench, struct err *err) {
    if (!bench_shop_sell(&bench->shop, 0, (size_t)bench->options.warmup, 0, err))
        return false;
    const struct map_entry *outcome = map_next(&bench->shop.outcomes, NULL);
    return !outcome || err_set(err, ERR_IO, "%lld orders of the warm-up were not confirmed but ended as '%.*s'",
                               (long long)(intptr_t)outcome->value, STR_ARG(outcome->key));
}

static bool prepare(struct bench *bench, struct err *err) {
    struct bench_shop *shop = &bench->shop;
    return bench_shop_stock(shop, err) && wait_quiet(bench, err) && bench_shop_fill_carts(shop, err) &&
           wait_quiet(bench, err) && warm_up(bench, err) && wait_quiet(bench, err);
}

static bool run_hook(const struct bench *bench, const char *when, struct err *err) {
    BUF_AUTO command = {0};
    if (!bench->options.hook)
        return true;
    buf_printf(&command, "%s %s", bench->options.hook, when);
    int status = system(command.ptr);
    return status == 0 || err_set(err, ERR_IO, "'%s' ended with status %d", command.ptr, status);
}

/* How much of the machine was not for the stack and us: a run beside other work costs more. */
static bool judge_machine(struct bench *bench, const struct bench_machine *before, int64_t own_us, struct err *err) {
    struct bench_machine now;
    if (!bench_machine_read(&now, err))
        return false;
    double total_us = (double)(now.total_us - before->total_us), spent_us = (double)own_us;
    for (size_t i = 0; i < bench->procs.count; i++)
        spent_us += (double)(bench->procs.items[i].cpu_us - bench->before.items[i].cpu_us);
    double others_us = (double)(now.busy_us - before->busy_us) - spent_us;
    bench->others_share = total_us > 0 && others_us > 0 ? others_us / total_us : 0;
    bench->stolen_share = total_us > 0 ? (double)(now.stolen_us - before->stolen_us) / total_us : 0;
    return true;
}

static bool measure(struct bench *bench, struct err *err) {
    int64_t records;
    if (!run_hook(bench, "begin", err) || !count_records(bench, &bench->records, err) || !measure_idle(bench, err))
        return false;
    bench->before = bench->procs;
    bench_threads_cpu(&bench->procs, &bench->threads_before);
    struct bench_machine machine;
    if (!bench_machine_read(&machine, err))
        return false;
    int64_t own_us = bench_own_cpu_us(), started_us = clock_monotonic_us();
    bool ok = bench_shop_sell(&bench->shop, (size_t)bench->options.warmup, (size_t)bench->options.orders,
                              bench->options.rate, err);
    bench->seconds = (double)(clock_monotonic_us() - started_us) / 1e6;
    bench->own_cpu_us = bench_own_cpu_us() - own_us;
    if (!ok || !wait_quiet(bench, err) || !bench_procs_cpu(&bench->procs, err) ||
        !judge_machine(bench, &machine, bench_own_cpu_us() - own_us, err) || !run_hook(bench, "end", err) ||
        !count_records(bench, &records, err))
        return false;
    bench->records = records - bench->records;
    bench_threads_cpu(&bench->procs, &bench->threads);
    bench_procs_pss(&bench->procs);
    return true;
}

int bench_main(int argc, char **argv) {
    struct bench bench = {0};
    struct err err = {0};
    int status = parse_options(argc, argv, &bench.options);
    if (status != CLI_OK)
        return status;
    if (!find_stack(&bench, &err)) {
        status = cli_fail(&err);
    } else {
        const char *token = bench.shop.operator_token;
        bench_shop_init(&bench.shop, &bench.options, bench.net);
        bench.shop.operator_token = token;
        bench.shop.currency = config_get("ORDERLOG_CURRENCY", "USD");
        bench.shop.location = str_cut(str_from(config_get("ORDERLOG_LOCATIONS", "main:0")), ':', &(struct str){0});
        status = prepare(&bench, &err) && measure(&bench, &err) && bench_write_latencies(&bench, &err)
                     ? bench_report(&bench)
                     : cli_fail(&err);
        bench_shop_free(&bench.shop);
    }
    map_free(&bench.threads, NULL);
    map_free(&bench.threads_before, NULL);
    bench_net_close(bench.net);
    log_close(bench.log);
    return status;
}
