"""ExactlyOnceLoop.java with librdkafka, whose transactions add their partitions by request (the generation before KIP-890's second part). Same arguments, plans and lines."""

import os
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

BOOTSTRAP, INPUT, OUT, GROUP, TRANSACTIONAL_ID, NAME, TIMEOUT_MS, STALL_MS = sys.argv[1:9]
OVERSIZED = "x" * 60_000
FENCED = {KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED}
retired = threading.Event()


def say(line):
    print(line, flush=True)


def await_retirement():
    if os.read(0, 1):
        retired.set()


def common():
    """Without re-bootstrapping (KIP-899): librdkafka 2.16 (2.13 did not) then forgets the broker that it holds for the group's coordinator, and sending offsets to a
    transaction hangs past its timeout whenever all brokers were away at once (librdkafka issues 5511 and 5456)."""
    settings = {"bootstrap.servers": BOOTSTRAP, "metadata.recovery.strategy": "none", "log_level": 0}
    return settings | {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200}


def open_producer():
    settings = {"transactional.id": TRANSACTIONAL_ID, "transaction.timeout.ms": int(TIMEOUT_MS), "linger.ms": 2}
    return Producer(common() | settings)


def open_consumer():
    settings = {
        "group.id": GROUP,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "session.timeout.ms": 3000,
        "heartbeat.interval.ms": 500,
    }
    return Consumer(common() | settings)


def plan_of(attempt):
    if attempt % 100 == 7:
        return "stall"
    if attempt % 10 == 5:
        return "spoil"
    return "abort" if attempt % 3 == 0 else "commit"



class Loop:
    def __init__(self):
        self.attempts = 0

    def copy_once(self, consumer, producer):
        events = consumer.consume(num_messages=100, timeout=0.05)
        records = [event for event in events if event.error() is None]
        for event in events:
            if event.error() is not None:
                print(event.error(), file=sys.stderr, flush=True)
        if not records:
            return
        self.attempts += 1
        plan = plan_of(self.attempts)
        attempt = f"{NAME}.{self.attempts}"
        first, following = {}, {}
        for record in records:
            first.setdefault(record.partition(), record.offset())
            following[record.partition()] = record.offset() + 1
        try:
            producer.begin_transaction()
            for record in records:
                producer.produce(OUT, value=f"{record.offset()} {attempt} {plan}", partition=record.partition())
            if plan == "spoil":
                producer.produce(OUT, value=f"-1 {attempt} spoil {OVERSIZED}", partition=0)
            offsets = [TopicPartition(INPUT, partition, offset) for partition, offset in following.items()]
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 30)
            if plan in ("abort", "stall"):
                producer.flush(30)
            if plan == "stall":
                time.sleep(int(STALL_MS) / 1000)
            if plan == "abort":
                producer.abort_transaction(30)
                rewind(consumer, first)
                say(f"abort {attempt}")
            else:
                producer.commit_transaction(30)
                say(f"{'overrun' if plan == 'stall' else 'commit'} {attempt}")
        except KafkaException as failure:
            error = failure.args[0]
            if plan == "stall" and not error.retriable():
                say(f"timeout {attempt} {error.name()}")
            if not error.txn_requires_abort():
                raise
            print(error, file=sys.stderr, flush=True)
            producer.abort_transaction(30)
            rewind(consumer, first)
            say(f"undo {attempt} {error.name()}")


def rewind(consumer, first):
    """Back to where these records began; what was taken away meanwhile is the next owner's."""
    assigned = {partition.partition for partition in consumer.assignment()}
    for partition, offset in first.items():
        if partition in assigned:
            consumer.seek(TopicPartition(INPUT, partition, offset))


def main():
    threading.Thread(target=await_retirement, daemon=True).start()
    loop = Loop()
    while True:
        producer, consumer = open_producer(), open_consumer()
        try:
            producer.init_transactions(30)
            say("ready")
            consumer.subscribe([INPUT])
            while True:
                loop.copy_once(consumer, producer)
        except KafkaException as failure:
            error = failure.args[0]
            fenced = error.code() in FENCED
            print(error, file=sys.stderr, flush=True)
            say(f"{'fenced' if fenced else 'anew'} {error.name()}")
            if retired.is_set() and fenced:
                os._exit(0)
        finally:
            consumer.close()
            producer.purge()
            del producer
        time.sleep(0.1)


main()
