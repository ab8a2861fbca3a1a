"""Event windows in their transaction: what they take, whose they are, and which instances' events they are for."""

from typing import Any

import pytest
from sqlalchemy import func, select

from stead_controller.catalog import ids
from stead_controller.db.tables import DedicatedHost, EventWindowTarget, Instance, InstanceEventWindow, Tag
from stead_controller.errors import (
    AlreadyExists,
    InUse,
    InvalidCombination,
    InvalidParameter,
    LimitExceeded,
    MalformedId,
    MissingParameter,
    NotFound,
)
from stead_controller.request.conditions import Selection
from stead_controller.request.filters import Filter
from stead_controller.resources import tags
from stead_controller.resources.instances import instance_event_windows as windows
from stead_controller.resources.instances.instance_event_windows import Targets, TimeRange, WindowRequest
from tests.support.life import Life
from tests.support.rows import NOW

NIGHTS = "* 0-4 * * *"
MORNING = TimeRange("monday", 2, "monday", 6)
ABSENT = "iew-00000000000000009"
NO_INSTANCE = "i-00000000000000009"


class Windows:
    """Windows of a world's first tenant."""

    def __init__(self, life: Life) -> None:
        self.life = life

    def call(self, function: Any, *args: Any, by: Any = None, **kwargs: Any) -> Any:
        return self.life.run(function, by or self.life.caller, *args, **kwargs)

    def create(self, cron: str | None = NIGHTS, **given: Any) -> str:
        return str(self.call(windows.create, WindowRequest(cron=cron, **given)).row.id)

    def associate(self, window_id: str, by: Any = None, **targets: Any) -> Targets:
        found: Targets = self.call(windows.associate, window_id, Targets(**targets), by=by).targets
        return found

    def disassociate(self, window_id: str, by: Any = None, **targets: Any) -> Targets:
        found: Targets = self.call(windows.disassociate, window_id, Targets(**targets), by=by).targets
        return found

    def found(self, *filters: tuple[str, str], **asked: Any) -> list[str]:
        asked["filters"] = tuple(Filter(name, (value,)) for name, value in filters)
        return [one.row.id for one in self.call(windows.describe, Selection(**asked))]

    def instance(self, **values: Any) -> str:
        [made] = self.life.launch()
        self.life.run(lambda tx: [setattr(tx.session.get_one(Instance, made), *one) for one in values.items()])
        return str(made)

    def dedicated_host(self, **values: Any) -> str:
        host_id = ids.new_id("dedicated-host")
        about = {
            "id": host_id,
            "account_id": self.life.caller.account_id,
            "allocation_id": host_id,
            "zone": "us-east-1a",
            "instance_family": "t3",
            "auto_placement": True,
            "client_token": "",
            "state": "allocated",
            "created": NOW,
        }
        self.life.run(lambda tx: tx.session.add(DedicatedHost(**about | values)))
        return host_id

    def tag(self, resource_id: str, **pairs: str) -> None:
        self.call(tags.create_tags, [resource_id], pairs, NOW)

    def hours(self, instance_id: str) -> Any:
        return self.life.run(lambda tx: windows.hours_of(tx, tx.session.get_one(Instance, instance_id)))

    def count(self, table: Any) -> int:
        return int(self.life.run(lambda tx: tx.session.scalar(select(func.count()).select_from(table))))


@pytest.fixture
def own(life: Life) -> Windows:
    return Windows(life)


