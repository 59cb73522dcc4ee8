#include "cli/bench.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"

static int compare_latencies(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

/* The smallest that so many percent are not above, in ms with a µs' precision. */
static json_t *percentile(const uint32_t *sorted, size_t count, double percent) {
    size_t rank = (size_t)ceil(percent / 100 * (double)count);
    return count ? json_real(sorted[rank ? rank - 1 : 0] / 1000.0) : json_null();
}

static json_t *rounded(double value, double step) {
    return json_real(round(value / step) * step);
}

/* All latencies of confirmed orders, sorted. */
static uint32_t *sort_latencies(const struct bench *bench, size_t *ret_count) {
    const struct bench_shop *shop = &bench->shop;
    uint32_t *sorted = mem_alloc((size_t)bench->options.orders * sizeof *sorted);
    *ret_count = 0;
    for (size_t i = (size_t)bench->options.warmup; i < shop->order_count; i++)
        if (shop->orders[i].confirmed)
            sorted[(*ret_count)++] = shop->orders[i].latency_us;
    qsort(sorted, *ret_count, sizeof *sorted, compare_latencies);
    return sorted;
}

static json_t *counts_json(const struct map *counts) {
    json_t *json = json_object();
    for (struct map_entry *e = map_next(counts, NULL); e; e = map_next(counts, e))
        json_object_setn_new(json, e->key.ptr, e->key.len, json_integer((intptr_t)e->value));
    return json;
}

static void add_to(json_t *object, const char *key, double more) {
    json_object_set_new(object, key, rounded(json_real_value(json_object_get(object, key)) + more, 0.1));
}

static json_t *cpu_json(const struct bench *bench, size_t orders) {
    json_t *json = json_object();
    for (size_t i = 0; orders && i < bench->procs.count; i++) {
        double us = (double)(bench->procs.items[i].cpu_us - bench->before.items[i].cpu_us) / (double)orders;
        add_to(json, "total", us);
        add_to(json, bench->procs.items[i].name, us);
    }
    return json;
}

/* Threads that ended in between are left out. */
static json_t *threads_json(const struct bench *bench, size_t orders) {
    json_t *json = json_object();
    for (struct map_entry *e = map_next(&bench->threads, NULL); orders && e; e = map_next(&bench->threads, e)) {
        intptr_t us = (intptr_t)e->value - (intptr_t)map_get(&bench->threads_before, e->key);
        if (us > 0)
            json_object_setn_new(json, e->key.ptr, e->key.len, rounded((double)us / (double)orders, 0.1));
    }
    return json;
}

static json_t *pss_json(const struct bench *bench) {
    json_t *json = json_object();
    for (size_t i = 0; i < bench->procs.count; i++)
        if (bench->procs.items[i].pss_mib >= 0)
            add_to(json, bench->procs.items[i].name, bench->procs.items[i].pss_mib);
    return json;
}

static json_t *result_json(const struct bench *bench, const uint32_t *sorted, size_t confirmed) {
    const struct bench_options *options = &bench->options;
    double n = confirmed ? (double)confirmed : 1;
    json_t *json = json_object();
    json_object_set_new(json, "orders", json_integer((json_int_t)confirmed));
    json_object_set_new(json, "seconds", rounded(bench->seconds, 0.001));
    json_object_set_new(json, "orders_per_s", rounded((double)confirmed / bench->seconds, 0.1));
    json_object_set_new(json, "p50_ms", percentile(sorted, confirmed, 50));
    json_object_set_new(json, "p90_ms", percentile(sorted, confirmed, 90));
    json_object_set_new(json, "p99_ms", percentile(sorted, confirmed, 99));
    json_object_set_new(json, "p999_ms", percentile(sorted, confirmed, 99.9));
    json_object_set_new(json, "max_ms", percentile(sorted, confirmed, 100));
    json_object_set_new(json, "cpu_us_per_order", cpu_json(bench, confirmed));
    json_object_set_new(json, "orderlog_us_by_thread", threads_json(bench, confirmed));
    json_object_set_new(json, "pss_mib", pss_json(bench));
    json_object_set_new(json, "generator_us_per_order", rounded((double)bench->own_cpu_us / n, 0.1));
    json_object_set_new(json, "requests_per_order", rounded((double)bench->shop.requests / n, 0.01));
    json_object_set_new(json, "records_per_order", rounded((double)bench->records / n, 0.01));
    json_object_set_new(json, "idle_cpu_us_per_s", rounded(bench->idle_cpu_us_per_s, 1));
    json_object_set_new(json, "others_share", rounded(bench->others_share, 0.001));
    json_object_set_new(json, "stolen_share", rounded(bench->stolen_share, 0.001));
    json_object_set_new(json, "concurrency", json_integer(options->concurrency));
    json_object_set_new(json, "rate", options->rate > 0 ? json_real(options->rate) : json_null());
    json_object_set_new(json, "hot", json_boolean(options->hot));
    json_object_set_new(json, "lines", json_integer(options->lines));
    json_object_set_new(json, "skus", json_integer(options->skus));
    json_object_set_new(json, "not_confirmed", counts_json(&bench->shop.outcomes));
    json_object_set_new(json, "problems", counts_json(&bench->shop.problems));
    json_object_set_new(json, "reconnects", json_integer((json_int_t)bench_net_reconnects(bench->net)));
    return json;
}

bool bench_write_latencies(const struct bench *bench, struct err *err) {
    const struct bench_order *orders = bench->shop.orders + bench->options.warmup;
    const char *path = bench->options.latencies;
    FILE *file = path ? fopen(path, "we") : NULL;
    if (!path)
        return true;
    if (!file)
        return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    fprintf(file, "start_ms,latency_ms\n");
    for (int64_t i = 0; i < bench->options.orders; i++)
        if (orders[i].confirmed)
            fprintf(file, "%.3f,%.3f\n", (double)(orders[i].start_us - orders[0].start_us) / 1000,
                    orders[i].latency_us / 1000.0);
    bool ok = !ferror(file);
    return (fclose(file) == 0 && ok) || err_set(err, ERR_IO, "%s cannot be written", path);
}

int bench_report(const struct bench *bench) {
    size_t confirmed;
    uint32_t *sorted = sort_latencies(bench, &confirmed);
    json_t *json = result_json(bench, sorted, confirmed);
    json_dumpf(json, stdout, JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(json);
    free(sorted);
    if (confirmed == (size_t)bench->options.orders)
        return CLI_OK;
    cli_note("%zu of %lld orders were not confirmed", (size_t)bench->options.orders - confirmed,
             (long long)bench->options.orders);
    return CLI_NO;
}
