"""FAULTS 1: the process that serves is killed, or its parent, while clients change things: what was answered is done.

The first is replaced by its parent, the second by its stand-by; where both are killed they are started again, as systemd
does. At no time do two serve one database.
"""

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from stead_proto import alone, bounded_log
from tests.support.clients import Account
from tests.support.cloud import Cloud
from tests.support.memory import heaps_of
from tests.support.processes import Child
from tests.support.waiting import wait_for

CLIENTS: Final = 4
KILLS: Final = 3
ANSWERS: Final = 5  # of each client before each kill
PAUSE: Final = 0.02  # between calls: four clients always have some under way, and leave a processor to who is started
PATIENCE: Final = 120.0
GROUPS: Final = "L-E79EC296"  # the quota of security groups


class Clients:
    """Clients that make security groups until they are stopped, each on its own, and go on after a call is lost."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(CLIENTS)]
        self.acknowledged: list[set[str]] = [set() for _ in range(CLIENTS)]
        self.unexpected: list[str] = []
        for thread in self._threads:
            thread.start()

    def wait_for_more(self) -> None:
        """Wait until each client has had further answers."""
        before = [len(each) for each in self.acknowledged]

        def has_more() -> bool:
            assert not self.unexpected
            now = [len(each) for each in self.acknowledged]
            return all(after >= earlier + ANSWERS for after, earlier in zip(now, before, strict=True))

        wait_for(has_more, "all clients are answered", PATIENCE)

    def stop(self) -> set[str]:
        """Stop all; return the ids that were in answers."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        assert not self.unexpected
        return set().union(*self.acknowledged)

    def _call(self, number: int) -> None:
        ec2 = self.account.client("ec2", connect_timeout=2)
        count = 0
        while not self._is_over.is_set():
            count += 1
            try:
                made = ec2.create_security_group(GroupName=f"{number}-{count}", Description="-")
            except BotoCoreError:
                self._is_over.wait(0.05)  # it was killed meanwhile
            except ClientError as refusal:
                self.unexpected.append(str(refusal))
                return
            else:
                self.acknowledged[number].add(made["GroupId"])
                self._is_over.wait(PAUSE)


@pytest.fixture
def cloud(own_cloud: Callable[..., Cloud]) -> Cloud:
    """A cloud without hosts in which one may make any number of groups, as fast as one can."""
    made = own_cloud(hosts=0, options=("--request-rate-factor=0",))
    made.operator.set_quota(GROUPS, 1_000_000)
    return made


def groups(account: Account) -> set[str]:
    pages = account.client("ec2").get_paginator("describe_security_groups").paginate()
    return {group["GroupId"] for page in pages for group in page["SecurityGroups"]}


def _wait_until_replaced(cloud: Cloud, killed: int) -> None:
    def another_answers() -> bool:
        return cloud.controller.another_serves(killed) and cloud.answers()

    wait_for(another_answers, "another process serves", PATIENCE)


def test_what_was_answered_is_done_after_each_kill_of_who_serves(cloud: Cloud) -> None:
    account = cloud.new_account()
    assert cloud.controller.process is not None
    parent = cloud.controller.process.pid
    clients = Clients(account)
    try:
        for _ in range(KILLS):
            clients.wait_for_more()
            killed = cloud.controller.kill_serving()
            _wait_until_replaced(cloud, killed)
        clients.wait_for_more()
    finally:
        acknowledged = clients.stop()
    assert acknowledged <= groups(account)
    assert cloud.controller.process.pid == parent
    assert cloud.controller.runs()


@pytest.mark.parametrize("kill", ["kill_parent", "kill"])
def test_who_serves_dies_with_its_parent_and_what_was_answered_is_done(cloud: Cloud, kill: str) -> None:
    account = cloud.new_account()
    serving = os.pidfd_open(cloud.controller.serving)
    clients = Clients(account)
    try:
        clients.wait_for_more()
        getattr(cloud.controller, kill)()
        poller = select.poll()
        poller.register(serving, select.POLLIN)
        wait_for(lambda: poller.poll(0), "who served is dead", PATIENCE)
        if kill == "kill":
            assert not cloud.controller.runs()
            assert alone.holder(cloud.controller.serving_file) is None
            cloud.start_controller()
        clients.wait_for_more()
    finally:
        os.close(serving)
        acknowledged = clients.stop()
    assert acknowledged <= groups(account)
    assert cloud.controller.runs()


def test_parents_are_killed_one_after_the_other_and_at_any_moment_of_a_start(cloud: Cloud) -> None:
    account = cloud.new_account()
    clients = Clients(account)
    parents, lock = [cloud.controller.parent], cloud.controller.lock_file
    try:
        for moment in (0.0, 0.05, 0.2, 0.4):
            os.kill(parents[-1], signal.SIGKILL)
            heir = wait_for(lambda: _heir(lock, parents), "its stand-by has its place and one of its own", PATIENCE)
            parents.append(heir)
            time.sleep(moment)  # how far the next server is when its parent is killed
        clients.wait_for_more()
    finally:
        acknowledged = clients.stop()
    assert acknowledged <= groups(account)
    assert len(_children(cloud.controller.parent)) == 2
    cloud.controller.stop()
    assert not cloud.controller.runs()
    assert "controller_stopped" in cloud.controller.tail(1)


