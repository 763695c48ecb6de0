"""The chart as Helm sees it, its values, and what is rendered from it."""

import json
import os
import subprocess

import jsonschema
import pytest
import yaml
from brokers import properties
from cluster import Cluster, read
from conftest import ROOT, VARIANTS
from helm_python import Chart, HelmRenderError, HelmValuesError, lint
from render import CHART, RENDERED, render

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def test_helm_finds_nothing_wrong_with_the_chart():
    report = lint(CHART, strict=True)
    assert report["errors"] == []
    # It would like a picture.
    assert [message["error"] for message in report["messages"]] == ["icon is recommended"]


def differences(rendered):
    """Files that are not as the chart makes them."""
    there = {path.name: path.read_text() for path in RENDERED.glob("*.yaml")}
    return sorted(name for name in there | rendered if there.get(name) != rendered.get(name))


def test_the_plain_manifests_are_up_to_date():
    assert differences(render()) == [], "run: cargo xtask manifests"


def test_a_change_of_the_chart_is_noticed():
    assert differences(render({"kafka": {"heap": "2g"}})) == ["kafka.yaml"]
    assert differences(render({"gateway": {"enabled": False}})) == ["gateway.yaml", "network.yaml"]


def test_the_plain_manifests_can_be_installed_into_any_namespace():
    assert render(namespace="another") == render()


def test_rendering_gives_the_same_each_time():
    assert render(VARIANTS["everything"]) == render(VARIANTS["everything"])


def test_the_schema_is_one_and_knows_the_default_values():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(VALUES, SCHEMA)


def test_every_value_of_the_schema_has_a_default_that_explains_itself():
    def names(schema):
        schema = SCHEMA["definitions"][schema["$ref"].rsplit("/")[-1]] if "$ref" in schema else schema
        return {name: names(inner) for name, inner in schema.get("properties", {}).items()}

    def missing(wanted, given, path=""):
        for name, inner in wanted.items():
            if name not in given:
                yield path + name
            elif isinstance(given[name], dict):
                yield from missing(inner, given[name], f"{path}{name}.")

    # Optional parts of what has a default: `global` is Helm's own, gateways have no queries whose lag could be a metric.
    optional = {"global", "gateway.autoscaling.cpuUtilization", "gateway.autoscaling.lagMetric"}
    assert set(missing(names(SCHEMA), VALUES)) == optional


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"kafka": {"replicas": 5}}, "additional properties 'replicas' not allowed"),
        ({"gatway": {}}, "additional properties 'gatway' not allowed"),
        ({"kafka": {"enabled": False}}, "'/externalKafka/brokers': minItems"),
        ({"kafka": {"enabled": False}, "externalKafka": {"brokers": ["a.example.org"]}}, "does not match pattern"),
        ({"externalKafka": {"settings": {"sasl.password": "hunter2"}}}, "does not match pattern"),
        ({"externalKafka": {"settings": {"sasl.username": "me&sasl.password=hunter2"}}}, "does not match pattern"),
        ({"pipelines": {"Clicks": {"sql": "a"}}}, "does not match pattern"),
        ({"pipelines": {"clicks": {"configMap": "both"}}}, "oneOf"),
        ({"pipelines": {"empty": {}}}, "oneOf"),
        ({"workers": {"autoscaling": {"kind": "vpa"}}}, "value must be one of 'none', 'hpa', 'keda'"),
        ({"workers": {"autoscaling": {"kind": "keda"}}, "pipelines": {"other": {"sql": "a"}}}, "needs autoscaling.lag"),
        ({"environment": {"A B": "c"}}, "does not match pattern"),
    ],
)
def test_wrong_values_are_refused_with_the_reason(values, complaint):
    with pytest.raises((HelmValuesError, HelmRenderError), match="(?s).*" + complaint):
        render(values)


def test_a_name_too_long_is_refused():
    with Chart.load(CHART) as chart, pytest.raises(HelmRenderError, match="at most 20 characters"):
        chart.render(name="a-release-of-21-chars", namespace="rechka")


def test_another_release_has_names_and_labels_of_its_own():
    def names(release):
        with Chart.load(CHART) as chart:
            templates = chart.render(VARIANTS["everything"], name=release, namespace="rechka")
        return Cluster.of({path: text for path, text in templates.items() if path.endswith(".yaml")})

    one, other = names("one"), names("other")
    both = Cluster(one.objects + other.objects)
    assert len({(item["kind"], item["metadata"]["name"]) for item in both.objects}) == len(both.objects)
    for pod in one.pods():
        assert [chosen.name for chosen in both.chosen(pod.owner["spec"]["selector"])] == [pod.name]


