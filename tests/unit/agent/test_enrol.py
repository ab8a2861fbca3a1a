"""A machine becomes a host by a one-time token; its key never leaves it."""

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stead_agent.desired import SqliteStore
from stead_agent.enrol import EnrolmentError, enrol, forget_former, former_identity
from stead_agent.settings import DESIRED_FILE
from stead_agent.wanted import Change
from stead_proto.certificates import Authority
from stead_proto.tls import Identity, Peer, PeerKind
from tests.support import desired_states as make
from tests.support.fake_controller import FakeController


@pytest.fixture
async def controller() -> AsyncIterator[FakeController]:
    """A listening controller with one token, `once`."""
    controller = FakeController()
    controller.tokens.add("once")
    await controller.start()
    yield controller
    await controller.stop()


async def test_a_token_becomes_a_certificate(controller: FakeController, tmp_path: Path) -> None:
    ca_pem = controller.authority.certificate_pem
    host_id = await enrol(controller.enrolment_address, ca_pem, "once", tmp_path / "agent", "box")
    identity = Identity.load(tmp_path / "agent")
    assert (identity.peer.kind, identity.peer.name) == (PeerKind.HOST, host_id)
    assert identity.ca_pem == ca_pem
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "agent").iterdir()}
    assert files == {"identity.pem": 0o600, "ca.pem": 0o600}


async def test_a_token_is_good_once(controller: FakeController, tmp_path: Path) -> None:
    ca_pem = controller.authority.certificate_pem
    await enrol(controller.enrolment_address, ca_pem, "once", tmp_path / "one")
    with pytest.raises(EnrolmentError, match="no such enrolment token"):
        await enrol(controller.enrolment_address, ca_pem, "once", tmp_path / "two")
    assert not (tmp_path / "two" / "identity.pem").exists()


async def test_a_second_try_shows_the_same_key(controller: FakeController, tmp_path: Path) -> None:
    ca_pem = controller.authority.certificate_pem
    with pytest.raises(EnrolmentError):
        await enrol(controller.enrolment_address, ca_pem, "wrong", tmp_path)
    stored = (tmp_path / "enrolling-key.pem").read_bytes()
    await enrol(controller.enrolment_address, ca_pem, "once", tmp_path)
    assert Identity.load(tmp_path).key_pem == stored


async def test_the_token_is_not_shown_to_another_server(controller: FakeController, tmp_path: Path) -> None:
    with pytest.raises(EnrolmentError):
        await enrol(controller.enrolment_address, Authority.create().certificate_pem, "once", tmp_path)
    assert controller.tokens == {"once"}


async def test_no_controller_listens(tmp_path: Path) -> None:
    with pytest.raises(EnrolmentError, match="refused"):
        await enrol("127.0.0.1:1", Authority.create().certificate_pem, "once", tmp_path)


async def test_a_host_of_a_lost_cloud_says_who_it_was(controller: FakeController, tmp_path: Path) -> None:
    ca_pem = controller.authority.certificate_pem
    with pytest.raises(EnrolmentError, match="was no host before"):
        await enrol(controller.enrolment_address, ca_pem, "once", tmp_path, again=True)
    host_id = await enrol(controller.enrolment_address, ca_pem, "once", tmp_path)
    for token, again in (("second", True), ("third", False)):
        controller.tokens.add(token)
        await enrol(controller.enrolment_address, ca_pem, token, tmp_path, again=again)
    assert controller.former_ids == ["", host_id, ""]
    assert controller.shown == [None, Peer(PeerKind.HOST, host_id), None], "its key"


async def test_a_host_of_a_lost_cloud_says_which_address_it_had(
    controller: FakeController, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ca_pem = controller.authority.certificate_pem
    await enrol(controller.enrolment_address, ca_pem, "once", tmp_path)
    file = tmp_path / DESIRED_FILE
    store = SqliteStore(file)
    for change, address in ((make.volume("vol-1"), ""), (make.host_network(), "198.18.0.7")):
        if address:
            change.host_network.host_address = address
        store.save(Change(1, "epoch", full=False, put=(change,)))
        for again in (True, False):
            controller.tokens.add("more")
            await enrol(controller.enrolment_address, ca_pem, "more", tmp_path, again=again)
    store.close()
    controller.tokens.add("more")
    await enrol(controller.enrolment_address, ca_pem, "more", tmp_path, again=True)
    file.write_bytes(b"no database")
    controller.tokens.add("more")
    await enrol(controller.enrolment_address, ca_pem, "more", tmp_path, again=True)
    assert controller.former_addresses == ["", "", "", "198.18.0.7", "", "198.18.0.7", ""]
    assert "address_not_known" in caplog.text


async def test_the_certificate_of_a_lost_cloud_is_kept_until_all_is_known(
    controller: FakeController, tmp_path: Path
) -> None:
    ca_pem = controller.authority.certificate_pem

    async def join(*, again: bool) -> Identity:
        controller.tokens.add("once")
        await enrol(controller.enrolment_address, ca_pem, "once", tmp_path, again=again)
        return Identity.load(tmp_path)

    await join(again=False)
    assert former_identity(tmp_path) is None
    await join(again=True)
    assert former_identity(tmp_path) is None, "who trusts that one trusts the new one, too"
    lost = Identity.load(tmp_path)
    first = Identity(lost.key_pem, lost.certificate_pem, Authority.create().certificate_pem)
    first.save(tmp_path)
    forget_former(tmp_path, first.authorities)
    for _ in range(2):  # a cloud may be recovered once more, and connections are of the first one
        present = await join(again=True)
        assert present != first
        assert former_identity(tmp_path) == first
    forget_former(tmp_path, b"of the lost controller, which its agent knows until it ends")
    assert former_identity(tmp_path) == first
    forget_former(tmp_path, present.authorities)
    assert former_identity(tmp_path) is None
    assert Identity.load(tmp_path) == present
