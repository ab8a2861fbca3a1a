"""RegisterImage's UefiData through boto3: what is a variable store, and what instances get of it."""

import base64
import zlib
from pathlib import Path

import pytest
from click.testing import CliRunner

from stead_cli.image import uefi_data
from stead_controller.db.tables import HostResource, Instance
from stead_controller.resources.images.uefi_data import STORE_BYTES
from stead_proto.v1 import desired_pb2 as pb
from tests.support import rows


def store(at=0, changed=b"", checksum=0):
    """A variable store without variables, by the structures of EDK II; `changed` from the byte `at` on."""
    head = bytearray(
        bytes(16)
        + bytes.fromhex("8d2bf1ff96768b4ca9852747075b4f50")
        + STORE_BYTES.to_bytes(8, "little")
        + b"_FVH"
        + bytes.fromhex("fffe0400 4800 0000 00000002 8400000000100000 0000000000000000")
        + bytes.fromhex("782cf3aa7b949a43a1802e144ec37792")
    )
    head[at : at + len(changed)] = changed
    sum_of_words = sum(int.from_bytes(head[place : place + 2], "little") for place in range(0, 72, 2))
    head[50:52] = ((checksum - sum_of_words) % 65536).to_bytes(2, "little")
    return bytes(head) + b"\xff" * (STORE_BYTES - len(head))


def data(content):
    return base64.b64encode(zlib.compress(content, 9)).decode()


@pytest.fixture
def register(api):
    """Register an image, by UEFI unless another mode is said."""

    def add(tx):
        row = rows.snapshot(api.world.one.caller.account_id)
        tx.session.add(row)
        return row.id

    mapping = [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": api.run(add)}}]

    def call(**params):
        plain = {"Name": "mine", "BlockDeviceMappings": mapping, "RootDeviceName": "/dev/sda1", "BootMode": "uefi"}
        return api.ec2.register_image(**plain | params)["ImageId"]

    return call


@pytest.mark.parametrize("mode", ["uefi", "uefi-preferred"])
def test_an_images_instances_begin_with_its_variables(api, register, mode):
    content = store()
    image_id = register(UefiData=data(content), BootMode=mode)
    shown = api.ec2.describe_image_attribute(ImageId=image_id, Attribute="uefiData")["UefiData"]["Value"]
    assert zlib.decompress(base64.b64decode(shown)) == content
    copy = api.ec2.copy_image(Name="copy", SourceImageId=image_id, SourceRegion=api.world.cloud.region)["ImageId"]
    for source in (image_id, copy):
        launched = api.ec2.run_instances(ImageId=source, InstanceType="t3.micro", MinCount=1, MaxCount=1)
        key = (api.world.host_id, pb.KIND_MACHINE, launched["Instances"][0]["InstanceId"])
        body = api.run(lambda tx, key=key: tx.session.get_one(HostResource, key).body)
        assert zlib.decompress(pb.Resource.FromString(body).machine.uefi_variables) == content


def test_an_image_of_an_instance_has_the_variables_of_its_image(api, register):
    content = store()
    launched = api.ec2.run_instances(
        ImageId=register(UefiData=data(content)), InstanceType="t3.micro", MinCount=1, MaxCount=1
    )
    instance_id = launched["Instances"][0]["InstanceId"]
    api.run(lambda tx: setattr(tx.session.get_one(Instance, instance_id), "state", "running"))
    image_id = api.ec2.create_image(InstanceId=instance_id, Name="of it", NoReboot=True)["ImageId"]
    shown = api.ec2.describe_image_attribute(ImageId=image_id, Attribute="uefiData")["UefiData"]["Value"]
    assert zlib.decompress(base64.b64decode(shown)) == content


def test_more_than_ec2_takes_is_not_even_decoded(api, register):
    assert "64000" in api.refused("InvalidParameterValue", lambda: register(UefiData="A" * 64_004))


@pytest.mark.parametrize(
    ("code", "params"),
    [
        ("InvalidParameterCombination", {"UefiData": data(store()), "BootMode": "legacy-bios"}),
        ("UnsupportedOperation", {"UefiData": base64.b64encode(b"AMZNUEFI" + bytes(8)).decode()}),
        ("InvalidParameterValue", {"UefiData": "no base64"}),
        ("InvalidParameterValue", {"UefiData": base64.b64encode(b"no stream").decode()}),
        ("InvalidParameterValue", {"UefiData": data(store())[:-40]}),
        ("InvalidParameterValue", {"UefiData": data(store() + b"x")}),
        ("InvalidParameterValue", {"UefiData": data(store()[:-1])}),
        ("InvalidParameterValue", {"UefiData": data(store(16, b"\x8c"))}),
        ("InvalidParameterValue", {"UefiData": data(store(32, b"\x01"))}),
        ("InvalidParameterValue", {"UefiData": data(store(40, b"_FVX"))}),
        ("InvalidParameterValue", {"UefiData": data(store(48, b"\x49"))}),
        ("InvalidParameterValue", {"UefiData": data(store(checksum=1))}),
        ("InvalidParameterValue", {"UefiData": data(store(72, b"\x79"))}),
    ],
)
def test_what_is_no_variable_store_is_refused(api, register, code, params):
    before = api.dump()
    api.refused(code, lambda: register(**params))
    assert api.dump() == before


def test_the_command_line_prints_it(tmp_path, register):
    file = Path(tmp_path / "vars.fd")
    file.write_bytes(store())
    done = CliRunner().invoke(uefi_data, [str(file)])
    register(UefiData=done.stdout.strip())
