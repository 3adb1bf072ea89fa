"""One member of a group, in Python: group_member.py confluent|kafka-python and the arguments of GroupMember.java."""

import signal
import sys
import time

stopping = False


def stop(_signal, _frame):
    global stopping
    stopping = True


signal.signal(signal.SIGTERM, stop)


def line(kind, partition, offset):
    return f"{kind} {time.time_ns() // 1000} {partition} {offset}\n"


def write(lines):
    sys.stdout.write("".join(lines))
    sys.stdout.flush()


def run_confluent(bootstrap, topic, group, instance, session_ms, assignor="range"):
    from confluent_kafka import Consumer, KafkaException

    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "session.timeout.ms": int(session_ms),
        "heartbeat.interval.ms": 1000,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "partition.assignment.strategy": assignor,
    }
    if instance != "-":
        settings["group.instance.id"] = instance
    consumer = Consumer(settings)
    consumer.subscribe([topic])
    while not stopping:
        messages = [message for message in consumer.consume(50, 0.2) if message.error() is None]
        if not messages:
            continue
        write([line("R", message.partition(), message.offset()) for message in messages])
        time.sleep(0.005)
        try:
            committed = consumer.commit(asynchronous=False)
            write([line("C", each.partition, each.offset) for each in committed if each.error is None])
        except KafkaException as refused:
            print(f"commit: {refused}", file=sys.stderr)
    consumer.close()


def run_kafka_python(bootstrap, topic, group, instance, session_ms):
    from kafka import KafkaConsumer
    from kafka.errors import KafkaError

    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        group_instance_id=None if instance == "-" else instance,
        session_timeout_ms=int(session_ms),
        heartbeat_interval_ms=1000,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_poll_records=50,
    )
    while not stopping:
        by_partition = consumer.poll(timeout_ms=200)
        if not by_partition:
            continue
        write([line("R", at.partition, record.offset) for at, records in by_partition.items() for record in records])
        time.sleep(0.005)
        try:
            consumer.commit()
            write([line("C", at.partition, records[-1].offset + 1) for at, records in by_partition.items()])
        except KafkaError as refused:
            print(f"commit: {refused}", file=sys.stderr)
    consumer.close(autocommit=False)


{"confluent": run_confluent, "kafka-python": run_kafka_python}[sys.argv[1]](*sys.argv[2:])
