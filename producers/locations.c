#include "producers/locations.h"

static bool name_is_valid(struct str name) {
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
            return false;
    }
    return name.len > 0 && name.len <= LOCATION_NAME_MAX;
}

static bool location_add(struct locations *locations, struct str item, struct err *err) {
    struct str number;
    struct str name = str_cut(item, ':', &number);
    int64_t partition;
    int32_t known;
    if (!number.ptr || !name_is_valid(name))
        return err_set(err, ERR_CONFIG, "location \"%.*s\" is not of the form name:partition", STR_ARG(item));
    if (!str_to_i64(number, &partition) || partition < 0 || partition > INT32_MAX)
        return err_set(err, ERR_CONFIG, "location \"%.*s\" has no valid partition", STR_ARG(name));
    if (locations_partition(locations, name, &known))
        return err_set(err, ERR_CONFIG, "location \"%.*s\" is named twice", STR_ARG(name));
    if (locations->count == LOCATIONS_MAX)
        return err_set(err, ERR_CONFIG, "there are more than %d locations", (int)LOCATIONS_MAX);
    struct location *location = &locations->items[locations->count++];
    memcpy(location->name, name.ptr, name.len);
    location->partition = (int32_t)partition;
    return true;
}

bool locations_parse(const char *text, struct locations *ret, struct err *err) {
    struct locations parsed = {0};
    for (struct str rest = str_from(text); rest.ptr;) {
        struct str item = str_cut(rest, ',', &rest);
        if (!location_add(&parsed, item, err))
            return false;
    }
    if (parsed.count == 0)
        return err_set(err, ERR_CONFIG, "there must be a location");
    *ret = parsed;
    return true;
}

bool locations_partition(const struct locations *locations, struct str location, int32_t *ret) {
    for (size_t i = 0; i < locations->count; i++) {
        if (str_eq(str_from(locations->items[i].name), location)) {
            *ret = locations->items[i].partition;
            return true;
        }
    }
    return false;
}

struct str locations_first(const struct locations *locations) {
    return str_from(locations->items[0].name);
}
