/* The schema of the views, version 2: for analysts. A word on every column, the views v_*, and a role that may read
 * them. As in 001, nothing names the schema, and every statement may be run again. A view that later needs other
 * columns gets them at its end, or is dropped and made anew by a later version. */
static const char sql_002_analysts[] = R"sql(
-- Columns that version 1 left without a word ----------------------------------------------------------------------

COMMENT ON COLUMN schema_version.version IS '1, 2, 3, …';

COMMENT ON COLUMN parked.service     IS 'view-orders, …';
COMMENT ON COLUMN parked.shard       IS 'Shard i is partition i of each topic that the service reads';
COMMENT ON COLUMN parked.topic       IS 'With partition and offset: where the record is in the log';
COMMENT ON COLUMN parked.partition   IS 'See topic';
COMMENT ON COLUMN parked."offset"    IS 'See topic';
COMMENT ON COLUMN parked.reason      IS 'Why it could not be handled';

COMMENT ON COLUMN orders.order_id       IS 'The order';
COMMENT ON COLUMN orders.shopper_id     IS 'Who ordered: a pseudonym, the same for one guest session';
COMMENT ON COLUMN orders.cart_id        IS 'The cart that was checked out; a cart may be checked out again after a refusal';
COMMENT ON COLUMN orders.currency       IS 'ISO 4217, of all amounts of the order';
COMMENT ON COLUMN orders.discount_minor IS 'In minor units (cents) of currency; taken off';
COMMENT ON COLUMN orders.shipping_minor IS 'In minor units (cents) of currency';
COMMENT ON COLUMN orders.tax_minor      IS 'In minor units (cents) of currency';
COMMENT ON COLUMN orders.total_minor    IS 'In minor units (cents) of currency: what the shopper pays';

COMMENT ON COLUMN order_lines.order_id         IS 'The order';
COMMENT ON COLUMN order_lines.sku              IS 'The product';
COMMENT ON COLUMN order_lines.name             IS 'The product''s name when it was ordered';
COMMENT ON COLUMN order_lines.quantity         IS 'Units, 1 or more';
COMMENT ON COLUMN order_lines.unit_price_minor IS 'In minor units (cents) of the order''s currency';
COMMENT ON COLUMN order_lines.line_total_minor IS 'quantity × unit_price_minor';

COMMENT ON COLUMN payments.order_id   IS 'The order';
COMMENT ON COLUMN payments.payment_id IS 'This attempt';
COMMENT ON COLUMN payments.currency   IS 'ISO 4217';

COMMENT ON COLUMN shipments.order_id    IS 'The order';
COMMENT ON COLUMN shipments.shipment_id IS 'The parcel';
COMMENT ON COLUMN shipments.carrier     IS 'Who carries it';
COMMENT ON COLUMN shipments.tracking    IS 'The carrier''s number. It leads to a person: analysts do not see it';

COMMENT ON COLUMN order_events.order_id  IS 'The order';
COMMENT ON COLUMN order_events.topic     IS 'With partition and offset: where the record is in the log';
COMMENT ON COLUMN order_events.partition IS 'See topic';
COMMENT ON COLUMN order_events."offset"  IS 'See topic';
COMMENT ON COLUMN order_events.event     IS 'The event, as the API answers it';

COMMENT ON COLUMN sales_by_hour.hour             IS 'When the hour began, UTC; by the time at which the log took the event';
COMMENT ON COLUMN sales_by_hour.currency         IS 'ISO 4217';
COMMENT ON COLUMN sales_by_hour.orders           IS 'Orders confirmed (paid for) in this hour';
COMMENT ON COLUMN sales_by_hour.cancelled_orders IS 'Confirmed orders, of any hour, that were cancelled in this hour';
COMMENT ON COLUMN sales_by_hour.cancelled_items  IS 'Sum of their lines'' quantities';
COMMENT ON COLUMN sales_by_hour.cancelled_minor  IS 'Sum of their totals, in minor units (cents) of currency';

