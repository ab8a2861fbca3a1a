"""Clients of others, unchanged, with the examples of the checkout: over HTTPS, by our CA, asking no name server."""

import os
import secrets
import subprocess
import sys

import pytest

from tests.support import outside_clients
from tests.support.processes import BIN, ROOT

SECONDS = 120
EXAMPLES = ROOT / "examples"
LARGE = 12 << 20


@pytest.fixture
def bucket(store):
    """The name of a bucket that a test makes; it is emptied and removed afterwards."""
    name = f"client-{secrets.token_hex(4)}"
    yield name
    if name in {each["Name"] for each in store.s3.list_buckets()["Buckets"]}:
        for page in store.s3.get_paginator("list_objects_v2").paginate(Bucket=name):
            for each in page.get("Contents", []):
                store.s3.delete_object(Bucket=name, Key=each["Key"])
        store.s3.delete_bucket(Bucket=name)


@pytest.fixture
def folder(tmp_path):
    """A folder with an empty, a small, a large and an oddly named file."""
    made = tmp_path / "folder"
    (made / "below").mkdir(parents=True)
    (made / "empty").touch()
    (made / "below" / "small & 100 % ü+.txt").write_text("content")
    (made / "large").write_bytes(secrets.token_bytes(LARGE))
    return made


def client(name):
    """Where a client is installed; skips the test where it could not be."""
    if why := outside_clients.why_missing(name):
        pytest.skip(why)
    return outside_clients.folder_of(name)


def run(store, *command, folder, **more):
    """Run a client with the environment that `stead env` gives, and give what it said."""
    environment = {**store.secure.environment, **{name: str(value) for name, value in more.items()}}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def path_with(name):
    return f"{client(name)}/debian/usr/bin:{os.environ['PATH']}"


@pytest.mark.client("rclone")
def test_rclone_mirrors_a_folder(store, bucket, folder, tmp_path):
    path = path_with("rclone")
    script = EXAMPLES / "rclone/mirror.sh"
    for _ in range(2):
        said = run(store, script, folder, bucket, tmp_path / "copy", folder=tmp_path, PATH=path)
    assert sorted(said.splitlines()) == sorted(files(folder))
    assert files(tmp_path / "copy") == files(folder)


@pytest.mark.client("restic")
def test_restic_backs_up_and_restores(store, bucket, folder, tmp_path):
    path = path_with("restic")
    script = EXAMPLES / "restic/backup.sh"
    target = tmp_path / "restored"
    said = run(store, script, folder, bucket, target, folder=tmp_path, PATH=path, RESTIC_PASSWORD="secret")
    assert "no errors were found" in said
    assert files(target / str(folder).lstrip("/")) == files(folder)


@pytest.mark.client("javascript")
def test_the_sdk_for_javascript(store, bucket, tmp_path):
    (tmp_path / "node_modules").symlink_to(client("javascript") / "node_modules")
    script = tmp_path / "objects.mjs"  # a link to it would look for packages beside the example
    script.write_text((EXAMPLES / "javascript/objects.mjs").read_text())
    more = {"AWS_REGION": "us-east-1", "NODE_EXTRA_CA_CERTS": store.secure.ca_file}
    assert run(store, "node", script, bucket, folder=tmp_path, **more).splitlines() == [
        "small: content text/plain",
        "large: true",
        "range: large",
        "attributes: 7 ChecksumCRC32 ChecksumType",
        "conditional: PreconditionFailed",
        "signed put: 200",
        "signed get: by a URL",
        "listed: large signed small",
    ]


def test_boto3_transfers_in_parts(store, bucket, folder, tmp_path):
    script = EXAMPLES / "boto3/objects.py"
    said = run(store, sys.executable, script, bucket, folder / "large", tmp_path / "copy", folder=tmp_path)
    metadata = "{'from': 'boto3'}"
    assert said.splitlines() == [f"{key} {LARGE} {metadata} AES256" for key in ("file", "copied")]
    assert (tmp_path / "copy").read_bytes() == (folder / "large").read_bytes()


def test_aws_s3api(store, bucket, tmp_path):
    """What `aws s3` does not do: conditional writes, attributes, checksums by name."""

    def s3api(*arguments):
        return run(store, BIN / "aws", "s3api", *arguments, "--bucket", bucket, folder=tmp_path)

    (tmp_path / "file").write_text("content")
    s3api("create-bucket")
    s3api("put-object", "--key", "k", "--body", "file", "--checksum-algorithm", "SHA256", "--if-none-match", "*")
    said = s3api("get-object-attributes", "--key", "k", "--object-attributes", "Checksum", "ObjectSize")
    assert '"ChecksumSHA256"' in said
    assert '"ObjectSize": 7' in said
    s3api("get-object", "--key", "k", "--checksum-mode", "ENABLED", "--range", "bytes=0-2", "part")
    assert (tmp_path / "part").read_text() == "con"


