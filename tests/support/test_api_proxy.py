"""Each fault of the proxy does what its name says."""

import json
from collections.abc import Iterator
from urllib.request import urlopen

from deploy.local.cluster import Cluster
from tests.support.api_proxy import ApiProxy, kopfs_watch, own_watch, reordered

GROUP_VERSION = "models.rbee.dev/v1alpha1"


def test_two_versions_of_one_object_change_places(cluster: Cluster, namespace: str) -> None:
    path = f"/apis/{GROUP_VERSION}/namespaces/{namespace}/modeldownloads"
    kind = {"apiVersion": GROUP_VERSION, "kind": "ModelDownload", "spec": {"modelRef": "hf:acme/tiny"}}
    with ApiProxy(cluster) as proxy, proxy.distorting(reordered) as fault:
        with urlopen(f"{proxy.url}{path}?watch=true", timeout=20) as watch:
            told = events(watch)
            for name in ("one", "other"):
                cluster.api.create(path, {**kind, "metadata": {"name": name}})
            cluster.api.merge(f"{path}/one", {"spec": {"priority": 1}})
            assert [next(told), next(told)] == [("MODIFIED", "one", 2), ("ADDED", "one", 1)]
            cluster.api.delete(f"{path}/other")
            assert [next(told), next(told)] == [("ADDED", "other", 1), ("DELETED", "other", 1)]
        assert (fault.hits, fault.hits_on(kopfs_watch), fault.hits_on(own_watch)) == (1, 1, 0)


def events(watch: Iterator[bytes]) -> Iterator[tuple[str, str, int]]:
    """Type, name and generation of a watch event."""
    for line in watch:
        event = json.loads(line)
        metadata = event["object"]["metadata"]
        yield event["type"], metadata["name"], metadata["generation"]
