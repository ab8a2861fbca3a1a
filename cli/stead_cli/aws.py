"""The public API as any user sees it: make boto3 clients and shell exports from an access key."""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from shlex import quote
from typing import TYPE_CHECKING, Final

from stead_cli.errors import CliError
from stead_cli.operator import Operator
from stead_cli.settings import Settings
from stead_proto import tls

if TYPE_CHECKING:  # boto3 takes half a second to import, and most commands do not need it
    from mypy_boto3_ec2.client import EC2Client

# Variables that a shell may have set for the real AWS, and that would override or contradict what is exported.
_CONTRADICTING: Final = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_ENDPOINT_URL_AUTO_SCALING",
    "AWS_ENDPOINT_URL_BCM_DATA_EXPORTS",
    "AWS_ENDPOINT_URL_BUDGETS",
    "AWS_ENDPOINT_URL_CLOUDTRAIL",
    "AWS_ENDPOINT_URL_CLOUDWATCH",
    "AWS_ENDPOINT_URL_COST_EXPLORER",
    "AWS_ENDPOINT_URL_DLM",
    "AWS_ENDPOINT_URL_EBS",
    "AWS_ENDPOINT_URL_EC2",
    "AWS_ENDPOINT_URL_EC2_INSTANCE_CONNECT",
    "AWS_ENDPOINT_URL_IAM",
    "AWS_ENDPOINT_URL_PRICING",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_SERVICE_QUOTAS",
    "AWS_ENDPOINT_URL_SNS",
    "AWS_ENDPOINT_URL_SSM",
    "AWS_ENDPOINT_URL_STS",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
)


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An account's access key."""

    account_id: str
    access_key_id: str
    secret_access_key: str


def first_access_key(settings: Settings) -> AccessKey:
    """Read the key of the cloud's first account; CliError when there is none or this user may not read it."""
    path = settings.access_dir / "credentials.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CliError(f"there is no cloud here yet ({path} is missing)", "make one: ./stead up") from error
    except PermissionError as error:
        hint = 'as root: eval "$(./stead env)"; or run ./stead up once by sudo'
        raise CliError(f"you may not read {path}", hint) from error
    return AccessKey(content["account_id"], content["access_key_id"], content["secret_access_key"])


def access_key_of(settings: Settings, operator: Operator, name: str) -> AccessKey:
    """Return a root access key of an account (its id or name), with which this user can call.

    A secret is shown only when its key is created. So the first account uses the cloud's own key; for another one a key
    is created once and stored beside that, and created again if it was deleted. Raises CliError for an account that
    does not exist or is disabled.
    """
    account = next((each for each in operator.list_accounts() if name in (each.account_id, each.name)), None)
    if account is None:
        raise CliError(f"there is no account {name}", "which there are: ./stead account list")
    if account.disabled:
        raise CliError(f"account {name} is disabled", f"undo that: ./stead account enable {account.account_id}")
    first = first_access_key(settings)
    if first.account_id == account.account_id:
        return first
    path = settings.access_dir / f"account-{account.account_id}.json"
    if path.exists():
        key = AccessKey(**json.loads(path.read_text(encoding="utf-8")))
        if any(each.access_key_id == key.access_key_id and each.active for each in operator.list_root_keys(name)):
            return key
    try:
        made = operator.create_root_key(account.account_id)
    except CliError as error:
        hint = f"delete one of its keys: ./stead account keys {name}; ./stead account delete-key {name} AKIA…"
        raise CliError(error.message, error.hint or hint) from error
    key = AccessKey(made.account_id, made.access_key_id, made.secret_access_key)
    tls.write_private(path, json.dumps(asdict(key)).encode())
    return key


def shell_lines(settings: Settings, key: AccessKey) -> list[str]:
    """Lines for `eval` that point every AWS client of this shell at the cloud."""
    values = {
        "AWS_ENDPOINT_URL": settings.https_endpoint,
        "AWS_ACCESS_KEY_ID": key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
        "AWS_DEFAULT_REGION": settings.region,
        "AWS_REGION": settings.region,
        "AWS_CA_BUNDLE": str(settings.ca_file),
        "NODE_EXTRA_CA_CERTS": str(settings.ca_file),  # the SDK for JavaScript does not read AWS_CA_BUNDLE
    }
    lines = [f"export {name}={quote(value)}" for name, value in values.items()]
    return [*lines, f"unset {' '.join(_CONTRADICTING)}"]


@contextlib.contextmanager
def refusals_explained() -> Iterator[None]:
    """Turn API errors and waiters that time out into errors for the person at the terminal."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - half a second, as boto3 below

    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise CliError(str(error), "see: ./stead status; ./stead logs agent; ./stead logs controller") from error


def ec2_client(settings: Settings, key: AccessKey) -> "EC2Client":
    """An EC2 client of this cloud; the environment and ~/.aws are ignored."""
    import boto3  # noqa: PLC0415 - half a second, only the demo needs it
    from botocore.config import Config  # noqa: PLC0415 - as above

    for name in _CONTRADICTING:
        os.environ.pop(name, None)
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    session = boto3.Session(key.access_key_id, key.secret_access_key, region_name=settings.region)
    config = Config(retries={"mode": "standard", "max_attempts": 3}, connect_timeout=5, read_timeout=60, proxies={})
    return session.client("ec2", endpoint_url=settings.https_endpoint, verify=str(settings.ca_file), config=config)