def test_a_window_has_ranges_or_an_expression(own: Windows) -> None:
    made = own.call(windows.create, WindowRequest("n", [MORNING, TimeRange("saturday", 22, "sunday", 0)]))
    assert (made.row.name, made.row.cron_expression) == ("n", None)
    assert [tuple(one) for one in made.row.time_ranges] == [(26, 30), (166, 0)]
    assert made.targets == Targets([], [], [])
    changed = own.call(windows.modify, made.row.id, WindowRequest(cron=NIGHTS))
    assert (changed.row.name, changed.row.time_ranges, changed.row.cron_expression) == ("n", [], NIGHTS)
    changed = own.call(windows.modify, made.row.id, WindowRequest(ranges=[MORNING]))
    assert (changed.row.time_ranges, changed.row.cron_expression) == ([(26, 30)], None)
    changed = own.call(windows.modify, made.row.id, WindowRequest("m"))
    assert (changed.row.name, len(changed.row.time_ranges)) == ("m", 1)


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (MissingParameter, {}),
        (InvalidCombination, {"cron": NIGHTS, "ranges": [MORNING]}),
        (InvalidParameter, {"cron": "* 0-3 * * 1"}),
        (InvalidParameter, {"ranges": [TimeRange("monday", 2, "monday", 3)]}),
        (InvalidParameter, {"ranges": []}),
        (InvalidParameter, {"ranges": [MORNING] * 85}),
        (InvalidParameter, {"ranges": [TimeRange("Monday", 2, "monday", 6)]}),
        (InvalidParameter, {"ranges": [TimeRange("monday", 2, "mon", 6)]}),
        (InvalidParameter, {"ranges": [TimeRange("monday", -1, "monday", 6)]}),
        (InvalidParameter, {"ranges": [TimeRange("monday", 2, "monday", 24)]}),
        (MissingParameter, {"ranges": [TimeRange(None, 2, "monday", 6)]}),
        (MissingParameter, {"ranges": [TimeRange("monday", None, "monday", 6)]}),
        (MissingParameter, {"ranges": [TimeRange("monday", 2, None, 6)]}),
        (MissingParameter, {"ranges": [TimeRange("monday", 2, "monday", None)]}),
        (InvalidParameter, {"cron": NIGHTS, "name": "x" * 256}),
    ],
)
def test_what_no_window_can_be_is_refused(own: Windows, error: type[Exception], asked: dict[str, Any]) -> None:
    window = own.create()
    with pytest.raises(error):
        own.call(windows.create, WindowRequest(**asked))
    with pytest.raises(error):
        own.call(windows.modify, window, WindowRequest(**asked))
    assert own.call(windows.describe, Selection())[0].row.cron_expression == NIGHTS


def test_the_largest_window(own: Windows) -> None:
    ranges = [MORNING] * 84
    made = own.call(windows.create, WindowRequest("x" * 255, ranges))
    assert len(made.row.time_ranges) == 84
    assert own.create(cron=None, ranges=[TimeRange("saturday", 23, "sunday", 0), MORNING][1:])


def test_an_account_has_200_windows(own: Windows) -> None:
    for _ in range(200):
        own.create()
    with pytest.raises(LimitExceeded):
        own.create()
    assert own.call(windows.create, WindowRequest(cron=NIGHTS), by=own.life.world.other.caller)


def test_only_ones_own_windows_are_found(own: Windows) -> None:
    window, other = own.create(), own.life.world.other.caller
    assert own.call(windows.describe, Selection(), by=other) == []
    for function, args in (
        (windows.modify, (WindowRequest("x"),)),
        (windows.associate, (Targets(tags=[("a", "b")]),)),
        (windows.disassociate, (Targets(tags=[("a", "b")]),)),
    ):
        with pytest.raises(NotFound):
            own.call(function, window, *args, by=other)
        with pytest.raises(MalformedId):
            own.call(function, "iew-x", *args)
    with pytest.raises(NotFound):
        own.call(windows.remove, window, force=True, by=other)
    with pytest.raises(NotFound):
        own.found(ids=(ABSENT,))


def test_targets_are_of_one_kind(own: Windows) -> None:
    window, instance, host = own.create(), own.instance(), own.dedicated_host()
    assert own.associate(window, instance_ids=[instance, instance]) == Targets([instance], [], [])
    assert own.associate(window, instance_ids=[instance]) == Targets([instance], [], [])
    for more in ({"dedicated_host_ids": [host]}, {"tags": [("a", "b")]}):
        with pytest.raises(InvalidCombination, match="another type"):
            own.associate(window, **more)
        for call in (own.associate, own.disassociate):
            with pytest.raises(InvalidCombination, match="Only one type"):
                call(window, instance_ids=[instance], **more)
    for call in (own.associate, own.disassociate):
        with pytest.raises(MissingParameter):
            call(window)
    assert own.disassociate(window, instance_ids=[instance, instance]) == Targets([], [], [])
    assert own.associate(window, dedicated_host_ids=[host]) == Targets([], [host], [])
    assert own.disassociate(window, dedicated_host_ids=[host]) == Targets([], [], [])
    assert own.associate(window, tags=[("a", "b"), ("a", "c")]) == Targets([], [], [("a", "b"), ("a", "c")])
    assert own.disassociate(window, tags=[("a", "b")]) == Targets([], [], [("a", "c")])


