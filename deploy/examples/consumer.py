"""Prints what is said, as it is said: python consumer.py"""

import argparse
import json

from kafka import KafkaConsumer


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--brokers", default="localhost:9092")
    arguments.add_argument("--topic", default="transcripts")
    given = arguments.parse_args()
    consumer = KafkaConsumer(
        given.topic,
        bootstrap_servers=given.brokers.split(","),
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    try:
        for record in consumer:
            transcript = json.loads(record.value)
            if transcript["kind"] == "speech":
                print(f"{transcript['session']} {transcript['start']:8.2f} s  {transcript['text'].strip()}", flush=True)
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