COMMENT ON COLUMN carts.cart_id    IS 'The cart';
COMMENT ON COLUMN carts.shopper_id IS 'Whose it is: a pseudonym, the same for one guest session';
COMMENT ON COLUMN carts.currency   IS 'ISO 4217';

COMMENT ON COLUMN cart_lines.cart_id  IS 'The cart';
COMMENT ON COLUMN cart_lines.sku      IS 'The product';
COMMENT ON COLUMN cart_lines.quantity IS 'Units, 1 or more';

COMMENT ON COLUMN products.sku         IS 'The product';
COMMENT ON COLUMN products.name        IS 'Its name now';
COMMENT ON COLUMN products.price_minor IS 'Its price now, in minor units (cents) of currency';
COMMENT ON COLUMN products.currency    IS 'ISO 4217';
COMMENT ON COLUMN products.for_sale    IS 'False: withdrawn, or never put on sale';

COMMENT ON COLUMN stock.location  IS 'Where the units are';
COMMENT ON COLUMN stock.sku       IS 'The product';
COMMENT ON COLUMN stock.received  IS 'Units ever received';
COMMENT ON COLUMN stock.adjusted  IS 'Units added or (negative) taken away by hand, in all';
COMMENT ON COLUMN stock.restocked IS 'Units that came back, in all';
COMMENT ON COLUMN stock.held      IS 'Units held for orders that are not paid for yet';
COMMENT ON COLUMN stock.committed IS 'Units of orders that are paid for and not sent yet';
COMMENT ON COLUMN stock.consumed  IS 'Units sent, in all';
COMMENT ON COLUMN stock.available IS 'Units that can be sold now; never below 0';

COMMENT ON COLUMN stock_ledger.location  IS 'Where the units are';
COMMENT ON COLUMN stock_ledger.sku       IS 'The product';
COMMENT ON COLUMN stock_ledger.received  IS 'Units ever received, after this change';
COMMENT ON COLUMN stock_ledger.adjusted  IS 'Units added or (negative) taken away by hand, in all, after this change';
COMMENT ON COLUMN stock_ledger.restocked IS 'Units that came back, in all, after this change';
COMMENT ON COLUMN stock_ledger.held      IS 'Units held for orders that are not paid for yet, after this change';
COMMENT ON COLUMN stock_ledger.committed IS 'Units of paid orders that are not sent yet, after this change';
COMMENT ON COLUMN stock_ledger.consumed  IS 'Units sent, in all, after this change';
COMMENT ON COLUMN stock_ledger.available IS 'Units that can be sold, after this change; never below 0';
COMMENT ON COLUMN stock_ledger.reason    IS 'Of an adjustment or a release, as a slug';
COMMENT ON COLUMN stock_ledger.partition IS 'See topic';
COMMENT ON COLUMN stock_ledger."offset"  IS 'See topic';

-- Money as analysts write it ----------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION amount(minor numeric, currency text) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI',
                                  'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN minor
                WHEN currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN minor * 0.001
                WHEN currency IN ('CLF', 'UYW') THEN minor * 0.0001
                ELSE minor * 0.01 END $$;
COMMENT ON FUNCTION amount(numeric, text) IS
    'Minor units (cents) as an exact number of the currency''s units, by ISO 4217: 1999 of USD is 19.99, of JPY 1999';

-- Views -------------------------------------------------------------------------------------------------------------

CREATE OR REPLACE VIEW v_orders AS
SELECT o.order_id, o.shopper_id, o.cart_id, o.status, o.reason,
       o.confirmed_at IS NOT NULL AND o.status <> 'cancelled' AS is_sale,
       o.placed_at, o.confirmed_at, o.completed_at, o.updated_at,
       extract(epoch FROM o.confirmed_at - o.placed_at) AS seconds_to_confirmed,
       coalesce(l.lines, 0) AS lines, coalesce(l.units, 0) AS units, o.currency,
       o.items_minor, o.discount_minor, o.shipping_minor, o.tax_minor, o.total_minor,
       amount(o.items_minor, o.currency) AS items, amount(o.discount_minor, o.currency) AS discount,
       amount(o.shipping_minor, o.currency) AS shipping, amount(o.tax_minor, o.currency) AS tax,
       amount(o.total_minor, o.currency) AS total
