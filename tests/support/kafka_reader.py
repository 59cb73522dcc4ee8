"""Reads all shop topics as a user of Confluent's Python client would: every value with fastavro, every record as a
CloudEvent. kafka_reader.py HOST:PORT SCHEMAS_DIR. Ends with 1 when one does not say what its headers say."""
import pathlib
import sys

from avro_reader import decode, load_schemas
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka
from cloudevents.core.formats.json import JSONFormat
from confluent_kafka import Consumer, KafkaError, TopicPartition


def read(servers):
    """Every record of every shop topic, from the first to the last there is."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "python", "enable.auto.commit": False,
                         "enable.partition.eof": True})
    topics = consumer.list_topics(timeout=30).topics
    wanted = [TopicPartition(name, partition, 0) for name, topic in topics.items() if name.startswith("shop.")
              for partition in topic.partitions]
    consumer.assign(wanted)
    ended = set()
    while len(ended) < len(wanted):
        message = consumer.poll(30)
        if message is None:
            sys.exit("nothing comes any more")
        if not message.error():
            yield message
        elif message.error().code() == KafkaError._PARTITION_EOF:  # the client's own name for it
            ended.add((message.topic(), message.partition()))
        else:
            sys.exit(str(message.error()))
    consumer.close()


def event_of(message):
    headers = dict(message.headers())
    return from_kafka(KafkaMessage(headers=headers, key=message.key(), value=message.value()), JSONFormat())


def complaints(message, schemas):
    event = event_of(message)
    if event.get_specversion() != "1.0" or not event.get_id() or not event.get_source() or not event.get_time():
        yield f"as a CloudEvent it is {event.get_attributes()}"
    if event.get_datacontenttype() != "application/avro":
        yield f"its content is said to be {event.get_datacontenttype()}"
    if not message.topic().endswith(".dlq"):
        name, _ = decode(schemas, message.value())
        if name != event.get_type():
            yield f"fastavro reads a {name}, but it is said to be a {event.get_type()}"
        seen[name] = seen.get(name, 0) + 1


seen = {}


def main(servers, folder):
    schemas = load_schemas(pathlib.Path(folder))
    count = wrong = 0
    for message in read(servers):
        count += 1
        for complaint in complaints(message, schemas) if message.value() is not None else ():
            wrong += 1
            print(f"{message.topic()}/{message.partition()}@{message.offset()}: {complaint}")
    print(f"{count} records of {len(seen)} types, {wrong} complaints")
    return 1 if wrong or len(seen) < 25 else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
