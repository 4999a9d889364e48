"""The NetworkPolicies: which connections they leave to the release's pods."""

from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest

from model_provisioner.domain.errors import AddressNotAllowed
from model_provisioner.domain.network.addresses import NetworkPolicy, check_address
from tests.chart.policies import Peer, Pod, may_be_reached, may_connect
from tests.chart.rendering import Helm, HelmError, Manifest, Rendering
from tests.domain.network.test_addresses import SPECIAL

ON = ("networkPolicy.enabled=true", 'networkPolicy.apiServer.networks=["10.0.0.1/32"]')

API_SERVER = Peer("10.0.0.1")
PUBLIC, PUBLIC_V6 = Peer("18.164.174.23"), Peer("2600:9000:2490::1")
HUB = Peer(namespace="storage", labels={"app": "minio"})
DNS = Peer(namespace="kube-system")
PROMETHEUS = Peer(namespace="monitoring")
INGRESS = Peer(namespace="ingress-nginx")
ELSEWHERE = Peer(namespace="default")
WORKER = Peer(
    namespace="team-a",
    labels={"app.kubernetes.io/name": "model-provisioner-worker", "app.kubernetes.io/instance": "model-provisioner"},
)

OUT: list[tuple[str, tuple[str, ...], Peer, int, bool]] = [
    ("the API server", (), API_SERVER, 6443, True),
    ("the API server at another port", (), API_SERVER, 22, False),
    ("a public hub", (), PUBLIC, 443, True),
    ("a public hub by IPv6", (), PUBLIC_V6, 443, True),
    ("a public hub without TLS", (), PUBLIC, 80, False),
    ("a public hub at a port that is a value", ("networkPolicy.sources.ports=[443,8443]",), PUBLIC, 8443, True),
    ("no public hub if no port is left", ("networkPolicy.sources.ports=[]",), PUBLIC, 443, False),
    ("another host of the private network", (), Peer("10.0.0.2"), 443, False),
    ("a network that the operator may fetch from", ('allowedNetworks=["10.0.0.0/29"]',), Peer("10.0.0.2"), 8080, True),
    ("a pod", (), HUB, 443, False),
    (
        "a pod that is a value",
        (
            'networkPolicy.extraEgress=[{"to":[{"namespaceSelector":{"matchLabels":'
            '{"kubernetes.io/metadata.name":"storage"}}}],"ports":[{"port":9000}]}]',
        ),
        HUB,
        9000,
        True,
    ),
    ("the DNS servers", (), DNS, 53, True),
    ("another port of their namespace", (), DNS, 8080, False),
    ("a DNS server elsewhere", (), PUBLIC, 53, False),
    (
        "a DNS cache on the node",
        ('networkPolicy.dns.to=[{"ipBlock":{"cidr":"169.254.20.10/32"}}]',),
        Peer("169.254.20.10"),
        53,
        True,
    ),
]


@pytest.mark.parametrize(("settings", "peer", "port", "allowed"), [r[1:] for r in OUT], ids=[r[0] for r in OUT])
def test_the_operator_connects_to(
    helm: Helm, *, settings: tuple[str, ...], peer: Peer, port: int, allowed: bool
) -> None:
    rendering = helm.render(*ON, *settings)
    assert may_connect(policies(rendering), pod(rendering), peer, port) is allowed


CLIENTS = (
    'networkPolicy.gateway.from=[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"ingress-nginx"}}}]'
)

IN: list[tuple[str, tuple[str, ...], Peer, int, bool]] = [
    ("the gateway from every pod", (), ELSEWHERE, 8081, True),
    ("the gateway from outside", (), PUBLIC, 8081, True),
    ("the gateway from its clients", (CLIENTS,), INGRESS, 8081, True),
    ("the gateway from no other client", (CLIENTS,), ELSEWHERE, 8081, False),
    ("the gateway's metrics", (CLIENTS,), PROMETHEUS, 8081, True),
    ("no gateway", ("gateway.enabled=false",), ELSEWHERE, 8081, False),
    ("the operator's metrics", (), PROMETHEUS, 8082, True),
    ("the operator's metrics from elsewhere", (), ELSEWHERE, 8082, False),
    ("no metrics", ("metrics.enabled=false",), PROMETHEUS, 8082, False),
    ("no door for workers", (), WORKER, 8443, False),
    ("the door for workers", ("workers.enabled=true",), WORKER, 8443, True),
    ("the door from others", ("workers.enabled=true",), ELSEWHERE, 8443, False),
    ("the probes' port", (), PROMETHEUS, 8080, False),
]


