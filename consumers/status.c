/* How a loop stands, for probes and metrics. */
#include <stdio.h>

#include "consumers/internal.h"

void status_register(struct loop *loop) {
    loop->metrics.batches = metrics_counter("orderlog_decider_batches_total", "Batches committed.", "");
    loop->metrics.batch_seconds =
        metrics_histogram("orderlog_decider_batch_seconds", "Time from poll to commit of a batch.", "");
    loop->metrics.backlog =
        metrics_gauge("orderlog_outbox_backlog_bytes", "Committed outbox bytes that the log has not acknowledged.", "");
    loop->metrics.handed = metrics_counter("orderlog_decider_handed_over_total",
                                           "Records given from one decider to another in memory.", "");
}

void status_register_service(struct service *service) {
    char labels[64];
    snprintf(labels, sizeof(labels), "service=\"%s\"", service->decider->service);
    service->metrics.records =
        metrics_counter("orderlog_decider_records_total", "Records consumed by deciders.", labels);
    service->metrics.duplicates =
        metrics_counter("orderlog_decider_duplicates_total", "Records dropped by their origin's number.", labels);
    service->metrics.parked = metrics_counter("orderlog_decider_parked_total", "Records parked.", labels);
    service->metrics.put_off = metrics_counter("orderlog_decider_timers_put_off_total",
                                               "Timers that failed alone, to be tried again in minutes.", labels);
    service->metrics.take_overs = metrics_counter("orderlog_decider_take_overs_total", "Shards taken over.", labels);
    service->metrics.halted = metrics_counter("orderlog_decider_halts_total", "Times a shard was halted.", labels);
    service->metrics.emitted = metrics_counter("orderlog_decider_records_out_total",
                                               "Records decided, to be published by the outbox.", labels);
    service->metrics.stage = metrics_stage(service->decider->service);
}

void status_register_shard(struct shard *shard) {
    char labels[96];
    snprintf(labels, sizeof(labels), "service=\"%s\",shard=\"%d\"", SHARD_ARG(shard));
    shard->halted_gauge =
        metrics_gauge("orderlog_shard_halted", "1: this shard moves no further; /readyz?verbose says why.", labels);
    shard->running_gauge =
        metrics_gauge("orderlog_shard_running",
                      "1: this process runs this shard; over all processes each shard is to be run by one.", labels);
    metrics_set(shard->running_gauge, 0);
}

static bool status_changed(const struct loop *loop) {
    bool changed = false;
    for (size_t i = 0; i < loop->service_count; i++)
        changed |= loop->services[i].assigned_once != loop->services[i].assigned_told;
    for (int32_t s = 0; s < loop->shard_count; s++)
        changed |= loop->shards[s].status != loop->shards[s].told;
    return changed;
}

static void add_shard(struct loop *loop, struct shard *shard) {
    BUF_AUTO why = {0};
    shard->told = shard->status;
    metrics_set(shard->halted_gauge, shard->status == SHARD_HALTED);
    metrics_set(shard->running_gauge, shard->status == SHARD_RUNNING);
    if (shard->status == SHARD_HALTED)
        buf_printf(&why, "halted: %s", shard->halted_why);
    if (shard->status == SHARD_WAITING)
        buf_printf(&why, "being taken over");
    if (shard->status != SHARD_AWAY)
        checks_add(&loop->status, shard->status == SHARD_RUNNING ? CHECK_OK : CHECK_FAILED, buf_str(&why),
                   "decider %s/%d", shard->service->decider->service, shard->index);
}

void status_write(struct loop *loop) {
    if (!status_changed(loop))
        return;
    pthread_mutex_lock(&loop->status_lock);
    checks_free(&loop->status);
    for (size_t i = 0; i < loop->service_count; i++) {
        struct service *service = &loop->services[i];
        service->assigned_told = service->assigned_once;
        if (!service->assigned_once)
            checks_add(&loop->status, CHECK_FAILED, STR("waiting for its shards"), "decider %s",
                       service->decider->service);
    }
    for (int32_t s = 0; s < loop->shard_count; s++)
        add_shard(loop, &loop->shards[s]);
    pthread_mutex_unlock(&loop->status_lock);
}

bool loop_ready(struct loop *loop, struct buf *why) {
    bool ready = true;
    pthread_mutex_lock(&loop->status_lock);
    for (size_t i = 0; i < loop->status.count && ready; i++) {
        const struct check *check = &loop->status.items[i];
        ready = check->state != CHECK_FAILED;
        if (!ready && why)
            buf_printf(why, "%s: %s", check->name, check->why);
    }
    pthread_mutex_unlock(&loop->status_lock);
    return ready;
}

void loop_check(struct loop *loop, struct checks *checks) {
    pthread_mutex_lock(&loop->status_lock);
    checks_copy(checks, &loop->status);
    pthread_mutex_unlock(&loop->status_lock);
}