def test_clients_of_an_external_kafka_say_who_they_are(clusters):
    external = clusters["external Kafka"]
    settings = (
        "create.min.insync.replicas=2&sasl.mechanism=SCRAM-SHA-512&sasl.password=$KAFKA_PASSWORD&sasl.username=rechka"
        "&ssl.ca.location=/etc/rechka/kafka/ca.crt"
    )
    for pod in external.pods():
        assert f"--log=kafka://a.example.org:9092,b.example.org:9094?{settings}" in pod.container["args"]
        assert {"secretRef": {"name": "kafka-user"}} in pod.container["envFrom"]
        (volume,) = [volume for volume in pod.spec["volumes"] if volume["name"] == "credentials"]
        assert volume["secret"]["secretName"] == "kafka-certificates"
        (mount,) = [mount for mount in pod.container["volumeMounts"] if mount["name"] == "credentials"]
        assert mount["mountPath"] == "/etc/rechka/kafka"
    (scaled,) = external.all("ScaledObject")
    assert all(trigger["authenticationRef"] == {"name": "kafka-user"} for trigger in scaled["spec"]["triggers"])


def test_gateways_answer_to_their_names_and_may_leave_recognition_to_workers(default, everything):
    def arguments(cluster):
        return [a for a in cluster.pod("gateway").container["args"] if a.startswith(("--allow", "--model", "--no"))]

    assert arguments(default) == ["--allow-host=rechka-gateway", "--model=digits"]
    names = ["--allow-host=rechka-gateway", "--allow-host=captions.example.org"]
    assert arguments(everything) == [*names, "--no-recognition"]


def test_the_example_pipeline_goes_away_when_it_is_set_to_null():
    assert "workers.yaml" not in render({"pipelines": {"clicks": None}})


def test_a_pipeline_has_its_text_its_files_and_its_own_settings(everything):
    shop = everything.one("ConfigMap", "rechka-worker-shop")
    assert shop["data"] == {"shop.sql": "CREATE TABLE products …\n", "products.csv": "1,a\n"}
    assert everything.one("StatefulSet", "rechka-worker-shop")["spec"]["replicas"] == 2
    given = everything.one("HorizontalPodAutoscaler", "rechka-worker-given")["spec"]
    assert (given["minReplicas"], given["maxReplicas"]) == (3, 6)
    assert [metric["type"] for metric in given["metrics"]] == ["Resource", "Pods"]


def test_a_changed_pipeline_restarts_its_workers_and_nobody_else():
    before, after = (Cluster.of(render({"pipelines": {"clicks": {"sql": sql}}})) for sql in ("SELECT 1", "SELECT 2"))
    changed = [old.name for old, new in zip(before.pods(), after.pods(), strict=True) if old.template != new.template]
    assert changed == ["rechka-worker-clicks"]


def test_a_new_version_of_the_image_restarts_no_broker():
    before, after = (Cluster.of(render({"image": {"tag": tag}})) for tag in ("1", "2"))
    changed = [old.name for old, new in zip(before.pods(), after.pods(), strict=True) if old.template != new.template]
    assert changed == ["rechka-gateway", "rechka-worker-clicks"]


def test_brokers_start_by_a_script_that_gives_each_what_is_its_own(default, tmp_path):
    """The script is run as it is, with the folders of this test and in place of Kafka's programs some that say how they were called."""
    configuration = default.one("ConfigMap", "rechka-kafka")["data"]
    script = configuration["start.sh"]
    for folder, own in {"/tmp/": "tmp/", "/etc/kafka/rechka": "etc", "/opt/kafka/bin": "bin"}.items():
        assert folder in script
        script = script.replace(folder, f"{tmp_path}/{own}")
    for folder in ("etc", "bin", "tmp"):
        (tmp_path / folder).mkdir()
    (tmp_path / "etc/server.properties").write_text(configuration["server.properties"])
    for program in ("kafka-storage.sh", "kafka-server-start.sh"):
        (tmp_path / "bin" / program).write_text(f'#!/bin/sh\necho {program} "$@"\n')
        (tmp_path / "bin" / program).chmod(0o755)
    environment = default.pod("kafka").environment() | {"POD_NAME": "rechka-kafka-2", "POD_NAMESPACE": "speech"}
    run = subprocess.run(["sh", "-c", script], env=os.environ | environment, capture_output=True, text=True, check=True)
    written = tmp_path / "tmp/server.properties"
    assert run.stdout.splitlines() == [
        f"kafka-storage.sh format --ignore-formatted --cluster-id {VALUES['kafka']['clusterId']} --config {written}",
        f"kafka-server-start.sh {written}",
    ]
    own = dict(
        line.split("=", 1) for line in written.read_text().splitlines() if "=" in line and not line.startswith("#")
    )
    assert own["node.id"] == "2"
    assert own["advertised.listeners"] == "CLIENTS://rechka-kafka-2.rechka-kafka-brokers.speech.svc:9092"
    assert properties(default).items() <= own.items()


def test_manifests_in_the_repository_are_plain_yaml():
    for path in RENDERED.glob("*.yaml"):
        assert read(path.read_text()), path
    assert ROOT / "deploy/kubernetes" in RENDERED.parents
