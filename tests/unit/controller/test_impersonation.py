"""Nobody is let in as somebody else: each RPC of the port of hosts and operators, by each kind of stranger.

The RPCs are those of the services' own descriptions, so a new one is asked, too.
"""

import asyncio
import datetime as dt
import json

import grpc
import pytest
from cryptography import x509

from stead_agent.disks.attachment_credentials import AttachmentCredentials, NoCredentialsError
from stead_controller.db.tables import Host, StoragePool, Volume
from stead_controller.hosts.peers import FORMER
from stead_controller.operator import recording
from stead_controller.operator.recording import OperatorCall
from stead_controller.request.questions import ConsoleOutput
from stead_proto import certificates, tls
from stead_proto.certificates import Authority, new_signing_request
from stead_proto.tls import Identity
from stead_proto.v1 import blocks_pb2, host_pb2, host_pb2_grpc, operator_pb2, operator_pb2_grpc
from stead_proto.v1 import compute_pb2 as compute
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from stead_proto.v1 import operator_pb2 as operator
from tests.support import rows
from tests.unit.controller.blocks.test_image_files import make_empty
from tests.unit.controller.test_controller import DEADLINE, Cloud, cloud

__all__ = ["cloud"]

HOSTS = [host_pb2.DESCRIPTOR.services_by_name["HostLink"], blocks_pb2.DESCRIPTOR.services_by_name["BlockStore"]]
OPERATORS = list(operator_pb2.DESCRIPTOR.services_by_name.values())
DENIED = grpc.StatusCode.PERMISSION_DENIED
ROOM = {"total": 1 << 40, "free": 1 << 40}
TRIES = 5
EXPIRED = dt.timedelta(seconds=-1)
MARK = "0123456789abcdef"


def methods(services):
    return [method for service in services for method in service.methods]


async def code_of(channel, method) -> grpc.StatusCode:
    """Call an RPC with an empty message, or a stream of one, and give the status that it ends with.

    A refusal that comes while a stream is still sent is INTERNAL now and then, by gRPC itself: it is asked again.
    """
    codes = [await _code_of(channel, method)]
    while method.client_streaming and codes[-1] is grpc.StatusCode.INTERNAL and len(codes) < TRIES:
        codes.append(await _code_of(channel, method))
    return codes[-1]


async def _code_of(channel, method) -> grpc.StatusCode:
    path = f"/{method.containing_service.full_name}/{method.name}"
    if method.client_streaming:
        call = channel.stream_stream(path)(iter([b""]), timeout=DEADLINE)
    elif method.server_streaming:
        call = channel.unary_stream(path)(b"", timeout=DEADLINE)
    else:
        call = channel.unary_unary(path)(b"", timeout=DEADLINE)
    return await call.code()


def address(cloud: Cloud) -> str:
    return f"127.0.0.1:{cloud.settings.host_port}"


async def test_only_operators_may_ask_what_operators_ask_and_only_hosts_what_hosts_do(cloud):
    host_id, host = await cloud.enrol()
    with pytest.raises(grpc.aio.AioRpcError):
        await cloud.enrol("no token")
    as_host = await cloud.channel(tls.channel_to_controller(address(cloud), host))
    as_operator = await cloud.operator()
    answers = {method.full_name: await code_of(as_host, method) for method in methods(OPERATORS)}
    answers |= {method.full_name: await code_of(as_operator, method) for method in methods(HOSTS)}
    assert {name: code for name, code in answers.items() if code != DENIED} == {}
    assert len(methods(OPERATORS)) >= 20
    await cloud.controller._trail.flush()
    [path] = (cloud.settings.state_dir / "audit").iterdir()
    records = [json.loads(line) for line in path.read_text().splitlines()]
    refused = {one["eventName"] for one in records if one.get("errorCode") == "PERMISSION_DENIED"}
    assert refused == {method.name for method in methods(OPERATORS)} | {"Enrol"}
    [token] = [one for one in records if one["eventName"] == "CreateEnrolmentToken" and "errorCode" not in one]
    assert token["userIdentity"] == {"type": "Operator", "principalId": "stead:operator:admin"}
    assert (token["sourceIPAddress"], token["readOnly"]) == ("127.0.0.1", False)
    came, not_let_in = (one for one in records if one["eventName"] == "Enrol")
    assert (came["userIdentity"], came["sourceIPAddress"]) == ({"type": "Machine", "principalId": ""}, "127.0.0.1")
    assert (came["requestParameters"], came["responseElements"]) == ({"hostname": "box"}, {"host_id": host_id})
    assert (not_let_in["requestParameters"], not_let_in["responseElements"]) == ({"hostname": "box"}, None)