FROM orders o
LEFT JOIN (SELECT order_id, count(*) AS lines, sum(quantity) AS units FROM order_lines GROUP BY order_id) l
    USING (order_id)
WHERE o.status IS NOT NULL;
COMMENT ON VIEW v_orders IS 'One row per order, refused ones too';
COMMENT ON COLUMN v_orders.order_id             IS 'The order';
COMMENT ON COLUMN v_orders.shopper_id           IS 'Who ordered: a pseudonym, the same for one guest session';
COMMENT ON COLUMN v_orders.cart_id              IS 'The cart that was checked out; a cart may be checked out again after a refusal';
COMMENT ON COLUMN v_orders.status               IS 'pending, awaiting_payment, payment_failed, confirmed, processing, shipped, delivered, completed, cancelling, cancelled, rejected or expired';
COMMENT ON COLUMN v_orders.reason               IS 'Why it is rejected, cancelled, …, as a slug: out-of-stock, payment-declined, …';
COMMENT ON COLUMN v_orders.is_sale              IS 'Confirmed (paid for), and not cancelled since';
COMMENT ON COLUMN v_orders.placed_at            IS 'When checkout decided';
COMMENT ON COLUMN v_orders.confirmed_at         IS 'When it was paid for (authorised); NULL: never';
COMMENT ON COLUMN v_orders.completed_at         IS 'When it was delivered, captured and consumed; NULL: not yet';
COMMENT ON COLUMN v_orders.updated_at           IS 'When its status changed last';
COMMENT ON COLUMN v_orders.seconds_to_confirmed IS 'From placed_at to confirmed_at, in seconds';
COMMENT ON COLUMN v_orders.lines                IS 'How many lines; 0 for an order that was refused before it was placed';
COMMENT ON COLUMN v_orders.units                IS 'Sum of the lines'' quantities';
COMMENT ON COLUMN v_orders.currency             IS 'ISO 4217, of all amounts';
COMMENT ON COLUMN v_orders.items_minor          IS 'Sum of the lines, in minor units (cents)';
COMMENT ON COLUMN v_orders.discount_minor       IS 'Taken off, in minor units (cents)';
COMMENT ON COLUMN v_orders.shipping_minor       IS 'In minor units (cents)';
COMMENT ON COLUMN v_orders.tax_minor            IS 'In minor units (cents)';
COMMENT ON COLUMN v_orders.total_minor          IS 'items + shipping + tax - discount, in minor units (cents)';
COMMENT ON COLUMN v_orders.items                IS 'items_minor in units of currency';
COMMENT ON COLUMN v_orders.discount             IS 'discount_minor in units of currency';
COMMENT ON COLUMN v_orders.shipping             IS 'shipping_minor in units of currency';
COMMENT ON COLUMN v_orders.tax                  IS 'tax_minor in units of currency';
COMMENT ON COLUMN v_orders.total                IS 'total_minor in units of currency';

CREATE OR REPLACE VIEW v_lines AS
SELECT l.order_id, l.line_no, l.sku, l.name, l.quantity, o.currency, l.unit_price_minor, l.line_total_minor,
       amount(l.unit_price_minor, o.currency) AS unit_price, amount(l.line_total_minor, o.currency) AS line_total,
       o.shopper_id, o.status, o.confirmed_at IS NOT NULL AND o.status <> 'cancelled' AS is_sale, o.placed_at,
       o.confirmed_at
