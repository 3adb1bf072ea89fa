"""confluent-kafka (librdkafka) over a corpus; the same commands as CorpusClient.java."""

import hashlib
import json
import sys

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition


def produce(bootstrap, topic, codec, folder, partitions):
    failures = []
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": codec,
            "enable.idempotence": True,
            "linger.ms": 5,
            "queue.buffering.max.messages": 100000,
        }
    )

    def delivered(error, _message):
        if error is not None:
            failures.append(error)

    sent = 0
    for partition in range(partitions):
        with open(f"{folder}/{partition}.txt", "rb") as lines:
            for line in lines:
                while True:
                    try:
                        producer.produce(topic, value=line[:-1], partition=partition, on_delivery=delivered)
                        break
                    except BufferError:
                        producer.poll(0.1)
                producer.poll(0)
                sent += 1
    if producer.flush(240) != 0:
        raise RuntimeError("records were left in the queue")
    if failures:
        raise RuntimeError(f"{len(failures)} records failed: {failures[0]}")
    print(f"produced {sent}")


def consume(bootstrap, topic, counts):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(len(counts))])
    hashes = [hashlib.sha256() for _ in counts]
    seen = [0] * len(counts)
    contiguous = [True] * len(counts)
    while any(have < want for have, want in zip(seen, counts)):
        messages = consumer.consume(5000, timeout=60)
        if not messages:
            raise RuntimeError(f"records did not come: {seen} of {counts}")
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            partition = message.partition()
            contiguous[partition] &= message.offset() == seen[partition]
            hashes[partition].update(message.value() + b"\n")
            seen[partition] += 1
    consumer.close()
    for partition, count in enumerate(seen):
        print(
            json.dumps(
                {
                    "partition": partition,
                    "count": count,
                    "sha256": hashes[partition].hexdigest(),
                    "first": 0,
                    "contiguous": contiguous[partition],
                }
            )
        )


if sys.argv[1] == "produce":
    produce(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5], int(sys.argv[6]))
elif sys.argv[1] == "consume":
    consume(sys.argv[2], sys.argv[3], [int(count) for count in sys.argv[4].split(",")])
else:
    raise SystemExit(f"unknown command {sys.argv[1]}")
