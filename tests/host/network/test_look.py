"""What a person is shown of one interface's way is what the kernel has."""

from collections.abc import Iterator

import pytest

from stead_agent.findings import Finding, Path
from stead_agent.firewall.interface import Group
from tests.host.network.world import POOL, World, net, new_world, sent


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as made:
        made.start(net.HostNetwork((POOL,)))
        yield made


def _by_what(found: list[Finding]) -> dict[str, list[Finding]]:
    return {what: [each for each in found if each.what == what] for what in (each.what for each in found)}


def test_the_whole_way_of_a_guest(world: World) -> None:
    vpc_id = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=(Group("sg-0000000a", (sent(),)),))
    world.guest(vpc_id, "10.0.1.5", "sg-0000000a")
    (interface,) = world.vpcs[vpc_id][0].interfaces

    def path(to: str) -> Path:
        return Path(vpc_id, interface.subnet_id, interface.id, "10.0.1.5", to)

    links = _by_what(world.network.look(path("10.0.1.1")))
    assert [each.ok for each in links["tap"]] == [True]
    assert [each.ok for each in links["gateway"]] == [True]
    assert "service of the VPC itself" in links["route"][0].detail
    (unknown,) = _by_what(world.network.look(path("10.0.7.7")))["route"]
    assert not unknown.ok
    rules = _by_what(world.firewall.look(path("10.0.1.1")))
    assert [each.ok for each in rules["anti-spoofing"]] == [True]
    assert [each.detail for each in rules["security groups"]] == [
        "what it may send is asked of sg-0000000a (rules: 1)",
        "what it may get is asked of sg-0000000a (rules: 0)",
    ]


def test_what_is_missing_is_said(world: World) -> None:
    nowhere = Path("vpc-0000000000000009", "subnet-00000009", "eni-00000009", "10.0.0.5", "10.0.0.6")
    assert [(each.what, each.ok) for each in world.network.look(nowhere)] == [
        ("tap", False),
        ("bridge", False),
        ("vpc", False),
    ]
    assert [(each.what, each.ok) for each in world.firewall.look(nowhere)] == [("anti-spoofing", False)]