FROM order_lines l
JOIN orders o USING (order_id);
COMMENT ON VIEW v_lines IS 'One row per line of an order that was placed, with what one mostly wants of the order';
COMMENT ON COLUMN v_lines.order_id         IS 'The order';
COMMENT ON COLUMN v_lines.line_no          IS '1, 2, 3, … as placed';
COMMENT ON COLUMN v_lines.sku              IS 'The product';
COMMENT ON COLUMN v_lines.name             IS 'The product''s name when it was ordered';
COMMENT ON COLUMN v_lines.quantity         IS 'Units, 1 or more';
COMMENT ON COLUMN v_lines.currency         IS 'ISO 4217';
COMMENT ON COLUMN v_lines.unit_price_minor IS 'The price that counted, in minor units (cents)';
COMMENT ON COLUMN v_lines.line_total_minor IS 'quantity × unit_price_minor';
COMMENT ON COLUMN v_lines.unit_price       IS 'unit_price_minor in units of currency';
COMMENT ON COLUMN v_lines.line_total       IS 'line_total_minor in units of currency';
COMMENT ON COLUMN v_lines.shopper_id       IS 'Who ordered: a pseudonym, the same for one guest session';
COMMENT ON COLUMN v_lines.status           IS 'The order''s';
COMMENT ON COLUMN v_lines.is_sale          IS 'The order is confirmed (paid for), and not cancelled since';
COMMENT ON COLUMN v_lines.placed_at        IS 'When the order was placed';
COMMENT ON COLUMN v_lines.confirmed_at     IS 'When the order was paid for (authorised); NULL: never';

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
COMMENT ON VIEW v_payments IS 'One row per attempt to pay for an order';
COMMENT ON COLUMN v_payments.order_id      IS 'The order';
COMMENT ON COLUMN v_payments.payment_id    IS 'This attempt';
COMMENT ON COLUMN v_payments.attempt       IS '1, 2, 3, … of the order';
COMMENT ON COLUMN v_payments.status        IS 'created, authorizing, authorized, declined, unknown, captured, voided, expired or refunded';
COMMENT ON COLUMN v_payments.currency      IS 'ISO 4217';
COMMENT ON COLUMN v_payments.amount_minor  IS 'Asked for, then authorised, then captured, in minor units (cents)';
COMMENT ON COLUMN v_payments.amount        IS 'amount_minor in units of currency';
COMMENT ON COLUMN v_payments.authorized_at IS 'When the log heard that the money is promised; NULL: not, or not any more';
COMMENT ON COLUMN v_payments.captured_at   IS 'When the log heard that the money was taken; NULL: not';
COMMENT ON COLUMN v_payments.order_status  IS 'The order''s status now';
COMMENT ON COLUMN v_payments.placed_at     IS 'When the order was placed';

CREATE OR REPLACE VIEW v_shipments AS
SELECT order_id, shipment_id, status, carrier FROM shipments;
COMMENT ON VIEW v_shipments IS 'One row per parcel';
COMMENT ON COLUMN v_shipments.order_id    IS 'The order';
COMMENT ON COLUMN v_shipments.shipment_id IS 'The parcel';
COMMENT ON COLUMN v_shipments.status      IS 'dispatched or delivered';
COMMENT ON COLUMN v_shipments.carrier     IS 'Who carries it';

CREATE OR REPLACE VIEW v_order_events AS
SELECT order_id, time, type, regexp_replace(type, '^.*\.', '') AS name, topic, partition, "offset", id
FROM order_events;
COMMENT ON VIEW v_order_events IS
    'What happened to an order and when; what the events say is in the log: orderlog tail, orderlog export';
COMMENT ON COLUMN v_order_events.order_id  IS 'The order';
COMMENT ON COLUMN v_order_events.time      IS 'When the log took the event';
COMMENT ON COLUMN v_order_events.type      IS 'shop.order.v1.OrderPlaced, …';
COMMENT ON COLUMN v_order_events.name      IS 'OrderPlaced, …';
COMMENT ON COLUMN v_order_events.topic     IS 'With partition and offset: where the record is in the log';
COMMENT ON COLUMN v_order_events.partition IS 'See topic';
COMMENT ON COLUMN v_order_events."offset"  IS 'See topic';
COMMENT ON COLUMN v_order_events.id        IS 'ce_id';

