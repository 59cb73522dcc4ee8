/* From two scrapes of each process to what they say together. */
#include "cli/top.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/clock.h"

enum { BOUNDS_MAX = 32 };

/* A histogram's growth between two scrapes, over all series that are asked about. */
struct growth {
    double bounds[BOUNDS_MAX]; /* ascending; the last is infinite */
    double counts[BOUNDS_MAX]; /* cumulative */
    size_t count;
};

struct model {
    const struct top_target *targets;
    size_t target_count;
    struct arena *arena;
};

static const double unknown = (double)NAN;

/* ---- asking ---- */

/* The samples of a family that have these labels (each may be NULL: any). */
struct question {
    const char *family;
    const char *label;
    struct str value;
};

static bool matches(const struct question *question, const struct top_sample *sample) {
    return str_eq(sample->family, str_from(question->family)) &&
           (!question->label || str_eq(top_label(sample, question->label), question->value));
}

static void add_known(double *sum, double value) {
    if (!isnan(value))
        *sum = isnan(*sum) ? value : *sum + value;
}

static void raise_known(double *max, double value) {
    if (!isnan(value) && (isnan(*max) || value > *max))
        *max = value;
}

/* How much a counter grew a second; after a restart it has begun anew. */
static double rate_of(const struct top_target *target, const struct top_sample *sample) {
    double seconds = (double)(target->now.at_us - target->before.at_us) / 1e6;
    if (!target->before.answered || seconds <= 0)
        return unknown;
    const struct top_sample *before = map_get(&target->before.by_name, sample->name);
    double from = before && before->value <= sample->value ? before->value : 0;
    return (sample->value - from) / seconds;
}

/* Counters: each process has its own. */
static double sum_rates(const struct model *model, const struct question *question) {
    double sum = unknown;
    for (size_t t = 0; t < model->target_count; t++) {
        const struct top_target *target = &model->targets[t];
        for (size_t i = 0; i < target->now.count; i++)
            if (matches(question, &target->now.samples[i]))
                add_known(&sum, rate_of(target, &target->now.samples[i]));
    }
    return sum;
}

/* Gauges that each process has of its own. */
static double sum_values(const struct model *model, const struct question *question) {
    double sum = unknown;
    for (size_t t = 0; t < model->target_count; t++) {
        const struct top_scrape *now = &model->targets[t].now;
        for (size_t i = 0; i < now->count; i++)
            if (matches(question, &now->samples[i]))
                add_known(&sum, now->samples[i].value);
    }
    return sum;
}

static double count_values(const struct model *model, const struct question *question) {
    double count = 0;
    for (size_t t = 0; t < model->target_count; t++) {
        const struct top_scrape *now = &model->targets[t].now;
        for (size_t i = 0; i < now->count; i++)
            count += matches(question, &now->samples[i]);
    }
    return count;
}

static double max_value(const struct model *model, const struct question *question) {
    double max = unknown;
    for (size_t t = 0; t < model->target_count; t++) {
        const struct top_scrape *now = &model->targets[t].now;
        for (size_t i = 0; i < now->count; i++)
            if (matches(question, &now->samples[i]))
                raise_known(&max, now->samples[i].value);
    }
    return max;
}

/* Gauges of something that several processes may tell of: by its labels the highest, then the sum of those. *ret_count
 * (may be NULL): how many there are. */
static double sum_of_things(const struct model *model, const struct question *question, double *ret_count) {
    double sum = unknown, count = 0;
    for (size_t t = 0; t < model->target_count; t++) {
        const struct top_scrape *now = &model->targets[t].now;
        for (size_t i = 0; i < now->count; i++) {
            const struct top_sample *sample = &now->samples[i];
            if (!matches(question, sample))
                continue;
            bool again = false;
            double highest = sample->value;
            for (size_t other = 0; other < model->target_count; other++) {
                const struct top_sample *same = map_get(&model->targets[other].now.by_name, sample->name);
                again |= same && other < t;
                if (same)
                    raise_known(&highest, same->value);
            }
            if (again)
                continue;
            add_known(&sum, highest);
            count++;
        }
    }
    if (ret_count)
        *ret_count = count;
    return sum;
}

/* ---- histograms ---- */

