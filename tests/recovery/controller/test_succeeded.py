"""A controller takes the place of another one under clients: what was answered is done, also by one that cannot serve."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from stead_proto import alone
from tests.recovery.controller.test_replaced_when_killed import Clients, cloud, groups
from tests.support.cloud import Cloud
from tests.support.waiting import wait_for

__all__ = ["cloud"]

PATIENCE = 120


@contextmanager
def _successor(cloud: Cloud, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    """What is to take the controller's place; it is ended at the end, if it has."""
    command = [str(word) for word in cloud.controller.command]
    with cloud.controller.log.open("ab") as log:
        process = subprocess.Popen(
            [*command, *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**cloud.controller.environment, alone.SUCCEEDS: "1"},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture
def clients(cloud: Cloud) -> Iterator[Clients]:
    """Clients of an account of their own."""
    made = Clients(cloud.new_account())
    try:
        made.wait_for_more()
        yield made
    finally:
        made.stop()


def _all_is_done(cloud: Cloud, clients: Clients) -> bool:
    clients.wait_for_more()
    return clients.stop() <= groups(clients.account)


def test_one_that_cannot_serve_leaves_the_former_one_in_its_place(cloud: Cloud, clients: Clients) -> None:
    """Its ports for clients are open by then: what it has answered is done, too."""
    parent, stand_by, serving = cloud.controller.parent, cloud.controller.stand_by, cloud.controller.serving
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        _successor(cloud, f"--serial-console-port={taken.getsockname()[1]}") as successor,
    ):
        assert successor.wait(PATIENCE) == 1
    wait_for(lambda: cloud.controller.another_serves(serving) and cloud.answers(), "it serves again", PATIENCE)
    assert (cloud.controller.parent, cloud.controller.stand_by) == (parent, stand_by)
    assert "it does not serve; the former controller goes on" in cloud.controller.tail()
    assert _all_is_done(cloud, clients)


def test_one_that_serves_takes_the_place(cloud: Cloud, clients: Clients) -> None:
    with _successor(cloud) as successor:
        lock = cloud.controller.lock_file
        wait_for(lambda: alone.holder(lock) == successor.pid, "it has taken the place", PATIENCE)
        assert cloud.controller.process is not None
        assert cloud.controller.process.wait(PATIENCE) == 0
        wait_for(lambda: len(cloud.controller.children) == 2, "it has a stand-by", PATIENCE)
        assert alone.holder(cloud.settings.controller_dir / alone.SUCCESSOR_FILE_NAME) is None
        assert _all_is_done(cloud, clients)
