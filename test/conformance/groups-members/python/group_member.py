"""Members of a group, in Python: group_member.py confluent|kafka-python and the arguments of GroupMember.java."""

import signal
import sys
import threading
import time

stopping = threading.Event()
output = threading.Lock()


def lines_of(kind, number, offsets):
    return "".join(f"{kind} {time.time_ns() // 1000} {partition} {offset} {number}\n" for partition, offset in offsets)


def write(lines):
    with output:
        sys.stdout.write(lines)
        sys.stdout.flush()


def run_confluent(topic, number, settings):
    from confluent_kafka import Consumer, KafkaException

    by_protocol = (
        {"group.protocol": settings["protocol"]}
        if "protocol" in settings
        else {
            "session.timeout.ms": settings["session_ms"],
            "heartbeat.interval.ms": 1000,
            "partition.assignment.strategy": settings.get("assignor", "range"),
        }
    )
    static = {} if settings["instance"] is None else {"group.instance.id": settings["instance"]}
    consumer = Consumer({
        "bootstrap.servers": settings["bootstrap"],
        "group.id": settings["group"],
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        **by_protocol,
        **static,
    })
    consumer.subscribe([topic])
    while not stopping.is_set():
        messages = [message for message in consumer.consume(50, 0.2) if message.error() is None]
        if not messages:
            continue
        write(lines_of("R", number, [(message.partition(), message.offset()) for message in messages]))
        time.sleep(0.005)
        try:
            committed = consumer.commit(asynchronous=False)
            write(lines_of("C", number, [(each.partition, each.offset) for each in committed if each.error is None]))
        except KafkaException as refused:
            print(f"commit: {refused}", file=sys.stderr)
    consumer.close()


def run_kafka_python(topic, number, settings):
    from kafka import KafkaConsumer
    from kafka.errors import KafkaError

    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=settings["bootstrap"],
        group_id=settings["group"],
        group_instance_id=settings["instance"],
        session_timeout_ms=settings["session_ms"],
        heartbeat_interval_ms=1000,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_poll_records=50,
    )
    while not stopping.is_set():
        by_partition = consumer.poll(timeout_ms=200)
        if not by_partition:
            continue
        write(lines_of("R", number, [(at.partition, record.offset) for at, records in by_partition.items() for record in records]))
        time.sleep(0.005)
        try:
            consumer.commit()
            write(lines_of("C", number, [(at.partition, records[-1].offset + 1) for at, records in by_partition.items()]))
        except KafkaError as refused:
            print(f"commit: {refused}", file=sys.stderr)
    consumer.close(autocommit=False)


def version_of(library):
    if library == "confluent":
        import confluent_kafka

        return f"{confluent_kafka.libversion()[0]} (confluent-kafka {confluent_kafka.version()})"
    import kafka

    return kafka.__version__


def main():
    library, first_argument = sys.argv[1:3]
    if first_argument == "version":
        print(version_of(library))
        return
    bootstrap, topic, group, instance, session_ms = sys.argv[2:7]
    options = dict(argument.split("=", 1) for argument in sys.argv[7:])
    count, first = int(options.get("members", 1)), int(options.get("first", 0))
    run = {"confluent": run_confluent, "kafka-python": run_kafka_python}[library]
    threads = []
    for number in range(first, first + count):
        own_instance = instance if count == 1 else f"{instance}-{number}"
        settings = {
            **options,
            "bootstrap": bootstrap,
            "group": f"{group}-{number}" if "groups" in options else group,
            "instance": None if instance == "-" else own_instance,
            "session_ms": int(session_ms),
        }
        threads.append(threading.Thread(target=run, args=(topic, number, settings)))
    signal.signal(signal.SIGTERM, lambda _signal, _frame: stopping.set())
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


main()
