"""The command line of a worker: it has what the settings of the operator say about the network."""

from itertools import pairwise

from model_provisioner.controller.workers.pool import worker_command
from model_provisioner.settings.operator import OperatorSettings


def command(**settings: object) -> list[str]:
    return worker_command(OperatorSettings.model_validate({"store": ["ai/models=/models"], **settings}))


def values(flag: str, arguments: list[str]) -> list[str]:
    return [value for name, value in pairwise(arguments) if name == flag]


def test_a_worker_gets_the_response_timeout() -> None:
    assert values("--timeout", command()) == ["90"]
    assert values("--timeout", command(response_timeout=300)) == ["300"]


def test_a_worker_uses_the_key_of_its_pod_only_if_the_operator_may() -> None:
    assert "--ambient-credentials" not in command()
    assert "--ambient-credentials" in command(ambient_credentials=["models"])


def test_a_worker_gets_the_proxy_and_the_hosts_without_it() -> None:
    arguments = command(
        allow_host=["hub.internal", "*.hf.co:443"],
        proxy="http://proxy.example:3128",
        no_proxy=["hub.internal,10.0.0.0/8", "[fd00::1]:9000"],
    )
    assert values("--proxy", arguments) == ["http://proxy.example:3128"]
    assert values("--no-proxy", arguments) == ["hub.internal", "10.0.0.0/8", "[fd00::1]:9000"]
