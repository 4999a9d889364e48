"""The Grafana dashboard of `files/dashboard.json`: its queries name what the programs have, and its panels fit.

There is no Grafana here. Each query is checked by promtool, and evaluated on recorded pages of both programs.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_provisioner.controller.metrics import descriptions
from model_provisioner.controller.metrics.descriptions import DESCRIPTIONS
from model_provisioner.domain.errors import AccessDenied, SourceUnavailable
from model_provisioner.domain.lifecycle.events import Failed, Verifying
from model_provisioner.gateway.board import Board
from tests.gateway.test_serving import gateway
from tests.support.promtool import Recording, promtool
from tests.test_alerts import SCRAPE, Day, Model
from tests.test_metrics_page import gateway_rows, rules_of_the_chart

DASHBOARD = json.loads((Path(__file__).parents[1] / "files" / "dashboard.json").read_text())
PANELS = DASHBOARD["panels"]
UNITS = {"none", "short", "Bps", "bytes", "percentunit", "reqps", "s"}  # of Grafana
MINUTES = 30


@dataclass(frozen=True)
class Query:
    """One query of a panel. `expression` has values instead of Grafana's variables."""

    panel: str
    expression: str
    legend: str


def queries() -> Iterator[Query]:
    for panel in PANELS:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", "5m").replace("$namespace", ".*")
            yield Query(panel["title"], expression, target["legendFormat"])


QUERIES = list(queries())
IDS = [f"{query.panel}, {query.legend}" for query in QUERIES]


async def test_every_query_names_metrics_and_labels_that_the_programs_have(tmp_path: Path) -> None:
    labels = {one.full_name: {*one.labels} for one in DESCRIPTIONS}
    labels |= {name: set() for name, *_ in await gateway_rows(tmp_path)}
    for query in QUERIES:
        used = [re.sub("_bucket$", "", name) for name in re.findall(r"model_provisioner_\w+", query.expression)]
        assert used, query
        assert {*used} <= labels.keys(), query
        known = {"le"}.union(*(labels[name] for name in used))
        grouped = re.findall(r"by \(([^)]*)\)", query.expression)
        selected = re.findall(r"[{,] ?(\w+)[=!]", query.expression)
        shown = re.findall(r"\{\{(\w+)\}\}", query.legend)
        assert {*", ".join(grouped).split(", ")} - {""} | {*selected} | {*shown} <= known, query


def test_every_metric_of_the_operator_is_on_it() -> None:
    shown = " ".join(query.expression for query in QUERIES)
    assert [one.full_name for one in DESCRIPTIONS if one.full_name not in shown] == []


def test_promtool_accepts_every_query(tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": query.expression} for number, query in enumerate(QUERIES)]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    promtool("check", "rules", str(tmp_path / "queries.yaml"))


async def test_every_query_has_a_value_while_both_programs_work(tmp_path: Path) -> None:
    async with gateway(tmp_path, Board()) as (client, _):
        page = await (await client.get("/metrics")).text()
    recording = Recording(SCRAPE)
    for pages in working_operator(tmp_path).scrapes(MINUTES):
        recording.scrape({**pages, "gateway": page})
    (tmp_path / "rules.yaml").write_text("groups: []\n")
    checks = [
        {
            "expr": f"count({query.expression}) > bool 0",
            "eval_time": f"{MINUTES}m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for query in QUERIES
    ]
    recording.judge(tmp_path / "rules.yaml", tmp_path, checks)


def working_operator(directory: Path) -> Day:
    """An operator with a model that has arrived, one that arrives, one that fails and one that is retried."""
    day = Day(directory / "unused", directory)
    metrics = day.pod.metrics
    metrics.copied_counter("ns")(64)
    metrics.register(descriptions.SLOTS, lambda: [((), 4)])
    for one in (descriptions.ACTIVE, descriptions.QUEUED):
        metrics.register(one, lambda: [(("ns",), 1)])
    metrics.register(descriptions.UNHELD, lambda: [(("ns", "models"), 1)])
    metrics.register(descriptions.API_REQUESTS, lambda: [(("GET", "200"), 1)])
    for minute in range(0, MINUTES, 4):
        Model(day, f"arrived-{minute}").arrives(minute * 60)
        Model(day, f"denied-{minute}").happens(minute * 60, Failed(AccessDenied("no"), None))
        Model(day, f"retried-{minute}").happens(minute * 60, Failed(SourceUnavailable("no"), None))
    coming = Model(day, "coming")
    coming.begins(0)
    coming.happens(30, Verifying(1, 10))
    return day


def test_the_error_states_are_those_of_the_alert() -> None:
    (alert,) = [r for g in rules_of_the_chart()["groups"] for r in g["rules"] if "reason!~" in r["expr"]]
    (panel,) = [query for query in QUERIES if "reason!~" in query.expression]
    (one,), (other,) = (re.findall(r'reason!~"([^"]*)"', text) for text in (alert["expr"], panel.expression))
    assert one == other


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_a_panel_is_complete(panel: dict[str, Any]) -> None:
    if panel["type"] == "row":
        return
    assert panel["description"].endswith(".")
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_panels_lie_beside_each_other() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for one, other in combinations([panel["gridPos"] for panel in PANELS], 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in PANELS)


def test_it_works_with_every_prometheus_and_in_every_namespace() -> None:
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["query"] == "prometheus"
    assert variables["namespace"]["query"] == "label_values(model_provisioner_operator_downloads, namespace)"
    assert variables["namespace"]["allValue"] == ".*"
