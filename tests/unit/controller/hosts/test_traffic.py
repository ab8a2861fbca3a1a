"""Bytes that hosts tell of are billed: to the internet, between zones, through NAT gateways; each once."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from stead_controller.db.tables import Host, Instance, NatGateway, Subnet, UsageAmount
from stead_controller.hosts import traffic
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows
from tests.support.rows import NOW

OUT, REGIONAL, NAT = "DataTransfer-Out-Bytes", "DataTransfer-Regional-Bytes", "NatGateway-Bytes"
HERE, THERE = "10.9.0.1", "10.9.0.2"


@pytest.fixture
def instance(life):
    (made,) = life.launch()
    other = rows.host(zone="us-east-1b")

    def prepare(tx):
        tx.session.get_one(Host, life.world.host_id).underlay_address = HERE
        other.underlay_address = THERE
        tx.session.add(other)

    life.run(prepare)
    return made


@pytest.fixture
def gateway(life, instance):
    def make(tx):
        subnet = tx.session.scalars(select(Subnet)).first()
        tx.session.add(
            NatGateway(
                id="nat-0123456789abcdef0", account_id=life.caller.account_id, vpc_id=subnet.vpc_id, subnet_id=subnet.id,
                connectivity="public", state="available", state_changed=NOW, created=NOW, host_id=life.world.host_id,
            )
        )  # fmt: skip
        return "nat-0123456789abcdef0"

    return life.run(make)


def tell(life, *passed, epoch="e", host=None, seconds=0):
    words = [pb.Passed(id=one, way=way, bytes=count, host_address=at) for one, way, count, at in passed]
    message = pb.Measurements(number=1, passed=words, epoch=epoch)
    life.run(traffic.bill, host or life.world.host_id, message, NOW + timedelta(seconds=seconds))


def billed(life):
    found = life.run(lambda tx: tx.session.scalars(select(UsageAmount)).all())
    assert all(row.account_id == life.caller.account_id for row in found)
    return {(row.resource_id, row.usage, row.operation): row.amount for row in found}


def zones(life):
    return set(life.run(lambda tx: tx.session.scalars(select(UsageAmount.zone)).all()))


def test_what_leaves_for_the_internet_is_billed_once(life, instance):
    for total in (100, 100, 70, 250):
        tell(life, (instance, pb.WAY_TO_INTERNET, total, ""))
    assert billed(life) == {(instance, OUT, "RunInstances"): 250}
    tell(life, (instance, pb.WAY_TO_INTERNET, 5, ""), epoch="f")
    tell(life, (instance, pb.WAY_TO_INTERNET, 251, ""))
    assert billed(life) == {(instance, OUT, "RunInstances"): 256}


def test_a_gateway_is_billed_for_both_directions(life, gateway):
    tell(life, (gateway, pb.WAY_TO_INTERNET, 100, ""), (gateway, pb.WAY_FROM_INTERNET, 900, ""))
    assert billed(life) == {(gateway, OUT, "NatGateway"): 100, (gateway, NAT, "NatGateway"): 1000}
    assert zones(life) == {"us-east-1a"}
    tell(life, (gateway, pb.WAY_TO_HOST, 50, HERE))
    assert billed(life)[gateway, NAT, "NatGateway"] == 1000, "it comes from its clients, who are billed"


def test_what_is_sent_to_another_zone_is_billed_for_both_ends(life, instance):
    tell(life, (instance, pb.WAY_TO_HOST, 100, THERE), (instance, pb.WAY_TO_HOST, 40, HERE))
    tell(life, (instance, pb.WAY_TO_PEER_HOST, 7, THERE), (instance, pb.WAY_TO_HOST, 5, "10.9.0.3"))
    assert billed(life) == {
        (instance, REGIONAL, f"{kind}-{way}"): count
        for kind, count in (("InterZone", 100), ("VPCPeering", 7))
        for way in ("Out", "In")
    }


def test_what_an_instance_gets_from_the_internet_is_free(life, instance):
    tell(life, (instance, pb.WAY_FROM_INTERNET, 100, THERE), (instance, pb.WAY_UNSPECIFIED, 100, ""))
    assert billed(life) == {}


def test_a_host_speaks_of_what_it_has_or_had(life, instance, gateway):
    stranger = "host-0123456789abcdef0"
    for one in (instance, gateway, "i-0123456789abcdef0"):
        tell(life, (one, pb.WAY_TO_INTERNET, 100, ""), host=stranger)
    assert billed(life) == {}
    tell(life, (instance, pb.WAY_TO_INTERNET, 1, ""))
    tell(life, (instance, pb.WAY_TO_INTERNET, 100, ""), host=stranger)
    assert billed(life) == {(instance, OUT, "RunInstances"): 1}
    tell(life, (instance, pb.WAY_TO_INTERNET, 100, ""), (gateway, pb.WAY_TO_INTERNET, 50, ""))

    def leaves(tx):
        tx.session.get_one(Instance, instance).host_id = None
        tx.session.get_one(NatGateway, gateway).host_id = None

    life.run(leaves)
    tell(life, (instance, pb.WAY_TO_INTERNET, 130, ""), (gateway, pb.WAY_TO_INTERNET, 60, ""))
    assert {key[:2]: count for key, count in billed(life).items()} == {
        (instance, OUT): 130, (gateway, OUT): 60, (gateway, NAT): 60,
    }  # fmt: skip


def test_an_hour_that_is_over_stays(life, instance):
    tell(life, (instance, pb.WAY_TO_INTERNET, 100, ""))
    tell(life, (instance, pb.WAY_TO_INTERNET, 300, ""), seconds=3600)
    found = life.run(lambda tx: tx.session.scalars(select(UsageAmount.amount).order_by(UsageAmount.hour)).all())
    assert found == [100, 200]
