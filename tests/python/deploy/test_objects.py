"""The objects fit each other, in every variant; and a broken one is found."""

import pytest
from brokers import BROKERS
from checks import CHECKS


def problems(cluster):
    """All that the checks find, in words."""
    return [problem for check in CHECKS + BROKERS for problem in check(cluster)]


def test_the_objects_of_every_variant_fit_each_other(cluster):
    assert problems(cluster) == []


def break_selector(cluster):
    cluster.one("StatefulSet", "rechka-kafka")["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] = (
        "worker"
    )


def break_spread(cluster):
    del cluster.pod("kafka").spec["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"][
        "app.kubernetes.io/component"
    ]


def break_service_selector(cluster):
    cluster.one("Service", "rechka-gateway")["spec"]["selector"]["app.kubernetes.io/component"] = "gatewey"


def break_service_port(cluster):
    cluster.one("Service", "rechka-kafka")["spec"]["ports"][0]["targetPort"] = "client"


def break_service_name(cluster):
    cluster.one("StatefulSet", "rechka-worker-clicks")["spec"]["serviceName"] = "rechka-workers"


def break_probe(cluster):
    cluster.pod("gateway").container["readinessProbe"]["httpGet"]["port"] = "https"


def break_scrape(cluster):
    cluster.pod("worker").annotations["prometheus.io/port"] = "9090"


def break_budget(cluster):
    cluster.one("PodDisruptionBudget", "rechka-kafka")["spec"]["selector"]["matchLabels"] = {"app": "kafka"}


def break_budget_number(cluster):
    cluster.one("PodDisruptionBudget", "rechka-kafka")["spec"]["maxUnavailable"] = 2


def break_configuration(cluster):
    cluster.pod("worker").spec["volumes"][0]["configMap"]["name"] = "rechka-pipeline"


def break_mount(cluster):
    cluster.pod("kafka").container["volumeMounts"][0]["name"] = "disk"


def break_account(cluster):
    cluster.pod("gateway").spec["serviceAccountName"] = "default"


def break_secrets(cluster):
    cluster.objects.append({"kind": "Secret", "metadata": {"name": "password"}, "spec": {}})


def break_scaling_target(cluster):
    cluster.one("HorizontalPodAutoscaler", "rechka-worker-clicks")["spec"]["scaleTargetRef"]["kind"] = "Deployment"


def break_scaling_number(cluster):
    cluster.one("StatefulSet", "rechka-worker-clicks")["spec"]["replicas"] = 2


def break_scaling_absent(cluster):
    cluster.objects.remove(cluster.one("HorizontalPodAutoscaler", "rechka-worker-clicks"))


def break_root(cluster):
    del cluster.pod("kafka").spec["securityContext"]["runAsNonRoot"]


def break_filesystem(cluster):
    cluster.pod("worker").container["securityContext"]["readOnlyRootFilesystem"] = False


def break_host(cluster):
    cluster.pod("worker").spec["volumes"].append({"name": "pipeline", "hostPath": {"path": "/"}})


def break_memory(cluster):
    del cluster.pod("kafka").container["resources"]["limits"]


def break_stopping(cluster):
    del cluster.pod("gateway").container["lifecycle"]


def break_stopping_time(cluster):
    cluster.pod("worker").spec["terminationGracePeriodSeconds"] = 10


def change_property(name, value):
    def change(cluster):
        (configuration,) = [item for item in cluster.all("ConfigMap") if "server.properties" in item["data"]]
        lines = configuration["data"]["server.properties"].splitlines()
        kept = [line for line in lines if not line.startswith(f"{name}=")]
        assert len(kept) == len(lines) - 1
        configuration["data"]["server.properties"] = "\n".join(kept + ([f"{name}={value}"] if value else []))

    return change


def break_brokers(cluster):
    cluster.one("StatefulSet", "rechka-kafka")["spec"]["replicas"] = 5


def break_finding_each_other(cluster):
    del cluster.one("Service", "rechka-kafka-brokers")["spec"]["publishNotReadyAddresses"]


