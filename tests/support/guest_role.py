"""How a guest without Python calls AWS's APIs with its role: by a small shell script."""

import shlex
from pathlib import Path

from stead_cli import ssh

_PROGRAM = Path(__file__).with_name("aws-query")


def install(login: ssh.Login) -> None:
    """Copy the script into the guest."""
    login.run(f"cat >/tmp/aws-query <<'end-of-program'\n{_PROGRAM.read_text(encoding='utf-8')}end-of-program\n")


def query(login: ssh.Login, endpoint: str, body: str, service: str = "ec2") -> tuple[int, str]:
    """Call a service of the query protocol, by its name in signatures, as the guest's role; returns the status and the body."""
    return _ask(login, [endpoint, service, body])


def send_object(login: ssh.Login, endpoint: str, method: str, path: str, content: str = "") -> tuple[int, str]:
    """Make an S3 request for an object as the guest's role; returns the status and the body."""
    return _ask(login, [endpoint, "s3", content, method, path])


def _ask(login: ssh.Login, words: list[str]) -> tuple[int, str]:
    said = login.run(f"{shlex.join(['sh', '/tmp/aws-query', *words])} 2>&1 || true", timeout=60)
    return int(said.split()[1]), said
