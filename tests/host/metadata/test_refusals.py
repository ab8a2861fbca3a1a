"""What an attacker tries to get another guest's metadata, or its own by a way that is not its own: all refused."""

import gzip
from dataclasses import replace

import pytest

from stead_agent.metadata.interface import Guest, Identity
from stead_agent.metadata.service import Metadata
from tests.host.metadata.conftest import Vm, Vpc, guest_of

pytestmark = pytest.mark.root
ATTACKER, VICTIM = "172.31.0.5", "172.31.0.6"
TOKEN = "X-aws-ec2-metadata-token"
LIFETIME = ("-H", "X-aws-ec2-metadata-token-ttl-seconds: 60")
SECRETS = ("meta-data/instance-id", "user-data", "dynamic/instance-identity/rsa2048", "meta-data/iam/", "meta-data/")


def secretive(vpc: Vpc, number: int, address: str) -> Guest:
    """A guest that demands tokens and has something to hide."""
    wanted = guest_of(vpc, number, address, http_tokens_required=True)
    return replace(wanted, user_data=b"#!/bin/sh\n", identity=Identity("{}", "c2ln", "bXNn"))


@pytest.fixture
def vms(service: Metadata, vpc: Vpc) -> tuple[Vm, Vm]:
    """The attacker and the victim, neighbours in one VPC."""
    made = vpc.vm(ATTACKER), vpc.vm(VICTIM)
    service.serve(vpc.vpc_id, vpc.path)
    for number, address in enumerate((ATTACKER, VICTIM)):
        service.put(vpc.vpc_id, secretive(vpc, number, address))
    return made


@pytest.mark.parametrize("path", SECRETS)
def test_nothing_is_answered_without_a_token_or_with_anothers(vms: tuple[Vm, Vm], path: str) -> None:
    attacker, victim = vms
    for words in ((), ("-H", f"{TOKEN}: {victim.token()}"), ("-H", f"{TOKEN}:"), ("-H", f"{TOKEN}: AQAEA=="), ("-I",)):
        assert attacker.curl(f"/latest/{path}", *words)[0] == 401, words


@pytest.mark.parametrize("value", ["127.0.0.1", VICTIM, f"{VICTIM}, {ATTACKER}", ""])
def test_no_token_goes_through_a_proxy(vms: tuple[Vm, Vm], value: str) -> None:
    header = f"X-Forwarded-For: {value}" if value else "X-Forwarded-For;"  # curl's way to send an empty one
    status, page = vms[0].curl("/latest/api/token", "-X", "PUT", *LIFETIME, "-H", header)
    assert status == 403
    assert page.startswith("<?xml")


def test_no_header_chooses_whose_metadata_it_is(vms: tuple[Vm, Vm]) -> None:
    mine = ("-H", f"{TOKEN}: {vms[0].token()}")
    for header in (
        f"X-Forwarded-For: {VICTIM}",
        f"X-Real-IP: {VICTIM}",
        f"Forwarded: for={VICTIM}",
        f"Host: {VICTIM}",
        "X-Instance-ID: i-0123456789abcde01",
        "X-Tenant-ID: 123456789012",
    ):
        assert vms[0].curl("/latest/meta-data/instance-id", *mine, "-H", header) == (200, "i-0123456789abcde00")


def test_a_token_dies_with_its_guest_though_the_address_lives_on(
    vms: tuple[Vm, Vm], service: Metadata, vpc: Vpc
) -> None:
    token_header = ("-H", f"{TOKEN}: {vms[1].token()}")
    assert vms[1].curl("/latest/meta-data/instance-id", *token_header)[0] == 200
    service.remove(vpc.vpc_id, "i-0123456789abcde01")
    assert vms[1].curl("/latest/meta-data/instance-id", *token_header)[0] == 404
    service.put(vpc.vpc_id, secretive(vpc, 2, VICTIM))
    assert vms[1].curl("/latest/meta-data/instance-id", *token_header)[0] == 401


def test_binary_user_data_comes_byte_for_byte(service: Metadata, vpc: Vpc) -> None:
    vm = vpc.vm(ATTACKER)
    service.serve(vpc.vpc_id, vpc.path)
    for content in (gzip.compress(b"#!/bin/sh\n"), bytes(range(256)) * 64):
        service.put(vpc.vpc_id, replace(guest_of(vpc), user_data=content))
        answer = vm.talk(b"GET /latest/user-data HTTP/1.0\r\n\r\n")
        assert answer.partition(b"\r\n\r\n")[2] == content
