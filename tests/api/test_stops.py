"""What a controller keeps that stops and starts: records of calls, keys and sessions, under a changed master key.

And what one keeps that is killed.
"""

import json

import boto3
import pytest

from tests.support.waiting import wait_for

pytestmark = pytest.mark.story


def who(endpoint, given):
    session = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], "us-east-1")
    return session.client("sts", endpoint_url=endpoint).get_caller_identity()["Account"]


def test_keys_sessions_and_records_outlive_a_stop_and_a_change_of_the_master_key(own_cloud):
    cloud = own_cloud(hosts=0)
    folder, account = cloud.settings.controller_dir, cloud.first_account
    given = account.client("sts").get_session_token()["Credentials"]
    key, before = folder / "master.key", (folder / "master.key").read_bytes()
    done = cloud.operator.rotate_key()
    assert (done.version, done.changed) == (2, 1)
    assert [version.number for version in cloud.operator.list_key_versions()] == [1, 2]
    assert (key.stat().st_mode & 0o777, before.hex() in key.read_text()) == (0o600, True)
    assert who(cloud.endpoint, given) == account.account_id
    for _ in range(20):
        account.client("sts").get_access_key_info(AccessKeyId=given["AccessKeyId"])
    cloud.controller.stop()

    [path] = (folder / "audit").iterdir()
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    names = [json.loads(line)["eventName"] for line in path.read_text().splitlines()]
    assert (names.count("GetAccessKeyInfo"), names.count("GetSessionToken")) == (20, 1)
    content = (folder / "stead.sqlite").read_bytes() + path.read_bytes()
    secrets = (account.secret_access_key, given["SecretAccessKey"], given["SessionToken"])
    assert [secret for secret in secrets if secret.encode() in content] == []

    cloud.start_controller()
    assert who(cloud.endpoint, given) == account.account_id
    asked = [{"AttributeKey": "EventName", "AttributeValue": "GetAccessKeyInfo"}]
    trail = account.client("cloudtrail")
    assert len(trail.lookup_events(LookupAttributes=asked)["Events"]) == 20

    for _ in range(10):
        account.client("sts").get_access_key_info(AccessKeyId=given["AccessKeyId"])
    wait_for(lambda: path.read_text().count('"eventName":"GetAccessKeyInfo"') == 30, "the file has all", 5)
    cloud.controller.kill()  # before most of them are rows
    cloud.start_controller()
    wait_for(lambda: len(trail.lookup_events(LookupAttributes=asked)["Events"]) == 30, "so has LookupEvents", 10)
    found = trail.lookup_events(LookupAttributes=asked)["Events"]
    assert len({event["EventId"] for event in found}) == 30
