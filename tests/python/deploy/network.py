"""Who may talk to whom: what network policies mean."""

from dataclasses import dataclass, field

from cluster import matches

HERE = "rechka"


@dataclass
class Peer:
    """A pod, of this namespace or of another, or a machine outside (`address`)."""

    labels: dict = field(default_factory=dict)
    namespace: str = HERE
    address: bool = False


def is_meant(rule_peers, peer):
    """Whether a rule's peers mean this one; no peers mean everybody."""
    return not rule_peers or any(is_one(meant, peer) for meant in rule_peers)


def is_one(meant, peer):
    if "ipBlock" in meant:
        return peer.address
    if peer.address:
        return False
    if "namespaceSelector" in meant:
        if not matches(meant["namespaceSelector"], {"kubernetes.io/metadata.name": peer.namespace}):
            return False
    elif peer.namespace != HERE:
        return False
    return matches(meant.get("podSelector", {}), peer.labels)


def lets(policies, direction, pod, peer, port, protocol="TCP"):
    """Whether policies let a pod of this namespace receive from, or send to (`direction`), a peer at a port."""
    kind, peers = {"Ingress": ("ingress", "from"), "Egress": ("egress", "to")}[direction]
    about = [
        policy["spec"]
        for policy in policies
        if direction in policy["spec"]["policyTypes"] and matches(policy["spec"]["podSelector"], pod.labels)
    ]
    if not about:
        return True
    return any(
        is_meant(rule.get(peers), peer) and is_open(rule.get("ports"), port, protocol)
        for spec in about
        for rule in spec.get(kind, [])
    )


def is_open(ports, port, protocol):
    return ports is None or any(rule["port"] == port and rule.get("protocol", "TCP") == protocol for rule in ports)


def connects(cluster, source, target, port, protocol="TCP"):
    """Whether a connection from `source` reaches `target`. Policies bind only pods of this namespace."""
    policies = cluster.all("NetworkPolicy")

    def is_bound(peer):
        return peer.namespace == HERE and not peer.address

    sends = not is_bound(source) or lets(policies, "Egress", source, target, port, protocol)
    receives = not is_bound(target) or lets(policies, "Ingress", target, source, port, protocol)
    return sends and receives
