"""Every object is one that Kubernetes, KEDA and the Prometheus operator would take: unknown fields are refused."""

import functools
import json
from importlib import resources
from pathlib import Path

import pytest
import yaml
from cluster import read
from conftest import ROOT
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

#: The oldest version that the chart says it runs on, and the newest that there are schemas for.
VERSIONS = ("1.30.0", "1.37.0")

#: Objects that come with operators, and their schemas.
OURS = {
    ("keda.sh/v1alpha1", "ScaledObject"): "scaledobject-v1alpha1.json",
    ("monitoring.coreos.com/v1", "ServiceMonitor"): "servicemonitor-v1.json",
}


@functools.cache
def definitions(version):
    folder = resources.files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}-local-strict"
    text = json.loads((folder / "_definitions.json").read_text())
    return folder, Registry().with_resource("_definitions.json", Resource.from_contents(text, DRAFT202012)).crawl()


@functools.cache
def validator(version, api, kind):
    if (api, kind) in OURS:
        return Draft202012Validator(json.loads((Path(__file__).parent / "schemas" / OURS[api, kind]).read_text()))
    folder, registry = definitions(version)
    group, _, level = api.rpartition("/")
    name = "-".join(part for part in (kind.lower(), group.split(".")[0], level) if part)
    schema = json.loads((folder / f"{name}.json").read_text())
    return Draft202012Validator(schema, registry=registry)


def refusals(item, version):
    """Why an object would be refused."""
    try:
        rules = validator(version, item["apiVersion"], item["kind"])
    except FileNotFoundError:
        return [f"there is no {item['kind']} in {item['apiVersion']}"]
    return [f"{error.json_path}: {error.message}" for error in rules.iter_errors(item)]


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_object_of_every_variant(cluster, version):
    assert {item["kind"]: refusals(item, version) for item in cluster.objects if refusals(item, version)} == {}


def test_the_oldest_version_is_the_one_that_the_chart_asks_for():
    chart = yaml.safe_load((ROOT / "deploy/kubernetes/chart/Chart.yaml").read_text())
    assert chart["kubeVersion"] == f">={VERSIONS[0]}-0"


def test_the_variants_have_every_kind_that_the_chart_can_make(clusters):
    templates = (ROOT / "deploy/kubernetes/chart/templates").rglob("*")
    lines = [line for path in templates if path.is_file() for line in path.read_text().splitlines()]
    kinds = {line.removeprefix("kind: ") for line in lines if line.startswith("kind: ")}
    assert {item["kind"] for cluster in clusters.values() for item in cluster.objects} == kinds


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (lambda c: c.pod("kafka").spec.update(terminationGraceSeconds=1), "'terminationGraceSeconds' was unexpected"),
        (lambda c: c.pod("kafka").container.update(image=["a"]), "['a'] is not of type"),
        (
            lambda c: c.pod("worker").container["readinessProbe"].update(httpGet={"path": "/"}),
            "'port' is a required property",
        ),
        (lambda c: c.one("Service", "rechka-kafka")["spec"].update(port=1), "'port' was unexpected"),
        (
            lambda c: c.one("NetworkPolicy", "rechka-deny")["spec"].update(policyType=["Egress"]),
            "'policyType' was unexpected",
        ),
        (
            lambda c: c.one("PodDisruptionBudget", "rechka-kafka").update(apiVersion="policy/v1beta1"),
            "there is no PodDisruptionBudget",
        ),
        (lambda c: c.one("ServiceAccount", "rechka").update(kind="ServiceAcount"), "there is no ServiceAcount"),
        (
            lambda c: c.one("ScaledObject", "rechka-gateway")["spec"].update(maxReplicas=3),
            "'maxReplicas' was unexpected",
        ),
        (
            lambda c: c.one("ScaledObject", "rechka-gateway")["spec"]["triggers"][0]["metadata"].pop("topic"),
            "'topic' is a required",
        ),
        (
            lambda c: c.one("ServiceMonitor", "rechka")["spec"]["endpoints"][0].update(interval="15"),
            "'15' does not match",
        ),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_broken_object_is_refused(clusters, version, harm, complaint):
    broken = clusters["everything"].copy()
    harm(broken)
    changed = [item for item, was in zip(broken.objects, clusters["everything"].objects, strict=True) if item != was]
    found = [reason for item in changed for reason in refusals(item, version)]
    assert len(found) == 1 and complaint in found[0], found


def test_a_key_that_stands_twice_is_refused():
    with pytest.raises(yaml.YAMLError, match="'replicas' stands twice"):
        read("spec:\n  replicas: 1\n  replicas: 2\n")
