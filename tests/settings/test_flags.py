"""The flags of `operator` and `gateway`: how they are read, how the environment joins them, what `--help` lists."""

import argparse
import re
from typing import Any

import pytest
from pydantic_settings import BaseSettings

from model_provisioner import cli
from model_provisioner.settings.flags import add_flags
from model_provisioner.settings.gateway import GatewaySettings
from model_provisioner.settings.operator import OperatorSettings
from model_provisioner.settings.release import ReleaseSettings

STORE = "--store=ai/models=/models"


def given(settings: type[BaseSettings], *arguments: str) -> dict[str, Any]:
    """The values of the flags in `arguments`, before the settings class has judged them."""
    parser = argparse.ArgumentParser()
    add_flags(parser, settings)
    return vars(parser.parse_args(arguments))


def operator(*arguments: str) -> OperatorSettings:
    return OperatorSettings(**given(OperatorSettings, *arguments))


def test_a_flag_that_is_not_given_is_left_to_the_environment_and_the_default() -> None:
    assert given(OperatorSettings) == {}
    assert given(GatewaySettings, "--anonymous-writes") == {"anonymous_writes": True}


def test_the_value_of_a_flag_follows_an_equals_sign_or_a_space() -> None:
    settings = operator(STORE, "--slots=2", "--endpoint", "https://hub.example")
    assert (settings.slots, settings.endpoints.own["hf"]) == (2, "https://hub.example")


def test_a_repeated_flag_makes_a_list_in_its_order() -> None:
    assert operator("--store=b/b=/b", "--store", "a/a=/a").store == ["b/b=/b", "a/a=/a"]


def test_a_value_of_a_flag_may_have_a_comma() -> None:
    assert operator("--store=a/a=/a,b", "--store=b/b=/b").store == ["a/a=/a,b", "b/b=/b"]


@pytest.mark.parametrize("value", ["[]", '["a/a=/a"]', '{"a": 1}', "null", ""])
def test_no_value_is_read_as_json(value: str) -> None:
    flags = (f"--store={value}", f"--lease-namespace={value}")
    assert given(OperatorSettings, *flags) == {"store": [value], "lease_namespace": value}
    assert operator(STORE, f"--lease-namespace={value}").lease_namespace == value


