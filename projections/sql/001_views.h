/* The schema of the views, version 1. Run by migrate.c, in one transaction, with the schema as search_path: nothing
 * here names it, so that another generation of it can be made beside the live one and renamed. Every statement may be
 * run again over what it made: a rebuild may begin with TRUNCATE of all tables here, schema_version among them. */
static const char sql_001_views[] = R"sql(
CREATE TABLE IF NOT EXISTS schema_version (version integer PRIMARY KEY);
COMMENT ON TABLE schema_version IS 'The migrations of this schema that were run';

-- Where the projectors stand --------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS positions (
    service   text    NOT NULL,
    shard     integer NOT NULL,
    positions bytea   NOT NULL,
    PRIMARY KEY (service, shard)
) WITH (fillfactor = 50);
COMMENT ON TABLE positions IS
    'How far each shard of each projector has come; changes in the same transaction as the rows';
COMMENT ON COLUMN positions.service   IS 'view-orders, …';
COMMENT ON COLUMN positions.shard     IS 'Shard i is partition i of each topic that the service reads';
COMMENT ON COLUMN positions.positions IS 'Schema state/positions: offsets, and last numbers per origin';

CREATE TABLE IF NOT EXISTS parked (
    service   text        NOT NULL,
    shard     integer     NOT NULL,
    topic     text        NOT NULL,
    partition integer     NOT NULL,
    "offset"  bigint      NOT NULL,
    at        timestamptz NOT NULL,
    subject   text        NOT NULL,
    id        text        NOT NULL,
    type      text        NOT NULL,
    reason    text        NOT NULL,
    record    bytea       NOT NULL,
    PRIMARY KEY (service, topic, partition, "offset")
);
CREATE INDEX IF NOT EXISTS parked_subject ON parked (service, shard, subject);
COMMENT ON TABLE parked IS 'Records that could not be handled, and what came of their subjects after them';
COMMENT ON COLUMN parked.at      IS 'When the log took the record';
COMMENT ON COLUMN parked.subject IS 'The cart, order or SKU: nothing of it is applied behind this';
COMMENT ON COLUMN parked.id      IS 'ce_id; empty: it had none';
COMMENT ON COLUMN parked.type    IS 'ce_type; empty: it had none';
COMMENT ON COLUMN parked.record  IS 'The whole record, as core/log/record_codec.h writes it';

-- Orders ----------------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS orders (
    order_id       uuid PRIMARY KEY,
    shopper_id     uuid,
    cart_id        uuid,
    status         text,
    reason         text,
    currency       text,
    items_minor    bigint,
    discount_minor bigint,
    shipping_minor bigint,
    tax_minor      bigint,
    total_minor    bigint,
    placed_at      timestamptz,
    updated_at     timestamptz,
    version        integer NOT NULL,
    confirmed_at   timestamptz,
    completed_at   timestamptz,
    "row"          bytea NOT NULL
) WITH (fillfactor = 70);
ALTER TABLE orders ALTER COLUMN "row" SET STORAGE EXTERNAL;
CREATE INDEX IF NOT EXISTS orders_of_shopper ON orders (shopper_id, placed_at DESC, order_id DESC);
COMMENT ON TABLE orders IS
    'One row per order. Status NULL: another topic spoke of it first, and order.events has not yet';
COMMENT ON COLUMN orders.status       IS 'pending, awaiting_payment, payment_failed, confirmed, processing, shipped, delivered, completed, cancelling, cancelled, rejected or expired';
COMMENT ON COLUMN orders.reason       IS 'Why, as a slug: out-of-stock, payment-declined, …';
COMMENT ON COLUMN orders.items_minor  IS 'Money is in minor units (cents) of currency; items + shipping + tax - discount = total';
COMMENT ON COLUMN orders.placed_at    IS 'When checkout decided';
COMMENT ON COLUMN orders.updated_at   IS 'When the log took the last of its order.events';
COMMENT ON COLUMN orders.version      IS 'Of order.events: 1, 2, 3, …; 0: none yet';
COMMENT ON COLUMN orders.confirmed_at IS 'When it was paid for (authorised)';
COMMENT ON COLUMN orders.completed_at IS 'Delivered, captured and consumed';
COMMENT ON COLUMN orders."row"        IS 'Schema view/order: all that the API answers';

