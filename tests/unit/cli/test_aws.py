"""What `stead env` prints is what a shell reads back."""

import json
import stat
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_cli import aws
from stead_cli.errors import CliError
from stead_cli.operator import Operator
from stead_cli.settings import Settings
from stead_controller.aws import operations
from stead_controller.aws.call import OPERATIONS
from stead_controller.aws.protocol.models import load_service
from stead_proto.v1 import operator_pb2 as pb

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
    """https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html: by the ids of the services' models."""
    operations.load()
    ids = [load_service(service).model.service_id for service, _ in OPERATIONS]
    names = {f"AWS_ENDPOINT_URL_{each.upper().replace(' ', '_')}" for each in (*ids, "S3")}
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


class Accounts:
    """An operator's view of a cloud with three accounts, one of them disabled."""

    def __init__(self) -> None:
        self.keys: dict[str, list[pb.RootKey]] = {}

    def list_accounts(self) -> list[pb.Account]:
        return [
            pb.Account(account_id="111111111111", name="first"),
            pb.Account(account_id="222222222222", name="team-b"),
            pb.Account(account_id="333333333333", name="gone", disabled=True),
        ]

    def list_root_keys(self, account: str) -> list[pb.RootKey]:
        return self.keys[{each.name: each.account_id for each in self.list_accounts()}.get(account, account)]

    def create_root_key(self, account: str) -> pb.CreateRootKeyResponse:
        mine = self.keys.setdefault(account, [])
        if len(mine) == 2:
            raise CliError("Cannot exceed quota for AccessKeysPerUser: 2")
        mine.append(pb.RootKey(access_key_id=f"AKIA{len(mine)}", active=True))
        return pb.CreateRootKeyResponse(account_id=account, access_key_id=f"AKIA{len(mine) - 1}", secret_access_key="s")


@pytest.fixture
def chosen(tmp_path: Path) -> Settings:
    settings = Settings(tmp_path)
    settings.access_dir.mkdir(parents=True)
    content = {"account_id": "111111111111", "access_key_id": "AKIAFIRST", "secret_access_key": "s"}
    (settings.access_dir / "credentials.json").write_text(json.dumps(content))
    return settings


def _key(chosen: Settings, accounts: Any, name: str) -> aws.AccessKey:
    return aws.access_key_of(chosen, cast("Operator", accounts), name)


def test_an_account_has_one_key_made_for_this_user_once(chosen: Settings) -> None:
    accounts = Accounts()
    made = _key(chosen, accounts, "team-b")
    assert made == aws.AccessKey("222222222222", "AKIA0", "s")
    assert _key(chosen, accounts, "team-b") == _key(chosen, accounts, "222222222222") == made
    assert len(accounts.keys["222222222222"]) == 1
    [stored] = chosen.access_dir.glob("account-*")
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600


@pytest.mark.parametrize("change", ["deleted", "made inactive"])
def test_a_key_that_no_longer_counts_is_made_anew(chosen: Settings, change: str) -> None:
    accounts = Accounts()
    _key(chosen, accounts, "team-b")
    keys = accounts.keys["222222222222"]
    if change == "deleted":
        keys[0] = pb.RootKey(access_key_id="AKIAOTHER", active=True)
    else:
        keys[0].active = False
    assert _key(chosen, accounts, "team-b").access_key_id == "AKIA1"


def test_the_first_account_has_the_clouds_own_key(chosen: Settings) -> None:
    accounts = Accounts()
    assert _key(chosen, accounts, "first") == _key(chosen, accounts, "111111111111") == aws.first_access_key(chosen)
    assert accounts.keys == {}


@pytest.mark.parametrize(("name", "way_out"), [("nobody", "account list"), ("gone", "account enable 333333333333")])
def test_an_account_without_keys_that_count_is_refused_with_a_way_out(
    chosen: Settings, name: str, way_out: str
) -> None:
    accounts = Accounts()
    with pytest.raises(CliError) as caught:
        _key(chosen, accounts, name)
    assert way_out in caught.value.hint
    assert accounts.keys == {}


def test_where_no_further_key_may_be_made_it_says_which_to_delete(chosen: Settings) -> None:
    accounts = Accounts()
    accounts.keys["222222222222"] = [pb.RootKey(access_key_id=f"AKIA{each}", active=True) for each in "89"]
    with pytest.raises(CliError) as caught:
        _key(chosen, accounts, "team-b")
    assert "account delete-key team-b" in caught.value.hint
