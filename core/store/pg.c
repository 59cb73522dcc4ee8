#include "core/store/pg.h"

#include <libpq-fe.h>
#include <stdlib.h>

#include "core/base/config.h"
#include "core/store/pg_internal.h"

enum { PG_STATEMENTS_MAX = 256 };

struct pg {
    PGconn *conn; /* NULL: what to connect with could not be had */
    char *url;    /* as it was given: what it stands for now is asked at each connect */
    char *settings;
    const char *statements[PG_STATEMENTS_MAX]; /* prepared on this connection, by address */
    int names[PG_STATEMENTS_MAX];
    int statement_count;
    int last_name;
    int statements_before; /* the pipeline in hand */
    bool sending;
    bool synced;
    struct err send_err;
    char *alias_of; /* "view.": a statement that says so means `alias`; NULL: as it stands */
    char *alias;    /* "view_next." */
    pg_take *take;  /* NULL: all statements are run */
    void *take_user;
};

static bool fail_connection(PGconn *conn, struct err *err) {
    return err_set(err, ERR_STORE_UNAVAILABLE, "PostgreSQL: %s", PQerrorMessage(conn));
}

/* By the SQLSTATE's class. Only what is certainly the data's fault may be held against the data: all else, such as a
 * statement that took too long (57014), a full disk (53100) or a deadlock (40P01), may go well the next time. */
