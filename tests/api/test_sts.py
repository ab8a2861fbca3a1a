"""Temporary credentials through boto3: they work, expire, are bound to their key, and die with what they stand on."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from botocore.exceptions import ClientError

from stead_controller.db.tables import Account
from stead_controller.request import session_tokens
from stead_controller.request.session_tokens import Facts
from stead_controller.resources.iam.key_cache import KeyCache
from stead_controller.secrets.sealing import no_sealer
from tests.api.identity import trust
from tests.support.waiting import wait_for


@pytest.fixture
def sts(api):
    """STS for the first tenant's root."""
    return api.client(api.world.one, "sts")


def who(client):
    answer = client.get_caller_identity()
    return answer["Arn"], answer["UserId"], answer["Account"]


def code_of(call):
    with pytest.raises(ClientError) as refusal:
        call()
    return refusal.value.response["Error"]["Code"]


def test_a_session_of_root_is_root_for_an_hour(api, sts):
    answer = sts.get_session_token(DurationSeconds=7200)["Credentials"]
    left = answer["Expiration"] - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    account = api.world.one.caller.account_id
    assert who(api.session(answer, "sts")) == (f"arn:aws:iam::{account}:root", account, account)
    assert api.session(answer).describe_vpcs()["Vpcs"][0]["OwnerId"] == account
    assert sts.get_access_key_info(AccessKeyId=answer["AccessKeyId"])["Account"] == account


def test_a_token_is_bound_to_its_key(api, sts):
    one, two = (sts.get_session_token()["Credentials"] for _ in range(2))
    mixed = {**one, "SessionToken": two["SessionToken"]}
    assert code_of(api.session(mixed, "sts").get_caller_identity) == "InvalidClientTokenId"
    assert code_of(api.session(mixed).describe_vpcs) == "AuthFailure"
    bare = api.long_term(one["AccessKeyId"], one["SecretAccessKey"], "sts")
    assert code_of(bare.get_caller_identity) == "InvalidClientTokenId"
    wrong = {**one, "SecretAccessKey": two["SecretAccessKey"]}
    assert code_of(api.session(wrong, "sts").get_caller_identity) == "SignatureDoesNotMatch"


def test_a_session_ends(api):
    account = api.world.one.caller.account_id
    now = datetime.now(UTC)
    made = session_tokens.mint(
        api.world.cloud.sealer, Facts("root", account, "", "", now - timedelta(hours=1), now - timedelta(seconds=1))
    )
    given = {
        "AccessKeyId": made.access_key_id,
        "SecretAccessKey": made.secret_access_key,
        "SessionToken": made.session_token,
    }
    assert code_of(api.session(given, "sts").get_caller_identity) == "ExpiredToken"
    assert code_of(api.session(given).describe_vpcs) == "RequestExpired"


def test_a_token_that_mixes_accounts_is_none(api):
    """Tokens are ours alone to make; one of a role or a user of another account still would be no way in."""
    iam = api.client(api.world.one, "iam")
    role = iam.create_role(RoleName="r", AssumeRolePolicyDocument=trust())["Role"]["RoleId"]
    user = iam.create_user(UserName="u")["User"]["UserId"]
    now = datetime.now(UTC)
    for kind, principal in (("role", role), ("user", user), ("federated", user)):
        for tenant, known in ((api.world.one, True), (api.world.other, False)):
            facts = Facts(kind, tenant.caller.account_id, principal, "name", now, now + timedelta(hours=1))
            made = session_tokens.mint(api.world.cloud.sealer, facts)
            given = asyncio.run(
                KeyCache(api.database, api.world.cloud.sealer).find(made.access_key_id, made.session_token)
            )
            assert (given is not None) == known, kind


def test_a_session_dies_with_its_account(api, sts):
    client = api.session(sts.get_session_token()["Credentials"], "sts")
    client.get_caller_identity()

    def disable(tx):
        tx.session.get_one(Account, api.world.one.caller.account_id).disabled = True

    def is_refused():
        try:
            client.get_caller_identity()
        except ClientError as refusal:
            return refusal.response["Error"]["Code"] == "InvalidClientTokenId"
        return False

    api.run(disable)
    wait_for(is_refused, "the session is refused", 2)