static void growth_add(struct growth *growth, double bound, double count) {
    size_t i = 0;
    while (i < growth->count && growth->bounds[i] < bound)
        i++;
    if (i == growth->count || growth->bounds[i] > bound) {
        if (growth->count == BOUNDS_MAX)
            return;
        memmove(&growth->bounds[i + 1], &growth->bounds[i], (growth->count - i) * sizeof growth->bounds[0]);
        memmove(&growth->counts[i + 1], &growth->counts[i], (growth->count - i) * sizeof growth->counts[0]);
        growth->bounds[i] = bound;
        growth->counts[i] = 0;
        growth->count++;
    }
    growth->counts[i] += count;
}

static bool is_probe(const struct top_sample *sample) {
    struct str route = top_label(sample, "route");
    return str_eq(route, STR("/metrics")) || str_eq(route, STR("/livez")) || str_eq(route, STR("/readyz")) ||
           str_ends_with(route, STR("/stream")); /* lasts as long as its reader likes */
}

static void growth_read(const struct model *model, const struct question *question, struct growth *ret) {
    for (size_t t = 0; t < model->target_count; t++) {
        const struct top_target *target = &model->targets[t];
        for (size_t i = 0; i < target->now.count; i++) {
            const struct top_sample *sample = &target->now.samples[i];
            if (!matches(question, sample) || is_probe(sample))
                continue;
            struct str le = top_label(sample, "le");
            double rate = rate_of(target, sample);
            if (le.ptr && !isnan(rate))
                growth_add(ret, str_eq(le, STR("+Inf")) ? (double)INFINITY : strtod(le.ptr, NULL), rate);
        }
    }
}

/* As Prometheus' histogram_quantile: evenly spread within a bucket; the last bound when it is beyond that. */
static double quantile(const struct growth *growth, double share) {
    double total = growth->count ? growth->counts[growth->count - 1] : 0, below = 0, low = 0;
    if (total <= 0)
        return unknown;
    for (size_t i = 0; i < growth->count; i++) {
        double count = growth->counts[i];
        if (count >= share * total) {
            if (isinf(growth->bounds[i]))
                return low;
            return count > below ? low + (growth->bounds[i] - low) * (share * total - below) / (count - below)
                                 : growth->bounds[i];
        }
        below = count;
        low = growth->bounds[i];
    }
    return low;
}

static double quantile_of(const struct model *model, const char *family, const char *label, struct str value,
                          double share) {
    struct growth growth = {0};
    growth_read(model, &(struct question){family, label, value}, &growth);
    return quantile(&growth, share);
}

/* ---- services ---- */

static bool is_listed(const struct top_frame *frame, struct str name) {
    for (size_t i = 0; i < frame->service_count; i++)
        if (str_eq(frame->services[i].name, name))
            return true;
    return false;
}

static void list_services(const struct model *model, const char *family, bool view, struct top_frame *frame) {
    for (size_t t = 0; t < model->target_count; t++) {
        const struct top_scrape *now = &model->targets[t].now;
        for (size_t i = 0; i < now->count; i++) {
            struct str name = top_label(&now->samples[i], "service");
            if (!name.ptr || !str_eq(now->samples[i].family, str_from(family)) || is_listed(frame, name))
                continue;
            bool is_view = view || memmem(name.ptr, name.len, "-view-", 6);
            struct top_service *services = arena_array(model->arena, struct top_service, frame->service_count + 1);
            if (frame->service_count)
                memcpy(services, frame->services, frame->service_count * sizeof *services);
            services[frame->service_count++] = (struct top_service){.name = name, .view = is_view};
            frame->services = services;
        }
    }
}

static void fill_service(const struct model *model, struct top_service *service) {
    struct str name = service->name;
#define OF(family) (&(struct question){family, "service", name})
    service->in_per_s =
        sum_rates(model, service->view ? OF("orderlog_projector_records_total") : OF("orderlog_decider_records_total"));
    service->out_per_s = service->view ? unknown : sum_rates(model, OF("orderlog_decider_records_out_total"));
    service->lag_records = sum_of_things(model, OF("orderlog_lag_records"), NULL);
    service->lag_seconds = max_value(model, OF("orderlog_lag_seconds"));
    service->p50_s = quantile_of(model, "orderlog_stage_seconds_bucket", "service", name, 0.5);
    service->p99_s = quantile_of(model, "orderlog_stage_seconds_bucket", "service", name, 0.99);
    service->outbox_s = service->view ? unknown : max_value(model, OF("orderlog_outbox_oldest_seconds"));
    /* A projector tells of its own shards, a decider of the table that all share. */
    service->parked = service->view ? sum_values(model, OF("orderlog_parked_subjects"))
                                    : sum_of_things(model, OF("orderlog_parked_subjects"), NULL);
    service->halted = sum_of_things(model, OF("orderlog_shard_halted"), NULL);
    service->running = sum_of_things(model, OF("orderlog_shard_running"), &service->shards);
#undef OF
}

