"""What becomes due by time alone, and how much of it one transaction does."""

from datetime import timedelta
from operator import attrgetter
from pathlib import Path

import pytest
from sqlalchemy import event, func, insert, select

from stead_controller.db.tables import (
    CapacityReservation,
    ClientToken,
    DedicatedHost,
    EndedCidrBlock,
    EnrolmentToken,
    HostError,
    HostToken,
    Instance,
    InstanceEvent,
    NatGateway,
    PublicAddress,
    Reservation,
    Snapshot,
    SnapshotTier,
    SpotRequest,
    Tag,
    VpcEndpointInterface,
    VpcPeeringConnection,
)
from stead_controller.metering import amounts
from stead_controller.metering.amounts import Count
from stead_controller.settings import Settings
from stead_controller.workflows import housekeeping
from tests.support import rows
from tests.support.rows import NOW
from tests.unit.controller.test_due_works import filled

SETTINGS = Settings(Path("/nowhere"))


@pytest.fixture
def terminated(database, world):
    """Instances that were terminated so many seconds ago; gives their ids."""

    def make(*seconds):
        def add(tx):
            made = [
                rows.launch(tx, world, world.one, number=number, tags={"a": "b"}, state="terminated")
                for number in range(len(seconds))
            ]
            for instance, ago in zip(made, seconds, strict=True):
                instance.state_changed = NOW - timedelta(seconds=ago)
            return [instance.id for instance in made]

        return database.run_blocking(add)

    return make


def left(database):
    def look(tx):
        ids = {each.id for each in tx.session.query(Instance)}
        counts = tx.session.query(Reservation).count(), tx.session.query(Tag).count()
        return ids, counts

    return database.run_blocking(look)


def test_terminated_instances_are_forgotten_after_an_hour(database, terminated):
    seconds = SETTINGS.terminated_kept_seconds
    _, stays = terminated(seconds, seconds - 1)
    assert database.run_blocking(lambda tx: housekeeping.clean_up(tx, SETTINGS, NOW)) is False
    assert left(database) == ({stays}, (1, 1))


def test_counters_are_forgotten_with_their_instance(database, terminated):
    goes, stays = terminated(SETTINGS.terminated_kept_seconds, 0)
    counts = [Count(one, "n", "a", 5) for one in (goes, stays)]
    database.run_blocking(lambda tx: amounts.grown(tx, counts))
    database.run_blocking(lambda tx: housekeeping.clean_up(tx, SETTINGS, NOW))
    assert database.run_blocking(lambda tx: amounts.grown(tx, counts)) == [5, 0]


def test_of_very_many_the_rest_is_due_at_once(database, terminated, monkeypatch):
    """More can end while one waits than a transaction deletes: rows of terminated instances would grow without end."""
    monkeypatch.setattr(housekeeping, "_BATCH", 2)
    terminated(*[SETTINGS.terminated_kept_seconds] * 5)
    runs = [database.run_blocking(lambda tx: housekeeping.clean_up(tx, SETTINGS, NOW)) for _ in range(3)]
    assert runs == [True, True, False]
    assert left(database) == (set(), (0, 0))


WORKS = {
    Instance: ["_end_late_launches", "_end_late_recoveries", "_forget_terminated", "spot_interruptions.end_due"],
    NatGateway: ["_end_late_gateways", "_forget_gateways"],
    VpcEndpointInterface: ["vpc_endpoint_interfaces.place_waiting"],
    Snapshot: ["snapshot_life.fail_late", "written_snapshots.fail_late"],
    SnapshotTier: ["snapshot_tier_life.archive_again"],
    HostError: ["volume_attachments.end_damaged"],
    VpcPeeringConnection: ["vpc_peering_connections.expire"],
    CapacityReservation: ["capacity_reservations.expire", "capacity_reservations.forget"],
    SpotRequest: ["waiting_spot_requests.expire", "waiting_spot_requests.forget"],
    InstanceEvent: ["instance_events.carry_out", "instance_events.forget_old"],
    DedicatedHost: ["dedicated_hosts.forget"],
    EndedCidrBlock: ["ended_cidr_blocks.forget_old"],
}


@pytest.mark.parametrize("table", [None, *WORKS])
def test_what_a_table_without_rows_cannot_need_is_not_done(database, monkeypatch, table):
    done = []
    for name in (name for names in WORKS.values() for name in names):
        module, _, function = name.rpartition(".")
        owner = attrgetter(module)(housekeeping) if module else housekeeping
        monkeypatch.setattr(owner, function, lambda *_, name=name: done.append(name) or 0)
    monkeypatch.setattr(housekeeping, "forget_removals", lambda *_: done.append("always"))

    def clean_up(tx):
        tx.connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        if table is not None:
            tx.session.execute(insert(table).values(filled(table, {})))
        housekeeping.clean_up(tx, SETTINGS, NOW)

    database.run_blocking(clean_up, dry_run=True)
    assert done == [*WORKS.get(table, ()), "always"]


@pytest.mark.parametrize(
    ("table", "due"),
    [
        (PublicAddress, {"released": NOW - timedelta(seconds=SETTINGS.address_rest_seconds)}),
        (ClientToken, {"created": NOW - housekeeping.LIFETIME}),
        (EnrolmentToken, {"expires": NOW}),
        (HostToken, {"expires": NOW}),
    ],
)
def test_rows_are_deleted_when_they_are_due(database, table, due):
    ((column, moment),) = due.items()

    def left(tx, **values):
        tx.connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        tx.session.execute(insert(table).values(filled(table, values)))
        housekeeping.clean_up(tx, SETTINGS, NOW)
        return tx.session.scalar(select(func.count()).select_from(table))

    for after, number in ((0, 0), (1, 1)):
        values = {column: moment + timedelta(milliseconds=after)}
        assert database.run_blocking(lambda tx, values=values: left(tx, **values), dry_run=True) == number


def test_an_empty_cloud_costs_few_statements(database):
    asked = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    database.run_blocking(lambda tx: housekeeping.clean_up(tx, SETTINGS, NOW))
    assert len(asked) < 10
