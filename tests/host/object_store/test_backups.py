"""Buckets come back from a backup that was made while they were written to: each object that was acknowledged before."""

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import signal
import threading
from pathlib import Path

import pytest
from sqlalchemy import select

from stead_controller.backup import stores
from stead_controller.backup.folder import FolderRepository
from stead_controller.backup.repository import Manifest
from stead_controller.backup.stores import Store
from stead_controller.db.tables import Bucket
from stead_controller.object_store.backend import Ask, Backend
from stead_controller.object_store.embedded import PROCESS_FILE, EmbeddedServer
from stead_controller.object_store.forwarding import send_short
from tests.support.waiting import wait_for

STORE = Store("store", PROCESS_FILE)


def nothing(_step: str, _done: int, _of: int) -> None:
    """Show no progress."""


def backed_up(store, repository, name, earlier=None):
    """Copy the files of the server behind as they are now; give the backup's manifest."""
    repository.begin()
    moment = stores.opened(store.folder.parent, STORE)
    assert moment is not None
    before = stores.read_listing(repository, earlier, STORE) if earlier else ()
    listed = stores.copy(moment, repository, {one.path: one for one in before}, nothing)
    moment.close()
    (repository.folder / name).mkdir()
    stores.write_listing(listed, repository.folder / name / STORE.listing)
    return Manifest(name, 0, "", "", files={STORE.listing: ""}, stores={STORE.name: moment.bytes})


@contextlib.contextmanager
def restored(store, repository, manifest, folder):
    """Bring the files back into an empty folder, and start a server on them; give what reads its objects."""
    (folder / STORE.name).mkdir(parents=True, mode=0o700)
    assert stores.restore(repository, manifest, STORE, folder / STORE.name, nothing) == []
    shutil.copy(store.folder / "identities.json", folder / STORE.name)

    def ask(path, query=()):
        async def sent():
            server = EmbeddedServer(folder / STORE.name, folder / "weed.log", store.find_store_key)
            backend = Backend(server)
            try:
                return await send_short(backend, Ask("GET", path, query))
            finally:
                await backend.close()

        return asyncio.run(sent())

    try:
        yield ask
    finally:
        with contextlib.suppress(FileNotFoundError):  # the test asked for nothing, so none was started
            os.kill(int((folder / STORE.name / PROCESS_FILE).read_text().split()[0]), signal.SIGKILL)


def test_objects_that_were_there_come_back_while_others_are_written_and_deleted(store, tmp_path):
    bucket = f"backup-{secrets.token_hex(4)}"
    store.s3.create_bucket(Bucket=bucket)
    store.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = store.s3.put_object(Bucket=bucket, Key="versions", Body=b"older")["VersionId"]
    store.s3.put_object(Bucket=bucket, Key="versions", Body=b"newer")
    large = secrets.token_bytes(9 << 20)
    store.s3.put_object(Bucket=bucket, Key="large", Body=large)
    acknowledged: dict[str, bytes] = {"large": large, "versions": b"newer"}
    ending = threading.Event()

    def write(number):
        client, count = store.one.client("s3", read_timeout=90), 0
        while not ending.is_set():
            key, body = f"{number}/{count}", secrets.token_bytes(1 + secrets.randbelow(70_000))
            client.put_object(Bucket=bucket, Key=key, Body=body)
            acknowledged[key] = body
            if count % 3 == 2:
                client.delete_object(Bucket=bucket, Key=f"{number}/{count - 1}")
            count += 1

    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for each in writers:
        each.start()
    try:
        wait_for(lambda: len(acknowledged) > 40, "many objects are written")
        before = dict(acknowledged)
        repository = FolderRepository(tmp_path / "backups")
        manifest = backed_up(store, repository, "one")
        wait_for(lambda: len(acknowledged) > len(before) + 20, "it goes on")
    finally:
        ending.set()
        for each in writers:
            each.join(60)
    # Of those that were written before, some may have been deleted before, too: each third is deleted after the next.
    deleted = {key for key in before if "/" in key and int(key.partition("/")[2]) % 3 == 1}

    with restored(store, repository, manifest, tmp_path / "fresh") as ask:
        name = backend_name(store, bucket)
        for key in before.keys() - deleted:
            status, _, body = ask(f"/{name}/{key}")
            assert (status, body) == (200, before[key]), key
        status, _, body = ask(f"/{name}/versions", [("versionId", first)])
        assert (status, body) == (200, b"older")
        _, _, listed = ask(f"/{name}", [("list-type", "2"), ("max-keys", "1000")])
        there = re.findall("<Key>([^<]*)</Key>", listed.decode())
        assert before.keys() - deleted <= set(there)
        for key in there:
            assert ask(f"/{name}/{key}")[::2] == (200, acknowledged[key]), "what is listed is whole"


