#include "core/base/emf.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/map.h"
#include "core/base/metrics.h"

/* The format's own bounds. */
enum { LINE_METRICS_MAX = 100, VALUES_MAX = 100 };
enum { BOUNDS_MAX = 32 };

/* A name: all its series together. */
struct sum {
    char *name;
    int kind;       /* enum of struct metrics_series */
    bool known;     /* by this round */
    double *values; /* of a gauge, one for each series */
    size_t value_count, value_cap;
    double total, before; /* of a counter or histogram */
    size_t bucket_count;
    double bounds[BOUNDS_MAX];
    uint64_t buckets[BOUNDS_MAX + 1], buckets_before[BOUNDS_MAX + 1];
};

struct emf {
    char *name_space;
    struct map sums; /* by name */
    struct sum **order;
    size_t count;
};

struct emf *emf_open(const char *name_space) {
    struct emf *emf = mem_zalloc(sizeof *emf);
    emf->name_space = mem_strdup(str_from(name_space));
    return emf;
}

void emf_close(struct emf *emf) {
    if (!emf)
        return;
    for (size_t i = 0; i < emf->count; i++) {
        free(emf->order[i]->name);
        free(emf->order[i]->values);
        free(emf->order[i]);
    }
    map_free(&emf->sums, NULL);
    free(emf->order);
    free(emf->name_space);
    free(emf);
}

/* ---- taking ---- */

/* A point in time is no measure. */
static bool is_time(const char *name) {
    struct str text = str_from(name);
    return str_ends_with(text, STR("_timestamp_seconds")) || str_ends_with(text, STR("_start_time_seconds"));
}

static struct sum *sum_of(struct emf *emf, const struct metrics_series *series) {
    void **place = map_put(&emf->sums, str_from(series->name));
    struct sum *sum = *place;
    if (!sum) {
        sum = *place = mem_zalloc(sizeof *sum);
        sum->name = mem_strdup(str_from(series->name));
        emf->order = mem_realloc(emf->order, (emf->count + 1) * sizeof *emf->order);
        emf->order[emf->count++] = sum;
    }
    return sum;
}

static void add_value(struct sum *sum, double value) {
    if (sum->value_count == sum->value_cap) {
        sum->value_cap = sum->value_cap ? sum->value_cap * 2 : 8;
        sum->values = mem_realloc(sum->values, sum->value_cap * sizeof *sum->values);
    }
    sum->values[sum->value_count++] = value;
}

static void take(void *user, const struct metrics_series *series) {
    if (is_time(series->name) || !isfinite(series->value) || series->bucket_count > BOUNDS_MAX)
        return;
    struct sum *sum = sum_of(user, series);
    sum->kind = series->kind;
    sum->known = true;
    if (series->kind == METRICS_GAUGE)
        add_value(sum, series->value);
    sum->total += series->value;
    sum->bucket_count = series->bucket_count;
    for (size_t i = 0; i < series->bucket_count; i++)
        sum->bounds[i] = series->bounds[i];
    for (size_t i = 0; series->buckets && i <= series->bucket_count; i++)
        sum->buckets[i] += series->buckets[i];
}

static void round_begin(struct emf *emf) {
    for (size_t i = 0; i < emf->count; i++) {
        struct sum *sum = emf->order[i];
        sum->known = false;
        sum->value_count = 0;
        sum->before = sum->total;
        sum->total = 0;
        memcpy(sum->buckets_before, sum->buckets, sizeof sum->buckets);
        memset(sum->buckets, 0, sizeof sum->buckets);
    }
}

/* ---- writing ---- */

struct line {
    struct emf *emf;
    int64_t now_us;
    struct buf *ret;
    struct buf metrics, values;
    int count;
};

