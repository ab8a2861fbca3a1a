"""AssumeRole through boto3 and the aws command: who gets a session, with what, for how long, and what it may see."""

import json
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from stead_controller.db.tables import Account as AccountRow
from stead_controller.db.tables import IamRole
from tests.api.identity import document, trust, who_may
from tests.support.clients import Account
from tests.support.processes import BIN
from tests.support.waiting import wait_for

ACCOUNT, OTHER = "111111111111", "222222222222"
ALICE = f"arn:aws:iam::{ACCOUNT}:user/alice"


@pytest.fixture
def iam(api):
    return api.client(api.world.one, "iam")


@pytest.fixture
def alice(api, iam):
    """STS as a user of the first account, who may assume any role."""
    return who_may(api, iam, "alice", "sts:*")("sts")


def user(api, iam, name):
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return api.long_term(key["AccessKeyId"], key["SecretAccessKey"], "sts")


def role(client, name, principal=None, *, policy=None, **params):
    """A role that a principal may assume; gives its ARN."""
    trusted = policy or trust(principal or {"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
    return client.create_role(RoleName=name, AssumeRolePolicyDocument=trusted, **params)["Role"]["Arn"]


def allowing(actions, principal=None, **condition):
    statement = {
        "Effect": "Allow",
        "Principal": principal or {"AWS": ALICE},
        "Action": list(actions),
        **({"Condition": condition} if condition else {}),
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def refused(code, call, **params):
    with pytest.raises(ClientError) as refusal:
        call(**params)
    error = refusal.value.response["Error"]
    assert error["Code"] == code, error
    return error["Message"]


def is_dead(session):
    try:
        session.get_caller_identity()
    except ClientError as refusal:
        return refusal.response["Error"]["Code"] == "InvalidClientTokenId"
    return False


def arn_of(api, answer):
    return api.session(answer["Credentials"], "sts").get_caller_identity()["Arn"]


def test_a_user_becomes_a_role(api, iam, alice):
    arn = role(iam, "Admin", Path="/team/")
    answer = alice.assume_role(RoleArn=arn, RoleSessionName="work", DurationSeconds=900)
    left = answer["Credentials"]["Expiration"] - datetime.now(UTC)
    assert timedelta(minutes=14) < left <= timedelta(minutes=15)
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/Admin/work"
    assert answer["AssumedRoleUser"]["Arn"] == session
    who = api.session(answer["Credentials"], "sts").get_caller_identity()
    assert who["Arn"] == session
    assert who["UserId"] == answer["AssumedRoleUser"]["AssumedRoleId"]
    assert who["UserId"] == iam.get_role(RoleName="Admin")["Role"]["RoleId"] + ":work"
    assert "PackedPolicySize" not in answer


def test_both_sides_must_allow(api, iam, alice):
    iam.create_user(UserName="bob")
    bob = user(api, iam, "bob")
    by_account = role(iam, "ByAccount")
    refused("AccessDenied", bob.assume_role, RoleArn=by_account, RoleSessionName="work")
    by_name = role(iam, "ByName", {"AWS": f"arn:aws:iam::{ACCOUNT}:user/bob"})
    assert bob.assume_role(RoleArn=by_name, RoleSessionName="work")
    message = refused("AccessDenied", alice.assume_role, RoleArn=by_name, RoleSessionName="work")
    assert message == f"User: {ALICE} is not authorized to perform: sts:AssumeRole on resource: {by_name}"
    for_ec2 = role(iam, "ForMachines", {"Service": "ec2.amazonaws.com"})
    absent = f"arn:aws:iam::{ACCOUNT}:role/Nobody"
    texts = {
        refused("AccessDenied", alice.assume_role, RoleArn=one, RoleSessionName="work").replace(one, "ARN")
        for one in (for_ec2, absent)
    }
    assert len(texts) == 1


def test_another_account_is_let_in_by_both(api, iam, alice):
    theirs = api.client(api.world.other, "iam")
    arn = role(theirs, "Guest", policy=allowing(["sts:AssumeRole"], {"AWS": ACCOUNT}))
    answer = alice.assume_role(RoleArn=arn, RoleSessionName="visit")
    assert arn_of(api, answer) == f"arn:aws:sts::{OTHER}:assumed-role/Guest/visit"
    iam.put_user_policy(UserName="alice", PolicyName="assume", PolicyDocument=document("ec2:*"))
    refused("AccessDenied", alice.assume_role, RoleArn=arn, RoleSessionName="visit")


def test_a_role_of_a_disabled_account_is_absent(api, iam, alice):
    theirs = api.client(api.world.other, "iam")
    arn = role(theirs, "Guest", policy=allowing(["sts:AssumeRole"], {"AWS": ACCOUNT}))
    assert alice.assume_role(RoleArn=arn, RoleSessionName="visit")

    def disable(tx):
        tx.session.get_one(AccountRow, OTHER).disabled = True

    api.run(disable)
    said = [
        refused("AccessDenied", alice.assume_role, RoleArn=one, RoleSessionName="visit").replace(one, "ARN")
        for one in (arn, f"arn:aws:iam::{OTHER}:role/Nobody", "arn:aws:iam::999999999999:role/Guest")
    ]
    assert len(set(said)) == 1


def test_a_role_is_named_by_its_path_and_as_it_is_written(api, iam, alice):
    arn = role(iam, "Admin", Path="/team/")
    assert alice.assume_role(RoleArn=arn, RoleSessionName="work")
    for other in (arn.replace("/team", ""), arn.replace("team", "other"), arn.replace("Admin", "admin")):
        refused("AccessDenied", alice.assume_role, RoleArn=other, RoleSessionName="work")


def test_another_accounts_user_is_trusted_by_name_and_external_id(api, iam, alice):
    """The confused deputy: only the one user, only with what the owner of the role asks for."""
    theirs = api.client(api.world.other, "iam")
    asks = {"StringEquals": {"sts:ExternalId": "customer-7"}}
    arn = role(theirs, "Partner", policy=allowing(["sts:AssumeRole"], {"AWS": ALICE}, **asks))
    stored = theirs.get_role(RoleName="Partner")["Role"]["AssumeRolePolicyDocument"]
    assert stored["Statement"][0]["Principal"] == {"AWS": ALICE}
    params = {"RoleArn": arn, "RoleSessionName": "visit"}
    refused("AccessDenied", alice.assume_role, **params)
    refused("AccessDenied", alice.assume_role, **params, ExternalId="customer-8")
    answer = alice.assume_role(**params, ExternalId="customer-7")
    assert arn_of(api, answer) == f"arn:aws:sts::{OTHER}:assumed-role/Partner/visit"
    bob = who_may(api, iam, "bob", "sts:*")("sts")
    refused("AccessDenied", bob.assume_role, **params, ExternalId="customer-7")
    # A role of that account that goes on from there.
    hop = role(iam, "Hop", policy=allowing(["sts:AssumeRole"]))
    chained = role(theirs, "Chained", policy=allowing(["sts:AssumeRole"], {"AWS": hop}))
    iam.put_role_policy(RoleName="Hop", PolicyName="on", PolicyDocument=document("sts:AssumeRole", resource=chained))
    first = alice.assume_role(RoleArn=hop, RoleSessionName="hop")["Credentials"]
    last = api.session(first, "sts").assume_role(RoleArn=chained, RoleSessionName="there")
    assert arn_of(api, last) == f"arn:aws:sts::{OTHER}:assumed-role/Chained/there"


def test_another_accounts_role_that_is_made_anew_is_not_trusted(api, iam, alice):
    theirs = api.client(api.world.other, "iam")
    hop = role(iam, "Hop", policy=allowing(["sts:AssumeRole"]))
    arn = role(theirs, "Partner", policy=allowing(["sts:AssumeRole"], {"AWS": hop}))
    iam.put_role_policy(RoleName="Hop", PolicyName="on", PolicyDocument=document("sts:AssumeRole", resource=arn))

    def attempt():
        first = alice.assume_role(RoleArn=hop, RoleSessionName="hop")["Credentials"]
        return api.session(first, "sts").assume_role(RoleArn=arn, RoleSessionName="there")

    def named():
        shown = theirs.get_role(RoleName="Partner")["Role"]["AssumeRolePolicyDocument"]
        return shown["Statement"][0]["Principal"]["AWS"]

    assert attempt()
    assert named() == hop
    old_id = iam.get_role(RoleName="Hop")["Role"]["RoleId"]
    iam.delete_role_policy(RoleName="Hop", PolicyName="on")
    iam.delete_role(RoleName="Hop")
    assert role(iam, "Hop", policy=allowing(["sts:AssumeRole"])) == hop
    iam.put_role_policy(RoleName="Hop", PolicyName="on", PolicyDocument=document("sts:AssumeRole", resource=arn))
    with pytest.raises(ClientError, match="AccessDenied"):
        attempt()
    assert named() == old_id
    theirs.update_assume_role_policy(RoleName="Partner", PolicyDocument=allowing(["sts:AssumeRole"], {"AWS": hop}))
    assert attempt()


def test_the_external_id(iam, alice):
    equals = {"StringEquals": {"sts:ExternalId": "customer-7"}}
    arn = role(iam, "Partner", policy=allowing(["sts:AssumeRole"], **equals))
    refused("AccessDenied", alice.assume_role, RoleArn=arn, RoleSessionName="work")
    refused("AccessDenied", alice.assume_role, RoleArn=arn, RoleSessionName="work", ExternalId="customer-8")
    assert alice.assume_role(RoleArn=arn, RoleSessionName="work", ExternalId="customer-7")


def test_tags_must_be_allowed_and_stay(api, iam, alice):
    plain = role(iam, "Plain", policy=allowing(["sts:AssumeRole"]))
    tags = [{"Key": "team", "Value": "web"}, {"Key": "cost", "Value": "7"}]
    refused("AccessDenied", alice.assume_role, RoleArn=plain, RoleSessionName="work", Tags=tags)
    both = ["sts:AssumeRole", "sts:TagSession"]
    first = role(iam, "First", policy=allowing(both))
    iam.put_role_policy(RoleName="First", PolicyName="chain", PolicyDocument=document("sts:*"))
    asks = {"StringEquals": {"aws:PrincipalTag/team": "web"}}
    second = role(iam, "Second", policy=allowing(both, {"AWS": first}, **asks))
    third = role(iam, "Third", policy=allowing(both, {"AWS": second}, **asks))
    iam.put_role_policy(RoleName="Second", PolicyName="chain", PolicyDocument=document("sts:*"))

    def chain(transitive):
        answer = alice.assume_role(RoleArn=first, RoleSessionName="work", Tags=tags, TransitiveTagKeys=transitive)
        assert answer["PackedPolicySize"] >= 1
        one = api.session(answer["Credentials"], "sts")
        two = api.session(one.assume_role(RoleArn=second, RoleSessionName="again")["Credentials"], "sts")
        return one, two

    untagged = role(iam, "Untagged", policy=allowing(["sts:AssumeRole"], {"AWS": first}))
    one, two = chain(["team"])
    message = refused("AccessDenied", one.assume_role, RoleArn=untagged, RoleSessionName="bare")
    assert "sts:TagSession" in message  # what is handed on is asked for as well
    assert arn_of(api, two.assume_role(RoleArn=third, RoleSessionName="last")).endswith("assumed-role/Third/last")
    refused(
        "InvalidParameterValue",
        two.assume_role,
        RoleArn=third,
        RoleSessionName="last",
        Tags=[{"Key": "Team", "Value": "db"}],
    )
    one, two = chain([])
    assert one.assume_role(RoleArn=untagged, RoleSessionName="bare")
    refused("AccessDenied", two.assume_role, RoleArn=third, RoleSessionName="last")


def test_a_chain_lasts_an_hour(api, iam, alice):
    first, second = (role(iam, name, MaxSessionDuration=43_200) for name in ("First", "Second"))
    iam.put_role_policy(RoleName="First", PolicyName="chain", PolicyDocument=document("sts:*"))
    answer = alice.assume_role(RoleArn=first, RoleSessionName="work", DurationSeconds=43_200)
    session = api.session(answer["Credentials"], "sts")
    message = refused(
        "ValidationError", session.assume_role, RoleArn=second, RoleSessionName="x1", DurationSeconds=3601
    )
    assert "1 hour session limit for roles assumed by role chaining" in message
    assert session.assume_role(RoleArn=second, RoleSessionName="x1", DurationSeconds=3600)


def test_who_is_behind_it_stays(api, iam, alice):
    all_three = ["sts:AssumeRole", "sts:SetSourceIdentity"]
    first = role(iam, "First", policy=allowing(all_three))
    second = role(iam, "Second", policy=allowing(["sts:AssumeRole"], {"AWS": first}))
    third = role(
        iam,
        "Third",
        policy=allowing(all_three, {"AWS": first}, StringEquals={"sts:SourceIdentity": "Alice"}),
    )
    answer = alice.assume_role(RoleArn=first, RoleSessionName="work", SourceIdentity="Alice")
    assert answer["SourceIdentity"] == "Alice"
    session = api.session(answer["Credentials"], "sts")
    refused("AccessDenied", session.assume_role, RoleArn=second, RoleSessionName="next")
    refused("AccessDenied", session.assume_role, RoleArn=third, RoleSessionName="next", SourceIdentity="Bob")
    assert session.assume_role(RoleArn=third, RoleSessionName="next")["SourceIdentity"] == "Alice"


def test_what_limits_the_caller_limits_whom_it_becomes(api, iam, alice):
    """Its session's policies and its boundary, though its own policies and the role would let it."""
    admin, hop = role(iam, "Admin"), role(iam, "Hop")
    iam.put_role_policy(RoleName="Hop", PolicyName="on", PolicyDocument=document("sts:*"))

    def session(**limits):
        return api.session(alice.assume_role(RoleArn=hop, RoleSessionName="hop", **limits)["Credentials"], "sts")

    free, limited = session(), session(Policy=document("ec2:*"))
    assert free.assume_role(RoleArn=admin, RoleSessionName="work")
    refused("AccessDenied", limited.assume_role, RoleArn=admin, RoleSessionName="work")
    fence = iam.create_policy(PolicyName="Fence", PolicyDocument=document("ec2:*"))["Policy"]["Arn"]
    iam.put_role_permissions_boundary(RoleName="Hop", PermissionsBoundary=fence)
    refused("AccessDenied", free.assume_role, RoleArn=admin, RoleSessionName="work")
    iam.put_user_permissions_boundary(UserName="alice", PermissionsBoundary=fence)
    refused("AccessDenied", alice.assume_role, RoleArn=admin, RoleSessionName="work")


def test_large_session_policies_are_refused(api, iam, alice):
    arn = role(iam, "Admin")
    managed = iam.create_policy(PolicyName="Look", PolicyDocument=document("ec2:Describe*"))["Policy"]["Arn"]
    answer = alice.assume_role(
        RoleArn=arn,
        RoleSessionName="work",
        Policy=document("ec2:DescribeVpcs"),
        PolicyArns=[{"arn": managed}, {"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}],
    )
    assert 1 <= answer["PackedPolicySize"] < 30
    assert arn_of(api, answer).endswith("Admin/work")


@pytest.mark.parametrize(
    ("code", "params"),
    [
        ("ValidationError", {"RoleSessionName": "two words"}),
        ("ValidationError", {"RoleArn": f"arn:aws:iam::{ACCOUNT}:user/alice"}),
        ("ValidationError", {"DurationSeconds": 3601}),
        ("ValidationError", {"DurationSeconds": 43_201}),
        ("MalformedPolicyDocument", {"Policy": '{"Version":"2012-10-17"}'}),
        ("ValidationError", {"PolicyArns": [{"arn": f"arn:aws:iam::{ACCOUNT}:role/Admin"}]}),
        ("InvalidParameterValue", {"Tags": [{"Key": "a", "Value": "b"}], "TransitiveTagKeys": ["c"]}),
        ("AccessDenied", {"SerialNumber": f"arn:aws:iam::{ACCOUNT}:mfa/alice", "TokenCode": "123456"}),
        ("ValidationError", {"ExternalId": "no spaces"}),
    ],
)
def test_bad_requests(iam, alice, code, params):
    arn = role(iam, "Admin")
    refused(code, alice.assume_role, **{"RoleArn": arn, "RoleSessionName": "work", **params})


def test_root_assumes_nothing(api, iam):
    arn = role(iam, "Admin")
    root = api.client(api.world.one, "sts")
    message = refused("AccessDenied", root.assume_role, RoleArn=arn, RoleSessionName="work")
    assert message == "Roles may not be assumed by root accounts."


@pytest.mark.parametrize("end", ["deleted", "deleted and made again", "revoked"])
def test_a_session_ends_with_its_role(api, iam, alice, end):
    arn = role(iam, "Admin")
    session = api.session(alice.assume_role(RoleArn=arn, RoleSessionName="work")["Credentials"], "sts")
    session.get_caller_identity()
    if end == "revoked":
        revoked = datetime.now(UTC) + timedelta(seconds=1)
        api.run(lambda tx: setattr(tx.session.query(IamRole).one(), "sessions_revoked_before", revoked))
    else:
        iam.delete_role(RoleName="Admin")
    if end == "deleted and made again":
        role(iam, "Admin")

    wait_for(lambda: is_dead(session), "the session is refused", 2)


def test_a_users_session_ends_with_the_user(api, iam, alice):
    session = api.session(alice.get_session_token()["Credentials"], "sts")
    assert session.get_caller_identity()["Arn"] == ALICE
    federated = api.session(alice.get_federation_token(Name="carol")["Credentials"], "sts")
    federated.get_caller_identity()
    key_id = iam.list_access_keys(UserName="alice")["AccessKeyMetadata"][0]["AccessKeyId"]
    iam.delete_access_key(UserName="alice", AccessKeyId=key_id)
    assert session.get_caller_identity()["Arn"] == ALICE
    iam.delete_user_policy(UserName="alice", PolicyName="assume")
    iam.delete_user(UserName="alice")

    wait_for(lambda: is_dead(session) and is_dead(federated), "the sessions are refused", 3)


def test_the_aws_command_with_a_profile(api, iam, alice, tmp_path):
    """A profile with role_arn, as people have it: the command itself asks for the session."""
    arn = role(iam, "Admin", policy=allowing(["sts:AssumeRole"], StringEquals={"sts:ExternalId": "tool"}))
    key = iam.create_access_key(UserName="alice")["AccessKey"]
    (tmp_path / "config").write_text(
        f"[profile work]\nrole_arn = {arn}\nsource_profile = alice\nexternal_id = tool\nrole_session_name = cli\n"
    )
    (tmp_path / "credentials").write_text(
        f"[alice]\naws_access_key_id = {key['AccessKeyId']}\naws_secret_access_key = {key['SecretAccessKey']}\n"
    )
    account = Account(ACCOUNT, "", "", f"http://127.0.0.1:{api.port}")
    files = {
        "HOME": str(tmp_path),  # where the command keeps sessions
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }
    without_keys = {
        name: value for name, value in account.environment.items() if not name.startswith(("AWS_ACCESS", "AWS_SECRET"))
    }
    done = subprocess.run(
        [BIN / "aws", "--profile", "work", "--output", "json", "sts", "get-caller-identity"],
        env=without_keys | files,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/Admin/cli"


def allowed(api, credentials, *operations):
    """Which of some operations without parameters a session may do."""
    client = api.session(credentials)
    found = []
    for operation in operations:
        try:
            getattr(client, operation)()
        except ClientError as refusal:
            code = refusal.response["Error"]["Code"]
            if code != "UnauthorizedOperation":
                raise
        else:
            found.append(operation)
    return found


LOOKS = ("describe_vpcs", "describe_subnets", "describe_key_pairs")


def test_a_session_may_do_what_its_policies_and_the_roles_allow(api, iam, alice):
    arn = role(iam, "Looker")
    rights = document("ec2:DescribeVpcs", "ec2:DescribeSubnets")
    iam.put_role_policy(RoleName="Looker", PolicyName="look", PolicyDocument=rights)
    managed = iam.create_policy(PolicyName="Pairs", PolicyDocument=document("ec2:DescribeKeyPairs"))["Policy"]["Arn"]

    def session(**limits):
        return alice.assume_role(RoleArn=arn, RoleSessionName="work", **limits)["Credentials"]

    assert allowed(api, session(), *LOOKS) == ["describe_vpcs", "describe_subnets"]
    assert allowed(api, session(Policy=document("ec2:DescribeSubnets", "iam:*")), *LOOKS) == ["describe_subnets"]
    assert allowed(api, session(PolicyArns=[{"arn": managed}]), *LOOKS) == []
    both = session(Policy=document("ec2:DescribeVpcs"), PolicyArns=[{"arn": managed}])
    assert allowed(api, both, *LOOKS) == ["describe_vpcs"]


def test_a_limit_that_is_gone_allows_nothing(api, iam, alice):
    arn = role(iam, "Looker")
    iam.put_role_policy(RoleName="Looker", PolicyName="look", PolicyDocument=document("ec2:*"))
    managed = iam.create_policy(PolicyName="Vpcs", PolicyDocument=document("ec2:DescribeVpcs"))["Policy"]["Arn"]
    given = alice.assume_role(RoleArn=arn, RoleSessionName="work", PolicyArns=[{"arn": managed}])["Credentials"]
    assert allowed(api, given, *LOOKS) == ["describe_vpcs"]
    iam.delete_policy(PolicyArn=managed)
    wait_for(lambda: not allowed(api, given, *LOOKS), "nothing is allowed any more", 3)


def test_a_federated_user_asks_sts_only_who_it_is(api, iam, alice):
    """Whatever it was given: what a broker hands out does not become a role's session."""
    account = api.world.one.caller.account_id
    iam.create_role(RoleName="trusting", AssumeRolePolicyDocument=trust({"AWS": account}))
    iam.put_user_policy(UserName="alice", PolicyName="all", PolicyDocument=document("*"))
    carol = api.session(alice.get_federation_token(Name="carol", Policy=document("*"))["Credentials"], "sts")
    assert carol.get_caller_identity()["Arn"].endswith("federated-user/carol")
    role = f"arn:aws:iam::{account}:role/trusting"
    api.refused("AccessDenied", carol.assume_role, RoleArn=role, RoleSessionName="carol")
    api.refused("AccessDenied", carol.decode_authorization_message, EncodedMessage="x")
    api.refused("AccessDenied", carol.get_session_token)


def test_a_session_of_a_user_asks_sts_for_roles_only(api, iam, alice):
    arn = role(iam, "Looker")
    session = api.session(alice.get_session_token()["Credentials"], "sts")
    assert arn_of(api, session.assume_role(RoleArn=arn, RoleSessionName="work")).endswith("assumed-role/Looker/work")
    assert session.get_caller_identity()["Arn"] == ALICE
    api.refused("InvalidAuthorizationMessageException", alice.decode_authorization_message, EncodedMessage="x")
    api.refused("AccessDenied", session.decode_authorization_message, EncodedMessage="x")
    api.refused("AccessDenied", session.get_access_key_info, AccessKeyId=api.world.one.caller.access_key_id)
    own = api.session(session.assume_role(RoleArn=arn, RoleSessionName="work")["Credentials"], "sts")
    iam.put_role_policy(RoleName="Looker", PolicyName="ask", PolicyDocument=document("sts:GetAccessKeyInfo"))
    assert own.get_access_key_info(AccessKeyId=api.world.one.caller.access_key_id)["Account"] == ACCOUNT


def test_tags_of_a_federated_user_must_be_allowed(api, iam, alice):
    tags = [{"Key": "team", "Value": "web"}]
    iam.put_user_policy(UserName="alice", PolicyName="assume", PolicyDocument=document("sts:GetFederationToken"))
    assert alice.get_federation_token(Name="carol")["Credentials"]
    assert "sts:TagSession" in refused("AccessDenied", alice.get_federation_token, Name="carol", Tags=tags)
    tag = {"Effect": "Allow", "Action": "sts:TagSession", "Resource": f"arn:aws:sts::{ACCOUNT}:federated-user/carol"}
    only = tag | {
        "Condition": {
            "StringEquals": {"aws:RequestTag/team": "web"},
            "ForAllValues:StringEquals": {"aws:TagKeys": "team"},
        }
    }
    both = json.loads(document("sts:GetFederationToken"))
    both["Statement"].append(only)
    iam.put_user_policy(UserName="alice", PolicyName="assume", PolicyDocument=json.dumps(both))
    assert alice.get_federation_token(Name="carol", Tags=tags)["PackedPolicySize"] >= 1
    refused("AccessDenied", alice.get_federation_token, Name="dave", Tags=tags)
    refused("AccessDenied", alice.get_federation_token, Name="carol", Tags=[{"Key": "team", "Value": "db"}])


def test_a_federated_user_is_itself_to_conditions(api, iam, alice):
    """Not the user behind it, whose ARN is that of the user's own calls alone."""
    for arn, may in ((f"arn:aws:sts::{ACCOUNT}:federated-user/carol", ["describe_vpcs"]), (ALICE, [])):
        rights = json.loads(document("ec2:DescribeVpcs"))
        rights["Statement"][0]["Condition"] = {"ArnEquals": {"aws:PrincipalArn": arn}}
        rights["Statement"].append(json.loads(document("sts:*"))["Statement"][0])
        iam.put_user_policy(UserName="alice", PolicyName="assume", PolicyDocument=json.dumps(rights))
        given = alice.get_federation_token(Name="carol", Policy=document("ec2:*"))["Credentials"]
        assert allowed(api, given, "describe_vpcs") == may


def test_a_federated_user_may_do_what_both_allow(api, iam, alice):
    rights = document("sts:*", "ec2:DescribeVpcs", "ec2:DescribeSubnets")
    iam.put_user_policy(UserName="alice", PolicyName="assume", PolicyDocument=rights)
    limited = alice.get_federation_token(Name="carol", Policy=document("ec2:DescribeVpcs", "ec2:DescribeKeyPairs"))
    assert allowed(api, limited["Credentials"], *LOOKS) == ["describe_vpcs"]
    assert allowed(api, alice.get_federation_token(Name="carol")["Credentials"], *LOOKS) == []
    assert allowed(api, alice.get_session_token()["Credentials"], *LOOKS) == ["describe_vpcs", "describe_subnets"]


def test_older_sessions_are_revoked_by_the_policy_that_the_console_writes(api, iam, alice):
    arn = role(iam, "Looker")
    iam.put_role_policy(RoleName="Looker", PolicyName="look", PolicyDocument=document("ec2:*"))
    given = alice.assume_role(RoleArn=arn, RoleSessionName="work")["Credentials"]
    assert allowed(api, given, "describe_vpcs")
    at = datetime.now(UTC) + timedelta(seconds=1)
    condition = {"DateLessThan": {"aws:TokenIssueTime": at.strftime("%Y-%m-%dT%H:%M:%SZ")}}
    statement = {"Effect": "Deny", "Action": ["*"], "Resource": ["*"], "Condition": condition}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName="Looker", PolicyName="AWSRevokeOlderSessions", PolicyDocument=policy)
    wait_for(lambda: not allowed(api, given, "describe_vpcs"), "the session is refused", 10)
    wait_for(
        lambda: allowed(api, alice.assume_role(RoleArn=arn, RoleSessionName="work")["Credentials"], "describe_vpcs"),
        "a later session is not",
        10,
    )
