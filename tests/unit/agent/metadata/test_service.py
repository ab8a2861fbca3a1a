"""Whose metadata it is: the guest that has the address now, in the VPC that the question came from."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stead_agent.metadata.http import Request
from stead_agent.metadata.service import Metadata
from tests.support.metadata_guests import VPC, guest, interface

OTHER_VPC = "vpc-0123456789abcdef1"
FIRST, SECOND = "172.31.0.5", "172.31.0.6"
Ask = Callable[..., str | None]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Metadata]:
    """A service that listens nowhere."""
    made = Metadata(tmp_path)
    yield made
    made.close()


@pytest.fixture
def ask(service: Metadata) -> Ask:
    """Ask from an address of a VPC for the instance id."""

    def instance_id(address: str, vpc_id: str = VPC) -> str | None:
        request = Request("GET", "/latest/meta-data/instance-id", {}, keep_alive=False)
        response = service._answer((vpc_id, address), request)
        return response.body.decode() if response.status == 200 else None

    return instance_id


@pytest.mark.parametrize("end", ["removed", "moved"])
def test_an_address_stays_with_who_took_it_when_its_former_guest_ends(service: Metadata, ask: Ask, end: str) -> None:
    service.put(VPC, guest(0, FIRST))
    service.put(VPC, guest(1, FIRST))
    assert ask(FIRST) == guest(1).instance_id
    if end == "removed":
        service.remove(VPC, guest(0).instance_id)
    else:
        service.put(VPC, guest(0, SECOND))
        assert ask(SECOND) == guest(0).instance_id
    assert ask(FIRST) == guest(1).instance_id


def test_an_address_that_a_guest_gave_up_is_unknown(service: Metadata, ask: Ask) -> None:
    both = replace(interface(), private_addresses=(FIRST, SECOND))
    service.put(VPC, replace(guest(), interfaces=(both,)))
    assert ask(SECOND) == guest().instance_id
    service.put(VPC, guest())
    assert ask(SECOND) is None
    assert ask(FIRST) == guest().instance_id


def test_an_interface_is_known_in_its_own_vpc_only(service: Metadata, ask: Ask) -> None:
    who = replace(guest(), interfaces=(interface(0, FIRST), interface(1, SECOND, OTHER_VPC)))
    for vpc_id in (VPC, OTHER_VPC):
        service.put(vpc_id, who)
    assert [ask(FIRST), ask(SECOND, OTHER_VPC)] == [who.instance_id] * 2
    assert [ask(SECOND), ask(FIRST, OTHER_VPC)] == [None] * 2
    service.withdraw(OTHER_VPC)
    assert ask(SECOND, OTHER_VPC) is None
    assert ask(FIRST) == who.instance_id


def test_all_addresses_of_a_guest_share_its_rate_and_unknown_ones_have_none(service: Metadata) -> None:
    both = replace(interface(), private_addresses=(FIRST, SECOND), ipv6_addresses=("fd00::5",))
    service.put(VPC, replace(guest(), interfaces=(both,)))
    assert {service._identify((VPC, address)) for address in (FIRST, SECOND, "fd00::5")} == {guest().instance_id}
    strangers = ((VPC, "172.31.0.8"), (VPC, "172.31.0.9"), (OTHER_VPC, FIRST))
    assert {service._identify(stranger) for stranger in strangers} == {"172.31.0.8", "172.31.0.9", FIRST}


def test_a_closed_service_answers_nothing(service: Metadata, ask: Ask) -> None:
    service.put(VPC, guest())
    service.close()
    assert ask(FIRST) is None
    assert service.present() == {}


def test_a_guest_is_known_by_its_link_local_address_where_it_has_ipv6(service: Metadata, ask: Ask) -> None:
    """cloud-init asks so before it has any other address."""
    only = replace(interface(), private_addresses=(), ipv6_addresses=("fd00::5",), link_local_address="fe80::5")
    who = replace(guest(), interfaces=(only,))
    service.put(VPC, replace(who, options=replace(who.options, http_protocol_ipv6=True)))
    assert [ask("fe80::5"), ask("fd00::5"), ask("fe80::5", OTHER_VPC)] == [who.instance_id, who.instance_id, None]
    service.put(VPC, guest())
    assert ask("fe80::5") is None
    assert ask("") is None