static void line_end(struct line *line) {
    if (line->count)
        buf_printf(line->ret,
                   "{\"_aws\":{\"Timestamp\":%" PRId64 ",\"CloudWatchMetrics\":[{\"Namespace\":\"%s\",\"Dimensions\":"
                   "[[]],\"Metrics\":[%s]}]}%s}\n",
                   line->now_us / 1000, line->emf->name_space, line->metrics.ptr, line->values.ptr);
    buf_reset(&line->metrics);
    buf_reset(&line->values);
    line->count = 0;
}

static const char *unit_of(struct str name) {
    if (str_ends_with(name, STR("_seconds")) || str_ends_with(name, STR("_seconds_total")))
        return "Seconds";
    if (str_ends_with(name, STR("_bytes")))
        return "Bytes";
    return "Count";
}

static void line_name(struct line *line, const char *name, const char *suffix, const char *unit) {
    if (line->count == LINE_METRICS_MAX)
        line_end(line);
    buf_printf(&line->metrics, "%s{\"Name\":\"%s%s\",\"Unit\":\"%s\"}", line->count ? "," : "", name, suffix, unit);
    buf_printf(&line->values, ",\"%s%s\":", name, suffix);
    line->count++;
}

static void line_number(struct line *line, const char *name, const char *suffix, const char *unit, double value) {
    line_name(line, name, suffix, unit);
    buf_printf(&line->values, "%.15g", value);
}

/* The bound under which that share of what was observed is; beyond the last bound, the last. */
static double quantile(const struct sum *sum, uint64_t count, double share) {
    uint64_t below = 0;
    for (size_t i = 0; i < sum->bucket_count; i++) {
        below += sum->buckets[i] - sum->buckets_before[i];
        if ((double)below >= share * (double)count)
            return sum->bounds[i];
    }
    return sum->bucket_count ? sum->bounds[sum->bucket_count - 1] : 0;
}

static void write_histogram(struct line *line, const struct sum *sum) {
    uint64_t count = 0;
    for (size_t i = 0; i <= sum->bucket_count; i++)
        count += sum->buckets[i] - sum->buckets_before[i];
    line_number(line, sum->name, "_count", "Count", (double)count);
    line_number(line, sum->name, "_sum", "Seconds", sum->total - sum->before);
    if (!count)
        return;
    line_number(line, sum->name, "_p50", "Seconds", quantile(sum, count, 0.5));
    line_number(line, sum->name, "_p99", "Seconds", quantile(sum, count, 0.99));
}

/* Those of a gauge that a line has no room for are in the next. */
static void write_values(struct line *line, const struct sum *sum, size_t from) {
    size_t to = sum->value_count - from > VALUES_MAX ? from + VALUES_MAX : sum->value_count;
    line_name(line, sum->name, "", unit_of(str_from(sum->name)));
    for (size_t i = from; i < to; i++)
        buf_printf(&line->values, "%s%.15g", i == from ? "[" : ",", sum->values[i]);
    buf_add_char(&line->values, ']');
}

static bool write_round(struct line *line, size_t from) {
    bool more = false;
    for (size_t i = 0; i < line->emf->count; i++) {
        const struct sum *sum = line->emf->order[i];
        if (sum->kind == METRICS_GAUGE && sum->value_count > from) {
            write_values(line, sum, from);
            more |= sum->value_count > from + VALUES_MAX;
        } else if (!from && sum->known && sum->kind == METRICS_COUNTER) {
            line_number(line, sum->name, "", unit_of(str_from(sum->name)), sum->total - sum->before);
        } else if (!from && sum->known && sum->kind == METRICS_HISTOGRAM) {
            write_histogram(line, sum);
        }
    }
    line_end(line);
    return more;
}

void emf_write(struct emf *emf, int64_t now_us, struct buf *ret) {
    struct line line = {.emf = emf, .now_us = now_us, .ret = ret};
    round_begin(emf);
    metrics_each(take, emf);
    for (size_t from = 0; write_round(&line, from); from += VALUES_MAX)
        continue;
    buf_free(&line.metrics);
    buf_free(&line.values);
}
