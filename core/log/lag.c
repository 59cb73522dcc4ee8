#include "core/log/lag.h"

#include <inttypes.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/map.h"

static int compare_positions(const void *left, const void *right) {
    const struct log_group_position *a = left, *b = right;
    int order = str_cmp(a->group, b->group);
    if (!order)
        order = str_cmp(a->position.topic, b->position.topic);
    return order ? order
                 : (a->position.partition > b->position.partition) - (a->position.partition < b->position.partition);
}

static bool same_topic(const struct log_group_position *a, const struct log_group_position *b) {
    return str_eq(a->group, b->group) && str_eq(a->position.topic, b->position.topic);
}

/* The partitions of the rows, each once; with `unread`, of rows without a position only. */
static size_t places_of(const struct lag_report *report, bool unread, struct log_position *ret, size_t *ret_of_row) {
    struct map known = {0};
    size_t count = 0;
    for (size_t i = 0; i < report->count; i++) {
        const struct lag_row *row = &report->rows[i];
        BUF_AUTO key = {0};
        if (unread && row->has_position)
            continue;
        buf_printf(&key, "%.*s %d", STR_ARG(row->topic), row->partition);
        void **place = map_put(&known, buf_str(&key));
        if (!*place) {
            ret[count] = (struct log_position){row->topic, row->partition, 0};
            *place = &ret[count++];
        }
        ret_of_row[i] = (size_t)((struct log_position *)*place - ret);
    }
    map_free(&known, NULL);
    return count;
}

/* Asks for all ends at once: over a network, one by one takes long. */
static bool rows_read(struct log *log, struct lag_report *report, struct err *err) {
    struct log_position *places = mem_alloc((report->count + 1) * sizeof *places);
    size_t *of_row = mem_alloc((report->count + 1) * sizeof *of_row);
    bool ok = log_ends(log, places, places_of(report, false, places, of_row), false, err);
    for (size_t i = 0; ok && i < report->count; i++)
        report->rows[i].end = places[of_row[i]].offset;
    ok = ok && log_ends(log, places, places_of(report, true, places, of_row), true, err);
    for (size_t i = 0; ok && i < report->count; i++) {
        struct lag_row *row = &report->rows[i];
        int64_t from = row->has_position ? row->position : places[of_row[i]].offset;
        row->lost = from > row->end;
        row->lag = from < row->end ? row->end - from : 0;
        report->total += row->lag;
    }
    free(places);
    free(of_row);
    return ok;
}

/* All partitions of one topic of one group; `told` are the positions that there are. */
static bool topic_read(struct log *log, const struct log_group_position *told, size_t count, struct lag_report *report,
                       struct err *err) {
    struct log_topic topic;
    if (!log_topic_find(log, told->position.topic, &topic, err))
        return false;
    report->rows = mem_realloc(report->rows, (report->count + (size_t)topic.partitions) * sizeof *report->rows);
    for (int32_t i = 0; i < topic.partitions; i++) {
        struct lag_row *row = &report->rows[report->count];
        *row = (struct lag_row){.group = told->group, .topic = topic.name, .partition = i};
        for (size_t j = 0; j < count; j++)
            if (told[j].position.partition == i) {
                row->has_position = true;
                row->position = told[j].position.offset;
            }
        report->count++;
    }
    return true;
}

bool lag_read(struct log *log, struct lag_report *ret, struct err *err) {
    struct lag_report report = {0};
    size_t count = 0, same;
    if (!log_group_positions(log, &report.positions, &count, err))
        return false;
    if (count)
        qsort(report.positions, count, sizeof *report.positions, compare_positions);
    for (size_t i = 0; i < count; i += same) {
        for (same = 1; i + same < count && same_topic(&report.positions[i], &report.positions[i + same]);)
            same++;
        if (!topic_read(log, &report.positions[i], same, &report, err)) {
            lag_free(&report);
            return false;
        }
    }
    if (!rows_read(log, &report, err)) {
        lag_free(&report);
        return false;
    }
    *ret = report;
    return true;
}

void lag_free(struct lag_report *report) {
    free(report->rows);
    free(report->positions);
    *report = (struct lag_report){0};
}

bool lag_behind_us(struct log_consumer *consumer, const struct lag_row *row, int64_t *ret, struct err *err) {
    struct log_batch batch;
    int64_t from = row->has_position ? row->position : row->end - row->lag;
    *ret = 0;
    if (!row->lag)
        return true;
    if (!log_consumer_seek(consumer, row->topic, row->partition, from, err))
        return false;
    bool ok = log_consumer_poll(consumer, 1, 1000, &batch, err);
    log_consumer_pause(consumer, row->topic, row->partition);
    if (!ok)
        return false;
    *ret = batch.count ? clock_now_us() - batch.records[0].timestamp_us : -1;
    if (batch.count && *ret < 0)
        *ret = 0; /* the clock was set back */
    return true;
}

/* ---- waiting ---- */

enum { WAIT_POLL_MS = 250 };

static int64_t ends_sum(const struct lag_report *report) {
    int64_t sum = 0;
    for (size_t i = 0; i < report->count; i++)
        sum += report->rows[i].end;
    return sum;
}

static const struct lag_row *first_behind(const struct lag_report *report) {
    for (size_t i = 0; i < report->count; i++)
        if (report->rows[i].lag)
            return &report->rows[i];
    return NULL;
}

/* What one group has read may make another write: so nobody may be behind twice running, with nothing new between. */
bool lag_wait(struct log *log, int64_t seconds, struct err *err) {
    int64_t give_up_us = clock_monotonic_us() + seconds * 1000000, ends_before = -1;
    for (;;) {
        struct lag_report report;
        if (!lag_read(log, &report, err))
            return false;
        const struct lag_row *behind = first_behind(&report);
        int64_t ends = ends_sum(&report);
        bool settled = !behind && ends == ends_before, late = clock_monotonic_us() > give_up_us;
        ends_before = behind ? -1 : ends;
        if (!settled && late && behind)
            err_set(err, ERR_TIMEOUT,
                    "after %" PRId64 " s group %.*s is still %" PRId64 " records behind %.*s, partition %d", seconds,
                    STR_ARG(behind->group), behind->lag, STR_ARG(behind->topic), behind->partition);
        else if (!settled && late)
            err_set(err, ERR_TIMEOUT, "after %" PRId64 " s the log still grows", seconds);
        lag_free(&report);
        if (settled || late)
            return settled;
        clock_sleep_ms(WAIT_POLL_MS);
    }
}