def test_another_controller_knows_it_too(api, sts):
    """Nothing of a session is stored: whoever has the database and the master key knows it, also after a restart."""
    given = sts.get_session_token()["Credentials"]
    another = KeyCache(api.database, api.world.cloud.sealer)
    found = asyncio.run(another.find(given["AccessKeyId"], given["SessionToken"]))
    assert found.secret == given["SecretAccessKey"]
    assert asyncio.run(another.find(given["AccessKeyId"], None)) is None
    assert asyncio.run(KeyCache(api.database, no_sealer()).find(given["AccessKeyId"], given["SessionToken"])) is None


def test_sessions_make_no_sessions(api, sts):
    client = api.session(sts.get_session_token()["Credentials"], "sts")
    api.refused("AccessDenied", client.get_session_token)
    api.refused("AccessDenied", client.get_federation_token, Name="bob")


def test_a_session_of_root_asks_sts_little(api, sts):
    client = api.session(sts.get_session_token()["Credentials"], "sts")
    api.refused("AccessDenied", client.get_access_key_info, AccessKeyId=api.world.one.caller.access_key_id)
    said = api.refused("AccessDenied", client.decode_authorization_message, EncodedMessage="x")
    assert said == "Cannot call DecodeAuthorizationMessage with session credentials"
    assert client.get_caller_identity()["Arn"].endswith(":root")


def test_what_root_hands_out_lasts_an_hour_at_most(sts):
    for seconds, minutes in ((7200, 60), (900, 15)):
        given = sts.get_federation_token(Name="bob", DurationSeconds=seconds)["Credentials"]
        left = given["Expiration"] - datetime.now(UTC)
        assert timedelta(minutes=minutes - 1) < left <= timedelta(minutes=minutes)


def test_a_token_is_as_long_as_it_is_asked_to_be(api, sts):
    for least, ask in itertools.product(
        (0, 100, 1000, 1001, 1002, 4096), (sts.get_session_token, partial(sts.get_federation_token, Name="bob"))
    ):
        answer = ask(MinimumSessionTokenSize=least)
        size = len(answer["Credentials"]["SessionToken"])
        assert answer["SessionTokenSize"] == size
        assert least <= size <= max(least + 8, 500)
        assert answer["SessionTokenUtilization"] == 100 * size // 4200
        assert api.session(answer["Credentials"], "sts").get_caller_identity()["Account"] == "111111111111"


def test_a_federated_user(api, sts):
    policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:Describe*","Resource":"*"}]}'
    answer = sts.get_federation_token(Name="bob", Policy=policy, Tags=[{"Key": "team", "Value": "web"}])
    account = api.world.one.caller.account_id
    expected = (f"arn:aws:sts::{account}:federated-user/bob", f"{account}:bob", account)
    assert (answer["FederatedUser"]["Arn"], answer["FederatedUser"]["FederatedUserId"]) == expected[:2]
    assert 1 <= answer["PackedPolicySize"] <= 20
    assert who(api.session(answer["Credentials"], "sts")) == expected


@pytest.mark.parametrize(
    ("code", "params"),
    [
        ("ValidationError", {"Name": "bob smith"}),
        ("ValidationError", {"Name": "bob", "DurationSeconds": 129_601}),
        ("ValidationError", {"Name": "bob", "PolicyArns": [{"arn": "arn:aws:iam::111111111111:role/admin"}]}),
        ("MalformedPolicyDocument", {"Name": "bob", "Policy": "{}"}),
        ("InvalidParameterValue", {"Name": "bob", "Tags": [{"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}]}),
        (
            "PackedPolicyTooLarge",
            {"Name": "bob", "Tags": [{"Key": f"k{n}", "Value": f"{n**99}"[:200]} for n in range(2, 52)]},
        ),
    ],
)
def test_bad_federation(api, sts, code, params):
    api.refused(code, sts.get_federation_token, **params)


@pytest.mark.parametrize("key_id", ["AKIA0000000000000000", "ASIA0000000000000000"])
def test_whose_a_key_is(api, sts, key_id):
    other = api.world.other.caller
    assert sts.get_access_key_info(AccessKeyId=other.access_key_id)["Account"] == other.account_id
    api.refused("ValidationError", sts.get_access_key_info, AccessKeyId=key_id)