@pytest.mark.parametrize(
    ("name", "request_", "is_reading"),
    [
        ("MeasureHosts", operator.MeasureHostsRequest(), True),
        ("GetBill", operator.GetBillRequest(), True),
        ("MendRows", operator.MendRowsRequest(only_look=True), True),
        ("MendRows", operator.MendRowsRequest(), False),
        ("RepairHosts", operator.RepairHostsRequest(), False),
    ],
)
def test_what_an_operator_only_looks_at_is_no_change(name, request_, is_reading):
    call = OperatorCall(recording.OPERATORS, dt.datetime.now(dt.UTC), name, "stead:operator:admin", "", request_, None)
    made = call.drawn("us-east-1")
    assert (made.read_only, json.loads(made.text)["readOnly"]) == (is_reading, is_reading)


def of_another_authority(host_id: str, ca_pem: bytes) -> Identity:
    foreign = Authority.create().issue_host(host_id)
    return Identity(foreign.key_pem, foreign.certificate_pem, ca_pem)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda ours, host_id: ours.issue_host(host_id, validity=EXPIRED), id="expired"),
        pytest.param(lambda ours, host_id: of_another_authority(host_id, ours.certificate_pem), id="of another CA"),
        pytest.param(lambda ours, _host_id: ours.issue_server(), id="a server's"),
        pytest.param(None, id="none"),
    ],
)
async def test_without_a_good_certificate_there_is_no_connection(cloud, make):
    host_id, _ = await cloud.enrol()
    authority = cloud.controller.authority
    if make is None:
        channel = tls.channel_to_enrolment(address(cloud), authority.certificate_pem)
    else:
        channel = tls.channel_to_controller(address(cloud), make(authority, host_id))
    opened = await cloud.channel(channel)
    for method in (HOSTS[0].methods_by_name["Session"], OPERATORS[0].methods[0]):
        assert await code_of(opened, method) is grpc.StatusCode.UNAVAILABLE


async def test_a_host_that_this_cloud_does_not_know_is_refused_everything(cloud):
    unknown = cloud.controller.authority.issue_host("h-0123456789abcdef0")
    channel = await cloud.channel(tls.channel_to_controller(address(cloud), unknown))
    stream = host_pb2_grpc.HostLinkStub(channel).Session()
    await stream.write(pb.HostReport(hello=pb.Hello(facts=pb.HostFacts(hostname="box"))))
    assert await stream.code() is DENIED  # and not NOT_FOUND, by which one that was removed ends its guests
    csr = new_signing_request("x")[1]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await host_pb2_grpc.HostLinkStub(channel).RenewCertificate(pb.RenewCertificateRequest(csr_pem=csr))
    assert refused.value.code() is DENIED


async def test_a_certificate_from_before_a_host_enrolled_is_refused_and_one_from_after_it_is_not(cloud, monkeypatch):
    """Somebody else may have it: of a host that enrolled again, it is good for another year."""
    host_id, host = await cloud.enrol()
    real, shift = certificates._now, dt.timedelta(hours=-1)
    monkeypatch.setattr(certificates, "_now", lambda: real() + shift)
    former = cloud.controller.authority.issue_host(host_id, "f" * 16)
    shift = dt.timedelta(hours=1)
    renewed = cloud.controller.authority.issue_host(host_id, MARK)  # which a restored database does not know
    said, learned = {}, {}
    for name, identity in {"former": former, "present": host, "renewed": renewed}.items():
        channel = await cloud.channel(tls.channel_to_controller(address(cloud), identity))
        stub = host_pb2_grpc.HostLinkStub(channel)
        stream = stub.Session()
        await stream.write(pb.HostReport(hello=pb.Hello(facts=pb.HostFacts(hostname="box"))))
        try:
            said[name] = type(await stream.read())
        except grpc.aio.AioRpcError as refusal:
            said[name] = refusal.details()
        row = await cloud.controller.database.run(lambda tx: tx.session.get_one(Host, host_id), writes=False)
        learned[name] = row.enrolment
        asked = {method.name: await code_of(channel, method) for method in methods(HOSTS)}
        refused = {method for method, code in asked.items() if code is DENIED}
        with pytest.raises(grpc.aio.AioRpcError) as answer:
            await stub.AttachmentCredentials(pb.AttachmentCredentialsRequest())
        assert (refused, answer.value.details() == FORMER) == (
            (set(asked) - {"Session"}, True) if name == "former" else ({"AttachmentCredentials"}, False)
        ), name
    assert said == {"former": FORMER, "present": pb.HostUpdate, "renewed": pb.HostUpdate}
    assert learned == {"former": "", "present": "", "renewed": MARK}
    assert (row.certified, row.former_enrolment) == (tls.lifetime(renewed.certificate_pem)[0], "")
    answer = await stub.RenewCertificate(pb.RenewCertificateRequest(csr_pem=new_signing_request("x")[1]))
    assert tls.enrolment_of(answer.certificate_pem, host_id) == MARK


