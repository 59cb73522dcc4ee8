#include "projections/kept_rows.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/map.h"
#include "core/codec/avro.h"

enum { FILE_PART = 1 << 20 };

struct kept_row {
    void *value; /* in the arena; NULL: its bytes are in the file */
    struct kept_row *next_decoded;
    int64_t at;
    uint32_t len;
    int32_t shard;
};

struct projector_store {
    const struct view *view;
    const struct schema_subject *subject;
    size_t memory_bytes;
    struct map rows; /* by key: a struct kept_row */
    struct arena arena;
    struct kept_row *decoded;
    int file;
    int64_t file_len;
    struct buf unwritten; /* the end of the file */
    struct buf scratch;
};

/* ---- the file ---- */

static bool file_failed(const char *what, struct err *err) {
    return err_set(err, ERR_IO, "%s the temporary file of the rows: %s", what, strerrordesc_np(errno));
}

static bool file_make(int *ret, struct err *err) {
    const char *folder = getenv("TMPDIR");
    BUF_AUTO path = {0};
    buf_printf(&path, "%s/orderlog-rebuild-XXXXXX", folder && *folder ? folder : "/tmp");
    *ret = mkostemp(path.ptr, 02000000 /* O_CLOEXEC */);
    if (*ret < 0)
        return file_failed("making", err);
    unlink(path.ptr);
    return true;
}

static bool file_flush(struct projector_store *rows, struct err *err) {
    for (size_t at = 0; at < rows->unwritten.len;) {
        ssize_t written = pwrite(rows->file, rows->unwritten.ptr + at, rows->unwritten.len - at, rows->file_len);
        if (written < 0 && errno != EINTR)
            return file_failed("writing", err);
        at += written > 0 ? (size_t)written : 0;
        rows->file_len += written > 0 ? written : 0;
    }
    buf_reset(&rows->unwritten);
    return true;
}

static bool file_read(const struct projector_store *rows, const struct kept_row *row, char *ret, struct err *err) {
    if (row->at >= rows->file_len) {
        memcpy(ret, rows->unwritten.ptr + (row->at - rows->file_len), row->len);
        return true;
    }
    for (size_t at = 0; at < row->len;) {
        ssize_t got = pread(rows->file, ret + at, row->len - at, row->at + (int64_t)at);
        if (got == 0 || (got < 0 && errno != EINTR))
            return file_failed("reading", err);
        at += got > 0 ? (size_t)got : 0;
    }
    return true;
}

static bool put_into_file(struct projector_store *rows, struct kept_row *row, struct err *err) {
    size_t before = rows->unwritten.len;
    row->at = rows->file_len + (int64_t)before;
    state_encode(rows->subject, row->value, &rows->unwritten);
    row->len = (uint32_t)(rows->unwritten.len - before);
    row->value = NULL;
    return rows->unwritten.len < FILE_PART || file_flush(rows, err);
}

static bool put_all_into_file(struct projector_store *rows, struct err *err) {
    while (rows->decoded) {
        struct kept_row *row = rows->decoded;
        rows->decoded = row->next_decoded;
        if (!put_into_file(rows, row, err))
            return false;
    }
    arena_reset(&rows->arena);
    return true;
}

/* ---- from open to close ---- */

bool kept_rows_open(const struct view *view, size_t memory_bytes, struct projector_store **ret, struct err *err) {
    int file;
    if (!file_make(&file, err))
        return false;
    struct projector_store *rows = mem_zalloc(sizeof(*rows));
    rows->view = view;
    rows->subject = schema_subject_find(str_from(view->subject));
    rows->memory_bytes = memory_bytes;
    rows->file = file;
    arena_init(&rows->arena);
    *ret = rows;
    return true;
}

void kept_rows_close(struct projector_store *rows) {
    if (!rows)
        return;
    close(rows->file);
    map_free(&rows->rows, free);
    arena_free(&rows->arena);
    buf_free(&rows->unwritten);
    buf_free(&rows->scratch);
    free(rows);
}

struct arena *kept_rows_arena(struct projector_store *rows) {
    return &rows->arena;
}

size_t kept_rows_count(const struct projector_store *rows) {
    return rows->rows.count;
}

/* ---- rows ---- */

static void set_decoded(struct projector_store *rows, struct kept_row *row, void *value) {
    if (!row->value) {
        row->next_decoded = rows->decoded;
        rows->decoded = row;
    }
    row->value = value;
}

static bool decode(struct projector_store *rows, struct kept_row *row, struct err *err) {
    char *bytes = arena_alloc(&rows->arena, row->len);
    void *value = arena_alloc(&rows->arena, rows->view->row_size);
    if (!file_read(rows, row, bytes, err) ||
        !state_decode(rows->subject, (struct str){bytes, row->len}, &rows->arena, value, err))
        return false;
    set_decoded(rows, row, value);
    return true;
}

bool kept_rows_load(struct projector_store *rows, struct view_row *const *wanted, size_t count, struct arena *arena,
                    struct err *err) {
    (void)arena;
    for (size_t i = 0; i < count; i++) {
        struct kept_row *row = map_get(&rows->rows, wanted[i]->key);
        if (row && !row->value && !decode(rows, row, err))
            return false;
        wanted[i]->value = row ? row->value : NULL;
    }
    return true;
}

bool kept_rows_save(struct projector_store *rows, struct shard_save *shards, size_t count, struct arena *arena,
                    struct err *err) {
    (void)arena;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < shards[i].row_count; k++) {
            void **place = map_put(&rows->rows, shards[i].rows[k]->key);
            if (!*place)
                *place = mem_zalloc(sizeof(struct kept_row));
            struct kept_row *row = *place;
            row->shard = shards[i].shard;
            set_decoded(rows, row, shards[i].rows[k]->value);
        }
    return arena_bytes(&rows->arena) < rows->memory_bytes || put_all_into_file(rows, err);
}

bool kept_rows_each(struct projector_store *rows, kept_rows_each_fn *each, void *user, struct err *err) {
    if (!put_all_into_file(rows, err))
        return false;
    for (struct map_entry *entry = map_next(&rows->rows, NULL); entry; entry = map_next(&rows->rows, entry)) {
        const struct kept_row *row = entry->value;
        buf_reset(&rows->scratch);
        buf_reserve(&rows->scratch, row->len);
        if (!file_read(rows, row, rows->scratch.ptr, err) ||
            !each(user, row->shard, entry->key, (struct str){rows->scratch.ptr, row->len}, err))
            return false;
    }
    return true;
}
