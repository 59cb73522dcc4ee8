/* The schema of the views, version 3: an order's history takes a row for each batch that had something of it, not for
 * each event; order_events is a view of that. Every statement may be run again over what it made, as in 001. */
static const char sql_003_history[] = R"sql(
CREATE TABLE IF NOT EXISTS order_history (
    order_id  uuid          NOT NULL,
    partition integer       NOT NULL,
    topic     text[]        NOT NULL,
    "offset"  bigint[]      NOT NULL,
    id        text[]        NOT NULL,
    type      text[]        NOT NULL,
    time      timestamptz[] NOT NULL,
    event     text[]        NOT NULL
);
CREATE INDEX IF NOT EXISTS order_history_of_order ON order_history (order_id);
COMMENT ON TABLE order_history IS
    'What view order_events shows: what one batch of the projector had of an order, an element for each event';
COMMENT ON COLUMN order_history.order_id  IS 'The order';
COMMENT ON COLUMN order_history.partition IS 'Of all topics that speak of this order';
COMMENT ON COLUMN order_history.topic     IS 'See order_events';
COMMENT ON COLUMN order_history."offset"  IS 'See order_events';
COMMENT ON COLUMN order_history.id        IS 'See order_events';
COMMENT ON COLUMN order_history.type      IS 'See order_events';
COMMENT ON COLUMN order_history.time      IS 'See order_events';
COMMENT ON COLUMN order_history.event     IS 'See order_events';

-- Events repeat themselves much: four times smaller. A server may lack LZ4.
DO $$
BEGIN
    EXECUTE 'ALTER TABLE order_history ALTER topic SET COMPRESSION lz4, ALTER id SET COMPRESSION lz4, '
            'ALTER type SET COMPRESSION lz4, ALTER event SET COMPRESSION lz4';
EXCEPTION WHEN feature_not_supported OR invalid_parameter_value OR syntax_error THEN
    ALTER TABLE order_history ALTER event SET STORAGE EXTERNAL;
END $$;

-- What versions 1 and 2 wrote is taken over.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('order_events') AND relkind = 'r') THEN
        ALTER TABLE order_events RENAME TO order_events_before;
        INSERT INTO order_history
        SELECT order_id, partition, array_agg(topic ORDER BY time, topic COLLATE "C", "offset"),
               array_agg("offset" ORDER BY time, topic COLLATE "C", "offset"),
               array_agg(id ORDER BY time, topic COLLATE "C", "offset"),
               array_agg(type ORDER BY time, topic COLLATE "C", "offset"),
               array_agg(time ORDER BY time, topic COLLATE "C", "offset"),
               array_agg(event::text ORDER BY time, topic COLLATE "C", "offset")
        FROM order_events_before
        GROUP BY order_id, partition;
    END IF;
END $$;

CREATE OR REPLACE VIEW order_events AS
SELECT h.order_id, e.topic, h.partition, e."offset", e.id, e.type, e.time, e.event::json AS event
FROM order_history h
CROSS JOIN LATERAL unnest(h.topic, h."offset", h.id, h.type, h.time, h.event)
    AS e (topic, "offset", id, type, time, event);
COMMENT ON VIEW order_events IS 'All that happened to an order: order, payment, fulfilment and reservation events';
COMMENT ON COLUMN order_events.order_id  IS 'The order';
COMMENT ON COLUMN order_events.topic     IS 'With partition and offset: where the record is in the log';
COMMENT ON COLUMN order_events.partition IS 'See topic';
COMMENT ON COLUMN order_events."offset"  IS 'See topic';
COMMENT ON COLUMN order_events.id        IS 'ce_id';
COMMENT ON COLUMN order_events.type      IS 'shop.order.v1.OrderPlaced, …';
COMMENT ON COLUMN order_events.time      IS 'When the log took it';
COMMENT ON COLUMN order_events.event     IS 'The event, as the API answers it';

-- As in version 2, of the new one.
CREATE OR REPLACE VIEW v_payments AS
SELECT p.order_id, p.payment_id, p.attempt, p.status, p.currency, p.amount_minor,
       amount(p.amount_minor, p.currency) AS amount,
       CASE WHEN p.status IN ('authorized', 'captured', 'expired', 'refunded')
            THEN (SELECT max(e.time) FROM order_events e
                  WHERE e.order_id = p.order_id AND e.type = 'shop.payment.v1.PaymentAuthorized') END AS authorized_at,
       CASE WHEN p.status IN ('captured', 'refunded')
            THEN (SELECT max(e.time) FROM order_events e
                  WHERE e.order_id = p.order_id AND e.type = 'shop.payment.v1.PaymentCaptured') END AS captured_at,
       o.status AS order_status, o.placed_at
FROM payments p
LEFT JOIN orders o USING (order_id);

CREATE OR REPLACE VIEW v_order_events AS
SELECT order_id, time, type, regexp_replace(type, '^.*\.', '') AS name, topic, partition, "offset", id
FROM order_events;

DROP TABLE IF EXISTS order_events_before;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'orderlog_analyst') THEN
        REVOKE ALL ON order_history FROM orderlog_analyst;
        GRANT SELECT (order_id, topic, partition, "offset", id, type, time) ON order_events TO orderlog_analyst;
    END IF;
END $$;
)sql";
