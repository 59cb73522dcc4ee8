#include "cli/provider_form.h"

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static struct str form_decode(struct str text, struct arena *arena) {
    char *out = arena_alloc(arena, text.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        bool escaped = text.ptr[i] == '%' && i + 2 < text.len && hex_digit(text.ptr[i + 1]) >= 0 &&
                       hex_digit(text.ptr[i + 2]) >= 0;
        if (escaped) {
            out[len++] = (char)(hex_digit(text.ptr[i + 1]) << 4 | hex_digit(text.ptr[i + 2]));
            i += 2;
        } else {
            out[len++] = text.ptr[i] == '+' ? ' ' : text.ptr[i];
        }
    }
    return (struct str){out, len};
}

struct form form_parse(struct str text, struct arena *arena) {
    size_t max = 1;
    for (size_t i = 0; i < text.len; i++)
        max += text.ptr[i] == '&';
    struct form form = {.fields = arena_array(arena, struct form_field, max)};
    for (struct str rest = text; rest.ptr;) {
        struct str value, pair = str_cut(rest, '&', &rest);
        if (!pair.len)
            continue;
        struct str name = str_cut(pair, '=', &value);
        form.fields[form.count++] =
            (struct form_field){form_decode(name, arena), form_decode(value.ptr ? value : STR(""), arena)};
    }
    return form;
}

struct str form_get(const struct form *form, struct str name) {
    for (size_t i = 0; i < form->count; i++)
        if (str_eq(form->fields[i].name, name))
            return form->fields[i].value;
    return STR_NULL;
}
