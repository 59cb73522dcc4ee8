/* The schema of the views, version 4: an order's lines take one row, and so does what one record says of the stock;
 * order_lines and stock_ledger are views of that. Every statement may be run again over what it made, as in 001. */
static const char sql_004_sets[] = R"sql(
CREATE TABLE IF NOT EXISTS order_goods (
    order_id         uuid     PRIMARY KEY,
    sku              text[]   COLLATE "C" NOT NULL,
    name             text[]   NOT NULL,
    quantity         bigint[] NOT NULL,
    unit_price_minor bigint[] NOT NULL,
    line_total_minor bigint[] NOT NULL
);
COMMENT ON TABLE order_goods IS 'What view order_lines shows: an element for each line of an order, as placed';
COMMENT ON COLUMN order_goods.order_id         IS 'The order';
COMMENT ON COLUMN order_goods.sku              IS 'See order_lines';
COMMENT ON COLUMN order_goods.name             IS 'See order_lines';
COMMENT ON COLUMN order_goods.quantity         IS 'See order_lines';
COMMENT ON COLUMN order_goods.unit_price_minor IS 'See order_lines';
COMMENT ON COLUMN order_goods.line_total_minor IS 'See order_lines';

CREATE TABLE IF NOT EXISTS stock_records (
    location  text        NOT NULL,
    kind      text        NOT NULL,
    order_id  uuid,
    reason    text,
    topic     text        NOT NULL,
    partition integer     NOT NULL,
    "offset"  bigint      NOT NULL,
    at        timestamptz NOT NULL,
    sku       text[]      COLLATE "C" NOT NULL,
    counters  bigint[]    NOT NULL
);
COMMENT ON TABLE stock_records IS 'What view stock_ledger shows: what one record says, an element for each of its SKUs';
COMMENT ON COLUMN stock_records.location  IS 'See stock_ledger';
COMMENT ON COLUMN stock_records.kind      IS 'See stock_ledger';
COMMENT ON COLUMN stock_records.order_id  IS 'See stock_ledger';
COMMENT ON COLUMN stock_records.reason    IS 'See stock_ledger';
COMMENT ON COLUMN stock_records.topic     IS 'See stock_ledger';
COMMENT ON COLUMN stock_records.partition IS 'See stock_ledger';
COMMENT ON COLUMN stock_records."offset"  IS 'See stock_ledger';
COMMENT ON COLUMN stock_records.at        IS 'See stock_ledger';
COMMENT ON COLUMN stock_records.sku       IS 'See stock_ledger';
COMMENT ON COLUMN stock_records.counters  IS
    'Nine of each SKU: version, quantity, received, adjusted, restocked, held, committed, consumed, available';

-- The tables of version 1 become views; what they held is taken over, and what was made on them is made on the views.
DO $$
DECLARE
    names  text[];
    bodies text[];
BEGIN
    IF EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('order_lines') AND relkind = 'r') THEN
        SELECT array_agg(v.name ORDER BY v.id), array_agg(v.body ORDER BY v.id)
        INTO names, bodies
        FROM (SELECT DISTINCT c.oid AS id, c.relname::text AS name, pg_get_viewdef(c.oid) AS body
              FROM pg_depend d
              JOIN pg_rewrite w ON w.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
              JOIN pg_class c ON c.oid = w.ev_class
              WHERE d.refobjid IN (to_regclass('order_lines'), to_regclass('stock_ledger')) AND c.relkind = 'v'
                AND c.relnamespace = current_schema()::regnamespace) v;
        ALTER TABLE order_lines RENAME TO order_lines_before;
        ALTER TABLE stock_ledger RENAME TO stock_ledger_before;
        INSERT INTO order_goods
        SELECT order_id, array_agg(sku ORDER BY line_no), array_agg(name ORDER BY line_no),
               array_agg(quantity::bigint ORDER BY line_no), array_agg(unit_price_minor ORDER BY line_no),
               array_agg(line_total_minor ORDER BY line_no)
        FROM order_lines_before
        GROUP BY order_id;
        INSERT INTO stock_records
        SELECT location, kind, order_id, reason, topic, partition, "offset", at, ARRAY[sku],
               ARRAY[version, quantity, received, adjusted, restocked, held, committed, consumed, available]
        FROM stock_ledger_before;
    END IF;

    CREATE OR REPLACE VIEW order_lines AS
    SELECT g.order_id, l.line_no::integer AS line_no, l.sku, l.name, l.quantity::integer AS quantity,
           l.unit_price_minor, l.line_total_minor
    FROM order_goods g
    CROSS JOIN LATERAL unnest(g.sku, g.name, g.quantity, g.unit_price_minor, g.line_total_minor)
        WITH ORDINALITY AS l (sku, name, quantity, unit_price_minor, line_total_minor, line_no);

    CREATE OR REPLACE VIEW stock_ledger AS
    SELECT r.location, l.sku, r.counters[l.at + 1] AS version, r.kind, r.counters[l.at + 2] AS quantity,
           r.counters[l.at + 3] AS received, r.counters[l.at + 4] AS adjusted, r.counters[l.at + 5] AS restocked,
           r.counters[l.at + 6] AS held, r.counters[l.at + 7] AS committed, r.counters[l.at + 8] AS consumed,
           r.counters[l.at + 9] AS available, r.order_id, r.reason, r.topic, r.partition, r."offset", r.at
    FROM stock_records r
    CROSS JOIN LATERAL (SELECT u.sku, (u.n::integer - 1) * 9 AS at
                        FROM unnest(r.sku) WITH ORDINALITY AS u (sku, n)) l;

    FOR i IN 1 .. coalesce(array_length(names, 1), 0) LOOP
        EXECUTE format('CREATE OR REPLACE VIEW %I AS %s', names[i], bodies[i]);
    END LOOP;
