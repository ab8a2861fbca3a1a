"""An account of a test cloud: boto3 clients and the real `aws` command, configured only for this cloud."""

import json
import os
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from tests.support import aws_command
from tests.support.processes import clean_environment

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

# boto3's waiters poll five times a second: their own 15 s would be most of a test's time. The stubs want whole seconds.
FAST: Any = {"Delay": 0.2, "MaxAttempts": 600}


@dataclass(frozen=True)
class Account:
    """An account and the endpoint of its cloud."""

    account_id: str
    access_key_id: str
    secret_access_key: str
    endpoint: str
    ca_file: Path | None = None
    region: str = "us-east-1"
    session_token: str | None = None

    def client(self, service: str, **config: Any) -> Any:
        """A boto3 client without retries, so that a refused request is one request."""
        settings: dict[str, Any] = {
            "retries": {"total_max_attempts": 1},
            "connect_timeout": 5,
            "read_timeout": 60,
            "proxies": {},
            **config,
        }
        make: Any = self._session.client  # the stubs want each service's name as a literal
        return make(
            service,
            endpoint_url=self.endpoint,
            verify=str(self.ca_file) if self.ca_file else None,
            config=Config(**settings),
        )

    @cached_property
    def _session(self) -> boto3.Session:
        os.environ.pop("AWS_PROFILE", None)  # the profile of the user who runs the tests may not exist here
        return boto3.Session(self.access_key_id, self.secret_access_key, self.session_token, region_name=self.region)

    @property
    def ec2(self) -> "EC2Client":
        """A new EC2 client."""
        made: EC2Client = self.client("ec2")
        return made

    @property
    def environment(self) -> dict[str, str]:
        """The variables that `stead env` would export."""
        ca = {"AWS_CA_BUNDLE": str(self.ca_file)} if self.ca_file else {}
        return clean_environment(
            AWS_ENDPOINT_URL=self.endpoint,
            AWS_ACCESS_KEY_ID=self.access_key_id,
            AWS_SECRET_ACCESS_KEY=self.secret_access_key,
            AWS_DEFAULT_REGION=self.region,
            AWS_REGION=self.region,
            AWS_CONFIG_FILE=os.devnull,
            AWS_SHARED_CREDENTIALS_FILE=os.devnull,
            AWS_MAX_ATTEMPTS="1",
            AWS_PAGER="",
            **({"AWS_SESSION_TOKEN": self.session_token} if self.session_token else {}),
            **ca,
        )

    def aws(self, *arguments: str) -> Any:
        """Run the real `aws` and return its stdout, parsed as JSON; fail with its output when it fails."""
        done = self.aws_result(*arguments)
        assert done.returncode == 0, f"aws {' '.join(arguments)}: {done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    def aws_result(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the real `aws`, whatever its status."""
        return aws_command.call(("--output", "json", *arguments), self.environment)
