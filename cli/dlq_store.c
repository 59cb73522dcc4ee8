#include "cli/dlq.h"

#include "core/base/config.h"
#include "projections/view.h"

#define COLUMNS                                                                                                        \
    "id, service, shard, topic, partition, \"offset\", subject, reason, behind, status, parked_at,"                    \
    " min(id) OVER subjects AS leader, count(*) OVER subjects - row_number() OVER (subjects ORDER BY id) AS followers"
#define SUBJECTS " WINDOW subjects AS (PARTITION BY service, shard, subject)"
#define SELECTED "($1::text IS NULL OR service = $1) AND ($2::text IS NULL OR subject = $2)"

bool dlq_open(struct pg **ret, struct err *err) {
    const char *url;
    if (!config_require("DATABASE_URL", &url, err))
        return err_wrap(err, "which database? Give --database URL or set DATABASE_URL");
    return pg_open(url, NULL, ret, err);
}

static void add_selection(struct pg_params *params, const char *service, const char *subject) {
    pg_add_text(params, str_from(service));
    pg_add_text(params, str_from(subject));
}

bool dlq_list(struct pg *pg, const char *service, const char *subject, struct pg_result **ret, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    add_selection(&params, service, subject);
    return pg_exec(pg, "SELECT " COLUMNS " FROM decider.parked WHERE " SELECTED SUBJECTS " ORDER BY id", &params, ret,
                   err);
}

bool dlq_service_is_known(struct pg *pg, const char *service, bool *ret, struct buf *ret_names, struct err *err) {
    PG_RESULT_AUTO *rows = NULL;
    *ret = false;
    if (!pg_exec(pg, "SELECT service FROM decider.shard UNION SELECT service FROM decider.parked ORDER BY 1", NULL,
                 &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++) {
        buf_printf(ret_names, "%.*s, ", STR_ARG(pg_get_str(rows, i, 0)));
        *ret = *ret || str_eq(pg_get_str(rows, i, 0), str_from(service));
    }
    for (size_t i = 0; i < VIEW_COUNT; i++) {
        BUF_AUTO name = {0};
        buf_printf(&name, "view-%s", views_all[i]->name);
        buf_printf(ret_names, "%s%s", i ? ", " : "", name.ptr);
        *ret = *ret || str_eq(buf_str(&name), str_from(service));
    }
    return true;
}

bool dlq_find_leaders(struct pg *pg, const char *service, const char *subject, struct pg_result **ret,
                      struct err *err) {
    PG_PARAMS_AUTO params = {0};
    add_selection(&params, service, subject);
    return pg_exec(pg,
                   "SELECT * FROM (SELECT " COLUMNS " FROM decider.parked WHERE " SELECTED SUBJECTS
                   ") parked WHERE id = leader ORDER BY id",
                   &params, ret, err);
}

bool dlq_find(struct pg *pg, int64_t id, struct pg_result **ret, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    pg_add_i64(&params, id);
    return pg_exec(pg,
                   "SELECT parked.*, kept.record FROM (SELECT " COLUMNS
                   " FROM decider.parked WHERE (service, shard, subject) IN"
                   " (SELECT service, shard, subject FROM decider.parked WHERE id = $1)" SUBJECTS
                   ") parked JOIN decider.parked kept USING (id) WHERE id = $1",
                   &params, ret, err);
}

struct dlq_row dlq_row_get(const struct pg_result *rows, int i) {
    return (struct dlq_row){
        .id = pg_get_i64(rows, i, 0),
        .service = pg_get_str(rows, i, 1),
        .shard = pg_get_i64(rows, i, 2),
        .topic = pg_get_str(rows, i, 3),
        .partition = pg_get_i64(rows, i, 4),
        .offset = pg_get_i64(rows, i, 5),
        .subject = pg_get_str(rows, i, 6),
        .reason = pg_get_str(rows, i, 7),
        .behind = pg_get_bool(rows, i, 8),
        .status = pg_get_str(rows, i, 9),
        .parked_at_us = pg_get_time(rows, i, 10),
        .leader = pg_get_i64(rows, i, 11),
        .followers = pg_get_i64(rows, i, 12),
    };
}

/* The owner does something with the first of a subject only when it is marked, or was behind another that is gone now:
 * then it may have read the row already, and what it does is not what it is told here. */
bool dlq_mark(struct pg *pg, int64_t id, enum dlq_mark mark, enum dlq_marked *ret, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    struct str status = mark == DLQ_RETRY ? STR("retry") : STR("drop");
    pg_add_i64(&params, id);
    pg_add_text(&params, status);
    if (!pg_exec(pg,
                 "UPDATE decider.parked p SET status = $2 FROM"
                 " (SELECT id, status, behind FROM decider.parked WHERE id = $1 FOR UPDATE) was"
                 " WHERE p.id = was.id RETURNING was.status, was.behind",
                 &params, &rows, err))
        return false;
    if (!pg_rows(rows)) {
        *ret = DLQ_GONE;
        return true;
    }
    struct str before = pg_get_str(rows, 0, 0);
    bool drops = str_eq(before, STR("drop"));
    bool applies = str_eq(before, STR("retry")) || (!drops && pg_get_bool(rows, 0, 1));
    *ret = (mark == DLQ_RETRY ? drops : applies) ? DLQ_MARKED_IN_HAND : DLQ_MARKED;
    return true;
}
