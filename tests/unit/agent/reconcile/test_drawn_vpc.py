"""Whatever of a VPC differs from its last drawing is drawn anew, and nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest

from stead_agent.network.interface import RemoteInterface
from stead_agent.reconcile.drawn_vpc import Drawings, DrawnVpc
from stead_agent.reconcile.plan import VpcContents
from stead_agent.reconcile.translate_vpc import Beyond, VpcSettings
from stead_agent.wanted import Key
from stead_proto.v1 import desired_pb2 as pb
from tests.support import desired_states as make

_ROUTES = [pb.Route(destination="10.2.0.0/16", peer_vpc_id="vpc-2"), pb.Route(destination="0/0", interface_id="eni-9")]
_CONTENTS = VpcContents(
    subnets=(make.subnet(),),
    groups=(make.group(peer="sg-2"), make.group("sg-3")),
    interfaces=(make.interface("eni-1", "i-1"),),
    route_tables=(make.route_table(*_ROUTES),),
    peerings=(pb.Resource(id="pcx-1", peering=pb.Peering(vpc_id="vpc-1", peer_vpc_id="vpc-2")),),
)
_BEYOND = Beyond(members={"sg-2": frozenset({"10.1.0.9"})})
_VPC = make.vpc()


def _drawings() -> Drawings:
    return Drawings(lambda name: Path("/run/netns") / name)


def _again(beyond: Beyond, settings: VpcSettings | None = None) -> tuple[DrawnVpc, DrawnVpc]:
    """Draw a VPC twice; give what the second drawing is, and what it is without the first."""
    drawings = _drawings()
    drawings.of(_VPC, _CONTENTS, _BEYOND, VpcSettings())
    again = drawings.of(_VPC, _CONTENTS, beyond, settings or VpcSettings())
    return again, _drawings().of(_VPC, _CONTENTS, beyond, settings or VpcSettings())


@pytest.mark.parametrize(
    "beyond",
    [
        replace(_BEYOND, peers=frozenset({"vpc-2"})),
        replace(_BEYOND, routers=frozenset({"eni-9"})),
        replace(_BEYOND, members={"sg-2": frozenset({"10.1.0.8"})}),
        replace(_BEYOND, members={}),
        replace(_BEYOND, remotes=(RemoteInterface("eni-9", "02:00:00:00:00:09", ("10.1.0.9",), "192.0.2.1"),)),
    ],
)
def test_what_differs_beyond_a_vpc_is_drawn(beyond: Beyond) -> None:
    again, anew = _again(beyond)
    assert again == anew
    assert again != _drawings().of(_VPC, _CONTENTS, _BEYOND, VpcSettings())


def test_other_settings_of_the_host_are_drawn() -> None:
    again, anew = _again(_BEYOND, VpcSettings(mtu=1400))
    assert again == anew
    assert again.network.mtu == 1400


def test_groups_with_the_same_members_are_the_same() -> None:
    drawings = _drawings()
    first = drawings.of(_VPC, _CONTENTS, _BEYOND, VpcSettings())
    drawn = drawings.of(_VPC, _CONTENTS, replace(_BEYOND), VpcSettings())
    assert drawn.firewall.groups[0] is first.firewall.groups[0]
    assert drawn.network.interfaces is first.network.interfaces


def test_nothing_is_kept_of_a_vpc_that_was_forgotten_or_of_which_something_goes() -> None:
    drawings = _drawings()
    first = drawings.of(_VPC, _CONTENTS, _BEYOND, VpcSettings())
    drawings.forget(_VPC.id)
    anew = drawings.of(_VPC, _CONTENTS, _BEYOND, VpcSettings())
    assert anew.network.interfaces is not first.network.interfaces
    leaving = replace(_CONTENTS, gone=(Key(pb.KIND_INTERFACE, "eni-2"),))
    one, other = (drawings.of(_VPC, leaving, _BEYOND, VpcSettings()) for _ in range(2))
    assert one.network.interfaces is not other.network.interfaces
