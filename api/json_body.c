#include "api/json_body.h"

#include "api/internal.h"
#include "api/percent.h"

#include <inttypes.h>
#include <stdio.h>

enum { SKU_MAX = 64, CARD_DIGITS_MIN = 13, CARD_DIGITS_MAX = 19 };
#define MINOR_MAX INT64_C(1000000000000) /* 999 of 200 lines at this price still fit in an int64 */

/* ---- the body as a whole ---- */

/* The parser recurses; how deep is the caller's to bound. */
static bool depth_is_bounded(struct str text) {
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > BODY_DEPTH_MAX)
                return false;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return true;
}

bool body_parse(struct str text, json_t **ret, struct err *err) {
    json_error_t where;
    if (!depth_is_bounded(text))
        return err_field(err, ERR_INVALID_BODY, "", "The body is nested deeper than %d", BODY_DEPTH_MAX);
    json_t *json = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &where);
    if (!json && json_error_code(&where) == json_error_duplicate_key)
        return err_field(err, ERR_INVALID_BODY, "", "The body has the same key twice, at line %d, column %d",
                         where.line, where.column);
    if (!json && json_error_code(&where) == json_error_numeric_overflow)
        return err_field(err, ERR_INVALID_BODY, "", "The body has a number that is out of range, at line %d, column %d",
                         where.line, where.column);
    if (!json)
        return err_field(err, ERR_INVALID_BODY, "", "The body is not valid JSON at line %d, column %d", where.line,
                         where.column);
    if (!json_is_object(json)) {
        json_decref(json);
        return err_field(err, ERR_INVALID_BODY, "", "The body must be an object");
    }
    *ret = json;
    return true;
}

/* ---- fields ---- */

static void pointer_to(const struct fields *fields, struct str name, struct buf *ret) {
    buf_printf(ret, "%s/", fields->prefix ? fields->prefix : "");
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '~' || name.ptr[i] == '/')
            buf_add_str(ret, name.ptr[i] == '~' ? STR("~0") : STR("~1"));
        else
            buf_add_char(ret, name.ptr[i]);
    }
}

__attribute__((format(printf, 4, 5))) static void wrong(struct fields *fields, const char *name, enum err_kind kind,
                                                        const char *format, ...) {
    BUF_AUTO pointer = {0};
    BUF_AUTO detail = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&detail, format, args);
    va_end(args);
    pointer_to(fields, str_from(name), &pointer);
    err_field(fields->err, kind, pointer.ptr, "%s", detail.ptr);
}

static const json_t *take(struct fields *fields, const char *name) {
    if (fields->taken_count < sizeof fields->taken / sizeof fields->taken[0])
        fields->taken[fields->taken_count++] = name;
    return json_object_get(fields->object, name);
}

static bool is_taken(const struct fields *fields, const char *name) {
    for (size_t i = 0; i < fields->taken_count; i++) {
        if (strcmp(fields->taken[i], name) == 0)
            return true;
    }
    return false;
}

bool fields_end(struct fields *fields) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)fields->object, name, value) { /* only read */
        if (!is_taken(fields, name))
            wrong(fields, name, ERR_INVALID_BODY, "is not known here");
    }
    return fields->err->kind == ERR_NONE;
}

/* ---- text ---- */

bool sku_is_valid(struct str sku) {
    size_t points;
    return text_count(sku, &points) && points >= 1 && points <= SKU_MAX && !memchr(sku.ptr, '/', sku.len) &&
           !str_eq(sku, STR(".")) && !str_eq(sku, STR(".."));
}

static bool luhn_holds(const char *digits, size_t len) {
    int sum = 0;
    for (size_t i = 0; i < len; i++) {
        int digit = digits[len - 1 - i] - '0';
        if (i % 2)
            digit = digit * 2 > 9 ? digit * 2 - 9 : digit * 2;
        sum += digit;
    }
    return sum % 10 == 0;
}

/* Digits with at most single spaces, dots or dashes between. */
static bool has_card_number(struct str text, bool any_checksum) {
    char digits[CARD_DIGITS_MAX + 1];
    size_t run = 0;
    for (size_t i = 0; i <= text.len; i++) {
        char c = i < text.len ? text.ptr[i] : '\0';
        bool separates =
            (c == ' ' || c == '-' || c == '.') && i > 0 && text.ptr[i - 1] >= '0' && text.ptr[i - 1] <= '9';
        if (c >= '0' && c <= '9') {
            if (run <= CARD_DIGITS_MAX)
                digits[run < CARD_DIGITS_MAX ? run : CARD_DIGITS_MAX] = c;
            run++;
        } else if (!separates) {
            if (run >= CARD_DIGITS_MIN && run <= CARD_DIGITS_MAX && (any_checksum || luhn_holds(digits, run)))
                return true;
            run = 0;
        }
    }
    return false;
}

static bool is_token(struct str text) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && !strchr("_-.:", c))
            return false;
    }
    return true;
}

