"""Make the bucket of blocks as soon as the server answers, unless it is there; prints `made` if it was not."""

import os
import sys
import time
from pathlib import Path

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

key_id, secret = Path(os.environ["KEY_FILE"]).read_text(encoding="ascii").split()
bucket = os.environ["BUCKET"]
client = botocore.session.Session().create_client(
    "s3",
    region_name="us-east-1",
    endpoint_url=os.environ["ENDPOINT"],
    aws_access_key_id=key_id,
    aws_secret_access_key=secret,
    verify=os.environ["CA_FILE"],
    config=Config(
        connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}
    ),
)
deadline = time.monotonic() + 90
while True:
    try:
        if bucket not in {each["Name"] for each in client.list_buckets()["Buckets"]}:
            client.create_bucket(Bucket=bucket)
            sys.stdout.write("made\n")
        break
    except (BotoCoreError, ClientError):  # until all of its parts are up it refuses in several ways
        if time.monotonic() > deadline:
            raise
        time.sleep(0.5)
