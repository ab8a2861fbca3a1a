"""Each host has an address of its own, and is sent where all others are."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from stead_controller.db.tables import Host, HostResource, NetworkInterface, PublicAddress, VpcResource
from stead_controller.desired import host_networks
from stead_controller.errors import AlreadyExists, InvalidParameter, LimitExceeded
from stead_controller.hosts.enrolment import Machine, create_token, enrol_host
from stead_controller.hosts.facts import Taken, take_facts
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.instances.run_instances import run_instances
from stead_controller.resources.network import address_pools, host_addresses, unclaimed_addresses
from stead_controller.resources.operators import host_records
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support.rows import CLOUD, NOW

SMALL = replace(CLOUD, public_pools=("192.0.2.0/29",))


def enrol(run, cloud=CLOUD, former=()):
    token, _ = run(create_token, "us-east-1a", timedelta(hours=1), NOW)
    return run(enrol_host, cloud, token, Machine("box", *former), NOW)


def hello(run, host_id, address, cloud=CLOUD):
    facts = pb.HostFacts(hostname="box", architecture="x86_64", cpus=8, memory=1 << 34, underlay_address=address)
    (taken,) = run(take_facts, [(host_id, pb.Hello(facts=facts))], cloud, NOW)
    return taken


def sent(run, host_id):
    query = select(HostResource.body).where(
        HostResource.host_id == host_id, HostResource.kind == desired.KIND_HOST_NETWORK
    )
    return desired.Resource.FromString(run(lambda tx: tx.session.scalars(query).one())).host_network


def pool_address(run, host_id):
    return run(lambda tx: tx.session.get_one(Host, host_id).pool_address)


def test_no_two_hosts_have_the_same_address_and_the_first_has_the_first(run):
    hosts = [enrol(run) for _ in range(3)]
    assert [pool_address(run, each) for each in hosts] == ["198.18.0.1", "198.18.0.2", "198.18.0.3"]


def test_a_hosts_address_is_given_to_no_interface(run):
    held = [pool_address(run, enrol(run, SMALL)) for _ in range(3)]
    given = [run(address_pools.take_free, SMALL, "111111111111", NOW) for _ in range(3)]
    assert set(held).isdisjoint(given)
    with pytest.raises(LimitExceeded):
        run(address_pools.take_free, SMALL, "111111111111", NOW)
    with pytest.raises(LimitExceeded):
        enrol(run, SMALL)
    assert run(lambda tx: len(tx.session.scalars(select(Host)).all())) == 3


def test_hosts_of_before_get_theirs_at_the_next_start(run, world):
    later = enrol(run)
    run(lambda tx: tx.session.execute(PublicAddress.__table__.delete()))
    run(lambda tx: setattr(tx.session.get_one(Host, later), "pool_address", ""))
    run(lambda tx: setattr(tx.session.get_one(Host, later), "created", NOW + timedelta(days=1)))
    run(host_addresses.take_missing, CLOUD, NOW)
    assert pool_address(run, world.host_id) == "198.18.0.1"
    assert pool_address(run, later) == "198.18.0.2"
    run(host_addresses.take_missing, CLOUD, NOW)
    assert pool_address(run, later) == "198.18.0.2"
    run(host_addresses.take_missing, replace(CLOUD, public_pools=("192.0.2.0/24",)), NOW)
    assert pool_address(run, later).startswith("192.0.2.")


def test_a_host_of_a_lost_cloud_keeps_its_address_where_it_can(run):
    """Whoever joins first would otherwise take that of one which has not joined yet."""
    wanted = ("198.18.0.9", "198.18.0.9", "192.0.2.4", "198.18.0.0", "nonsense", "")
    joined = [enrol(run, former=(f"h-0123456789abcdef{number}", each)) for number, each in enumerate(wanted)]
    given = [pool_address(run, each) for each in joined]
    assert given == ["198.18.0.9", *(f"198.18.255.{254 - number}" for number in range(5))], "none that a host may have"
    run(unclaimed_addresses.end_return)
    assert pool_address(run, enrol(run, former=("h-0123456789abcdef9", "198.18.0.9"))) == "198.18.0.7"


def test_hosts_are_sent_the_addresses_of_all(run):
    one, two = enrol(run), enrol(run)
    assert hello(run, one, "10.0.0.1") is Taken.MOVED
    assert hello(run, one, "10.0.0.1") is Taken.KNOWN
    assert hello(run, two, "10.0.0.2") is Taken.MOVED
    run(host_networks.refresh_all, CLOUD)
    for host_id, address in ((one, "198.18.0.1"), (two, "198.18.0.2")):
        network = sent(run, host_id)
        assert network.host_address == address
        assert list(network.public_pools) == list(CLOUD.public_pools)
        assert list(network.ipv6_pools) == [CLOUD.ipv6_pool]
        assert list(network.underlay_addresses) == ["10.0.0.1", "10.0.0.2"]
    run(host_records.remove_host, CLOUD, one, NOW, lost=False)
    assert list(sent(run, two).underlay_addresses) == ["10.0.0.2"]


def test_an_unchanged_state_is_not_sent_again(run):
    hosts = [enrol(run) for _ in range(3)]
    for number, host_id in enumerate(hosts):
        hello(run, host_id, f"10.0.0.{number}")
    run(host_networks.refresh_all, CLOUD)

    def bodies():
        rows = run(lambda tx: tx.session.scalars(select(HostResource).where(HostResource.host_id.in_(hosts))).all())
        return {row.host_id: (row.body, row.revision) for row in rows}

    before = bodies()
    assert sorted(before) == sorted(hosts)
    run(host_networks.refresh_all, CLOUD)
    run(lambda tx: host_networks.refresh(tx, tx.session.get_one(Host, hosts[0]), CLOUD))
    assert bodies() == before
    hello(run, hosts[1], "10.0.0.9")
    run(host_networks.refresh_all, CLOUD)
    after = bodies()
    assert all(after[host_id][1] > before[host_id][1] for host_id in hosts)
    assert list(sent(run, hosts[2]).underlay_addresses) == ["10.0.0.0", "10.0.0.2", "10.0.0.9"]


def test_a_removed_hosts_address_rests(run):
    one = enrol(run)
    run(host_records.remove_host, CLOUD, one, NOW, lost=False)
    assert pool_address(run, enrol(run)) == "198.18.0.2"
    token, _ = run(create_token, "us-east-1a", timedelta(days=1), NOW)
    late = run(enrol_host, CLOUD, token, Machine("box"), NOW + timedelta(hours=1))
    assert pool_address(run, late) == "198.18.0.3"


def test_a_host_that_moves_takes_the_mappings_of_its_interfaces_along(run, world):
    hello(run, world.host_id, "10.0.0.1")
    request = LaunchRequest(image_id=world.image_id, instance_type="stead.tiny", min_count=2, max_count=2)
    run(run_instances, world.one.caller, world.cloud, request, NOW)

    def where():
        query = select(VpcResource.body).where(VpcResource.kind == desired.KIND_MAPPING)
        bodies = run(lambda tx: tx.session.scalars(query).all())
        return [desired.Resource.FromString(body).mapping.host_address for body in bodies]

    assert where() == ["10.0.0.1"] * 2
    assert hello(run, world.host_id, "10.0.0.9") is Taken.MOVED
    assert where() == ["10.0.0.9"] * 2
    assert run(lambda tx: len(tx.session.scalars(select(NetworkInterface)).all())) == 2


def test_the_unknown_host_is_sent_nothing(run):
    assert hello(run, "h-00000000000000000", "10.0.0.1") is Taken.UNKNOWN
    assert run(lambda tx: tx.session.scalars(select(HostResource)).all()) == []


def test_a_host_of_a_lost_cloud_keeps_its_id_and_takes_no_other_hosts(run):
    token, _ = run(create_token, "us-east-1a", timedelta(hours=1), NOW)
    with pytest.raises(InvalidParameter, match="no host's id"):
        run(enrol_host, CLOUD, token, Machine("box", "i-0123456789abcdef0"), NOW)
    former = "h-0123456789abcdef0"
    assert run(enrol_host, CLOUD, token, Machine("box", former), NOW) == former
    token, _ = run(create_token, "us-east-1a", timedelta(hours=1), NOW)
    with pytest.raises(AlreadyExists, match=former):
        run(enrol_host, CLOUD, token, Machine("other", former), NOW)
    run(unclaimed_addresses.end_return)
    assert run(enrol_host, CLOUD, token, Machine("other"), NOW) not in {None, former}, "the token is still good"
