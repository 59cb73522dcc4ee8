/* orderlog dlq retry and drop. Marks only; the owners of the shards do it. */
#include "cli/dlq.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/tail_print.h"
#include "core/base/clock.h"

enum { WAIT_POLL_MS = 100 };

/* ---- what it says ---- */

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Subjects and reasons are whatever somebody wrote. */
static void say(const char *format, ...) {
    BUF_AUTO text = {0};
    BUF_AUTO out = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    tail_add_printable(&out, buf_str(&text));
    buf_add_char(&out, '\n');
    cli_print(&out);
    fflush(stdout);
}

/* A view takes nothing back one by one: a rebuild goes over all of the log. */
static int only_by_rebuild(const struct dlq_row *row) {
    struct str rest, store = str_cut(row->place, '/', &rest), view = str_cut(rest, '/', &rest);
    cli_note("%.*s was set aside by a view, which takes back or drops nothing one by one: `orderlog rebuild %.*s/%.*s` "
             "makes it anew and tries all that it has set aside again",
             STR_ARG(row->place), STR_ARG(store), STR_ARG(view));
    return CLI_NO;
}

/* A subject that no decider has parked may be one that views have. */
static int no_such_subject(const struct dlq *dlq) {
    struct dlq_views views;
    struct err err = {0};
    if (!dlq_views_read(dlq->pg, dlq->service, dlq->subject, &views, &err))
        return cli_fail(&err);
    cli_note("no record of subject %s is parked%s%s%s", dlq->subject, dlq->service ? " by " : "",
             dlq->service ? dlq->service : "", views.count ? " by a decider" : "");
    if (views.count)
        only_by_rebuild(&views.rows[0]);
    dlq_views_free(&views);
    return CLI_NO;
}

int dlq_no_such_record(const struct dlq *dlq) {
    if (dlq->id)
        cli_note("there is no parked record %" PRId64 " (see orderlog dlq list)", dlq->id);
    else if (dlq->place.ptr)
        cli_note("no view has set aside %.*s (see orderlog dlq list)", STR_ARG(dlq->place));
    else
        return no_such_subject(dlq);
    return CLI_NO;
}

/* ---- which record ---- */

static int ambiguous(const struct dlq *dlq, const struct pg_result *rows) {
    cli_note("subject %s is parked in %d shards: name one record by its ID, or a service by --service", dlq->subject,
             pg_rows(rows));
    for (int i = 0; i < pg_rows(rows); i++) {
        struct dlq_row row = dlq_row_get(rows, i);
        cli_note("  record %" PRId64 " of %.*s, shard %" PRId64, row.id, STR_ARG(row.service), row.shard);
    }
    return CLI_NO;
}

/* CLI_OK: *ret_rows has one row, the first of its subject. */
static int find_leader(const struct dlq *dlq, struct pg_result **ret_rows) {
    struct err err = {0};
    bool ok = dlq->id ? dlq_find(dlq->pg, dlq->id, ret_rows, &err)
                      : dlq_find_leaders(dlq->pg, dlq->service, dlq->subject, ret_rows, &err);
    if (!ok)
        return cli_fail(&err);
    if (!pg_rows(*ret_rows))
        return dlq_no_such_record(dlq);
    if (pg_rows(*ret_rows) > 1)
        return ambiguous(dlq, *ret_rows);
    struct dlq_row row = dlq_row_get(*ret_rows, 0);
    if (row.leader == row.id)
        return CLI_OK;
    cli_note("record %" PRId64 " is behind record %" PRId64 " of its subject: retry or drop that one first", row.id,
             row.leader);
    return CLI_NO;
}

/* ---- waiting ---- */

static int say_gone(enum dlq_mark mark, int64_t id, bool in_hand) {
    if (in_hand) {
        say("Record %" PRId64 " is not parked any more; the owner may have had it in hand before, so that it may have "
            "been applied or dropped.",
            id);
        return CLI_NO;
    }
    say("Record %" PRId64 " was %s.", id, mark == DLQ_RETRY ? "applied" : "dropped");
    return CLI_OK;
}

/* What came of those that were behind it: decided, or stopped at one that cannot be. */
static int say_followers(const struct dlq *dlq, const struct dlq_row *done, int64_t deadline_us) {
    BUF_AUTO service = {0};
    BUF_AUTO subject = {0};
    buf_add_str(&service, done->service);
    buf_add_str(&subject, done->subject);
    for (;; clock_sleep_ms(WAIT_POLL_MS)) {
        PG_RESULT_AUTO *rows = NULL;
        struct err err = {0};
        if (!dlq_find_leaders(dlq->pg, service.ptr, subject.ptr, &rows, &err))
            return cli_fail(&err);
        struct dlq_row next = {0};
        for (int i = 0; i < pg_rows(rows) && !next.id; i++)
            if (dlq_row_get(rows, i).shard == done->shard)
                next = dlq_row_get(rows, i);
        if (!next.id) {
            say("The %" PRId64 " behind it were decided.", done->followers);
            return CLI_OK;
        }
        if (!next.behind) {
            say("Of those behind it, record %" PRId64 " cannot be decided, and %" PRId64 " are behind that: %.*s",
                next.id, next.followers, STR_ARG(next.reason));
            return CLI_NO;
        }
        if (clock_monotonic_us() >= deadline_us) {
            say("Those behind it are not decided yet.");
            return CLI_NO;
        }
    }
}