@pytest.mark.parametrize("value", ["a/a=/a,b/b=/b", "a/a=/a b/b=/b", " a/a=/a, b/b=/b ,"])
def test_a_list_in_the_environment_is_separated_by_commas(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("MODEL_PROVISIONER_STORE", value)
    assert operator().store == ["a/a=/a", "b/b=/b"]


@pytest.mark.parametrize("value", [".svc,10.0.0.0/8,*.corp.example:443", " .svc 10.0.0.0/8\n*.corp.example:443 "])
def test_hosts_without_the_proxy_are_a_list_as_in_no_proxy(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    expected = [".svc", "10.0.0.0/8", ".corp.example:443"]
    assert operator(STORE, f"--no-proxy={value}").no_proxy == expected
    assert operator(STORE, *(f"--no-proxy={entry}" for entry in expected)).no_proxy == expected
    monkeypatch.setenv("MODEL_PROVISIONER_NO_PROXY", value)
    assert operator(STORE).no_proxy == expected


def test_an_operator_without_a_volume_serves_the_namespaces_that_are_named() -> None:
    settings = operator("--store=none", "--watch-namespace=b", "--watch-namespace=a")
    assert (settings.mounts, settings.namespaces, settings.operator_namespace) == ((), ["b", "a"], "b")
    assert operator("--store=none", "--watch-namespace=b", "--lease-namespace=home").operator_namespace == "home"
    assert operator(STORE, "--watch-namespace=b").operator_namespace == "ai"


def test_an_endpoint_may_end_in_a_slash_and_a_line_break() -> None:
    assert operator(STORE, "--endpoint=https://hub.example/api/\n").endpoints.own["hf"] == "https://hub.example/api"


def test_listed_hubs_are_normalised_and_their_hosts_are_reached() -> None:
    listed = ("--allow-endpoint=https://M.example:443/x/", "--allow-endpoint=http://[::1]:8080")
    settings = operator(STORE, "--allow-host=a.example", *listed)
    assert settings.endpoints.listed == ("https://m.example/x", "http://[::1]:8080")
    assert settings.source_hosts == ["a.example", "m.example:443", "[::1]:8080"]
    assert settings.endpoints.choose("hf", "https://m.example/x/") == "https://m.example/x"


def test_a_flag_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_PROVISIONER_STORE", "a/a=/a,b/b=/b")
    monkeypatch.setenv("MODEL_PROVISIONER_SLOTS", "7")
    settings = operator("--store=c/c=/c")
    assert (settings.store, settings.slots) == (["c/c=/c"], 7)


def test_the_instance_is_the_name_of_the_pod_and_has_no_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAME", "operator-0")
    assert operator(STORE).instance == "operator-0"
    for flag in ("--instance=x", "--pod-name=x", "--POD_NAME=x"):
        with pytest.raises(SystemExit, match=r"^2$"):
            operator(STORE, flag)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["gateway", "--no-such-flag"], "unrecognized arguments: --no-such-flag"),
        (["gateway", "--no-anonymous-writes"], "unrecognized arguments: --no-anonymous-writes"),
        (["gateway", "--anonymous-writes=true"], "argument --anonymous-writes: ignored explicit argument 'true'"),
        (["gateway", "--auth=some"], "argument --auth: invalid choice: 'some'"),
        (["gateway", "--listen"], "argument --listen: expected one argument"),
    ],
)
def test_a_wrong_flag_ends_with_exit_code_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        cli.main(arguments)
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["operator"], "model-provisioner operator: --store: List should have at least 1 item"),
        (["operator", STORE, "--slots=many"], "model-provisioner operator: --slots: Input should be a valid integer"),
        (["operator", STORE, "--group=-1"], "model-provisioner operator: --group: Input should be greater than"),
        (
            ["operator", STORE, "--endpoint=hub"],
            "model-provisioner operator: --endpoint: the address of the hub has no scheme",
        ),
        (
            ["operator", STORE, "--allow-endpoint=hub.example"],
            "model-provisioner operator: --allow-endpoint: the address of the hub has no scheme",
        ),
        (
            ["operator", STORE, "--response-timeout=0"],
            "model-provisioner operator: --response-timeout: Input should be greater than or equal to 1",
        ),
        (
            ["operator", STORE, "--response-timeout=3601"],
            "model-provisioner operator: --response-timeout: Input should be less than or equal to 3600",
        ),
        (["operator", STORE, "--no-proxy=10.*"], "model-provisioner operator: --no-proxy: '10.*' is not HOST"),
        (["operator", STORE, STORE], "model-provisioner operator: --store: a claim is given twice\n"),
        (["operator", STORE, "--store=none"], "model-provisioner operator: --store: none stands alone"),
        (
            ["operator", STORE, "--watch-namespace=*", "--watch-namespace=a"],
            "model-provisioner operator: --watch-namespace: * means every namespace, so it stands alone",
        ),
        (
            ["operator", "--store=none", "--watch-namespace=*"],
            "model-provisioner operator: nothing says which namespace has the Lease: name it with --lease-namespace",
        ),
        (
            ["release", "--namespace=ai", "--deployment=x", "--watch-namespace=*", "--watch-namespace=a"],
            "model-provisioner release: --watch-namespace: * means every namespace, so it stands alone",
        ),
        (["operator", "--store=none"], "model-provisioner operator: --store none says nothing about namespaces"),
        (["gateway", "--max-streams=0"], "model-provisioner gateway: --max-streams: Input should be greater than"),
        (["release", "--deployment=x"], "model-provisioner release: --namespace: Field required"),
        (["release", "--namespace=ai", "--deployment="], "model-provisioner release: --deployment: String should have"),
        (["gateway", "--tls-key=x"], "model-provisioner gateway: --tls-cert and --tls-key are given together\n"),
    ],
)
def test_a_wrong_value_is_exit_code_2(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err.startswith(says)


def test_a_wrong_value_in_the_environment_is_told_by_its_flag(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODEL_PROVISIONER_MAX_STREAMS", "few")
    assert cli.main(["gateway"]) == 2
    assert capsys.readouterr().err.startswith("model-provisioner gateway: --max-streams: Input should be a valid")


@pytest.mark.parametrize(
    ("subcommand", "settings"),
    [("operator", OperatorSettings), ("gateway", GatewaySettings), ("release", ReleaseSettings)],
)
def test_help_lists_every_setting_with_its_description(
    subcommand: str, settings: type[BaseSettings], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main([subcommand, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    fields = {name: field for name, field in settings.model_fields.items() if name not in {"instance", "pod_uid"}}
    for name, field in fields.items():
        assert field.description, name
        assert re.search(rf"--{name.replace('_', '-')} (\S+ )?{re.escape(field.description)}", shown), name
    assert len(re.findall(r"\[--", shown)) == len(fields)


def test_each_engine_is_known_and_listed_once() -> None:
    settings = operator(STORE, "--catalog-engine=localai", "--catalog-engine=llama-cpp", "--catalog-engine=localai")
    assert [engine.name for engine in settings.engines] == ["localai", "llama-cpp"]
    assert operator(STORE).engines == ()
    with pytest.raises(ValueError, match="'ollama' is not one of llama-cpp, localai, llama-swap"):
        operator(STORE, "--catalog-engine=ollama")


def test_the_mount_path_is_plain_and_absolute() -> None:
    assert operator(STORE).mount_path == "/models"
    assert operator(STORE, "--mount-path=/mnt/m").mount_path == "/mnt/m"
    with pytest.raises(ValueError, match="'models': write an absolute path"):
        operator(STORE, "--mount-path=models")
