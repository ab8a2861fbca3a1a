"""What our answers look like, letter by letter, and which results are refused."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from threading import Barrier
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.aws.protocol import codec_for
from stead_controller.aws.protocol.codec import WireError
from stead_controller.aws.protocol.query import Ec2Codec
from stead_controller.aws.protocol.write_xml import escape

XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
EC2 = "http://ec2.amazonaws.com/doc/2016-11-15/"


def written(operation: str, result: dict[str, Any], service: str = "ec2") -> str:
    return codec_for(service).write(operation, result, "R-1").body.decode().removeprefix(XML)


def test_ec2_answer() -> None:
    created = datetime(2026, 1, 2, 3, 4, 5, 678999, tzinfo=timezone(timedelta(hours=1)))
    volume = {"VolumeId": "vol-1", "Size": 8, "Encrypted": False, "CreateTime": created, "Attachments": [], "KmsKeyId": None}  # fmt: skip
    assert written("DescribeVolumes", {"Volumes": [volume]}) == (
        f'<DescribeVolumesResponse xmlns="{EC2}"><requestId>R-1</requestId><volumeSet><item>'
        "<volumeId>vol-1</volumeId><size>8</size>"
        "<createTime>2026-01-02T02:04:05.678Z</createTime><attachmentSet></attachmentSet>"
        "<encrypted>false</encrypted>"
        "</item></volumeSet></DescribeVolumesResponse>"
    )


def test_sts_answer() -> None:
    assert written("GetCallerIdentity", {"UserId": "u", "Account": "1", "Arn": "a"}, "sts") == (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
        "<UserId>u</UserId><Account>1</Account><Arn>a</Arn></GetCallerIdentityResult>"
        "<ResponseMetadata><RequestId>R-1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    )


def test_nothing_to_say_is_return_true() -> None:
    empty = f'<CreateTagsResponse xmlns="{EC2}"><requestId>R-1</requestId><return>true</return></CreateTagsResponse>'
    assert written("CreateTags", {}) == empty
    assert "<return>true</return>" in written("DeleteSecurityGroup", {"GroupId": "sg-1"})
    assert "<return>false</return>" in written("DeleteSecurityGroup", {"Return": False})
    assert "<return>" not in written("EnableImageDeregistrationProtection", {})  # it returns a string


def test_error_documents() -> None:
    error = WireError("A.B", "no <b> & 'c'", 400)
    assert codec_for("ec2").write_error(error, "R-1").body.decode().removeprefix(XML) == (
        "<Response><Errors><Error><Code>A.B</Code><Message>no &lt;b&gt; &amp; 'c'</Message></Error></Errors>"
        "<RequestID>R-1</RequestID></Response>"
    )
    assert codec_for("sts").write_error(error, "R-1").body.decode().removeprefix(XML) == (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
        "<Code>A.B</Code><Message>no &lt;b&gt; &amp; 'c'</Message></Error><RequestId>R-1</RequestId></ErrorResponse>"
    )
    assert "<Type>Receiver</Type>" in codec_for("sts").write_error(WireError("X", "", 500), "R-1").body.decode()


@pytest.mark.parametrize(
    "result",
    [
        {"Volumes": [{"VolumeID": "vol-1"}]},
        {"Volume": []},
        {"Volumes": [{"VolumeId": 5}]},
        {"Volumes": [{"Size": "8"}]},
        {"Volumes": [{"Size": True}]},
        {"Volumes": [{"Encrypted": "false"}]},
        {"Volumes": [{"Encrypted": 0}]},
        {"Volumes": [{"CreateTime": datetime.fromisoformat("2026-01-02")}]},
        {"Volumes": [{"CreateTime": "2026-01-02"}]},
        {"Volumes": "vol-1"},
    ],
)
def test_results_that_are_not_of_the_model_are_refused(result: dict[str, Any]) -> None:
    with pytest.raises((TypeError, AttributeError)):
        written("DescribeVolumes", result)


def test_a_result_where_the_model_has_none_is_refused() -> None:
    with pytest.raises(TypeError):
        written("CreateTags", {"Return": True})


@given(st.text())
def test_escaped_text_is_always_xml(text: str) -> None:
    escaped = escape(text)
    read = ET.fromstring(f"<a>{escaped}</a>".encode()).text or ""
    assert len(read) == len(text)
    for got, sent in zip(read, text, strict=True):
        assert got in (sent, "\N{REPLACEMENT CHARACTER}")


@given(st.text(max_size=50), st.text(max_size=50))
def test_no_value_becomes_markup(key: str, value: str) -> None:
    answer = codec_for("ec2").write("DescribeTags", {"Tags": [{"Key": key, "Value": value}]}, "R-1").body
    tree = ET.fromstring(answer)
    assert [element.tag.rsplit("}")[-1] for element in tree.iter()] == ["DescribeTagsResponse", "requestId", "tagSet", "item", "key", "value"]  # fmt: skip


def test_zero_time_zone_under_another_name_is_utc() -> None:
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(0)))
    assert "2026-01-02T03:04:05.000Z" in written("DescribeVolumes", {"Volumes": [{"CreateTime": when.astimezone(UTC)}]})
    assert "2026-01-02T03:04:05.000Z" in written("DescribeVolumes", {"Volumes": [{"CreateTime": when}]})


def test_first_answers_in_many_threads_at_once() -> None:
    """A controller that has just started is asked the same by several clients: one compiles, the others wait."""
    codec = Ec2Codec(codec_for("ec2").service)
    barrier = Barrier(8)

    def write() -> bytes:
        barrier.wait()
        return codec.write("DescribeInstances", {"Reservations": [{"Instances": [{"InstanceId": "i-1"}]}]}, "R").body

    with ThreadPoolExecutor(8) as pool:
        assert len({each.result() for each in [pool.submit(write) for _ in range(8)]}) == 1
