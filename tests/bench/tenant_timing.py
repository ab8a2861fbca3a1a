"""Whether time tells another tenant's id from an absent one, or a known access key from an unknown one; limit 5 %.

    python -m tests.bench.tenant_timing [--samples 20000] [--only DescribeInstances|StopInstances|AssumeRole|keys]

A and B are interleaved in random order, over a real database, each request signed for itself (beforehand, in rounds).
Measured are the time that goes by, which is what a tenant sees, and the processor time of all threads, which other work
on the machine does not change. Compared are the medians of both, and whether a guess by one answer is right more often
than by chance: the area under the ROC curve, 0.5 is none, with its standard error.
"""

import argparse
import asyncio
import gc
import hashlib
import math
import random
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from stead_controller.aws import operations
from stead_controller.aws.app import AwsApp
from stead_controller.aws.authenticate import by_opened_keys
from stead_controller.aws.authorization.authorizer import PolicyAuthorizer
from stead_controller.aws.protocol.message import Request
from stead_controller.aws.signature import ALGORITHM, Claim, sign
from stead_controller.catalog import ids
from stead_controller.db import migrate
from stead_controller.db.session import Database
from stead_controller.request.caller import Caller
from stead_controller.resources.iam import access_keys, entities, inline_policies, roles, users
from stead_controller.resources.iam.key_cache import KeyCache
from stead_controller.resources.iam.policies_of_caller import policies_of
from tests.api.identity import document, trust
from tests.support import rows

LIMIT = 0.05
ROUND = 500
KEYS = "keys"
ROLES = "AssumeRole"
NAMES = ("DescribeInstances", "StopInstances", ROLES, KEYS)
UNKNOWN = "AKIAUNKNOWN00000"  # as long as the known one
SECRET = "a/secret+key"


