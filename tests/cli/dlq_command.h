/* Running orderlog dlq, and what it says. */
#ifndef ORDERLOG_TESTS_CLI_DLQ_COMMAND_H
#define ORDERLOG_TESTS_CLI_DLQ_COMMAND_H

#include <jansson.h>
#include <sys/wait.h>

#include "tests/chaos/toys.h"

struct said {
    int status;
    struct buf text; /* standard output, or with `2>&1` both */
};

static inline void take_output(FILE *from, struct buf *ret) {
    char piece[4096];
    for (size_t len; (len = fread(piece, 1, sizeof(piece), from)) > 0;)
        buf_add(ret, piece, len);
}

/* Standard input is no terminal. */
static inline struct said dlq(const struct place *place, const char *arguments) {
    struct said said = {0};
    BUF_AUTO command = {0};
    buf_printf(&command, "exec %s dlq --database '%s' %s </dev/null", getenv("ORDERLOG_BIN"), place->database_url,
               arguments);
    FILE *pipe = popen(command.ptr, "r");
    assert_non_null(pipe);
    take_output(pipe, &said.text);
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    said.status = WEXITSTATUS(status);
    return said;
}

/* It ends so, and says that. */
static inline void expect(const struct place *place, const char *arguments, int status, const char *words) {
    BUF_AUTO both = {0};
    buf_printf(&both, "%s 2>&1", arguments);
    struct said said = dlq(place, both.ptr);
    if (said.status != status || !said.text.ptr || !strstr(said.text.ptr, words))
        fail_msg("dlq %s: status %d, says %s", arguments, said.status, said.text.ptr ? said.text.ptr : "nothing");
    buf_free(&said.text);
}

static inline json_t *dlq_json(const struct place *place, const char *arguments) {
    struct said said = dlq(place, arguments);
    assert_int_equal(said.status, 0);
    json_t *json = json_loadb(said.text.ptr, said.text.len, 0, NULL);
    if (!json)
        fail_msg("dlq %s: no JSON: %s", arguments, said.text.ptr);
    buf_free(&said.text);
    return json;
}

static inline const char *text_of(const json_t *json, const char *name) {
    const char *text = json_string_value(json_object_get(json, name));
    return text ? text : "(null)";
}

static inline int64_t number_of(const json_t *json, const char *name) {
    assert_true(json_is_integer(json_object_get(json, name)));
    return json_integer_value(json_object_get(json, name));
}

static inline void expect_total(const struct place *place, const char *arguments, int64_t total) {
    json_t *list = dlq_json(place, arguments);
    assert_int_equal(number_of(list, "total"), total);
    assert_int_equal(json_array_size(json_object_get(list, "parked")), total);
    json_decref(list);
}

/* `action`, then an id, then more. */
static inline const char *with_id(const char *action, int64_t id, const char *more) {
    static char text[128];
    snprintf(text, sizeof(text), "%s %lld %s", action, (long long)id, more);
    return text;
}

#endif
