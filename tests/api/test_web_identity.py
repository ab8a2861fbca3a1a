"""AssumeRoleWithWebIdentity through boto3, by clients without any access key."""

import json
import socket
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

from stead_controller.secrets.oidc_issuers import OidcIssuers
from tests.support.web_identity import Issuer, encoded

ACCOUNT = "111111111111"
ISSUER = Issuer()


@pytest.fixture
def iam(api):
    return api.client(api.world.one, "iam")


@pytest.fixture
def role(api, iam, tmp_path):
    """A role that trusts the issuer for one subject; gives its ARN."""
    folder = tmp_path / "oidc"
    folder.mkdir()
    (folder / "team.json").write_text(ISSUER.file)
    api.app._cloud = replace(api.app._cloud, issuers=OidcIssuers(folder))
    provider = iam.create_open_id_connect_provider(Url=ISSUER.url, ClientIDList=["stead"])
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": provider["OpenIDConnectProviderArn"]},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {"issuer.example/team:sub": "job-7", "issuer.example/team:aud": "stead"}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return iam.create_role(RoleName="Deploy", AssumeRolePolicyDocument=policy)["Role"]["Arn"]


@pytest.fixture
def anybody(api):
    """STS for one who has no key."""
    return api.unsigned("sts")


def token(**claims):
    return ISSUER.token(datetime.now(UTC), **claims)


def test_whom_the_issuer_knows_gets_a_session(api, role, anybody):
    answer = anybody.assume_role_with_web_identity(RoleArn=role, RoleSessionName="run", WebIdentityToken=token())
    assert (answer["SubjectFromWebIdentityToken"], answer["Audience"], answer["Provider"]) == (
        "job-7",
        "stead",
        ISSUER.url,
    )
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/Deploy/run"
    assert answer["AssumedRoleUser"]["Arn"] == arn
    assert api.session(answer["Credentials"], "sts").get_caller_identity()["Arn"] == arn


@pytest.mark.parametrize(
    ("code", "claims"),
    [
        ("AccessDenied", {"sub": "job-8"}),
        ("InvalidIdentityToken", {"aud": "other"}),
        ("InvalidIdentityToken", {"iss": "https://elsewhere.example"}),
        ("ExpiredTokenException", {"exp": 1_000_000_000}),
    ],
)
def test_others_get_none(api, role, anybody, code, claims):
    api.refused(
        code,
        anybody.assume_role_with_web_identity,
        RoleArn=role,
        RoleSessionName="run",
        WebIdentityToken=token(**claims),
    )


def test_a_token_nested_too_deeply_is_an_invalid_one(api, role, anybody):
    """Anybody may send one, so it is no fault of ours that is written to the log."""
    deep = f"{encoded(b'[' * 14_000)}.e30.e30"
    asked = {"RoleArn": role, "RoleSessionName": "run", "WebIdentityToken": deep}
    api.refused("InvalidIdentityToken", anybody.assume_role_with_web_identity, **asked)