CREATE OR REPLACE VIEW v_sales_by_hour AS
SELECT hour, currency, sum(orders)::bigint AS orders, sum(items)::bigint AS units,
       sum(revenue_minor)::bigint AS revenue_minor, amount(sum(revenue_minor), currency) AS revenue,
       sum(cancelled_orders)::bigint AS cancelled_orders, sum(cancelled_items)::bigint AS cancelled_units,
       sum(cancelled_minor)::bigint AS cancelled_minor, amount(sum(cancelled_minor), currency) AS cancelled,
       sum(revenue_minor - cancelled_minor)::bigint AS net_minor,
       amount(sum(revenue_minor - cancelled_minor), currency) AS net
FROM sales_by_hour
GROUP BY hour, currency;
COMMENT ON VIEW v_sales_by_hour IS 'Sales and cancellations, each in the hour in which it happened';
COMMENT ON COLUMN v_sales_by_hour.hour             IS 'When the hour began, UTC; by the time at which the log took the event';
COMMENT ON COLUMN v_sales_by_hour.currency         IS 'ISO 4217';
COMMENT ON COLUMN v_sales_by_hour.orders           IS 'Orders confirmed (paid for) in this hour';
COMMENT ON COLUMN v_sales_by_hour.units            IS 'Sum of their lines'' quantities';
COMMENT ON COLUMN v_sales_by_hour.revenue_minor    IS 'Sum of their totals, in minor units (cents); cancellations are not subtracted';
COMMENT ON COLUMN v_sales_by_hour.revenue          IS 'revenue_minor in units of currency';
COMMENT ON COLUMN v_sales_by_hour.cancelled_orders IS 'Confirmed orders, of any hour, that were cancelled in this hour';
COMMENT ON COLUMN v_sales_by_hour.cancelled_units  IS 'Sum of their lines'' quantities';
COMMENT ON COLUMN v_sales_by_hour.cancelled_minor  IS 'Sum of their totals, in minor units (cents)';
COMMENT ON COLUMN v_sales_by_hour.cancelled        IS 'cancelled_minor in units of currency';
COMMENT ON COLUMN v_sales_by_hour.net_minor        IS 'revenue_minor - cancelled_minor; over all hours: the totals of all orders that are a sale';
COMMENT ON COLUMN v_sales_by_hour.net              IS 'net_minor in units of currency';

CREATE OR REPLACE VIEW v_carts AS
SELECT c.cart_id, c.shopper_id, c.status, c.order_id, c.currency, c.changed_at,
       coalesce(l.lines, 0) AS lines, coalesce(l.units, 0) AS units, coalesce(o.checkouts, 0) AS checkouts,
       coalesce(o.placed, 0) > 0 AS is_placed, coalesce(o.confirmed, 0) > 0 AS is_confirmed
FROM carts c
LEFT JOIN (SELECT cart_id, count(*) AS lines, sum(quantity) AS units FROM cart_lines GROUP BY cart_id) l USING (cart_id)
LEFT JOIN (SELECT cart_id, count(*) AS checkouts, count(confirmed_at) AS confirmed,
                  count(*) FILTER (WHERE EXISTS (SELECT FROM order_lines WHERE order_lines.order_id = orders.order_id))
                      AS placed
           FROM orders WHERE status IS NOT NULL GROUP BY cart_id) o USING (cart_id)
