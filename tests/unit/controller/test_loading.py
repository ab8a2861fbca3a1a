"""What a start loads: as little as there must be, since after a kill the API is away so long."""

import os
import subprocess
import sys

_LOOK = """
import os, ssl
before = os.environ.get("SSL_CERT_FILE")
loaded = []
make = ssl.create_default_context
ssl.create_default_context = lambda *args, **named: loaded.append(make(*args, **named)) or loaded[-1]
from stead_controller.__main__ import _loading
with _loading():
    import stead_controller.controller
assert os.environ.get("SSL_CERT_FILE") == before
print(sum(context.cert_store_stats()["x509"] for context in loaded), len(loaded))
"""


def _look(**variables: str) -> list[str]:
    others = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}
    return subprocess.run(
        [sys.executable, "-c", _LOOK],
        env={**others, **variables},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split()


def test_no_certificate_authorities_are_read_and_the_environment_stays() -> None:
    assert _look() == ["0", "1"]
    assert _look(SSL_CERT_FILE="/etc/ssl/certs/ca-certificates.crt") == ["0", "1"]
