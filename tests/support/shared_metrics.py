"""An engine of metrics that several controllers share: VictoriaMetrics by itself, with HTTPS and a password, on loopback."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stead_cli.processes import last_lines
from stead_proto.certificates import Authority
from tests.support.processes import clean_environment, free_ports
from tests.support.waiting import wait_for

# What docs/operate/settings.md tells operators.
_OPTIONS = ("-retentionPeriod=455d", "-dedup.minScrapeInterval=1ms", "-search.latencyOffset=0s", "-search.disableCache")


@contextmanager
def running(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """Run one with its data in a folder; gives its URL, its authority's certificate, and USER:PASSWORD in a file."""
    folder.mkdir(mode=0o700)
    authority = Authority.create("metrics")
    identity = authority.issue_server()
    for name, content in (
        ("ca.pem", authority.certificate_pem),
        ("key.pem", identity.key_pem),
        ("certificate.pem", identity.certificate_pem),
    ):
        (folder / name).write_bytes(content)
    (folder / "password").write_text("of-controllers\n", encoding="ascii")
    (folder / "token").write_text("stead:of-controllers\n", encoding="ascii")
    (port,) = free_ports(1)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["victoria-metrics", f"-storageDataPath={folder}/data", f"-httpListenAddr=127.0.0.1:{port}", "-tls",
             f"-tlsCertFile={folder}/certificate.pem", f"-tlsKeyFile={folder}/key.pem",
             "-httpAuth.username=stead", f"-httpAuth.password=file://{folder}/password", *_OPTIONS],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=clean_environment(),
        )  # fmt: skip
    try:
        yield f"https://127.0.0.1:{port}", folder / "ca.pem", folder / "token"
        assert process.poll() is None, last_lines(folder / "log", 20)
    finally:
        process.kill()
        process.wait()


def shows_at_another(one: Any, other: Any) -> None:
    """Put a datum by a client of CloudWatch, and wait until another one, of another controller, reads it."""
    at, minute = datetime.now(UTC), timedelta(minutes=1)
    one.put_metric_data(Namespace="Rack", MetricData=[{"MetricName": "Doors", "Value": 7.0, "Timestamp": at}])
    asked = {"Namespace": "Rack", "MetricName": "Doors", "Period": 60, "Statistics": ["Sum"]}

    def read() -> list[float]:
        found = other.get_metric_statistics(**asked, StartTime=at - minute, EndTime=at + 2 * minute)
        return [point["Sum"] for point in found["Datapoints"]]

    assert wait_for(read, "the other controller shows it", 30) == [7.0]
