"""An operator without a volume, `--store none`: it acts, says why it stores nothing, and keeps no object."""

from pathlib import Path

from tests.support.programs import running
from tests.support.stand import Stand


def test_an_operator_without_a_volume_says_so_and_lets_objects_go(bench: Stand, tmp_path: Path) -> None:
    (_, *flags) = bench.flags
    served = f"--watch-namespace={bench.namespace}"
    with running(["operator", "--store=none", served, *flags], tmp_path / "operator.log") as operator:
        bench.apply("tiny", modelRef="hf:acme/tiny")
        bench.apply("named", modelRef="hf:acme/tiny", destination={"claimName": "models"})
        for name in ("tiny", "named"):
            bench.until(name, "ClaimNotMounted")
            ready = bench.ready(name)["message"]
            assert "this operator mounts no volume" in ready
            assert "persistence.enabled" in ready
        for name in ("tiny", "named"):
            bench.delete(name)
            bench.until_gone(name)
        assert bench.hub.log == []
        assert operator.process.poll() is None
        assert "Traceback" not in operator.output()
    assert list(bench.volume.iterdir()) == []
