"""Prometheus's own checker takes the rules and the dashboard that ship; each rule wakes somebody when it should."""

import json
import re
import subprocess
from typing import Any

import pytest

from tests.support.processes import ROOT

_FILES = ROOT / "ansible/roles/monitoring/files"
_RULES = (_FILES / "stead.rules.yml").read_text()
_CASES = (ROOT / "tests/clients/alert_rules.test.yml").read_text()
_DOCUMENTED = (ROOT / "docs/operate/monitoring.md").read_text()
_METRIC = re.compile(r"\b(?:stead|process)_[a-z_]+\b")
_SUFFIX = re.compile(r"_(bucket|sum|count)$")


def _dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((_FILES / "stead.dashboard.json").read_text())
    return loaded


def _queries() -> list[str]:
    """What the dashboard asks Prometheus, with its variables replaced as Grafana does."""
    asked = [target["expr"] for panel in _dashboard()["panels"] for target in panel["targets"]]
    asked += [each["expr"] for each in _dashboard()["annotations"]["list"]]
    return [query.replace("$__rate_interval", "1m").replace("$job", "stead") for query in asked]


@pytest.fixture
def promtool(client, tmp_path):
    """Run it in a folder with files of these names and contents; gives its exit status and what it said."""

    def run(*words, **files):
        for name, content in files.items():
            (tmp_path / f"{name}.yml").write_text(content)
        done = subprocess.run(
            [client / "debian/usr/bin/promtool", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.client("prometheus")
def test_the_rules_are_rules(promtool):
    code, said = promtool("check", "rules", "--lint=all", "--lint-fatal", "rules.yml", rules=_RULES)
    assert code == 0, said


@pytest.mark.client("prometheus")
def test_each_rule_fires_when_it_should_and_not_before(promtool):
    """What its annotations say is no part of it: promtool would want them word for word."""
    silent = re.sub(r" {8}annotations:\n(?: {10}.*\n)+", "", _RULES)
    cases = _CASES.replace("stead.rules.yml", "rules.yml")
    code, said = promtool("test", "rules", "cases.yml", rules=silent, cases=cases)
    assert code == 0, said
    fires = {
        alert
        for alert, after in re.findall(r"alertname: (\w+)(.*?exp_alerts: \[\{?)", cases, re.DOTALL)
        if after[-1] == "{"
    }
    assert fires == set(re.findall(r"- alert: (\w+)", _RULES))


@pytest.mark.client("prometheus")
def test_each_rule_says_what_to_do(promtool):
    blocks = _RULES.split("- alert: ")[1:]
    assert blocks
    for block in blocks:
        assert "severity: " in block, block
        assert "summary: " in block, block
        assert "action: " in block, block


@pytest.mark.client("prometheus")
def test_prometheus_understands_what_the_dashboard_asks(promtool):
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(_queries())]
    code, said = promtool(
        "check", "rules", "rules.yml", rules=json.dumps({"groups": [{"name": "all", "rules": rules}]})
    )
    assert code == 0, said
    assert f"{len(rules)} rules found" in said


def test_what_they_read_is_documented():
    read = {
        _SUFFIX.sub("", name)
        for name in _METRIC.findall(
            "\n".join([*re.findall(r"expr: .*|^ {10}.*\bsum\(.*", _RULES, re.MULTILINE), *_queries()])
        )
    }
    assert len(read) > 15
    assert sorted(name for name in read if f"`{name}" not in _DOCUMENTED) == []


def test_values_of_labels_are_documented():
    """A query of a state that no host has is no error to Prometheus, and shows nothing."""
    given = re.findall(r'(?:state|power|queue)=~?"([a-z_|]+)"', "\n".join([_RULES, *_queries()]))
    values = {value for words in given for value in words.split("|")} - {"firing"}
    assert {"down", "running", "writes"} <= values
    assert sorted(value for value in values if f"`{value}`" not in _DOCUMENTED) == []


def test_panels_are_side_by_side():
    panels = _dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
