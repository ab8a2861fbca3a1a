"""What is counted in the database."""

from datetime import timedelta

from stead_controller.db.tables import Workflow
from stead_controller.exposition.counts import Counts, Workflows, count
from tests.support import rows
from tests.support.rows import NOW


def test_hosts_instances_and_workflows(database, world):
    def change(tx):
        tx.session.add(rows.host(state="down", schedulable=False))
        tx.session.add(rows.host(revision=7, revision_reached=6))
        tx.session.add(rows.host(revision=7, revision_reached=7, schedulable=False))
        for number, state in enumerate(["running", "running", "stopped"]):
            rows.launch(tx, world, world.one, number=number, state=state)
        for number, (kind, age, tries) in enumerate([("copy_image", 60, 2), ("copy_image", 5, 0), ("reseal", -1, 0)]):
            tx.session.add(
                Workflow(
                    id=f"ami-{number:017x}", kind=kind, step="begin", facts="{}", tries=tries,
                    started=NOW - timedelta(seconds=age), due=NOW, deadline=NOW,
                )
            )  # fmt: skip

    database.run_blocking(change)
    assert database.run_blocking(lambda tx: count(tx, NOW), writes=False) == Counts(
        hosts={"up": 3, "down": 1},
        hosts_cordoned=2,
        hosts_behind=1,
        instances={"running": 2, "stopped": 1},
        workflows={"copy_image": Workflows(2, 60.0, 1), "reseal": Workflows(1, 0.0, 0)},
    )
