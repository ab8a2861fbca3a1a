"""boto3 as it is, with no configuration, in a namespace that plays a guest: it finds its role."""

import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from stead_agent.metadata.interface import Role
from stead_agent.metadata.service import Metadata
from tests.host.metadata.conftest import Vpc, guest_of
from tests.support.processes import clean_environment

pytestmark = pytest.mark.root

# Says the credentials of a new session for each line that it is given. When a session asks again is botocore's to
# decide: minutes before its credentials end.
_PROGRAM = """
import json, sys, boto3
for line in sys.stdin:
    credentials = boto3.Session().get_credentials()
    print(json.dumps(credentials and [*credentials.get_frozen_credentials()][:3]), flush=True)
"""


def role(number: int, minutes: float) -> Role:
    """The role with its credentials of some number, which end in so many minutes."""
    now = int(time.time())
    return Role(
        profile_arn="arn:aws:iam::123456789012:instance-profile/Workers",
        profile_id="AIPA0123456789EXAMPLE",
        name="worker",
        updated=now,
        expires=now + int(minutes * 60),
        access_key_id=f"ASIAQAAAAAAAAAAAAAA{number}",
        secret_access_key=f"secret-{number}",
        session_token=f"token-{number}",
    )


def test_boto3_finds_its_role(service: Metadata, vpc: Vpc) -> None:
    vm = vpc.vm("172.31.0.5")
    who = guest_of(vpc, http_tokens_required=True)
    service.serve(vpc.vpc_id, vpc.path)
    with subprocess.Popen(
        ["ip", "netns", "exec", vm.namespace, sys.executable, "-c", _PROGRAM],
        env=clean_environment(AWS_METADATA_SERVICE_NUM_ATTEMPTS="1"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as guest:

        def said() -> list[str] | None:
            assert guest.stdin is not None
            assert guest.stdout is not None
            guest.stdin.write("\n")
            guest.stdin.flush()
            found: list[str] | None = json.loads(guest.stdout.readline())
            return found

        service.put(vpc.vpc_id, who)
        assert said() is None
        for number in (1, 2):
            service.put(vpc.vpc_id, replace(who, role=role(number, 360)))
            assert said() == [f"ASIAQAAAAAAAAAAAAAA{number}", f"secret-{number}", f"token-{number}"]
        service.put(vpc.vpc_id, replace(who, role=role(3, -1)))
        assert said() is None
