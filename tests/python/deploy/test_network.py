"""Network policies let exactly those talk who must."""

from network import HERE, Peer, connects

STRANGER = Peer({"app": "stranger"})
ELSEWHERE = Peer({"app.kubernetes.io/name": "rechka"}, namespace="elsewhere")
PROMETHEUS = Peer({"app": "prometheus"}, namespace="monitoring")
KEDA = Peer({"app": "keda"}, namespace="keda")
NAMES = Peer({"k8s-app": "kube-dns"}, namespace="kube-system")
OUTSIDE = Peer(address=True)


def peers(cluster):
    """Everybody there is, by name."""
    pods = {pod.component: Peer(pod.labels, HERE) for pod in cluster.pods()}
    others = {"stranger": STRANGER, "elsewhere": ELSEWHERE, "prometheus": PROMETHEUS, "keda": KEDA, "outside": OUTSIDE}
    return pods | others


def talks(cluster):
    """(who, to whom, port): all connections to open ports of our pods that the policies let through."""
    ports = {pod.component: pod.ports().values() for pod in cluster.pods()}
    everybody = peers(cluster)
    return {
        (source, target, port)
        for source, one in everybody.items()
        for target in ports
        for port in ports[target]
        if connects(cluster, one, everybody[target], port)
    }


DEFAULT = {
    ("kafka", "kafka", 9092),
    ("kafka", "kafka", 9093),
    ("gateway", "kafka", 9092),
    ("worker", "kafka", 9092),
    ("prometheus", "gateway", 8080),
    ("prometheus", "worker", 8080),
    ("stranger", "gateway", 8080),
}


def test_only_those_talk_who_must(default):
    assert talks(default) == DEFAULT


def test_keda_asks_kafka_and_all_may_use_models_where_they_are_installed(everything):
    assert talks(everything) == DEFAULT | {
        ("keda", "kafka", 9092),
        ("gateway", "mlflow", 5000),
        ("worker", "mlflow", 5000),
    }


def test_peers_that_the_values_name_may_come_too(everything):
    everybody = peers(everything)
    assert connects(everything, Peer({"app": "producer"}), everybody["kafka"], 9092)
    assert not connects(everything, Peer({"app": "producer"}), everybody["kafka"], 9093)
    assert connects(everything, Peer({"app": "trainer"}), everybody["mlflow"], 5000)
    assert connects(everything, Peer({"app": "dashboard"}), everybody["worker"], 8080)
    assert not connects(everything, Peer({"app": "dashboard"}, namespace="elsewhere"), everybody["worker"], 8080)


def test_nobody_reaches_the_world_unless_the_values_say_so(default, everything, clusters):
    for cluster, reached in ((default, set()), (everything, {("gateway", 443), ("worker", 8081)})):
        everybody = peers(cluster)
        assert {
            (pod.component, port)
            for pod in cluster.pods()
            for port in (80, 443, 5000, 8081, 9092)
            if connects(cluster, everybody[pod.component], OUTSIDE, port)
        } == reached
    external = clusters["external Kafka"]
    everybody = peers(external)
    for port, is_reached in ((9092, True), (9094, True), (9093, False), (443, False)):
        assert connects(external, everybody["worker"], OUTSIDE, port) == is_reached
        assert connects(external, everybody["gateway"], OUTSIDE, port) == is_reached


def test_all_may_ask_for_names_and_only_there(default):
    everybody = peers(default)
    for pod in default.pods():
        for protocol in ("TCP", "UDP"):
            assert connects(default, everybody[pod.component], NAMES, 53, protocol)
            assert not connects(default, everybody[pod.component], STRANGER, 53, protocol)


def test_without_policies_everybody_would_talk(default):
    """That is: the tests above can fail."""
    denied = default.copy()
    for policy in denied.all("NetworkPolicy"):
        denied.objects.remove(policy)
    assert ("stranger", "kafka", 9093) in talks(denied)
    default.objects.remove(default.one("NetworkPolicy", "rechka-clients"))
    assert talks(default) < DEFAULT
