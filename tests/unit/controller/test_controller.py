"""A whole controller on free ports: enrolment, the hosts' stream, operators and the native compute API over real TLS."""

import asyncio
import contextlib
import hashlib
import json
import time
from base64 import b64decode, b64encode
from dataclasses import replace

import boto3
import grpc
import pytest
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from stead_controller.aws.token_buckets import TokenBuckets
from stead_controller.clock import now
from stead_controller.controller import Controller
from stead_controller.initialise import initialise
from stead_controller.secrets.master_key import BadMasterKeyError
from stead_controller.settings import Settings
from stead_proto import tls
from stead_proto.blocks import BLOCK_BYTES
from stead_proto.certificates import new_signing_request
from stead_proto.v1 import blocks_pb2, blocks_pb2_grpc, compute_pb2_grpc, host_pb2_grpc, operator_pb2_grpc
from stead_proto.v1 import compute_pb2 as compute
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from stead_proto.v1 import operator_pb2 as operator
from tests.support.processes import free_ports
from tests.support.waiting import wait_for
from tests.unit.controller.blocks.test_image_files import make_empty
from tests.unit.controller.blocks.test_qcow2_header import header

DEADLINE = 30.0


class Cloud:
    """A running controller and ways to talk to it."""

    def __init__(self, state_dir):
        http, https, hosts, enrolment, endpoints = free_ports(5)
        self.settings = Settings(
            state_dir=state_dir,
            http_port=http,
            https_port=https,
            host_port=hosts,
            enrolment_port=enrolment,
            endpoint_port=endpoints,
        )
        self.stack = contextlib.AsyncExitStack()

    async def start(self):
        initialise(self.settings, now())
        self.controller = Controller(self.settings)
        await self.controller.start()

    async def restart(self):
        await self.controller.stop()
        self.controller = Controller(self.settings)
        await self.controller.start()

    async def put_back(self, copy):
        """Restart with the bytes of an older database."""
        await self.controller.stop()
        file = self.settings.state_dir / "stead.sqlite"
        for left in file.parent.glob("stead.sqlite-*"):
            left.unlink()
        file.write_bytes(copy)
        await self.restart()

    @property
    def credentials(self):
        return json.loads((self.settings.state_dir / "credentials.json").read_text())

    async def operator(self):
        folder = self.settings.state_dir
        identity = tls.Identity(
            key_pem=(folder / "operator-key.pem").read_bytes(),
            certificate_pem=(folder / "operator.pem").read_bytes(),
            ca_pem=(folder / "ca.pem").read_bytes(),
        )
        return await self.channel(tls.channel_to_controller(f"127.0.0.1:{self.settings.host_port}", identity))

    async def build_handler(self):
        ca_pem = (self.settings.state_dir / "ca.pem").read_bytes()
        return await self.channel(tls.channel_to_enrolment(f"127.0.0.1:{self.settings.enrolment_port}", ca_pem))

    async def channel(self, channel):
        return await self.stack.enter_async_context(channel)

    async def token(self):
        hosts = operator_pb2_grpc.HostsStub(await self.operator())
        return (await hosts.CreateEnrolmentToken(operator.CreateEnrolmentTokenRequest())).token

    async def enrol(self, token=None):
        key_pem, csr = new_signing_request("test")
        stub = host_pb2_grpc.EnrolmentStub(await self.build_handler())
        answer = await stub.Enrol(pb.EnrolRequest(token=token or await self.token(), csr_pem=csr, hostname="box"))
        return answer.host_id, tls.Identity(key_pem, answer.certificate_pem, answer.ca_pem)

    async def import_image(self, content, **changes):
        images = operator_pb2_grpc.ImagesStub(await self.operator())
        values = {"name": "micro", "format": "qcow2", "file_size": len(content), "public": True} | changes

        async def messages():
            yield operator.ImportImageRequest(header=operator.ImportImageHeader(**values))
            await is_taken.wait()
            for start in range(0, len(content), 10_000):
                yield operator.ImportImageRequest(content=content[start : start + 10_000])

        is_taken, responses = asyncio.Event(), []
        async for response in images.ImportImage(messages()):
            is_taken.set()
            responses.append(response)
        assert [response.percent for response in responses] == sorted(response.percent for response in responses)
        return responses[-1]

    async def agent(self, identity, revision=0, epoch="", cpus=4, *, known=0):
        channel = await self.channel(tls.channel_to_controller(f"127.0.0.1:{self.settings.host_port}", identity))
        stream = host_pb2_grpc.HostLinkStub(channel).Session()
        facts = pb.HostFacts(hostname="box", architecture="x86_64", cpus=cpus, memory=8 << 30, virtualization="qemu")
        node = pb.NumaNode(number=2, threads="0-3", memory=8 << 30)
        facts.hardware.CopyFrom(pb.Hardware(cores=2, cpu_model="A", cpu_features=["fpu", "vmx"], numa_nodes=[node]))
        facts.boot_modes.append("uefi")
        facts.tpm = True
        hello = pb.Hello(revision=revision, desired_epoch=epoch, agent_version="0", facts=facts, known_revision=known)
        await stream.write(pb.HostReport(hello=hello))
        return Agent(stream, channel)

    async def compute(self):
        return compute_pb2_grpc.ComputeStub(await self.build_handler())

    @property
    def key(self):
        credentials = self.credentials
        return (
            ("stead-access-key", credentials["access_key_id"]),
            ("stead-secret-key", credentials["secret_access_key"]),
        )


