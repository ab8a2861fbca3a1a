"""Two controllers with one database of PostgreSQL: one is killed, one is paused, both are restarted, under load.

Then the server is killed, too, and starts again, and hangs for a while.
"""

import http.client
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from sqlalchemy import create_engine, text

from tests.support import shared_metrics
from tests.support.clients import FAST, Account
from tests.support.postgresql import PROGRAMS, PostgresqlServer
from tests.support.second_controller import beside, client_of
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.story,
    pytest.mark.skipif(not PROGRAMS, reason="needs a PostgreSQL server: ./stead test --postgresql installs it"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run the server as its own user"),
]

HOSTS = 3


@pytest.fixture
def server():
    made = PostgresqlServer()
    try:
        made.start()
        yield made
    finally:
        made.stop()


class Load:
    """Clients that launch and terminate until they are stopped; what was answered counts."""

    def __init__(self, clients, image_id):
        self.launched, self.terminated, self.failed = set(), set(), []
        self._ends = threading.Event()
        self._image_id = image_id
        self._threads = [threading.Thread(target=self._work, args=(each,)) for each in clients]

    def __enter__(self):
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_error):
        self._ends.set()
        for each in self._threads:
            each.join()

    def _work(self, ec2):
        while not self._ends.wait(0.3):
            try:
                made = ec2.run_instances(ImageId=self._image_id, InstanceType="t3.nano", MinCount=1, MaxCount=1)
                (instance,) = made["Instances"]
                self.launched.add(instance["InstanceId"])
                if len(self.launched) % 2:
                    ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
                    self.terminated.add(instance["InstanceId"])
            except Exception as error:  # each is a finding, whatever it is
                self.failed.append(repr(error))

    def running(self):
        """Return what was launched and is to stay."""
        return self.launched - self.terminated

    def goes_on(self):
        """Wait until more was launched."""
        before = len(self.launched)
        wait_for(lambda: self.failed or len(self.launched) > before + 2, "more is launched", 60)


@pytest.fixture
def database(server):
    engine = create_engine(server.new_database(), isolation_level="AUTOCOMMIT", pool_pre_ping=True)
    yield engine
    engine.dispose()


def rows(database, query):
    with database.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def hosts_at(database):
    """Return the addresses of the controllers at which hosts are."""
    return [
        address
        for (address,) in rows(
            database, "SELECT c.address FROM hosts h LEFT JOIN controllers c ON c.id = h.controller_id"
        )
    ]


def leader(database):
    """Return the address of the controller that leads, and the token of its lead."""
    query = "SELECT c.address, l.token FROM leases l JOIN controllers c ON c.id = l.holder"
    return next(iter(rows(database, query)), ("", 0))


def address(cloud):
    return f"127.0.0.1:{cloud.settings.host_port}"


def says_away(cloud):
    """Tell whether a controller says that it has lost the database."""
    with closing(http.client.HTTPConnection(cloud.endpoint.removeprefix("http://"), timeout=10)) as connection:
        connection.request("GET", "/_stead/health")
        return b"the database is away" in connection.getresponse().read()


def moved_to(database, cloud):
    """Wait until all hosts are at a controller, and return how long it took."""
    began = time.monotonic()
    wait_for(lambda: hosts_at(database) == [address(cloud)] * HOSTS, f"all hosts are at {address(cloud)}", 20)
    return time.monotonic() - began


@pytest.fixture
def metrics(tmp_path):
    """Options of controllers that share an engine of metrics."""
    with shared_metrics.running(tmp_path / "metrics") as (url, ca_file, token_file):
        yield f"--metrics-endpoint={url}", f"--metrics-ca-file={ca_file}", f"--metrics-token-file={token_file}"


def test_no_call_is_lost_while_one_dies_is_paused_and_both_are_restarted(
    server, database, metrics, own_cloud, tmp_path
):
    url = database.url.render_as_string(hide_password=False)
    first = own_cloud(hosts=0, options=(f"--database-url={url}", *metrics))
    image_id = first.add_image()
    first.add_hosts(HOSTS)  # which know the first one alone, until it tells them
    second = beside(first, tmp_path / "second")
    account = first.first_account
    _one_with_buckets_of_its_own_is_refused(first, tmp_path / "other")
    try:
        second.start_controller()
        wait_for(lambda: address(second) in first.simulators[0].log.read_text(), "hosts are told of the second")
        ends = [first.endpoint, second.endpoint]
        clients = [client_of(account, *ends), client_of(account, *reversed(ends))]
        with Load(clients, image_id) as load:
            load.goes_on()
            first.controller.kill()
            assert moved_to(database, second) < 10, "2 s on a quiet machine"
            load.goes_on()
            wait_for(lambda: leader(database)[0] == address(second), "the second leads")
            first.start_controller()
            load.goes_on()
            asked = client_of(account, first.endpoint).get_console_output(InstanceId=min(load.running()))
            assert "Output" in asked, "it is passed on to the second one, at which the host is"
            paused, (_, token) = second.controller.serving, leader(database)
            os.kill(paused, signal.SIGSTOP)
            try:
                assert moved_to(database, first) < 10, "2 s on a quiet machine"
                wait_for(lambda: leader(database) == (address(first), token + 1), "the first leads")
                load.goes_on()
            finally:
                os.kill(paused, signal.SIGCONT)
            load.goes_on()
            for each, other in ((first, second), (second, first)):
                each.controller.stop()
                load.goes_on()
                moved_to(database, other)
                each.start_controller()
            server.stop_at_once()
            server.start_again()
            load.goes_on()
            with server.frozen():
                wait_for(lambda: says_away(first) and says_away(second), "both say that it is away", 60)
            load.goes_on()
        assert load.failed == []
        _all_is_as_answered(database, client_of(account, *ends), load)
        _a_key_that_one_deletes_the_other_refuses(account, second.endpoint)
        _what_one_has_answered_the_other_goes_on_with(account, replace(account, endpoint=second.endpoint), image_id)
        _what_one_is_told_of_a_metric_the_other_shows(account, second.endpoint)
        signs = "ca/topic-messages.pem"  # receivers of messages may ask either for the certificate
        assert (first.settings.controller_dir / signs).read_bytes() == (
            second.settings.controller_dir / signs
        ).read_bytes()
    finally:
        second.stop()


