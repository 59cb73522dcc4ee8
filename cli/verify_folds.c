/* The log, folded into the rows of every view by the same pure functions that the projectors use. */
#include "cli/verify_views.h"
#include "core/base/config.h"
#include "core/codec/avro.h"

#include <stdlib.h>

struct verify_folds *verify_folds_get(const struct verify_options *options) {
    struct verify_folds *folds = *options->folds;
    if (!folds) {
        folds = *options->folds = mem_zalloc(sizeof *folds);
        folds->shop = shop_defaults();
        folds->shop.currency = str_from(config_get("ORDERLOG_CURRENCY", "USD"));
        arena_init(&folds->arena);
        arena_init(&folds->keys);
    }
    folds->users++;
    return folds;
}

void verify_folds_put(struct verify_folds *folds, struct verify_folds **shared) {
    if (--folds->users > 0)
        return;
    for (size_t i = 0; i < VIEW_COUNT; i++)
        map_free(&folds->rows[i], free);
    arena_free(&folds->arena);
    arena_free(&folds->keys);
    free(folds);
    if (shared)
        *shared = NULL;
}

static void row_fold(struct verify_folds *folds, size_t index, struct str key, const struct verify_record *record) {
    const struct view *view = views_all[index];
    const struct schema_subject *subject = schema_subject_find(str_from(view->subject));
    void **slot = map_put(&folds->rows[index], key), *value = NULL;
    struct fold_row *row = *slot;
    arena_reset(&folds->arena);
    if (row) {
        struct err err = {0};
        value = arena_alloc(&folds->arena, view->row_size);
        if (!state_decode(subject, (struct str){row->bytes, row->len}, &folds->arena, value, &err))
            abort(); /* our own bytes */
    }
    if (!view->fold(&folds->shop, &folds->arena, key, &value, record->envelope, record->message) || !value)
        return;
    BUF_AUTO bytes = {0};
    state_encode(subject, value, &bytes);
    row = *slot = mem_realloc(row, sizeof *row + bytes.len);
    row->at = record->at;
    row->seen = 0;
    row->len = bytes.len;
    memcpy(row->bytes, bytes.ptr, bytes.len);
}

static void rows_fold(struct verify_folds *folds, size_t index, const struct verify_record *record) {
    struct str *keys;
    arena_reset(&folds->keys);
    size_t count = view_row_keys(views_all[index], &folds->keys, record->at.partition, record->message, &keys);
    for (size_t i = 0; i < count; i++)
        row_fold(folds, index, keys[i], record);
}

static bool view_reads(const struct view *view, const char *topic) {
    for (size_t i = 0; i < view->topic_count; i++)
        if (strcmp(view->topics[i], topic) == 0)
            return true;
    return false;
}

/* What is no record of the view, or has a key or text that no store can keep, is parked by the projectors too. */
void verify_folds_record(struct verify_folds *folds, const struct verify_record *record) {
    const char *field;
    for (size_t i = 0; i < VIEW_COUNT; i++) {
        struct str key = view_key(views_all[i], record->message);
        bool keyed = record->envelope->key.ptr && str_eq(key, record->envelope->key);
        if (key.len && keyed && view_reads(views_all[i], record->at.topic) && view_text_valid(record->message, &field))
            rows_fold(folds, i, record);
    }
}