def _heir(lock: Path, parents: list[int]) -> int | None:
    """Return who has the place of parents that are dead; killed before it has forked a stand-by, it would have no heir.

    For a moment nobody has it.
    """
    holder = alone.holder(lock)
    return holder if holder is not None and holder not in parents and _children(holder) else None


@pytest.mark.parametrize("kill", ["kill_serving", "kill_parent"])
def test_a_second_controller_is_refused_also_while_who_serves_is_replaced(cloud: Cloud, kill: str) -> None:
    _is_refused(cloud)
    killed = getattr(cloud.controller, kill)()
    _is_refused(cloud)
    _wait_until_replaced(cloud, killed)
    _is_refused(cloud)


def _is_refused(cloud: Cloud) -> None:
    """By the name of the parent, which may be another one when the refusal is read than when it was written."""
    before = cloud.controller.parent
    second = Child("second", cloud.controller.command, cloud.folder / "second.log")
    second.log.unlink(missing_ok=True)
    second.start()
    assert second.process is not None
    assert second.process.wait(PATIENCE) == 1
    named = {f"another controller: process {parent} runs with" for parent in (before, cloud.controller.parent)}
    assert any(words in second.log.read_text() for words in named)


def test_none_serves_before_the_last_one_is_dead(cloud: Cloud) -> None:
    cloud.controller.stop()
    path = cloud.controller.serving_file
    code = "import pathlib, sys; from stead_proto import alone; alone.take(pathlib.Path(sys.argv[1])); input()"
    words = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as dying:
        wait_for(lambda: alone.holder(path) == dying.pid, "the lock is held", PATIENCE)
        cloud.controller.start()
        wait_for(lambda: alone.holder(cloud.controller.lock_file), "it is started", PATIENCE)
        wait_for(lambda: len(_children(cloud.controller.parent)) == 2, "the serving process is forked", PATIENCE)
        assert not cloud.answers()
        assert alone.holder(path) == dying.pid
        dying.kill()
    wait_for(cloud.answers, "it serves", PATIENCE)


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


@pytest.mark.parametrize("takeovers", [0, 2])
def test_parent_and_stand_by_have_one_thread_and_neither_ports_nor_database(cloud: Cloud, takeovers: int) -> None:
    for _ in range(takeovers):
        _wait_until_replaced(cloud, cloud.controller.kill_parent())
    stand_by, serving = _children(cloud.controller.parent)
    assert serving == cloud.controller.serving
    for pid in (cloud.controller.parent, stand_by):
        process = Path(f"/proc/{pid}")
        assert len(list((process / "task").iterdir())) == 1
        names = sorted({str(each.readlink()) for each in (process / "fd").iterdir()} - {"anon_inode:[pidfd]"})
        lock = str(cloud.settings.controller_dir / alone.FILE_NAME)
        assert names == sorted({"/dev/null", str(cloud.controller.log), lock})
        assert len(list((process / "fd").iterdir())) <= 5, "none more after each takeover"
    assert heaps_of(cloud.controller.serving) == 0


def test_both_end_by_sigterm(cloud: Cloud) -> None:
    serving = cloud.controller.serving
    cloud.controller.stop()
    assert cloud.controller.process is not None
    assert cloud.controller.process.returncode == 0
    assert not Path(f"/proc/{serving}").exists()
    assert "controller_stopped" in cloud.controller.tail(1)
    assert "controller_was_killed" not in cloud.controller.tail()


def test_who_is_replaced_writes_to_the_log_that_the_last_one_began(
    own_cloud: Callable[..., Cloud], tmp_path: Path
) -> None:
    log = tmp_path / "controller.log"
    cloud = own_cloud(hosts=0, options=(f"--log-file={log}",))
    cloud.controller.stop()
    cloud.controller.log = log  # the file of the shell, or systemd, that it appends to
    cloud.start_controller()
    os.truncate(log, bounded_log.FILE_BYTES)
    older = log.with_name("controller.log.1")
    killed = cloud.controller.kill_serving()
    _wait_until_replaced(cloud, killed)
    assert older.stat().st_size >= bounded_log.FILE_BYTES
    assert "controller_was_killed" in log.read_text()
    # It answers a moment before it says so.
    wait_for(lambda: log.read_text().count("controller_started") == 1, "the log says that it started")
    killed = cloud.controller.kill_serving()
    _wait_until_replaced(cloud, killed)
    wait_for(lambda: log.read_text().count("controller_started") == 2, "the log says that the next one started")
    assert log.read_text().count("controller_was_killed") == 2