WHERE c.shopper_id IS NOT NULL;
COMMENT ON VIEW v_carts IS 'One row per cart, with what came of it';
COMMENT ON COLUMN v_carts.cart_id      IS 'The cart';
COMMENT ON COLUMN v_carts.shopper_id   IS 'Whose it is: a pseudonym, the same for one guest session';
COMMENT ON COLUMN v_carts.status       IS 'open, checked_out or abandoned';
COMMENT ON COLUMN v_carts.order_id     IS 'Of a cart that is checked out: the order';
COMMENT ON COLUMN v_carts.currency     IS 'ISO 4217';
COMMENT ON COLUMN v_carts.changed_at   IS 'When the shopper last did something with it, its checkout among that';
COMMENT ON COLUMN v_carts.lines        IS 'How many lines lie in it';
COMMENT ON COLUMN v_carts.units        IS 'Sum of the lines'' quantities';
COMMENT ON COLUMN v_carts.checkouts    IS 'How often it was checked out, refused checkouts too';
COMMENT ON COLUMN v_carts.is_placed    IS 'An order was placed from it, whatever became of that';
COMMENT ON COLUMN v_carts.is_confirmed IS 'An order from it was confirmed (paid for)';

CREATE OR REPLACE VIEW v_conversion AS
SELECT date_trunc('hour', changed_at, 'UTC') AS hour, count(*) AS carts,
       count(*) FILTER (WHERE lines > 0) AS filled, count(*) FILTER (WHERE checkouts > 0) AS checked_out,
       count(*) FILTER (WHERE is_placed) AS placed, count(*) FILTER (WHERE is_confirmed) AS confirmed,
       count(*) FILTER (WHERE status = 'abandoned') AS abandoned,
       round(count(*) FILTER (WHERE is_confirmed)::numeric / count(*), 4) AS conversion
FROM v_carts
GROUP BY 1;
COMMENT ON VIEW v_conversion IS 'From cart to order, by the hour in which the shopper last did something with the cart';
COMMENT ON COLUMN v_conversion.hour        IS 'When the hour began, UTC';
COMMENT ON COLUMN v_conversion.carts       IS 'Carts made';
COMMENT ON COLUMN v_conversion.filled      IS 'Of carts: something lies in it';
COMMENT ON COLUMN v_conversion.checked_out IS 'Of carts: checked out, refused checkouts too';
COMMENT ON COLUMN v_conversion.placed      IS 'Of carts: an order was placed from it';
COMMENT ON COLUMN v_conversion.confirmed   IS 'Of carts: an order from it was confirmed (paid for)';
COMMENT ON COLUMN v_conversion.abandoned   IS 'Of carts: left alone until it was given up';
COMMENT ON COLUMN v_conversion.conversion  IS 'confirmed / carts, from 0 to 1';

CREATE OR REPLACE VIEW v_products AS
SELECT sku, name, currency, price_minor, amount(price_minor, currency) AS price, for_sale, available, revision
FROM products;
COMMENT ON VIEW v_products IS 'One row per product, as it is now';
COMMENT ON COLUMN v_products.sku         IS 'The product';
COMMENT ON COLUMN v_products.name        IS 'NULL: only its stock is known';
COMMENT ON COLUMN v_products.currency    IS 'ISO 4217';
COMMENT ON COLUMN v_products.price_minor IS 'In minor units (cents)';
COMMENT ON COLUMN v_products.price       IS 'price_minor in units of currency';
COMMENT ON COLUMN v_products.for_sale    IS 'False: withdrawn, or never put on sale';
COMMENT ON COLUMN v_products.available   IS 'Units that can be sold now, over all locations';
COMMENT ON COLUMN v_products.revision    IS 'Offset of the record that set name and price';

CREATE OR REPLACE VIEW v_stock AS
SELECT s.location, s.sku, p.name, s.received, s.adjusted, s.restocked, s.held, s.committed, s.consumed, s.available,
       s.version
FROM stock s
LEFT JOIN products p USING (sku);
COMMENT ON VIEW v_stock IS
    'Stock now, per location and product: available = received + adjusted + restocked - held - committed - consumed';
