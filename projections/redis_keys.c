#include "projections/redis_keys.h"

static bool number_read(struct str text, int32_t low, int32_t *ret) {
    int64_t number;
    if (!str_to_i64(text, &number) || number < low || number > INT32_MAX)
        return false;
    *ret = (int32_t)number;
    return true;
}

bool redis_key_row_read(struct str name, const struct view *view, int32_t *ret_shard, int32_t *ret_generation,
                        struct str *ret_key) {
    struct str rest, tag = str_cut(name, ':', &rest), part = str_cut(rest, ':', &rest);
    *ret_generation = 1;
    if (tag.len < 4 || memcmp(tag.ptr, "{p", 2) != 0 || tag.ptr[tag.len - 1] != '}' ||
        !number_read((struct str){tag.ptr + 2, tag.len - 3}, 0, ret_shard))
        return false;
    if (part.len > 1 && part.ptr[0] == 'g' && number_read((struct str){part.ptr + 1, part.len - 1}, 2, ret_generation))
        part = str_cut(rest, ':', &rest);
    *ret_key = rest;
    return rest.ptr && str_eq(part, str_from(view->key_name));
}
