"""A cloud goes from one authority to another under its hosts, operators and clients; nobody is cut off before the end."""

import asyncio
import contextlib
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import boto3
import grpc
import pytest
from botocore.config import Config
from botocore.exceptions import SSLError

from stead_agent.agent import Agent
from stead_agent.controllers import Controllers
from stead_agent.link import Dialling
from stead_agent.simulated.clock import RealClock
from stead_agent.simulated.host import SimulatedHost
from stead_controller.controller import Controller
from stead_controller.db.membership import Membership
from stead_proto import tls
from stead_proto.tls import CONTROLLER_NAME, Identity
from stead_proto.v1 import operator_pb2 as pb
from stead_proto.v1 import operator_pb2_grpc
from tests.support.simulated_agent import MemoryStore
from tests.unit.controller.test_controller import DEADLINE, Cloud, cloud

__all__ = ["cloud"]


async def certificates(cloud):
    return operator_pb2_grpc.CertificatesStub(await cloud.operator())


async def until_followed(cloud: Cloud) -> pb.Authorities:
    """Wait until all hosts have what this phase gives them."""
    stub = await certificates(cloud)
    async with asyncio.timeout(DEADLINE):
        while True:
            found = await stub.ListAuthorities(pb.ListAuthoritiesRequest())
            if not found.waiting:
                return found
            await asyncio.sleep(0.05)  # a poll


def asks(cloud: Cloud, ca) -> bool:
    """Call the AWS API as a client that trusts this file; tell whether it trusted the controller."""
    root = cloud.credentials
    sts = boto3.client(
        "sts",
        region_name="us-east-1",
        endpoint_url=f"https://127.0.0.1:{cloud.settings.https_port}",
        aws_access_key_id=root["access_key_id"],
        aws_secret_access_key=root["secret_access_key"],
        verify=str(ca),
        config=Config(retries={"total_max_attempts": 1}),
    )
    try:
        return bool(sts.get_caller_identity()["Account"])
    except SSLError:
        return False


