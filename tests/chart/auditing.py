"""An API server that writes what service accounts ask for, and the rights of the chart in the same words.

Called by `test_used_rights`. A right and a request are compared as RBAC does: a right without a name is for all names.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.binaries import Binaries
from deploy.local.cluster import Cluster
from tests.chart.rendering import Manifest, Rendering
from tests.support.prepared import CRDS

_POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: Metadata, userGroups: ["system:serviceaccounts"]}
  - {level: None}
"""


@dataclass(frozen=True, order=True)
class Right:
    """`resource` has its subresource and its group, as in RBAC's `deployments/scale.apps`; `name` is "" for all.

    `namespace` is "*" for a right in the whole cluster, and "" for a request about all namespaces.
    """

    account: str
    namespace: str
    verb: str
    resource: str
    name: str = ""

    def covers(self, used: "Right") -> bool:
        """Whether this right allows what was `used`."""
        same = (self.account, self.verb, self.resource) == (used.account, used.verb, used.resource)
        return same and self.namespace in {"*", used.namespace} and self.name in {"", used.name}


@contextmanager
def audited(binaries: Binaries, directory: Path) -> Iterator[tuple[Cluster, Path]]:
    """A control plane that serves ModelDownloads, and its audit log."""
    policy, log = directory / "policy.yaml", directory / "audit.log"
    policy.write_text(_POLICY)
    with Cluster(binaries, flags={"audit-policy-file": policy, "audit-log-path": log}) as cluster:
        cluster.apply(CRDS)
        yield cluster, log


def asked(log: Path, namespace: str) -> tuple[set[Right], set[Right]]:
    """What the accounts of `namespace` asked for there, or in other namespaces: what was allowed, and what was not."""
    allowed, refused = set[Right](), set[Right]()
    for line in log.read_text().rpartition("\n")[0].splitlines():  # the last one may be half written
        event = json.loads(line)
        account = event["user"]["username"].removeprefix(f"system:serviceaccount:{namespace}:")
        what = event.get("objectRef")
        if ":" in account or what is None:
            continue  # another namespace's account, or discovery, which every account may read
        decision = event["annotations"]["authorization.k8s.io/decision"]
        name = what.get("name", "")
        right = Right(account, what.get("namespace", ""), event["verb"], resource_of(what), name)
        (allowed if decision == "allow" else refused).add(right)
    return allowed, refused


def resource_of(what: Manifest) -> str:
    parts = [what["resource"], what.get("subresource")]
    return ".".join(part for part in ("/".join(filter(None, parts)), what.get("apiGroup")) if part)


def granted(rendering: Rendering) -> set[Right]:
    """What the rendered roles allow the chart's accounts: one right for each verb, resource and name."""
    kinds = ("Role", "ClusterRole")
    roles = {(place(one), one["metadata"]["name"]): one["rules"] for kind in kinds for one in rendering.kind(kind)}
    return {
        Right(subject["name"], place(binding), verb, resource, name)
        for kind in kinds
        for binding in rendering.kind(f"{kind}Binding")
        for subject in binding["subjects"]
        for rule in roles[place(binding), binding["roleRef"]["name"]]
        for verb, resource, name in single(rule)
    }


def place(manifest: Manifest) -> str:
    """The namespace of a Role or of its binding, "*" for those of the cluster."""
    return str(manifest["metadata"].get("namespace", "*"))


def single(rule: Manifest) -> Iterable[tuple[str, str, str]]:
    """Each verb of a rule with each resource and name."""
    (group,) = rule["apiGroups"]
    for verb in rule["verbs"]:
        for resource in rule["resources"]:
            for name in rule.get("resourceNames", [""]):
                yield verb, f"{resource}.{group}" if group else resource, name
