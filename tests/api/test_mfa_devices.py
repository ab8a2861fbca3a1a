"""Second factors through boto3: devices of users, and sessions that only who has one gets; a code counts once."""

import base64
import hmac
import json
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from stead_controller.db.tables import IamMfaDevice
from tests.api.identity import document, trust, who_may
from tests.support.waiting import wait_for

ACCOUNT = "111111111111"
WITH_MFA = {"Bool": {"aws:MultiFactorAuthPresent": "true"}}


def code_at(seed, steps=0):
    """What an authenticator app shows so many steps from now."""
    counter = struct.pack(">Q", int(time.time()) // 30 + steps)
    digest = hmac.digest(base64.b32decode(seed), counter, "sha1")
    (number,) = struct.unpack_from(">I", digest, digest[-1] & 15)
    return f"{(number & 0x7FFFFFFF) % 1_000_000:06}"


class Phone:
    """An authenticator app with one device in it, whose clock may be wrong; as if a while had passed between codes."""

    def __init__(self, api, iam, name, user=None, drift=0):
        self.api, self.iam, self.drift = api, iam, drift
        made = iam.create_virtual_mfa_device(VirtualMFADeviceName=name)["VirtualMFADevice"]
        self.serial, self.seed, self.image = made["SerialNumber"], made["Base32StringSeed"], made["QRCodePNG"]
        if user is not None:
            self.enable(user)

    def codes(self):
        first, second = (code_at(self.seed, self.drift + place) for place in (-1, 0))
        return {"AuthenticationCode1": first, "AuthenticationCode2": second}

    def enable(self, user):
        self.iam.enable_mfa_device(UserName=user, SerialNumber=self.serial, **self.codes())

    def factor(self):
        """What a person types, when no code was taken for a while."""

        def rest(tx):
            tx.session.query(IamMfaDevice).update({"last_step": 0})

        self.api.run(rest)
        return {"SerialNumber": self.serial, "TokenCode": code_at(self.seed, self.drift)}


@pytest.fixture
def iam(api):
    return api.client(api.world.one, "iam")


@pytest.fixture
def alice(api, iam):
    """A user who may ask for any session; its clients by service."""
    return who_may(api, iam, "alice", "sts:*")


def guarded(*actions, **condition):
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*", "Condition": condition or WITH_MFA}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def role(iam, name, **condition):
    trusted = json.loads(trust({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}))
    trusted["Statement"][0]["Condition"] = condition or WITH_MFA
    return iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trusted))["Role"]["Arn"]


def test_the_life_of_a_device(api, iam):
    iam.create_user(UserName="alice")
    tags = [{"Key": "kind", "Value": "phone"}]
    made = iam.create_virtual_mfa_device(VirtualMFADeviceName="Phone", Path="/team/", Tags=tags)["VirtualMFADevice"]
    serial = made["SerialNumber"]
    assert serial == f"arn:aws:iam::{ACCOUNT}:mfa/team/Phone"
    assert len(base64.b32decode(made["Base32StringSeed"])) == 40
    assert made["QRCodePNG"].startswith(b"\x89PNG\r\n\x1a\n")
    assert made["Tags"] == tags
    api.refused("EntityAlreadyExists", iam.create_virtual_mfa_device, VirtualMFADeviceName="phone")
    api.refused("ValidationError", iam.create_virtual_mfa_device, VirtualMFADeviceName="my phone")
    [listed] = iam.list_virtual_mfa_devices(AssignmentStatus="Unassigned")["VirtualMFADevices"]
    assert listed == {"SerialNumber": serial}  # and not its seed
    first, second = (code_at(made["Base32StringSeed"], place) for place in (-1, 0))
    on = {"UserName": "alice", "SerialNumber": serial}
    for codes in ((second, first), (first, "000000" if second != "000000" else "000001"), (second, second)):
        given = dict(zip(("AuthenticationCode1", "AuthenticationCode2"), codes, strict=True))
        said = api.refused("InvalidAuthenticationCode", iam.enable_mfa_device, **on, **given)
        assert said == "Authentication code for device is not valid."
    right = {"AuthenticationCode1": first, "AuthenticationCode2": second}
    api.refused("NoSuchEntity", iam.enable_mfa_device, **on | {"UserName": "nobody"}, **right)
    api.refused("NoSuchEntity", iam.resync_mfa_device, **on, **right)
    iam.enable_mfa_device(**on, **right)
    api.refused("EntityAlreadyExists", iam.enable_mfa_device, **on, **right)
    api.refused("InvalidAuthenticationCode", iam.resync_mfa_device, **on, **right)  # they were taken
    [device] = iam.list_mfa_devices(UserName="alice")["MFADevices"]
    assert (device["UserName"], device["SerialNumber"]) == ("alice", serial)
    shown = iam.get_mfa_device(SerialNumber=serial)
    assert (shown["UserName"], shown["EnableDate"]) == ("alice", device["EnableDate"])
    api.refused("NoSuchEntity", iam.get_mfa_device, SerialNumber=serial, UserName="nobody")
    [listed] = iam.list_virtual_mfa_devices(AssignmentStatus="Assigned")["VirtualMFADevices"]
    assert listed["User"]["UserName"] == "alice"
    assert iam.list_virtual_mfa_devices(AssignmentStatus="Unassigned")["VirtualMFADevices"] == []
    summary = iam.get_account_summary()["SummaryMap"]
    assert (summary["MFADevices"], summary["MFADevicesInUse"]) == (1, 1)
    api.refused("DeleteConflict", iam.delete_virtual_mfa_device, SerialNumber=serial)
    said = api.refused("DeleteConflict", iam.delete_user, UserName="alice")
    assert said == "Cannot delete entity, must delete MFA device first."
    iam.untag_mfa_device(SerialNumber=serial, TagKeys=["kind"])
    iam.tag_mfa_device(SerialNumber=serial, Tags=[{"Key": "of", "Value": "alice"}])
    assert iam.list_mfa_device_tags(SerialNumber=serial)["Tags"] == [{"Key": "of", "Value": "alice"}]
    iam.deactivate_mfa_device(**on)
    api.refused("NoSuchEntity", iam.deactivate_mfa_device, **on)
    assert iam.list_mfa_devices(UserName="alice")["MFADevices"] == []
    iam.delete_virtual_mfa_device(SerialNumber=serial)
    api.refused("NoSuchEntity", iam.delete_virtual_mfa_device, SerialNumber=serial)
    iam.delete_user(UserName="alice")


