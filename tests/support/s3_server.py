"""An S3 server as an operator has it: a SeaweedFS with one access key, and a certificate of an authority of its own."""

import json
import secrets
import sys
from pathlib import Path
from typing import Any, Self

import botocore.session
from botocore.config import Config

from stead_proto.certificates import Authority
from tests.support.processes import Child, clean_environment, free_ports
from tests.support.waiting import wait_for


class S3Server:
    """A server below its folder; it runs inside a `with`."""

    def __init__(self, folder: Path, key_id: str, secret: str) -> None:
        """Choose ports, and the only access key; start nothing."""
        user = {
            "name": "stead",
            "credentials": [{"accessKey": key_id, "secretKey": secret}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        (folder / "identities.json").write_text(json.dumps({"identities": [user]}))
        (folder / "data").mkdir()
        authority = Authority.create("S3 CA")
        identity = folder / "identity.pem"
        authority.issue_server(["127.0.0.1"]).save(folder)
        self.ca_file = folder / "ca.pem"
        self._ports = master, volume, filer, s3, https, *more = free_ports(9)
        command: list[str | Path] = [
            Path(sys.executable).parent / "weed",
            "server",
            f"-dir={folder / 'data'}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-master.port={master}",
            f"-master.port.grpc={more[0]}",
            f"-volume.port={volume}",
            f"-volume.port.grpc={more[1]}",
            "-filer",
            f"-filer.port={filer}",
            f"-filer.port.grpc={more[2]}",
            "-s3",
            f"-s3.port={s3}",
            f"-s3.port.grpc={more[3]}",
            f"-s3.port.https={https}",
            f"-s3.cert.file={identity}",
            f"-s3.key.file={identity}",
            f"-s3.config={folder / 'identities.json'}",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64",
            "-volume.max=0",
            "-s3.port.iceberg=0",  # which have numbers that another server here may have taken
            "-s3.port.lance=0",
        ]
        environment = clean_environment(
            GOMEMLIMIT="320MiB",
            GOGC="50",
            WEED_S3_SSE_KEK=secrets.token_hex(32),  # it encrypts, as a server for accounts' buckets must
            WEED_MASTER_VOLUME_GROWTH_COPY_1="1",  # volumes at once, of which each bucket has its own
        )
        self._child = Child("weed", command, folder / "weed.log", environment)
        self.url = f"http://127.0.0.1:{s3}"
        self.https_url = f"https://127.0.0.1:{https}"
        self.client: Any = botocore.session.Session().create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.url,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )

    def __enter__(self) -> Self:
        """Start it."""
        self._child.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it: asked to end, it waits 15 s for streams between its own parts."""
        self.client.close()
        self._child.kill()
        for port in self._ports:  # it leaves its sockets, named by its ports
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()

    def make_bucket(self, name: str) -> None:
        """Make a bucket as soon as all the server's parts are up."""

        def made() -> bool:
            self._child.check()
            try:
                self.client.create_bucket(Bucket=name)
            except Exception:  # refuses or fails in many ways until then
                return False
            return True

        wait_for(made, "the S3 server makes a bucket", 60)

    def keys(self, bucket: str) -> set[str]:
        """The names of a bucket's objects."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {found["Key"] for page in pages for found in page.get("Contents", ())}
