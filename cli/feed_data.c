#include "cli/feed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { COLUMNS_MAX = 16 };

/* ---- CSV: RFC 4180 without line breaks inside of quotes, which these files do not have ---- */

struct csv {
    const char *path;
    FILE *file;
    char *line;
    size_t capacity;
    int64_t number;
    struct str columns[COLUMNS_MAX];
    size_t count;
};

static bool csv_fail(const struct csv *csv, const char *what, struct err *err) {
    return err_set(err, ERR_CONFIG, "%s line %lld: %s", csv->path, (long long)csv->number, what);
}

/* One field off *at, which moves past its comma. Quotes are removed in place. */
static struct str csv_field(char **at) {
    char *from = *at, *to = *at;
    bool quoted = *from == '"';
    if (quoted)
        from++;
    char *start = to;
    while (*from && (quoted || *from != ',')) {
        if (quoted && *from == '"') {
            if (from[1] != '"') {
                quoted = false;
                from++;
                continue;
            }
            from++;
        }
        *to++ = *from++;
    }
    *at = *from ? from + 1 : NULL;
    return (struct str){start, (size_t)(to - start)};
}

static bool csv_next(struct csv *csv) {
    ssize_t len = getline(&csv->line, &csv->capacity, csv->file);
    if (len <= 0)
        return false;
    while (len && (csv->line[len - 1] == '\n' || csv->line[len - 1] == '\r'))
        csv->line[--len] = 0;
    csv->number++;
    csv->count = 0;
    for (char *at = csv->line; at && csv->count < COLUMNS_MAX;)
        csv->columns[csv->count++] = csv_field(&at);
    return true;
}

static bool csv_open(struct csv *csv, const char *path, const char *first_columns, struct err *err) {
    *csv = (struct csv){.path = path, .file = fopen(path, "re")};
    if (!csv->file)
        return err_set(err, ERR_CONFIG, "%s: %s", path, strerror(errno));
    struct str rest = str_from(first_columns);
    if (!csv_next(csv))
        return csv_fail(csv, "the file is empty", err);
    for (size_t i = 0; rest.ptr; i++) {
        struct str name = str_cut(rest, ',', &rest);
        if (i >= csv->count || !str_eq(csv->columns[i], name))
            return csv_fail(csv, "the header is not the expected one", err);
    }
    return true;
}

static void csv_close(struct csv *csv) {
    if (csv->file)
        fclose(csv->file);
    free(csv->line);
}

/* Whether there are no more lines because the file has ended. */
static bool csv_ended(const struct csv *csv, struct err *err) {
    return !ferror(csv->file) || csv_fail(csv, "the file cannot be read on", err);
}

/* ---- numbers ---- */

/* A decimal number in millionths. */
static bool parse_decimal(struct str text, int64_t *ret) {
    struct str fraction, whole = str_cut(text, '.', &fraction);
    int64_t units, parts = 0;
    if (str_starts_with(whole, STR("-")) || !str_to_i64(whole, &units) || units > INT64_MAX / 4000000)
        return false;
    for (size_t i = 0; i < 6; i++) {
        char c = fraction.ptr && i < fraction.len ? fraction.ptr[i] : '0';
        if (c < '0' || c > '9')
            return false;
        parts = parts * 10 + (c - '0');
    }
    *ret = units * 1000000 + parts;
    return true;
}

bool feed_price(struct str sales_value, int64_t quantity, int64_t *ret_minor) {
    int64_t millionths;
    if (quantity < 1 || !parse_decimal(sales_value, &millionths))
        return false;
    int64_t per_cent = 10000 * quantity; /* millionths of a cent's worth for this quantity */
    int64_t cents = (2 * millionths + per_cent) / (2 * per_cent);
    *ret_minor = cents < 1 ? 1 : cents;
    return true;
}

int64_t feed_stock(int64_t demand, int64_t percent) {
    return (demand * percent + 99) / 100;
}

/* ---- baskets and products ---- */