def signed(body: str, key: str, secret: str = SECRET, service: str = "ec2") -> Request:
    """A signed request, made in a tenth of the time that botocore takes."""
    now = datetime.now(UTC)
    text = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Host": "127.0.0.1", "X-Amz-Date": text}
    names = tuple(sorted(name.lower() for name in headers))
    claim = Claim(key, now, text, text[:8], "us-east-1", service, names, "", False, None, None)
    content = body.encode()
    request = Request("POST", "/", "", tuple(headers.items()), content, "127.0.0.1")
    signature = sign(request, claim, secret, hashlib.sha256(content).hexdigest())
    headers["Authorization"] = (
        f"{ALGORITHM} Credential={key}/{claim.scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return Request("POST", "/", "", tuple(headers.items()), content, "127.0.0.1")


def ask(start: str, key: str, choose: Callable[[], str], *, secret: str = SECRET, service: str = "ec2") -> Request:
    """A signed request about an instance or a role."""
    return signed(start + choose(), key, secret, service)


def measure(
    app: AwsApp, loop: asyncio.AbstractEventLoop, make: tuple[Callable[[], Request], ...], samples: int
) -> float:
    """Print both medians and give how far they are apart at most, by either clock, as a part of the greater."""
    passed: tuple[list[int], list[int]] = ([], [])
    worked: tuple[list[int], list[int]] = ([], [])
    statuses = set()
    for done in range(0, samples, ROUND):
        order = [which for _ in range(min(ROUND, samples - done)) for which in random.sample((0, 1), 2)]
        for which, request in [(which, make[which]()) for which in order]:
            started, work_started = time.perf_counter_ns(), time.process_time_ns()
            answer = loop.run_until_complete(app.handle(request))
            worked[which].append(time.process_time_ns() - work_started)
            passed[which].append(time.perf_counter_ns() - started)
            statuses.add(answer.status)
        gc.collect()
    assert len(statuses) == 1, statuses
    return max(compare("time", *passed), compare("processor time", *worked))


def compare(what: str, one: list[int], two: list[int]) -> float:
    """Print how two lists of nanoseconds differ, and give how far their medians are apart."""
    medians = [statistics.median(times) for times in (one, two)]
    apart = abs(medians[0] - medians[1]) / max(medians)
    error = math.sqrt((len(one) + len(two) + 1) / (12 * len(one) * len(two)))  # of Mann and Whitney's U
    print(
        f"  {what}: medians {medians[0] / 1e3:.1f} and {medians[1] / 1e3:.1f} us, {apart:.2%} apart; "
        f"AUC {auc(one, two):.4f} +- {error:.4f}",
        flush=True,
    )
    return apart


def auc(one: list[int], two: list[int]) -> float:
    """How often a sample of one is longer than a sample of the other; of equal ones either is, by chance."""
    ranked = [(value, 0) for value in one] + [(value, 1) for value in two]
    random.shuffle(ranked)
    ranked.sort(key=lambda each: each[0])
    ranks = sum(rank for rank, (_, which) in enumerate(ranked, 1) if which)
    return (ranks - len(two) * (len(two) + 1) / 2) / (len(one) * len(two))


def new_role(tx: Any, caller: Caller) -> str:
    """Make a role that instances may have, and give its name."""
    name = secrets.token_hex(8)
    roles.create(tx, caller, roles.NewRole(name, trust()), now=datetime.now(UTC))
    return name


def new_user(tx: Any, world: rows.World) -> tuple[str, str]:
    """Make a user of the first tenant who may assume roles, and give the access key and its secret."""
    caller = world.one.caller
    users.create(tx, caller, users.NewUser("user"), datetime.now(UTC))
    tx.session.flush()
    inline_policies.put(tx, caller, "user", "user", policy_name="all", document=document("sts:AssumeRole"))
    user = entities.find_user(tx, caller, "user")
    key = access_keys.add(tx, world.cloud.sealer, caller.account_id, user.id, datetime.now(UTC))
    return key.id, key.secret


def main() -> None:
    """Print the figures; exit with 1 when one is above its limit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--only", choices=NAMES)
    asked = parser.parse_args()
    operations.load()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'stead.sqlite'}")
        migrate.upgrade(database.engine)
        failed = run(database, asked.samples, [asked.only] if asked.only else NAMES)
        database.close()
    sys.exit(1 if failed else 0)


def run(database: Database, samples: int, names: Sequence[str]) -> bool:
    """Make two tenants and measure what has these names; tell whether any figure is above the limit."""

    def build(tx: Any) -> Any:
        world = rows.build_world(tx)
        tx.session.add(rows.access_key(world.one.caller, SECRET))
        theirs = rows.launch(tx, world, world.other).id
        return world, theirs, new_role(tx, world.other.caller), new_user(tx, world)

    world, theirs, role, user_key = database.run_blocking(build)
    keys = KeyCache(database, world.cloud.sealer)
    app = AwsApp(
        transactions=database,
        find_key=by_opened_keys(keys.find),
        cloud=world.cloud,
        page_key=b"page key",
        authorizer=PolicyAuthorizer(policies_of),
        clock=lambda: datetime.now(UTC),
    )
    key = world.one.caller.access_key_id
    body = "Action=DescribeInstances&Version=2016-11-15"
    loop = asyncio.new_event_loop()
    gc.disable()
    failed = False
    for name in names:
        if name == KEYS:
            print(f"a known key with a wrong secret, and an unknown key, {samples} of each")
            makes = (lambda: signed(body, key, "wrong"), lambda: signed(body, UNKNOWN, "wrong"))
        elif name == ROLES:
            print(f"{name}: another tenant's role that trusts others, and an absent one, {samples} of each")
            arns = f"arn:aws:iam::{world.other.caller.account_id}:role/"
            start = f"Action={name}&Version=2011-06-15&RoleSessionName=session&RoleArn={arns}"
            of_user = partial(ask, start, user_key[0], secret=user_key[1], service="sts")
            makes = (partial(of_user, lambda: role), partial(of_user, lambda: secrets.token_hex(len(role) // 2)))
        else:
            print(f"{name}: another tenant's id, and an absent one, {samples} of each")
            start = f"Action={name}&Version=2016-11-15&InstanceId.1="
            makes = (partial(ask, start, key, lambda: theirs), partial(ask, start, key, lambda: ids.new_id("instance")))
        failed |= measure(app, loop, makes, samples) > LIMIT
    gc.enable()
    loop.close()
    return failed


if __name__ == "__main__":
    main()
