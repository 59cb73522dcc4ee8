#include "core/base/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum metric_type { TYPE_COUNTER, TYPE_TOTAL, TYPE_GAUGE, TYPE_HISTOGRAM, TYPE_STAGE };

static const char *const type_names[] = {[TYPE_COUNTER] = "counter",
                                         [TYPE_TOTAL] = "counter",
                                         [TYPE_GAUGE] = "gauge",
                                         [TYPE_HISTOGRAM] = "histogram",
                                         [TYPE_STAGE] = "histogram"};

struct bucket {
    double bound; /* seconds, inclusive */
    const char *text;
};

#define B(bound)                                                                                                       \
    { bound, #bound }
static const struct bucket latency_buckets[] = {B(0.0005), B(0.001), B(0.0025), B(0.005), B(0.01), B(0.025), B(0.05),
                                                B(0.1),    B(0.25),  B(0.5),    B(1),     B(2.5),  B(5),     B(10)};
static const struct bucket stage_buckets[] = {B(0.001), B(0.0025), B(0.005), B(0.01), B(0.025), B(0.05),
                                              B(0.1),   B(0.25),   B(0.5),   B(1),    B(2.5),   B(5),
                                              B(10),    B(30),     B(60),    B(300)};
#undef B

enum {
    LATENCY_BUCKETS = sizeof latency_buckets / sizeof latency_buckets[0],
    STAGE_BUCKETS = sizeof stage_buckets / sizeof stage_buckets[0],
    BUCKETS_MAX = (int)STAGE_BUCKETS > (int)LATENCY_BUCKETS ? (int)STAGE_BUCKETS : (int)LATENCY_BUCKETS,
};

struct metric {
    struct metric *next;
    enum metric_type type;
    char *labels;
    atomic_int_least64_t count;  /* counter */
    _Atomic double value;        /* gauge */
    atomic_bool hidden;          /* gauge: not known now */
    atomic_int_least64_t sum_ns; /* histogram */
    const struct bucket *buckets;
    size_t bucket_count;
    atomic_uint_least64_t observed[BUCKETS_MAX + 1]; /* not cumulative; the one after the last bound is +Inf */
};

struct family {
    struct family *next;
    char *name;
    char *help;
    enum metric_type type;
    struct metric *metrics;
};

struct collector {
    struct collector *next;
    metrics_collect *collect;
    void *user;
};

static pthread_mutex_t collectors_lock = PTHREAD_MUTEX_INITIALIZER;
static struct collector *collectors;
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct family *registry;

static struct family *family_find(const char *name, const char *help, enum metric_type type) {
    struct family **at = &registry;
    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    if (!*at) {
        struct family *family = mem_alloc(sizeof *family);
        *family = (struct family){.name = mem_strdup(str_from(name)), .help = mem_strdup(str_from(help)), .type = type};
        *at = family;
    }
    if ((*at)->type != type) {
        fprintf(stderr, "orderlog: metric %s is registered as two types\n", name);
        abort();
    }
    return *at;
}

static struct metric *metric_register(const char *name, const char *help, const char *labels, enum metric_type type) {
    pthread_mutex_lock(&registry_lock);
    struct metric **at = &family_find(name, help, type)->metrics;
    while (*at && strcmp((*at)->labels, labels) != 0)
        at = &(*at)->next;
    if (!*at) {
        *at = mem_zalloc(sizeof **at);
        (*at)->type = type;
        (*at)->labels = mem_strdup(str_from(labels));
        (*at)->buckets = type == TYPE_STAGE ? stage_buckets : latency_buckets;
        (*at)->bucket_count = type == TYPE_STAGE ? STAGE_BUCKETS : LATENCY_BUCKETS;
    }
    struct metric *metric = *at;
    pthread_mutex_unlock(&registry_lock);
    return metric;
}

struct metric *metrics_counter(const char *name, const char *help, const char *labels) {
    return metric_register(name, help, labels, TYPE_COUNTER);
}

struct metric *metrics_total(const char *name, const char *help, const char *labels) {
    return metric_register(name, help, labels, TYPE_TOTAL);
}

struct metric *metrics_gauge(const char *name, const char *help, const char *labels) {
    return metric_register(name, help, labels, TYPE_GAUGE);
}

struct metric *metrics_histogram(const char *name, const char *help, const char *labels) {
    return metric_register(name, help, labels, TYPE_HISTOGRAM);
}

struct metric *metrics_stage(const char *service) {
    BUF_AUTO labels = {0};
    buf_printf(&labels, "service=\"%s\"", service);
    return metric_register("orderlog_stage_seconds",
                           "From the log's time of a record to the commit of what a service made of it.", labels.ptr,
                           TYPE_STAGE);
}

void metrics_add(struct metric *metric, int64_t by) {
    if (metric->type == TYPE_COUNTER) {
        atomic_fetch_add_explicit(&metric->count, by, memory_order_relaxed);
        return;
    }
    double before = atomic_load_explicit(&metric->value, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&metric->value, &before, before + (double)by, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

void metrics_set(struct metric *metric, double value) {
    atomic_store_explicit(&metric->value, value, memory_order_relaxed);
    atomic_store_explicit(&metric->hidden, false, memory_order_release);
}

void metrics_unset(struct metric *metric) {
    atomic_store_explicit(&metric->hidden, true, memory_order_relaxed);
}

void metrics_observe(struct metric *metric, double seconds) {
    /* Clocks step back and differences go wrong; one such must not spoil the sum. */
    if (!(seconds > 0))
        seconds = 0;
    if (seconds > 1e6)
        seconds = 1e6;
    size_t i = 0;
    while (i < metric->bucket_count && seconds > metric->buckets[i].bound)
        i++;
    atomic_fetch_add_explicit(&metric->observed[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&metric->sum_ns, (int64_t)(seconds * 1e9 + 0.5), memory_order_relaxed);
}

static void add_help(struct buf *ret, const char *help) {
    for (; *help; help++) {
        if (*help == '\\' || *help == '\n')
            buf_printf(ret, "\\%c", *help == '\n' ? 'n' : '\\');
        else
            buf_add_char(ret, *help);
    }
}

static void add_labels(struct buf *ret, const char *labels) {
    if (labels[0])
        buf_printf(ret, "{%s}", labels);
}

static void add_double(struct buf *ret, double value) {
    if (isnan(value)) {
        buf_add_str(ret, STR("NaN"));
    } else if (isinf(value)) {
        buf_add_str(ret, value > 0 ? STR("+Inf") : STR("-Inf"));
    } else {
        char text[32];
        snprintf(text, sizeof text, "%.15g", value);
        if (strtod(text, NULL) != value)
            snprintf(text, sizeof text, "%.17g", value);
        buf_add_str(ret, str_from(text));
    }
}

static void write_simple(struct buf *ret, const struct family *family, struct metric *metric) {
    buf_add_str(ret, str_from(family->name));
    add_labels(ret, metric->labels);
    buf_add_char(ret, ' ');
    if (metric->type == TYPE_COUNTER)
        buf_printf(ret, "%" PRId64, (int64_t)atomic_load_explicit(&metric->count, memory_order_relaxed));
    else
        add_double(ret, atomic_load_explicit(&metric->value, memory_order_relaxed));
    buf_add_char(ret, '\n');
}

static void write_histogram(struct buf *ret, const struct family *family, struct metric *metric) {
    const char *comma = metric->labels[0] ? "," : "";
    uint64_t total = 0;
    for (size_t i = 0; i <= metric->bucket_count; i++) {
        total += atomic_load_explicit(&metric->observed[i], memory_order_relaxed);
        buf_printf(ret, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", family->name, metric->labels, comma,
                   i < metric->bucket_count ? metric->buckets[i].text : "+Inf", total);
    }
    buf_printf(ret, "%s_sum", family->name);
    add_labels(ret, metric->labels);
    buf_add_char(ret, ' ');
    add_double(ret, (double)atomic_load_explicit(&metric->sum_ns, memory_order_relaxed) / 1e9);
    buf_printf(ret, "\n%s_count", family->name);
    add_labels(ret, metric->labels);
    buf_printf(ret, " %" PRIu64 "\n", total);
}

static void write_family(struct buf *ret, const struct family *family) {
    bool named = false;
    for (struct metric *metric = family->metrics; metric; metric = metric->next) {
        if (atomic_load_explicit(&metric->hidden, memory_order_acquire))
            continue;
        if (!named) {
            buf_printf(ret, "# HELP %s ", family->name);
            add_help(ret, family->help);
            buf_printf(ret, "\n# TYPE %s %s\n", family->name, type_names[family->type]);
            named = true;
        }
        if (family->type == TYPE_HISTOGRAM || family->type == TYPE_STAGE)
            write_histogram(ret, family, metric);
        else
            write_simple(ret, family, metric);
    }
}

static void collect_all(void) {
    pthread_mutex_lock(&collectors_lock);
    for (struct collector *at = collectors; at; at = at->next)
        at->collect(at->user);
    pthread_mutex_unlock(&collectors_lock);
}

void metrics_write(struct buf *ret) {
    collect_all();
    pthread_mutex_lock(&registry_lock);
    for (struct family *family = registry; family; family = family->next)
        write_family(ret, family);
    pthread_mutex_unlock(&registry_lock);
}

static void visit_one(const struct family *family, struct metric *metric, metrics_visit *visit, void *user) {
    uint64_t buckets[BUCKETS_MAX + 1];
    double bounds[BUCKETS_MAX];
    struct metrics_series series = {.name = family->name};
    switch (family->type) {
    case TYPE_COUNTER:
        series.value = (double)atomic_load_explicit(&metric->count, memory_order_relaxed);
        break;
    case TYPE_GAUGE:
        series.kind = METRICS_GAUGE;
        __attribute__((fallthrough));
    case TYPE_TOTAL:
        series.value = atomic_load_explicit(&metric->value, memory_order_relaxed);
        break;
    case TYPE_HISTOGRAM:
    case TYPE_STAGE:
        series.kind = METRICS_HISTOGRAM;
        series.value = (double)atomic_load_explicit(&metric->sum_ns, memory_order_relaxed) / 1e9;
        series.bucket_count = metric->bucket_count;
        for (size_t i = 0; i <= metric->bucket_count; i++)
            buckets[i] = atomic_load_explicit(&metric->observed[i], memory_order_relaxed);
        for (size_t i = 0; i < metric->bucket_count; i++)
            bounds[i] = metric->buckets[i].bound;
        series.buckets = buckets;
        series.bounds = bounds;
        break;
    }
    visit(user, &series);
}

void metrics_each(metrics_visit *visit, void *user) {
    collect_all();
    pthread_mutex_lock(&registry_lock);
    for (struct family *family = registry; family; family = family->next)
        for (struct metric *metric = family->metrics; metric; metric = metric->next)
            if (!atomic_load_explicit(&metric->hidden, memory_order_acquire))
                visit_one(family, metric, visit, user);
    pthread_mutex_unlock(&registry_lock);
}

/* ---- collectors ---- */

void metrics_collector_add(metrics_collect *collect, void *user) {
    struct collector *collector = mem_alloc(sizeof *collector);
    pthread_mutex_lock(&collectors_lock);
    *collector = (struct collector){collectors, collect, user};
    collectors = collector;
    pthread_mutex_unlock(&collectors_lock);
}

void metrics_collector_remove(metrics_collect *collect, void *user) {
    pthread_mutex_lock(&collectors_lock);
    struct collector **at = &collectors;
    while (*at && ((*at)->collect != collect || (*at)->user != user))
        at = &(*at)->next;
    struct collector *found = *at;
    if (found)
        *at = found->next;
    pthread_mutex_unlock(&collectors_lock);
    free(found);
}
