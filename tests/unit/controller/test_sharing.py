"""Who is told when others come, when this controller begins to lead, and when it loses its database."""

import asyncio
from dataclasses import replace

import pytest

from stead_controller.blocks.directory import BlockDirectory
from stead_controller.db.membership import LOST_SECONDS, LeadLost, Other
from stead_controller.db.session import Database
from stead_controller.settings import Settings
from stead_controller.sharing import Sharing, names_of_state


class Link:
    def __init__(self):
        self.told = asyncio.Queue()

    def share(self, addresses, *, serves):
        self.told.put_nowait((list(addresses), serves))


class Heard:
    def __init__(self):
        self.calls = []

    def share(self, controllers):
        self.calls.append(controllers)

    def take_part(self, part, parts):
        self.calls.append((part, parts))

    async def look(self):
        self.calls.append("look")


@pytest.fixture
def database(tmp_path):
    made = Database(f"sqlite:///{tmp_path / 'test.sqlite'}")
    yield made
    made.close()


@pytest.fixture
def sharing(database):
    made = Sharing(database, "me:1", {"blocks": "a"})
    made.membership.is_alone = False
    made.begun = []
    made.membership.begin = lambda: made.begun.append(1)  # no server is there
    return made


async def test_everybody_is_told_of_what_changes(sharing, monkeypatch):
    link, rates, parts, loop = Link(), Heard(), Heard(), Heard()
    waits, wait_for = [], asyncio.wait_for
    monkeypatch.setattr(asyncio, "wait_for", lambda what, seconds: waits.append(seconds) or wait_for(what, seconds))
    sharing.membership._database.id = "c"
    running = asyncio.create_task(sharing.run(link, [rates], [parts], [loop]))
    assert await link.told.get() == ([], True)
    sharing.membership._note(
        (Other("b", "b:1"), Other("a", "b:1", lives=False)), 3, sharing.membership._monotonic() + 5
    )
    assert await link.told.get() == (["me:1", "b:1"], True)
    assert sharing.begun == [1]
    assert rates.calls == [1, 2]
    assert parts.calls == [(0, 1), (1, 2)], "the one that lives is before it"
    assert loop.calls == ["look"], "it leads now"
    assert sharing.trouble == ""
    sharing.membership._said -= 10
    assert await link.told.get() == (["me:1", "b:1"], False)
    assert min(waits[:2]) > LOST_SECONDS / 2, "it was not looked for before it could be lost"
    assert sharing.trouble == "the database is away"
    sharing.membership._said = sharing.membership._monotonic()
    async with asyncio.timeout(10):
        assert await link.told.get() == (["me:1", "b:1"], True)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_who_is_alone_has_nothing_to_follow(database):
    sharing = Sharing(database, "me:1", {"blocks": "a"})
    await sharing.run(Link(), [], [], [])
    assert sharing.trouble == ""


async def test_work_of_the_one_that_leads(sharing):
    done = []

    async def work():
        done.append(1)
        raise LeadLost("another one does it")

    once = sharing.only_one(work)
    await once()
    assert done == []
    sharing.membership._note((), 1, sharing.membership._monotonic() + 5)
    await once()
    assert done == [1]


SERVER = "postgresql+psycopg://127.0.0.1/stead"


def test_blocks_are_named_once_by_their_folder_or_their_bucket(tmp_path):
    one, other = (Settings(tmp_path / name, database_url=SERVER) for name in ("one", "other"))
    in_bucket = [replace(each, block_bucket="bucket") for each in (one, other)]
    another = replace(one, block_bucket="another")
    assert len({name_of(each, "blocks") for each in (one, other, *in_bucket, another)}) == 4
    assert name_of(one, "blocks") == name_of(one, "blocks")
    assert {len(name_of(each, "blocks")) for each in (one, another)} == {32}
    assert list(BlockDirectory(one.block_folder).list_all()) == []


def test_buckets_are_of_their_folder_or_elsewhere(tmp_path):
    one, other = (Settings(tmp_path / name, database_url=SERVER) for name in ("one", "other"))
    assert name_of(one, "buckets") == name_of(one, "buckets") != name_of(other, "buckets")
    elsewhere = {name_of(replace(one, object_endpoint=url), "buckets") for url in ("https://192.0.2.1", "https://s3.a")}
    assert elsewhere == {"elsewhere"}


def test_one_that_is_alone_names_nothing(tmp_path):
    assert names_of_state(Settings(tmp_path)) == {}
    assert list(tmp_path.iterdir()) == []


def name_of(settings, what):
    return names_of_state(settings)[what]
