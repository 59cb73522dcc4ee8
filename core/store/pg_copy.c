#include "core/store/pg_copy.h"

#include <endian.h>
#include <stdlib.h>

enum { PART_BYTES = 4 << 20, HEADER_BYTES = 19, COLUMNS_MAX = PG_PARAMS_MAX, OID_INT4 = 23, OID_UUID = 2950 };

/* How the rows of one table come in. */
struct copy_table {
    struct copy_table *next;
    const char *sql; /* the statement that brings them, a literal */
    struct str name;
    char *copy_sql;
    uint32_t types[COLUMNS_MAX];
    int column_count;
    struct buf rows;
    size_t *starts; /* of the rows in `rows`; when they are to be sorted */
    size_t start_count, start_capacity;
};

struct pg_copy {
    struct pg *pg;
    const char *alias;
    const char *const *names;
    const char *options;
    struct pg_result *columns; /* of all tables: table, column, type */
    struct copy_table *tables;
    int64_t row_count;
    bool sorted;
};

/* ---- which table, which columns ---- */

/* `INSERT INTO schema.table AS t (a, b)`: the table, and what stands in the parentheses. */
static bool insert_read(const char *sql, struct str *ret_table, struct str *ret_columns) {
    static const char words[] = "INSERT INTO ";
    const char *insert = strstr(sql, words);
    const char *dot = insert ? strchr(insert, '.') : NULL;
    const char *open = dot ? strchr(dot, '(') : NULL;
    const char *close = open ? strchr(open, ')') : NULL;
    if (!close)
        return false;
    *ret_table = (struct str){dot + 1, strcspn(dot + 1, " (")};
    *ret_columns = (struct str){open + 1, (size_t)(close - open - 1)};
    return true;
}

static bool is_named(const struct pg_copy *copy, struct str table) {
    for (const char *const *name = copy->names; *name; name++)
        if (str_eq(str_from(*name), table))
            return true;
    return false;
}

static struct str trim(struct str s) {
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '"'))
        s = (struct str){s.ptr + 1, s.len - 1};
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '"'))
        s.len--;
    return s;
}

static bool types_find(const struct pg_copy *copy, struct copy_table *table, struct str columns, struct err *err) {
    for (struct str rest = columns; rest.ptr; table->column_count++) {
        struct str column = trim(str_cut(rest, ',', &rest));
        int row = 0, rows = pg_rows(copy->columns);
        while (row < rows && !(str_eq(pg_get_str(copy->columns, row, 0), table->name) &&
                               str_eq(pg_get_str(copy->columns, row, 1), column)))
            row++;
        if (row == rows || table->column_count == COLUMNS_MAX)
            return err_set(err, ERR_CONFIG, "table %s.%.*s has no column %.*s", copy->alias, STR_ARG(table->name),
                           STR_ARG(column));
        table->types[table->column_count] = (uint32_t)pg_get_i64(copy->columns, row, 2);
    }
    return true;
}

static void rows_reset(struct copy_table *table) {
    static const char header[HEADER_BYTES] = "PGCOPY\n\377\r\n"; /* and a zero, no flags, no extension */
    buf_reset(&table->rows);
    buf_add(&table->rows, header, sizeof(header));
    table->start_count = 0;
}

static void table_free(struct copy_table *table) {
    buf_free(&table->rows);
    free(table->starts);
    free(table->copy_sql);
    free(table);
}

static bool table_make(struct pg_copy *copy, const char *sql, struct str name, struct str columns,
                       struct copy_table **ret, struct err *err) {
    struct copy_table *table = mem_zalloc(sizeof(*table));
    BUF_AUTO text = {0};
    table->sql = sql;
    table->name = name;
    buf_printf(&text, "COPY %s.%.*s (%.*s) FROM STDIN (FORMAT binary%s)", copy->alias, STR_ARG(name), STR_ARG(columns),
               copy->options);
    table->copy_sql = mem_strdup(buf_str(&text));
    rows_reset(table);
    if (!types_find(copy, table, columns, err)) {
        table_free(table);
        return false;
    }
    table->next = copy->tables;
    *ret = copy->tables = table;
    return true;
}

/* ---- rows ---- */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool uuid_bytes(struct str text, unsigned char ret[16]) {
    size_t digits = 0;
    for (size_t i = 0; i < text.len; i++) {
        int digit = hex_digit(text.ptr[i]);
        if (text.ptr[i] == '-')
            continue;
        if (digit < 0 || digits == 32)
            return false;
        ret[digits / 2] = (unsigned char)(digits % 2 ? ret[digits / 2] | digit : digit << 4);
        digits++;
    }
    return digits == 32;
}

static void add_field(struct buf *rows, const void *bytes, size_t len) {
    uint32_t size = htobe32((uint32_t)len);
    buf_add(rows, &size, sizeof(size));
    buf_add(rows, bytes, len);
}

static bool add_value(struct copy_table *table, int column, struct str value, struct err *err) {
    unsigned char uuid[16];
    if (!value.ptr) {
        static const unsigned char null[4] = {255, 255, 255, 255};
        buf_add(&table->rows, null, sizeof(null));
    } else if (table->types[column] == OID_UUID) {
        if (!uuid_bytes(value, uuid))
            return err_set(err, ERR_INTERNAL, "table %.*s: '%.*s' is no UUID", STR_ARG(table->name), STR_ARG(value));
        add_field(&table->rows, uuid, sizeof(uuid));
    } else if (table->types[column] == OID_INT4 && value.len == 8) {
        add_field(&table->rows, value.ptr + 4, 4); /* big endian */
    } else {
        add_field(&table->rows, value.ptr, value.len);
    }
    return true;
}