def backend_name(store, bucket):
    """The name of a bucket of the first account as the server behind knows it."""
    query = select(Bucket.backend_name).where(Bucket.name == bucket)
    return store.database.run_blocking(lambda tx: tx.session.scalar(query), writes=False)


def test_what_has_not_changed_is_neither_read_nor_stored_again(store, tmp_path, monkeypatch):
    bucket = f"backup-{secrets.token_hex(4)}"
    store.s3.create_bucket(Bucket=bucket)
    body = secrets.token_bytes(5 << 20)
    store.s3.put_object(Bucket=bucket, Key="k", Body=body)
    repository = FolderRepository(tmp_path / "backups")
    read = []
    monkeypatch.setattr(stores._Opened, "pieces", _noting(read, stores._Opened.pieces))
    just_made = backed_up(store, repository, "zero")
    read.clear()
    monkeypatch.setattr(stores, "_SETTLED_NS", 0)
    first = backed_up(store, repository, "one", just_made)
    pieces = set(repository.listed("pieces"))
    data = [one.path for one in stores.read_listing(repository, first, STORE) if one.path.endswith(".dat")]
    own = [path for path in data if backend_name(store, bucket) in path]
    assert own
    assert set(own) <= set(read), "files that were written to just before are read again"
    read.clear()
    store.s3.create_bucket(Bucket=f"{bucket}-2")
    store.s3.put_object(Bucket=f"{bucket}-2", Key="k", Body=b"other")

    second = backed_up(store, repository, "two", first)

    assert not set(data) & set(read), "data files have not changed"
    assert read, "others have"
    assert len(set(repository.listed("pieces")) - pieces) < len(pieces)
    damaged = next(one for one in stores.read_listing(repository, second, STORE) if one.path == data[-1])
    path = repository.piece(damaged.pieces[0])
    path.write_bytes(path.read_bytes()[:-1] + b"\0\0")
    found = stores.faults(repository, second, STORE, nothing)
    assert f"{STORE.name}/{data[-1]}" in found
    assert not path.exists(), "so that the next backup copies it again"
    third = backed_up(store, repository, "three", second)
    assert path.exists()
    assert stores.faults(repository, third, STORE, nothing) == {}


def _noting(read, pieces):
    def noted(self):
        read.append(self.path)
        return pieces(self)

    return noted


def test_a_restore_says_what_is_not_whole_and_brings_the_rest(store, tmp_path):
    repository = FolderRepository(tmp_path / "backups")
    manifest = backed_up(store, repository, "one")
    large = max(stores.read_listing(repository, manifest, STORE), key=lambda one: one.size)
    repository.piece(large.pieces[0]).unlink()
    (tmp_path / STORE.name).mkdir()
    damaged = stores.restore(repository, manifest, STORE, tmp_path / STORE.name, nothing)
    assert f"{STORE.name}/{large.path}" in damaged
    content = (tmp_path / STORE.name / large.path).read_bytes()
    assert len(content) == large.size
    assert content.startswith(bytes(1000))


@pytest.mark.parametrize("what", ["data", "none"])
def test_a_server_that_was_never_used_has_nothing(tmp_path, what):
    (tmp_path / STORE.name).mkdir()
    if what == "data":
        Path(tmp_path / STORE.name / "other").touch()
    assert stores.opened(tmp_path, STORE) is None
