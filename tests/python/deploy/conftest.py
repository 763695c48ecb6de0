"""The chart, rendered in several ways."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "deploy" / "kubernetes"))

from cluster import Cluster
from render import render

#: Values, by what they are for.
VARIANTS = {
    "default": {},
    "everything": {
        "image": {"repository": "registry.example.org/rechka", "tag": "1"},
        "imagePullSecrets": [{"name": "registry"}],
        "environment": {"RECHKA_LOG": "info"},
        "environmentSecret": "passwords",
        "kafka": {
            "spread": "preferred",
            "storage": {"storageClass": "fast"},
            "allowFrom": [{"podSelector": {"matchLabels": {"app": "producer"}}}],
        },
        "gateway": {
            "hosts": ["captions.example.org"],
            "recognition": False,
            "autoscaling": {"kind": "keda"},
            "allowTo": [{"ports": [{"port": 443}], "to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}],
        },
        "workers": {
            "volume": {"size": "10Gi"},
            "autoscaling": {"kind": "keda"},
            "allowFrom": [{"podSelector": {"matchLabels": {"app": "dashboard"}}}],
            "allowTo": [{"ports": [{"port": 8081}]}],
        },
        "pipelines": {
            "given": {"configMap": "of-mine", "replicas": 3, "autoscaling": {"kind": "hpa", "lagMetric": "10000"}},
            "shop": {
                "sql": "CREATE TABLE products …",
                "files": {"products.csv": "1,a\n"},
                "autoscaling": {"kind": "none"},
            },
        },
        "mlflow": {"enabled": True, "allowFrom": [{"podSelector": {"matchLabels": {"app": "trainer"}}}]},
        "prometheus": {"serviceMonitor": True},
    },
    "external Kafka": {
        "kafka": {"enabled": False},
        "environmentSecret": "kafka-user",
        "externalKafka": {
            "brokers": ["a.example.org:9092", "b.example.org:9094"],
            "settings": {
                "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.username": "rechka",
                "sasl.password": "$KAFKA_PASSWORD",
                "ssl.ca.location": "/etc/rechka/kafka/ca.crt",
                "create.min.insync.replicas": 2,
            },
            "secret": "kafka-certificates",
        },
        "workers": {"autoscaling": {"kind": "keda"}},
        "keda": {"authentication": "kafka-user"},
    },
    "little": {
        "gateway": {"enabled": False},
        "workers": {"autoscaling": {"kind": "none"}},
        "prometheus": {"annotations": False},
        "networkPolicies": False,
    },
}


@pytest.fixture(scope="session")
def clusters():
    """Variant -> what it installs."""
    return {name: Cluster.of(render(values)) for name, values in VARIANTS.items()}


@pytest.fixture(params=VARIANTS)
def cluster(request, clusters):
    """Each variant in turn; a copy, to be broken."""
    return clusters[request.param].copy()


@pytest.fixture
def default(clusters):
    """What the default values install; a copy, to be broken."""
    return clusters["default"].copy()


@pytest.fixture
def everything(clusters):
    """What all values together install; a copy, to be broken."""
    return clusters["everything"].copy()