def _one_with_buckets_of_its_own_is_refused(first, folder):
    other = beside(first, folder)
    (other.settings.controller_dir / "object-store").unlink()
    other.controller.start()
    try:
        wait_for(lambda: "has other buckets" in other.controller.tail(), "it says what it lacks", 30)
        wait_for(lambda: not other.controller.runs(), "it ends", 30)
    finally:
        other.stop()
    assert "STEAD_OBJECT_ENDPOINT" in other.controller.tail()


def _a_key_that_one_deletes_the_other_refuses(account, elsewhere):
    iam = account.client("iam")
    iam.create_user(UserName="ann")
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    there = Account(account.account_id, key["AccessKeyId"], key["SecretAccessKey"], endpoint=elsewhere).client("sts")

    def is_refused():
        try:
            there.get_caller_identity()
        except ClientError as error:
            return error.response["Error"]["Code"] == "InvalidClientTokenId"
        return False

    assert not is_refused()
    iam.delete_access_key(UserName="ann", AccessKeyId=key["AccessKeyId"])
    wait_for(is_refused, "the other one refuses it, within a second", 3)


def _what_one_is_told_of_a_metric_the_other_shows(account, elsewhere):
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    ends = [replace(account, endpoint=each).client("cloudwatch") for each in (account.endpoint, elsewhere)]
    for value, each in enumerate(ends, 1):
        datum = {"MetricName": "Guests", "Value": float(value), "Timestamp": now}
        each.put_metric_data(Namespace="Shared", MetricData=[datum])
    asked = {"StartTime": now - timedelta(minutes=5), "EndTime": now + timedelta(minutes=5), "Period": 60}

    def sums(each):
        found = each.get_metric_statistics(Namespace="Shared", MetricName="Guests", Statistics=["Sum"], **asked)
        return [point["Sum"] for point in found["Datapoints"]]

    for each in ends:
        wait_for(lambda each=each: sums(each) == [3.0], "both show the sum of what each was told", 30)


def _what_one_has_answered_the_other_goes_on_with(here, there, image_id):
    """What was made is there at once, a page's token leads on, and a client token that both get makes one thing."""
    made = here.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    there.aws("ec2", "create-tags", "--resources", made, "--tags", "Key=by,Value=the other")
    [found] = here.aws("ec2", "describe-vpcs", "--vpc-ids", made)["Vpcs"]
    assert found["Tags"] == [{"Key": "by", "Value": "the other"}]
    there.ec2.delete_vpc(VpcId=made)
    with pytest.raises(ClientError, match="InvalidVpcID"):
        here.ec2.describe_vpcs(VpcIds=[made])

    launch = {"ImageId": image_id, "InstanceType": "t3.nano", "MinCount": 6, "MaxCount": 6, "ClientToken": "one"}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda end: end.ec2.run_instances(**launch), (here, there, here, there)))
    [ids] = {tuple(sorted(one["InstanceId"] for one in each["Instances"])) for each in answers}
    only = {"Filters": [{"Name": "attachment.instance-id", "Values": [*ids]}], "MaxResults": 5}
    page = here.ec2.describe_volumes(**only)
    rest = there.ec2.describe_volumes(**only, NextToken=page["NextToken"])
    found = {one["Attachments"][0]["InstanceId"] for one in page["Volumes"] + rest["Volumes"]}
    assert (found, "NextToken" in rest) == ({*ids}, False)
    here.ec2.terminate_instances(InstanceIds=[*ids])
    there.ec2.get_waiter("instance_terminated").wait(InstanceIds=[*ids], WaiterConfig=FAST)


def _all_is_as_answered(database, ec2, load):
    def states():
        pages = ec2.get_paginator("describe_instances").paginate()
        found = [each for page in pages for one in page["Reservations"] for each in one["Instances"]]
        return {each["InstanceId"]: each["State"]["Name"] for each in found}

    wanted = {each: "terminated" if each in load.terminated else "running" for each in load.launched}
    wait_for(lambda: states() == wanted, "all that was answered is so, and nothing else is there", 60)
    reserved = "SELECT sum(cpus_reserved) FROM hosts"
    taken = "SELECT sum(vcpus) FROM instances WHERE state = 'running'"
    assert rows(database, reserved) == rows(database, taken)
