#include "api/percent.h"

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool stands_unescaped(char c) {
    return c > ' ' && c < 0x7F && !strchr("\"<>\\^`{|}#%", c);
}

bool percent_decode(struct arena *arena, struct str text, bool plus_is_space, struct str *ret) {
    char *out = arena_alloc(arena, text.len + 1);
    size_t len = 0, points;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_digit(text.ptr[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_digit(text.ptr[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (!stands_unescaped(c)) {
            return false;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        out[len++] = c;
    }
    *ret = (struct str){out, len};
    return text_count(*ret, &points);
}

/* The length of the well-formed sequence at the start, 0 when there is none (Unicode 15, table 3-7). */
static size_t sequence_len(const unsigned char *s, size_t len, uint32_t *ret_point) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t need = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
    if (need == 0 || len < need)
        return 0;
    uint32_t point = need == 1 ? s[0] : s[0] & (0x7FU >> need);
    for (size_t i = 1; i < need; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
        point = point << 6 | (s[i] & 0x3F);
    }
    if (point < least[need] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF))
        return 0;
    *ret_point = point;
    return need;
}

bool text_count(struct str text, size_t *ret_points) {
    size_t points = 0;
    for (size_t i = 0; i < text.len; points++) {
        uint32_t point = 0;
        size_t len = sequence_len((const unsigned char *)text.ptr + i, text.len - i, &point);
        if (len == 0 || point < 0x20 || (point >= 0x7F && point < 0xA0))
            return false;
        i += len;
    }
    *ret_points = points;
    return true;
}
