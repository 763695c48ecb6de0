"""Manifests as objects, and what a cluster would make of them."""

import copy

import yaml


class Loader(yaml.SafeLoader):
    """Reads YAML, and refuses a key that stands twice in a mapping: the first value would silently go."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"{key!r} stands twice{node.start_mark}")
        return super().construct_mapping(node, deep)


def read(text):
    """The objects of a file."""
    return [document for document in yaml.load_all(text, Loader) if document]


class Pod:
    """A pod as its owner's template makes it."""

    def __init__(self, owner):
        self.owner = owner
        self.name = owner["metadata"]["name"]
        self.kind = owner["kind"]
        self.template = owner["spec"]["template"]
        self.labels = self.template["metadata"]["labels"]
        self.annotations = self.template["metadata"].get("annotations", {})
        self.spec = self.template["spec"]
        self.component = self.labels["app.kubernetes.io/component"]
        self.claims = [claim["metadata"]["name"] for claim in owner["spec"].get("volumeClaimTemplates", [])]

    @property
    def container(self):
        """Its only container."""
        (container,) = self.spec["containers"]
        return container

    def ports(self):
        """Name -> number."""
        return {port["name"]: port["containerPort"] for port in self.container["ports"]}

    def environment(self):
        """Name -> value, of those that stand in the manifest."""
        return {variable["name"]: variable.get("value") for variable in self.container.get("env", [])}


class Cluster:
    """Objects of one namespace."""

    def __init__(self, objects):
        self.objects = objects

    @classmethod
    def of(cls, files):
        """The objects of files: name -> text."""
        return cls([item for text in files.values() for item in read(text)])

    def copy(self):
        return Cluster(copy.deepcopy(self.objects))

    def all(self, kind):
        return [item for item in self.objects if item["kind"] == kind]

    def one(self, kind, name):
        (found,) = [item for item in self.all(kind) if item["metadata"]["name"] == name]
        return found

    def pods(self):
        return [Pod(item) for item in self.objects if "template" in item.get("spec", {})]

    def pod(self, component):
        return next(pod for pod in self.pods() if pod.component == component)

    def chosen(self, selector):
        """Pods that a selector of labels means."""
        return [pod for pod in self.pods() if matches(selector, pod.labels)]


def matches(selector, labels):
    """Whether a selector of labels, as Kubernetes reads it, means these."""
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for term in selector.get("matchExpressions", []):
        assert term["operator"] == "In", "no other operator is in use"
        if labels.get(term["key"]) not in term["values"]:
            return False
    return True