static void note_start(struct copy_table *table) {
    if (table->start_count == table->start_capacity) {
        table->start_capacity = table->start_capacity ? table->start_capacity * 2 : 64;
        table->starts = mem_realloc(table->starts, table->start_capacity * sizeof(*table->starts));
    }
    table->starts[table->start_count++] = table->rows.len;
}

static int compare_rows(const void *left, const void *right) {
    const struct str *a = left, *b = right;
    int order = memcmp(a->ptr, b->ptr, a->len < b->len ? a->len : b->len);
    return order ? order : (a->len > b->len) - (a->len < b->len);
}

/* By their bytes, which begin with the first column. */
static void sort_rows(struct copy_table *table) {
    struct str *rows = mem_alloc((table->start_count + 1) * sizeof(*rows));
    struct buf sorted = {0};
    for (size_t i = 0; i < table->start_count; i++) {
        size_t end = i + 1 < table->start_count ? table->starts[i + 1] : table->rows.len;
        rows[i] = (struct str){table->rows.ptr + table->starts[i], end - table->starts[i]};
    }
    qsort(rows, table->start_count, sizeof(*rows), compare_rows);
    buf_add(&sorted, table->rows.ptr, HEADER_BYTES);
    for (size_t i = 0; i < table->start_count; i++)
        buf_add_str(&sorted, rows[i]);
    free(rows);
    buf_free(&table->rows);
    table->rows = sorted;
}

static bool flush(struct pg_copy *copy, struct copy_table *table, struct err *err) {
    static const unsigned char end[2] = {255, 255};
    if (table->rows.len <= HEADER_BYTES)
        return true;
    if (copy->sorted)
        sort_rows(table);
    buf_add(&table->rows, end, sizeof(end));
    bool ok = pg_copy_in(copy->pg, table->copy_sql, buf_str(&table->rows), err);
    rows_reset(table);
    return ok || err_wrap(err, "copying into %s.%.*s", copy->alias, STR_ARG(table->name));
}

static bool add_rows(struct pg_copy *copy, struct copy_table *table, const struct pg_params *params, struct err *err) {
    int first = params->count - table->column_count;
    size_t at[COLUMNS_MAX], count = pg_array_count(params, params->count - 1);
    uint16_t columns = htobe16((uint16_t)table->column_count);
    for (int i = 0; i < table->column_count; i++) {
        at[i] = pg_array_begin();
        bool single = !params->arrays[first + i].len;
        if (!single && pg_array_count(params, first + i) != count)
            return err_set(err, ERR_INTERNAL, "table %.*s: columns of different lengths", STR_ARG(table->name));
    }
    for (size_t row = 0; row < count; row++) {
        if (copy->sorted)
            note_start(table);
        buf_add(&table->rows, &columns, sizeof(columns));
        for (int i = 0; i < table->column_count; i++) {
            int p = first + i;
            struct str value = params->arrays[p].len ? pg_array_next(params, p, &at[i])
                                                     : (struct str){params->values[p], (size_t)params->lengths[p]};
            if (!add_value(table, i, value, err))
                return false;
        }
    }
    copy->row_count += (int64_t)count;
    return true;
}

static bool take(void *user, const char *sql, const struct pg_params *params, bool *ret_taken, struct err *err) {
    struct pg_copy *copy = user;
    struct str name, columns;
    struct copy_table *table = copy->tables;
    while (table && table->sql != sql)
        table = table->next;
    if (!table) {
        if (!insert_read(sql, &name, &columns) || !is_named(copy, name))
            return true;
        if (!table_make(copy, sql, name, columns, &table, err))
            return false;
    }
    if (params->count < table->column_count)
        return err_set(err, ERR_INTERNAL, "table %.*s: fewer values than columns", STR_ARG(table->name));
    *ret_taken = true;
    return add_rows(copy, table, params, err);
}

/* ---- from begin to end ---- */

bool pg_copy_begin(struct pg *pg, const char *alias, const char *const *tables, const char *options,
                   struct pg_copy **ret, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    struct pg_result *columns;
    pg_add_text(&params, str_from(alias));
    pg_add_array(&params, PG_TEXT);
    for (const char *const *name = tables; *name; name++)
        pg_array_str(&params, 1, str_from(*name));
    if (!pg_exec(pg,
                 "SELECT c.relname::text, a.attname::text, a.atttypid::bigint FROM pg_attribute a "
                 "JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
                 "WHERE n.nspname = $1 AND c.relname = ANY($2) AND a.attnum > 0 AND NOT a.attisdropped",
                 &params, &columns, err))
        return false;
    struct pg_copy *copy = mem_zalloc(sizeof(*copy));
    *copy = (struct pg_copy){.pg = pg, .alias = alias, .names = tables, .options = options, .columns = columns};
    pg_divert(pg, take, copy);
    *ret = copy;
    return true;
}

void pg_copy_sort(struct pg_copy *copy) {
    copy->sorted = true;
}

bool pg_copy_flush(struct pg_copy *copy, bool all, struct err *err) {
    for (struct copy_table *table = copy->tables; table; table = table->next)
        if ((all || table->rows.len >= PART_BYTES) && !flush(copy, table, err))
            return false;
    return true;
}

int64_t pg_copy_rows(const struct pg_copy *copy) {
    return copy->row_count;
}

void pg_copy_end(struct pg_copy *copy) {
    if (!copy)
        return;
    pg_divert(copy->pg, NULL, NULL);
    while (copy->tables) {
        struct copy_table *table = copy->tables;
        copy->tables = table->next;
        table_free(table);
    }
    pg_result_free(copy->columns);
    free(copy);
}
