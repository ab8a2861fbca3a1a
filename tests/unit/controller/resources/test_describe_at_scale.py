"""Among 20,000 instances a filter costs what it finds: indexes are used, nothing is scanned."""

from functools import partial

import pytest
from sqlalchemy import event

from stead_controller.db.session import Database
from stead_controller.request.conditions import Selection
from stead_controller.request.filters import Filter
from stead_controller.resources import tags
from stead_controller.resources.instances import instance_status, instances
from stead_controller.resources.network import network_interfaces
from stead_controller.resources.storage import snapshots, volumes
from stead_controller.resources.storage.snapshots import SnapshotSelection
from tests.support import crowd, rows
from tests.support.rows import CLOUD

NUMBER = 20_000
STEPS_EACH = 100  # of SQLite's virtual machine, for each row found; a scan takes some for each row there is
GRAIN = 10  # steps between two looks
ACCOUNT_AND_ID = "ix_instances_account_id_id (account_id=? AND id=?)"


class Place:
    """A database with the crowd, and a way to see what a Describe does there."""

    def __init__(self, database, world, crowd_):
        self.database = database
        self.world = world
        self.crowd = crowd_
        self.caller = world.one.caller

    def plans(self, function, *args, **kwargs):
        """Call a function; give what it gave, and how SQLite went about each of its queries."""
        seen = []

        def note(_connection, _cursor, statement, parameters, *_rest):
            if statement.startswith("SELECT"):
                seen.append((statement, parameters))

        event.listen(self.database.engine, "before_cursor_execute", note)
        try:
            result = self.run(function, *args, **kwargs)
        finally:
            event.remove(self.database.engine, "before_cursor_execute", note)
        with self.database.engine.connect() as connection:
            plans = [
                " | ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters))
                for statement, parameters in seen
            ]
        return result, plans

    def run(self, function, *args, **kwargs):
        return self.database.run_blocking(lambda tx: function(tx, self.caller, *args, **kwargs), writes=False)

    def steps(self, function, *args, **kwargs):
        """How many steps of SQLite's virtual machine a call takes: no more on a busy machine than on an idle one."""
        taken, watched = 0, []

        def step():
            nonlocal taken
            taken += GRAIN
            return 0

        def watch(connection, *_rest):
            watched.append(connection.connection.dbapi_connection)
            watched[-1].set_progress_handler(step, GRAIN)

        event.listen(self.database.engine, "before_cursor_execute", watch)
        try:
            self.run(function, *args, **kwargs)
        finally:
            event.remove(self.database.engine, "before_cursor_execute", watch)
            for each in watched:
                each.set_progress_handler(None, GRAIN)
        assert watched
        return taken


@pytest.fixture(scope="module")
def place(tmp_path_factory, empty_database_file):
    path = tmp_path_factory.mktemp("crowd") / "stead.sqlite"
    path.write_bytes(empty_database_file)
    database = Database(f"sqlite:///{path}")
    world = database.run_blocking(rows.build_world)
    yield Place(database, world, database.run_blocking(lambda tx: crowd.settle(tx, world, world.one, NUMBER)))
    database.close()


def asking(*filters, **paging):
    return Selection(filters=tuple(Filter(name, values) for name, values in filters), **paging)


def enough_for(found):
    return STEPS_EACH * (found + 5)


def check(plans, *expected):
    for plan in plans:
        assert "SCAN" not in plan, plan
    for index in expected:
        assert any(index in plan for plan in plans), plans


@pytest.mark.parametrize(
    "case",
    [
        ("tag:team", ("needle",), crowd.RARE, "ix_tags_search (account_id=? AND key=? AND value=?)"),
        ("tag:Name", ("web-777",), 1, "ix_tags_search (account_id=? AND key=? AND value=?)"),
        ("instance-state-name", ("stopped",), crowd.RARE, "ix_instances_account_state (account_id=? AND state=?)"),
        ("instance-state-name", ("stopped", "stopping"), crowd.RARE, "ix_instances_account_state"),
        ("instance-state-code", ("80",), crowd.RARE, "ix_instances_account_state"),
        ("vpc-id", None, crowd.RARE, "ix_instances_account_vpc (account_id=? AND vpc_id=?)"),
    ],
)
@pytest.mark.parametrize("limit", [None, 1001])
def test_a_rare_filter_goes_by_an_index(place, case, limit):
    name, values, found, index = case
    asked = asking((name, values or (place.crowd.vpc_id,)), limit=limit)
    result, plans = place.plans(instances.select_ids, CLOUD, asked)
    assert len(result) == found
    check(plans, index)
    assert place.steps(instances.select_ids, CLOUD, asked) < enough_for(len(result))


@pytest.mark.parametrize("limit", [None, 1001])
def test_a_wildcard_looks_at_the_values_of_its_key_in_the_index(place, limit):
    asked = asking(("tag:Name", ("web-7777*",)), limit=limit)
    result, plans = place.plans(instances.select_ids, CLOUD, asked)
    assert len(result) == 1
    check(plans, "ix_tags_search (account_id=? AND key=?")
    assert place.steps(instances.select_ids, CLOUD, asked) < 10 * NUMBER


@pytest.mark.parametrize(
    ("name", "value"),
    [("tag:env", "prod"), ("tag-key", "Name"), ("instance-state-name", "running"), ("vpc-id", None)],
)
def test_a_page_of_a_common_filter_is_soon_full(place, name, value):
    for after in (None, ("i-08",)):
        asked = asking((name, (value or place.world.one.vpc_id,)), limit=1001, after=after)
        result, plans = place.plans(instances.select_ids, CLOUD, asked)
        assert len(result) == 1001
        assert result == sorted(result)
        check(plans)
        assert place.steps(instances.select_ids, CLOUD, asked) < enough_for(len(result))