def test_a_target_has_one_window(own: Windows) -> None:
    first, second, instance, host = own.create(), own.create(), own.instance(), own.dedicated_host()
    kinds: dict[str, dict[str, Any]] = {
        instance: {"instance_ids": [instance]},
        host: {"dedicated_host_ids": [host]},
        "a=b": {"tags": [("a", "b")]},
    }
    for name, given in kinds.items():
        own.associate(first, **given)
        with pytest.raises(AlreadyExists, match=f"'{name}' is associated with the event window '{first}'"):
            own.associate(second, **given)
        with pytest.raises(InvalidParameter, match="not associated"):
            own.disassociate(second, **given)
        own.disassociate(first, **given)
        own.associate(second, **given)
        own.disassociate(second, **given)
    own.associate(first, tags=[("a", "b")])
    own.associate(second, tags=[("a", "c"), ("b", "b")])
    other = own.life.world.other.caller
    theirs = own.call(windows.create, WindowRequest(cron=NIGHTS), by=other).row.id
    assert own.associate(theirs, by=other, tags=[("a", "b")]).tags == [("a", "b")]


def test_only_what_the_caller_has_can_be_a_target(own: Windows) -> None:
    window, other = own.create(), own.life.world.other.caller
    theirs = own.call(windows.create, WindowRequest(cron=NIGHTS), by=other).row.id
    mine, gone = own.instance(), own.instance(state="terminated")
    host, released = own.dedicated_host(), own.dedicated_host(state="released", ended=NOW)
    for call in (own.associate, own.disassociate):
        for absent in (NO_INSTANCE, gone):
            with pytest.raises(NotFound):
                call(window, instance_ids=[mine, absent])
        for absent in ("h-00000000000000009", released):
            with pytest.raises(NotFound):
                call(window, dedicated_host_ids=[host, absent])
        with pytest.raises(NotFound):
            call(theirs, instance_ids=[mine], by=other)
        with pytest.raises(NotFound):
            call(theirs, dedicated_host_ids=[host], by=other)
        with pytest.raises(MalformedId):
            call(window, instance_ids=["i-x"])
    with pytest.raises(InvalidParameter, match="on a Dedicated Host"):
        own.associate(window, instance_ids=[mine, own.instance(tenancy="host")])
    own.associate(window, instance_ids=[mine])
    own.disassociate(window, instance_ids=[mine])
    for pair in (("", "b"), ("k" * 128, ""), ("k", "v" * 257)):
        with pytest.raises(InvalidParameter, match="A tag has"):
            own.associate(window, tags=[("a", "b"), pair])
    assert own.count(EventWindowTarget) == 0
    own.associate(window, tags=[("k" * 127, "v" * 256)])


def test_a_window_has_so_many_targets(own: Windows) -> None:
    window = own.create()
    own.associate(window, tags=[("a", str(number)) for number in range(49)])
    with pytest.raises(LimitExceeded, match="50"):
        own.associate(window, tags=[("b", "1"), ("b", "2")])
    own.associate(window, tags=[("b", "1"), ("a", "1")])
    with pytest.raises(LimitExceeded, match="50"):
        own.associate(window, tags=[("c", "1")])
    window, instance = own.create(), own.instance()

    def fill(tx: Any) -> None:
        about = {"account_id": own.life.caller.account_id, "kind": "instance", "value": "", "window_id": window}
        tx.session.add_all(EventWindowTarget(name=f"i-{number:017x}", **about) for number in range(100))

    own.life.run(fill)
    with pytest.raises(LimitExceeded, match="100"):
        own.associate(window, instance_ids=[instance])