static struct feed_product *product_of(struct feed_data *data, struct str sku) {
    void **slot = map_put(&data->by_sku, sku);
    if (*slot)
        return *slot;
    struct feed_product *product = arena_new(&data->arena, struct feed_product);
    product->sku = product->name = arena_dup(&data->arena, sku);
    if ((data->product_count & (data->product_count - 1)) == 0) /* full at each power of two */
        data->products = mem_realloc(data->products, (data->product_count ? data->product_count * 2 : 1) *
                                                         sizeof(struct feed_product *));
    data->products[data->product_count++] = product;
    return *slot = product;
}

static struct feed_basket *basket_of(struct feed_data *data, struct map *by_id, const struct csv *csv) {
    void **slot = map_put(by_id, csv->columns[2]);
    if (!*slot) {
        if ((data->basket_count & (data->basket_count - 1)) == 0)
            data->baskets = mem_realloc(data->baskets,
                                        (data->basket_count ? data->basket_count * 2 : 1) * sizeof(struct feed_basket));
        data->baskets[data->basket_count++] = (struct feed_basket){
            .id = arena_dup(&data->arena, csv->columns[2]), .household = arena_dup(&data->arena, csv->columns[1])};
        *slot = (void *)(uintptr_t)data->basket_count;
    }
    return &data->baskets[(uintptr_t)*slot - 1];
}

static bool add_line(struct feed_data *data, struct map *by_id, const struct csv *csv, struct err *err) {
    int64_t quantity;
    if (csv->count < 6 || !str_to_i64(csv->columns[4], &quantity) || quantity < 0)
        return csv_fail(csv, "not a line of a basket", err);
    struct feed_basket *basket = basket_of(data, by_id, csv);
    struct feed_product *product = product_of(data, csv->columns[3]);
    if ((basket->line_count & (basket->line_count - 1)) == 0) {
        struct feed_line *lines =
            arena_array(&data->arena, struct feed_line, basket->line_count ? basket->line_count * 2 : 1);
        if (basket->line_count)
            memcpy(lines, basket->lines, basket->line_count * sizeof(*lines));
        basket->lines = lines;
    }
    basket->lines[basket->line_count++] =
        (struct feed_line){product->sku, quantity, arena_dup(&data->arena, csv->columns[5])};
    if (quantity < 1 || quantity > FEED_QUANTITY_MAX)
        return true;
    product->demand += quantity;
    if (!product->price_minor && !feed_price(csv->columns[5], quantity, &product->price_minor))
        return csv_fail(csv, "sales_value is no decimal number", err);
    return true;
}

static bool load_baskets(struct feed_data *data, const char *path, struct err *err) {
    struct csv csv;
    struct map by_id = {0};
    bool ok = csv_open(&csv, path, "time,household_id,basket_id,product_id,quantity,sales_value", err);
    while (ok && csv_next(&csv))
        ok = add_line(data, &by_id, &csv, err);
    ok = ok && csv_ended(&csv, err);
    csv_close(&csv);
    map_free(&by_id, NULL);
    return ok;
}

static bool load_names(struct feed_data *data, const char *path, struct err *err) {
    struct csv csv;
    bool ok = csv_open(&csv, path, "product_id,department,product_category,product_type,package_size", err);
    while (ok && csv_next(&csv)) {
        struct feed_product *product = map_get(&data->by_sku, csv.columns[0]);
        if (csv.count < 5) {
            ok = csv_fail(&csv, "not a product", err);
        } else if (product && csv.columns[3].len) {
            product->name = arena_printf(&data->arena, "%.*s%s%.*s", STR_ARG(csv.columns[3]),
                                         csv.columns[4].len ? " " : "", STR_ARG(csv.columns[4]));
        }
    }
    ok = ok && csv_ended(&csv, err);
    csv_close(&csv);
    return ok;
}

bool feed_data_load(const char *baskets_path, const char *products_path, struct feed_data *ret, struct err *err) {
    *ret = (struct feed_data){0};
    arena_init(&ret->arena);
    if (load_baskets(ret, baskets_path, err) && load_names(ret, products_path, err))
        return true;
    feed_data_free(ret);
    return false;
}

void feed_data_free(struct feed_data *data) {
    map_free(&data->by_sku, NULL);
    free(data->baskets);
    free(data->products);
    arena_free(&data->arena);
    *data = (struct feed_data){0};
}