CREATE TABLE IF NOT EXISTS order_lines (
    order_id         uuid    NOT NULL,
    line_no          integer NOT NULL,
    sku              text    COLLATE "C" NOT NULL,
    name             text    NOT NULL,
    quantity         integer NOT NULL,
    unit_price_minor bigint  NOT NULL,
    line_total_minor bigint  NOT NULL,
    PRIMARY KEY (order_id, line_no)
);
CREATE INDEX IF NOT EXISTS order_lines_of_sku ON order_lines (sku);
COMMENT ON TABLE order_lines IS 'What was ordered, at the price that counted; the currency is the order''s';
COMMENT ON COLUMN order_lines.line_no IS '1, 2, 3, … as placed';

CREATE TABLE IF NOT EXISTS payments (
    order_id     uuid    NOT NULL,
    payment_id   uuid    NOT NULL,
    attempt      integer NOT NULL,
    status       text    NOT NULL,
    amount_minor bigint  NOT NULL,
    currency     text    NOT NULL,
    PRIMARY KEY (order_id, payment_id)
) WITH (fillfactor = 80);
COMMENT ON TABLE payments IS 'The attempts to pay for an order';
COMMENT ON COLUMN payments.attempt      IS '1, 2, 3, … in the order in which they were heard of';
COMMENT ON COLUMN payments.status       IS 'created, authorizing, authorized, declined, unknown, captured, voided, expired or refunded';
COMMENT ON COLUMN payments.amount_minor IS 'Asked for, then authorised, then captured';

CREATE TABLE IF NOT EXISTS shipments (
    order_id    uuid NOT NULL,
    shipment_id uuid NOT NULL,
    status      text NOT NULL,
    carrier     text,
    tracking    text,
    PRIMARY KEY (order_id, shipment_id)
);
COMMENT ON TABLE shipments IS 'What was handed to a carrier';
COMMENT ON COLUMN shipments.status IS 'dispatched or delivered';

CREATE TABLE IF NOT EXISTS order_events (
    order_id  uuid        NOT NULL,
    topic     text        NOT NULL,
    partition integer     NOT NULL,
    "offset"  bigint      NOT NULL,
    id        text        NOT NULL,
    type      text        NOT NULL,
    time      timestamptz NOT NULL,
    event     json        NOT NULL,
    PRIMARY KEY (order_id, topic, partition, "offset")
);
COMMENT ON COLUMN order_events.id   IS 'ce_id';
COMMENT ON COLUMN order_events.type IS 'shop.order.v1.OrderPlaced, …';
COMMENT ON COLUMN order_events.time IS 'When the log took it';

CREATE TABLE IF NOT EXISTS sales_by_hour (
    hour             timestamptz NOT NULL,
    shard            integer     NOT NULL,
    currency         text        NOT NULL,
    orders           bigint      NOT NULL,
    items            bigint      NOT NULL,
    revenue_minor    bigint      NOT NULL,
    cancelled_orders bigint      NOT NULL,
    cancelled_items  bigint      NOT NULL,
    cancelled_minor  bigint      NOT NULL,
    PRIMARY KEY (hour, shard, currency)
) WITH (fillfactor = 50);
COMMENT ON TABLE sales_by_hour IS
    'Orders confirmed in an hour, and confirmed orders cancelled in an hour (not subtracted); sum over the shards';
COMMENT ON COLUMN sales_by_hour.shard         IS 'Each shard of view-orders counts its own';
COMMENT ON COLUMN sales_by_hour.items         IS 'Sum of the lines'' quantities';
COMMENT ON COLUMN sales_by_hour.revenue_minor IS 'Sum of the orders'' totals';