static int wait_until_done(const struct dlq *dlq, enum dlq_mark mark, const struct dlq_row *marked, bool in_hand) {
    int64_t deadline_us = clock_monotonic_us() + dlq->wait_seconds * 1000000, id = marked->id;
    for (;; clock_sleep_ms(WAIT_POLL_MS)) {
        PG_RESULT_AUTO *rows = NULL;
        struct err err = {0};
        if (!dlq_find(dlq->pg, id, &rows, &err))
            return cli_fail(&err);
        if (!pg_rows(rows)) {
            int status = say_gone(mark, id, in_hand);
            return status == CLI_OK && marked->followers ? say_followers(dlq, marked, deadline_us) : status;
        }
        struct dlq_row row = dlq_row_get(rows, 0);
        if (str_eq(row.status, STR("parked"))) {
            say("Record %" PRId64 " was parked again: %.*s", id, STR_ARG(row.reason));
            return CLI_NO;
        }
        if (clock_monotonic_us() >= deadline_us)
            break;
    }
    say("Record %" PRId64 " is still marked after %" PRId64 " s: does its decider run, and is its shard not halted?",
        id, dlq->wait_seconds);
    return CLI_NO;
}

/* ---- retry and drop ---- */

/* Whether the operator means it. */
static int confirm(const struct dlq *dlq, const struct dlq_row *row) {
    if (dlq->yes)
        return CLI_OK;
    if (!isatty(STDIN_FILENO))
        return cli_usage_error("drop needs --yes when standard input is no terminal");
    BUF_AUTO question = {0};
    char answer[16];
    buf_printf(&question, "Drop record %" PRId64 " of %.*s (%.*s, partition %" PRId64 ", offset %" PRId64 ")? [y/N] ",
               row->id, STR_ARG(row->service), STR_ARG(row->topic), row->partition, row->offset);
    fputs(question.ptr, stderr);
    if (fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
        return CLI_OK;
    cli_note("nothing was dropped");
    return CLI_NO;
}

static void say_marked(enum dlq_mark mark, const struct dlq_row *row) {
    BUF_AUTO then = {0};
    if (row->followers)
        buf_printf(&then, ", then decides the %" PRId64 " behind it", row->followers);
    say("Record %" PRId64 " of %.*s, shard %" PRId64 ", is marked: within about a second its owner %s%s%s.", row->id,
        STR_ARG(row->service), row->shard, mark == DLQ_RETRY ? "decides it again" : "drops it",
        then.ptr ? then.ptr : "", mark == DLQ_RETRY ? "; if it fails again, it stays parked" : "");
}

static int mark_view_record(const struct dlq *dlq) {
    struct dlq_views views;
    struct err err = {0};
    if (!dlq_views_read(dlq->pg, NULL, NULL, &views, &err))
        return cli_fail(&err);
    const struct dlq_row *row = dlq_views_find(&views, dlq->place);
    int status = row ? only_by_rebuild(row) : dlq_no_such_record(dlq);
    dlq_views_free(&views);
    return status;
}

static int mark_record(struct dlq *dlq, enum dlq_mark mark) {
    PG_RESULT_AUTO *rows = NULL;
    struct err err = {0};
    enum dlq_marked marked;
    if (dlq->place.ptr)
        return mark_view_record(dlq);
    int status = find_leader(dlq, &rows);
    if (status != CLI_OK)
        return status;
    struct dlq_row row = dlq_row_get(rows, 0);
    if (mark == DLQ_DROP && (status = confirm(dlq, &row)) != CLI_OK)
        return status;
    if (!dlq_mark(dlq->pg, row.id, mark, &marked, &err))
        return cli_fail(&err);
    if (marked == DLQ_GONE) {
        cli_note("record %" PRId64 " is not parked any more", row.id);
        return CLI_NO;
    }
    say_marked(mark, &row);
    return dlq->waits ? wait_until_done(dlq, mark, &row, marked == DLQ_MARKED_IN_HAND) : CLI_OK;
}

int dlq_retry_run(struct dlq *dlq) {
    return mark_record(dlq, DLQ_RETRY);
}

int dlq_drop_run(struct dlq *dlq) {
    return mark_record(dlq, DLQ_DROP);
}
