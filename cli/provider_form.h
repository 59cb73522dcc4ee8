/* Parameters as HTML forms send them (application/x-www-form-urlencoded): a=1&b%5Bc%5D=two+words */
#ifndef ORDERLOG_CLI_PROVIDER_FORM_H
#define ORDERLOG_CLI_PROVIDER_FORM_H

#include "core/base/arena.h"

struct form_field {
    struct str name;
    struct str value;
};

struct form {
    struct form_field *fields;
    size_t count;
};

/* Everything is in the arena. Never fails: a % without two hex digits stands for itself, as in browsers. */
struct form form_parse(struct str text, struct arena *arena);
/* The first value of this name; ptr NULL when there is none. */
struct str form_get(const struct form *form, struct str name);

#endif
