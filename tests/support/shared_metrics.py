"""An engine of metrics that several controllers share: VictoriaMetrics by itself, with HTTPS and a password, on loopback."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stead_cli.processes import last_lines
from stead_proto.certificates import Authority
from tests.support.processes import clean_environment, free_ports

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
