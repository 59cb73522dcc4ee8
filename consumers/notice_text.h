/* What a notice says: subject, plain text and HTML, in English, amounts in the currency's own format. No I/O; any
 * thread. All that comes from outside (products' names) is escaped in the HTML, and cannot begin a line of its own in
 * the text. */
#ifndef ORDERLOG_CONSUMERS_NOTICE_TEXT_H
#define ORDERLOG_CONSUMERS_NOTICE_TEXT_H

#include "gen/types.h"

struct notice_text {
    struct buf subject; /* ASCII but for the shop's name; one line */
    struct buf text;    /* UTF-8, lines end in \n */
    struct buf html;
};

/* False: there is no such template. *ret is all-zero at first, and the caller's to free. */
bool notice_text_make(const struct intent_send_notice *notice, struct str shop, struct notice_text *ret);
void notice_text_free(struct notice_text *text);
#define NOTICE_TEXT_AUTO __attribute__((cleanup(notice_text_free))) struct notice_text

/* $1,234.50 · €12.00 · ¥500 · KWD 1.250: as many decimals as ISO 4217 gives the currency. */
void notice_text_add_money(struct buf *ret, int64_t minor, struct str currency);

#endif
