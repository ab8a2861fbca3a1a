"""Calls to S3 are billed from their records in the audit files, each once, to who owns the bucket."""

import asyncio
import shutil
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from stead_controller.audit import files as audit_files
from stead_controller.audit.files import AuditFiles
from stead_controller.aws.audit.record import draw
from stead_controller.aws.call_record import CallRecord
from stead_controller.db.tables import PublicAddress, UsageAmount, UsageFile
from stead_controller.object_store import object_usage
from stead_controller.object_store.object_usage import ObjectUsage
from stead_controller.request.caller import Caller
from tests.support.examples import examples
from tests.support.rows import NOW

OWNER, OTHER = "1" * 12, "2" * 12
OUT, WRITES, READS = "DataTransfer-Out-Bytes", "Requests-Tier1", "Requests-Tier2"
FAR = "198.51.100.7"


def person(account_id):
    return Caller(
        account_id, f"arn:aws:iam::{account_id}:root", account_id, kind="root", access_key_id="AKIAIOSFODNN7EXAMPLE"
    )


def call(operation, *, by=OWNER, bucket="b", owner=OWNER, sent=0, code=None, source=FAR, endpoint=""):
    number = call.number = getattr(call, "number", 0) + 1
    return CallRecord(
        request_id=f"{number:016X}", event_id=f"e-{number}", time=NOW, service="s3", operation=operation,
        caller=person(by) if by else None, access_key_id="", source_ip=source, user_agent="", status=200,
        error_code=code, error_message=None, seconds=0.1, weight=1, params={"Bucket": bucket, "Key": "k"}, result=None,
        additional={"bytesTransferredIn": 0, "bytesTransferredOut": sent}, owner_id=owner, endpoint_id=endpoint,
    )  # fmt: skip


def line(*given, **more):
    return draw(call(*given, **more), "us-east-1").text


class Reader:
    """Files of records, and who bills them; `kill` forgets all that is not in the database."""

    def __init__(self, database, folder):
        self.database, self.folder, self.now = database, folder, NOW
        self.files = tuple(AuditFiles(folder, days=3, most_bytes=1 << 30, kind=kind) for kind in ("", "data"))
        self.kill()

    def kill(self):
        self.usage = ObjectUsage(self.database, self.files, lambda: self.now)

    def append(self, *lines, data=True, lasting=False):
        self.files[data].append(lines, self.now, lasting=lasting)

    def read(self):
        asyncio.run(self.usage.run())

    def billed(self):
        found = self.database.run_blocking(lambda tx: tx.session.scalars(select(UsageAmount)).all())
        total = Counter()
        for row in found:
            total[row.account_id, row.resource_id, row.usage, row.operation] += row.amount
        return dict(total)

    def write(self, function):
        self.database.run_blocking(function)


@pytest.fixture
def reader(database, tmp_path):
    return Reader(database, tmp_path / "audit")


def test_requests_are_of_two_classes_and_deletions_are_free(reader):
    names = ("PutObject", "CopyObject", "ListObjectsV2", "UploadPart", "GetObject", "HeadObject", "DeleteObject")
    reader.append(*map(line, names), line("AbortMultipartUpload"))
    reader.append(line("CreateBucket"), line("GetBucketLocation"), line("DeleteBucket"), data=False)
    reader.read()
    writes, reads = ("PutObject", "CopyObject", "ListObjects", "UploadPart", "CreateBucket"), names[4:6]
    assert reader.billed() == {(OWNER, "b", WRITES, name): 1 for name in writes} | {
        (OWNER, "b", READS, name): 1 for name in (*reads, "GetBucketLocation")
    }


def of_metrics(operation, *, code=None, service="cloudwatch", by=OWNER, **params):
    made = call(operation, code=code, by=by)
    made = replace(made, service=service, operation=operation, params=params, owner_id="", additional={})
    return draw(made, "us-east-1").text


def of_blocks(operation, **more):
    return of_metrics(operation, service="ebs", **more)


