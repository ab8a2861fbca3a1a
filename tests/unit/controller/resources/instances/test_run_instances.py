"""However much is there, a launch reads what it needs by an index, and no more."""

from functools import partial

import pytest
from sqlalchemy import event

from stead_controller.hosts.reports import apply_progress
from stead_controller.resources.instances import instances
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.instances.run_instances import run_instances
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support.rows import NOW

# Tables that grow with the instances of an account or of a host, and what finds too many of their rows.
_GROWS = ("host_resources", "instances", "interface_addresses", "network_interfaces", "public_addresses", "volumes")
_TOO_FEW = ("(account_id=?)", "(host_id=?)", "(vpc_id=?)", "(subnet_id=?)", "(snapshot_id=?)")


@pytest.fixture
def plans(database):
    """The plans of all SELECTs so far, each with its statement."""
    seen = {}

    def note(connection, cursor, statement, parameters, _context, many):
        if statement.startswith("SELECT") and not many:
            seen[statement] = parameters

    event.listen(database.engine, "before_cursor_execute", note)

    def explain():
        with database.engine.connect() as connection:
            for statement, parameters in list(seen.items()):
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
                yield statement, [row[3] for row in plan]

    return explain


def test_a_launch_and_its_report_read_nothing_that_grows(database, world, life, plans):
    request = LaunchRequest(world.image_id, "stead.tiny", 1, 1, tags={"instance": {"Name": "a"}})
    reservation_id = life.run(run_instances, life.caller, world.cloud, request, NOW)
    shown = life.run(
        partial(instances.reservation, caller=life.caller, cloud=world.cloud, reservation_id=reservation_id)
    )
    assert len(shown.members) == 1
    wanted = life.wanted()[0].values()
    (machine,) = (each for each in wanted if each.HasField("machine"))
    status = pb.MachineStatus(power=pb.MACHINE_POWER_RUNNING, start_count=1)
    report = pb.ResourceStatus(
        kind=desired.KIND_MACHINE,
        id=machine.id,
        condition=pb.CONDITION_READY,
        revision=machine.revision,
        machine=status,
    )
    life.run(apply_progress, [(world.host_id, [report])], NOW)
    found = [
        (statement, step)
        for statement, plan in plans()
        for step in plan
        if step.split()[1] in _GROWS and "host_resources.revision" not in statement
    ]
    assert len(found) > 10
    # Of hosts too it reads the first few of an index, however many there are.
    hosts = [step for _, plan in plans() for step in plan if "ix_hosts_room" in step]
    assert len(hosts) >= 5
    assert {step.partition("ix_hosts_room ")[2] for step in hosts} == {"(zone=? AND accelerated=? AND memory_free>?)"}
    for statement, step in found:
        assert step.startswith("SEARCH"), (statement, step)
        assert not step.endswith(_TOO_FEW) or "LIMIT" in statement, (statement, step)


def test_a_reservation_is_shown_to_its_account_only(world, life):
    request = LaunchRequest(world.image_id, "stead.tiny", 2, 2)
    reservation_id = life.run(run_instances, life.caller, world.cloud, request, NOW)

    def shown(caller):
        found = life.run(
            partial(instances.reservation, caller=caller, cloud=world.cloud, reservation_id=reservation_id)
        )
        return len(found.members)

    assert (shown(life.caller), shown(world.other.caller)) == (2, 0)
