"""The binary, run and waited for."""

import os
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PATIENCE = 90


class Rechka:
    def __init__(self, brokers):
        self.program = os.environ.get("RECHKA_BIN", ROOT / "target" / "debug" / "rechka")
        self.log = f"--log=kafka://{','.join(brokers)}"
        self.processes = []

    def start(self, *arguments, **options):
        process = subprocess.Popen([self.program, *arguments, self.log], text=True, **options)
        self.processes.append(process)
        return process

    def run(self, *arguments, **options):
        """What it prints."""
        run = subprocess.run([self.program, *arguments, self.log], text=True, capture_output=True, **options)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def serve(self, command, *arguments):
        """Starts what listens; gives its address when it is ready."""
        stream = "stdout" if command == "serve" else "stderr"
        process = self.start(command, *arguments, "--listen=127.0.0.1:0", **{stream: subprocess.PIPE})
        for line in getattr(process, stream):
            if "http://" in line:
                address = "http://" + line.split("http://")[1].split("/")[0].strip()
                break
        else:
            pytest.fail(f"{command} ended before it listened")
        # What nobody reads would stop it in the end.
        threading.Thread(target=lambda: sum(1 for _ in getattr(process, stream)), daemon=True).start()
        wait_for(lambda: answers(address + "/readyz"))
        return process, address


def answers(address):
    try:
        return urllib.request.urlopen(address).status == 200
    except OSError:
        return False


def wait_for(happened, patience=PATIENCE):
    """What `happened` gives, as soon as that is something."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if found := happened():
            return found
        time.sleep(0.2)
    pytest.fail(f"waited in vain for {happened}")