def test_calls_of_the_ebs_direct_apis_are_billed_to_who_makes_them(reader):
    block = {"SnapshotId": "snap-1", "BlockIndex": 0}
    reader.append(
        *[of_blocks("GetSnapshotBlock", **block, BlockToken="t")] * 3,
        of_blocks("GetSnapshotBlock", **block, BlockToken="t", by=OTHER),
        of_blocks("GetSnapshotBlock", **block, BlockToken="t", code="AccessDeniedException"),
        of_blocks("ListSnapshotBlocks", SnapshotId="snap-1"),
        of_blocks("ListChangedBlocks", FirstSnapshotId="snap-1", SecondSnapshotId="snap-2"),
        of_blocks("StartSnapshot", VolumeSize=1),
        of_blocks("CompleteSnapshot", SnapshotId="snap-3", ChangedBlocksCount=0),
    )
    reader.read()
    usage = "EBS:directAPI.snapshot."
    assert reader.billed() == {
        (OWNER, "snap-1", f"{usage}Get", "GetSnapshotBlock"): 3,
        (OTHER, f"snap-1.{OTHER}", f"{usage}Get", "GetSnapshotBlock"): 1,
        (OWNER, "snap-1", f"{usage}List", "ListSnapshotBlocks"): 1,
        (OWNER, "snap-2", f"{usage}List", "ListChangedBlocks"): 1,
    }


def test_calls_of_cloudwatch_are_billed_to_who_makes_them(reader):
    query = {"Id": "a", "MetricStat": {"Metric": {"Namespace": "N", "MetricName": "M"}, "Period": 60, "Stat": "Sum"}}
    queries = [query, {**query, "Id": "b"}, {"Id": "c", "Expression": "a+b"}]
    times = {"StartTime": NOW, "EndTime": NOW}
    reader.append(
        *[of_metrics("PutMetricData", Namespace="N", MetricData=[])] * 2,
        of_metrics("PutMetricData", Namespace="N", code="InvalidParameterValue"),
        of_metrics("GetMetricData", MetricDataQueries=queries, **times),
        of_metrics("GetMetricData", MetricDataQueries=[queries[2]], **times),
    )
    reader.append(
        of_metrics("ListMetrics"), of_metrics("DescribeAlarms"), of_metrics("GetMetricWidgetImage"), data=False
    )
    reader.read()
    resource = f"cloudwatch:{OWNER}"
    assert reader.billed() == {
        (OWNER, resource, "CW:Requests", "PutMetricData"): 2,
        (OWNER, resource, "CW:Requests", "ListMetrics"): 1,
        (OWNER, resource, "CW:GMD-Metrics", "GetMetricData"): 3,
    }


def test_bytes_of_objects_are_billed_that_leave_the_cloud(reader):
    reader.write(lambda tx: tx.session.add(PublicAddress(address="203.0.113.5", account_id=OTHER)))
    reader.append(
        line("GetObject", sent=1000),
        line("GetObject", sent=500, source="192.0.2.1"),
        line("GetObject", sent=70, source="203.0.113.5"),
        line("GetObject", sent=8, source="10.0.0.4", endpoint="vpce-1"),
        line("GetObject", sent=9, code="NoSuchKey"),
        line("ListObjects", sent=4000),
    )
    reader.read()
    found = reader.billed()
    assert found[OWNER, "b", OUT, "GetObject"] == 1500
    assert found[OWNER, "b", READS, "GetObject"] == 5
    assert len(found) == 3


@pytest.mark.parametrize(
    ("how", "count"),
    [
        ({"code": "NoSuchKey"}, 1),
        ({"code": "AccessDenied"}, 1),
        ({"code": "AccessDenied", "by": OTHER}, 0),
        ({"code": "AccessDenied", "by": ""}, 0),
        ({"code": "NoSuchKey", "by": OTHER}, 1),
        ({"code": "InternalError"}, 0),
        ({"code": "SlowDown"}, 0),
        ({"by": ""}, 1),
        ({"owner": ""}, 0),
        ({"operation": None}, 0),
    ],
)
def test_who_is_refused_costs_an_owner_nothing_nor_does_a_broken_server(reader, how, count):
    reader.append(line(**({"operation": "HeadObject"} | how)))
    reader.read()
    assert sum(reader.billed().values()) == count


