/* How `orderlog tail` shows a record: a JSON line, a line of a table, or by a format in the manner of kcat. */
#ifndef ORDERLOG_CLI_TAIL_PRINT_H
#define ORDERLOG_CLI_TAIL_PRINT_H

#include "core/base/arena.h"
#include "core/base/envelope.h"
#include "core/log/log.h"

struct tail_style {
    const char *format; /* NULL: JSON or a table */
    bool json;
    bool hex;       /* show the value's bytes */
    bool whole;     /* JSON: nothing is lost of what is not text: its bytes are told beside it */
    bool color;     /* of the table */
    size_t columns; /* lines of the table are cut here; 0: not at all */
};

/* Whether every % and \ of a format is known; *ret_bad is the first that is not. */
CHECK_RESULT bool tail_format_check(const char *format, char *ret_bad);
/* Appends the record as text. The arena is scratch, and is reset. */
void tail_print(const struct tail_style *style, const struct log_record *record, const struct envelope *envelope,
                struct arena *scratch, struct buf *ret);

/* Its parts, for other commands that show records. */

/* Appends the event as JSON: null for a tombstone, and for what cannot be decoded (then err says why). The arena is
 * scratch, and is reset. */
void tail_add_event(struct buf *ret, const struct log_record *record, struct arena *scratch, struct err *err);
/* Appends the headers as a JSON object. */
void tail_add_headers(struct buf *ret, const struct log_record *record);
/* Appends text that a terminal cannot take for commands. */
void tail_add_printable(struct buf *ret, struct str text);

#endif
