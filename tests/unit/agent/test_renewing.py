"""A host follows its controller to other authorities, and says so only when all that it runs does."""

import asyncio
from pathlib import Path

import pytest

from stead_proto import tls
from stead_proto.certificates import AUTHORITY_FILE, NEXT_FILE, Authority
from stead_proto.digests import digest_of
from stead_proto.tls import Identity
from stead_proto.v1.desired_pb2 import VolumeExport
from stead_proto.v1.host_pb2 import Awaited, HostUpdate, Throttle
from tests.support import desired_states as make
from tests.support.fake_controller import FakeController
from tests.support.waiting import wait_for
from tests.unit.agent.test_link import HOST, Rig, controller, rig

__all__ = ["controller", "rig"]


async def test_a_host_renews_for_other_authorities_and_says_so_when_all_use_it(
    rig: Rig, controller: FakeController, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Volumes' processes first, then guests: the controller waits for both before it trusts nobody else any more."""
    served = make.volume("vol-1", base_id="")
    served.volume.export.CopyFrom(VolumeExport(client_host_id="host-2", port=61000, generation=1))
    controller.sender(HOST).change(make.host_network(), served)
    agent, host = rig.start(renews=True)
    session = await rig.session()
    before = Identity.load(tmp_path)
    exports = host.world.objects.exports
    await controller.until(lambda: session.revision == 1, "it is served")
    agent.reconciler.notice_volume("vol-1")
    await asyncio.to_thread(wait_for, lambda: exports["vol-1"].confirmed_by == before.authorities, "it has answered")
    session.trust(before.authorities)
    await controller.until(lambda: session.certified == [before.authorities], "it says what it has")
    assert controller.renewals == 0

    outdated, renewed = {"vol-1"}, []
    monkeypatch.setattr(agent._parts.exports, "outdated", lambda: frozenset(outdated))
    monkeypatch.setattr(agent._parts.machines, "renew_credentials", lambda given: renewed.append(given) or True)
    folder = tmp_path / "ca"
    controller.authority.save_once(_made(folder) / AUTHORITY_FILE)
    Authority.create("next").save_once(folder / NEXT_FILE)
    controller.authority.read_again(folder)
    wanted = tls.authorities_digest(controller.authority.ca_pem)
    session.trust(wanted)
    await controller.until(lambda: controller.renewals == 1, "it renews")
    await asyncio.to_thread(wait_for, lambda: Identity.load(tmp_path).authorities == wanted, "both are trusted")
    await asyncio.to_thread(
        wait_for, lambda: exports["vol-1"].confirmed_by == wanted, "it may be served by the new one"
    )
    assert (renewed, session.certified) == ([], [before.authorities])
    outdated.clear()
    await controller.until(lambda: session.certified[1:] == [wanted], "it says that all use it")
    assert renewed == [wanted]
    assert controller.connections == 1
    session.trust(wanted)
    session.trust(b"")
    session.trust(wanted)
    session.end()
    again = await rig.session(after=1)
    heard = digest_of(Throttle(heartbeat_seconds=60, authorities=wanted))
    assert (again.hello.throttle, again.hello.certified) == (heard, b""), "its certificate is another one"
    again.trust(wanted)
    await controller.until(lambda: again.certified == [wanted], "it says it of this one")
    again.end()
    last = await rig.session(after=2)
    assert (last.hello.throttle, last.hello.certified) == (heard, wanted)
    assert controller.renewals == 1


async def test_no_authorities_count_before_their_controller_has_said_what_it_knows(
    rig: Rig, controller: FakeController, tmp_path: Path
) -> None:
    """They come first in a session: the controller may be another one, which does not know what is served."""
    await controller.stop()
    agent, _ = rig.start()
    await asyncio.get_running_loop().run_in_executor(None, agent._renew_uses, b"new")
    assert agent.reconciler._preparer.confirmed_by == b""
    await controller.start()
    await rig.session()
    await agent.link.connected.wait()
    assert agent.reconciler._preparer.confirmed_by == Identity.load(tmp_path).authorities
    await asyncio.get_running_loop().run_in_executor(None, agent._renew_uses, b"new")
    assert agent.reconciler._preparer.confirmed_by == b"new"


async def test_a_host_with_a_former_certificate_is_told_who_has_not_joined(
    rig: Rig, controller: FakeController, tmp_path: Path
) -> None:
    agent, _ = rig.start(renews=True)
    session = await rig.session()
    assert not session.hello.has_former
    await agent.link.connected.wait()
    assert agent.reconciler._preparer.awaited == frozenset(), "a controller that says nothing awaits none"
    Authority.create().issue_host(HOST).save(tmp_path / "former")
    session.end()
    again = await rig.session(after=1)
    assert again.hello.has_former
    again.outgoing.put_nowait(HostUpdate(awaited=Awaited(host_ids=["host-2"])))
    await asyncio.to_thread(wait_for, lambda: agent.reconciler._preparer.awaited == {"host-2"}, "it has heard that")


async def test_the_certificate_of_a_lost_cloud_is_forgotten_when_all_is_known(
    rig: Rig, controller: FakeController, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, host = rig.start()
    forgotten, noticed = [], []
    monkeypatch.setattr(agent, "_forget_former", forgotten.append)
    monkeypatch.setattr(agent.reconciler, "notice_volume", noticed.append)
    outdated = {"vol-1"}
    monkeypatch.setattr(host.subsystems.exports, "outdated", lambda: frozenset(outdated))
    await agent._look_at_certificates()
    assert (forgotten, noticed) == ([], ["vol-1"]), "no controller has said what it knows"
    await rig.session()
    await agent.link.connected.wait()
    await agent.repair(0)
    assert forgotten == [], "a process has it still"
    outdated.clear()
    await agent.repair(0)
    assert forgotten == [Identity.load(tmp_path).authorities]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
