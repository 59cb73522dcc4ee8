/* orderlog export: a stretch of the log as files for analysts' tools. */
#include "cli/cli.h"
#include "cli/export.h"
#include "cli/reader.h"
#include "cli/sequences.h"
#include "cli/tail_print.h"
#include "core/base/clock.h"
#include "core/log/envelope.h"
#include "gen/types.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOK_BACK = 10000, FLUSH_BYTES = 256 * 1024, PROGRESS_US = 200 * 1000 };

/* A file that is being written, of one topic or (topic.ptr NULL) of all. */
struct output {
    struct str topic;
    struct export_file *file;
    struct export_avro *avro; /* NULL: JSON lines */
    struct buf lines;
};

struct export {
    struct export_options options;
    struct log *log;
    struct reader_range *ranges;
    size_t range_count;
    struct sequences sequences;
    struct arena scratch;
    struct output *outputs;
    size_t output_count;
    int64_t total, taken, duplicates;
    int64_t begun_us, said_us;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number) {
    (void)number;
    interrupted = 1;
}

/* ---- which partitions ---- */

static bool range_is_wanted(const struct export *export, const struct reader_range *range) {
    return (export->options.partition < 0 || range->partition == export->options.partition) &&
           !str_eq(range->topic, STR(TOPIC_PERSONAL));
}

static bool range_cut(const struct export *export, struct reader_range *range, struct err *err) {
    if (!tail_start_apply(&export->options.start, export->log, range, err))
        return false;
    if (export->options.until >= 0 && export->options.until < range->to)
        range->to = export->options.until < range->from ? range->from : export->options.until;
    return true;
}

static bool ranges_choose(struct export *export, struct err *err) {
    size_t count, kept = 0;
    if (!reader_ranges(export->log, export->options.topics, export->options.topic_count, &export->ranges, &count, err))
        return false;
    for (size_t i = 0; i < count; i++)
        if (range_is_wanted(export, &export->ranges[i]))
            export->ranges[kept++] = export->ranges[i];
    export->range_count = kept;
    if (!kept)
        return export->options.partition < 0
                   ? err_set(err, ERR_NOT_FOUND, "the log has no topics")
                   : err_set(err, ERR_NOT_FOUND, "no topic here has a partition %" PRId64, export->options.partition);
    for (size_t i = 0; i < kept; i++) {
        if (!range_cut(export, &export->ranges[i], err))
            return false;
        export->total += export->ranges[i].to - export->ranges[i].from;
    }
    return true;
}

/* A duplicate at the beginning of a range is one of a record before it: so what came there is looked at, too. */
static bool look_back(struct export *export, struct err *err) {
    struct reader_range *before = mem_alloc(export->range_count * sizeof *before);
    struct reader *reader = NULL;
    const struct log_record *record = NULL;
    bool ok = true;
    for (size_t i = 0; ok && i < export->range_count; i++) {
        int64_t low, high;
        before[i] = export->ranges[i];
        ok = log_watermarks(export->log, before[i].topic, before[i].partition, &low, &high, err);
        before[i].to = before[i].from;
        before[i].from = before[i].to - LOOK_BACK > low ? before[i].to - LOOK_BACK : low;
    }
    ok = ok && reader_open(export->log, before, export->range_count, &reader, err);
    while (ok && !interrupted && (ok = reader_next(reader, &record, err)) && record) {
        struct envelope envelope;
        int64_t last;
        if (envelope_read(record, &envelope, NULL))
            sequences_take(&export->sequences, &envelope, &last);
    }
    reader_close(reader);
    free(before);
    return ok;
}

/* ---- files ---- */

static bool out_is_folder(const struct export *export) {
    struct stat found;
    return str_ends_with(str_from(export->options.out), STR("/")) ||
           (stat(export->options.out, &found) == 0 && S_ISDIR(found.st_mode));
}

/* "0:12-40,1:0-7": what of each partition of a topic (NULL: any) is in the file; behind the dash the first that is not.
 */
static void range_text(const struct export *export, struct str topic, struct buf *ret) {
    for (size_t i = 0; i < export->range_count; i++) {
        const struct reader_range *range = &export->ranges[i];
        if (str_eq(range->topic, topic))
            buf_printf(ret, "%s%d:%" PRId64 "-%" PRId64, ret->len ? "," : "", range->partition, range->from, range->to);
    }
}

static bool output_open(struct export *export, const char *path, struct str topic, struct err *err) {
    struct output *output = &export->outputs[export->output_count++];
    BUF_AUTO range = {0};
    output->topic = topic;
    if (!export_file_open(path, export->options.force, &output->file, err))
        return false;
    if (export->options.format != EXPORT_AVRO)
        return true;
    struct str only = topic.ptr ? topic : export->ranges[0].topic;
    range_text(export, only, &range);
    return export_avro_open(output->file, only, buf_str(&range), export->options.deflate, &output->avro, err);
}

static bool outputs_open_folder(struct export *export, struct err *err) {
    for (size_t i = 0; i < export->range_count; i++) {
        struct str topic = export->ranges[i].topic;
        BUF_AUTO path = {0};
        if (i && str_eq(export->ranges[i - 1].topic, topic))
            continue;
        buf_printf(&path, "%s/%.*s.%s", export->options.out, STR_ARG(topic),
                   export->options.format == EXPORT_AVRO ? "avro" : "jsonl");
        if (!output_open(export, path.ptr, topic, err))
            return false;
    }
    return true;
}