def enters(cloud: Cloud, identity: Identity) -> bool:
    """Tell whether a host is let in at the port of VPC endpoints, by this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=identity.ca_pem.decode())
    chain = cloud.settings.state_dir / "chain-of-a-host.pem"
    chain.write_bytes(identity.key_pem + identity.certificate_pem)
    context.load_cert_chain(chain)
    address = ("127.0.0.1", cloud.settings.endpoint_port)
    with (
        contextlib.suppress(ssl.SSLError, ConnectionError),  # who is refused is not let in
        socket.create_connection(address, DEADLINE) as plain,
        context.wrap_socket(plain, server_hostname=CONTROLLER_NAME) as secured,
    ):
        secured.sendall(b"no words of a host\n")
        return b"no such endpoint" in secured.recv(100)
    return False


async def is_let_in(cloud: Cloud, identity: Identity) -> bool:
    """Tell whether the port of hosts takes a certificate."""
    channel = await cloud.channel(tls.channel_to_controller(f"127.0.0.1:{cloud.settings.host_port}", identity))
    call = channel.unary_unary("/stead.v1.HostLink/RenewCertificate")(b"", timeout=DEADLINE)
    return await call.code() is not grpc.StatusCode.UNAVAILABLE


@dataclass
class Followed:
    """A host whose agent runs, and the identity that it had first."""

    first: Identity
    folder: Path
    agent: Agent

    @property
    def identity(self) -> Identity:
        return Identity.load(self.folder)


@pytest.fixture
async def host(cloud, tmp_path):
    folder = tmp_path / "agent"
    _, first = await cloud.enrol()
    first.save(folder)
    simulated = SimulatedHost(RealClock(asyncio.get_running_loop()))
    dialling = Dialling(
        Controllers([f"127.0.0.1:{cloud.settings.host_port}"]), lambda: Identity.load(folder), "0", folder
    )
    agent = Agent(simulated.subsystems, MemoryStore(), simulated, dialling)
    running = asyncio.create_task(agent.run())
    await until_followed(cloud)
    yield Followed(first, folder, agent)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def begun(cloud, host) -> pb.Authorities:
    """Begin, each call twice: whoever is not answered asks again."""
    stub = await certificates(cloud)
    for _ in range(2):
        answer = await stub.BeginAuthority(pb.BeginAuthorityRequest())
    assert (answer.phase, len(answer.trusted), answer.changed) == ("begun", 2, False)
    await until_followed(cloud)
    assert host.identity.ca_pem == (cloud.settings.state_dir / "ca.pem").read_bytes() == answer.ca_pem
    return answer


async def refused_for(cloud, call) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    return refused.value.details()


async def test_a_new_authority_takes_the_place_of_the_former(cloud, host, tmp_path):
    first, ca = host.first, cloud.settings.state_dir / "ca.pem"
    old_ca, both = tmp_path / "of-a-client.pem", tmp_path / "both.pem"
    old_ca.write_bytes(ca.read_bytes())
    begin = await begun(cloud, host)
    assert await asyncio.to_thread(asks, cloud, old_ca)
    both.write_bytes(ca.read_bytes())

    switched = await (await certificates(cloud)).SwitchAuthority(pb.SwitchAuthorityRequest())
    assert (switched.phase, switched.changed) == ("switched", True)
    assert list(switched.trusted) == list(reversed(begin.trusted))
    late = Identity(first.key_pem, first.certificate_pem, begin.ca_pem)  # who has not renewed yet
    assert await is_let_in(cloud, late)
    assert await asyncio.to_thread(enters, cloud, late)
    await until_followed(cloud)
    assert cloud.controller.authority.has_signed(host.identity.certificate_pem)
    assert await asyncio.to_thread(asks, cloud, both)
    assert not await asyncio.to_thread(asks, cloud, old_ca)

    # The controller ends, and another goes on with it.
    await cloud.controller.stop()
    cloud.controller = Controller(cloud.settings)
    await cloud.controller.start()
    await until_followed(cloud)
    finished = await (await certificates(cloud)).FinishAuthority(pb.FinishAuthorityRequest())
    assert (finished.phase, list(finished.trusted)) == ("settled", [switched.trusted[0]])
    await until_followed(cloud)
    assert host.identity.ca_pem == ca.read_bytes() == finished.ca_pem
    former = Identity(first.key_pem, first.certificate_pem, finished.ca_pem)
    assert not await is_let_in(cloud, former)
    assert not await asyncio.to_thread(enters, cloud, former)
    assert await asyncio.to_thread(enters, cloud, host.identity)
    assert await asyncio.to_thread(asks, cloud, ca)
    assert host.agent.link.connected.is_set()


async def test_a_step_that_would_cut_off_a_host_is_refused(cloud, host):
    """One that is away, and has not said that it trusts both, or has what the new one signed."""
    await begun(cloud, host)
    stub, hosts = await certificates(cloud), operator_pb2_grpc.HostsStub(await cloud.operator())
    away_id, _ = await cloud.enrol()
    assert away_id in await refused_for(cloud, stub.SwitchAuthority(pb.SwitchAuthorityRequest()))
    await hosts.RemoveHost(pb.RemoveHostRequest(host_id=away_id))
    await stub.SwitchAuthority(pb.SwitchAuthorityRequest())
    away_id, _ = await cloud.enrol()
    assert away_id in await refused_for(cloud, stub.FinishAuthority(pb.FinishAuthorityRequest()))
    again = await stub.SwitchAuthority(pb.SwitchAuthorityRequest())  # it is done: who asks again is told how far it is
    assert (again.changed, list(again.waiting)) == (False, [away_id])
    assert (await stub.ListAuthorities(pb.ListAuthoritiesRequest())).phase == "switched"


async def test_no_step_is_taken_while_there_are_other_controllers(cloud, host, monkeypatch):
    """They would not know of it: each has its own files."""
    stub = await certificates(cloud)
    with monkeypatch.context() as shared:
        shared.setattr(Membership, "others", property(lambda _self: (object(),)))
        refusal = await refused_for(cloud, stub.BeginAuthority(pb.BeginAuthorityRequest()))
    assert "Of 2 controllers" in refusal
    assert "stop the others" in refusal
    assert (await stub.ListAuthorities(pb.ListAuthoritiesRequest())).phase == "settled"


async def test_a_new_authority_may_begin_while_a_host_is_away(cloud, host):
    away_id, _ = await cloud.enrol()
    answer = await (await certificates(cloud)).BeginAuthority(pb.BeginAuthorityRequest())
    assert answer.phase == "begun"
    assert away_id in answer.waiting


async def test_a_controller_that_runs_for_long_renews_what_it_shows(cloud, monkeypatch):
    shown = cloud.controller._certificates
    before = shown.identity
    await shown.renew_in_time()
    assert shown.identity is before
    monkeypatch.setattr(tls, "ends_soon", lambda _pem: True)
    await shown.renew_in_time()
    assert shown.identity.certificate_pem != before.certificate_pem
    assert await is_let_in(cloud, (await cloud.enrol())[1])
    assert await asyncio.to_thread(asks, cloud, cloud.settings.state_dir / "ca.pem")
