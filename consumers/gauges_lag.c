#include "consumers/gauges_internal.h"

#include <stdlib.h>

#include "core/log/lag.h"

struct lag_series {
    struct metric *records;
    struct metric *seconds;
};

static struct lag_series *series_of(struct gauges_lag *lag, const struct lag_row *row) {
    BUF_AUTO key = {0};
    buf_printf(&key, "service=\"%.*s\",topic=\"%.*s\",partition=\"%d\"", STR_ARG(row->group), STR_ARG(row->topic),
               row->partition);
    void **place = map_put(&lag->series, buf_str(&key));
    if (!*place) {
        struct lag_series *series = mem_alloc(sizeof *series);
        series->records = metrics_gauge("orderlog_lag_records", "Records that wait to be read by a service.", key.ptr);
        series->seconds = metrics_gauge(
            "orderlog_lag_seconds", "Age of the oldest record that waits, true to two seconds; 0: none does.", key.ptr);
        *place = series;
    }
    return *place;
}

static bool set_row(struct gauges_lag *lag, const struct lag_row *row, struct err *err) {
    struct lag_series *series = series_of(lag, row);
    int64_t behind_us = -1;
    bool ok = !row->lost && lag_ages_of(lag->ages, row, &behind_us, err);
    metrics_set(series->records, (double)row->lag);
    if (behind_us < 0)
        metrics_unset(series->seconds);
    else
        metrics_set(series->seconds, (double)behind_us / 1e6);
    return ok || row->lost;
}

static void unset_all(struct gauges_lag *lag) {
    for (struct map_entry *at = NULL; (at = map_next(&lag->series, at));) {
        const struct lag_series *series = at->value;
        metrics_unset(series->records);
        metrics_unset(series->seconds);
    }
}

bool gauges_lag_round(struct gauges_lag *lag, struct err *err) {
    struct lag_report report = {0};
    if (!lag->ages)
        lag->ages = lag_ages_open(lag->log);
    if (!lag_read(lag->log, lag->left, &report, err)) {
        unset_all(lag);
        return false;
    }
    /* A partition whose record cannot be read (it is damaged, say) leaves the others to be told. */
    bool ok = true;
    for (size_t i = 0; i < report.count; i++)
        ok &= set_row(lag, &report.rows[i], err);
    lag_free(&report);
    return ok;
}

void gauges_lag_close(struct gauges_lag *lag) {
    unset_all(lag);
    lag_ages_close(lag->ages);
    map_free(&lag->series, free);
}
