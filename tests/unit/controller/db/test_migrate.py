import pytest
from sqlalchemy import select

from stead_controller.clock import now
from stead_controller.db.migrate import differences, upgrade
from stead_controller.db.session import Database
from stead_controller.db.tables import Account


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'test.sqlite'}")
    upgrade(database.engine)
    yield database
    database.close()


def test_the_migrations_make_what_the_tables_say(database):
    assert differences(database.engine) == []


def test_migrating_again_changes_nothing(database):
    upgrade(database.engine)
    assert differences(database.engine) == []


def account(number):
    return Account(id=f"{number:012}", name=f"account {number}", created=now())


async def test_a_transaction_that_raises_leaves_nothing(database):
    def fails(tx):
        tx.session.add(account(1))
        tx.session.flush()
        raise LookupError

    with pytest.raises(LookupError):
        await database.run(fails)
    assert await database.run(lambda tx: tx.session.scalars(select(Account.id)).all(), writes=False) == []


async def test_a_dry_run_checks_and_keeps_nothing(database):
    def adds(tx):
        tx.session.add(account(2))
        tx.wake_hosts.add("h-1")
        return "done"

    woken = []
    database.on_commit(lambda tx: woken.extend(tx.wake_hosts))
    assert await database.run(adds, dry_run=True) == "done"
    assert await database.run(lambda tx: tx.session.scalars(select(Account.id)).all(), writes=False) == []
    assert woken == []
    await database.run(adds)
    assert woken == ["h-1"]


async def test_times_come_back_as_they_went_in(database):
    made = account(3)
    await database.run(lambda tx: tx.session.add(made))
    created = await database.run(lambda tx: tx.session.scalars(select(Account.created)).one(), writes=False)
    assert created == made.created
