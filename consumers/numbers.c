/* Whether the log and a shard's row are of the same time, as far as the numbers of what the shard decided tell. */
#include <stdio.h>
#include <stdlib.h>

#include "consumers/internal.h"

/* Of one partition: what comes right after what was acknowledged, and the end. */
enum { HEAD_MAX = 4000, TAIL_MAX = 1000, POLL_MS = 1000, POLLS_MAX = 10 };

struct look {
    struct log_consumer *consumer;
    char origin[64];
};

static bool is_ahead(const struct look *look, const struct log_record *record, int64_t last_seq, struct err *err) {
    struct envelope envelope;
    if (!envelope_read(record, &envelope, NULL) || !str_eq(envelope.origin, str_from(look->origin)) ||
        envelope.origin_seq <= last_seq)
        return false;
    err_set(
        err, ERR_LOST_RECORDS,
        "%.*s/%d offset %lld is number %lld of %s, but its row knows of %lld only: PostgreSQL is of an earlier time "
        "than the log",
        STR_ARG(record->topic), record->partition, (long long)record->offset, (long long)envelope.origin_seq,
        look->origin, (long long)last_seq);
    return true;
}

static bool look_at(struct look *look, struct str topic, int32_t partition, int64_t from, int64_t until,
                    int64_t last_seq, struct err *err) {
    int polls = 0;
    struct err failure = {0};
    if (from >= until)
        return true;
    if (!log_consumer_seek(look->consumer, topic, partition, from, err))
        return false;
    while (from < until) {
        struct log_batch batch;
        if (!log_consumer_poll(look->consumer, 1000, POLL_MS, &batch, &failure)) {
            if (failure.kind == ERR_CORRUPT) /* it is for who reads it to halt before it */
                break;
            *err = failure;
            return false;
        }
        for (size_t i = 0; i < batch.count && from < until; i++) {
            if (is_ahead(look, &batch.records[i], last_seq, err))
                return false;
            from = batch.records[i].offset + 1;
        }
        if (!batch.count && ++polls == POLLS_MAX)
            return err_set(err, ERR_TIMEOUT, "%.*s/%d could not be read on from offset %lld", STR_ARG(topic), partition,
                           (long long)from);
    }
    log_consumer_pause(look->consumer, topic, partition);
    return true;
}

/* `acknowledged` -1: from the beginning. */
static bool look_behind(struct loop *loop, struct look *look, struct str topic, int32_t partition, int64_t acknowledged,
                        int64_t high, int64_t last_seq, struct err *err) {
    struct log_position low = {.topic = topic, .partition = partition};
    if (acknowledged + 1 >= high)
        return true;
    if (!log_ends(loop->config.log, &low, 1, true, err))
        return false;
    int64_t from = acknowledged + 1 > low.offset ? acknowledged + 1 : low.offset;
    int64_t head = high - from > HEAD_MAX ? from + HEAD_MAX : high;
    int64_t tail = high - TAIL_MAX > head ? high - TAIL_MAX : head;
    if (from >= high)
        return true;
    if (!look->consumer && !log_consumer_open_manual(loop->config.log, &look->consumer, err))
        return false;
    return look_at(look, topic, partition, from, head, last_seq, err) &&
           look_at(look, topic, partition, tail, high, last_seq, err);
}

static bool has_input(struct loop *loop, const struct shard *shard, bool *ret, struct err *err) {
    struct log_position ends[LOOP_INPUTS_MAX];
    size_t count = shard->service->decider->input_count;
    for (size_t i = 0; i < count; i++)
        ends[i] = (struct log_position){.topic = shard->service->inputs[i].name, .partition = shard->index};
    if (!log_ends(loop->config.log, ends, count, false, err))
        return false;
    *ret = false;
    for (size_t i = 0; i < count; i++)
        *ret |= ends[i].offset > 0;
    return true;
}

