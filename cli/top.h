/* What the files of `orderlog top` share: scrapes of /metrics, what two of them say together, and how it is shown. */
#ifndef ORDERLOG_CLI_TOP_H
#define ORDERLOG_CLI_TOP_H

#include <signal.h>

#include "cli/cli.h"
#include "core/base/arena.h"
#include "core/base/map.h"

/* ---- top_scrape.c: one answer of /metrics ---- */

struct top_sample {
    struct str name;   /* with its labels: "up{store=\"redis\"}"; belongs to the scrape */
    struct str family; /* the name alone */
    struct str labels; /* without the braces */
    double value;
};

struct top_scrape {
    bool answered;
    char why[128]; /* not answered: why */
    int64_t at_us; /* monotonic */
    struct buf text;
    struct top_sample *samples;
    size_t count;
    struct map by_name; /* to struct top_sample */
};

/* Reads the exposition format; false when the text is something else. `text` is taken over. */
CHECK_RESULT bool top_scrape_parse(struct buf *text, struct top_scrape *ret, struct err *err);
void top_scrape_free(struct top_scrape *scrape);
/* A label's value as it is written (escaped); ptr NULL: it has none of this name. */
struct str top_label(const struct top_sample *sample, const char *name);

/* ---- top_fetch.c ---- */

/* One process that is looked at, and what it said the last two times. */
struct top_target {
    const char *name; /* of the process, where it has one; else NULL. Owned, as is url */
    const char *url;
    struct top_scrape before, now;
};

/* True: the user wants no more; what is under way is given up. Called several times a second. */
typedef bool top_interrupted(void *user);
/* Asks all of them at once; what they said the last time becomes `before`. One that does not answer within 2 s is away.
 * `fds` (with their count) are watched while it waits, so that keys are seen at once. */
CHECK_RESULT bool top_fetch(struct top_target *targets, size_t count, const int *fds, size_t fd_count,
                            top_interrupted *interrupted, void *user, struct err *err);

/* ---- top_targets.c: which processes there are ---- */

struct top_targets {
    struct top_target *items;
    size_t count;
    bool given;      /* by --url: no others are looked for */
    const char *run; /* the folder whose NAME.listen say where processes answer; NULL: none. Borrowed */
};

/* `url` is an address, or that of its metrics; name may be NULL. */
void top_targets_add(struct top_targets *targets, struct str name, struct str url);
/* Looks anew at who there is: those that were there keep what they said, those that are gone go. */
void top_targets_refresh(struct top_targets *targets);
void top_targets_free(struct top_targets *targets);

/* ---- top_model.c: what it means ---- */

/* Numbers that are not known are NaN. */
struct top_service {
    struct str name;
    bool view;
    double in_per_s, out_per_s;
    double lag_records, lag_seconds;
    double p50_s, p99_s;
    double outbox_s;
    double parked, halted;
    double shards, running; /* that there are, and that are run by a process that answers */
};

struct top_process {
    const char *name; /* NULL: none */
    const char *url;
    bool answered;
    const char *why;
    struct str version;
    double cpu, memory_bytes, fds, uptime_s; /* cpu: 1 is a whole core */
};

struct top_frame {
    double seconds; /* between the two scrapes; 0: there was only one */
    double requests_per_s, request_p99_s, shed_per_s, in_flight, connections, waiters, streams;
    double commits_per_s, commit_p99_s, log_bytes, disk_free_bytes;
    double postgres_up, redis_up, tables_age_s;
    double postgres_asked, redis_asked; /* processes that tell of it; …_up: those that it answers */
    double payments_open, payments_oldest_s, payments_left, timers_overdue, timers_oldest_s;
    struct top_service *services; /* deciders first, then views */
    size_t service_count;
    struct top_process *processes;
    size_t process_count;
};

/* In the arena; texts are borrowed from the targets. What several processes tell of the same thing is counted once. */
void top_model(const struct top_target *targets, size_t count, struct arena *arena, struct top_frame *ret);

/* ---- top_draw.c ---- */

struct top_style {
    bool color;
    size_t columns; /* 0: as wide as it gets */
    size_t rows;    /* 0: as high as it gets */
};

/* Lines that end in "\n". */
void top_draw(const struct top_frame *frame, const struct top_style *style, const char *heading, struct buf *ret);
void top_draw_json(const struct top_frame *frame, struct buf *ret);

/* ---- top_terminal.c ---- */

/* Takes the terminal: its other screen, no cursor, keys as they are pressed. Signals come by top_terminal_fd. */
struct top_terminal;
CHECK_RESULT bool top_terminal_open(struct top_terminal **ret, struct err *err);
/* As it was. NULL is fine. */
void top_terminal_close(struct top_terminal *terminal);
size_t top_terminal_fds(const struct top_terminal *terminal, int ret[2]);
/* What has come: keys and signals. Does not block. */
enum top_event { TOP_NOTHING, TOP_REDRAW, TOP_QUIT };
enum top_event top_terminal_event(struct top_terminal *terminal);
/* Until something has come, or the time is over. */
void top_terminal_wait(struct top_terminal *terminal, int64_t until_us);
void top_terminal_size(const struct top_terminal *terminal, size_t *ret_columns, size_t *ret_rows);
void top_terminal_show(struct top_terminal *terminal, struct str frame);

#endif