def test_devices_are_listed_in_pages_and_a_user_has_eight(api, iam):
    iam.create_user(UserName="alice")
    phones = [Phone(api, iam, f"Phone{number}", "alice") for number in range(8)]
    ninth = Phone(api, iam, "Phone8")
    api.refused(
        "LimitExceeded", ninth.iam.enable_mfa_device, UserName="alice", SerialNumber=ninth.serial, **ninth.codes()
    )
    for lister, asked, expected in (
        ("list_mfa_devices", {"UserName": "alice"}, phones),
        ("list_virtual_mfa_devices", {}, [*phones, ninth]),
    ):
        pages = iam.get_paginator(lister).paginate(**asked, PaginationConfig={"PageSize": 3})
        found = [one["SerialNumber"] for page in pages for one in page.get("MFADevices", page.get("VirtualMFADevices"))]
        assert found == [phone.serial for phone in expected]


def test_nothing_of_a_seed_is_in_the_database(api, iam):
    phone = Phone(api, iam, "Phone")
    raw = base64.b32decode(phone.seed)
    file = Path(api.database.engine.url.database)
    stored = b"".join(path.read_bytes() for path in file.parent.glob(f"{file.name}*"))
    assert phone.serial.rpartition("/")[2].encode() in stored
    assert [form for form in (raw, raw.hex().encode(), phone.seed, base64.b64encode(raw)) if form in stored] == []


def test_a_role_that_asks_for_a_second_factor(api, iam, alice):
    phone = Phone(api, iam, "Phone", "alice")
    arn = role(iam, "Admin")
    sts = alice("sts")
    params = {"RoleArn": arn, "RoleSessionName": "work"}
    said = api.refused("AccessDenied", sts.assume_role, **params)
    assert (
        said
        == f"User: arn:aws:iam::{ACCOUNT}:user/alice is not authorized to perform: sts:AssumeRole on resource: {arn}"
    )
    factor = phone.factor()
    wrong = factor | {"TokenCode": f"{(int(factor['TokenCode']) + 1) % 1_000_000:06}"}
    assert "invalid MFA one time pass code" in api.refused("AccessDenied", sts.assume_role, **params, **wrong)
    given = sts.assume_role(**params, **factor)["Credentials"]
    assert api.session(given, "sts").get_caller_identity()["Arn"].endswith("assumed-role/Admin/work")
    again = api.refused("AccessDenied", sts.assume_role, **params, **factor)
    assert "invalid MFA one time pass code" in again
    assert "invalid MFA one time pass code" in api.refused("AccessDenied", sts.get_session_token, **factor)
    half = api.refused("AccessDenied", sts.assume_role, **params, SerialNumber=phone.serial)
    assert "must provide both" in half
    said = api.refused("ValidationError", sts.assume_role, **params, **phone.factor() | {"TokenCode": "12345a"})
    assert said == (
        "1 validation error detected: Value '12345a' at 'tokenCode' failed to satisfy constraint: "
        r"Member must satisfy regular expression pattern: [\d]*"
    )