/* The row knows of no output, so any topic may be one. */
static bool look_everywhere(struct loop *loop, struct look *look, struct err *err) {
    struct log_topic *topics;
    size_t count;
    if (!log_topics_list(loop->config.log, &topics, &count, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        for (int32_t p = 0; ok && p < topics[i].partitions; p++) {
            int64_t low, high;
            ok = log_watermarks(loop->config.log, topics[i].name, p, &low, &high, err) &&
                 look_behind(loop, look, topics[i].name, p, low - 1, high, 0, err);
        }
    free(topics);
    return ok;
}

/* What the log acknowledged must still be there: a log that lost its tail would give the same offsets again. */
static bool check_tail(const struct shard_output *output, int64_t end, struct err *err) {
    return end > output->acknowledged_offset ||
           err_set(err, ERR_LOST_RECORDS, "%.*s/%d ends at %lld, but offset %lld was acknowledged",
                   STR_ARG(output->topic), output->partition, (long long)end, (long long)output->acknowledged_offset);
}

/* One question for all ends: while a broker is away, each may take seconds. */
static bool check_outputs(struct loop *loop, const struct shard *shard, struct look *look, struct err *err) {
    struct log_position *ends = mem_alloc((shard->output_count + 1) * sizeof *ends);
    for (size_t i = 0; i < shard->output_count; i++)
        ends[i] = (struct log_position){.topic = shard->outputs[i].topic, .partition = shard->outputs[i].partition};
    bool ok = log_ends(loop->config.log, ends, shard->output_count, false, err);
    for (size_t i = 0; ok && i < shard->output_count; i++) {
        const struct shard_output *output = &shard->outputs[i];
        ok = check_tail(output, ends[i].offset, err) &&
             look_behind(loop, look, output->topic, output->partition, output->acknowledged_offset, ends[i].offset,
                         output->last_seq, err);
    }
    free(ends);
    return ok;
}

static bool has_output(const struct shard *shard, struct str topic) {
    for (size_t i = 0; i < shard->output_count; i++)
        if (str_eq(shard->outputs[i].topic, topic))
            return true;
    return false;
}

/* Those of its own events in which it had said nothing when the row was written: its first word may be younger. (In one
 * where it had, what it says shows in a partition that the row knows: each event of stock or of an order has its own.)
 */
static bool find_unheard(struct loop *loop, const struct shard *shard, struct log_position **ret, size_t *ret_count,
                         struct err *err) {
    for (const char *const *events = shard->service->decider->events; *events; events++) {
        struct log_topic topic;
        if (has_output(shard, str_from(*events)))
            continue;
        if (!log_topic_find(loop->config.log, str_from(*events), &topic, err))
            return false;
        *ret = mem_realloc(*ret, (*ret_count + (size_t)topic.partitions) * sizeof **ret);
        for (int32_t p = 0; p < topic.partitions; p++)
            (*ret)[(*ret_count)++] = (struct log_position){.topic = topic.name, .partition = p};
    }
    return true;
}

static bool check_unheard(struct loop *loop, const struct shard *shard, struct look *look, struct err *err) {
    struct log_position *ends = NULL;
    size_t count = 0;
    bool ok = find_unheard(loop, shard, &ends, &count, err) &&
              (!count || log_ends(loop->config.log, ends, count, false, err));
    for (size_t i = 0; ok && i < count; i++)
        ok = look_behind(loop, look, ends[i].topic, ends[i].partition, -1, ends[i].offset, 0, err);
    free(ends);
    return ok;
}

bool shard_check_log(struct loop *loop, const struct shard *shard, bool fresh, struct err *err) {
    struct look look = {0};
    bool any = false;
    snprintf(look.origin, sizeof look.origin, "%s/%d", shard->service->decider->service, shard->index);
    bool ok = check_outputs(loop, shard, &look, err);
    if (ok && !fresh)
        ok = check_unheard(loop, shard, &look, err);
    if (ok && fresh)
        ok = has_input(loop, shard, &any, err) && (!any || look_everywhere(loop, &look, err));
    log_consumer_close(look.consumer);
    return ok;
}
