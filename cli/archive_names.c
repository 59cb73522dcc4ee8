#include "cli/archive.h"

#include "core/base/clock.h"
#include "core/base/url.h"
#include "producers/topics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { PREFIX_MAX = 512 };

int64_t archive_hour_of(int64_t time_us) {
    const int64_t hour_us = INT64_C(3600) * 1000 * 1000;
    return time_us >= 0 ? time_us / hour_us : -((-time_us + hour_us - 1) / hour_us);
}

bool archive_takes(struct str topic) {
    return !str_eq(topic, STR(TOPIC_PERSONAL)) && !str_eq(topic, STR(TOPIC_PERSONAL TOPIC_DEAD_LETTER_SUFFIX));
}

/* ---- names ---- */

void archive_name_add(struct buf *ret, struct str prefix, const struct archive_name *name) {
    time_t seconds = (time_t)(name->hour * 3600);
    struct tm tm;
    char when[32];
    gmtime_r(&seconds, &tm);
    strftime(when, sizeof when, "date=%Y-%m-%d/hour=%H", &tm);
    buf_printf(ret, "%.*stopic=%.*s/%s/%05d-%020" PRId64 ".avro", STR_ARG(prefix), STR_ARG(name->topic), when,
               name->partition, name->first);
}

static bool take_part(struct str *rest, struct str begin, char end, struct str *ret) {
    if (!str_starts_with(*rest, begin))
        return false;
    struct str part = {rest->ptr + begin.len, rest->len - begin.len};
    *ret = str_cut(part, end, rest);
    return rest->ptr != NULL;
}

/* What it would be called with these parts must be what it is called. */
bool archive_name_parse(struct str prefix, struct str key, struct archive_name *ret) {
    struct str rest = key, topic, date, hour, partition, first;
    int64_t number, offset, day_us;
    if (!str_starts_with(key, prefix))
        return false;
    rest = (struct str){key.ptr + prefix.len, key.len - prefix.len};
    if (!take_part(&rest, STR("topic="), '/', &topic) || !take_part(&rest, STR("date="), '/', &date) ||
        !take_part(&rest, STR("hour="), '/', &hour) || !take_part(&rest, STR(""), '-', &partition) ||
        !take_part(&rest, STR(""), '.', &first) || date.len != 10 || hour.len != 2 || !str_to_i64(partition, &number) ||
        number < 0 || number > INT32_MAX || !str_to_i64(first, &offset) || offset < 0)
        return false;
    BUF_AUTO text = {0};
    buf_printf(&text, "%.*sT%.*s:00:00Z", STR_ARG(date), STR_ARG(hour));
    if (!clock_parse(buf_str(&text), &day_us))
        return false;
    *ret = (struct archive_name){topic, (int32_t)number, offset, archive_hour_of(day_us)};
    buf_reset(&text);
    archive_name_add(&text, prefix, ret);
    return str_eq(buf_str(&text), key);
}

/* ---- the place ---- */

static bool prefix_valid(struct str prefix) {
    for (size_t i = 0; i < prefix.len; i++) {
        char c = prefix.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-_.=/", c)))
            return false;
    }
    return prefix.len <= PREFIX_MAX && !str_starts_with(prefix, STR("/"));
}

bool archive_place_open(const char *url, struct archive_place *ret, struct err *err) {
    struct str scheme = STR("s3://"), rest = str_from(url), prefix;
    if (!str_starts_with(rest, scheme) || strchr(url, '@'))
        return err_set(err, ERR_USAGE, "'%s' is not s3://BUCKET/PREFIX", url_show(url).text);
    rest = (struct str){rest.ptr + scheme.len, rest.len - scheme.len};
    struct str bucket = str_cut(rest, '/', &prefix);
    if (!prefix_valid(prefix))
        return err_set(err, ERR_USAGE, "the prefix of '%s' may have letters, digits and -_.=/ only",
                       url_show(url).text);
    struct s3 *s3;
    if (!s3_open(bucket, &s3, err))
        return false;
    struct buf text = {0};
    buf_add_str(&text, prefix);
    if (text.len && text.ptr[text.len - 1] != '/')
        buf_add_char(&text, '/');
    *ret = (struct archive_place){s3, {mem_strdup(buf_str(&text)), text.len}};
    buf_free(&text);
    return true;
}

void archive_place_close(struct archive_place *place) {
    s3_close(place->s3);
    free((char *)place->prefix.ptr);
}

/* ---- listings ---- */

struct listing_job {
    const struct archive_place *place;
    struct archive_listing *listing;
};

static bool object_add(void *user, struct str key, int64_t bytes, struct err *err) {
    (void)err;
    struct listing_job *job = user;
    struct archive_listing *listing = job->listing;
    char *copy = mem_strdup(key);
    struct archive_object object = {.key = {copy, key.len}, .bytes = bytes};
    if (!archive_name_parse(job->place->prefix, object.key, &object.name)) {
        listing->strangers =
            mem_realloc(listing->strangers, (listing->stranger_count + 1) * sizeof *listing->strangers);
        listing->strangers[listing->stranger_count++] = copy;
        return true;
    }
    if (listing->count == listing->cap) {
        listing->cap = listing->cap ? 2 * listing->cap : 256;
        listing->objects = mem_realloc(listing->objects, listing->cap * sizeof *listing->objects);
    }
    listing->objects[listing->count++] = object;
    return true;
}

static int by_place(const void *a, const void *b) {
    const struct archive_name *x = &((const struct archive_object *)a)->name,
                              *y = &((const struct archive_object *)b)->name;
    int order = str_cmp(x->topic, y->topic);
    if (order)
        return order;
    if (x->partition != y->partition)
        return x->partition < y->partition ? -1 : 1;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return (x->hour > y->hour) - (x->hour < y->hour);
}

bool archive_list(const struct archive_place *place, struct archive_listing *ret, struct err *err) {
    struct listing_job job = {place, ret};
    BUF_AUTO prefix = {0};
    buf_printf(&prefix, "%.*stopic=", STR_ARG(place->prefix));
    if (!s3_list(place->s3, buf_str(&prefix), object_add, &job, err))
        return false;
    if (ret->count)
        qsort(ret->objects, ret->count, sizeof *ret->objects, by_place);
    return true;
}

void archive_listing_free(struct archive_listing *listing) {
    for (size_t i = 0; i < listing->count; i++)
        free((char *)listing->objects[i].key.ptr);
    for (size_t i = 0; i < listing->stranger_count; i++)
        free(listing->strangers[i]);
    free(listing->objects);
    free(listing->strangers);
}

size_t archive_listing_next(const struct archive_listing *listing, size_t from) {
    const struct archive_name *name = &listing->objects[from].name;
    size_t next = from + 1;
    while (next < listing->count && listing->objects[next].name.partition == name->partition &&
           str_eq(listing->objects[next].name.topic, name->topic))
        next++;
    return next;
}