async def test_former_certificates_are_admitted_nowhere_once_a_host_has_said_that_it_uses_none(cloud):
    """It says so in its session, and again at its next Hello, as a controller may have died over it."""
    host_id, host = await cloud.enrol()
    database, digest = cloud.controller.database, tls.authorities_digest(cloud.controller.authority.ca_pem)

    def former(tx):
        return tx.session.get_one(Host, host_id).former_enrolment

    def enrolled_again(tx):
        tx.session.get_one(Host, host_id).former_enrolment = "e" * 16

    for hello, report, settles in ((b"", b"of others", False), (b"", digest, True), (digest, b"of others", True)):
        await database.run(enrolled_again)
        channel = await cloud.channel(tls.channel_to_controller(address(cloud), host))
        stream = host_pb2_grpc.HostLinkStub(channel).Session()
        said = pb.Hello(facts=pb.HostFacts(hostname="box"), certified=hello)
        await stream.write(pb.HostReport(hello=said))
        await stream.write(pb.HostReport(certified=pb.Certified(authorities=report)))
        await stream.write(pb.HostReport(measurements=pb.Measurements(number=1)))
        async with asyncio.timeout(DEADLINE):
            while (await stream.read()).stored.number != 1:
                pass
            assert (await database.run(former, writes=False) is None) is settles


async def test_a_host_gets_credentials_of_the_attachment_that_it_has_and_no_other(cloud):
    """Not of another generation, of another host's, of one at home, of one in a shared pool, nor after it is gone."""
    (host_id, host), (home_id, home) = await cloud.enrol(), await cloud.enrol()

    def attach(tx):
        world = rows.build_world(tx)
        instance = rows.launch(tx, world, world.one)
        volume = rows.volume(
            instance, world, host_id=home_id, attached_host_id=host_id, generation=3, export_port=61000
        )
        tx.session.add(volume)
        tx.session.add(StoragePool(host_id=home_id, name="here", backend="directory", is_default=True, **ROOM))
        return volume.id

    database = cloud.controller.database
    volume_id = await database.run(attach)

    async def ask(identity, generation=3, volume=volume_id):
        stub = host_pb2_grpc.HostLinkStub(await cloud.channel(tls.channel_to_controller(address(cloud), identity)))
        request = pb.AttachmentCredentialsRequest(volume_id=volume, generation=generation)
        try:
            return await stub.AttachmentCredentials(request, timeout=DEADLINE)
        except grpc.aio.AioRpcError as error:
            return error.code()

    given = await ask(host)
    held = Identity(given.key_pem, given.certificate_pem, given.ca_pem)
    certificate = x509.load_pem_x509_certificate(held.certificate_pem)
    assert certificate.subject.rfc4514_string() == f"CN={volume_id}.3.{host_id},OU=attachment"
    assert given.ca_pem == cloud.controller.authority.certificate_pem
    assert await ask(held) is grpc.StatusCode.UNAUTHENTICATED, "it is nobody here"
    fetch = AttachmentCredentials([address(cloud)], lambda: host)  # as an agent asks
    assert (await asyncio.to_thread(fetch, volume_id, 3)).ca_pem == given.ca_pem
    with pytest.raises(NoCredentialsError, match="PERMISSION_DENIED"):
        await asyncio.to_thread(fetch, volume_id, 2)
    others = [await ask(host, 2), await ask(host, 4), await ask(host, 3, "vol-1"), await ask(home)]
    assert others == [DENIED] * 4

    async def change(row, key, **values):
        def write(tx):
            for name, value in values.items():
                setattr(tx.session.get_one(row, key), name, value)

        await database.run(write)
        return await ask(host)

    pool = (home_id, "here")
    assert await change(StoragePool, pool, shared_id="ceph") is DENIED
    assert isinstance(await change(StoragePool, pool, shared_id=""), pb.AttachmentCredentialsResponse)
    assert await change(Volume, volume_id, host_id=host_id) is DENIED
    assert await change(Volume, volume_id, host_id=home_id, attached_host_id=None, export_port=None) is DENIED


