#include "tests/support/database.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/ids.h"
#include "core/store/pg.h"

static const char prefix[] = "postgresql:///postgres";

static void run(const char *sql) {
    struct pg *pg;
    struct err err = {0};
    if (!pg_open(getenv("ORDERLOG_TEST_DATABASE_URL"), NULL, &pg, &err) || !pg_script(pg, sql, &err))
        fail_msg("%s: %s", sql, err.detail);
    pg_close(pg);
}

bool database_is_there(void) {
    if (getenv("ORDERLOG_TEST_DATABASE_URL"))
        return true;
    fprintf(stderr, "ORDERLOG_TEST_DATABASE_URL is not set: tests/run sets it\n");
    if (getenv("CI"))
        exit(1);
    return false;
}

void database_make(char **ret_url) {
    const char *server = getenv("ORDERLOG_TEST_DATABASE_URL");
    char name[32], sql[128];
    uint8_t random[6];
    assert_int_equal(strncmp(server, prefix, sizeof(prefix) - 1), 0);
    random_bytes(random, sizeof(random));
    snprintf(name, sizeof(name), "t%02x%02x%02x%02x%02x%02x", random[0], random[1], random[2], random[3], random[4],
             random[5]);
    snprintf(sql, sizeof(sql), "CREATE DATABASE %s", name);
    run(sql);
    BUF_AUTO url = {0};
    buf_printf(&url, "postgresql:///%s%s", name, server + sizeof(prefix) - 1);
    *ret_url = mem_strdup(buf_str(&url));
}

void database_drop(const char *url) {
    struct str rest, name = str_cut(str_from(url + strlen("postgresql:///")), '?', &rest);
    BUF_AUTO sql = {0};
    buf_printf(&sql, "DROP DATABASE %.*s WITH (FORCE)", STR_ARG(name));
    run(sql.ptr);
}
