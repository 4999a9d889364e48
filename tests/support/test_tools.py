"""How the tests come by the programs that they use."""

from pathlib import Path

import pytest

from tests.support import tools
from tests.support.installs import MOTO, VERSITYGW, NotInstalled, PythonEnvironment


@pytest.mark.parametrize(
    ("uid", "present", "begins"),
    [
        (0, {"apt-get"}, ["env"]),
        (0, {"apt-get", "sudo"}, ["env"]),
        (1000, {"apt-get", "sudo"}, ["sudo", "-n", "env"]),
        (1000, {"apt-get"}, None),
        (0, set[str](), None),
    ],
)
def test_packages_are_installed_by_root_or_by_sudo_without_a_password(
    uid: int, present: set[str], begins: list[str] | None
) -> None:
    command = tools.install_command(["strace", "fuse3"], uid=uid, has=present.__contains__)
    if begins is None:
        assert command is None
    else:
        assert command is not None
        assert command[: len(begins)] == begins
        assert command[-1].endswith("strace fuse3")


def test_a_missing_tool_skips_the_test_and_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tools.TOOLS, "strace", tools.Tool("strace", lambda: None))
    with pytest.raises(pytest.skip.Exception, match=r"strace is not installed \(Debian: strace\)"):
        tools.require("strace")
    assert "strace" in tools.missing_packages()


def test_without_rights_the_missing_packages_are_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(tools.TOOLS, "strace", tools.Tool("strace", lambda: None))
    monkeypatch.setattr(tools, "_has", lambda _: False)
    monkeypatch.setattr(tools, "TOOLS", {name: tool for name, tool in tools.TOOLS.items() if tool.package})
    assert tools.main() == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("tests are skipped for want of tools")
    assert line.split()[-1] == "strace" or " strace " in line


def test_a_tool_that_is_no_package_is_installed_by_its_own_function(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed: list[str] = []

    def fails() -> None:
        raise NotInstalled("there is no `go`")

    found = {"moto": tools.Tool(None, lambda: installed[0] if installed else None, lambda: installed.append("/moto"))}
    monkeypatch.setattr(tools, "TOOLS", {"versitygw": tools.Tool(None, lambda: None, fails)} | found)
    with pytest.raises(pytest.skip.Exception, match=r"`python -m tests.support.tools` installs it"):
        tools.require("moto")
    assert tools.main() == 0
    assert tools.require("moto") == "/moto"
    assert "there is no `go`" in capsys.readouterr().err


def test_what_is_no_package_is_taken_from_the_cache(tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    assert VERSITYGW.path(environment) is None
    assert MOTO.python(environment) is None
    directory = tmp_path / "model-provisioner/versitygw-v1.8.0"
    directory.mkdir(parents=True)
    (directory / "versitygw").touch()
    assert VERSITYGW.path(environment) == directory / "versitygw"


def test_an_environment_without_all_its_packages_is_not_used(tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("moto\n")  # without a hash, which pip refuses before it asks an index
    incomplete = PythonEnvironment("moto", requirements)
    with pytest.raises(NotInstalled, match=r"moto could not be installed: .*hash"):
        incomplete.install(environment)
    assert incomplete.python(environment) is None


def test_no_other_file_of_the_tests_asks_for_a_program() -> None:
    """So that each skip for a missing tool has the same form, and `make test` knows the tool."""
    root = Path(__file__).parents[1]
    asking = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if "shutil.which(" in path.read_text() and path.name not in {"tools.py", "test_tools.py"}
    }
    assert asking == {"deploy/test_binaries.py"}, "go is a prerequisite, not a tool that is installed"
