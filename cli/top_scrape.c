/* Reading Prometheus' text format, version 0.0.4, as orderlog writes it: no escapes in label names, one line a sample.
 */
#include "cli/top.h"

#include <stdlib.h>

static bool is_name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == ':';
}

/* Where the labels end: a brace may also be inside of a value. 0: they do not end. */
static size_t labels_length(struct str text) {
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++) {
        if (quoted && text.ptr[i] == '\\')
            i++;
        else if (text.ptr[i] == '"')
            quoted = !quoted;
        else if (!quoted && text.ptr[i] == '}')
            return i + 1;
    }
    return 0;
}

static bool sample_parse(struct str line, struct top_sample *ret) {
    size_t name = 0;
    while (name < line.len && is_name_char(line.ptr[name]))
        name++;
    if (!name)
        return false;
    size_t end = name;
    ret->labels = STR("");
    if (name < line.len && line.ptr[name] == '{') {
        size_t labels = labels_length((struct str){line.ptr + name, line.len - name});
        if (!labels)
            return false;
        ret->labels = (struct str){line.ptr + name + 1, labels - 2};
        end += labels;
    }
    ret->family = (struct str){line.ptr, name};
    ret->name = (struct str){line.ptr, end};
    if (end + 1 >= line.len || line.ptr[end] != ' ')
        return false;
    char *rest;
    ret->value = strtod(line.ptr + end + 1, &rest); /* the whole text ends in a zero byte */
    return rest == line.ptr + line.len || *rest == ' ';
}

bool top_scrape_parse(struct buf *text, struct top_scrape *ret, struct err *err) {
    struct top_scrape scrape = {.answered = true};
    size_t cap = 0;
    for (struct str rest = buf_str(text); rest.len;) {
        struct str line = str_cut(rest, '\n', &rest);
        struct top_sample sample;
        if (!line.len || line.ptr[0] == '#')
            continue;
        if (!sample_parse(line, &sample)) {
            top_scrape_free(&scrape);
            return err_set(err, ERR_INVALID_BODY, "what it answers are no metrics");
        }
        if (scrape.count == cap)
            scrape.samples = mem_realloc(scrape.samples, (cap = cap ? cap * 2 : 256) * sizeof *scrape.samples);
        scrape.samples[scrape.count++] = sample;
    }
    for (size_t i = 0; i < scrape.count; i++)
        *map_put(&scrape.by_name, scrape.samples[i].name) = &scrape.samples[i];
    scrape.text = *text;
    *text = (struct buf){0};
    *ret = scrape;
    return true;
}

void top_scrape_free(struct top_scrape *scrape) {
    buf_free(&scrape->text);
    free(scrape->samples);
    map_free(&scrape->by_name, NULL);
    *scrape = (struct top_scrape){0};
}

struct str top_label(const struct top_sample *sample, const char *name) {
    size_t len = strlen(name);
    struct str rest = sample->labels;
    while (rest.len) {
        const char *equals = memchr(rest.ptr, '=', rest.len);
        if (!equals || equals + 2 > rest.ptr + rest.len || equals[1] != '"')
            return STR_NULL;
        struct str key = {rest.ptr, (size_t)(equals - rest.ptr)};
        const char *value = equals + 2, *end = value;
        while (end < rest.ptr + rest.len && *end != '"')
            end += *end == '\\' ? 2 : 1;
        if (end >= rest.ptr + rest.len)
            return STR_NULL;
        if (key.len == len && memcmp(key.ptr, name, len) == 0)
            return (struct str){value, (size_t)(end - value)};
        size_t used = (size_t)(end + 1 - rest.ptr);
        rest = (struct str){end + 1, rest.len - used};
        if (rest.len && rest.ptr[0] == ',')
            rest = (struct str){rest.ptr + 1, rest.len - 1};
    }
    return STR_NULL;
}