def test_a_common_and_a_rare_filter_together_are_rare(place):
    asked = asking(("tag:env", ("prod",)), ("instance-state-name", ("stopped",)), limit=1001)
    result, plans = place.plans(instances.select_ids, CLOUD, asked)
    assert len(result) == crowd.RARE
    check(plans, "ix_instances_account_state")
    assert place.steps(instances.select_ids, CLOUD, asked) < enough_for(10 * crowd.RARE)


@pytest.mark.parametrize("after", [None, ("i-08",)])
def test_a_page_of_all_is_a_piece_of_an_index(place, after):
    asked = asking(limit=1001, after=after)
    result, plans = place.plans(instances.select_ids, CLOUD, asked)
    assert len(result) == 1001
    check(plans, "COVERING INDEX ix_instances_account_id_id (account_id=? AND id>?)")
    assert not any("TEMP B-TREE" in plan for plan in plans)
    assert place.steps(instances.select_ids, CLOUD, asked) < enough_for(len(result))


def test_pages_with_a_filter_cover_all_once(place):
    everything = place.run(instances.select_ids, CLOUD, asking(("tag:team", ("blue",))))
    assert len(everything) == NUMBER - crowd.RARE
    seen, after = 0, None
    for _ in range(3):
        result = place.run(instances.select_ids, CLOUD, asking(("tag:team", ("blue",)), limit=50, after=after))
        assert result == everything[seen : seen + 50]
        seen, after = seen + 50, (result[-1],)


def test_a_thousand_instances_are_shown_by_six_queries(place):
    ids = place.run(instances.select_ids, CLOUD, asking(limit=1000))
    result, plans = place.plans(instances.reservations, CLOUD, ids)
    assert sum(len(list(reservation.instances)) for reservation in result) == 1000
    assert len(plans) == 6
    check(
        plans,
        "sqlite_autoindex_tags_1 (resource_id=?)",
        "ix_volumes_instance_id (instance_id=?)",
        "ix_network_interfaces_instance_id (instance_id=?)",
        "ix_public_addresses_private (interface_id=? AND private_address=?)",
        "sqlite_autoindex_interface_groups_1 (interface_id=?)",
    )


def test_what_hangs_on_an_instance_is_found_by_it(place):
    (instance_id,) = place.run(instances.select_ids, CLOUD, asking(("tag:Name", ("web-5",))))
    for limit in (None, 1001):
        asked = asking(("attachment.instance-id", (instance_id, "i-0123")), limit=limit)
        for describe in (volumes.describe, network_interfaces.describe):
            result, plans = place.plans(describe, CLOUD, asked)
            assert len(result) == 1
            check(plans)
            assert place.steps(describe, CLOUD, asked) < enough_for(len(result))


@pytest.mark.parametrize("limit", [None, 1001])
def test_snapshots_and_volumes_are_found_by_what_they_are_of(place, limit):
    """By an index at least: SQLite, which has no statistics, may take the account's for as good as the filter's own."""
    ids = place.run(volumes.describe, CLOUD, asking(("snapshot-id", ("snap-0123456789abcde00",)), limit=limit))
    assert len(ids) == crowd.RARE
    volume_id = ids[0].volume.id
    for describe, asked, found in (
        (partial(volumes.describe, cloud=CLOUD), asking(("snapshot-id", ("snap-0123456789abcde00",)), limit=limit), 20),
        (partial(volumes.describe, cloud=CLOUD), asking(("volume-id", (volume_id,)), limit=limit), 1),
        (snapshots.describe, SnapshotSelection(asking(("volume-id", (volume_id,)), limit=limit)), 1),
        (snapshots.describe, SnapshotSelection(asking(("volume-id", (volume_id,)), limit=limit), owners=("self",)), 1),
        (snapshots.describe, SnapshotSelection(asking(("status", ("pending",)), limit=limit)), crowd.RARE),
    ):
        result, plans = place.plans(describe, asked=asked)
        assert len(result) == found
        check(plans)


def test_a_page_of_volumes_or_snapshots_is_a_piece_of_an_index(place):
    for describe, asked in (
        (partial(volumes.describe, cloud=CLOUD), asking(limit=101)),
        (snapshots.describe, SnapshotSelection(asking(limit=101))),
        (snapshots.describe, SnapshotSelection(asking(limit=101), owners=("self",))),
        (snapshots.describe, SnapshotSelection(asking(limit=101), restorable_by=("self",))),
    ):
        result, plans = place.plans(describe, asked=asked)
        assert len(result) == 101
        check(plans)
        assert place.steps(describe, asked=asked) < enough_for(len(result)), asked


def test_the_status_of_a_page_and_its_tags(place):
    asked = asking(limit=101)
    result, plans = place.plans(instance_status.describe, CLOUD, asked, only_running=True)
    assert len(result) == 101
    check(plans)
    result, plans = place.plans(tags.describe_tags, asking(("tag:team", ("needle",)), limit=101))
    assert len(result) == crowd.RARE
    check(plans, "ix_tags_search (account_id=? AND key=? AND value=?)")


def test_another_account_sees_none_of_them_at_once(place):
    place.caller, mine = place.world.other.caller, place.caller
    try:
        for filters in ((), (("tag:env", ("prod",)),), (("instance-state-name", ("running",)),)):
            asked = asking(*filters)
            assert place.run(instances.select_ids, CLOUD, asked) == []
            assert place.steps(instances.select_ids, CLOUD, asked) < enough_for(0)
    finally:
        place.caller = mine
