/* Inside of `orderlog rebuild`: what rebuild.c (what to do) and rebuild_print.c (what is shown) share. */
#ifndef ORDERLOG_CLI_REBUILD_H
#define ORDERLOG_CLI_REBUILD_H

#include "cli/cli.h"
#include "cli/rebuild_decider.h"

enum { REBUILD_MODELS_MAX = 16 };

struct rebuild_shown {
    struct rebuild_shown *next;
    char *table, *key, *what; /* owned */
};

struct rebuild_model {
    char name[64];                      /* "postgres/orders" */
    const struct generation_ops *store; /* NULL: a decider's tables */
    const struct fold_service *service;
    const struct view *chosen[VIEW_COUNT];
    const struct view *const *views; /* chosen */
    size_t view_count;
    bool done;
    struct rebuild_report report;
    struct rebuild_shown *shown, **shown_end;
    int64_t shown_count;
};

struct rebuild_cli {
    struct rebuild_model models[REBUILD_MODELS_MAX];
    size_t model_count;
    struct rebuild_model *running;
    bool diff;
    int64_t show;
    int64_t memory_mib;
    enum cli_output output;
    struct log *log;
    struct shop shop;
    struct buf made_by;
    int64_t phase_begun_us, shown_at_us; /* of the progress */
    enum rebuild_phase phase;
    bool line_is_open;
};

/* On standard error, a few times a second, if that is a terminal. */
void rebuild_show_progress(struct rebuild_cli *cli, enum rebuild_phase phase, int64_t done, int64_t total);
void rebuild_clear_progress(struct rebuild_cli *cli);
void rebuild_keep_difference(struct rebuild_model *model, const struct generation_difference *difference);
/* Of those that were done. */
void rebuild_report_all(const struct rebuild_cli *cli);
void rebuild_model_free(struct rebuild_model *model);

#endif