COMMENT ON COLUMN v_stock.location  IS 'Where the units are';
COMMENT ON COLUMN v_stock.sku       IS 'The product';
COMMENT ON COLUMN v_stock.name      IS 'The product''s name now';
COMMENT ON COLUMN v_stock.received  IS 'Units ever received';
COMMENT ON COLUMN v_stock.adjusted  IS 'Units added or (negative) taken away by hand, in all';
COMMENT ON COLUMN v_stock.restocked IS 'Units that came back, in all';
COMMENT ON COLUMN v_stock.held      IS 'Units held for orders that are not paid for yet';
COMMENT ON COLUMN v_stock.committed IS 'Units of orders that are paid for and not sent yet';
COMMENT ON COLUMN v_stock.consumed  IS 'Units sent, in all';
COMMENT ON COLUMN v_stock.available IS 'Units that can be sold now; never below 0';
COMMENT ON COLUMN v_stock.version   IS 'Changes so far';

CREATE OR REPLACE VIEW v_stock_ledger AS
SELECT l.location, l.sku, p.name, l.version, l.at, l.kind, l.quantity,
       l.available - lag(l.available, 1, 0::bigint) OVER (PARTITION BY l.location, l.sku ORDER BY l.version)
           AS available_change,
       l.available, l.received, l.adjusted, l.restocked, l.held, l.committed, l.consumed, l.order_id, l.reason,
       l.topic, l.partition, l."offset"
FROM stock_ledger l
LEFT JOIN products p USING (sku);
COMMENT ON VIEW v_stock_ledger IS 'Every change of stock, with the counters after it';
COMMENT ON COLUMN v_stock_ledger.location         IS 'Where the units are';
COMMENT ON COLUMN v_stock_ledger.sku              IS 'The product';
COMMENT ON COLUMN v_stock_ledger.name             IS 'The product''s name now';
COMMENT ON COLUMN v_stock_ledger.version          IS '1, 2, 3, … per (location, sku), without holes';
COMMENT ON COLUMN v_stock_ledger.at               IS 'When the log took the record that says so';
COMMENT ON COLUMN v_stock_ledger.kind             IS 'received, adjusted, reserved, committed, released or consumed';
COMMENT ON COLUMN v_stock_ledger.quantity         IS 'So many units; signed for adjusted';
COMMENT ON COLUMN v_stock_ledger.available_change IS 'By how many units available changed; they add up to available';
COMMENT ON COLUMN v_stock_ledger.available        IS 'Units that can be sold, after this change; never below 0';
COMMENT ON COLUMN v_stock_ledger.received         IS 'Units ever received, after this change';
COMMENT ON COLUMN v_stock_ledger.adjusted         IS 'Units added or (negative) taken away by hand, in all, after this change';
COMMENT ON COLUMN v_stock_ledger.restocked        IS 'Units that came back, in all, after this change';
COMMENT ON COLUMN v_stock_ledger.held             IS 'Units held for orders that are not paid for yet, after this change';
COMMENT ON COLUMN v_stock_ledger.committed        IS 'Units of paid orders that are not sent yet, after this change';
COMMENT ON COLUMN v_stock_ledger.consumed         IS 'Units sent, in all, after this change';
COMMENT ON COLUMN v_stock_ledger.order_id         IS 'For which order; NULL for received and adjusted';
COMMENT ON COLUMN v_stock_ledger.reason           IS 'Of an adjustment or a release, as a slug';
COMMENT ON COLUMN v_stock_ledger.topic            IS 'With partition and offset: where the record is in the log';
COMMENT ON COLUMN v_stock_ledger.partition        IS 'See topic';
COMMENT ON COLUMN v_stock_ledger."offset"         IS 'See topic';

CREATE OR REPLACE VIEW v_best_sellers AS
SELECT rank() OVER (PARTITION BY s.currency ORDER BY s.revenue_minor DESC, s.units DESC) AS rank, s.sku,
       coalesce(p.name, s.name) AS name, s.units, s.orders, s.currency, s.revenue_minor,
       amount(s.revenue_minor, s.currency) AS revenue,
       round(amount(s.revenue_minor, s.currency) / s.units, 4) AS average_price, s.first_sold_at, s.last_sold_at
