"""Launches of a group: over its zones and subnets, its markets and weights, and what is said of what has no room."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import select, update

from stead_controller.db.tables import Host, ScalingTag, Subnet, Tag
from stead_controller.errors import InvalidParameter
from stead_controller.request.transaction import Transaction
from stead_controller.resources.fleet.fleet_launch import Pool
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.scaling import launches
from stead_controller.resources.scaling.launches import TAG, Launched, Launcher, Origin, Wanted, Ways
from stead_controller.resources.scaling.termination import Distribution
from tests.support import rows
from tests.support.rows import NOW
from tests.unit.controller.resources.scaling.launch_ways import LaunchWays
from tests.unit.controller.resources.scaling.web_group import WebGroup

HERE, THERE = "us-east-1a", "us-east-1b"


class Web(WebGroup):
    """The group, in two zones; only the first has a host."""

    def __init__(self, run: Any, world: Any) -> None:
        super().__init__(run, world, zones=[HERE, THERE], launch="old", placement_group=None)
        self.ways = LaunchWays(world.image_id)
        self.made: list[Launched] = []
        self.launcher: Launcher | None = None

    def launch(self, wanted: Mapping[str, int], *, only_there: bool = False, **there: Any) -> str | None:
        """Launch so many in the zones, and say why not all could be; `there` is what the launcher knows."""

        def do(tx: Transaction) -> str | None:
            group = self.row_of(tx)
            self.launcher = Launcher(tx, self.world.cloud, self.ways.read, group, NOW, **there)
            self.made, refusal = self.launcher.launch(wanted, only_there=only_there)
            return refusal

        refusal: str | None = self.run(do)
        return refusal

    def zones(self) -> Counter[str]:
        return Counter(one.zone for one in self.made)

    def add_host(self, zone: str = THERE, **changes: Any) -> None:
        self.run(lambda tx: tx.session.add(rows.host(zone=zone, hostname="other", **changes)))

    def room_here(self, cpus: int) -> None:
        here = update(Host).where(Host.zone == HERE).values(**rows.offered({"cpus_free": cpus}))
        self.run(lambda tx: tx.session.execute(here) and None)

    def subnet(self, zone: str, of: Any = None) -> str:
        tenant = of or self.world.one
        found: str = self.run(
            lambda tx: tx.session.scalar(select(Subnet.id).where(Subnet.id.in_(tenant.subnet_ids), Subnet.zone == zone))
        )
        return found


@pytest.fixture
def web(run: Any, world: Any) -> Web:
    return Web(run, world)


def test_instances_are_launched_where_they_are_wanted_and_belong_to_the_group(web: Web) -> None:
    web.add_host()
    tags = {"one": (web.row.id, True), "two": (web.row.id, False)}
    web.run(lambda tx: tx.session.add(rows.scaling_group(web.caller.account_id, id="other", name="other")))
    for key, (group_id, propagate) in {**tags, "three": ("other", True)}.items():
        tag = ScalingTag(account_id=web.caller.account_id, group_id=group_id, key=key, value="v", propagate=propagate)
        web.run(lambda tx, tag=tag: tx.session.add(tag))
    assert web.launch({HERE: 2, THERE: 1}, target="Warmed:Stopped") is None
    assert web.zones() == {HERE: 2, THERE: 1}
    for one in web.made:
        instance = web.instance(one.id)
        assert (one.zone, one.subnet, one.instance_type) == (instance.zone, instance.subnet_id, "stead.tiny")
        assert (one.spot, one.weight, one.origin) == (False, 1, Origin("lt-1", "web", 1))
        assert (instance.account_id, instance.target_lifecycle_state) == (web.caller.account_id, "Warmed:Stopped")
        found = web.run(lambda tx, one=one: tx.session.query(Tag).filter_by(resource_id=one.id).all())
        assert {tag.key: tag.value for tag in found} == {TAG: "web", "one": "v"}
    assert {(asked.launch, asked.zone, asked.subnet) for asked in web.ways.asked} == {("old", zone, None) for zone in (HERE, THERE)}  # fmt: skip


def test_what_has_no_room_in_its_zone_is_launched_in_another(web: Web) -> None:
    assert web.launch({THERE: 2, HERE: 1}) is None
    assert web.zones() == {HERE: 3}


def test_what_has_no_room_anywhere_is_told_with_what_was_launched(web: Web) -> None:
    web.room_here(1)
    assert THERE in (web.launch({HERE: 2}) or "")
    assert web.zones() == {HERE: 1}
    assert HERE in (web.launch({THERE: 1, HERE: 1}) or "")
    assert web.made == []


def test_what_is_to_balance_zones_is_launched_there_or_not_at_all(web: Web) -> None:
    assert web.launch({THERE: 1}, only_there=True)
    assert web.made == []
    assert web.launch({HERE: 1}, only_there=True) is None
    assert web.zones() == {HERE: 1}


def test_a_zone_without_room_is_not_tried_again(web: Web) -> None:
    web.room_here(0)
    assert web.launch({HERE: 1})
    asked = Counter(one.zone for one in web.ways.asked)
    assert asked[HERE] == asked[THERE] == 2  # to share between markets, and to launch


def test_a_group_with_subnets_launches_in_these_alone(web: Web) -> None:
    web.add_host()
    other = web.subnet(HERE, web.world.other)
    mine = web.subnet(THERE)
    web.change(subnets=[mine, other])
    assert web.launch({HERE: 1, THERE: 1}) is None
    assert [(one.zone, one.subnet) for one in web.made] == [(THERE, mine)] * 2
    assert {(asked.zone, asked.subnet) for asked in web.ways.asked} == {(None, mine)}
    told = web.launch({HERE: 1}, only_there=True)
    assert told == f"The group has no subnet in the Availability Zone {HERE}."


@pytest.fixture
def two(web: Web) -> tuple[str, str]:
    """The two subnets of the group, which is in one zone."""
    first = web.subnet(HERE)

    def add(tx: Transaction) -> str:
        row = tx.session.get_one(Subnet, first)
        values = {column.name: getattr(row, column.name) for column in Subnet.__table__.columns}
        second = Subnet(
            **values | {"id": "subnet-ffffffffffffffff0", "cidr_block": "172.31.240.0/20", "default_for_zone": False}
        )
        tx.session.add(second)
        return second.id

    second = web.run(add)
    web.change(subnets=[second, first], zones=[HERE])
    assert first < second
    return first, second


def test_one_subnet_of_a_zone_after_the_other_is_tried(web: Web, two: tuple[str, str]) -> None:
    first, second = two
    assert web.launch({HERE: 2}) is None
    assert {one.subnet for one in web.made} == {first}
    web.ways.refused[first] = InvalidParameter("The first is full.")
    assert web.launch({HERE: 2}) is None
    assert [one.subnet for one in web.made] == [second] * 2
    web.ways.refused[second] = InvalidParameter("The second is full.")
    assert web.launch({HERE: 2}) == "The second is full."
    assert web.made == []


@pytest.mark.parametrize("spot", [False, True])
def test_the_next_subnet_gets_what_the_first_has_no_room_for_in_one_market(
    web: Web, two: tuple[str, str], spot: bool
) -> None:
    first, second = two
    web.ways.distribution = Distribution(1, 0)
    web.ways.full = {(first, spot)}
    assert web.launch({HERE: 2}) is None
    assert [(one.subnet, one.spot) for one in web.made] == [(first, not spot), (second, spot)]


def test_a_zone_without_subnets_is_no_refusal_where_others_have_room(web: Web) -> None:
    web.change(subnets=[web.subnet(HERE)])
    assert web.launch({HERE: 1}) is None
    assert web.zones() == {HERE: 1}


def test_a_market_without_room_is_told_and_its_zone_not_tried_again(web: Web) -> None:
    web.change(zones=[HERE])
    web.ways.distribution = Distribution(1, 0)
    web.ways.full = {(None, False)}
    assert web.launch({HERE: 2}) == "There is no room."
    assert [one.spot for one in web.made] == [True]
    assert [one.spot for one in web.ways.asked] == [False, False, True]  # to share, and to launch in both


def test_a_launch_that_cannot_be_read_is_told(web: Web) -> None:
    web.ways.refused[None] = InvalidParameter("The template is gone.")
    assert web.launch({HERE: 1}) == "The template is gone."


def test_a_way_that_cannot_be_launched_leaves_it_to_the_others(web: Web) -> None:
    web.ways.broken = InvalidParameter("There is no such type.")
    assert web.launch({HERE: 1}) is None
    assert len(web.made) == 1
    web.ways.types = ()
    assert web.launch({HERE: 1}) == "There is no such type."


def test_an_instance_counts_as_its_weight(web: Web) -> None:
    web.add_host()
    web.ways.weight = 2
    assert web.launch({HERE: 3}) is None
    assert [one.weight for one in web.made] == [2, 2]
    assert web.launch({HERE: 1, THERE: 1}) is None
    assert web.zones() == {HERE: 1}  # which is as much as both want
    assert {one.zone for one in web.ways.asked} == {HERE}
    assert web.launch({HERE: 2, THERE: 2}) is None
    assert web.zones() == {HERE: 1, THERE: 1}


def markets(web: Web) -> list[bool]:
    assert [web.instance(one.id).spot_request_id is not None for one in web.made] == [one.spot for one in web.made]
    return sorted(one.spot for one in web.made)


@pytest.mark.parametrize(
    ("there", "units", "spot"),
    [
        ({}, 1, [False]),
        ({}, 4, [False, False, False, True]),
        ({"on_demand": 1}, 2, [False, True]),
        ({"on_demand": 3}, 2, [True, True]),
        ({"spot": 3}, 1, [False]),
        ({"on_demand": 2, "spot": 1}, 1, [False]),
    ],
)
def test_capacity_is_shared_between_the_markets(web: Web, there: Any, units: int, spot: list[bool]) -> None:
    web.ways.distribution = Distribution(1, 50)
    assert web.launch({HERE: units}, **there) is None
    assert markets(web) == spot
    assert [one.spot for one in web.ways.asked[1:]] == sorted(set(spot))  # after the shares


def test_what_is_launched_in_one_zone_counts_for_the_share_of_the_next(web: Web) -> None:
    web.add_host()
    web.ways.distribution = Distribution(2, 0)
    web.ways.weight = 2
    assert web.launch({HERE: 2, THERE: 4}) is None
    assert [(one.zone, one.spot) for one in web.made] == [(HERE, False), (THERE, True), (THERE, True)]
    assert web.launcher is not None
    assert (web.launcher.on_demand, web.launcher.spot) == (2, 4)


def test_a_group_acts_in_the_name_of_its_account(web: Web) -> None:
    found = launches.owner(web.world.cloud, web.row)
    assert (found.account_id, found.arn) == (web.caller.account_id, f"arn:aws:iam::{web.caller.account_id}:root")


def best(
    web: Web, *names: str | None, by_priority: bool = False, weights: Mapping[str, float] | None = None
) -> list[str]:
    pools = [
        Pool(
            number,
            None if name is None else LaunchRequest("ami-1", name, 1, 1),
            (weights or {}).get(name or "", 1),
            error=None if name is not None else InvalidParameter("no"),
        )
        for number, name in enumerate(names)
    ]
    found = web.run(Ways(pools, {}, by_priority).best_first)
    assert isinstance(found, list)
    return found


def test_the_best_type_is_the_first_of_a_policy_or_that_which_takes_least_for_its_weight(web: Web) -> None:
    types = ("t3.micro", None, "stead.tiny", "t3.micro", "t3.nano")
    assert best(web, *types, by_priority=True) == ["t3.micro", "stead.tiny", "t3.nano"]
    assert best(web, *types, "t9.gone") == ["stead.tiny", "t3.nano", "t3.micro"]
    assert best(web, *types, weights={"t3.micro": 9}) == ["t3.micro", "stead.tiny", "t3.nano"]
    assert best(web, *types, weights={"t3.nano": 0.01}) == ["stead.tiny", "t3.micro", "t3.nano"]


def test_what_is_read_says_where_how_many_and_of_which_market(web: Web) -> None:
    web.ways.distribution = Distribution(0, 0)
    web.change(placement_group="spread", refreshing="new")
    web.launch({HERE: 1})
    wanted = Wanted("new", HERE, None, 1, {}, "spread", spot=True)
    assert web.ways.asked[-1] == wanted