@pytest.mark.parametrize(("settings", "peer", "port", "allowed"), [r[1:] for r in IN], ids=[r[0] for r in IN])
def test_the_pod_is_reached_at(helm: Helm, *, settings: tuple[str, ...], peer: Peer, port: int, allowed: bool) -> None:
    rendering = helm.render(*ON, *settings)
    assert may_be_reached(policies(rendering), pod(rendering), peer, port) is allowed


def test_an_address_is_left_out_if_the_operator_refuses_it(helm: Helm) -> None:
    """Compared at the edges of each network that is left out, and at addresses of each kind that is refused."""
    rendering = helm.render("networkPolicy.enabled=true", 'networkPolicy.apiServer.networks=["1.1.1.1/32"]')
    blocks = [block for block in ip_blocks(rendering) if "except" in block]
    holes = [ip_network(hole) for block in blocks for hole in block["except"]]
    edges = {
        hole[place] + step for hole in holes for place, step in ((0, -1), (0, 0), (-1, 0), (-1, 1)) if inside(hole)
    }
    assert len(edges) > 40
    for address in (*edges, *SPECIAL):
        reached = may_connect(policies(rendering), pod(rendering), Peer(str(address)), 443)
        assert reached is not refused(str(address)), address


def inside(hole: IPv4Network | IPv6Network) -> bool:
    """Whether the network has a neighbour on both sides."""
    return int(hole[0]) > 0 and int(hole[-1]) < 2**hole.max_prefixlen - 1


def refused(address: str) -> bool:
    try:
        check_address(address, "hub.example.com", 443, NetworkPolicy())
    except AddressNotAllowed:
        return True
    return False


def test_the_uninstall_job_reaches_the_api_server_alone(helm: Helm) -> None:
    rendering = helm.render(*ON)
    (job,) = rendering.kind("Job")
    there = Pod(job["spec"]["template"]["metadata"]["labels"], {})
    reached = [
        may_connect(policies(rendering), there, peer, port)
        for peer, port in ((API_SERVER, 443), (DNS, 53), (PUBLIC, 443))
    ]
    assert reached == [True, True, False]
    assert not may_be_reached(policies(rendering), there, PROMETHEUS, 8082)


def test_a_gateway_in_a_pod_of_its_own_reaches_no_source_and_is_reached(helm: Helm) -> None:
    rendering = helm.render(*ON, 'gateway.mode="Deployment"')
    own = pod(rendering, "gateway")
    reached = [may_connect(policies(rendering), own, peer, 443) for peer in (API_SERVER, PUBLIC)]
    assert reached == [True, False]
    assert may_be_reached(policies(rendering), own, ELSEWHERE, 8081)
    assert not may_be_reached(policies(rendering), pod(rendering), ELSEWHERE, 8081)


def test_the_pod_of_helm_test_reaches_the_release_and_nothing_else(helm: Helm) -> None:
    rendering = helm.render(*ON, CLIENTS)
    (tester,) = rendering.kind("Pod")
    labels = tester["metadata"]["labels"]
    own, there = Pod(labels, {}), Peer(namespace="ai", labels=labels)
    release = Peer(namespace="ai", labels=pod(rendering).labels)
    assert [may_connect(policies(rendering), own, peer, 8081) for peer in (release, ELSEWHERE)] == [True, False]
    assert [may_be_reached(policies(rendering), pod(rendering), there, port) for port in (8081, 8082)] == [True] * 2
    stranger = Peer(namespace="other", labels=labels)
    assert not may_be_reached(policies(rendering), pod(rendering), stranger, 8081)


def test_pods_of_others_are_left_alone(helm: Helm) -> None:
    stranger = Pod({"app.kubernetes.io/name": "worker", "app.kubernetes.io/instance": "model-provisioner"}, {})
    assert may_connect(policies(helm.render(*ON)), stranger, PUBLIC, 80)


def test_they_are_off_by_default_and_need_the_address_of_the_api_server(helm: Helm) -> None:
    assert helm.render().kind("NetworkPolicy") == []
    with pytest.raises(HelmError, match="kubectl get endpointslices"):
        helm.template("networkPolicy.enabled=true")


def policies(rendering: Rendering) -> list[Manifest]:
    return rendering.kind("NetworkPolicy")


def ip_blocks(rendering: Rendering) -> list[Manifest]:
    rules = [rule for policy in policies(rendering) for rule in policy["spec"].get("egress", ())]
    return [peer["ipBlock"] for rule in rules for peer in rule["to"] if "ipBlock" in peer]


def pod(rendering: Rendering, container: str = "operator") -> Pod:
    template = rendering.pod_template(container)
    ports = [port for container in template["spec"]["containers"] for port in container["ports"]]
    return Pod(template["metadata"]["labels"], {port["name"]: port["containerPort"] for port in ports})
