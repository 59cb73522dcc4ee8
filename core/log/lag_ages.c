#include "core/log/lag.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/map.h"

enum { SAMPLES_MAX = 32 };

/* A position that moves is read anew this often only; what was read before is older than what waits now. */
static const int64_t read_every_us = 10 * 1000 * 1000;

struct sample {
    int64_t end;
    int64_t seen_us; /* monotonic: when it was first seen to be there */
};

/* Of one partition, as one group reads it. */
struct history {
    struct sample samples[SAMPLES_MAX]; /* the ends grow */
    size_t count;
    bool stands; /* at this offset since the last question: it waits since then */
    int64_t stands_at, stands_since_us;
    bool has_read;
    int64_t read_offset, read_at_us, behind_us; /* of the record that was read: its age then */
};

struct lag_ages {
    struct log *log;
    struct log_consumer *consumer; /* NULL: not needed yet */
    struct map histories;
};

struct lag_ages *lag_ages_open(struct log *log) {
    struct lag_ages *ages = mem_zalloc(sizeof *ages);
    ages->log = log;
    return ages;
}

void lag_ages_close(struct lag_ages *ages) {
    if (!ages)
        return;
    log_consumer_close(ages->consumer);
    map_free(&ages->histories, free);
    free(ages);
}

static struct history *history_of(struct lag_ages *ages, const struct lag_row *row) {
    BUF_AUTO key = {0};
    buf_printf(&key, "%.*s %.*s %d", STR_ARG(row->group), STR_ARG(row->topic), row->partition);
    void **place = map_put(&ages->histories, buf_str(&key));
    if (!*place)
        *place = mem_zalloc(sizeof(struct history));
    return *place;
}

/* Of what is long past, every other one is enough. */
static void thin_out(struct history *history) {
    size_t kept = 0;
    for (size_t i = 0; i < history->count; i++)
        if (i >= SAMPLES_MAX / 2 || i % 2 == 0)
            history->samples[kept++] = history->samples[i];
    history->count = kept;
}

static void note(struct history *history, int64_t end, int64_t now_us) {
    struct sample *last = history->count ? &history->samples[history->count - 1] : NULL;
    if (last && end < last->end) /* another log */
        *history = (struct history){0};
    else if (last && end == last->end)
        return;
    if (history->count == SAMPLES_MAX)
        thin_out(history);
    history->samples[history->count++] = (struct sample){end, now_us};
}

/* What was there before the first sample has to be looked at. */
static bool read_age(struct lag_ages *ages, const struct lag_row *row, struct history *history, int64_t offset,
                     int64_t now_us, int64_t *ret, struct err *err) {
    if (history->has_read && (history->read_offset == offset || now_us < history->read_at_us + read_every_us)) {
        *ret = history->behind_us + now_us - history->read_at_us;
        return true;
    }
    int64_t behind_us;
    if ((!ages->consumer && !log_consumer_open_manual(ages->log, &ages->consumer, err)) ||
        !lag_behind_us(ages->consumer, row, &behind_us, err))
        return false;
    *ret = behind_us;
    if (behind_us < 0)
        return true; /* gone by now */
    history->has_read = true;
    history->read_offset = offset;
    history->read_at_us = now_us;
    history->behind_us = behind_us;
    return true;
}

bool lag_ages_of(struct lag_ages *ages, const struct lag_row *row, int64_t *ret, struct err *err) {
    int64_t now_us = clock_monotonic_us(), offset = row->has_position ? row->position : row->end - row->lag;
    struct history *history = history_of(ages, row);
    note(history, row->end, now_us);
    if (!row->lag) {
        history->stands = false;
        *ret = 0;
        return true;
    }
    if (history->stands && history->stands_at == offset) {
        *ret = now_us - history->stands_since_us;
        return true;
    }
    size_t i = 0;
    while (history->samples[i].end <= offset)
        i++;
    if (!i)
        return read_age(ages, row, history, offset, now_us, ret, err);
    history->stands = true;
    history->stands_at = offset;
    history->stands_since_us = history->samples[i].seen_us;
    *ret = now_us - history->samples[i].seen_us;
    return true;
}
