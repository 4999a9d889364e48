"""`docs/metrics.md` matches the programs: its tables are generated from them, its alerts and manifests fit them."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from model_provisioner.controller.metrics.descriptions import DESCRIPTIONS
from model_provisioner.domain.lifecycle.state import State
from model_provisioner.gateway.board import Board
from tests.gateway.test_serving import gateway
from tests.support.promtool import promtool

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "metrics.md"

Row = tuple[str, str, str, str]


def operator_rows() -> list[Row]:
    """Name, type, labels and meaning of each metric."""
    return [(one.full_name, one.kind, ", ".join(one.labels), one.meaning) for one in DESCRIPTIONS]


async def gateway_rows(directory: Path) -> list[Row]:
    async with gateway(directory, Board()) as (client, _):
        text = await (await client.get("/metrics")).text()
    families = text_string_to_metric_families(text)
    return [(family.samples[0].name, family.type, "", family.documentation) for family in families]


def table(rows: Iterable[Row]) -> str:
    lines = [f"| `{name}` | {kind} | {labels} | {meaning} |\n" for name, kind, labels, meaning in rows]
    return "| metric | type | labels | meaning |\n|---|---|---|---|\n" + "".join(lines)


def with_table(page: str, section: str, rows: Iterable[Row]) -> str:
    """Returns `page` with the table of `rows` between the markers of `section`."""
    marks = re.compile(rf"(<!-- begin {section}: .*? -->\n).*?(<!-- end {section} -->\n)", re.DOTALL)
    made, count = marks.subn(lambda found: found[1] + table(rows) + found[2], page)
    assert count == 1
    return made


async def test_the_tables_match_the_programs(tmp_path: Path) -> None:
    page = PAGE.read_text()
    made = with_table(with_table(page, "operator", operator_rows()), "gateway", await gateway_rows(tmp_path))
    if os.environ.get("UPDATE_GOLDENS"):
        PAGE.write_text(made)
    assert made == PAGE.read_text(), "a metric has changed; see it with `UPDATE_GOLDENS=1 pytest` and git diff"


@pytest.mark.parametrize("row", operator_rows(), ids=[row[0] for row in operator_rows()])
def test_names_follow_the_conventions_of_prometheus(row: Row) -> None:
    """https://prometheus.io/docs/practices/naming: base units, and `_total` for counters alone."""
    name, kind, _, meaning = row
    assert re.fullmatch(r"model_provisioner_operator_[a-z_]+", name)
    assert name.endswith("_total") == (kind == "counter")
    assert not re.search(r"_(bytes|seconds)_(?!total)|_(milliseconds|ms|kib|mib|percent)", name)
    assert meaning.endswith(".")


def rules_of_the_chart() -> dict[str, Any]:
    """The rules file that the chart makes a PrometheusRule of."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "files" / "alerts.yaml").read_text())
    return found


def alerts() -> list[dict[str, Any]]:
    return [rule for group in rules_of_the_chart()["groups"] for rule in group["rules"]]


def test_every_alert_is_complete_and_uses_metrics_and_labels_that_exist() -> None:
    labels = {one.full_name: one.labels for one in DESCRIPTIONS}
    assert len({rule["alert"] for rule in alerts()}) == len(alerts()) >= 4
    for rule in alerts():
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"\d+m", rule.get("for", "0m"))
        used = re.findall(r"model_provisioner_\w+", rule["expr"])
        assert used
        assert set(used) <= labels.keys()
        shown = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        assert shown <= {label for name in used for label in labels[name]}


def test_promtool_accepts_every_query(tmp_path: Path) -> None:
    queries = re.findall(r"^\| [^|`]+ \| `([^`]+)` \|$", PAGE.read_text(), re.MULTILINE)
    assert len(queries) >= 4
    rules = [{"record": f"query:{number}", "expr": text} for number, text in enumerate(queries)]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    promtool("check", "rules", str(tmp_path / "queries.yaml"))


def test_the_alert_about_errors_excludes_exactly_the_states_that_are_no_errors() -> None:
    (errors,) = [rule["expr"] for rule in alerts() if "reason!~" in rule["expr"]]
    assert set(re.findall(r'reason!~"([^"]*)"', errors)[0].split("|")) == {str(state) for state in State}


def test_every_metric_that_the_text_names_exists() -> None:
    known = {row[0] for row in operator_rows()}
    text = re.sub(r"<!-- begin.*?<!-- end", "", PAGE.read_text(), flags=re.DOTALL)
    named = {re.sub("_(bucket|sum|count)$", "", name) for name in re.findall(r"model_provisioner_operator\w+", text)}
    assert named <= known


def test_the_page_lists_the_alerts() -> None:
    rows = re.findall(r"^\| `(Model\w+)` \| (\w+) \|", PAGE.read_text(), re.MULTILINE)
    assert rows == [(rule["alert"], rule["labels"]["severity"]) for rule in alerts()]


def test_every_alert_has_a_runbook_with_what_to_look_at_and_what_to_do() -> None:
    _, *sections = re.split(r"^## ", (ROOT / "docs" / "runbooks.md").read_text(), flags=re.MULTILINE)
    assert [section.partition("\n")[0] for section in sections] == [rule["alert"] for rule in alerts()]
    for section in sections:
        assert re.findall(r"^\*\*(\w+)\.\*\*", section, re.MULTILINE) == ["Meaning", "Look", "Do"]
        assert "```sh\nkubectl " in section
