"""Rechka beside Kafka Streams: the same count of the same events on the same cluster, one after the other.

    cargo xtask kafka up
    python3 bench/kafka/run.py [--binary target/release/rechka] [CASE…]

A case is SYSTEM:WHAT:WORKERS:GUARANTEE, where SYSTEM is rechka, streams (state in RocksDB, the default) or streams-memory; WHAT is
throughput or latency; GUARANTEE is exactly-once or at-least-once. Without one, all run that the README shows. Needs javac
(Debian: openjdk-17-jdk-headless) besides what the cluster needs.
"""

import argparse
import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "rechka" / "kafka"
MAVEN = os.environ.get("MAVEN_REPOSITORY", "https://repo1.maven.org/maven2").rstrip("/")
TICKS = os.sysconf("SC_CLK_TCK")
SYSTEMS = ["rechka", "streams", "streams-memory"]
THROUGHPUT = [("1", "exactly-once"), ("2", "exactly-once"), ("1", "at-least-once")]
LATENCY = [("1", "exactly-once"), ("1", "at-least-once")]
CASES = [f"{system}:throughput:{workers}:{guarantee}" for workers, guarantee in THROUGHPUT for system in SYSTEMS]
CASES += [f"{system}:latency:{workers}:{guarantee}" for workers, guarantee in LATENCY for system in SYSTEMS]