def test_only_the_users_own_device_counts(api, iam, alice):
    iam.create_user(UserName="bob")
    bobs, nobodys = Phone(api, iam, "Bobs", "bob"), Phone(api, iam, "Nobodys")
    Phone(api, iam, "Alices", "alice")
    absent = {"SerialNumber": f"arn:aws:iam::{ACCOUNT}:mfa/absent", "TokenCode": "123456"}
    other_path = bobs.factor() | {"SerialNumber": bobs.serial.replace(":mfa/", ":mfa/x/")}
    said = {
        api.refused("AccessDenied", alice("sts").get_session_token, **factor)
        for factor in (bobs.factor(), nobodys.factor(), absent, other_path)
    }
    assert len(said) == 1
    assert "unable to validate MFA code" in said.pop()
    root = api.client(api.world.one, "sts")
    api.refused("AccessDenied", root.get_session_token, **bobs.factor())


def test_a_session_with_a_second_factor_may_what_others_may_not(api, iam, alice):
    phone = Phone(api, iam, "Phone", "alice")
    young = {"NumericLessThan": {"aws:MultiFactorAuthAge": "3600"}}
    iam.put_user_policy(UserName="alice", PolicyName="look", PolicyDocument=guarded("ec2:DescribeVpcs"))
    iam.put_user_policy(UserName="alice", PolicyName="young", PolicyDocument=guarded("ec2:DescribeSubnets", **young))
    iam.put_user_policy(UserName="alice", PolicyName="self", PolicyDocument=document("iam:GetUser"))
    sts = alice("sts")
    plain = api.session(sts.get_session_token()["Credentials"])
    for client in (alice("ec2"), plain):
        for call in (client.describe_vpcs, client.describe_subnets):
            api.refused("UnauthorizedOperation", call)
    given = sts.get_session_token(**phone.factor())["Credentials"]
    strong = api.session(given)
    assert strong.describe_vpcs()["Vpcs"]
    assert strong.describe_subnets()["Subnets"]
    assert api.session(given, "iam").get_user()["User"]["UserName"] == "alice"
    weak = sts.get_session_token()["Credentials"]
    api.refused("InvalidClientTokenId", api.session(weak, "iam").get_user)
    # The role's session has no second factor itself, as on AWS: its trust policy has asked for it.
    arn = role(iam, "Admin")
    iam.put_role_policy(RoleName="Admin", PolicyName="look", PolicyDocument=guarded("ec2:DescribeVpcs"))
    worn = api.session(given, "sts").assume_role(RoleArn=arn, RoleSessionName="work")["Credentials"]
    api.refused("UnauthorizedOperation", api.session(worn).describe_vpcs)
    api.refused("AccessDenied", api.session(weak, "sts").assume_role, RoleArn=arn, RoleSessionName="work")


