/* Bodies read strictly: every field has a type and limits, unknown ones are refused, and each wrong one is named by a
 * JSON pointer in the error, several at once. */
#ifndef ORDERLOG_API_JSON_BODY_H
#define ORDERLOG_API_JSON_BODY_H

#include "core/base/err.h"
#include "gen/types.h"

#include <jansson.h>

/* An object being read. Fields fill *err and go on; ask err->kind at the end. */
struct fields {
    const json_t *object;
    const char *prefix; /* JSON pointer of the object, NULL: the body */
    struct err *err;
    const char *taken[16];
    size_t taken_count;
};

/* Refuses what is not one JSON object: duplicate keys, depth over BODY_DEPTH_MAX, zero bytes, text that is not UTF-8.
 */
CHECK_RESULT bool body_parse(struct str text, json_t **ret, struct err *err);

enum text_kind {
    TEXT_LINE,    /* any text without control characters */
    TEXT_SKU,     /* field_check_sku */
    TEXT_UUID,    /* lower case */
    TEXT_TOKEN,   /* a payment provider's token: letters, digits and _ - . : but nothing like a card number */
    TEXT_EMAIL,   /* something@something */
    TEXT_ADDRESS, /* a line of an address: as TEXT_LINE, but no card number */
    TEXT_COUNTRY, /* two capitals */
};

struct text_rule {
    enum text_kind kind;
    size_t min, max; /* characters */
    bool optional;   /* when left out or null, *ret is STR_NULL */
};

/* Borrowed from the object. On failure *ret is STR_NULL. */
void field_text(struct fields *fields, const char *name, struct text_rule rule, struct str *ret);
/* An integer; 1.0 is none. `over` is the kind of a number that is too large. */
void field_integer(struct fields *fields, const char *name, int64_t low, int64_t high, enum err_kind over,
                   int64_t *ret);
/* {"minor": …, "currency": …} of the shop's currency. */
void field_money(struct fields *fields, const char *name, struct str currency, int64_t low, struct money *ret);
/* An object within: false when it is missing or something else. Read it to its fields_end. `name` must live as long. */
CHECK_RESULT bool field_object(struct fields *fields, const char *name, const char *prefix, struct fields *ret);
/* Refuses the fields that were not asked for. True when there is no error at all. */
bool fields_end(struct fields *fields);

/* 1 to 64 printable characters without slash; not "." or "..", which clients drop from paths. */
bool sku_is_valid(struct str sku);

#endif