def class_path():
    """The brokers' jars, and those in artifacts.txt."""
    for line in (HERE / "artifacts.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        sha256, coordinates = line.split(" ")
        group, artifact, version = coordinates.split(":")
        jar = CACHE / f"{artifact}-{version}.jar"
        if not jar.exists():
            url = f"{MAVEN}/{group.replace('.', '/')}/{artifact}/{version}/{jar.name}"
            print("downloading", url, file=sys.stderr)
            content = urllib.request.urlopen(url).read()
            if hashlib.sha256(content).hexdigest() != sha256:
                sys.exit(f"{url} is not what it should be: its SHA-256 is not {sha256}")
            part = jar.with_suffix(".part")
            part.write_bytes(content)
            part.rename(jar)
    return ":".join(map(str, sorted(CACHE.glob("*.jar"))))


def bootstrap():
    ports = TARGET / "kafka" / "ports"
    if not ports.exists():
        sys.exit("the cluster is down: start it with cargo xtask kafka up")
    return ",".join("127.0.0.1:" + line.split()[0] for line in ports.read_text().splitlines())


def processor_seconds(pids):
    def of(pid):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    return sum(map(of, pids))


def brokers():
    return [int(file.read_text()) for file in (TARGET / "kafka").glob("broker-*/pid")]


class Bench:
    def __init__(self, arguments, folder):
        self.arguments = arguments
        self.folder = folder
        self.bootstrap = bootstrap()
        self.classes = folder / "classes"
        self.class_path = f"{class_path()}:{self.classes}"
        sources = [HERE / "Load.java", HERE / "Streams.java"]
        subprocess.run(["javac", "-d", self.classes, "-cp", self.class_path, *sources], check=True)
        self.number = 0

    def java(self, name, *arguments):
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
        return ["java", "-Xmx1g", quiet, "-cp", self.class_path, name, *map(str, arguments)]

    def topic(self, name):
        command = self.java("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", self.bootstrap)
        command += ["--create", "--if-not-exists", "--topic", name, "--partitions", "4"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def filled(self, events):
        """A topic with so many events, which all cases read."""
        stamp = self.folder.parent / f"filled-{events}"
        if stamp.exists():
            return stamp.read_text()
        name = f"bench-input-{events}-{int(time.time())}"
        self.topic(name)
        subprocess.run(self.java("Load", "fill", self.bootstrap, name, events), check=True)
        stamp.write_text(name)
        return name

    def workers(self, system, workers, guarantee, source, result):
        tag = f"b{int(time.time())}_{self.number}"
        self.number += 1
        started = []
        for worker in range(workers):
            if system == "rechka":
                text = (HERE / "count.sql").read_text()
                for name, value in [("TAG", tag), ("INPUT", source), ("OUTPUT", result)]:
                    text = text.replace(name, value)
                file = self.folder / f"{tag}.sql"
                file.write_text(text)
                command = [self.arguments.binary, "run", file, "--log", f"kafka://{self.bootstrap}"]
                command += ["--listen", "127.0.0.1:0", "--delivery", guarantee]
            else:
                store = "memory" if system == "streams-memory" else "rocksdb"
                level = {"exactly-once": "exactly_once_v2", "at-least-once": "at_least_once"}[guarantee]
                state = self.folder / f"{tag}-{worker}"
                command = self.java("Streams", self.bootstrap, tag, source, result, level, store, state)
            log = open(self.folder / f"{tag}-{worker}.log", "w")
            started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log))
        return started

    def run(self, case):
        system, what, workers, guarantee = case.split(":")
        measure = {"throughput": self.throughput, "latency": self.latency}[what]
        print(case, measure(system, int(workers), guarantee), sep=" | ", flush=True)

    def throughput(self, system, workers, guarantee):
        """What was there is worked off; measured from one third on, when everything is warm."""
        events = self.arguments.events
        source, result = self.filled(events), f"bench-output-{time.time_ns()}"
        self.topic(result)
        begun = time.monotonic()
        processes = self.workers(system, workers, guarantee, source, result)
        try:
            follow = subprocess.Popen(self.java("Load", "follow", self.bootstrap, result, events), stdout=subprocess.PIPE, text=True)
            marks = []
            for line in follow.stdout:
                counted = int(line)
                if not marks and counted >= events / 3 or marks and counted >= events:
                    pids = [process.pid for process in processes]
                    marks.append((time.monotonic(), counted, processor_seconds(pids), processor_seconds(brokers())))
                if len(marks) == 2:
                    break
                if any(process.poll() is not None for process in processes):
                    sys.exit(f"a worker has ended: see {self.folder}")
            follow.kill()
        finally:
            self.end(processes)
        (time0, counted0, work0, brokers0), (time1, counted1, work1, brokers1) = marks
        counted, wall, work = counted1 - counted0, time1 - time0, work1 - work0
        return (
            f"{counted / work / 1e3:.0f} thousand events a processor second, {counted / wall / 1e3:.0f} thousand a second"
            f" ({work / wall:.2f} cores, brokers {(brokers1 - brokers0) / wall:.2f}; {time1 - begun:.0f} s in all)"
        )

    def latency(self, system, workers, guarantee):
        rate, seconds, warm_up = self.arguments.rate, self.arguments.seconds, self.arguments.warm_up
        source, result = (f"bench-{what}-{time.time_ns()}" for what in ("paced", "output"))
        self.topic(source)
        self.topic(result)
        processes = self.workers(system, workers, guarantee, source, result)
        try:
            time.sleep(5)
            load = self.java("Load", "pace", self.bootstrap, source, result, rate, warm_up, seconds)
            load = subprocess.Popen(load, stdout=subprocess.PIPE, text=True)
            marks, line = [], ""
            pids = [process.pid for process in processes]
            for line in load.stdout:
                if line[0].isdigit() and int(line) >= rate * (warm_up if not marks else warm_up + seconds - 1):
                    if len(marks) < 2:
                        marks.append((time.monotonic(), int(line), processor_seconds(pids), processor_seconds(brokers())))
                if any(process.poll() is not None for process in processes):
                    sys.exit(f"a worker has ended: see {self.folder}")
        finally:
            self.end(processes)
        if len(marks) < 2:
            return f"did not keep up: {line.strip()}"
        (time0, counted0, work0, brokers0), (time1, counted1, work1, brokers1) = marks
        half, most, nearly_all, all_ = line.rpartition(": ")[2].split()
        return (
            f"p50 {half} ms, p95 {most} ms, p99 {nearly_all} ms, longest {all_} ms"
            f" ({(work1 - work0) / (time1 - time0):.2f} cores, {(counted1 - counted0) / (work1 - work0) / 1e3:.0f} thousand events a"
            f" processor second, brokers {(brokers1 - brokers0) / (time1 - time0):.2f} cores; {line.partition(':')[0]})"
        )

    @staticmethod
    def end(processes):
        for process in processes:
            process.kill()
            process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(TARGET / "release" / "rechka"))
    parser.add_argument("--events", type=int, default=6_000_000, help="of a throughput case")
    parser.add_argument("--rate", type=int, default=50_000, help="events a second of a latency case")
    parser.add_argument("--seconds", type=int, default=20, help="of a latency case, measured")
    parser.add_argument("--warm-up", type=int, default=15, help="seconds before")
    parser.add_argument("cases", nargs="*", metavar="CASE")
    arguments = parser.parse_args()
    folder = TARGET / "bench-kafka"
    folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments, pathlib.Path(tempfile.mkdtemp(dir=folder)))
    for case in arguments.cases or CASES:
        bench.run(case)


if __name__ == "__main__":
    main()
