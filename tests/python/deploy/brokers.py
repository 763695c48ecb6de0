"""Whether the brokers agree with each other, and their clients with them: checks as in checks.py."""

from checks import name_of


def properties(cluster):
    """The brokers' settings."""
    (text,) = [
        item["data"]["server.properties"] for item in cluster.all("ConfigMap") if "server.properties" in item["data"]
    ]
    lines = [line.strip() for line in text.splitlines()]
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def brokers_agree_on_copies_and_on_who_they_are(cluster):
    if not any(pod.component == "kafka" for pod in cluster.pods()):
        return
    settings, pod = properties(cluster), cluster.pod("kafka")
    brokers = pod.owner["spec"]["replicas"]
    if brokers != 3:
        yield f"there are {brokers} brokers"
    for name, value in settings.items():
        if name.endswith("replication.factor") and value != str(brokers):
            yield f"{name} is {value}"
        if name.endswith(("min.isr", "min.insync.replicas")) and value != "2":
            yield f"{name} is {value}"
    needed = ("default", "offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
    for name in [f"{what}.replication.factor" for what in needed] + [
        "min.insync.replicas",
        "transaction.state.log.min.isr",
    ]:
        if name not in settings:
            yield f"{name} is not set"
    service = pod.owner["spec"]["serviceName"]
    ports = pod.ports()
    voters = ",".join(f"{number}@{pod.name}-{number}.{service}:{ports['controller']}" for number in range(brokers))
    if settings["controller.quorum.voters"] != voters:
        yield f"the voters are {settings['controller.quorum.voters']}"
    listeners = {part.split("://:")[0]: int(part.split("://:")[1]) for part in settings["listeners"].split(",")}
    if listeners != {"CLIENTS": ports["clients"], "CONTROLLER": ports["controller"]}:
        yield f"the listeners are {listeners}"
    (service,) = [item for item in cluster.all("Service") if item["metadata"]["name"] == service]
    if not service["spec"].get("publishNotReadyAddresses"):
        yield "brokers can't find each other before they are ready"
    claims = [mount["mountPath"] for mount in pod.container["volumeMounts"] if mount["name"] in pod.claims]
    if not any(settings["log.dirs"].startswith(f"{path}/") for path in claims):
        yield f"the log is in {settings['log.dirs']}, which is in no volume"


def clients_know_the_brokers(cluster):
    names = {}
    for service in cluster.all("Service"):
        for port in service["spec"]["ports"]:
            names[service["metadata"]["name"], port["port"]] = service
    for pod in cluster.pods():
        for argument in pod.container.get("args", []):
            addresses = argument.removeprefix("--log=kafka://").partition("?")[0].split(",")
            for broker in addresses if argument.startswith("--log=") else []:
                host, port = broker.rsplit(":", 1)
                if "." not in host and (host, int(port)) not in names:
                    yield f"{pod.name} asks {broker}, which does not exist"
    for item in cluster.all("ScaledObject"):
        for trigger in item["spec"]["triggers"]:
            for broker in trigger["metadata"]["bootstrapServers"].split(","):
                host, port = broker.rsplit(":", 1)
                if host.endswith(".svc") and (host.split(".")[0], int(port)) not in names:
                    yield f"{name_of(item)} asks {broker}, which does not exist"


BROKERS = [brokers_agree_on_copies_and_on_who_they_are, clients_know_the_brokers]
