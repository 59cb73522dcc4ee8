/* Reads "SUBJECT HEX" lines on stdin; answers each with what the codec makes of the bytes: the record's name and JSON,
 * or the error. Built by test_evolution.py on schemas of its own. */
#include "core/codec/avro.h"

#include <stdio.h>
#include <stdlib.h>

static void read_hex(const char *hex, struct buf *ret) {
    for (; hex[0] && hex[1]; hex += 2) {
        char digits[3] = {hex[0], hex[1], 0};
        buf_add_char(ret, (char)strtoul(digits, NULL, 16));
    }
}

static bool print_message(const struct schema_subject *subject, struct str bytes, struct arena *arena,
                          struct err *err) {
    struct message message;
    BUF_AUTO json = {0};
    if (!message_decode(subject, bytes, arena, &message, err))
        return false;
    if (message.type != MESSAGE_UNKNOWN)
        avro_to_json(schema_messages[message.type], message_body(&message), &json);
    printf("%.*s %s\n", STR_ARG(message_name(message.type)), json.ptr ? json.ptr : "unknown");
    return true;
}

static bool print_state(const struct schema_subject *subject, struct str bytes, struct arena *arena, struct err *err) {
    const struct schema_type *type = subject->current->branches[0].type;
    void *value = arena_alloc(arena, type->size);
    BUF_AUTO json = {0};
    if (!state_decode(subject, bytes, arena, value, err))
        return false;
    avro_to_json(type, value, &json);
    printf("%s %s\n", type->name, json.ptr);
    return true;
}

int main(void) {
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    while ((len = getline(&line, &size, stdin)) > 0) {
        struct str hex, rest = {line, (size_t)len - (line[len - 1] == '\n')};
        struct err err = {0};
        struct arena arena;
        BUF_AUTO bytes = {0};
        line[rest.len] = '\0';
        const struct schema_subject *subject = schema_subject_find(str_cut(rest, ' ', &hex));
        if (!subject || !hex.ptr)
            return 2;
        read_hex(hex.ptr, &bytes);
        arena_init(&arena);
        bool is_message = subject->current->branches[0].message;
        if (!(is_message ? print_message : print_state)(subject, buf_str(&bytes), &arena, &err))
            printf("error %s: %s\n", err_slug(err.kind), err.detail);
        arena_free(&arena);
    }
    free(line);
    return 0;
}
