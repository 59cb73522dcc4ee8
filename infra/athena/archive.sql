-- The archive as a table of Amazon Athena, a row for each record of the log. Put the bucket and the prefix of
-- `orderlog archive --to` in place of shop-archive/log (twice). No partitions need to be added: they are computed.
--
-- Athena knows no unions, so the events come as JSON. Times are microseconds since the epoch.
--
--   SELECT json_extract_scalar(json, '$.order_id'), from_unixtime("timestamp" / 1e6)
--   FROM orderlog_archive
--   WHERE topic = 'shop.order.events.v1' AND day = '2026-01-31' AND type = 'shop.order.v1.OrderPlaced';
CREATE EXTERNAL TABLE orderlog_archive (
  `partition` int,
  `offset` bigint,
  `timestamp` bigint,
  `key` string,
  `type` string,
  `headers` array<struct<name:string,value:string>>,
  `json` string,
  `error` string)
PARTITIONED BY (`topic` string, `day` string, `hour` string)
ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.avro.AvroSerDe'
WITH SERDEPROPERTIES ('avro.schema.literal' = '
{"type": "record", "name": "Record", "namespace": "orderlog.archive", "fields": [
    {"name": "partition", "type": "int"},
    {"name": "offset", "type": "long"},
    {"name": "timestamp", "type": "long"},
    {"name": "key", "type": ["null", "string"]},
    {"name": "type", "type": ["null", "string"]},
    {"name": "headers", "type": {"type": "array", "items": {"type": "record", "name": "Header", "fields": [{"name": "name", "type": "string"}, {"name": "value", "type": ["null", "string"]}]}}},
    {"name": "json", "type": ["null", "string"]},
    {"name": "error", "type": ["null", "string"]}
]}')
STORED AS INPUTFORMAT 'org.apache.hadoop.hive.ql.io.avro.AvroContainerInputFormat'
OUTPUTFORMAT 'org.apache.hadoop.hive.ql.io.avro.AvroContainerOutputFormat'
LOCATION 's3://shop-archive/log/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.topic.type' = 'enum',
  'projection.topic.values' = 'shop.cart.events.v1,shop.catalogue.events.v1,shop.checkout.events.v1,shop.checkout.requests.v1,shop.fulfilment.events.v1,shop.fulfilment.requests.v1,shop.inventory.requests.v1,shop.notification.events.v1,shop.order.events.v1,shop.order.requests.v1,shop.payment.events.v1,shop.payment.requests.v1,shop.payment.unrouted.v1,shop.reservation.events.v1,shop.stock.events.v1',
  'projection.day.type' = 'date',
  'projection.day.format' = 'yyyy-MM-dd',
  'projection.day.range' = '2026-01-01,NOW',
  'projection.hour.type' = 'integer',
  'projection.hour.range' = '0,23',
  'projection.hour.digits' = '2',
  'storage.location.template' = 's3://shop-archive/log/topic=${topic}/date=${day}/hour=${hour}/');