def test_a_call_by_another_account_is_the_owners_once(reader):
    used = call("PutObject", by=OTHER)
    reader.append(draw(used, "us-east-1").text, draw(used.of_owner(), "us-east-1").text)
    reader.read()
    assert reader.billed() == {(OWNER, "b", WRITES, "PutObject"): 1}


def test_calls_of_other_services_and_of_an_earlier_release_cost_nothing_and_broken_lines_are_left_out(reader, caplog):
    earlier = line("PutObject").replace(
        '"accountId":"111111111111","type":"AWS::S3::Bucket"', '"type":"AWS::S3::Bucket"'
    )
    assert earlier != line("PutObject")
    reader.append(earlier, "no record", '{"type":"AWS::S3::Bucket"', '{"type":"AWS::S3::Bucket"}', line("PutObject"))
    reader.read()
    assert sum(reader.billed().values()) == 1
    assert [record.count for record in caplog.records if record.message == "audit_lines_unreadable"] == [2]


def test_half_a_line_waits_for_the_rest(reader):
    reader.append(line("PutObject"))
    whole = line("PutObject").encode()
    [path] = reader.folder.iterdir()
    with path.open("ab") as file:
        file.write(whole[:100])
    reader.read()
    assert sum(reader.billed().values()) == 1
    reader.files[1].repair()  # as at the next start
    reader.kill()
    reader.append(line("PutObject"))
    reader.read()
    assert sum(reader.billed().values()) == 2


