"""The binary and a real cluster: `cargo xtask test` gives both. By hand:

    cargo xtask kafka up
    RECHKA_KAFKA=HOST:PORT,… RECHKA_BIN=target/debug/rechka python -m pytest tests/python/live
"""

import os
import uuid

import pytest
from kafka.admin import KafkaAdminClient
from running import Rechka


@pytest.fixture(scope="session")
def brokers():
    """The addresses of the cluster."""
    addresses = os.environ.get("RECHKA_KAFKA")
    if not addresses:
        if os.environ.get("RECHKA_TEST_REQUIRE_ALL") == "1":
            pytest.fail("RECHKA_KAFKA is not set")
        pytest.skip("RECHKA_KAFKA is not set (cargo xtask kafka up says it)")
    return addresses.split(",")


@pytest.fixture(scope="session")
def admin(brokers):
    client = KafkaAdminClient(bootstrap_servers=brokers)
    yield client
    client.close()


@pytest.fixture
def tag():
    """A name of a test's own: the tests share the cluster."""
    return "py_" + uuid.uuid4().hex[:8]


@pytest.fixture
def rechka(brokers):
    """Runs and starts the binary; what still runs at the end is killed."""
    started = Rechka(brokers)
    yield started
    for process in started.processes:
        process.kill()
        process.wait()