END $$;

DROP TABLE IF EXISTS order_lines_before, stock_ledger_before;

COMMENT ON VIEW order_lines IS 'What was ordered, at the price that counted; the currency is the order''s';
COMMENT ON COLUMN order_lines.order_id         IS 'The order';
COMMENT ON COLUMN order_lines.line_no          IS '1, 2, 3, … as placed';
COMMENT ON COLUMN order_lines.sku              IS 'The product';
COMMENT ON COLUMN order_lines.name             IS 'The product''s name when it was ordered';
COMMENT ON COLUMN order_lines.quantity         IS 'Units, 1 or more';
COMMENT ON COLUMN order_lines.unit_price_minor IS 'In minor units (cents) of the order''s currency';
COMMENT ON COLUMN order_lines.line_total_minor IS 'quantity × unit_price_minor';

COMMENT ON VIEW stock_ledger IS
    'Every change of stock with the counters after it, from stock.events and reservation.events; no version is missing';
COMMENT ON COLUMN stock_ledger.location  IS 'Where the units are';
COMMENT ON COLUMN stock_ledger.sku       IS 'The product';
COMMENT ON COLUMN stock_ledger.version   IS '1, 2, 3, … per (location, sku), without holes';
COMMENT ON COLUMN stock_ledger.kind      IS 'received, adjusted, reserved, committed, released or consumed';
COMMENT ON COLUMN stock_ledger.quantity  IS 'So many units; signed for adjusted';
COMMENT ON COLUMN stock_ledger.received  IS 'Units ever received, after this change';
COMMENT ON COLUMN stock_ledger.adjusted  IS 'Units added or (negative) taken away by hand, in all, after this change';
COMMENT ON COLUMN stock_ledger.restocked IS 'Units that came back, in all, after this change';
COMMENT ON COLUMN stock_ledger.held      IS 'Units held for orders that are not paid for yet, after this change';
COMMENT ON COLUMN stock_ledger.committed IS 'Units of paid orders that are not sent yet, after this change';
COMMENT ON COLUMN stock_ledger.consumed  IS 'Units sent, in all, after this change';
COMMENT ON COLUMN stock_ledger.available IS 'Units that can be sold, after this change; never below 0';
COMMENT ON COLUMN stock_ledger.order_id  IS 'NULL for received and adjusted';
COMMENT ON COLUMN stock_ledger.reason    IS 'Of an adjustment or a release, as a slug';
COMMENT ON COLUMN stock_ledger.topic     IS 'With partition and offset: the record that says so';
COMMENT ON COLUMN stock_ledger.partition IS 'See topic';
COMMENT ON COLUMN stock_ledger."offset"  IS 'See topic';
COMMENT ON COLUMN stock_ledger.at        IS 'When the log took it';

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'orderlog_analyst') THEN
        REVOKE ALL ON order_goods, stock_records FROM orderlog_analyst;
        GRANT SELECT ON order_lines, stock_ledger TO orderlog_analyst;
    END IF;
END $$;
)sql";
