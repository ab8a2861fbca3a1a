"""User data reaches the host byte for byte, whatever it is, up to 16 KiB."""

import base64
import gzip
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest

from stead_controller.desired import desired_state
from stead_proto.v1 import desired_pb2 as pb
from tests.api.test_instance_attributes import sent
from tests.api.test_run_instances import run


def multipart():
    """What cloud-init's make-mime writes: a script and a cloud-config."""
    message = MIMEMultipart(boundary="==")
    message.attach(MIMEText("#!/bin/sh\necho grüße\n", "x-shellscript", "utf-8"))
    message.attach(MIMEText("#cloud-config\n{}\n", "cloud-config"))
    return message.as_bytes()


USER_DATA = {
    "gzip": gzip.compress(b"#!/bin/sh\necho hello\n"),
    "multi-part": multipart(),
    "gzip of multi-part": gzip.compress(multipart()),
    "every byte": bytes(range(256)),
    "as much as may be": b"\xff" * 16384,
}


@pytest.mark.parametrize("content", USER_DATA.values(), ids=USER_DATA.keys())
def test_user_data_comes_as_it_was_sent(api, content):
    # boto3 encodes what it is given: a binary value goes through its blob's base64.
    [instance] = run(api, UserData=content)["Instances"]
    words = sent(api, pb.KIND_MACHINE, instance["InstanceId"]).machine.metadata
    assert words.has_user_data
    assert words.user_data == content


def test_changed_user_data_comes_as_it_was_sent(api):
    instance_id = api.launch(state="stopped")
    api.run(desired_state.refresh_instance, instance_id)
    for content in USER_DATA.values():
        api.ec2.modify_instance_attribute(InstanceId=instance_id, UserData={"Value": content})
        assert sent(api, pb.KIND_MACHINE, instance_id).machine.metadata.user_data == content
        text = base64.encodebytes(content).decode()  # with line breaks, as `base64` writes it
        api.ec2.modify_instance_attribute(InstanceId=instance_id, Attribute="userData", Value=text)
        assert sent(api, pb.KIND_MACHINE, instance_id).machine.metadata.user_data == content
