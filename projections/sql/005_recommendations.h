/* The schema of the views, version 5: what is bought together. Every statement may be run again over what it made, as
 * in 001. */
static const char sql_005_recommendations[] = R"sql(
CREATE TABLE IF NOT EXISTS recommendations (
    key   text  COLLATE "C" PRIMARY KEY,
    "row" bytea NOT NULL
) WITH (fillfactor = 70);
ALTER TABLE recommendations ALTER COLUMN "row" SET STORAGE EXTERNAL;
COMMENT ON TABLE recommendations IS
    'What confirmed orders held beside a SKU: one row per shard and SKU; who asks for a SKU adds up its shards';
COMMENT ON COLUMN recommendations.key   IS 'shard/SKU';
COMMENT ON COLUMN recommendations."row" IS 'Schema view/recommendation';
)sql";
