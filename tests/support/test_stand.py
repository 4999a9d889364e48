"""Every stand asserts, in each of its namespaces, that an operator which acts sees every edit.

A test plays the operator, badly, in the place of one that was killed as soon as it was started.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from tests.support.stand import Stand, stand
from tests.support.test_history import Site, complaining
from tests.support.test_judgement import FAIL0007

FLAGS: dict[str, Callable[[Stand, str], list[str]]] = {
    "serves it": lambda other, _home: [other.store],
    "watches it": lambda other, _home: [f"--watch-namespace={other.namespace}"],
    "has its Lease elsewhere": lambda other, home: [other.store, f"--lease-namespace={home}"],
}


def leave_behind(site: Stand, lease_namespace: str) -> None:
    """An edit that the operator has not seen, although its Lease says that it has acted all the time."""
    played = Site(site.cluster.api, site.namespace)
    played.create()
    played.write("Available")
    played.edit()
    Site(site.cluster.api, lease_namespace).reign(since=-60, until=60)


@pytest.mark.parametrize("which", FLAGS)
def test_an_edit_in_a_neighbouring_namespace(cluster: Cluster, namespace: str, tmp_path: Path, which: str) -> None:
    home = f"{namespace}-home"
    cluster.create_namespace(home)
    with (
        stand(cluster, namespace, tmp_path) as bench,
        complaining(of=FAIL0007),
        bench.neighbour(f"{namespace}-b") as other,
    ):
        bench.start_operator(*FLAGS[which](other, home)).kill()
        leave_behind(other, home if which == "has its Lease elsewhere" else namespace)


def test_an_edit_of_an_operator_with_its_lease_elsewhere(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    home = f"{namespace}-home"
    cluster.create_namespace(home)
    with complaining(of=FAIL0007), stand(cluster, namespace, tmp_path) as bench:
        bench.start_operator(f"--lease-namespace={home}").kill()
        leave_behind(bench, home)


def test_a_neighbour_whom_another_one_serves_is_not_his_to_answer(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    with stand(cluster, namespace, tmp_path) as bench, bench.neighbour(f"{namespace}-b") as other:
        for site in (other, bench):
            site.start_operator().kill()
        leave_behind(other, namespace)
