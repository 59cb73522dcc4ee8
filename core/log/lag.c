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

static bool is_left(const struct lag_left *left, struct str group) {
    size_t i = 0;
    while (i < left->count && !str_eq(group, str_from(left->groups[i])))
        i++;
    return i < left->count;
}

static size_t left_drop(const struct lag_left *left, struct log_group_position *positions, size_t count) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!is_left(left, positions[i].group))
            positions[kept++] = positions[i];
    return kept;
}

bool lag_read(struct log *log, const struct lag_left *left, struct lag_report *ret, struct err *err) {
    struct lag_report report = {0};
    size_t count = 0, same;
    if (!log_group_positions(log, &report.positions, &count, err))
        return false;
    if (left)
        count = left_drop(left, report.positions, count);
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

/* ---- ages ---- */

enum { BEHIND_POLL_MS = 100, BEHIND_WAIT_MS = 2000 };

static int64_t age_of(const struct log_record *record) {
    int64_t age_us = clock_now_us() - record->timestamp_us;
    return age_us < 0 ? 0 : age_us; /* the clock was set back */
}

static bool same_place(const struct lag_row *row, struct str topic, int32_t partition) {
    return row->partition == partition && str_eq(row->topic, topic);
}

/* What a round reads: rows of different partitions. -2: still to be read; -3: in this round. */
enum { AGE_WANTED = -2, AGE_ASKED = -3 };

static bool begin_round(struct log_consumer *consumer, const struct lag_row *rows, size_t count, int64_t *ages,
                        size_t *ret_asked, struct err *err) {
    *ret_asked = 0;
    for (size_t i = 0; i < count; i++) {
        bool taken = ages[i] != AGE_WANTED;
        for (size_t k = 0; k < i && !taken; k++)
            taken = ages[k] == AGE_ASKED && same_place(&rows[k], rows[i].topic, rows[i].partition);
        if (taken)
            continue;
        int64_t from = rows[i].has_position ? rows[i].position : rows[i].end - rows[i].lag;
        if (!log_consumer_seek(consumer, rows[i].topic, rows[i].partition, from, err))
            return false;
        ages[i] = AGE_ASKED;
        ++*ret_asked;
    }
    return true;
}

/* The first record of each partition counts, and nothing more is read of it. */
static size_t take_ages(struct log_consumer *consumer, const struct lag_row *rows, size_t count,
                        const struct log_batch *batch, int64_t *ages) {
    size_t taken = 0;
    for (size_t b = 0; b < batch->count; b++)
        for (size_t i = 0; i < count; i++)
            if (ages[i] == AGE_ASKED && same_place(&rows[i], batch->records[b].topic, batch->records[b].partition)) {
                ages[i] = age_of(&batch->records[b]);
                log_consumer_pause(consumer, rows[i].topic, rows[i].partition);
                taken++;
            }
    return taken;
}

static bool read_round(struct log_consumer *consumer, const struct lag_row *rows, size_t count, size_t asked,
                       int64_t *ages, struct err *err) {
    int64_t give_up_us = clock_monotonic_us() + BEHIND_WAIT_MS * INT64_C(1000);
    while (asked && clock_monotonic_us() < give_up_us) {
        struct log_batch batch;
        if (!log_consumer_poll(consumer, asked, BEHIND_POLL_MS, &batch, err))
            return false;
        asked -= take_ages(consumer, rows, count, &batch, ages);
    }
    return true;
}

/* What did not come is gone by now. */
static void end_round(struct log_consumer *consumer, const struct lag_row *rows, size_t count, int64_t *ages) {
    for (size_t i = 0; i < count; i++)
        if (ages[i] == AGE_ASKED) {
            ages[i] = -1;
            log_consumer_pause(consumer, rows[i].topic, rows[i].partition);
        }
}

static bool behind_us(struct log_consumer *consumer, const struct lag_row *rows, size_t count, int64_t *ages,
                      struct err *err) {
    size_t asked = 1;
    bool ok = true;
    for (size_t i = 0; i < count; i++)
        ages[i] = rows[i].lag ? AGE_WANTED : 0;
    while (ok && asked) {
        ok = begin_round(consumer, rows, count, ages, &asked, err) &&
             read_round(consumer, rows, count, asked, ages, err);
        end_round(consumer, rows, count, ages);
    }
    return ok;
}

bool lag_behind_us(struct log_consumer *consumer, const struct lag_row *row, int64_t *ret, struct err *err) {
    int64_t age_us;
    if (!behind_us(consumer, row, 1, &age_us, err))
        return false;
    *ret = age_us;
    return true;
}

bool lag_behind_all_us(struct log_consumer *consumer, const struct lag_report *report, int64_t *ret, struct err *err) {
    return behind_us(consumer, report->rows, report->count, ret, err);
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
bool lag_wait(struct log *log, const struct lag_left *left, int64_t seconds, struct err *err) {
    int64_t give_up_us = clock_monotonic_us() + seconds * 1000000, ends_before = -1;
    for (;;) {
        struct lag_report report;
        if (!lag_read(log, left, &report, err))
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