class Agent:
    """The other end of one host's stream."""

    def __init__(self, stream, channel):
        self.stream = stream
        self.channel = channel

    async def next_state(self):
        async with asyncio.timeout(DEADLINE):
            while True:
                update = await self.stream.read()
                assert update is not grpc.aio.EOF, "the controller ended the stream"
                if update.HasField("state"):
                    return update.state

    async def next_question(self):
        async with asyncio.timeout(DEADLINE):
            while True:
                update = await self.stream.read()
                if update.HasField("question"):
                    return update.question

    async def running(self, instance_id, start_count=1):
        status = pb.ResourceStatus(
            kind=desired.KIND_MACHINE,
            id=instance_id,
            condition=pb.CONDITION_READY,
            machine=pb.MachineStatus(power=pb.MACHINE_POWER_RUNNING, start_count=start_count),
        )
        await self.stream.write(pb.HostReport(progress=pb.Progress(statuses=[status])))


@pytest.fixture
async def cloud(tmp_path, empty_database_file):
    folder = tmp_path / "controller"
    folder.mkdir(mode=0o700)
    (folder / "stead.sqlite").write_bytes(empty_database_file)
    cloud = Cloud(folder)
    await cloud.start()
    yield cloud
    await cloud.stack.aclose()
    await cloud.controller.stop()


async def test_a_machine_enrols_once_with_a_token_and_becomes_a_host(cloud):
    token = await cloud.token()
    host_id, identity = await cloud.enrol(token)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await cloud.enrol(token)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    await (await cloud.agent(identity)).next_state()
    hosts = operator_pb2_grpc.HostsStub(await cloud.operator())
    [host] = (await hosts.ListHosts(operator.ListHostsRequest())).hosts
    assert (host.id, host.state, host.cpus, host.uefi, host.tpm) == (host_id, "up", 4, True, True)