-- Carts -----------------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS carts (
    cart_id    uuid PRIMARY KEY,
    shopper_id uuid,
    status     text NOT NULL,
    order_id   uuid,
    currency   text,
    changed_at timestamptz,
    "row"      bytea NOT NULL
) WITH (fillfactor = 70);
ALTER TABLE carts ALTER COLUMN "row" SET STORAGE EXTERNAL;
COMMENT ON TABLE carts IS 'One row per cart. Shopper NULL: spoken of, but not created';
COMMENT ON COLUMN carts.status     IS 'open, checked_out or abandoned';
COMMENT ON COLUMN carts.order_id   IS 'Of a cart that is checked out';
COMMENT ON COLUMN carts.changed_at IS 'When the log took its last record of cart.events';
COMMENT ON COLUMN carts."row"      IS 'Schema state/cart';

CREATE TABLE IF NOT EXISTS cart_lines (
    cart_id  uuid    NOT NULL,
    sku      text    COLLATE "C" NOT NULL,
    quantity integer NOT NULL,
    PRIMARY KEY (cart_id, sku)
);
COMMENT ON TABLE cart_lines IS 'What lies in a cart; prices are the products''';

-- Products and stock ----------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS products (
    sku         text COLLATE "C" PRIMARY KEY,
    name        text,
    price_minor bigint,
    currency    text,
    revision    bigint,
    for_sale    boolean NOT NULL,
    available   bigint  NOT NULL,
    "row"       bytea   NOT NULL
) WITH (fillfactor = 70);
ALTER TABLE products ALTER COLUMN "row" SET STORAGE EXTERNAL;
COMMENT ON TABLE products IS 'One row per SKU. Revision NULL: only its stock is known';
COMMENT ON COLUMN products.revision  IS 'Offset of the ProductRevised that set name and price';
COMMENT ON COLUMN products.available IS 'Over all locations';
COMMENT ON COLUMN products."row"     IS 'Schema view/product: all that the API answers';

CREATE TABLE IF NOT EXISTS stock (
    location  text   NOT NULL,
    sku       text   COLLATE "C" NOT NULL,
    version   bigint NOT NULL,
    received  bigint NOT NULL,
    adjusted  bigint NOT NULL,
    restocked bigint NOT NULL,
    held      bigint NOT NULL,
    committed bigint NOT NULL,
    consumed  bigint NOT NULL,
    available bigint NOT NULL,
    PRIMARY KEY (location, sku)
) WITH (fillfactor = 70);
COMMENT ON TABLE stock IS
    'Stock per location: available = received + adjusted + restocked - held - committed - consumed';
COMMENT ON COLUMN stock.version IS '1, 2, 3, … changes of this row';

CREATE TABLE IF NOT EXISTS stock_ledger (
    location  text        NOT NULL,
    sku       text        COLLATE "C" NOT NULL,
    version   bigint      NOT NULL,
    kind      text        NOT NULL,
    quantity  bigint      NOT NULL,
    received  bigint      NOT NULL,
    adjusted  bigint      NOT NULL,
    restocked bigint      NOT NULL,
    held      bigint      NOT NULL,
    committed bigint      NOT NULL,
    consumed  bigint      NOT NULL,
    available bigint      NOT NULL,
    order_id  uuid,
    reason    text,
    topic     text        NOT NULL,
    partition integer     NOT NULL,
    "offset"  bigint      NOT NULL,
    at        timestamptz NOT NULL,
    PRIMARY KEY (location, sku, version)
);
COMMENT ON TABLE stock_ledger IS
    'Every change of stock with the counters after it, from stock.events and reservation.events; no version is missing';
COMMENT ON COLUMN stock_ledger.version  IS '1, 2, 3, … per (location, sku), without holes';
COMMENT ON COLUMN stock_ledger.kind     IS 'received, adjusted, reserved, committed, released or consumed';
COMMENT ON COLUMN stock_ledger.quantity IS 'So many units; signed for adjusted';
COMMENT ON COLUMN stock_ledger.order_id IS 'NULL for received and adjusted';
COMMENT ON COLUMN stock_ledger.topic    IS 'With partition and offset: the record that says so';
COMMENT ON COLUMN stock_ledger.at       IS 'When the log took it';
)sql";