static bool outputs_open(struct export *export, struct err *err) {
    export->outputs = mem_zalloc(export->range_count * sizeof *export->outputs);
    if (out_is_folder(export))
        return outputs_open_folder(export, err);
    for (size_t i = 1; export->options.format == EXPORT_AVRO && i < export->range_count; i++)
        if (!str_eq(export->ranges[i].topic, export->ranges[0].topic))
            return err_set(err, ERR_USAGE, "an Avro file holds one topic: give one by -t, or a folder by -O");
    return output_open(export, export->options.out, STR_NULL, err);
}

static bool output_flush(struct output *output, struct err *err) {
    bool ok = export_file_write(output->file, buf_str(&output->lines), err);
    buf_reset(&output->lines);
    return ok;
}

/* All are on the disk before the first gets its name. */
static bool outputs_finish(struct export *export, struct err *err) {
    bool ok = true;
    for (size_t i = 0; ok && i < export->output_count; i++) {
        struct output *output = &export->outputs[i];
        ok = (output->avro ? export_avro_finish(output->avro, err) : output_flush(output, err)) &&
             export_file_sync(output->file, err);
    }
    for (size_t i = 0; ok && i < export->output_count; i++)
        ok = export_file_publish(export->outputs[i].file, err);
    return ok;
}

static int64_t outputs_close(struct export *export) {
    int64_t bytes = 0;
    for (size_t i = 0; i < export->output_count; i++) {
        struct output *output = &export->outputs[i];
        bytes += output->file ? export_file_bytes(output->file) : 0;
        export_avro_close(output->avro);
        export_file_close(output->file);
        buf_free(&output->lines);
    }
    free(export->outputs);
    return bytes;
}

/* ---- records ---- */

static struct output *output_of(struct export *export, struct str topic) {
    struct output *output = export->outputs;
    while (output->topic.ptr && !str_eq(output->topic, topic))
        output++;
    return output;
}

static bool record_add(struct export *export, const struct log_record *record, struct err *err) {
    static const struct tail_style style = {.json = true, .whole = true};
    struct envelope envelope;
    int64_t last;
    /* What its headers say is told as far as it could be read, also when they are not whole. */
    bool whole = envelope_read(record, &envelope, NULL);
    export->taken++;
    if (whole && !export->options.raw && sequences_take(&export->sequences, &envelope, &last) == SEQUENCE_DUPLICATE) {
        export->duplicates++;
        return true;
    }
    struct output *output = output_of(export, record->topic);
    if (output->avro)
        return export_avro_add(output->avro, record, &envelope, err);
    tail_print(&style, record, &envelope, &export->scratch, &output->lines);
    return output->lines.len < FLUSH_BYTES || output_flush(output, err);
}

static void progress_show(struct export *export, bool last) {
    int64_t now_us = clock_monotonic_us();
    bool in_the_way = strcmp(export->options.out, "-") == 0 && isatty(STDOUT_FILENO);
    if (!isatty(STDERR_FILENO) || in_the_way || (!last && now_us - export->said_us < PROGRESS_US))
        return;
    export->said_us = now_us;
    double seconds = (double)(now_us - export->begun_us) / 1e6, rate = (double)export->taken / (seconds + 1e-9);
    fprintf(stderr, "\r%" PRId64 " of %" PRId64 " records, %.0f/s, %.0f s to go \033[K%s", export->taken, export->total,
            rate, (double)(export->total - export->taken) / (rate + 1e-9), last ? "\r\033[K" : "");
}

static bool records_write(struct export *export, struct err *err) {
    struct reader *reader;
    const struct log_record *record = NULL;
    if (!reader_open(export->log, export->ranges, export->range_count, &reader, err))
        return false;
    bool ok = true;
    while (ok && !interrupted && (ok = reader_next(reader, &record, err)) && record) {
        ok = record_add(export, record, err);
        if (export->taken % 1024 == 0)
            progress_show(export, false);
    }
    progress_show(export, true);
    reader_close(reader);
    return ok;
}

static bool export_run(struct export *export, struct err *err) {
    CLI_LOG_AUTO *log = NULL;
    if (!cli_log_open(&log, err))
        return false;
    export->log = log;
    return ranges_choose(export, err) && outputs_open(export, err) && (export->options.raw || look_back(export, err)) &&
           records_write(export, err) && (interrupted || outputs_finish(export, err));
}

static void say_done(const struct export *export, int64_t bytes) {
    int64_t written = export->taken - export->duplicates;
    double seconds = (double)(clock_monotonic_us() - export->begun_us) / 1e6;
    cli_note("%" PRId64 " records, %" PRId64 " bytes, in %.2f s (%.0f records/s); %" PRId64 " duplicates left out",
             written, bytes, seconds, (double)export->taken / (seconds + 1e-9), export->duplicates);
}

/* A signal ends it between two records, and takes back what was not finished; a file that may not grow is an error like
 * a full disk. */
static void signals_catch(void) {
    struct sigaction action = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    sigaction(SIGXFSZ, &ignore, NULL);
}

int export_main(int argc, char **argv) {
    struct export export = {0};
    struct err err = {0};
    arena_init(&export.scratch);
    int status = CLI_USAGE;
    if (export_options_parse(&export.options, argc, argv)) {
        signals_catch();
        export.begun_us = clock_monotonic_us();
        bool ok = export_run(&export, &err);
        status = interrupted ? CLI_NO : ok ? CLI_OK : cli_fail(&err);
    }
    int64_t bytes = outputs_close(&export);
    if (status == CLI_OK)
        say_done(&export, bytes);
    else if (status == CLI_NO)
        cli_note("interrupted: nothing was written");
    sequences_free(&export.sequences);
    arena_free(&export.scratch);
    free(export.ranges);
    export_options_free(&export.options);
    return status;
}
