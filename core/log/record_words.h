/* Texts that most records carry (topics' names, records' types), by number: record_codec writes the number. */
#ifndef ORDERLOG_LOG_RECORD_WORDS_H
#define ORDERLOG_LOG_RECORD_WORDS_H

#include <stdint.h>

#include "core/base/str.h"

/* 1, 2, 3, …; 0: it is none of them. Any thread. */
uint32_t record_word_find(struct str text);
/* False: there is none of this number. The text is there for ever. */
bool record_word_get(uint64_t number, struct str *ret);

#endif
