"""What a guest reads of its role: EC2's JSON, nothing that has expired, and why there is nothing."""

import json
from dataclasses import replace

from stead_agent.metadata import tokens
from stead_agent.metadata.answers import Known, answer
from stead_agent.metadata.files import from_json, to_json
from stead_agent.metadata.http import Request
from stead_agent.metadata.interface import Role, SessionKeys
from tests.support.metadata_guests import guest

NOW = 1_772_600_000.0
ROLE = Role(
    profile_arn="arn:aws:iam::123456789012:instance-profile/web/Servers",
    profile_id="AIPA0123456789EXAMPLE",
    name="web-server",
    updated=int(NOW),
    expires=int(NOW) + 21_600,
    access_key_id="ASIAQAAAAAAAAAAAAAAA",
    secret_access_key="a secret",
    session_token="a token",
)
CREDENTIALS = "latest/meta-data/iam/security-credentials"


def read(role: Role | None, path: str, now: float = NOW) -> str | None:
    known = Known(replace(guest(), role=role))
    response = answer(known, Request("GET", f"/{path}", {}, keep_alive=True), bytes(32), now)
    return response.body.decode() if response.status == 200 else None


def test_credentials_are_in_ec2s_own_form() -> None:
    assert read(ROLE, f"{CREDENTIALS}/") == "web-server"
    assert read(ROLE, f"{CREDENTIALS}/web-server") == (
        '{\n  "Code" : "Success",\n  "LastUpdated" : "2026-03-04T04:53:20Z",\n  "Type" : "AWS-HMAC",\n'
        '  "AccessKeyId" : "ASIAQAAAAAAAAAAAAAAA",\n  "SecretAccessKey" : "a secret",\n  "Token" : "a token",\n'
        '  "Expiration" : "2026-03-04T10:53:20Z"\n}'
    )
    assert read(ROLE, "latest/meta-data/iam/info") == (
        '{\n  "Code" : "Success",\n  "LastUpdated" : "2026-03-04T04:53:20Z",\n'
        '  "InstanceProfileArn" : "arn:aws:iam::123456789012:instance-profile/web/Servers",\n'
        '  "InstanceProfileId" : "AIPA0123456789EXAMPLE"\n}'
    )
    assert read(ROLE, "latest/meta-data/iam/") == "info\nsecurity-credentials/"


def test_credentials_end() -> None:
    known = Known(replace(guest(), role=ROLE))
    path = f"{CREDENTIALS}/web-server"
    assert known.find(path, ROLE.expires - 1) is not None
    assert known.find(path, ROLE.expires) is None
    assert known.find(CREDENTIALS, ROLE.expires) is None
    assert known.find("latest/meta-data/iam/info", ROLE.expires) is not None
    assert read(ROLE, path, ROLE.expires + 1) is None


def test_who_shows_no_token_gets_other_credentials() -> None:
    keys = SessionKeys("ASIAQCCCCCCCCCCCCCCC", "another secret", "another token")
    known = Known(replace(guest(), role=replace(ROLE, without_token=keys)))
    path = f"/{CREDENTIALS}/web-server"

    def ask(now: float = NOW, **headers: str) -> dict[str, str] | None:
        response = answer(known, Request("GET", path, headers, keep_alive=True), bytes(32), now)
        return json.loads(response.body) if response.status == 200 else None

    token = {"x-aws-ec2-metadata-token": tokens.mint(bytes(32), known.guest.instance_id, 21_600, NOW)}
    with_token, without = ask(**token), ask()
    assert with_token is not None
    assert with_token["AccessKeyId"] == ROLE.access_key_id
    other = {"AccessKeyId": "ASIAQCCCCCCCCCCCCCCC", "SecretAccessKey": "another secret", "Token": "another token"}
    assert without == with_token | other
    assert ask(ROLE.expires) is None
    assert ask(ROLE.expires - 1) == without, "the clock was set back"
    who = known.guest
    assert from_json(json.loads(json.dumps(to_json(who)))) == who
    assert "another" not in repr(who)


def test_credentials_of_the_identity_role_end_by_themselves() -> None:
    path = "latest/meta-data/identity-credentials/ec2/security-credentials/ec2-instance"
    later = replace(ROLE, name="ec2-instance", access_key_id="ASIAQBBBBBBBBBBBBBBB", expires=ROLE.expires + 60)
    known = Known(replace(guest(), role=ROLE, identity_role=later))
    assert json.loads(known.find(path, NOW) or b"")["AccessKeyId"] == "ASIAQBBBBBBBBBBBBBBB"
    assert known.find(f"{CREDENTIALS}/web-server", ROLE.expires) is None
    assert known.find(path, ROLE.expires) is not None
    assert known.find(path, later.expires) is None
    assert known.find("latest/meta-data/identity-credentials/ec2", later.expires) == b"info"


def test_without_credentials_it_says_why() -> None:
    untrusted = replace(ROLE, code="AssumeRoleUnauthorizedAccess", access_key_id="", secret_access_key="", expires=0)
    shown = json.loads(read(untrusted, f"{CREDENTIALS}/web-server") or "")
    assert shown["Code"] == "AssumeRoleUnauthorizedAccess"
    assert shown["Message"].startswith("EC2 cannot assume the role web-server.")
    gone = Role(ROLE.profile_arn, ROLE.profile_id, code="InstanceProfileNotFound", updated=int(NOW))
    assert json.loads(read(gone, "latest/meta-data/iam/info") or "")["Code"] == "InstanceProfileNotFound"
    assert read(gone, f"{CREDENTIALS}/") is None
    without_role = Role(ROLE.profile_arn, ROLE.profile_id, updated=int(NOW))
    assert json.loads(read(without_role, "latest/meta-data/iam/info") or "")["Code"] == "Success"
    assert read(without_role, f"{CREDENTIALS}/") is None


def test_without_a_profile_there_is_nothing() -> None:
    assert read(None, "latest/meta-data/iam/info") is None
    assert "iam/" not in (read(None, "latest/meta-data/") or "")


def test_a_later_process_serves_the_same() -> None:
    who = replace(guest(), role=ROLE)
    assert from_json(json.loads(json.dumps(to_json(who)))) == who


def test_secrets_are_not_shown() -> None:
    assert "a secret" not in repr(ROLE)
    assert "a token" not in repr(ROLE)


def test_a_file_of_an_older_agent_is_read() -> None:
    """It knew no events."""
    who = guest()
    fields = to_json(who)
    del fields["events"]
    assert from_json(fields) == who
