"""The system of the original design: sound that a plain producer sends, without key and header, becomes text that a plain consumer reads."""

import json
import subprocess
import sys
import urllib.request
import wave

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import UnknownTopicOrPartitionError
from running import ROOT, wait_for
from sound import story, words_of

EXAMPLES = ROOT / "deploy" / "examples"
CAPTIONS = ROOT / "pipelines" / "captions.sql"
#: Those that have their names for everybody.
TOPICS = ["audio-stream", "audio-stream.dead", "transcripts", "transcripts.dead", "transcripts.partial", "transcripts.0.state", "sessions"]


@pytest.fixture
def empty(admin):
    """A cluster on which nothing was ever said."""
    for topic in TOPICS:
        try:
            admin.delete_topics([topic])
        except UnknownTopicOrPartitionError:
            pass
    wait_for(lambda: not set(TOPICS) & set(admin.list_topics()))


def records(brokers, topic):
    """All that is in a topic now, as who reads what is committed finds it."""
    consumer = KafkaConsumer(
        bootstrap_servers=brokers,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        group_id=None,
        consumer_timeout_ms=2_000,
    )
    consumer.subscribe([topic])
    found = list(consumer)
    consumer.close()
    return found


def transcripts(brokers, topic="transcripts"):
    return [json.loads(record.value) for record in records(brokers, topic)]


def complete(brokers, count, topic="transcripts"):
    """The sessions' texts, when so many are complete."""

    def look():
        found = transcripts(brokers, topic)
        return found if sum(one["kind"] == "end" for one in found) >= count else None

    texts = {}
    for one in wait_for(look):
        texts.setdefault(one["session"], []).extend(words_of(one.get("text", "")))
    return texts


def test_the_examples_turn_a_wav_file_into_text(brokers, empty, rechka, tmp_path):
    words = story(tmp_path / "story.wav", 9)
    _, address = rechka.serve("serve", "--audio=s16le:44100")
    servers = "--brokers=" + ",".join(brokers)
    consumer = subprocess.Popen(
        [sys.executable, EXAMPLES / "consumer.py", servers], stdout=subprocess.PIPE, text=True
    )
    try:
        for run in (1, 2):
            subprocess.run([sys.executable, EXAMPLES / "producer.py", tmp_path / "story.wav", servers], check=True)
            # Nothing tells that the script has ended but that nothing comes any more.
            heard = complete(brokers, run)
            assert list(heard.values()) == [words] * run
        assert all(session.startswith("audio-stream@") for session in heard)
        printed = []
        while len(printed) < 2 * len(words):
            printed += words_of(consumer.stdout.readline().split(" s  ")[1])
        assert printed == 2 * words
    finally:
        consumer.kill()
    # The page lists them, and has their text.
    listed = json.load(urllib.request.urlopen(address + "/v1/sessions"))["sessions"]
    assert {session["session"]: session["state"] for session in listed} == dict.fromkeys(heard, "complete")
    first = next(iter(heard))
    assert words_of(urllib.request.urlopen(f"{address}/v1/sessions/{first}.txt").read().decode()) == words
    # So does the command line.
    text = rechka.run("consume", "transcripts", "--format=txt", f"--session={first}")
    assert words_of(text) == words
    subtitles = rechka.run("consume", "transcripts", "--format=srt", f"--session={first}")
    assert subtitles.startswith("1\n00:00:0") and " --> " in subtitles


def test_sound_without_key_on_several_partitions_is_refused_with_the_way_out(brokers, admin, rechka, tag, tmp_path):
    admin.create_topics([NewTopic(tag, num_partitions=3, replication_factor=3)])
    pipeline = tmp_path / "listen.sql"
    pipeline.write_text(
        f"CREATE STREAM audio_{tag} WITH (topic = '{tag}', format = 's16le', rate = 44100);"
        f"CREATE STREAM heard_{tag} AS SELECT * FROM TRANSCRIBE(audio_{tag}, model => 'digits');"
    )
    words = story(tmp_path / "story.wav", 5)
    producer = KafkaProducer(bootstrap_servers=brokers)
    with wave.open(str(tmp_path / "story.wav")) as sound:
        while chunk := sound.readframes(1_024):
            producer.send(tag, chunk)
            producer.send(tag, chunk, key=b"anna")
    producer.send(tag, b"", key=b"anna", headers=[("control", b"end")])
    producer.flush()
    rechka.run("run", pipeline, "--once")
    assert list(complete(brokers, 1, f"heard_{tag}").items()) == [("anna", words)]
    dead = records(brokers, f"{tag}.dead")
    reasons = {dict(record.headers)["dead.reason"].decode() for record in dead}
    assert len(reasons) == 1 and "give the session's name as the record's key" in reasons.pop()
    assert len(dead) == len([record for record in records(brokers, tag) if record.key is None])


def test_who_listens_at_a_gateway_hears_what_a_worker_recognises(brokers, empty, rechka, tmp_path):
    words = story(tmp_path / "story.wav", 9)
    _, gateway = rechka.serve("serve", "--no-recognition")
    _, worker = rechka.serve("run", CAPTIONS)
    speaking = rechka.start("produce", "--sound", tmp_path / "story.wav", "--speed=1", "--session=anna")
    wait_for(lambda: any(one["session"] == "anna" for one in sessions(gateway)))
    partials, finals, heard = 0, [], ""
    for line in urllib.request.urlopen(gateway + "/v1/sessions/anna/events", timeout=60):
        kind, _, rest = line.decode().strip().partition(": ")
        if kind == "event":
            heard = rest
        elif kind == "data" and heard == "partial":
            partials += 1
        elif kind == "data" and heard == "final":
            finals += words_of(json.loads(rest).get("text", ""))
        elif kind == "data" and heard == "end":
            break
    assert speaking.wait() == 0
    assert finals == words
    assert partials > 3, "they came while it was spoken"
    # What a worker recognises is no work of the gateway.
    assert "rechka_recogniser" not in urllib.request.urlopen(gateway + "/metrics").read().decode()
    # The same file is the same session: nothing is said twice.
    rechka.run("produce", "--sound", tmp_path / "story.wav", "--session=anna")
    assert len(complete(brokers, 1)["anna"]) == len(words)


def sessions(address):
    return json.load(urllib.request.urlopen(address + "/v1/sessions"))["sessions"]
