/* What a projector is made of: its topics, shards and metrics. */
#include <stdio.h>
#include <stdlib.h>

#include "core/base/metrics.h"
#include "core/codec/avro.h"
#include "projections/projector.h"

void projector_group_name(const char *store, const struct view *view, char ret[LAG_GROUP_SIZE]) {
    snprintf(ret, LAG_GROUP_SIZE, "%s-view-%s", store, view->name);
}

static void name_topics(struct projector *projector, const char **names) {
    projector->topic_count = 0;
    const struct view *view = projector->config->view;
    for (size_t i = 0; i < view->topic_count; i++)
        names[projector->topic_count++] = view->topics[i];
    const char *const *more = projector->config->store->more_topics(view);
    for (; *more; more++)
        names[projector->topic_count++] = *more;
}

bool projector_find_topics(struct projector *projector, struct err *err) {
    const char *names[VIEW_TOPICS_MAX];
    name_topics(projector, names);
    for (size_t i = 0; i < projector->topic_count; i++) {
        struct log_topic *topic = &projector->topics[i];
        if (!log_topic_find(projector->log, str_from(names[i]), topic, err))
            return false;
        projector->subjects[i] = schema_subject_find(topic->name);
        if (!projector->subjects[i])
            return err_set(err, ERR_CONFIG, "topic %s has no schema", names[i]);
        if (topic->partitions != projector->topics[0].partitions)
            return err_set(err, ERR_CONFIG, "topic %s has %d partitions, and %s has %d: they must be the same",
                           names[i], topic->partitions, names[0], projector->topics[0].partitions);
    }
    return true;
}

void projector_open_shards(struct projector *projector) {
    char labels[96];
    projector->shard_count = projector->topics[0].partitions;
    projector->shards = mem_zalloc((size_t)projector->shard_count * sizeof(struct shard));
    for (int32_t i = 0; i < projector->shard_count; i++) {
        struct shard *shard = &projector->shards[i];
        shard->index = i;
        positions_init(&shard->positions);
        snprintf(labels, sizeof(labels), "service=\"%s\",shard=\"%d\"", projector->service, i);
        shard->halted_gauge =
            metrics_gauge("orderlog_shard_halted", "1: this shard moves no further; /readyz?verbose says why.", labels);
        shard->running_gauge = metrics_gauge(
            "orderlog_shard_running",
            "1: this process runs this shard; over all processes each shard is to be run by one.", labels);
        metrics_set(shard->halted_gauge, 0);
        metrics_set(shard->running_gauge, 0);
    }
}

void projector_close_shards(struct projector *projector) {
    for (int32_t i = 0; i < projector->shard_count; i++) {
        positions_free(&projector->shards[i].positions);
        map_free(&projector->shards[i].parked, NULL);
        free(projector->shards[i].halted_why);
        buf_free(&projector->shards[i].expected);
        buf_free(&projector->shards[i].next);
    }
    free(projector->shards);
}

void projector_open_metrics(struct projector *projector) {
    char labels[64];
    snprintf(labels, sizeof(labels), "service=\"%s\"", projector->service);
    projector->applied = metrics_counter("orderlog_projector_records_total", "Records folded or parked.", labels);
    projector->duplicates =
        metrics_counter("orderlog_projector_duplicates_total", "Records dropped: applied before.", labels);
    projector->parked = metrics_counter("orderlog_projector_parked_total", "Records set aside.", labels);
    projector->save_seconds =
        metrics_histogram("orderlog_projector_save_seconds", "Time to save what a poll brought.", labels);
    projector->stage = metrics_stage(projector->service);
    projector->parked_subjects =
        metrics_gauge("orderlog_parked_subjects", "Subjects that are set aside, with all that comes of them.", labels);
}