/* ---- all of it ---- */

static double sample_value(const struct top_scrape *scrape, const char *name) {
    const struct top_sample *sample = map_get(&scrape->by_name, str_from(name));
    return sample ? sample->value : unknown;
}

static struct top_process process_of(const struct top_target *target) {
    struct top_process process = {
        .name = target->name, .url = target->url, .answered = target->now.answered, .why = target->now.why};
    const struct top_sample *cpu = map_get(&target->now.by_name, STR("process_cpu_seconds_total"));
    process.cpu = cpu ? rate_of(target, cpu) : unknown;
    process.memory_bytes = sample_value(&target->now, "process_resident_memory_bytes");
    process.fds = sample_value(&target->now, "process_open_fds");
    process.uptime_s = (double)clock_now_us() / 1e6 - sample_value(&target->now, "process_start_time_seconds");
    for (size_t i = 0; i < target->now.count && !process.version.ptr; i++)
        if (str_eq(target->now.samples[i].family, STR("orderlog_build_info")))
            process.version = top_label(&target->now.samples[i], "version");
    return process;
}

static void fill_totals(const struct model *model, struct top_frame *frame) {
#define ALL(family) (&(struct question){family, NULL, STR_NULL})
#define WITH(family, label, value) (&(struct question){family, label, STR(value)})
    frame->requests_per_s = sum_rates(model, ALL("orderlog_http_requests_total"));
    frame->shed_per_s = sum_rates(model, ALL("orderlog_http_shed_total"));
    frame->request_p99_s = quantile_of(model, "orderlog_http_request_seconds_bucket", NULL, STR_NULL, 0.99);
    frame->in_flight = sum_values(model, ALL("orderlog_http_writes_in_flight"));
    frame->connections = sum_values(model, ALL("orderlog_http_connections"));
    frame->waiters = sum_values(model, ALL("orderlog_http_waiters"));
    frame->streams = sum_values(model, ALL("orderlog_http_streams"));
    frame->commits_per_s = sum_rates(model, ALL("orderlog_log_commit_seconds_count"));
    frame->commit_p99_s = quantile_of(model, "orderlog_log_commit_seconds_bucket", NULL, STR_NULL, 0.99);
    frame->log_bytes = max_value(model, ALL("orderlog_log_size_bytes"));
    frame->disk_free_bytes = max_value(model, ALL("orderlog_log_disk_free_bytes"));
    frame->postgres_up = sum_values(model, WITH("orderlog_store_up", "store", "postgres"));
    frame->postgres_asked = count_values(model, WITH("orderlog_store_up", "store", "postgres"));
    frame->redis_up = sum_values(model, WITH("orderlog_store_up", "store", "redis"));
    frame->redis_asked = count_values(model, WITH("orderlog_store_up", "store", "redis"));
    frame->tables_age_s =
        (double)clock_now_us() / 1e6 - max_value(model, ALL("orderlog_gauges_updated_timestamp_seconds"));
    frame->payments_open = sum_of_things(model, ALL("orderlog_payment_intents"), NULL);
    frame->payments_oldest_s = max_value(model, ALL("orderlog_payment_intents_oldest_seconds"));
    frame->payments_left = max_value(model, ALL("orderlog_payments_left_to_operators"));
    frame->timers_overdue = sum_of_things(model, ALL("orderlog_timers_overdue"), NULL);
    frame->timers_oldest_s = max_value(model, ALL("orderlog_timers_overdue_oldest_seconds"));
#undef WITH
#undef ALL
}

void top_model(const struct top_target *targets, size_t count, struct arena *arena, struct top_frame *ret) {
    struct model model = {targets, count, arena};
    *ret = (struct top_frame){.processes = arena_array(arena, struct top_process, count), .process_count = count};
    for (size_t t = 0; t < count; t++) {
        ret->processes[t] = process_of(&targets[t]);
        double seconds = (double)(targets[t].now.at_us - targets[t].before.at_us) / 1e6;
        if (targets[t].before.answered && seconds > ret->seconds)
            ret->seconds = seconds;
    }
    fill_totals(&model, ret);
    list_services(&model, "orderlog_decider_records_total", false, ret);
    list_services(&model, "orderlog_projector_records_total", true, ret);
    list_services(&model, "orderlog_lag_records", false, ret); /* others tell of those that do not answer */
    for (size_t i = 0; i < ret->service_count; i++)
        fill_service(&model, &ret->services[i]);
}
