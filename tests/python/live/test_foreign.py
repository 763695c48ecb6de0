"""Other people's programs read our topics, and are read by us."""

import json
import os
import random
import subprocess
import time

from kafka import KafkaConsumer, KafkaProducer
from running import ROOT, wait_for

EVENTS = 6_000


def pipeline(folder, tag):
    """Every event of which the number is even, once."""
    file = folder / f"{tag}.sql"
    file.write_text(
        f"CREATE STREAM events_{tag} (number BIGINT, kind TEXT) WITH (topic = '{tag}.in', partitions = 2);"
        f"CREATE STREAM even_{tag} WITH (topic = '{tag}.out') AS"
        f"  SELECT number, upper(kind) AS kind FROM events_{tag} WHERE number % 2 = 0;"
    )
    return file


def test_kafka_python_sees_every_result_once_while_workers_are_killed(brokers, rechka, tag, tmp_path):
    file = pipeline(tmp_path, tag)
    start = lambda: rechka.serve("run", file)[0]
    worker = start()
    consumer = KafkaConsumer(
        f"{tag}.out",
        bootstrap_servers=brokers,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        group_id=tag,
    )
    producer = KafkaProducer(bootstrap_servers=brokers, value_serializer=lambda value: json.dumps(value).encode())
    kills = sorted(random.sample(range(EVENTS // 10, EVENTS), 4))
    found = []
    for number in range(EVENTS):
        producer.send(f"{tag}.in", {"number": number, "kind": "view"}, key=str(number).encode())
        if number in kills:
            # Somewhere in an epoch: what it has written of it is not committed.
            worker.kill()
            worker.wait()
            worker = start()
        if number % 50 == 0:
            found += numbers(consumer.poll(10))
    producer.flush()

    def all_found():
        found.extend(numbers(consumer.poll(500)))
        return len(found) >= EVENTS // 2

    wait_for(all_found)
    time.sleep(2)
    found += numbers(consumer.poll(500))
    assert sorted(found) == list(range(0, EVENTS, 2))


def numbers(polled):
    return [json.loads(record.value)["number"] for records in polled.values() for record in records]


def test_kcat_reads_and_writes(brokers, rechka, tag, tmp_path):
    rechka.serve("run", pipeline(tmp_path, tag))
    kcat = ["kcat", "-q", "-b", ",".join(brokers)]
    events = "".join(f'{number}\t{{"number": {number}, "kind": "cart"}}\n' for number in range(20))
    subprocess.run([*kcat, "-P", "-t", f"{tag}.in", "-K\t"], input=events, text=True, check=True)
    read = [*kcat, "-C", "-t", f"{tag}.out", "-o", "beginning", "-e", "-X", "isolation.level=read_committed"]

    def results():
        lines = subprocess.run(read, capture_output=True, text=True, check=True).stdout.splitlines()
        return lines if len(lines) >= 10 else None

    rows = [json.loads(line) for line in wait_for(results)]
    assert sorted(row["number"] for row in rows) == list(range(0, 20, 2))
    assert {row["kind"] for row in rows} == {"CART"}


def kafka_tool(name, *arguments, **options):
    """What one of Kafka's own tools prints."""
    xtask = os.environ.get("RECHKA_XTASK", ROOT / "target" / "debug" / "xtask")
    command = [xtask, "kafka", "tool", name, *arguments]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True, **options).stdout


def lag(group):
    """What Kafka says that a group has still to read."""
    lines = kafka_tool("consumer-groups", "--describe", "--group", group).splitlines()
    head = next(line.split() for line in lines if line.startswith("GROUP"))
    partitions = [dict(zip(head, line.split())) for line in lines if line.split()[:1] == [group]]
    # Where nothing is committed, everything waits; a partition that is empty has nothing to commit.
    waiting = [row["LOG-END-OFFSET"] if row["LAG"] == "-" else row["LAG"] for row in partitions]
    return sum(map(int, waiting))


def test_kafkas_own_tools_read_and_write_and_see_the_lag(rechka, tag, tmp_path):
    worker, _ = rechka.serve("run", pipeline(tmp_path, tag))

    def write(numbers):
        events = "".join(f'{{"number": {number}, "kind": "view"}}\n' for number in numbers)
        kafka_tool("console-producer", "--topic", f"{tag}.in", input=events)

    write(range(100))
    settings = ["--from-beginning", "--isolation-level", "read_committed", "--max-messages", "50"]
    rows = [json.loads(line) for line in kafka_tool("console-consumer", "--topic", f"{tag}.out", *settings).splitlines()]
    assert sorted(row["number"] for row in rows) == list(range(0, 100, 2))
    # The group of a query's first stage is its name and 0.
    assert lag(f"even_{tag}.0") == 0
    worker.terminate()
    worker.wait()
    write(range(100, 130))
    assert lag(f"even_{tag}.0") == 30
