#include "consumers/internal.h"

/* What all deciders share. Rows of one service and shard belong to that shard's owner. */
static const char shared_tables[] =
    "CREATE SCHEMA IF NOT EXISTS decider;"
    "CREATE OR REPLACE FUNCTION decider.require(had bigint, expected bigint) RETURNS void LANGUAGE plpgsql AS $$"
    " BEGIN IF had <> expected THEN RAISE EXCEPTION '% of % rows are not as their owner left them',"
    " expected - had, expected USING ERRCODE = 'OL001'; END IF; END $$;"
    "COMMENT ON SCHEMA decider IS 'What the deciders know; written by the owners of their shards only';"
    "CREATE TABLE IF NOT EXISTS decider.shard ("
    " service text NOT NULL, shard int NOT NULL, epoch bigint NOT NULL, owner text NOT NULL,"
    " version bigint NOT NULL, done_through bigint NOT NULL, state bytea,"
    " flushed_through bigint NOT NULL DEFAULT 0, PRIMARY KEY (service, shard)) WITH (fillfactor = 20);"
    "ALTER TABLE decider.shard ADD COLUMN IF NOT EXISTS flushed_through bigint NOT NULL DEFAULT 0;"
    "COMMENT ON TABLE decider.shard IS 'One row per shard: who owns it, and (state) where it stands in its inputs and "
    "outputs. The tables hold what was changed up to flushed_through; later changes are in the outbox';"
    "CREATE TABLE IF NOT EXISTS decider.outbox ("
    " service text NOT NULL, shard int NOT NULL, id bigint NOT NULL, records bigint NOT NULL, bytes bytea NOT NULL,"
    " created_at timestamptz NOT NULL DEFAULT now(), changes bytea, PRIMARY KEY (service, shard, id));"
    "ALTER TABLE decider.outbox ADD COLUMN IF NOT EXISTS changes bytea;"
    /* They repeat themselves much, so that fewer bytes are cheaper, if made so by LZ4; a server may lack it. */
    "DO $$ BEGIN"
    " EXECUTE 'ALTER TABLE decider.outbox"
    "  ALTER COLUMN bytes SET STORAGE EXTENDED, ALTER COLUMN bytes SET COMPRESSION lz4,"
    "  ALTER COLUMN changes SET STORAGE EXTENDED, ALTER COLUMN changes SET COMPRESSION lz4';"
    " EXCEPTION WHEN feature_not_supported OR invalid_parameter_value OR syntax_error THEN"
    " ALTER TABLE decider.outbox ALTER COLUMN bytes SET STORAGE EXTERNAL,"
    "  ALTER COLUMN changes SET STORAGE EXTERNAL;"
    " END $$;"
    "COMMENT ON TABLE decider.outbox IS 'What each batch decided, until (done_through of the shard) the log has it, "
    "and a day longer; and what it changed in the tables (state/changes), until (flushed_through) they have it';"
    "CREATE TABLE IF NOT EXISTS decider.command ("
    " service text NOT NULL, shard int NOT NULL, command_id text NOT NULL, body_hash text NOT NULL,"
    " at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (service, command_id));"
    "CREATE INDEX IF NOT EXISTS command_at ON decider.command USING brin (at);"
    "COMMENT ON TABLE decider.command IS 'Ids of the commands that were decided, for as long as they can be retried';"
    "CREATE TABLE IF NOT EXISTS decider.timer ("
    " service text NOT NULL, shard int NOT NULL, key text NOT NULL, name text NOT NULL, due_us bigint NOT NULL,"
    " PRIMARY KEY (service, shard, key, name));"
    "CREATE INDEX IF NOT EXISTS timer_due ON decider.timer (service, shard, due_us);"
    "COMMENT ON TABLE decider.timer IS 'Deadlines that are still to come';"
    "CREATE TABLE IF NOT EXISTS decider.intent ("
    " service text NOT NULL, shard int NOT NULL, id text NOT NULL, key text NOT NULL, command_id text, traceparent "
    "text,"
    " request bytea NOT NULL, created_us bigint NOT NULL, PRIMARY KEY (service, shard, id));"
    "ALTER TABLE decider.intent ADD COLUMN IF NOT EXISTS tries bigint NOT NULL DEFAULT 0,"
    " ADD COLUMN IF NOT EXISTS last_error text, ADD COLUMN IF NOT EXISTS tried_us bigint,"
    " ADD COLUMN IF NOT EXISTS left_why text, ADD COLUMN IF NOT EXISTS closed boolean NOT NULL DEFAULT false;"
    "COMMENT ON TABLE decider.intent IS 'Calls to the outside that were decided and have no outcome yet; with "
    "left_why: "
    "only people can settle them (orderlog payments); closed: an operator knows that it was not done';"
    "CREATE TABLE IF NOT EXISTS decider.mark ("
    " service text NOT NULL, shard int NOT NULL, key text NOT NULL, intent text NOT NULL DEFAULT '',"
    " at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (service, shard, key, intent));"
    "ALTER TABLE decider.mark ADD COLUMN IF NOT EXISTS closes boolean NOT NULL DEFAULT false;"
    "COMMENT ON TABLE decider.mark IS 'What operators want to be tried again (or closed): an intent, or (empty) the "
    "call "
    "that was given up for this key. The owner of the shard takes it';"
    "CREATE TABLE IF NOT EXISTS decider.parked ("
    " id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, service text NOT NULL, shard int NOT NULL,"
    " topic text NOT NULL, partition int NOT NULL, \"offset\" bigint NOT NULL, subject text NOT NULL,"
    " reason text NOT NULL, behind boolean NOT NULL, status text NOT NULL DEFAULT 'parked'"
    " CHECK (status IN ('parked', 'retry', 'drop')), record bytea NOT NULL,"
    " parked_at timestamptz NOT NULL DEFAULT now());"
    "CREATE INDEX IF NOT EXISTS parked_subject ON decider.parked (service, shard, subject, id);"
    "COMMENT ON TABLE decider.parked IS 'Records that could not be handled, and the later ones of their subjects';";

static void add_table(struct buf *sql, const struct decider_table *table) {
    const char *name = table->name;
    buf_printf(sql,
               "CREATE TABLE IF NOT EXISTS decider.%s ("
               " shard int NOT NULL, key text PRIMARY KEY, version bigint NOT NULL,"
               " guard bigint NOT NULL CHECK (guard >= 0), closed boolean NOT NULL, state bytea NOT NULL)"
               " WITH (fillfactor = 70);",
               name);
    if (table->swept)
        buf_printf(sql, "CREATE INDEX IF NOT EXISTS %s_open ON decider.%s (shard) WHERE NOT closed;", name, name);
}

bool loop_migrate(const char *database_url, const struct decider *const *deciders, size_t count, struct err *err) {
    struct pg *pg;
    BUF_AUTO sql = {0};
    /* Two processes that start at once take turns: CREATE … IF NOT EXISTS alone can fail under a race. */
    buf_printf(&sql, "BEGIN; SELECT pg_advisory_xact_lock(4242001); %s", shared_tables);
    for (size_t i = 0; i < count; i++)
        for (size_t t = 0; t < deciders[i]->table_count; t++)
            add_table(&sql, &deciders[i]->tables[t]);
    buf_printf(&sql, "COMMIT;");
    if (!pg_open(database_url, NULL, &pg, err))
        return false;
    bool ok = pg_script(pg, sql.ptr, err);
    pg_close(pg);
    return ok || err_wrap(err, "making the deciders' tables");
}
