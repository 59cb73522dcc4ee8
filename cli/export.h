/* The parts of `orderlog export`. Main thread only. */
#ifndef ORDERLOG_CLI_EXPORT_H
#define ORDERLOG_CLI_EXPORT_H

#include "cli/tail_start.h"
#include "core/base/arena.h"
#include "core/base/envelope.h"
#include "core/log/log.h"

/* ---- export_options.c: the command line ---- */

enum export_format { EXPORT_AUTO, EXPORT_JSON, EXPORT_AVRO };

struct export_options {
    struct str *topics; /* none: all but the personal one */
    size_t topic_count;
    int64_t partition; /* -1: all */
    struct tail_start start;
    int64_t until; /* -1: to the end */
    bool raw;
    const char *out;
    enum export_format format; /* EXPORT_AUTO no more */
    bool deflate;
    bool codec_is_given;
    bool force;
};

/* False when it is wrong, having complained. Texts are borrowed from argv. */
CHECK_RESULT bool export_options_parse(struct export_options *ret, int argc, char **argv);
void export_options_free(struct export_options *given);

/* ---- export_file.c: a file that is there whole, or not at all ---- */

struct export_file;

/* What is written goes to a hidden file beside `path` (".NAME.PID.part"). "-" is standard output; there, in devices and
 * in pipes nothing can be taken back. ERR_USAGE when the file is there already, unless `force`. Copies the path. */
CHECK_RESULT bool export_file_open(const char *path, bool force, struct export_file **ret, struct err *err);
/* A signal that is caught ends it, too: a pipe may never take more. */
CHECK_RESULT bool export_file_write(struct export_file *file, struct str bytes, struct err *err);
/* Brings it to the disk; then only the name is missing. */
CHECK_RESULT bool export_file_sync(struct export_file *file, struct err *err);
/* Gives it its name. */
CHECK_RESULT bool export_file_publish(struct export_file *file, struct err *err);
int64_t export_file_bytes(const struct export_file *file);
/* Removes what was not published. NULL is fine. */
void export_file_close(struct export_file *file);

/* ---- export_avro.c: Avro object container files (Avro 1.11 specification, "Object Container Files") ---- */

struct export_avro;

/* Writes the header. `range` is told in the file's metadata. Equal records and range give equal bytes. Borrows the
 * file. */
CHECK_RESULT bool export_avro_open(struct export_file *file, struct str topic, struct str range, bool deflate,
                                   struct export_avro **ret, struct err *err);
CHECK_RESULT bool export_avro_add(struct export_avro *avro, const struct log_record *record,
                                  const struct envelope *envelope, struct err *err);
/* Writes what is left. */
CHECK_RESULT bool export_avro_finish(struct export_avro *avro, struct err *err);
void export_avro_close(struct export_avro *avro); /* NULL is fine */

#endif