FROM (SELECT l.sku, max(l.name) AS name, o.currency, sum(l.quantity) AS units, count(DISTINCT l.order_id) AS orders,
             sum(l.line_total_minor)::bigint AS revenue_minor, min(o.confirmed_at) AS first_sold_at,
             max(o.confirmed_at) AS last_sold_at
      FROM order_lines l
      JOIN orders o USING (order_id)
      WHERE o.confirmed_at IS NOT NULL AND o.status <> 'cancelled'
      GROUP BY l.sku, o.currency) s
LEFT JOIN products p USING (sku);
COMMENT ON VIEW v_best_sellers IS 'One row per product that was ever sold (confirmed, and not cancelled since)';
COMMENT ON COLUMN v_best_sellers.rank          IS 'By revenue_minor, then units; 1 is the best';
COMMENT ON COLUMN v_best_sellers.sku           IS 'The product';
COMMENT ON COLUMN v_best_sellers.name          IS 'Its name now';
COMMENT ON COLUMN v_best_sellers.units         IS 'Units sold';
COMMENT ON COLUMN v_best_sellers.orders        IS 'In how many orders';
COMMENT ON COLUMN v_best_sellers.currency      IS 'ISO 4217';
COMMENT ON COLUMN v_best_sellers.revenue_minor IS 'Sum of the lines, in minor units (cents); shipping, tax and discounts are the orders''';
COMMENT ON COLUMN v_best_sellers.revenue       IS 'revenue_minor in units of currency';
COMMENT ON COLUMN v_best_sellers.average_price IS 'revenue / units, in units of currency, to 4 digits';
COMMENT ON COLUMN v_best_sellers.first_sold_at IS 'When the first of these orders was confirmed';
COMMENT ON COLUMN v_best_sellers.last_sold_at  IS 'When the last of these orders was confirmed';

-- Who may read them ---------------------------------------------------------------------------------------------------

-- A role is the whole server's, so another database's migration may have made it, or be making it now. Where we may not
-- make roles somebody else does, before this or later (docs/analysts.md). It has no password: who may log in as it is
-- said in pg_hba.conf, or by ALTER ROLE.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'orderlog_analyst') THEN
        CREATE ROLE orderlog_analyst LOGIN CONNECTION LIMIT 8;
        COMMENT ON ROLE orderlog_analyst IS 'Reads the views of orderlog';
        ALTER ROLE orderlog_analyst SET default_transaction_read_only = on;
        ALTER ROLE orderlog_analyst SET statement_timeout = '60s';
        ALTER ROLE orderlog_analyst SET idle_in_transaction_session_timeout = '60s';
        ALTER ROLE orderlog_analyst SET timezone = 'UTC';
        ALTER ROLE orderlog_analyst SET search_path = view;
    END IF;
EXCEPTION WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN
    NULL;
END $$;

-- All but what leads to a person (tracking), what says nothing in SQL (bytes), and what is the projectors' own.
DO $$
DECLARE
    grants text;
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'orderlog_analyst') THEN
        SELECT string_agg(format('GRANT SELECT (%s) ON %I.%I TO orderlog_analyst', columns, current_schema(), relname),
                          '; ')
        INTO grants
        FROM (SELECT c.relname, string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum) AS columns
              FROM pg_class c
              JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
              WHERE c.relnamespace = current_schema()::regnamespace
                AND c.relname NOT IN ('schema_version', 'positions', 'parked')
                AND c.relkind IN ('r', 'v') AND a.atttypid <> 'bytea'::regtype
                AND (c.relname, a.attname) NOT IN (('shipments', 'tracking'), ('order_events', 'event'))
              GROUP BY c.relname) t;
        EXECUTE grants;
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO orderlog_analyst', current_schema());
    END IF;
END $$;
)sql";
