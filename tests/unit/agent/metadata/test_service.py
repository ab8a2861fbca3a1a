"""Whose metadata it is: the guest that has the address now, in the VPC that the question came from."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stead_agent.metadata.http import Request
from stead_agent.metadata.interface import MetadataError, PushedKey
from stead_agent.metadata.service import MOST_KEYS, Metadata
from tests.support.metadata_guests import VPC, guest, interface

OTHER_VPC = "vpc-0123456789abcdef1"
TTL, TOKEN = "x-aws-ec2-metadata-token-ttl-seconds", "x-aws-ec2-metadata-token"
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


def test_requests_without_a_token_are_counted(service: Metadata, ask: Ask) -> None:
    name = guest().instance_id

    def counted() -> tuple[int, int]:
        found = service.uses()[name]
        return found.without_token, found.refused

    service.put(VPC, guest(0, FIRST))
    service.put(OTHER_VPC, replace(guest(0, SECOND, OTHER_VPC)))
    assert counted() == (0, 0)
    assert ask(FIRST) == ask(FIRST) == ask(SECOND, OTHER_VPC) == name
    assert counted() == (3, 0)
    key = PushedKey("ec2-user", "ssh-ed25519 AAAA", 2e12, "somebody", "1")
    service.push_key(name, key)
    token = service._answer((VPC, FIRST), Request("PUT", "/latest/api/token", {TTL: "60"}, keep_alive=False)).body
    by_token = {TOKEN: token.decode()}
    for path, headers in (("/latest/meta-data/instance-id", by_token), ("/latest/meta-data/nothing", {})):
        service._answer((VPC, FIRST), Request("GET", path, headers, keep_alive=False))
    assert counted() == (3, 0), "neither a token, nor a request by it, nor what is not there"
    required = replace(guest(0, FIRST), options=replace(guest().options, http_tokens_required=True))
    service.put(VPC, required)
    assert ask(FIRST) is None
    assert counted() == (3, 1)
    service._answer((VPC, FIRST), Request("GET", "/latest/meta-data/", {TOKEN: "forged"}, keep_alive=False))
    assert counted() == (3, 1)
    assert service.uses()[name].process == service.uses()[name].process != ""
    service.remove(VPC, name)
    assert counted() == (1, 0)


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


KEYS = "/latest/meta-data/managed-ssh-keys/active-keys"


class Clock:
    """A clock that is set by hand."""

    seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def timed(tmp_path: Path) -> Iterator[tuple[Metadata, Clock]]:
    """A service that listens nowhere, and its clock."""
    clock = Clock()
    made = Metadata(tmp_path, clock)
    yield made, clock
    made.close()


def _read(service: Metadata, path: str, address: str = FIRST, vpc_id: str = VPC) -> str | None:
    response = service._answer((vpc_id, address), Request("GET", path, {}, keep_alive=False))
    return response.body.decode() if response.status == 200 else None


def _key(user: str, material: str, expires: int = 1_060) -> PushedKey:
    return PushedKey(user, f"ssh-ed25519 {material}", expires, "arn:aws:iam::123456789012:user/ann", "request-1")


def test_a_pushed_key_is_its_users_until_it_expires(timed: tuple[Metadata, Clock]) -> None:
    """In the form that EC2's reader of such keys takes apart, which sshd reads as well."""
    service, clock = timed
    service.put(VPC, guest())
    assert _read(service, KEYS) is None
    service.push_key(guest().instance_id, _key("ec2-user", "AAAA"))
    service.push_key(guest().instance_id, _key("ec2-user", "BBBB", 1_080))
    service.push_key(guest().instance_id, _key("root", "CCCC", 1_080))
    facts = "#Instance=i-0123456789abcde00\n#Caller=arn:aws:iam::123456789012:user/ann\n#Request=request-1\n"
    both = [
        f"#Timestamp=1060\n{facts}ssh-ed25519 AAAA\n\n",
        f"#Timestamp=1080\n{facts}ssh-ed25519 BBBB\n\n",
    ]
    assert _read(service, f"{KEYS}/") == "ec2-user\nroot"
    assert _read(service, f"{KEYS}/ec2-user/") == "".join(both)
    clock.seconds = 1_060
    assert _read(service, f"{KEYS}/ec2-user") == both[1]
    clock.seconds = 1_080
    assert _read(service, KEYS) is None
    assert _read(service, "/latest/meta-data/managed-ssh-keys") is None


def test_a_pushed_key_stays_when_the_guest_changes_and_is_no_other_guests(timed: tuple[Metadata, Clock]) -> None:
    service, _ = timed
    two = (interface(0, FIRST), interface(1, SECOND, OTHER_VPC))
    for vpc_id in (VPC, OTHER_VPC):
        service.put(vpc_id, replace(guest(), interfaces=two))
    service.put(VPC, guest(1, "172.31.0.9"))
    service.push_key(guest().instance_id, _key("root", "AAAA"))
    service.put(VPC, replace(guest(), interfaces=two, hostname="another"))
    assert "AAAA" in (_read(service, f"{KEYS}/root") or "")
    assert "AAAA" in (_read(service, f"{KEYS}/root", SECOND, OTHER_VPC) or "")
    assert _read(service, KEYS, "172.31.0.9") is None
    service.remove(VPC, guest().instance_id)
    service.put(VPC, guest())
    assert _read(service, KEYS) is None


def test_a_guest_has_so_many_keys_at_a_time(timed: tuple[Metadata, Clock]) -> None:
    service, clock = timed
    with pytest.raises(MetadataError, match="has no metadata here"):
        service.push_key(guest().instance_id, _key("root", "AAAA"))
    service.put(VPC, guest())
    for number in range(MOST_KEYS):
        service.push_key(guest().instance_id, _key(f"user{number}", "AAAA"))
    with pytest.raises(MetadataError, match="none has expired"):
        service.push_key(guest().instance_id, _key("root", "AAAA"))
    clock.seconds = 1_060
    service.push_key(guest().instance_id, _key("root", "AAAA", 1_120))
    assert _read(service, KEYS) == "root"
