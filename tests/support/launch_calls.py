"""What benchmarks of launches have in common: a call with little work on this side, figures and processor time."""

import http.client
import os
import ssl
from pathlib import Path
from urllib.parse import urlencode

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.support.clients import Account


class Figures:
    """What was measured."""

    failed = False

    def add(self, name: str, value: float, limit: float, unit: str, *, least: bool = False, raw: str = "") -> None:
        """Print a figure and remember whether it keeps its limit, which is the least or the most."""
        well = value >= limit if least else value <= limit
        self.failed |= not well
        print(
            f"{'ok' if well else 'MISSED':6} {name}: {value:.2f} {unit} (limit {limit:g}) {raw}",
            flush=True,
        )


def launch_request(image_id: str, count: int) -> str:
    """Give the body of a RunInstances of so many instances with user data and a tag."""
    return urlencode(
        {
            "Action": "RunInstances",
            "Version": "2016-11-15",
            "ImageId": image_id,
            "InstanceType": "stead.tiny",
            "MinCount": str(count),
            "MaxCount": str(count),
            "UserData": "IyEvYmluL3NoCg==",
            "TagSpecification.1.ResourceType": "instance",
            "TagSpecification.1.Tag.1.Key": "Name",
            "TagSpecification.1.Tag.1.Value": "bench",
        }
    )


class Caller:
    """One connection that calls RunInstances over HTTPS, with the least work on this side."""

    def __init__(self, port: int, ca_file: Path) -> None:
        self._host = f"127.0.0.1:{port}"
        context = ssl.create_default_context(cafile=str(ca_file))
        self._connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=120, context=context)

    def run_instances(self, account: Account, image_id: str, count: int) -> None:
        """Launch; raise SystemExit when that is refused."""
        body = launch_request(image_id, count)
        url = f"https://{self._host}/"
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Host": self._host}
        request = AWSRequest(method="POST", url=url, data=body, headers=headers)
        key = Credentials(account.access_key_id, account.secret_access_key)
        SigV4Auth(key, "ec2", account.region).add_auth(request)
        self._connection.request("POST", "/", body, dict(request.headers.items()))
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != http.client.OK:
            raise SystemExit(f"RunInstances: {answer.status} {content[:500]!r}")


def cpu_of(pid: int) -> float:
    """Give the processor time of a process."""
    words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