static bool is_email(struct str text) {
    struct str domain;
    struct str local = str_cut(text, '@', &domain);
    for (size_t i = 0; i < text.len; i++) {
        if (strchr(" ,;<>()[]\"\\", text.ptr[i]))
            return false;
    }
    return local.len >= 1 && local.len <= 64 && domain.len >= 1 && !memchr(domain.ptr, '@', domain.len) &&
           domain.ptr[0] != '.' && domain.ptr[domain.len - 1] != '.';
}

static bool is_country(struct str text) {
    return text.len == 2 && text.ptr[0] >= 'A' && text.ptr[0] <= 'Z' && text.ptr[1] >= 'A' && text.ptr[1] <= 'Z';
}

/* What is wrong with it, or NULL. */
static const char *text_fault(enum text_kind kind, struct str text) {
    switch (kind) {
    case TEXT_SKU:
        return sku_is_valid(text) ? NULL : "must be 1 to 64 printable characters without a slash";
    case TEXT_UUID:
        return id_valid(text) ? NULL : "must be a UUID in lower case";
    case TEXT_TOKEN:
        if (has_card_number(text, true))
            return "looks like a card number; send the payment provider's token";
        return is_token(text) ? NULL : "must be the payment provider's token";
    case TEXT_EMAIL:
        return is_email(text) ? NULL : "must be an e-mail address";
    case TEXT_COUNTRY:
        return is_country(text) ? NULL : "must be a country's two capital letters (ISO 3166-1 alpha-2)";
    case TEXT_ADDRESS:
        return has_card_number(text, false) ? "looks like a card number" : NULL;
    case TEXT_LINE:
        break;
    }
    return NULL;
}

void field_text(struct fields *fields, const char *name, struct text_rule rule, struct str *ret) {
    const json_t *value = take(fields, name);
    *ret = STR_NULL;
    if (rule.optional && (!value || json_is_null(value)))
        return;
    if (!json_is_string(value)) {
        wrong(fields, name, ERR_INVALID_BODY, value ? "must be a string" : "is required");
        return;
    }
    struct str text = {json_string_value(value), json_string_length(value)};
    size_t points;
    if (!text_count(text, &points)) {
        wrong(fields, name, ERR_INVALID_BODY, "must not hold control characters");
    } else if (rule.min == rule.max && points != rule.min) {
        wrong(fields, name, ERR_INVALID_BODY, "must have %zu characters", rule.min);
    } else if (points < rule.min || points > rule.max) {
        wrong(fields, name, ERR_INVALID_BODY, "must have %zu to %zu characters", rule.min, rule.max);
    } else {
        const char *fault = text_fault(rule.kind, text);
        if (fault)
            wrong(fields, name, ERR_INVALID_BODY, "%s", fault);
        else
            *ret = text;
    }
}

/* ---- numbers ---- */

void field_integer(struct fields *fields, const char *name, int64_t low, int64_t high, enum err_kind over,
                   int64_t *ret) {
    const json_t *value = take(fields, name);
    *ret = 0;
    if (!json_is_integer(value)) {
        wrong(fields, name, ERR_INVALID_BODY, value ? "must be an integer" : "is required");
        return;
    }
    int64_t number = json_integer_value(value);
    if (number < low)
        wrong(fields, name, ERR_INVALID_BODY, "must be at least %" PRId64, low);
    else if (number > high)
        wrong(fields, name, over, "must be at most %" PRId64, high);
    else
        *ret = number;
}

static bool is_currency(struct str text) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < 'A' || text.ptr[i] > 'Z')
            return false;
    }
    return text.len == 3;
}

static void field_currency(struct fields *fields, struct str currency, struct str *ret) {
    field_text(fields, "currency", (struct text_rule){.kind = TEXT_LINE, .min = 3, .max = 3}, ret);
    if (!ret->ptr)
        return;
    if (!is_currency(*ret))
        wrong(fields, "currency", ERR_INVALID_BODY, "must be three capital letters (ISO 4217)");
    else if (!str_eq(*ret, currency))
        wrong(fields, "currency", ERR_WRONG_CURRENCY, "must be %.*s", STR_ARG(currency));
}

void field_money(struct fields *fields, const char *name, struct str currency, int64_t low, struct money *ret) {
    struct fields money;
    char prefix[64];
    snprintf(prefix, sizeof prefix, "%s/%s", fields->prefix ? fields->prefix : "", name);
    *ret = (struct money){0};
    if (!field_object(fields, name, prefix, &money))
        return;
    field_integer(&money, "minor", low, MINOR_MAX, ERR_INVALID_BODY, &ret->minor);
    field_currency(&money, currency, &ret->currency);
    fields_end(&money);
}

bool field_object(struct fields *fields, const char *name, const char *prefix, struct fields *ret) {
    const json_t *value = take(fields, name);
    if (!json_is_object(value)) {
        wrong(fields, name, ERR_INVALID_BODY, value ? "must be an object" : "is required");
        return false;
    }
    *ret = (struct fields){.object = value, .prefix = prefix, .err = fields->err};
    return true;
}
