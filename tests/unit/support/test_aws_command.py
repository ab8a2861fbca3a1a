"""A call of the loaded `aws` is one of the program itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import aws_command
from tests.support.processes import BIN, clean_environment

ENVIRONMENT = clean_environment(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull, AWS_REGION="eu-x-1")


@pytest.mark.story
def test_it_says_and_ends_as_the_program_does():
    for words in (("--version",), ("ec2", "no-such-command"), ("configure", "list"), ("sts", "get-caller-identity")):
        called = aws_command.call(words, ENVIRONMENT)
        ran = subprocess.run(
            [BIN / "aws", *words],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (called.returncode, called.stdout, called.stderr) == (ran.returncode, ran.stdout, ran.stderr)


def test_each_call_has_its_own_environment(tmp_path):
    for region in ("one", "other"):
        (tmp_path / region).write_text(f"[default]\nregion = {region}\n")
        said = aws_command.call(("configure", "get", "region"), {"AWS_CONFIG_FILE": str(tmp_path / region)})
        assert said.stdout == f"{region}\n"


def test_it_ends_with_its_parent():
    code = "from tests.support import aws_command as c; c.call(('--version',), {}); print(c._loaded._process.pid)"
    pid = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert not Path(f"/proc/{pid}").exists()
