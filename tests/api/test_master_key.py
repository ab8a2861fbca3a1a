"""The operator changes the master key under a running cloud, and nobody notices."""

import boto3


def who(endpoint, **keys):
    client = boto3.Session(region_name="us-east-1", **keys).client("sts", endpoint_url=endpoint)
    return client.get_caller_identity()["Account"]


def test_keys_and_tokens_outlive_a_change_of_the_master_key(own_cloud):
    cloud = own_cloud(hosts=0)
    account = cloud.first_account
    given = account.client("sts").get_session_token()["Credentials"]
    session = {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }
    kept = cloud.settings.controller_dir / "master.key"
    before = kept.read_bytes()
    done = cloud.operator.rotate_key()
    assert (done.version, done.changed) == (2, 1)
    assert [version.number for version in cloud.operator.list_key_versions()] == [1, 2]
    assert (kept.stat().st_mode & 0o777, before.hex() in kept.read_text()) == (0o600, True)
    other = cloud.new_account()
    for _ in range(2):
        assert who(cloud.endpoint, **session) == account.account_id
        assert account.client("sts").get_caller_identity()["Account"] == account.account_id
        assert other.client("sts").get_caller_identity()["Account"] == other.account_id
        cloud.controller.kill()
        cloud.start_controller()
    content = (cloud.settings.controller_dir / "stead.sqlite").read_bytes() + kept.read_bytes()
    assert account.secret_access_key.encode() not in content
