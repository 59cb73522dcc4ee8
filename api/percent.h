/* Percent-encoded text of paths and queries (RFC 3986), read strictly. */
#ifndef ORDERLOG_API_PERCENT_H
#define ORDERLOG_API_PERCENT_H

#include "core/base/arena.h"

/* False: a broken escape, a character that may not stand unescaped, or what comes out is not UTF-8 or holds control
 * characters. `plus_is_space`: as HTML forms write queries. The result is in the arena. */
bool percent_decode(struct arena *arena, struct str text, bool plus_is_space, struct str *ret);

/* The code points of a UTF-8 text; false when it is not one (overlong forms and surrogates are not), or holds control
 * characters (C0, DEL, C1). */
bool text_count(struct str text, size_t *ret_points);

#endif