@pytest.mark.client("s3cmd")
def test_s3cmd(store, bucket, folder, tmp_path):
    where = store.secure.endpoint.removeprefix("https://")
    options = (f"--host={where}", f"--host-bucket={where}", f"--ca-certs={store.secure.ca_file}", "--config=/dev/null")

    def s3cmd(*arguments):
        program = client("s3cmd") / "venv/bin/s3cmd"
        return run(store, program, *options, "--multipart-chunk-size-mb=5", *arguments, folder=tmp_path)

    s3cmd("mb", f"s3://{bucket}")
    s3cmd("sync", f"{folder}/", f"s3://{bucket}/folder/")
    assert len(s3cmd("ls", "--recursive", f"s3://{bucket}").splitlines()) == len(files(folder))
    assert "SSE:       AES256" in s3cmd("info", f"s3://{bucket}/folder/large")
    s3cmd("setlifecycle", _rule(tmp_path), f"s3://{bucket}")
    assert "<ID>" in s3cmd("getlifecycle", f"s3://{bucket}")
    (tmp_path / "back").mkdir()
    s3cmd("get", "--recursive", f"s3://{bucket}/folder", f"{tmp_path}/back/")
    assert files(tmp_path / "back/folder") == files(folder)
    s3cmd("del", "--recursive", "--force", f"s3://{bucket}")
    s3cmd("rb", f"s3://{bucket}")


def _rule(folder):
    """A file with a lifecycle whose rule has no id."""
    path = folder / "lifecycle.xml"
    rule = "<Prefix>logs/</Prefix><Status>Enabled</Status><Expiration><Days>3</Days></Expiration>"
    path.write_text(f"<LifecycleConfiguration><Rule>{rule}</Rule></LifecycleConfiguration>")
    return path


@pytest.mark.client("s3fs")
def test_s3fs_of_python(store, bucket, tmp_path):
    """What pandas, dask and others open `s3://` by."""
    program = """
import sys, s3fs
fs = s3fs.S3FileSystem()
bucket = sys.argv[1]
fs.mkdir(bucket)
with fs.open(f"{bucket}/a/file", "wb", block_size=5 << 20) as file:
    file.write(b"x" * (11 << 20))
with fs.open(f"{bucket}/a/file", "rb") as file:
    file.seek(5 << 20)
    print(len(file.read()), fs.info(f"{bucket}/a/file")["size"], fs.ls(f"{bucket}/a"))
fs.mv(f"{bucket}/a/file", f"{bucket}/b")
print(fs.find(bucket))
fs.rm(bucket, recursive=True)
"""
    python = client("s3fs") / "venv/bin/python"
    said = run(store, python, "-c", program, bucket, folder=tmp_path)
    assert said.splitlines() == [f"{6 << 20} {11 << 20} ['{bucket}/a/file']", f"['{bucket}/b']"]


@pytest.mark.client("object-store")
def test_pyarrow(store, bucket, tmp_path):
    """The AWS SDK for C++, by which pandas, Spark and others read tables."""
    program = """
import os, sys
from pyarrow import fs
bucket, endpoint = sys.argv[1], os.environ["AWS_ENDPOINT_URL"].removeprefix("https://")
s3 = fs.S3FileSystem(
    endpoint_override=endpoint, region="us-east-1", tls_ca_file_path=os.environ["AWS_CA_BUNDLE"],
    allow_bucket_creation=True, allow_bucket_deletion=True,
)
s3.create_dir(bucket)
key = f"{bucket}/dir \u00fc/a+b=c"
with s3.open_output_stream(key) as file:
    file.write(b"x" * (11 << 20))
with s3.open_input_file(key) as file:
    file.seek(5 << 20)
    print(file.size(), len(file.read()))
s3.move(key, f"{bucket}/moved")
print([each.path for each in s3.get_file_info(fs.FileSelector(bucket, recursive=True)) if each.is_file])
print(s3.get_file_info(f"{bucket}/absent").type.name)
s3.delete_dir(bucket)
"""
    python = client("object-store") / "venv/bin/python"
    said = run(store, python, "-c", program, bucket, folder=tmp_path)
    assert said.splitlines() == [f"{11 << 20} {6 << 20}", f"['{bucket}/moved']", "NotFound"]


@pytest.mark.client("object-store")
def test_obstore(store, bucket, tmp_path):
    """The crate object_store of Rust, by which Polars, Delta Lake and others read tables."""
    program = """
import os, sys, obstore
from obstore.store import S3Store
store = S3Store(sys.argv[1], endpoint=os.environ["AWS_ENDPOINT_URL"], virtual_hosted_style_request=False)
mark = obstore.put(store, "once", b"1", mode="create")["e_tag"]
def refused(mode):
    try:
        obstore.put(store, "once", b"2", mode=mode)
    except Exception as error:
        return type(error).__name__
print(refused("create"), refused({"e_tag": mark}), refused({"e_tag": mark}))
data = bytes(range(256)) * (43 << 12)
obstore.put(store, "a/b c+=&", data, chunk_size=5 << 20)
[part] = obstore.get_ranges(store, "a/b c+=&", starts=[9 << 20], lengths=[3])
print(bytes(part) == data[9 << 20 :][:3], [each["path"] for page in obstore.list(store) for each in page])
obstore.delete(store, ["a/b c+=&", "once"])
"""
    store.s3.create_bucket(Bucket=bucket)
    python = client("object-store") / "venv/bin/python"
    said = run(store, python, "-c", program, bucket, folder=tmp_path, SSL_CERT_FILE=store.secure.ca_file)
    assert said.splitlines() == ["AlreadyExistsError None PreconditionError", "True ['a/b c+=&', 'once']"]
