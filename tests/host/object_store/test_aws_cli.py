"""The real `aws s3` works unchanged: buckets, large files, folders, presigned URLs."""

import json
import os
import secrets
import ssl
import time
import urllib.request

import pytest

PARTS = 12 << 20  # above the 8 MiB from which `aws` uploads and downloads in parts
YESTERDAY = time.time() - 86_400


@pytest.fixture
def run(store, tmp_path):
    """Run `aws s3 …` over HTTPS in a folder of its own, and give what it printed."""

    def aws(*arguments):
        done = store.secure.aws_result(*arguments)
        assert done.returncode == 0, f"aws {' '.join(arguments)}: {done.stderr}{done.stdout}"
        return done.stdout

    return aws


def test_the_name_of_a_key_of_kms(run, store, tmp_path):
    bucket = f"cli-kms-{secrets.token_hex(4)}"
    key = f"arn:aws:kms:us-east-1:{store.one.account_id}:key/11111111-2222-3333-4444-555555555555"
    run("s3", "mb", f"s3://{bucket}")
    (tmp_path / "file").write_bytes(bytes(PARTS))
    run("s3", "cp", "--sse", "aws:kms", "--sse-kms-key-id", key, str(tmp_path / "file"), f"s3://{bucket}/large")
    fields = "[ServerSideEncryption,SSEKMSKeyId]"
    shown = run("s3api", "head-object", "--bucket", bucket, "--key", "large", "--query", fields)
    assert json.loads(shown) == ["aws:kms", key]
    run("s3", "cp", f"s3://{bucket}/large", f"s3://{bucket}/plain")
    assert store.s3.head_object(Bucket=bucket, Key="plain")["ServerSideEncryption"] == "AES256"
    run("s3", "rb", "--force", f"s3://{bucket}")


def test_a_day_with_aws_s3(run, store, tmp_path):
    bucket = f"cli-{secrets.token_hex(4)}"
    url = f"s3://{bucket}"
    run("s3", "mb", url)
    large = tmp_path / "large"
    large.write_bytes(secrets.token_bytes(PARTS))
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    for number in range(5):
        file = folder / "below" / f"file {number}"
        file.write_text(f"content {number}")
        # S3 gives times of change in whole seconds: what is uploaded in the second of its own change counts as older.
        os.utime(file, (YESTERDAY, YESTERDAY))
    run("s3", "cp", "--sse", "AES256", str(large), f"{url}/large")
    assert store.s3.head_object(Bucket=bucket, Key="large")["ServerSideEncryption"] == "AES256"
    run("s3", "cp", f"{url}/large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
    run("s3", "sync", str(folder), f"{url}/synced")
    assert run("s3", "sync", str(folder), f"{url}/synced") == ""
    signed = run("s3", "presign", f"{url}/synced/below/file 1").strip()
    context = ssl.create_default_context(cafile=store.secure.ca_file)
    with urllib.request.urlopen(signed, timeout=60, context=context) as answer:
        assert answer.read() == b"content 1"
    removed = run("s3", "rm", "--recursive", url)
    keys = ["large", *(f"synced/below/file {number}" for number in range(5))]
    assert sorted(line.removeprefix(f"delete: {url}/") for line in removed.splitlines()) == keys
    run("s3", "rb", url)
