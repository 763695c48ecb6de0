"""Sends sound into the topic audio-stream: a WAV file at the pace at which it was spoken, or the microphone.

    python producer.py talk.wav
    python producer.py --microphone          (needs PyAudio)

16-bit mono at 44,100 Hz, 1,024 frames in a record, no key, no header: bare sound.
"""

import argparse
import time
import wave

from kafka import KafkaProducer

RATE = 44_100
CHUNK = 1_024


def file_chunks(path):
    with wave.open(path) as sound:
        if (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) != (RATE, 1, 2):
            raise SystemExit(f"{path} is not 16-bit mono at {RATE} Hz: ffmpeg -i {path} -ar {RATE} -ac 1 -sample_fmt s16 out.wav")
        due = time.monotonic()
        while chunk := sound.readframes(CHUNK):
            due += CHUNK / RATE
            time.sleep(max(0, due - time.monotonic()))
            yield chunk


def microphone_chunks():
    import pyaudio

    stream = pyaudio.PyAudio().open(format=pyaudio.paInt16, channels=1, rate=RATE, input=True, frames_per_buffer=CHUNK)
    while True:
        yield stream.read(CHUNK)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("file", nargs="?", help="a WAV file")
    arguments.add_argument("--microphone", action="store_true")
    arguments.add_argument("--brokers", default="localhost:9092")
    arguments.add_argument("--topic", default="audio-stream")
    given = arguments.parse_args()
    if given.microphone == bool(given.file):
        arguments.error("give a file or --microphone")

    producer = KafkaProducer(bootstrap_servers=given.brokers.split(","))
    try:
        for chunk in microphone_chunks() if given.microphone else file_chunks(given.file):
            producer.send(given.topic, chunk)
    except KeyboardInterrupt:
        pass
    producer.flush()


if __name__ == "__main__":
    main()