def break_log(cluster):
    cluster.pod("worker").container["args"][2] = "--log=kafka://kafka:9092"


def break_name(cluster):
    cluster.one("Service", "rechka-kafka")["metadata"]["name"] = "rechka-gateway"


def break_label(cluster):
    cluster.one("Service", "rechka-kafka")["metadata"]["labels"]["app.kubernetes.io/component"] = "kafka broker"


def break_port_name(cluster):
    cluster.pod("kafka").container["ports"].append({"name": "clients-of-brokers", "containerPort": 9094})


def break_port_number(cluster):
    cluster.pod("kafka").container["ports"].append({"name": "again", "containerPort": 9092})


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (break_selector, "StatefulSet rechka-kafka chooses ['rechka-worker-clicks']"),
        (break_spread, "rechka-kafka is kept apart from ['rechka-gateway', 'rechka-kafka', 'rechka-worker-clicks']"),
        (break_service_selector, "Service rechka-gateway leads to []"),
        (break_service_port, "Service rechka-kafka leads to port 'client', which is not 9092 in rechka-kafka"),
        (break_service_name, "StatefulSet rechka-worker-clicks has no headless service rechka-workers"),
        (break_probe, "rechka-gateway's readinessProbe asks the port 'https'"),
        (break_scrape, "rechka-worker-clicks is scraped at port 9090"),
        (break_budget, "rechka-kafka has 0 disruption budgets"),
        (break_budget_number, "PodDisruptionBudget rechka-kafka does not say one at most"),
        (break_configuration, "rechka-worker-clicks needs ConfigMap rechka-pipeline, which does not exist"),
        (break_mount, "rechka-kafka mounts disk, which is no volume"),
        (break_account, "rechka-gateway runs as default, which does not exist"),
        (break_secrets, "there is a Secret in the manifests"),
        (
            break_scaling_target,
            "HorizontalPodAutoscaler rechka-worker-clicks scales Deployment rechka-worker-clicks, which does not exist",
        ),
        (
            break_scaling_number,
            "StatefulSet rechka-worker-clicks says how many there are, and HorizontalPodAutoscaler rechka-worker-clicks too",
        ),
        (break_scaling_absent, "nothing says how many of rechka-worker-clicks there are"),
        (break_root, "rechka-kafka runs as root"),
        (break_filesystem, "rechka-worker-clicks may write its root filesystem"),
        (break_host, "rechka-worker-clicks has volumes of another kind"),
        (break_memory, "rechka-kafka has no memory in limits"),
        (break_stopping, "rechka-gateway stops before others know"),
        (break_stopping_time, "rechka-worker-clicks has 5 s to stop in"),
        (change_property("default.replication.factor", "1"), "default.replication.factor is 1"),
        (change_property("min.insync.replicas", "3"), "min.insync.replicas is 3"),
        (change_property("transaction.state.log.min.isr", None), "transaction.state.log.min.isr is not set"),
        (change_property("controller.quorum.voters", "0@rechka-kafka-0:9093"), "the voters are 0@rechka-kafka-0:9093"),
        (
            change_property("listeners", "CLIENTS://:9092,CONTROLLER://:9094"),
            "the listeners are {'CLIENTS': 9092, 'CONTROLLER': 9094}",
        ),
        (change_property("log.dirs", "/tmp/log"), "the log is in /tmp/log, which is in no volume"),
        (break_brokers, "there are 5 brokers"),
        (break_finding_each_other, "brokers can't find each other before they are ready"),
        (break_log, "rechka-worker-clicks asks kafka:9092, which does not exist"),
        (break_label, "Service rechka-kafka has a label that is none: app.kubernetes.io/component=kafka broker"),
        (break_port_name, "rechka-kafka calls a port 'clients-of-brokers'"),
        (break_port_number, "rechka-kafka opens a port twice"),
        (break_name, "Service rechka-gateway is there twice"),
    ],
)
def test_what_does_not_fit_is_found(default, harm, complaint):
    harm(default)
    assert complaint in problems(default)
