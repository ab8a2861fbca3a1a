"""CPU cost of deciding whether a call is allowed, with 50 policies; limit 1 ms per call.

    python tests/bench/authorization.py

The caller has 50 managed policies of 20 statements each (groups, actions with wildcards, resources with variables,
conditions), of which the last allows the call, a boundary, and a session policy; AWS's ReadOnlyAccess is among them.
"""

import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from stead_controller.authorization.aws_managed import all_policies
from stead_controller.authorization.conditions import context_of
from stead_controller.authorization.evaluate import Policies, Request, evaluate, of_principal
from stead_controller.authorization.policy_document import read
from stead_controller.authorization.principals import Principal
from stead_controller.aws.authorization.authorizer import PolicyAuthorizer
from stead_controller.aws.call import OPERATIONS, Call
from stead_controller.aws.ec2.network import vpcs  # noqa: F401 - enters DescribeVpcs into OPERATIONS
from stead_controller.errors import NotAuthorized
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.resources.iam.policies_of_caller import PrincipalPolicies

LIMIT_MS = 1.0
ACCOUNT = "123456789012"
WHO = Principal(f"arn:aws:iam::{ACCOUNT}:role/r", ACCOUNT, "role", f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s")
ARN = f"arn:aws:ec2:eu-1:{ACCOUNT}:instance/i-0123456789abcdef0"
CALLER = Caller(ACCOUNT, WHO.session_arn, "AROAEXAMPLE:s", "ASIAEXAMPLE", "role", None, "AROAEXAMPLE", WHO.arn)
CLOUD = Cloud("eu-1", ("eu-1a",), "aws", "http://stead.example")
NO_TRANSACTION: Any = None  # which is never looked into: the policies ask for no facts about VPCs
CONTEXT = context_of(
    {
        "aws:username": "ada",
        "aws:SourceIp": "10.1.2.3",
        "aws:ResourceTag/Team": "a",
        "aws:CurrentTime": "2026-01-01T00:00:00Z",
    }
)


TIMES = 200


def policy(number: int) -> str:
    """One of the policies, none of which allows the call in question."""
    statements = []
    for n in range(20):
        which = number * 20 + n
        statements.append(
            {
                "Effect": "Deny" if n == 19 else "Allow",
                "Action": ["ec2:Describe*", f"ec2:Stop{which}*", "s3:Get*", "ec2:StopInstances"][
                    : 4 if n % 5 == 0 else 3
                ],
                "Resource": [f"arn:aws:ec2:*:{ACCOUNT}:instance/i-{which}*", "arn:aws:s3:::${aws:username}/*"],
                "Condition": {
                    "StringLike": {"aws:ResourceTag/Team": [f"team-{which}-*", "none"]},
                    "IpAddress": {"aws:SourceIp": "192.0.2.0/24"},
                },
            }
        )
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def cost(work: Callable[[], Any], times: int) -> float:
    """CPU milliseconds of one call, the median of five rounds."""
    work()
    rounds = []
    for _ in range(5):
        started = time.process_time()
        for _ in range(times):
            work()
        rounds.append((time.process_time() - started) / times * 1000)
    return statistics.median(rounds)


def main() -> None:
    """Print the figures; exit with 1 when one is above its limit."""
    allowing = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": {
                "Effect": "Allow",
                "Action": "ec2:St*Instances",
                "Resource": f"arn:aws:ec2:*:{ACCOUNT}:instance/*",
                "Condition": {"StringEquals": {"aws:ResourceTag/Team": "a"}},
            },
        }
    )
    read_only = all_policies()["arn:aws:iam::aws:policy/ReadOnlyAccess"].document
    texts = [*(policy(number) for number in range(48)), read_only, allowing]
    compile_ms = cost(lambda: [read(text) for text in texts], 3)
    policies = of_principal(texts, allowing, [allowing])
    request = Request("ec2:StopInstances", ARN, WHO, CONTEXT)
    assert evaluate(request, policies).allowed

    def decide(policies: Policies = policies) -> None:
        policies.keys_about("ec2:StopInstances")
        evaluate(request, policies)

    def from_texts() -> None:
        decide(of_principal([str(text) for text in texts], allowing, [allowing]))

    authorizer = PolicyAuthorizer(lambda *_: PrincipalPolicies(tuple(texts), allowing))
    call = Call(CALLER, NO_TRANSACTION, CLOUD, "r", datetime.now(UTC), "10.1.2.3", "")

    def authorize() -> None:
        # The boundary does not allow it, and saying so is the dearest answer; all 960 statements are about it.
        with contextlib.suppress(NotAuthorized):
            authorizer.authorize(call, OPERATIONS["ec2", "DescribeVpcs"], {})

    failed = False
    for name, work in (
        ("one resource", decide),
        ("one resource, from the policies' texts", from_texts),
        ("a refusal with its sealed message", authorize),
    ):
        figure = cost(work, TIMES)
        failed |= figure > LIMIT_MS
        print(f"{name}, 50 policies with 1,000 statements: {figure:.3f} ms of CPU (limit {LIMIT_MS} ms)")
    print(f"reading and compiling all 50, once: {compile_ms:.1f} ms")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
