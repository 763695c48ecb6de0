"""What schemas can't see: whether the objects of a cluster fit each other. Each check gives the problems that it finds, in words."""

import re

from cluster import matches

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def name_of(item):
    return f"{item['kind']} {item['metadata']['name']}"


@check
def names_are_given_once(cluster):
    names = [name_of(item) for item in cluster.objects]
    yield from (f"{name} is there twice" for name in sorted(set(names)) if names.count(name) > 1)


@check
def names_fit_labels(cluster):
    """A StatefulSet's revision, its name and 11 characters, is a label of its pods: 63 characters at most."""
    for item in cluster.objects:
        longest = 52 if item["kind"] == "StatefulSet" else 63
        if len(item["metadata"]["name"]) > longest:
            yield f"{name_of(item)} has a name of more than {longest} characters"


def is_label(text):
    """Whether it may be the name of a pod, of a service, or the value of a label."""
    return re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", text) is not None and len(text) <= 63


@check
def names_are_ones_that_kubernetes_takes(cluster):
    """What its API server checks beyond the schemas: RFC 1123 labels, and names of ports of 15 characters."""
    for item in cluster.objects:
        name, labels = item["metadata"]["name"], item["metadata"].get("labels", {})
        if not is_label(name):
            yield f"{name_of(item)} has a name that is none"
        for key, value in labels.items():
            if not re.fullmatch(
                r"([a-z0-9.-]+/)?[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?", key
            ) or not re.fullmatch(r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?", value):
                yield f"{name_of(item)} has a label that is none: {key}={value}"
    for pod in cluster.pods():
        parts = [pod.container["name"], *pod.claims, *(volume["name"] for volume in pod.spec.get("volumes", []))]
        yield from (f"{pod.name} calls a part of it {part!r}" for part in parts if not is_label(part))
        ports = pod.ports()
        yield from (f"{pod.name} calls a port {port!r}" for port in ports if not is_label(port) or len(port) > 15)
        if len(ports) != len(pod.container["ports"]) or len(set(ports.values())) != len(ports):
            yield f"{pod.name} opens a port twice"


@check
def owners_choose_their_own_pods_and_no_others(cluster):
    for pod in cluster.pods():
        chosen = [other.name for other in cluster.chosen(pod.owner["spec"]["selector"])]
        if chosen != [pod.name]:
            yield f"{name_of(pod.owner)} chooses {chosen}"


@check
def spread_is_over_the_same_pods(cluster):
    for pod in cluster.pods():
        affinity = pod.spec.get("affinity", {}).get("podAntiAffinity", {})
        terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", [])
        terms = terms + [
            term["podAffinityTerm"] for term in affinity.get("preferredDuringSchedulingIgnoredDuringExecution", [])
        ]
        for term in terms + pod.spec.get("topologySpreadConstraints", []):
            chosen = [other.name for other in cluster.chosen(term["labelSelector"])]
            if chosen != [pod.name]:
                yield f"{pod.name} is kept apart from {chosen}"


@check
def services_lead_to_ports_of_one_kind_of_pod(cluster):
    for service in cluster.all("Service"):
        pods = cluster.chosen({"matchLabels": service["spec"]["selector"]})
        if len(pods) != 1:
            yield f"{name_of(service)} leads to {[pod.name for pod in pods]}"
            continue
        for port in service["spec"]["ports"]:
            if pods[0].ports().get(port["targetPort"]) != port["port"]:
                yield f"{name_of(service)} leads to port {port['targetPort']!r}, which is not {port['port']} in {pods[0].name}"


@check
def stateful_sets_have_a_headless_service(cluster):
    headless = {
        service["metadata"]["name"]: service["spec"]["selector"]
        for service in cluster.all("Service")
        if service["spec"].get("clusterIP") == "None"
    }
    for item in cluster.all("StatefulSet"):
        if item["spec"].get("replicas") == 1:
            continue
        if headless.get(item["spec"]["serviceName"]) != item["spec"]["selector"]["matchLabels"]:
            yield f"{name_of(item)} has no headless service {item['spec']['serviceName']}"


@check
def probes_ask_ports_that_are_open(cluster):
    for pod in cluster.pods():
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asks = pod.container.get(probe)
            if asks is None:
                yield f"{pod.name} has no {probe}"
                continue
            (how,) = [asks[kind] for kind in ("httpGet", "tcpSocket") if kind in asks]
            if how["port"] not in pod.ports():
                yield f"{pod.name}'s {probe} asks the port {how['port']!r}"
        scraped = pod.annotations.get("prometheus.io/port")
        if scraped and int(scraped) not in pod.ports().values():
            yield f"{pod.name} is scraped at port {scraped}"


@check
def one_pod_at_a_time_is_disrupted(cluster):
    guarded = {}
    for budget in cluster.all("PodDisruptionBudget"):
        if budget["spec"].get("maxUnavailable") != 1:
            yield f"{name_of(budget)} does not say one at most"
        for pod in cluster.chosen(budget["spec"]["selector"]):
            guarded[pod.name] = guarded.get(pod.name, 0) + 1
    for pod in cluster.pods():
        several = pod.owner["spec"].get("replicas", 2) > 1
        if guarded.get(pod.name, 0) != (1 if several else 0):
            yield f"{pod.name} has {guarded.get(pod.name, 0)} disruption budgets"


@check
def what_is_referred_to_exists(cluster):
    """ConfigMaps and claims are in the chart. Secrets never are: they are only named, by who installs it."""
    there = {kind: {item["metadata"]["name"] for item in cluster.all(kind)} for kind in ("ConfigMap", "ServiceAccount")}
    if cluster.all("Secret"):
        yield "there is a Secret in the manifests"
    for pod in cluster.pods():
        if pod.spec["serviceAccountName"] not in there["ServiceAccount"]:
            yield f"{pod.name} runs as {pod.spec['serviceAccountName']}, which does not exist"
        volumes = {volume["name"] for volume in pod.spec.get("volumes", [])} | set(pod.claims)
        mounts = [mount["name"] for mount in pod.container["volumeMounts"]]
        yield from (f"{pod.name} mounts {name}, which is no volume" for name in mounts if name not in volumes)
        yield from (f"{pod.name} mounts {name} nowhere" for name in sorted(volumes - set(mounts)))
        for volume in pod.spec.get("volumes", []):
            name = volume.get("configMap", {}).get("name")
            if name and name not in there["ConfigMap"] and name not in GIVEN:
                yield f"{pod.name} needs ConfigMap {name}, which does not exist"


#: ConfigMaps that the variants say they bring.
GIVEN = {"of-mine"}


@check
def what_scales_is_there_and_leaves_the_number_alone(cluster):
    for kind, least in (("HorizontalPodAutoscaler", "minReplicas"), ("ScaledObject", "minReplicaCount")):
        for scaler in cluster.all(kind):
            target = scaler["spec"]["scaleTargetRef"]
            owners = [pod.owner for pod in cluster.pods() if name_of(pod.owner) == f"{target['kind']} {target['name']}"]
            if len(owners) != 1:
                yield f"{name_of(scaler)} scales {target['kind']} {target['name']}, which does not exist"
            elif "replicas" in owners[0]["spec"]:
                yield f"{name_of(owners[0])} says how many there are, and {name_of(scaler)} too"
            if scaler["spec"][least] > scaler["spec"][least.replace("min", "max")]:
                yield f"{name_of(scaler)} has a minimum above its maximum"
            if kind == "HorizontalPodAutoscaler" and owners:
                (container,) = owners[0]["spec"]["template"]["spec"]["containers"]
                if "cpu" not in container["resources"].get("requests", {}):
                    yield f"{name_of(scaler)} scales by a share of a request of CPU, and there is none"
    scaled = [
        item["spec"]["scaleTargetRef"]["name"]
        for item in cluster.all("HorizontalPodAutoscaler") + cluster.all("ScaledObject")
    ]
    for pod in cluster.pods():
        if "replicas" not in pod.owner["spec"] and scaled.count(pod.name) != 1:
            yield f"nothing says how many of {pod.name} there are"


@check
def monitors_choose_services_and_their_ports(cluster):
    for monitor in cluster.all("ServiceMonitor"):
        services = [item for item in cluster.all("Service") if chooses(monitor, item)]
        if not services:
            yield f"{name_of(monitor)} chooses no service"
        for service in services:
            names = [port["name"] for port in service["spec"]["ports"]]
            yield from (
                f"{name_of(monitor)} asks {endpoint['port']} of {name_of(service)}"
                for endpoint in monitor["spec"]["endpoints"]
                if endpoint["port"] not in names
            )


def chooses(monitor, service):
    return matches(monitor["spec"]["selector"], service["metadata"]["labels"])


@check
def pods_may_do_nothing_they_need_not(cluster):
    """The profile "restricted" of the Pod Security Standards, and a root filesystem that can't be written."""
    for pod in cluster.pods():
        security, container = pod.spec["securityContext"], pod.container["securityContext"]
        wanted = {
            "runs as root": security.get("runAsNonRoot") is True and security.get("runAsUser", 0) > 0,
            "has no seccomp profile": security.get("seccompProfile") == {"type": "RuntimeDefault"},
            "may gain privileges": container.get("allowPrivilegeEscalation") is False,
            "has capabilities": container.get("capabilities") == {"drop": ["ALL"]},
            "may write its root filesystem": container.get("readOnlyRootFilesystem") is True,
            "has a token for Kubernetes": pod.spec.get("automountServiceAccountToken") is False,
            "is privileged": not container.get("privileged"),
            "shares the node's": not any(pod.spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")),
            "may fill the node's disk": all(
                "sizeLimit" in volume["emptyDir"] for volume in pod.spec.get("volumes", []) if "emptyDir" in volume
            ),
            "has volumes of another kind": all(
                set(volume) <= {"name", "configMap", "secret", "emptyDir"} for volume in pod.spec.get("volumes", [])
            ),
        }
        yield from (f"{pod.name} {problem}" for problem, is_well in wanted.items() if not is_well)


@check
def pods_say_what_they_need(cluster):
    for pod in cluster.pods():
        resources = pod.container["resources"]
        for kind, name in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
            if name not in resources.get(kind, {}):
                yield f"{pod.name} has no {name} in {kind}"


@check
def pods_have_time_to_stop(cluster):
    for pod in cluster.pods():
        sleep = pod.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        grace = pod.spec.get("terminationGracePeriodSeconds", 30)
        if pod.component in ("gateway", "worker") and sleep < 5:
            yield f"{pod.name} stops before others know"
        if grace < sleep + 30:
            yield f"{pod.name} has {grace - sleep} s to stop in"