def test_lines_that_a_full_disk_takes_back_are_not_billed(reader, monkeypatch):
    """The file is asked for while half of a batch is in it: what is seen then is not what it was."""
    reader.append(line("PutObject"))
    seen = []
    [path] = reader.folder.iterdir()

    def fail(descriptor, content):
        audit_files.os.write(descriptor, content[: len(content) // 2 + 10])
        seen.append(reader.files[1]._lock.locked())
        raise OSError

    monkeypatch.setattr(audit_files, "_write_all", fail)
    size = path.stat().st_size
    with pytest.raises(OSError):
        reader.append(line("PutObject"), line("PutObject"))
    assert seen == [True]
    assert reader.files[1].whole() == [(path, size)]


def test_a_clock_that_goes_back_over_midnight_leaves_nothing_out(reader):
    for days in (0, 1, 0, 1, 0):
        reader.now = NOW + timedelta(days=days)
        reader.append(line("PutObject"))
        reader.read()
    assert sum(reader.billed().values()) == 5


def test_a_file_that_comes_back_by_another_name_is_not_billed_again(reader):
    reader.append(line("PutObject"), line("PutObject"))
    reader.read()
    [path] = reader.folder.iterdir()
    path.rename(path.with_name("2026-01-01.data.7.jsonl"))
    reader.kill()
    reader.append(line("PutObject"))  # a new file by the old name
    reader.read()
    assert sum(reader.billed().values()) == 3


def test_a_shorter_copy_of_a_file_is_billed_from_its_end(reader, tmp_path, caplog):
    reader.append(line("PutObject"))
    [path] = reader.folder.iterdir()
    shutil.copy(path, tmp_path / "copy")
    reader.append(line("PutObject"), line("PutObject"))
    reader.read()
    reader.kill()
    reader.read()
    assert caplog.records == [], "a file of which all is read is not shorter, and has no line that cannot be read"
    shutil.copy(tmp_path / "copy", path)
    reader.kill()
    reader.read()
    assert [(each.message, each.path) for each in caplog.records] == [("audit_file_is_shorter", str(path))]
    reader.append(line("PutObject"))
    reader.read()
    assert sum(reader.billed().values()) == 4


def test_a_database_of_an_earlier_time_bills_again_what_it_does_not_know(reader):
    reader.append(line("PutObject"))
    reader.read()
    before = reader.database.run_blocking(lambda tx: tx.session.scalars(select(UsageFile.reached)).one())
    reader.append(line("PutObject"), line("PutObject"))
    reader.read()
    assert sum(reader.billed().values()) == 3

    def restore(tx):
        tx.session.execute(update(UsageFile).values(reached=before))
        tx.session.execute(update(UsageAmount).values(amount=1))

    reader.write(restore)
    reader.kill()
    reader.read()
    assert sum(reader.billed().values()) == 3


def test_what_two_readers_read_at_once_is_billed_once(reader, monkeypatch):
    reader.append(line("PutObject"))
    other = ObjectUsage(reader.database, reader.files, lambda: NOW)
    whole_lines = object_usage._whole_lines

    def meanwhile(*given):
        monkeypatch.setattr(object_usage, "_whole_lines", whole_lines)
        asyncio.run(other.run())
        return whole_lines(*given)

    monkeypatch.setattr(object_usage, "_whole_lines", meanwhile)
    reader.read()
    assert sum(reader.billed().values()) == 1


def test_a_name_that_two_accounts_have_in_an_hour_is_two_resources(reader):
    long = "x" * 63
    reader.append(line("PutObject", bucket=long))
    reader.read()
    reader.append(line("PutObject", bucket=long, by=OTHER, owner=OTHER))
    reader.read()
    assert reader.billed() == {
        (OWNER, long, WRITES, "PutObject"): 1,
        (OTHER, f"{'x' * 51}.{OTHER}", WRITES, "PutObject"): 1,
    }


def test_a_file_that_goes_while_it_is_read_stops_nothing(reader, monkeypatch):
    reader.append("gone", data=False)
    reader.append(line("PutObject"))
    whole_lines = object_usage._whole_lines

    def remove(path, *given):
        if "data" not in path.name:
            path.unlink()
        return whole_lines(path, *given)

    monkeypatch.setattr(object_usage, "_whole_lines", remove)
    reader.read()
    assert sum(reader.billed().values()) == 1


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("call"),
            st.sampled_from(["PutObject", "GetObject", "DeleteObject", "ListBuckets"]),
            st.sampled_from(["a", "b"]),
            st.integers(0, 99),
        ),
        st.sampled_from([("read",), ("kill",), ("die",), ("day",), ("back",)]),
    ),
    max_size=25,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(15), deadline=None)
@given(STEPS)
def test_amounts_are_those_of_a_recount(database, tmp_path_factory, steps):
    """`die` ends the process after a transaction was written or just before that, in the middle of a file."""
    known = Reader(database, tmp_path_factory.mktemp("audit"))
    before, expected = known.billed(), Counter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(object_usage, "_PIECE", 1500)
        patch.setattr(audit_files, "_FILE_BYTES", 3000)
        for step, *what in steps:
            if step == "call":
                operation, bucket, sent = what
                known.append(line(operation, bucket=bucket, sent=sent))
                if operation != "DeleteObject":
                    usage = READS if operation == "GetObject" else WRITES
                    expected[OWNER, bucket, usage, operation] += 1
                if operation == "GetObject" and sent:
                    expected[OWNER, bucket, OUT, operation] += sent
            elif step == "read":
                known.read()
            elif step == "kill":
                known.kill()
            elif step == "die":
                with patch.context() as once:
                    _die_in_the_first_transaction(once)
                    _read_until_death(known)
                known.kill()
            else:
                known.now += timedelta(days=1 if step == "day" else -1)
        known.read()
    found = Counter(known.billed())
    found.subtract(before)
    assert +found == +expected


class Killed(BaseException):
    """The process ends."""


def _die_in_the_first_transaction(patch):
    def die(*_):
        raise Killed

    patch.setattr(object_usage, "_reach", die)


def _read_until_death(known):
    try:
        known.read()
    except Killed:
        known.died = True
