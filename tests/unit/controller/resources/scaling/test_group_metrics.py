"""Metrics of groups: each counts what its name says, of the groups that have it collected, a minute at a time."""

from datetime import timedelta
from typing import Any

import pytest

from stead_controller.db.tables import ScalingMetric, WarmPool
from stead_controller.resources.scaling import group_metrics
from stead_controller.resources.scaling.group_metrics import METRICS
from tests.support import rows
from tests.support.rows import NOW
from tests.unit.controller.resources.scaling.web_group import WebGroup

OTHER = "00000000-0000-4000-8000-000000000002"


@pytest.fixture
def web(run: Any, world: Any) -> WebGroup:
    """The group, with all of its metrics collected."""
    made = WebGroup(run, world, min_size=1, max_size=9, desired=5)
    collect(made, made.row.id, *sorted(METRICS))
    return made


def collect(web: WebGroup, group_id: str, *names: str) -> None:
    web.run(lambda tx: tx.session.add_all([ScalingMetric(group_id=group_id, name=name) for name in names]))


def measured(web: WebGroup, after: str = "") -> dict[tuple[str, str], float]:
    data, _ = web.run(group_metrics.measure, NOW, after)
    assert {one.identity.account for one in data} <= {web.caller.account_id}
    assert {one.identity.namespace for one in data} <= {"AWS/AutoScaling"}
    assert all(one.minimum == one.maximum and one.count == 1 for one in data)
    found = {(dict(one.identity.dimensions)["AutoScalingGroupName"], one.identity.name): one.maximum for one in data}
    assert len(found) == len(data)
    return found


def test_instances_and_their_weights_are_counted_by_their_states(web: WebGroup) -> None:
    states = {
        "InService": 2, "Standby": 3, "Pending": 1, "Pending:Wait": 1, "Pending:Proceed": 2,
        "Terminating": 4, "Terminating:Wait": 1, "Terminating:Proceed": 1,
    }  # fmt: skip
    for state, weight in states.items():
        web.add(state, weight=weight)
    web.add("InService", weight=5)
    assert measured(web) == {
        ("web", name): value
        for name, value in {
            "GroupMinSize": 1,
            "GroupMaxSize": 9,
            "GroupDesiredCapacity": 5,
            "GroupInServiceInstances": 2,
            "GroupPendingInstances": 3,
            "GroupStandbyInstances": 1,
            "GroupTerminatingInstances": 3,
            "GroupTotalInstances": 9,
            "GroupInServiceCapacity": 7,
            "GroupPendingCapacity": 4,
            "GroupStandbyCapacity": 3,
            "GroupTerminatingCapacity": 6,
            "GroupTotalCapacity": 20,
        }.items()
    }


def test_a_group_with_a_warm_pool_has_its_metrics_too(web: WebGroup) -> None:
    pool = {"min_size": 1, "max_prepared": 8, "state": "Stopped", "deleting": False, "failures": 0}
    web.run(lambda tx: tx.session.add(WarmPool(group_id=web.row_of(tx).id, **pool)))
    states = ("Stopped", "Running", "Hibernated", "Pending", "Pending:Wait", "Pending:Proceed")
    for number, state in enumerate((*states, "Terminating", "Terminating:Wait", "Terminating:Proceed")):
        web.add(f"Warmed:{state}", weight=1 << number)
    web.add("InService", weight=1000)
    found = {name: value for (_, name), value in measured(web).items() if "WarmPool" in name}
    assert found == {
        "WarmPoolMinSize": 1,
        "WarmPoolDesiredCapacity": 3,
        "WarmPoolWarmedCapacity": 0b111,
        "WarmPoolPendingCapacity": 0b111000,
        "WarmPoolTerminatingCapacity": 0b111000000,
        "WarmPoolTotalCapacity": 0b111111111,
        "GroupAndWarmPoolDesiredCapacity": 8,
        "GroupAndWarmPoolTotalCapacity": 1511,
    }


def test_a_datum_is_of_the_minute_in_which_it_is_measured(web: WebGroup) -> None:
    data, _ = web.run(group_metrics.measure, NOW)
    minute = NOW.replace(second=0, microsecond=0)
    assert {one.at for one in data} == {int(minute.timestamp()) * 1000}
    data, _ = web.run(group_metrics.measure, minute + timedelta(seconds=60))
    assert {one.at for one in data} == {int(minute.timestamp()) * 1000 + 60_000}


def test_only_what_is_collected_of_a_group_is_measured_and_listed_in_its_order(web: WebGroup) -> None:
    web.run(lambda tx: tx.session.add(rows.scaling_group(web.caller.account_id, id=OTHER, name="other", max_size=3)))
    web.run(lambda tx: tx.session.add(rows.scaling_group(web.caller.account_id, id="zero", name="without")))
    web.add("InService")
    collect(web, OTHER, "GroupTotalInstances", "GroupMaxSize")
    found = measured(web)
    assert {name: value for (group, name), value in found.items() if group == "other"} == {
        "GroupMaxSize": 3,
        "GroupTotalInstances": 0,
    }
    assert {group for group, _ in found} == {"web", "other"}
    listed = web.run(group_metrics.of_groups, [OTHER, "zero"])
    assert listed == {OTHER: ["GroupMaxSize", "GroupTotalInstances"]}
    assert web.run(group_metrics.of_groups, [web.row.id])[web.row.id] == list(METRICS)


def test_groups_are_measured_some_at_a_time(web: WebGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_metrics, "_BATCH", 1)
    web.run(lambda tx: tx.session.add(rows.scaling_group(web.caller.account_id, id=OTHER, name="other")))
    collect(web, OTHER, "GroupMaxSize")
    seen, after = [], ""
    while True:
        data, after = web.run(group_metrics.measure, NOW, after)
        if not after:
            break
        seen.append({dict(one.identity.dimensions)["AutoScalingGroupName"] for one in data})
    assert (data, seen) == ([], [{"web"}, {"other"}])