def test_a_user_who_must_first_get_a_device(api, iam, alice):
    """The policy that AWS's documentation gives to users: without a second factor all but getting one is denied."""
    own = "arn:aws:iam::*:{}/${{aws:username}}"
    manage = ["iam:CreateVirtualMFADevice", "iam:EnableMFADevice", "iam:ListMFADevices", "iam:ResyncMFADevice"]
    statements = [
        {"Effect": "Allow", "Action": "iam:CreateVirtualMFADevice", "Resource": own.format("mfa")},
        {"Effect": "Allow", "Action": manage[1:], "Resource": own.format("user")},
        {"Effect": "Allow", "Action": ["ec2:DescribeVpcs", "sts:GetSessionToken"], "Resource": "*"},
        {
            "Effect": "Deny",
            "NotAction": [*manage, "sts:GetSessionToken"],
            "Resource": "*",
            "Condition": {"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}},
        },
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName="alice", PolicyName="assume", PolicyDocument=policy)
    mine = alice("iam")
    api.refused("AccessDenied", mine.create_virtual_mfa_device, VirtualMFADeviceName="somebody")
    phone = Phone(api, mine, "alice", "alice")
    assert mine.list_mfa_devices()["MFADevices"][0]["SerialNumber"] == phone.serial
    weak = api.session(alice("sts").get_session_token()["Credentials"])
    api.refused("UnauthorizedOperation", weak.describe_vpcs)
    strong = api.session(alice("sts").get_session_token(**phone.factor())["Credentials"])
    assert strong.describe_vpcs()["Vpcs"]


def test_a_clock_that_is_wrong_is_learnt(api, iam, alice):
    phone = Phone(api, iam, "Phone", "alice", drift=-40)
    assert alice("sts").get_session_token(**phone.factor())
    phone.drift = 90
    api.refused("AccessDenied", alice("sts").get_session_token, **phone.factor())
    iam.resync_mfa_device(UserName="alice", SerialNumber=phone.serial, **phone.codes())
    assert alice("sts").get_session_token(**phone.factor())


def test_a_code_is_taken_once_however_many_try(api, iam, alice):
    phone = Phone(api, iam, "Phone", "alice")
    factor = phone.factor()
    clients = [alice("sts") for _ in range(8)]

    def attempt(client):
        try:
            client.get_session_token(**factor)
        except ClientError as refusal:
            return refusal.response["Error"]["Code"]
        return "taken"

    with ThreadPoolExecutor(len(clients)) as pool:
        outcomes = sorted(pool.map(attempt, clients))
    assert outcomes == ["AccessDenied"] * 7 + ["taken"]


def test_root_has_devices_of_its_own(api, iam):
    phone = Phone(api, iam, "root-account-mfa-device", "root")
    assert phone.serial == f"arn:aws:iam::{ACCOUNT}:mfa/root-account-mfa-device"
    [mine] = iam.list_mfa_devices()["MFADevices"]
    assert (mine["UserName"], mine["SerialNumber"]) == ("root", phone.serial)
    [listed] = iam.list_virtual_mfa_devices(AssignmentStatus="Assigned")["VirtualMFADevices"]
    assert listed["User"]["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"
    assert iam.get_account_summary()["SummaryMap"]["AccountMFAEnabled"] == 1
    sts = api.client(api.world.one, "sts")
    given = sts.get_session_token(**phone.factor())["Credentials"]
    assert api.session(given, "sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"
    wrong = phone.factor() | {"TokenCode": code_at(phone.seed, 50)}
    assert "invalid MFA one time pass code" in api.refused("AccessDenied", sts.get_session_token, **wrong)
    assert api.session(given, "iam").list_mfa_devices()["MFADevices"] == [mine]
    weak = sts.get_session_token()["Credentials"]
    api.refused("InvalidClientTokenId", api.session(weak, "iam").list_mfa_devices)  # IAM wants a second factor
    admin = who_may(api, iam, "admin", "*")("iam")
    api.refused("NoSuchEntity", admin.deactivate_mfa_device, UserName="root", SerialNumber=phone.serial)
    api.refused("NoSuchEntity", admin.resync_mfa_device, UserName="root", SerialNumber=phone.serial, **phone.codes())
    api.refused("DeleteConflict", admin.delete_virtual_mfa_device, SerialNumber=phone.serial)
    iam.deactivate_mfa_device(SerialNumber=phone.serial)
    assert iam.list_mfa_devices()["MFADevices"] == []
    assert iam.get_account_summary()["SummaryMap"]["AccountMFAEnabled"] == 0
    iam.delete_virtual_mfa_device(SerialNumber=phone.serial)


def test_codes_are_not_to_be_guessed(api, iam, alice):
    phone = Phone(api, iam, "Phone", "alice")
    sts = alice("sts")
    right = phone.factor()
    for number in range(1, 11):
        wrong = f"{(int(right['TokenCode']) + number) % 1_000_000:06}"
        api.refused("AccessDenied", sts.get_session_token, **right | {"TokenCode": wrong})
    api.refused("Throttling", sts.get_session_token, **right)
    assert sts.get_session_token()["Credentials"]  # what needs no code goes on


def test_who_loses_the_device_loses_no_session_but_gets_no_other(api, iam, alice):
    phone = Phone(api, iam, "Phone", "alice")
    sts = alice("sts")
    given = sts.get_session_token(**phone.factor())["Credentials"]
    iam.deactivate_mfa_device(UserName="alice", SerialNumber=phone.serial)
    api.refused("AccessDenied", sts.get_session_token, **phone.factor())
    assert api.session(given, "sts").get_caller_identity()["Arn"].endswith("user/alice")
    iam.delete_virtual_mfa_device(SerialNumber=phone.serial)
    iam.delete_user_policy(UserName="alice", PolicyName="assume")
    for key in iam.list_access_keys(UserName="alice")["AccessKeyMetadata"]:
        iam.delete_access_key(UserName="alice", AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName="alice")

    def is_dead():
        try:
            api.session(given, "sts").get_caller_identity()
        except ClientError as refusal:
            return refusal.response["Error"]["Code"] == "InvalidClientTokenId"
        return False

    wait_for(is_dead, "the session ends with the user", 3)