def test_a_window_with_targets_is_removed_by_force(own: Windows) -> None:
    window, kept = own.create(tags={"a": "b"}), own.create()
    own.associate(window, tags=[("a", "b")])
    own.associate(kept, tags=[("a", "c")])
    with pytest.raises(InUse):
        own.call(windows.remove, window, force=False)
    own.call(windows.remove, window, force=True)
    assert own.found() == [kept]
    assert (own.count(EventWindowTarget), own.count(Tag), own.count(InstanceEventWindow)) == (1, 0, 1)
    own.disassociate(kept, tags=[("a", "c")])
    own.call(windows.remove, kept, force=False)
    assert own.found() == []


def test_filters(own: Windows) -> None:
    instance, host = own.instance(), own.dedicated_host()
    one, two, three = own.create(name="one"), own.create(name="two", tags={"k": "v"}), own.create()
    own.associate(one, instance_ids=[instance])
    own.associate(two, dedicated_host_ids=[host])
    own.associate(three, tags=[("a", "b")])
    expected = {
        ("event-window-name", "o*"): [one],
        ("instance-id", instance): [one],
        ("dedicated-host-id", host): [two],
        ("instance-tag", "a=b"): [three],
        ("instance-tag-key", "a"): [three],
        ("instance-tag-value", "b"): [three],
        ("tag:k", "v"): [two],
        ("tag-key", "k"): [two],
        ("instance-id", host): [],
        ("dedicated-host-id", instance): [],
        ("instance-tag-key", instance): [],
        ("instance-tag-value", ""): [],
    }
    for asked, found in expected.items():
        assert own.found(asked) == found, asked
    assert own.found(("instance-id", instance), ids=(two,)) == []
    assert own.found(ids=(two, one)) == sorted([one, two])
    described = {one.row.id: one for one in own.call(windows.describe, Selection())}
    assert described[two].tags == [("k", "v")]
    assert described[two].targets == Targets([], [host], [])


def test_which_window_an_instance_has(own: Windows) -> None:
    def window(hour: int) -> tuple[str, frozenset[int]]:
        made = own.create(cron=f"* {hour}-{hour + 4} * * 0")
        return made, frozenset(range(hour, hour + 4))

    (by_host, host_hours), (by_id, id_hours) = window(0), window(4)
    (by_first, first_hours), (by_second, second_hours) = window(8), window(12)
    host, instance = own.dedicated_host(), own.instance()
    assert own.hours(instance) is None
    own.associate(by_first, tags=[("a", "1")])
    own.associate(by_second, tags=[("b", "1")])
    own.tag(instance, b="2")
    assert own.hours(instance) is None
    own.tag(instance, b="1")
    assert own.hours(instance) == second_hours
    own.tag(instance, a="1")
    assert own.hours(instance) == first_hours
    own.associate(by_id, instance_ids=[instance])
    assert own.hours(instance) == id_hours
    own.associate(by_host, dedicated_host_ids=[host])
    set_host = {"dedicated_host_id": host}
    own.life.run(lambda tx: [setattr(tx.session.get_one(Instance, instance), *one) for one in set_host.items()])
    assert own.hours(instance) == id_hours
    own.life.run(lambda tx: setattr(tx.session.get_one(Instance, instance), "tenancy", "host"))
    assert own.hours(instance) == host_hours
    own.life.run(lambda tx: setattr(tx.session.get_one(Instance, instance), "dedicated_host_id", None))
    assert own.hours(instance) == id_hours
    assert own.hours(own.instance()) is None


def test_what_is_forgotten_leaves_its_window(own: Windows) -> None:
    first, second = own.create(), own.create()
    instance, kept, host, kept_host = own.instance(), own.instance(), own.dedicated_host(), own.dedicated_host()
    own.associate(first, instance_ids=[instance, kept])
    own.associate(second, dedicated_host_ids=[host, kept_host])

    def targets() -> dict[str, Targets]:
        return {one.row.id: one.targets for one in own.call(windows.describe, Selection())}

    own.life.run(windows.forget_instances, [instance, host])
    assert targets() == {first: Targets([kept], [], []), second: Targets([], sorted([host, kept_host]), [])}
    own.life.run(windows.forget_dedicated_hosts, [host, kept])
    assert targets() == {first: Targets([kept], [], []), second: Targets([], [kept_host], [])}