static enum err_kind kind_of(const char *state) {
    static const struct {
        char class[3];
        enum err_kind kind;
    } kinds[] = {
        {"22", ERR_INTERNAL}, /* data exception */
        {"23", ERR_INTERNAL}, /* integrity constraint violation */
        {"54", ERR_INTERNAL}, /* over a limit of PostgreSQL's */
        {"P0", ERR_INTERNAL}, /* raised by a function or trigger */
        {"42", ERR_CONFIG},   /* no such table or column, no right to it, wrong syntax */
        {"28", ERR_CONFIG},   /* no right to log in */
        {"3D", ERR_CONFIG},   /* no such database */
        {"3F", ERR_CONFIG},   /* no such schema */
        {"OL", ERR_FENCED},   /* raised by decider.require */
        {"0A", ERR_CONFIG},   /* not supported by this server */
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (!strncmp(state, kinds[i].class, 2))
            return kinds[i].kind;
    return ERR_STORE_UNAVAILABLE;
}

static bool fail_result(struct pg *pg, PGresult *result, struct err *err) {
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    enum err_kind kind = PQstatus(pg->conn) == CONNECTION_OK && state ? kind_of(state) : ERR_STORE_UNAVAILABLE;
    err_set(err, kind, "PostgreSQL: %s (SQLSTATE %s)", message ? message : PQerrorMessage(pg->conn),
            state ? state : "none");
    PQclear(result);
    return false;
}

static bool settle(struct pg *pg, struct err *err) {
    pg->statement_count = 0;
    if (PQstatus(pg->conn) != CONNECTION_OK)
        return fail_connection(pg->conn, err);
    return !pg->settings || pg_script(pg, pg->settings, err);
}

/* NOTICEs ("relation exists, skipping") are not worth a line in our log. */
static void ignore_notice(void *user, const PGresult *result) {
    (void)user;
    (void)result;
}

/* ---- connecting ---- */

/* The URL, and what goes with it where it does not say so itself (an empty one: no such setting). */
struct login {
    struct buf url, user, password;
};

static void login_free(struct login *login) {
    for (struct buf *part = &login->url; part <= &login->password; part++) {
        if (part->ptr)
            explicit_bzero(part->ptr, part->len);
        buf_free(part);
    }
}
#define LOGIN_AUTO __attribute__((cleanup(login_free))) struct login

static bool login_get(const char *url, bool again, struct login *ret, struct err *err) {
    const char *user, *password;
    return config_optional("DATABASE_USER", &user, err) && config_optional("DATABASE_PASSWORD", &password, err) &&
           config_fresh(url, again, &ret->url, err) && config_fresh(user ? user : "", again, &ret->user, err) &&
           config_fresh(password ? password : "", again, &ret->password, err);
}

static bool login_same(const struct login *a, const struct login *b) {
    return str_eq(buf_str(&a->url), buf_str(&b->url)) && str_eq(buf_str(&a->user), buf_str(&b->user)) &&
           str_eq(buf_str(&a->password), buf_str(&b->password));
}

/* libpq's own messages repeat parts of what cannot be parsed. A name alone is a database's. */
static bool url_check(const struct login *login, struct err *err) {
    const char *url = login->url.ptr ? login->url.ptr : "";
    if (!strchr(url, '=') && !strstr(url, "://"))
        return true;
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    PQconninfoFree(options);
    return options || err_set(err, ERR_STORE_UNAVAILABLE, "PostgreSQL: its URL is not one that libpq understands");
}

static PGconn *dial(const struct login *login) {
    /* What comes before dbname may be overruled by the URL. A server that vanished must not hold us for hours. An empty
     * user or password is as none. */
    const char *keywords[] = {"tcp_user_timeout", "keepalives_idle",           "user", "password", "dbname",
                              "connect_timeout",  "fallback_application_name", NULL};
    const char *values[] = {"20000", "10", login->user.ptr, login->password.ptr, login->url.ptr, "5", "orderlog", NULL};
    return PQconnectdbParams(keywords, values, 1);
}

/* A password that is refused may have been changed since it was asked for. */
static bool pg_connect(struct pg *pg, struct err *err) {
    LOGIN_AUTO login = {0};
    LOGIN_AUTO newer = {0};
    struct err ignored = {0};
    PQfinish(pg->conn);
    pg->conn = NULL;
    if (!login_get(pg->url, false, &login, err) || !url_check(&login, err))
        return false;
    pg->conn = dial(&login);
    if (PQstatus(pg->conn) != CONNECTION_OK && PQconnectionUsedPassword(pg->conn) &&
        login_get(pg->url, true, &newer, &ignored) && !login_same(&login, &newer) && url_check(&newer, &ignored)) {
        PQfinish(pg->conn);
        pg->conn = dial(&newer);
    }
    if (!pg->conn)
        return err_set(err, ERR_STORE_UNAVAILABLE, "PostgreSQL: no memory for a connection");
    PQsetNoticeReceiver(pg->conn, ignore_notice, NULL);
    return settle(pg, err);
}

bool pg_open(const char *url, const char *settings, struct pg **ret, struct err *err) {
    struct pg *pg = mem_zalloc(sizeof(*pg));
    pg->url = mem_strdup(str_from(url));
    pg->settings = settings ? mem_strdup(str_from(settings)) : NULL;
    if (!pg_connect(pg, err)) {
        pg_close(pg);
        return false;
    }
    *ret = pg;
    return true;
}

void pg_close(struct pg *pg) {
    if (!pg)
        return;
    PQfinish(pg->conn);
    explicit_bzero(pg->url, strlen(pg->url));
    free(pg->url);
    free(pg->settings);
    free(pg->alias_of);
    free(pg->alias);
    free(pg);
}

bool pg_reset(struct pg *pg, struct err *err) {
    return pg_connect(pg, err);
}

bool pg_connected(const struct pg *pg) {
    return PQstatus(pg->conn) == CONNECTION_OK;
}

/* ---- statements ---- */

static const int binary[PG_PARAMS_MAX] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                          1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

/* statement_count when it is not prepared yet. */
static int statement_find(const struct pg *pg, const char *sql, char name[24]) {
    int i = 0;
    while (i < pg->statement_count && pg->statements[i] != sql)
        i++;
    snprintf(name, 24, "s%d", i < pg->statement_count ? pg->names[i] : pg->last_name + 1);
    return i;
}

static bool is_of_name(char c) {
    return c == '_' || c == '.' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* The statement in the schema that this connection works in. */
static const char *in_schema(const struct pg *pg, const char *sql, struct buf *own) {
    if (!pg->alias_of)
        return sql;
    size_t len = strlen(pg->alias_of);
    buf_reset(own);
    for (const char *at = sql; *at;) {
        bool here = strncmp(at, pg->alias_of, len) == 0 && (at == sql || !is_of_name(at[-1]));
        if (here)
            buf_add_str(own, str_from(pg->alias));
        else
            buf_add_char(own, *at);
        at += here ? len : 1;
    }
    return own->ptr;
}

void pg_alias_schema(struct pg *pg, const char *name, const char *alias) {
    BUF_AUTO text = {0};
    free(pg->alias_of);
    free(pg->alias);
    buf_printf(&text, "%s.", name);
    pg->alias_of = mem_strdup(buf_str(&text));
    buf_reset(&text);
    buf_printf(&text, "%s.", alias);
    pg->alias = mem_strdup(buf_str(&text));
}

void pg_divert(struct pg *pg, pg_take *take, void *user) {
    pg->take = take;
    pg->take_user = user;
}

static void add_statement(struct pg *pg, const char *sql) {
    pg->names[pg->statement_count] = ++pg->last_name;
    pg->statements[pg->statement_count++] = sql;
}

static bool prepare(struct pg *pg, const char *sql, const struct pg_params *params, char name[24], struct err *err) {
    BUF_AUTO own = {0};
    int i = statement_find(pg, sql, name);
    if (i < pg->statement_count)
        return true;
    if (i == PG_STATEMENTS_MAX)
        return err_set(err, ERR_INTERNAL, "PostgreSQL: more than %d statements on a connection", PG_STATEMENTS_MAX);
    PGresult *result =
        PQprepare(pg->conn, name, in_schema(pg, sql, &own), params ? params->count : 0, params ? params->types : NULL);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        return fail_result(pg, result, err);
    PQclear(result);
    add_statement(pg, sql);
    return true;
}

bool pg_exec(struct pg *pg, const char *sql, struct pg_params *params, struct pg_result **ret, struct err *err) {
    char name[24];
    bool taken = false;
    if (pg->take && params && !pg->take(pg->take_user, sql, params, &taken, err))
        return false;
    if (taken)
        return true;
    if (!prepare(pg, sql, params, name, err))
        return false;
    if (params)
        pg_params_finish(params);
    PGresult *result = PQexecPrepared(pg->conn, name, params ? params->count : 0, params ? params->values : NULL,
                                      params ? params->lengths : NULL, params ? binary : NULL, 1);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        return fail_result(pg, result, err);
    if (ret)
        *ret = (struct pg_result *)result;
    else
        PQclear(result);
    return true;
}

/* ---- several statements at once ---- */

static void fail_send(struct pg *pg) {
    if (!pg->send_err.kind)
        fail_connection(pg->conn, &pg->send_err);
}

static void begin_sending(struct pg *pg) {
    if (pg->sending)
        return;
    pg->sending = true;
    pg->synced = false;
    pg->send_err = (struct err){0};
    pg->statements_before = pg->statement_count;
    if (!PQenterPipelineMode(pg->conn))
        fail_send(pg);
}

static bool send_prepare(struct pg *pg, const char *sql, const struct pg_params *params, char name[24]) {
    BUF_AUTO own = {0};
    int i = statement_find(pg, sql, name);
    if (i < pg->statement_count)
        return true;
    if (i == PG_STATEMENTS_MAX)
        return err_set(&pg->send_err, ERR_INTERNAL, "PostgreSQL: more than %d statements on a connection",
                       PG_STATEMENTS_MAX);
    if (!PQsendPrepare(pg->conn, name, in_schema(pg, sql, &own), params ? params->count : 0,
                       params ? params->types : NULL)) {
        fail_send(pg);
        return false;
    }
    add_statement(pg, sql);
    return true;
}

void pg_send(struct pg *pg, const char *sql, struct pg_params *params) {
    char name[24];
    bool taken = false;
    begin_sending(pg);
    if (pg->send_err.kind ||
        (pg->take && params && (!pg->take(pg->take_user, sql, params, &taken, &pg->send_err) || taken)) ||
        !send_prepare(pg, sql, params, name))
        return;
    if (params)
        pg_params_finish(params);
    if (!PQsendQueryPrepared(pg->conn, name, params ? params->count : 0, params ? params->values : NULL,
                             params ? params->lengths : NULL, params ? binary : NULL, 1))
        fail_send(pg);
}

void pg_sync_start(struct pg *pg) {
    begin_sending(pg);
    if (pg->synced)
        return;
    pg->synced = true;
    if (!pg->send_err.kind && !PQpipelineSync(pg->conn))
        fail_send(pg);
}

bool pg_sync_done(struct pg *pg) {
    if (pg->send_err.kind || PQstatus(pg->conn) != CONNECTION_OK)
        return true;
    if (PQflush(pg->conn) < 0 || !PQconsumeInput(pg->conn)) {
        fail_send(pg);
        return true;
    }
    return !PQisBusy(pg->conn);
}

/* Reads results up to the one of the sync. False: the connection is gone before that. */
static bool read_results(struct pg *pg, struct err *first) {
    for (int nothing = 0; nothing < 2;) {
        PGresult *result = PQgetResult(pg->conn);
        ExecStatusType status = result ? PQresultStatus(result) : PGRES_EMPTY_QUERY;
        nothing = result ? 0 : nothing + 1; /* each statement's results end with one; two: there is nothing left */
        if (status == PGRES_PIPELINE_SYNC) {
            PQclear(result);
            return true;
        }
        if (result && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_PIPELINE_ABORTED &&
            !first->kind)
            fail_result(pg, result, first);
        else
            PQclear(result);
    }
    return false;
}

bool pg_sync(struct pg *pg, struct err *err) {
    struct err first = {0}, ignored = {0};
    pg_sync_start(pg);
    pg->sending = false;
    first = pg->send_err;
    bool whole = !first.kind && read_results(pg, &first);
    if (!whole || !PQexitPipelineMode(pg->conn)) {
        if (!first.kind)
            fail_connection(pg->conn, &first);
        if (PQstatus(pg->conn) == CONNECTION_OK)
            PQreset(pg->conn); /* half-way through a pipeline there is no other way back */
        if (!settle(pg, &ignored))
            pg->statement_count = 0; /* as pg_connected will say */
    } else if (first.kind) {
        pg->statement_count = pg->statements_before; /* of the others it is not known: their names are not used again */
    }
    if (first.kind && err)
        *err = first;
    return !first.kind;
}

bool pg_script(struct pg *pg, const char *sql, struct err *err) {
    PGresult *result = PQexec(pg->conn, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY)
        return fail_result(pg, result, err);
    PQclear(result);
    return true;
}

bool pg_copy_in(struct pg *pg, const char *sql, struct str bytes, struct err *err) {
    PGresult *result = PQexec(pg->conn, sql);
    if (PQresultStatus(result) != PGRES_COPY_IN)
        return fail_result(pg, result, err);
    PQclear(result);
    enum { PART = 64 * 1024 };
    for (size_t at = 0; at < bytes.len; at += PART)
        if (PQputCopyData(pg->conn, bytes.ptr + at, (int)(bytes.len - at < PART ? bytes.len - at : PART)) != 1)
            return fail_connection(pg->conn, err);
    if (PQputCopyEnd(pg->conn, NULL) != 1)
        return fail_connection(pg->conn, err);
    result = PQgetResult(pg->conn);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        fail_result(pg, result, err);
        PQclear(PQgetResult(pg->conn));
        return false;
    }
    PQclear(result);
    PQclear(PQgetResult(pg->conn)); /* the end of the results */
    return true;
}

bool pg_begin(struct pg *pg, struct err *err) {
    return pg_script(pg, "BEGIN", err);
}

bool pg_commit(struct pg *pg, struct err *err) {
    PGresult *result = PQexec(pg->conn, "COMMIT");
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        return fail_result(pg, result, err);
    /* COMMIT of a failed transaction answers ROLLBACK, without an error. */
    bool committed = !strcmp(PQcmdStatus(result), "COMMIT");
    PQclear(result);
    return committed || err_set(err, ERR_INTERNAL, "PostgreSQL: the transaction had failed and was rolled back");
}

void pg_rollback(struct pg *pg) {
    if (PQtransactionStatus(pg->conn) != PQTRANS_IDLE)
        PQclear(PQexec(pg->conn, "ROLLBACK"));
}
