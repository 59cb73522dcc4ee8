/* What a log's topics are: PREFIX/topics/T, one small object for each, written before anything of the topic. Stores
 * keep the ids of the log and of its topics beside their positions, so a restored log must have the same ones. */
#include "cli/archive.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

enum { TOPIC_OBJECT_MAX = 4096 };

static void key_add(struct buf *ret, const struct archive_place *place, struct str topic) {
    buf_printf(ret, "%.*stopics/%.*s", STR_ARG(place->prefix), STR_ARG(topic));
}

static void body_add(struct buf *ret, struct log *log, const struct log_topic *topic) {
    struct str id = log_id(log);
    buf_printf(ret, "{\"log_id\":");
    buf_add_json_string(ret, id);
    buf_printf(ret, ",\"topic\":");
    buf_add_json_string(ret, topic->name);
    buf_printf(ret, ",\"topic_id\":");
    buf_add_json_string(ret, topic->id);
    buf_printf(ret, ",\"partitions\":%d}\n", topic->partitions);
}

bool archive_topic_tell(const struct archive_place *place, struct log *log, const struct log_topic *topic,
                        struct err *err) {
    BUF_AUTO key = {0};
    BUF_AUTO body = {0};
    BUF_AUTO held = {0};
    enum s3_written written;
    key_add(&key, place, topic->name);
    body_add(&body, log, topic);
    if (!s3_put_new(place->s3, buf_str(&key), buf_str(&body), &written, err))
        return false;
    if (written == S3_WRITTEN)
        return true;
    if (!s3_get(place->s3, buf_str(&key), 0, TOPIC_OBJECT_MAX, &held, err))
        return false;
    return str_eq(buf_str(&held), buf_str(&body)) ||
           err_set(err, ERR_CONFIG, "%s: it is another log's archive: it says %.*s, and this log %.*s", key.ptr,
                   (int)(held.len ? held.len - 1 : 0), held.ptr ? held.ptr : "", (int)body.len - 1, body.ptr);
}

/* ---- reading ---- */

struct topics_job {
    const struct archive_place *place;
    struct archive_topics *topics;
};

static char *text_of(const json_t *json, const char *name) {
    const char *text = json_string_value(json_object_get(json, name));
    return text ? mem_strdup(str_from(text)) : NULL;
}

static bool topic_read(void *user, struct str key, int64_t bytes, struct err *err) {
    struct topics_job *job = user;
    struct archive_topics *topics = job->topics;
    BUF_AUTO body = {0};
    BUF_AUTO expected = {0};
    if (bytes > TOPIC_OBJECT_MAX || !s3_get(job->place->s3, key, 0, TOPIC_OBJECT_MAX, &body, err))
        return bytes <= TOPIC_OBJECT_MAX || err_set(err, ERR_CORRUPT, "%.*s: it describes no topic", STR_ARG(key));
    json_t *json = json_loadb(body.ptr ? body.ptr : "", body.len, JSON_REJECT_DUPLICATES, NULL);
    topics->items = mem_realloc(topics->items, (topics->count + 1) * sizeof *topics->items);
    struct archive_topic *topic = &topics->items[topics->count++];
    *topic = (struct archive_topic){text_of(json, "log_id"), text_of(json, "topic"), text_of(json, "topic_id"),
                                    (int32_t)json_integer_value(json_object_get(json, "partitions"))};
    json_decref(json);
    key_add(&expected, job->place, str_from(topic->name));
    return (topic->log_id && topic->name && topic->id && topic->partitions > 0 && str_eq(buf_str(&expected), key) &&
            strcmp(topic->log_id, topics->items[0].log_id) == 0) ||
           err_set(err, ERR_CORRUPT, "%.*s: it does not describe a topic of this log", STR_ARG(key));
}

bool archive_topics_read(const struct archive_place *place, struct archive_topics *ret, struct err *err) {
    struct topics_job job = {place, ret};
    BUF_AUTO prefix = {0};
    key_add(&prefix, place, STR(""));
    return s3_list(place->s3, buf_str(&prefix), topic_read, &job, err);
}

const struct archive_topic *archive_topics_find(const struct archive_topics *topics, struct str name) {
    for (size_t i = 0; i < topics->count; i++)
        if (str_eq(str_from(topics->items[i].name), name))
            return &topics->items[i];
    return NULL;
}

void archive_topics_free(struct archive_topics *topics) {
    for (size_t i = 0; i < topics->count; i++) {
        free(topics->items[i].log_id);
        free(topics->items[i].name);
        free(topics->items[i].id);
    }
    free(topics->items);
}
