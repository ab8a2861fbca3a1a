"""What `stead env` prints is what a shell reads back."""

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_cli import aws
from stead_cli.errors import CliError
from stead_cli.settings import Settings
from stead_controller.aws import operations
from stead_controller.aws.call import OPERATIONS

_printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


@given(secret=_printable)
def test_any_secret_survives_the_shell(secret: str) -> None:
    key = aws.AccessKey("123456789012", "AKIAEXAMPLE", secret)
    lines = aws.shell_lines(Settings(Path("/var/lib/a cloud")), key)
    script = "\n".join([*lines, 'printf "%s|%s" "$AWS_SECRET_ACCESS_KEY" "$NODE_EXTRA_CA_CERTS"'])
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"{secret}|/var/lib/a cloud/ca.pem"


def test_what_would_contradict_is_unset() -> None:
    lines = aws.shell_lines(Settings(), aws.AccessKey("1", "2", "3"))
    assert {"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_EC2"} <= set(lines[-1].split()[1:])


def test_an_endpoint_of_any_service_that_stead_speaks_is_unset() -> None:
    operations.load()
    services = {service for service, _ in OPERATIONS} | {"s3"}
    names = {f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}" for service in services}
    lines = aws.shell_lines(Settings(), aws.AccessKey("1", "2", "3"))
    assert names <= set(lines[-1].split()[1:])


def test_without_a_cloud_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CliError) as caught:
        aws.first_access_key(Settings(tmp_path))
    assert "stead up" in caught.value.hint


def test_first_access_key(tmp_path: Path) -> None:
    chosen = Settings(tmp_path)
    chosen.access_dir.mkdir(parents=True)
    content = {"account_id": "123456789012", "access_key_id": "AKIAX", "secret_access_key": "s"}
    (chosen.access_dir / "credentials.json").write_text(json.dumps(content))
    assert aws.first_access_key(chosen) == aws.AccessKey("123456789012", "AKIAX", "s")
