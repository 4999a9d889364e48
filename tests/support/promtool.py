"""Checks alert rules with Prometheus' own promtool, on pages that were scraped at simulated times. Called by tests."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support import tools

Check = Mapping[str, Any]
"""One `promql_expr_test` or `alert_rule_test` of promtool: an expression, a time, and the expected result."""


class Recording:
    """Scrapes, `seconds` apart. A series that is missing from the next page is stale at once, as in Prometheus."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._scrapes = 0
        self._values: dict[str, list[str]] = {}

    def scrape(self, pages: Mapping[str, str | None]) -> None:
        """Adds one scrape: the metrics page of each pod, None if the scrape failed."""
        found = {series: value for pod, page in pages.items() if page for series, value in _samples(pod, page)}
        for series in sorted(self._values.keys() | found.keys()):
            values = self._values.setdefault(series, ["_"] * self._scrapes)
            ended = values[-1:] not in ([], ["_"], ["stale"])
            values.append(found.get(series, "stale" if ended else "_"))
        self._scrapes += 1

    def judge(self, rules: Path, directory: Path, samples: Sequence[Check] = (), alerts: Sequence[Check] = ()) -> None:
        """Fails if `rules`, evaluated every minute, do not give the results of `samples` and `alerts`."""
        series = [{"series": name, "values": " ".join(values)} for name, values in self._values.items()]
        checks = {"promql_expr_test": list(samples), "alert_rule_test": list(alerts)}
        test = {"interval": f"{self._seconds}s", "input_series": series, **checks}
        document = {"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [test]}
        file = directory / "test.yaml"
        file.write_text(yaml.safe_dump(document, width=1_000_000))
        promtool("test", "rules", str(file))


def firing(alert: str, minute: int, labels: str = "{}") -> Check:
    """Expects that `alert` fires in that minute for exactly one set of labels, `labels`."""
    expression = f'count by (namespace, reason, claim) (ALERTS{{alertname="{alert}", alertstate="firing"}})'
    return {"expr": expression, "eval_time": f"{minute}m", "exp_samples": [{"labels": labels, "value": 1}]}


def quiet(begin: int, end: int, alerts: str = ".*") -> Check:
    """Expects that no alert that matches the regular expression `alerts` fires between these minutes."""
    selector = f'ALERTS{{alertname=~"{alerts}", alertstate="firing"}}[{end - begin}m]'
    expression = f"sum by (alertname) (count_over_time({selector}))"
    return {"expr": expression, "eval_time": f"{end}m", "exp_samples": []}


def promtool(*arguments: str) -> None:
    done = subprocess.run([tools.require("promtool"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _samples(pod: str, page: str) -> Iterator[tuple[str, str]]:
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = {**sample.labels, "pod": pod}
            yield sample.name + "{" + ",".join(f'{key}="{labels[key]}"' for key in labels) + "}", str(sample.value)