async def test_a_host_cannot_answer_what_another_is_asked(cloud):
    asked_id, asked = await cloud.enrol()
    stranger_id, stranger = await cloud.enrol()
    honest, liar = await cloud.agent(asked), await cloud.agent(stranger)
    await honest.next_state()
    await liar.next_state()
    asking = asyncio.create_task(cloud.controller._asking.ask(ConsoleOutput(asked_id, "i-1", 100)))
    question = await honest.next_question()
    for number in range(question.id + 1):  # not those of later questions, which are its own to answer
        await liar.stream.write(pb.HostReport(answer=pb.Answer(id=number, content=b"a lie", taken_at=1)))
    to_liar = asyncio.create_task(cloud.controller._asking.ask(ConsoleOutput(stranger_id, "i-2", 100)))
    next_question = await liar.next_question()
    await liar.stream.write(pb.HostReport(answer=pb.Answer(id=next_question.id, content=b"of its own", taken_at=1)))
    async with asyncio.timeout(DEADLINE):
        assert (await to_liar).content == b"of its own"
    # All that the liar wrote before was read by now.
    assert not asking.done()
    await honest.stream.write(pb.HostReport(answer=pb.Answer(id=question.id, content=b"login:", taken_at=1)))
    async with asyncio.timeout(DEADLINE):
        assert (await asking).content == b"login:"


async def test_a_host_cannot_speak_for_another(cloud):
    image = await cloud.import_image(bytes(make_empty(1 << 29)))
    first_id, first = await cloud.enrol()
    honest = await cloud.agent(first)
    await honest.next_state()
    client = await cloud.compute()
    watch = client.Watch(compute.WatchRequest(), metadata=cloud.key)
    assert (await watch.read()).synced
    request = compute.RunInstancesRequest(image_id=image.image_id, instance_type="stead.tiny")
    [launched] = (await client.RunInstances(request, metadata=cloud.key)).instances
    second_id, second = await cloud.enrol()
    liar = await cloud.agent(second)
    await liar.next_state()
    await liar.running(launched.instance_id)
    for condition in (pb.CONDITION_FAILED, pb.CONDITION_ABSENT):
        lie = pb.ResourceStatus(kind=desired.KIND_MACHINE, id=launched.instance_id, condition=condition, error="x")
        await liar.stream.write(pb.HostReport(progress=pb.Progress(statuses=[lie])))
    # A request that names the first host becomes a certificate of who asks.
    key_pem, csr = new_signing_request(first_id)
    renewed = await host_pb2_grpc.HostLinkStub(liar.channel).RenewCertificate(pb.RenewCertificateRequest(csr_pem=csr))
    again = await cloud.agent(Identity(key_pem, renewed.certificate_pem, second.ca_pem), cpus=64)
    await again.next_state()
    hosts = operator_pb2_grpc.HostsStub(await cloud.operator())
    cpus = {host.id: host.cpus for host in (await hosts.ListHosts(operator.ListHostsRequest())).hosts}
    assert cpus == {first_id: 4, second_id: 64}
    await honest.running(launched.instance_id)
    async with asyncio.timeout(DEADLINE):
        states = [(await watch.read()).instance.state, (await watch.read()).instance.state]
    assert states == ["pending", "running"]
    [errors] = [
        host.error_count for host in (await hosts.ListHosts(operator.ListHostsRequest())).hosts if host.id == first_id
    ]
    assert errors == 0
