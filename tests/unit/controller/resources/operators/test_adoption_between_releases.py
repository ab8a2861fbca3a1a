"""Beside an agent or a controller of the release before, which know no rows: a reason is said, and nothing is harmed."""

import pytest

from stead_controller.errors import WrongState
from stead_controller.hosts.reports import apply_progress
from stead_controller.resources.operators import unclaimed_resources
from stead_proto.v1 import desired_pb2 as desired
from tests.support import kept
from tests.support.rows import NOW
from tests.unit.controller.resources.operators import lost_changes as lost
from tests.unit.controller.resources.operators import test_adopted_endpoints as endpoints
from tests.unit.controller.resources.operators import test_adopted_vpcs as vpcs

BEFORE = frozenset({desired.KIND_MACHINE, desired.KIND_INTERFACE, desired.KIND_VOLUME})
"""Kinds of which an agent of before says all."""

NETWORK = kept.REPORTED - BEFORE - {desired.KIND_BASE, desired.KIND_SNAPSHOT}
MADE = [*endpoints.MADE, *vpcs.MADE]
LESS = "the controller of an earlier release told it less"


@pytest.fixture
def refused(database, run, world):
    """Try to adopt something: it is refused in these words; nothing has changed, and it is still listed."""

    def everything():
        with database.engine.connect() as connection:
            return kept.rows_of(connection)

    def call(resource_id, words):
        before, listed = everything(), run(unclaimed_resources.list_all)
        with pytest.raises(WrongState, match=words):
            run(lost.adopt, world, resource_id)
        assert everything() == before
        assert run(unclaimed_resources.list_all) == listed
        assert resource_id in {each.id for each in listed}

    return call


def report(database, before, silent):
    """Let hosts report what they keep, without a word of what is in some kinds."""
    for host_id in before.hosts:
        statuses = before.statuses(host_id)
        for each in statuses:
            if each.kind in silent:
                each.unclaimed.ClearField("resource")
        database.run_blocking(lambda tx, host_id=host_id, said=statuses: apply_progress(tx, [(host_id, said)], NOW))


def lose(database, world, make, change=lambda _before: None):
    before = kept.lose(database, world.cloud, [world.host_id], lambda tx: make(tx, world))
    change(before)
    return before


@pytest.mark.parametrize("make", MADE, ids=lambda each: each.__name__)
def test_a_controller_of_before_told_this_agent_no_rows(database, world, life, refused, make):
    before = lose(database, world, make, lost.without_rows(*NETWORK))
    kept.report(database, before)
    refused(before.made, LESS)


@pytest.mark.parametrize("make", MADE, ids=lambda each: each.__name__)
def test_an_agent_of_before_says_nothing_of_networks_until_it_is_upgraded(database, world, life, refused, make):
    before = lose(database, world, make)
    report(database, before, NETWORK)
    refused(before.made, LESS)
    kept.report(database, before)
    life.run(lost.adopt, world, before.made)
    vpcs.require_same(database, before, **endpoints.ENDPOINTS)


PARTS = [
    desired.KIND_SUBNET,
    desired.KIND_ROUTE_TABLE,
    desired.KIND_NETWORK_ACL,
    desired.KIND_SECURITY_GROUP,
    desired.KIND_VPC_ENDPOINT,
    desired.KIND_FLOW_LOG,
]


def with_one_of_each(tx, world):
    """A VPC with a gateway endpoint and a flow log."""
    vpc_id, subnet_id = vpcs.vpc(tx, world)
    endpoints.endpoint(tx, world, vpc_id, "s3")
    endpoints.logged(tx, world, "VPC", vpc_id)
    return lost.launch(tx, world, subnet_id=subnet_id)


@pytest.mark.parametrize("kind", PARTS, ids=desired.Kind.Name)
def test_a_vpc_is_not_made_again_without_one_of_its_parts(database, world, life, refused, kind):
    before = lose(database, world, with_one_of_each, lost.without_rows(kind))
    kept.report(database, before)
    refused(before.made, "does not know enough of .*, as the controller of an earlier release")


def test_a_vpc_is_nothing_without_its_own_rows(database, world, life, refused):
    before = lose(database, world, with_one_of_each, lost.without_rows(desired.KIND_VPC))
    kept.report(database, before)
    refused(before.made, "refers to what is not known: .*vpc-.*: its host has not said enough of it")


SILENT = {
    desired.KIND_ROUTE_TABLE: "The main route table of vpc-.* is not known .rtb-.*: its host has not said enough",
    desired.KIND_NETWORK_ACL: "refers to what is not known: .*acl-.*: its host has not said enough of it",
}


@pytest.mark.parametrize("kind", SILENT, ids=desired.Kind.Name)
def test_a_part_that_is_too_large_to_say_is_named(database, world, life, refused, kind):
    before = lose(database, world, with_one_of_each)
    report(database, before, {kind})
    refused(before.made, SILENT[kind])


def test_what_is_in_another_vpc_does_not_matter(database, run, world, life):
    def make(tx, world):
        other, _ = vpcs.vpc(tx, world, "10.8.0.0/16")
        return other, with_one_of_each(tx, world)

    before = lose(database, world, make)
    other, instance_id = before.made
    for wanted in before.hosts.values():
        for key, each in wanted.resources.items():
            if key.kind == desired.KIND_SUBNET and each.subnet.vpc_id == other:
                each.subnet.ClearField("rows")
    kept.report(database, before)
    run(lost.adopt, world, instance_id)
    assert instance_id not in {each.id for each in run(unclaimed_resources.list_all)}