async def test_an_operator_sets_a_host_and_takes_it_out(cloud):
    host_id, identity = await cloud.enrol()
    await (await cloud.agent(identity)).next_state()
    hosts = operator_pb2_grpc.HostsStub(await cloud.operator())
    asked = operator.SetHostRequest(host_id=host_id, labels={"rack": "7"}, overcommit_cpus=2, reserve_memory=1 << 30)
    done = await hosts.SetHost(asked)
    assert (done.cpus_offered, done.memory_offered, done.emulation_memory) == (8, 13 << 29, 1 << 29)
    assert (await hosts.SetSchedulable(operator.SetSchedulableRequest(host_id=host_id))).state == "cordoned"
    assert (await hosts.DrainHost(operator.DrainHostRequest(host_id=host_id))).state == "drained"
    [shown] = (await hosts.ListHosts(operator.ListHostsRequest(host_id=host_id))).hosts
    assert (shown.state, shown.labels["rack"], shown.overcommit_cpus, shown.overcommit_memory) == ("drained", "7", 2, 1)
    assert (shown.cores, shown.cpu_model, list(shown.cpu_features)) == (2, "A", ["fpu", "vmx"])
    assert list(shown.numa_nodes) == [operator.HostNumaNode(number=2, threads="0-3", memory=8 << 30)]
    for call in (
        hosts.SetHost(operator.SetHostRequest(host_id=host_id, zone="nowhere")),
        hosts.SetHost(operator.SetHostRequest(host_id=host_id, overcommit_memory=99)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await hosts.ListHosts(operator.ListHostsRequest(host_id="h-00000000000000000"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_the_native_api_asks_the_policies_of_users(cloud):
    def make_user():
        root = cloud.credentials
        iam = boto3.client(
            "iam",
            region_name="us-east-1",
            endpoint_url=f"http://127.0.0.1:{cloud.settings.http_port}",
            aws_access_key_id=root["access_key_id"],
            aws_secret_access_key=root["secret_access_key"],
        )
        iam.create_user(UserName="ada")
        iam.attach_user_policy(UserName="ada", PolicyArn="arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess")
        return iam.create_access_key(UserName="ada")["AccessKey"]

    made = await asyncio.to_thread(make_user)
    key = (("stead-access-key", made["AccessKeyId"]), ("stead-secret-key", made["SecretAccessKey"]))
    stub = await cloud.compute()
    absent = ["i-00000000000000000"]
    assert list((await stub.DescribeInstances(compute.DescribeInstancesRequest(), metadata=key)).instances) == []
    for call in (
        stub.RunInstances(compute.RunInstancesRequest(image_id="ami-00000000000000000"), metadata=key),
        stub.StartInstances(compute.InstanceIds(instance_ids=absent), metadata=key),
        stub.StopInstances(compute.StopInstancesRequest(instance_ids=absent), metadata=key),
        stub.RebootInstances(compute.InstanceIds(instance_ids=absent), metadata=key),
        stub.TerminateInstances(compute.InstanceIds(instance_ids=absent), metadata=key),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert "because no identity-based policy allows" in refused.value.details()


async def test_hosts_are_no_operators_and_operators_no_hosts(cloud):
    _, identity = await cloud.enrol()
    channel = await cloud.channel(tls.channel_to_controller(f"127.0.0.1:{cloud.settings.host_port}", identity))
    for call in (
        operator_pb2_grpc.HostsStub(channel).ListHosts(operator.ListHostsRequest()),
        operator_pb2_grpc.AccountsStub(channel).ListAccounts(operator.ListAccountsRequest()),
        operator_pb2_grpc.AccountsStub(channel).CreateAccount(operator.CreateAccountRequest(name="x")),
        operator_pb2_grpc.ImagesStub(channel).ListImages(operator.ListImagesRequest()),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    # Says nothing: a message that is sent while the refusal arrives would end the call as INTERNAL.
    stream = host_pb2_grpc.HostLinkStub(await cloud.operator()).Session()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stream.read()
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_removed_host_is_refused(cloud):
    host_id, identity = await cloud.enrol()
    hosts = operator_pb2_grpc.HostsStub(await cloud.operator())
    await hosts.RemoveHost(operator.RemoveHostRequest(host_id=host_id))
    agent = await cloud.agent(identity)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await agent.stream.read()
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_the_session_of_a_host_that_is_removed_ends(cloud):
    host_id, identity = await cloud.enrol()
    agent = await cloud.agent(identity)
    assert await agent.stream.read()
    hosts = operator_pb2_grpc.HostsStub(await cloud.operator())
    await hosts.RemoveHost(operator.RemoveHostRequest(host_id=host_id))
    async with asyncio.timeout(60):
        while await agent.stream.read() is not grpc.aio.EOF:
            pass


async def test_a_launch_is_pushed_to_the_host_and_its_report_to_watchers(cloud):
    image = await cloud.import_image(bytes(make_empty(1 << 29)))
    _, identity = await cloud.enrol()
    agent = await cloud.agent(identity)
    first = await agent.next_state()
    assert first.full
    client = await cloud.compute()
    watch = client.Watch(compute.WatchRequest(), metadata=cloud.key)
    assert (await watch.read()).synced
    request = compute.RunInstancesRequest(image_id=image.image_id, instance_type="stead.tiny", tags={"Name": "a"})
    [launched] = (await client.RunInstances(request, metadata=cloud.key)).instances
    assert launched.state == "pending"
    delta = await agent.next_state()
    assert not delta.full
    assert delta.epoch == first.epoch
    assert launched.instance_id in {item.id for item in delta.resources}
    [words] = [item.machine.metadata for item in delta.resources if item.id == launched.instance_id]
    certificate = x509.load_pem_x509_certificate((cloud.settings.state_dir / "instance-identity.pem").read_bytes())
    document = words.identity.document
    certificate.public_key().verify(words.identity.signature, document, padding.PKCS1v15(), hashes.SHA256())
    assert json.loads(document)["instanceId"] == launched.instance_id
    assert json.loads(document)["privateIp"] == launched.private_address
    assert words.availability_zone_id == "use1-az1"
    async with asyncio.timeout(DEADLINE):
        assert (await watch.read()).instance.state == "pending"
    await agent.running(launched.instance_id)
    async with asyncio.timeout(DEADLINE):
        event = await watch.read()
    assert (event.instance.state, dict(event.instance.tags)) == ("running", {"Name": "a"})


async def test_an_agent_that_was_away_gets_what_it_missed_and_a_new_one_everything(cloud):
    image = await cloud.import_image(bytes(make_empty(1 << 29)))
    _, identity = await cloud.enrol()
    agent = await cloud.agent(identity)
    first = await agent.next_state()
    client = await cloud.compute()
    request = compute.RunInstancesRequest(image_id=image.image_id, instance_type="stead.tiny")
    [one] = (await client.RunInstances(request, metadata=cloud.key)).instances
    seen = await agent.next_state()
    await cloud.restart()
    [two] = (await (await cloud.compute()).RunInstances(request, metadata=cloud.key)).instances
    back = await cloud.agent(identity, seen.revision, seen.epoch)
    missed = await back.next_state()
    assert not missed.full
    assert two.instance_id in {item.id for item in missed.resources}
    assert one.instance_id not in {item.id for item in missed.resources}
    stranger = await cloud.agent(identity, seen.revision, "another epoch")
    everything = await stranger.next_state()
    assert everything.full
    assert {one.instance_id, two.instance_id} <= {item.id for item in everything.resources}
    assert first.epoch == everything.epoch
    assert everything.older, "its revision is of a database that nobody here knows"


async def test_a_database_put_back_from_a_copy_has_nothing_removed_that_it_does_not_know(cloud):
    """However far it has gone on meanwhile; and what it does not know is shown, and removed by decision."""
    image = await cloud.import_image(bytes(make_empty(1 << 29)))
    host_id, identity = await cloud.enrol()
    agent = await cloud.agent(identity)
    await agent.next_state()
    request = compute.RunInstancesRequest(image_id=image.image_id, instance_type="stead.tiny")

    async def launch():
        [instance] = (await (await cloud.compute()).RunInstances(request, metadata=cloud.key)).instances
        return instance.instance_id

    one, before = await launch(), await agent.next_state()
    await cloud.controller.stop()
    file = cloud.settings.state_dir / "stead.sqlite"
    copy = file.read_bytes()
    await cloud.restart()
    agent = await cloud.agent(identity, before.revision, before.epoch)
    state = await agent.next_state()
    assert (state.full, state.older) == (False, False), "a start leaves out revisions that no host has reached"
    two, seen = await launch(), await agent.next_state()
    assert two in {item.id for item in seen.resources}
    await cloud.put_back(copy)
    three = await launch()
    back = await cloud.agent(identity, seen.revision, seen.epoch)
    state = await back.next_state()
    assert (state.full, state.older) == (True, True)
    assert {one, three} <= {item.id for item in state.resources}
    assert two not in {item.id for item in [*state.resources, *state.removals]}
    unclaimed = pb.ResourceStatus(kind=desired.KIND_MACHINE, id=two, condition=pb.CONDITION_UNCLAIMED)
    await back.stream.write(pb.HostReport(progress=pb.Progress(revision=state.revision, statuses=[unclaimed])))
    hosts = operator_pb2_grpc.HostsStub(await cloud.operator())

    async def errors():
        (host,) = (await hosts.ListHosts(operator.ListHostsRequest())).hosts
        assert (list(host.errors), host.unclaimed_count) == ([], len(host.unclaimed))
        return list(host.unclaimed)

    async with asyncio.timeout(DEADLINE):
        while not (found := await errors()):
            pass
    assert [(each.kind, each.id) for each in found] == [("machine", two)]
    assert "stead unclaimed" in found[0].error
    for wrong in (one, "i-0123456789abcdef0"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await hosts.DiscardUnclaimed(operator.DiscardUnclaimedRequest(host_id=host_id, ids=[two, wrong]))
        assert wrong in refused.value.details()
    await hosts.DiscardUnclaimed(operator.DiscardUnclaimedRequest(host_id=host_id, ids=[two]))
    removal = await back.next_state()
    while not removal.removals:
        removal = await back.next_state()
    assert [each.id for each in removal.removals] == [two]
    gone = pb.ResourceStatus(kind=desired.KIND_MACHINE, id=two, condition=pb.CONDITION_ABSENT)
    await back.stream.write(pb.HostReport(progress=pb.Progress(revision=removal.revision, statuses=[gone])))
    async with asyncio.timeout(DEADLINE):
        while await errors():
            pass


async def test_the_blocks_of_an_image_are_fetched_by_the_hosts_that_need_them_only(cloud):
    content = b"boot" * BLOCK_BYTES + bytes(BLOCK_BYTES)
    image = await cloud.import_image(content, format="raw")
    assert image.sha256 == hashlib.sha256(content).hexdigest()
    async with asyncio.timeout(DEADLINE):
        while any(cloud.settings.incoming_folder.iterdir()):
            await cloud.controller.database.run(lambda _tx: None, writes=False)
    _, identity = await cloud.enrol()
    agent = await cloud.agent(identity)
    await agent.next_state()
    stub = blocks_pb2_grpc.BlockStoreStub(agent.channel)
    request = compute.RunInstancesRequest(image_id=image.image_id, instance_type="stead.tiny")
    await (await cloud.compute()).RunInstances(request, metadata=cloud.key)
    (base,) = [item for item in (await agent.next_state()).resources if item.HasField("base")]
    assert base.base.size == len(content)
    assert base.base.stored_size == 4 * BLOCK_BYTES
    [segment] = [one async for one in stub.ListSegments(blocks_pb2.ListSegmentsRequest(snapshot_id=base.id))]
    assert list(segment.slots) == [0, 1, 2, 3]
    _, other = await cloud.enrol()
    stranger = blocks_pb2_grpc.BlockStoreStub((await cloud.agent(other)).channel)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stranger.ListSegments(blocks_pb2.ListSegmentsRequest(snapshot_id=base.id)).read()
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("content", "changes", "code"),
    [
        (header(backing=9, backing_size=9), {}, grpc.StatusCode.INVALID_ARGUMENT),
        (b"#!/bin/sh", {"format": "guess"}, grpc.StatusCode.INVALID_ARGUMENT),
        (header(), {"file_size": 7}, grpc.StatusCode.INVALID_ARGUMENT),
        (header(), {"name": "x"}, grpc.StatusCode.INVALID_ARGUMENT),
        (header(), {"architecture": "arm64"}, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_bad_images_leave_nothing(cloud, content, changes, code):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await cloud.import_image(content, **changes)
    assert refused.value.code() is code
    assert list(cloud.settings.incoming_folder.iterdir()) == []
    images = operator_pb2_grpc.ImagesStub(await cloud.operator())
    assert not (await images.ListImages(operator.ListImagesRequest())).images


async def test_a_question_is_answered_by_the_right_host(cloud):
    from stead_controller.request.questions import ConsoleOutput

    host_id, identity = await cloud.enrol()
    agent = await cloud.agent(identity)
    await agent.next_state()
    asking = asyncio.create_task(cloud.controller._asking.ask(ConsoleOutput(host_id, "i-1", 100)))
    question = await agent.next_question()
    assert question.console_output.machine_id == "i-1"
    answer = pb.Answer(id=question.id, content=b"login:", taken_at=1000)
    await agent.stream.write(pb.HostReport(answer=answer))
    async with asyncio.timeout(DEADLINE):
        assert (await asking).content == b"login:"


async def test_a_windows_password_is_read_stored_and_decrypted_with_the_key_pair(cloud):
    image = await cloud.import_image(bytes(make_empty(1 << 29)))
    _, identity = await cloud.enrol()
    agent = await cloud.agent(identity)
    await agent.next_state()
    ec2 = boto3.client(
        "ec2",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{cloud.settings.http_port}",
        aws_access_key_id=cloud.credentials["access_key_id"],
        aws_secret_access_key=cloud.credentials["secret_access_key"],
        config=Config(retries={"total_max_attempts": 1}, read_timeout=DEADLINE),
    )
    pair = await asyncio.to_thread(ec2.create_key_pair, KeyName="win")
    request = {"ImageId": image.image_id, "InstanceType": "stead.tiny", "MinCount": 1, "MaxCount": 1, "KeyName": "win"}
    instance_id = (await asyncio.to_thread(ec2.run_instances, **request))["Instances"][0]["InstanceId"]

    def runs():
        [shown] = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
        return shown["State"]["Name"] == "running"

    def password():
        return ec2.get_password_data(InstanceId=instance_id)["PasswordData"]

    assert await asyncio.to_thread(password) == ""  # not running yet: nobody is asked
    await agent.running(instance_id)
    await asyncio.to_thread(wait_for, runs, f"{instance_id} runs", DEADLINE)
    private = serialization.load_pem_private_key(pair["KeyMaterial"].encode(), None)
    for secret, refusal in ((b"", ""), (b"s3cret, Windows!", ""), (b"", "libvirt is away")):
        asking = asyncio.create_task(asyncio.to_thread(password))
        question = await agent.next_question()
        assert question.password.machine_id == instance_id
        written = b64encode(private.public_key().encrypt(secret, padding.PKCS1v15())) if secret else b""
        await agent.stream.write(pb.HostReport(answer=pb.Answer(id=question.id, content=written, error=refusal)))
        async with asyncio.timeout(DEADLINE):
            shown = await asking
        known = b"" if (secret, refusal) == (b"", "") else b"s3cret, Windows!"
        assert (private.decrypt(b64decode(shown), padding.PKCS1v15()) if shown else b"") == known


async def test_a_wrong_secret_is_refused(cloud):
    client = await cloud.compute()
    access, (name, secret) = cloud.key
    for metadata in ((access, (name, secret + "x")), (access,), (), ((access[0], "AKIANOBODY"), (name, secret))):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.DescribeInstances(compute.DescribeInstancesRequest(), metadata=metadata)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_who_calls_the_native_api_too_often_waits(cloud, monkeypatch):
    client = await cloud.compute()
    controller = cloud.controller
    access, (name, secret) = cloud.key
    known = client.DescribeInstances
    await known(compute.DescribeInstancesRequest(), metadata=cloud.key)
    monkeypatch.setattr(controller._failed_logins, "_failures", TokenBuckets(0.1, lambda: 0.0))  # one failure
    token = await cloud.token()
    codes = []
    for metadata in ((access, (name, secret + "x")), (("stead-access-key", "AKIANOBODY"), (name, secret)), cloud.key):
        try:
            await known(compute.DescribeInstancesRequest(), metadata=metadata)
        except grpc.aio.AioRpcError as refused:
            codes.append(refused.code())
    assert codes == [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await cloud.enrol(token)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    monkeypatch.setattr(controller._failed_logins, "_failures", TokenBuckets(0.1, lambda: 0.0))
    for text, code in (("none", "PERMISSION_DENIED"), (token, "RESOURCE_EXHAUSTED")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await cloud.enrol(text)
        assert refused.value.code().name == code
    monkeypatch.setattr(controller._throttle, "_buckets", TokenBuckets(0.01, lambda: 0.0))  # a call of each kind
    gone = compute.InstanceIds(instance_ids=["i-00000000000000000"])
    codes = []
    for _ in range(2):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.StartInstances(gone, metadata=cloud.key)
        codes.append(refused.value.code())
    assert codes == [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.RESOURCE_EXHAUSTED]


async def test_the_silent_host_is_down(cloud):
    _, identity = await cloud.enrol()
    await (await cloud.agent(identity)).next_state()
    hosts = operator_pb2_grpc.HostsStub(await cloud.operator())
    controller = cloud.controller
    controller._liveness._monotonic = lambda: time.monotonic() + controller.settings.host_timeout_seconds + 1
    await controller._liveness.write(controller.database)
    await controller._liveness.write(controller.database)
    [host] = (await hosts.ListHosts(operator.ListHostsRequest())).hosts
    assert host.state == "down"


def test_state_is_not_readable_by_others(tmp_path):
    settings = replace(Settings(state_dir=tmp_path / "state"))
    initialise(settings, now())
    before = (settings.state_dir / "credentials.json").read_bytes()
    initialise(settings, now())
    assert (settings.state_dir / "credentials.json").read_bytes() == before
    for name in ("credentials.json", "master.key", "operator-key.pem"):
        assert not (settings.state_dir / name).stat().st_mode & 0o077
    secret = json.loads(before)["secret_access_key"].encode()
    for path in settings.state_dir.rglob("*"):
        if path.is_file() and path.name != "credentials.json":
            assert secret not in path.read_bytes(), path


async def test_an_operator_has_the_blocks_checked(cloud):
    stub = operator_pb2_grpc.BlocksStub(await cloud.operator())
    found = [one async for one in stub.ScrubBlocks(operator.ScrubBlocksRequest(), timeout=DEADLINE)]
    assert [one.finished for one in found] == [False] * (len(found) - 1) + [True]
    assert (found[-1].blocks, found[-1].bad_blocks) == (0, 0)


async def test_a_cloud_with_another_master_key_does_not_start(tmp_path):
    """Else it would seal new secrets under a key that the old ones do not have, and refuse all signatures."""
    settings = Settings(state_dir=tmp_path)
    initialise(settings, now())
    stored = (tmp_path / "master.key").read_bytes()
    (tmp_path / "master.key").unlink()
    with pytest.raises(BadMasterKeyError, match=r"access_keys.*master\.key"):
        initialise(settings, now())
    controller = Controller(settings)
    with pytest.raises(BadMasterKeyError):
        await controller.start()
    controller.database.close()
    (tmp_path / "master.key").write_bytes(stored)
    initialise(settings, now())
