"""What the controller has loaded at rest: a module that only some request needs is loaded by that request."""

import json
import subprocess
import sys
from typing import Final

# As `stead-controller run` does before it forks.
_PROGRAM: Final = """
import json, sys
import stead_controller.__main__
import stead_controller.controller
import stead_controller.initialise
from stead_controller.aws import operations
from stead_controller.aws.call import OPERATIONS
from stead_controller.aws.protocol import codec_for
operations.load()
for service in sorted({service for service, _ in OPERATIONS}):
    codec_for(service)
json.dump(sorted(sys.modules), sys.stdout)
"""
_HEAVY: Final = {
    "alembic": "migrations, at the first start after an upgrade",
    "asyncssh": "serial consoles",
    "boto3": "nothing: botocore's models are read",
    "botocore.client": "a bucket for blocks",
    "botocore.session": "a bucket for blocks",
    "google.protobuf.json_format": "calls of operators, for their record",
    "joserfc": "tokens of web identities",
    "opentelemetry": "traces, if they have a server",
    "requests": "traces, if they have a server",
    "prometheus_client": "the page for Prometheus, if it has a port",
    "matplotlib": "images of metrics, drawn by another process",
    "psycopg": "PostgreSQL",
    "rich": "terminals",
    "sqlalchemy.dialects.postgresql": "PostgreSQL",
    "segno": "virtual MFA devices",
    "unittest": "tests",
}


def test_what_few_requests_need_is_not_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], check=True, capture_output=True, timeout=240)
    loaded = set(json.loads(done.stdout))
    assert {"stead_controller.controller", "stead_controller.aws.ec2.instances.run_instances"} <= loaded
    assert {name: why for name, why in _HEAVY.items() if name in loaded} == {}
