"""One transactional client in Python: transactional.py confluent|kafka-python BOOTSTRAP INPUT OUTPUT ID.

Writes "c0-0" to "c2-4" into OUTPUT in three committed transactions of five, then five records in one that it aborts, then copies the ten records
of INPUT as "copy-VALUE" with their offsets for group ID in one transaction, and prints "done".
"""

import sys

TRANSACTIONS = 3
RECORDS = 5
INPUTS = 10


def run_confluent(bootstrap, source, output, name):
    from confluent_kafka import Consumer, Producer

    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": name})
    producer.init_transactions(30)

    def write(prefix):
        for index in range(RECORDS):
            producer.produce(output, value=f"{prefix}-{index}", partition=0)

    for transaction in range(TRANSACTIONS):
        producer.begin_transaction()
        write(f"c{transaction}")
        producer.commit_transaction(30)
    producer.begin_transaction()
    write("aborted")
    producer.flush(30)
    producer.abort_transaction(30)

    consumer = Consumer({
        "bootstrap.servers": bootstrap,
        "group.id": name,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
    })
    consumer.subscribe([source])
    producer.begin_transaction()
    copied = 0
    while copied < INPUTS:
        for message in consumer.consume(INPUTS - copied, 0.2):
            if message.error() is not None:
                raise RuntimeError(message.error())
            producer.produce(output, value="copy-" + message.value().decode(), partition=0)
            copied += 1
    producer.send_offsets_to_transaction(consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), 30)
    producer.commit_transaction(30)
    consumer.close()


def run_kafka_python(bootstrap, source, output, name):
    from kafka import KafkaConsumer, KafkaProducer
    from kafka.structs import OffsetAndMetadata

    producer = KafkaProducer(bootstrap_servers=bootstrap, transactional_id=name)
    producer.init_transactions()

    def write(prefix):
        for index in range(RECORDS):
            producer.send(output, value=f"{prefix}-{index}".encode(), partition=0)

    for transaction in range(TRANSACTIONS):
        producer.begin_transaction()
        write(f"c{transaction}")
        producer.commit_transaction()
    producer.begin_transaction()
    write("aborted")
    producer.flush(30)
    producer.abort_transaction()

    consumer = KafkaConsumer(
        source,
        bootstrap_servers=bootstrap,
        group_id=name,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    producer.begin_transaction()
    copied = 0
    offsets = {}
    while copied < INPUTS:
        for at, records in consumer.poll(timeout_ms=200).items():
            for record in records:
                producer.send(output, value=b"copy-" + record.value, partition=0)
                offsets[at] = OffsetAndMetadata(record.offset + 1, "", -1)
                copied += 1
    producer.send_offsets_to_transaction(offsets, name)
    producer.commit_transaction()
    consumer.close(autocommit=False)
    producer.close()


{"confluent": run_confluent, "kafka-python": run_kafka_python}[sys.argv[1]](*sys.argv[2:6])
print("done")
