#include "core/domain/reason.h"

struct str reason_slug(enum reason reason) {
    static const struct str slugs[REASON_COUNT] = {
#define X(name, slug) [REASON_##name] = {slug, sizeof(slug) - 1},
        REASONS(X)
#undef X
    };
    return slugs[reason];
}

struct str reason_text(struct arena *arena, const struct str *parts, size_t count) {
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += parts[i].len;
    char *text = arena_alloc(arena, len + 1);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len)
            memcpy(text + at, parts[i].ptr, parts[i].len);
        at += parts[i].len;
    }
    return (struct str){text, len};
}

struct str reason_number(struct arena *arena, int64_t number) {
    enum { DIGITS_MAX = 20 }; /* the sign and 19 digits */
    char *text = arena_alloc(arena, DIGITS_MAX);
    char *at = text + DIGITS_MAX;
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (number < 0)
        *--at = '-';
    return (struct str){at, (size_t)(text + DIGITS_MAX - at)};
}
