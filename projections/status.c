/* How a projector stands, for probes and metrics. */
#include "core/base/clock.h"
#include "core/base/metrics.h"
#include "core/trace/trace.h"
#include "projections/projector.h"

static bool changed(const struct projector *projector) {
    for (int32_t i = 0; i < projector->shard_count; i++)
        if (projector->shards[i].state != projector->shards[i].told)
            return true;
    return false;
}

static void tell_shard(struct projector *projector, const struct shard *shard, struct checks *checks) {
    BUF_AUTO why = {0};
    if (shard->state == SHARD_HALTED)
        buf_printf(&why, "halted: %s", shard->halted_why);
    if (shard->state == SHARD_UNREAD)
        buf_printf(&why, "%s", projector->trouble ? err_title(projector->trouble) : "being read");
    if (shard->state != SHARD_OFF)
        checks_add(checks, shard->state == SHARD_RUNNING ? CHECK_OK : CHECK_WARNING, buf_str(&why), "view %s/%d",
                   projector->service, shard->index);
}

static void count_parked(const struct projector *projector) {
    size_t subjects = 0;
    for (int32_t i = 0; i < projector->shard_count; i++)
        if (projector->shards[i].state == SHARD_RUNNING)
            subjects += projector->shards[i].parked.count;
    metrics_set(projector->parked_subjects, (double)subjects);
}

void projector_tell_status(struct projector *projector) {
    if (!changed(projector))
        return;
    struct projector_status *status = projector->config->status;
    CHECKS_AUTO checks = {0};
    for (int32_t i = 0; i < projector->shard_count; i++) {
        struct shard *shard = &projector->shards[i];
        shard->told = shard->state;
        metrics_set(shard->halted_gauge, shard->state == SHARD_HALTED);
        metrics_set(shard->running_gauge, shard->state == SHARD_RUNNING);
        tell_shard(projector, shard, &checks);
    }
    count_parked(projector);
    if (!status)
        return;
    pthread_mutex_lock(&status->mutex);
    struct checks before = status->checks;
    status->checks = checks;
    checks = before;
    pthread_mutex_unlock(&status->mutex);
}

void projector_check(struct projector_status *status, struct checks *checks) {
    pthread_mutex_lock(&status->mutex);
    checks_copy(checks, &status->checks);
    pthread_mutex_unlock(&status->mutex);
}

void projector_status_free(struct projector_status *status) {
    checks_free(&status->checks);
}

void projector_observe(struct projector *projector, const struct log_batch *records) {
    int64_t now_us = clock_now_us();
    for (size_t i = 0; i < records->count; i++)
        metrics_observe(projector->stage, (double)(now_us - records->records[i].timestamp_us) / 1e6);
    count_parked(projector);
}

/* A span for each record that was applied. */
static void trace_saved(const struct projector *projector, const struct shard_save *save) {
    for (size_t i = 0; i < save->fact_count; i++) {
        struct span span;
        if (!span_begin(&span, save->facts[i].envelope->traceparent))
            continue;
        span.start_us = projector->batch_at_us;
        span_end_record(&span, SPAN_CONSUMER, "project", save->facts[i].envelope, str_from(projector->service), false);
    }
}

void projector_trace(const struct projector *projector, const struct shard_save *saves, size_t count) {
    for (size_t i = 0; trace_on() && i < count; i++)
        if (!saves[i].conflict)
            trace_saved(projector, &saves[i]);
}
