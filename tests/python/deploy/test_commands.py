"""The command lines of chart, compose file and image are ones that the binary takes, and the example pipeline runs."""

import json
import os
import subprocess

import pytest
from test_containers import compose, last_stage

RECHKA = os.environ.get("RECHKA_BIN")


@pytest.fixture(scope="module")
def command_lines(clusters):
    """All of them, without the log's address: it is tried where there is a log."""
    (image,) = [json.loads(text) for instruction, text in last_stage() if instruction == "CMD"]
    services = [service["command"] for service in compose()["services"].values() if "command" in service]
    pods = [
        pod.container["args"]
        for cluster in clusters.values()
        for pod in cluster.pods()
        if pod.component != "mlflow" and "args" in pod.container
    ]
    return [image, *services, *pods]


def refusal(arguments):
    """What the binary says against arguments; with --help it only reads them."""
    run = subprocess.run([RECHKA, *arguments, "--help"], capture_output=True, text=True)
    return run.stderr if run.returncode else ""


def test_the_binary_takes_every_command_line(command_lines):
    assert len(command_lines) > 8
    for arguments in command_lines:
        known = [argument for argument in arguments if not argument.startswith("--log=")]
        assert known != arguments and refusal(known) == ""


def test_a_command_line_that_is_none_is_refused():
    assert "unexpected argument '--modell'" in refusal(["serve", "--modell=digits"])


def test_the_example_pipeline_runs(default, tmp_path):
    (tmp_path / "clicks.sql").write_text(default.one("ConfigMap", "rechka-worker-clicks")["data"]["clicks.sql"])
    log = f"--log=embedded:{tmp_path / 'log'}"
    clicks = "".join(
        json.dumps({"user_id": user, "item_id": 1, "kind": "view", "ts": f"2026-01-01T00:00:{user:02}"}) + "\n"
        for user in range(20)
    )
    subprocess.run([RECHKA, "produce", "user-events", "--partitions=6", log], input=clicks, text=True, check=True)
    subprocess.run([RECHKA, "run", tmp_path / "clicks.sql", "--once", log], check=True, capture_output=True)
    ask = [RECHKA, "sql", "--execute=SELECT count(*) AS users FROM users", "--format=json", log]
    answer = subprocess.run(ask, check=True, capture_output=True, text=True).stdout
    assert json.loads(answer) == {"users": 20}
    # The groups whose lag scales the workers are those of the pipeline's queries.
    topics = subprocess.run([RECHKA, "topics", log], check=True, capture_output=True, text=True).stdout
    assert "clicks_per_minute.0.state" in topics and "users.0.state" in topics