def test_no_issuer_is_asked_for_anything(api, iam, role, anybody):
    """Keys are what the operator's files say: nobody connects to where an issuer's URL leads."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"https://127.0.0.1:{server.getsockname()[1]}/keys"
        made = iam.create_open_id_connect_provider(Url=url, ClientIDList=["stead"])["OpenIDConnectProviderArn"]
        with pytest.raises(ClientError, match="InvalidIdentityToken"):
            anybody.assume_role_with_web_identity(RoleArn=role, RoleSessionName="run", WebIdentityToken=token(iss=url))
        iam.update_open_id_connect_provider_thumbprint(OpenIDConnectProviderArn=made, ThumbprintList=["a" * 40])
        with pytest.raises(BlockingIOError):
            server.accept()


def test_an_issuer_gives_tags_and_says_who_is_behind_it(api, iam, role, anybody):
    """Where the role allows it; conditions see them, and the issuer."""
    provider = f"arn:aws:iam::{ACCOUNT}:oidc-provider/issuer.example/team"
    tags = {"principal_tags": {"team": ["web"], "cost": "7"}, "transitive_tag_keys": ["team"]}
    claims = {"https://aws.amazon.com/tags": tags, "https://aws.amazon.com/source_identity": "ada"}

    def assume(**claims):
        asked = {"RoleArn": role, "RoleSessionName": "run", "WebIdentityToken": token(**claims)}
        return anybody.assume_role_with_web_identity(**asked)

    with pytest.raises(ClientError, match="AccessDenied"):
        assume(**claims)
    trusted = iam.get_role(RoleName="Deploy")["Role"]["AssumeRolePolicyDocument"]
    first = trusted["Statement"][0]
    for action, condition in (
        ("sts:TagSession", {"StringEquals": {"aws:RequestTag/team": "web"}}),
        ("sts:SetSourceIdentity", {"StringLike": {"sts:SourceIdentity": "a*"}}),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            assume(**claims)
        trusted["Statement"].append({**first, "Action": action, "Condition": condition})
        iam.update_assume_role_policy(RoleName="Deploy", PolicyDocument=json.dumps(trusted))
    keys = {"aws:PrincipalTag/cost": "7", "aws:SourceIdentity": "ada", "aws:FederatedProvider": provider}
    statement = {"Effect": "Allow", "Action": "ec2:DescribeVpcs", "Resource": "*", "Condition": {"StringEquals": keys}}
    rights = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName="Deploy", PolicyName="look", PolicyDocument=rights)
    answer = assume(**claims)
    assert answer["SourceIdentity"] == "ada"
    assert api.session(answer["Credentials"]).describe_vpcs()["Vpcs"]
    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        api.session(assume()["Credentials"]).describe_vpcs()
    tags["principal_tags"]["team"] = "db"
    with pytest.raises(ClientError, match="AccessDenied"):
        assume(**claims)


@pytest.mark.parametrize(
    ("code", "claim"),
    [
        ("InvalidIdentityToken", []),
        ("InvalidIdentityToken", {"principal_tags": {"team": ["a", "b"]}}),
        ("InvalidIdentityToken", {"principal_tags": {"team": "a"}, "transitive_tag_keys": "team"}),
        ("InvalidParameterValue", {"principal_tags": {"team": "a"}, "transitive_tag_keys": ["cost"]}),
        ("ValidationError", {"principal_tags": {"aws:team": "a"}}),
    ],
)
def test_what_are_no_tags_is_refused(api, role, anybody, code, claim):
    api.refused(
        code,
        anybody.assume_role_with_web_identity,
        RoleArn=role,
        RoleSessionName="run",
        WebIdentityToken=token(**{"https://aws.amazon.com/tags": claim}),
    )


def test_an_absent_role_is_like_one_that_does_not_trust(api, role, anybody):
    asked = {"RoleSessionName": "run", "WebIdentityToken": token()}
    everybody = {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everybody]})
    theirs = api.client(api.world.other, "iam").create_role(RoleName="Deploy", AssumeRolePolicyDocument=policy)
    theirs = theirs["Role"]["Arn"]
    texts = {
        api.refused("AccessDenied", anybody.assume_role_with_web_identity, RoleArn=arn, **asked)
        for arn in (theirs, f"arn:aws:iam::{ACCOUNT}:role/Nobody")
    }
    assert texts == {"Not authorized to perform sts:AssumeRoleWithWebIdentity"}


def test_a_token_of_another_audience_shows_nothing_of_roles(api, role, anybody):
    asked = {"RoleSessionName": "run", "WebIdentityToken": token(aud="other")}
    texts = {
        api.refused("InvalidIdentityToken", anybody.assume_role_with_web_identity, RoleArn=arn, **asked)
        for arn in (role, f"arn:aws:iam::{ACCOUNT}:role/Nobody")
    }
    assert texts == {"Incorrect token audience"}


def test_another_accounts_provider_proves_nothing(api, role, anybody):
    """A role trusts whom its own account knows: also where its policy names somebody else's provider."""
    theirs = api.client(api.world.other, "iam")
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/issuer.example/team"},
        "Action": "sts:AssumeRoleWithWebIdentity",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    arn = theirs.create_role(RoleName="Deploy", AssumeRolePolicyDocument=policy)["Role"]["Arn"]
    asked = {"RoleArn": arn, "RoleSessionName": "run", "WebIdentityToken": token()}
    api.refused("AccessDenied", anybody.assume_role_with_web_identity, **asked)
    theirs.create_open_id_connect_provider(Url=ISSUER.url, ClientIDList=["stead"])
    api.refused("AccessDenied", anybody.assume_role_with_web_identity, **asked)
    policy = policy.replace(ACCOUNT, arn.split(":")[4])
    theirs.update_assume_role_policy(RoleName="Deploy", PolicyDocument=policy)
    assert anybody.assume_role_with_web_identity(**asked)["AssumedRoleUser"]["Arn"].endswith("assumed-role/Deploy/run")


def test_a_forged_token_is_refused(api, role, anybody):
    forged = Issuer().token(datetime.now(UTC))
    api.refused(
        "InvalidIdentityToken",
        anybody.assume_role_with_web_identity,
        RoleArn=role,
        RoleSessionName="run",
        WebIdentityToken=forged,
    )


def test_nothing_else_goes_unsigned(api, anybody):
    with pytest.raises(ClientError) as refusal:
        api.unsigned("ec2").describe_vpcs()
    assert refusal.value.response["Error"]["Code"] == "MissingAuthenticationToken"
    with pytest.raises(ClientError) as refusal:
        anybody.get_caller_identity()
    assert refusal.value.response["Error"]["Code"] == "MissingAuthenticationToken"
