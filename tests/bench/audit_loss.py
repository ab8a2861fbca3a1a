"""Which records of calls a controller that is killed has lost: none of what was answered.

    python tests/bench/audit_loss.py [--rounds 10]

Two clients call as fast as they are answered, and the controller is killed with -9 at a random time. What was answered
and is in no file is lost, of which there must be nothing; printed is how long before the kill it was answered. After the next start
LookupEvents must show all that the files have.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tests.support.clients import Account
from tests.support.cloud import Cloud
from tests.support.waiting import wait_for

CLIENTS = 2
UNTIL_KILLED = (0.3, 1.5)  # seconds, of which any may be the last
EVENT = "GetAccessKeyInfo"
ASKED: list[Any] = [{"AttributeKey": "EventName", "AttributeValue": EVENT}]


def call(account: Account, answered: dict[str, float], is_over: threading.Event) -> None:
    """Call until it is over, and note when each call was answered."""
    sts = account.client("sts")
    while not is_over.is_set():
        try:
            answer = sts.get_access_key_info(AccessKeyId=account.access_key_id)
        except (BotoCoreError, ClientError):
            return  # it was killed
        answered[answer["ResponseMetadata"]["RequestId"]] = time.monotonic()


def stored(folder: Path, account_id: str) -> set[str]:
    """The ids of an account's calls that the files have."""
    found = set()
    for path in folder.glob("*.jsonl"):
        for line in path.read_text().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue  # half a line, of which the next start knows
            if record["eventName"] == EVENT and record["recipientAccountId"] == account_id:
                found.add(record["requestID"])
    return found


def play(cloud: Cloud, account: Account) -> tuple[int, list[float]]:
    """Kill once; give how many calls were answered, and how long before the kill those that were lost."""
    answered: dict[str, float] = {}
    is_over = threading.Event()
    threads = [threading.Thread(target=call, args=(account, answered, is_over)) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(answered) > 20, "calls are answered")
    time.sleep(random.uniform(*UNTIL_KILLED))  # to be killed at any time of a second is what is tried
    killed = time.monotonic()
    cloud.controller.kill()
    is_over.set()
    for thread in threads:
        thread.join()
    have = stored(cloud.settings.controller_dir / "audit", account.account_id)
    lost = [killed - when for request_id, when in answered.items() if request_id not in have]
    cloud.start_controller()
    trail = account.client("cloudtrail").get_paginator("lookup_events")

    def shown() -> set[str]:
        pages = trail.paginate(LookupAttributes=ASKED)
        return {json.loads(event["CloudTrailEvent"])["requestID"] for page in pages for event in page["Events"]}

    wait_for(lambda: have <= shown(), "LookupEvents shows all that the files have", 30, poll=0.5)
    return len(answered), lost


def main() -> None:
    """Print the figures; exit with 1 when a record is lost."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    ages: list[float] = []
    calls = 0
    with tempfile.TemporaryDirectory() as folder:
        cloud = Cloud(Path(folder))
        cloud.start_controller()
        try:
            for _ in range(rounds):
                answered, lost = play(cloud, cloud.new_account())
                calls += answered
                ages += lost
                print(
                    f"  {answered} calls answered, {len(lost)} lost, the oldest {max(lost, default=0) * 1e3:.0f} ms before"
                )
        finally:
            cloud.stop()
    worst = max(ages, default=0.0)
    print(f"{len(ages)} of {calls} records lost in {rounds} kills (0); the oldest was {worst * 1e3:.0f} ms old")
    sys.exit(1 if ages else 0)


if __name__ == "__main__":
    main()
