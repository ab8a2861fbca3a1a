"""The credential report through boto3: one line per user, made anew after four hours; and trails, of which none are."""

import csv
from datetime import datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from stead_controller.db.tables import IamCredentialReport
from tests.api.identity import refused
from tests.api.test_mfa_devices import Phone

STRONG = "Tr0ub4dor&3 and more"


def lines_of(iam):
    answer = iam.get_credential_report()
    assert answer["ReportFormat"] == "text/csv"
    return {line["user"]: line for line in csv.DictReader(answer["Content"].decode().splitlines())}


def test_the_report_has_passwords_devices_and_keys(api):
    account_id = api.world.one.caller.account_id
    iam = api.client(api.world.one, "iam")
    assert "GenerateCredentialReport" in refused("ReportNotPresent", iam.get_credential_report)
    for name in ("ana", "ben"):
        iam.create_user(UserName=name, Path="/team/")
    iam.update_account_password_policy(MaxPasswordAge=30)
    iam.create_login_profile(UserName="ana", Password=STRONG)
    key = iam.create_access_key(UserName="ana")["AccessKey"]
    iam.create_access_key(UserName="ana")
    iam.update_access_key(UserName="ana", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    phone = Phone(api, iam, "phone", user="ana")
    assert iam.generate_credential_report()["State"] == "COMPLETE"
    lines = lines_of(iam)
    assert list(lines) == ["<root_account>", "ana", "ben"]
    ana, ben, root = lines["ana"], lines["ben"], lines["<root_account>"]
    assert ana["arn"] == f"arn:aws:iam::{account_id}:user/team/ana"
    assert (ana["password_enabled"], ana["password_last_used"], ana["mfa_active"]) == ("true", "no_information", "true")
    changed, due = (datetime.fromisoformat(ana[f"password_{each}"]) for each in ("last_changed", "next_rotation"))
    assert due - changed == timedelta(days=30)
    assert (ana["access_key_1_active"], ana["access_key_2_active"]) == ("false", "true")
    assert datetime.fromisoformat(ana["access_key_1_last_rotated"]) == key["CreateDate"].replace(microsecond=0)
    assert ana["access_key_2_last_used_service"] == "N/A"
    assert (ben["password_enabled"], ben["password_last_changed"], ben["mfa_active"]) == ("false", "N/A", "false")
    assert (ben["access_key_1_active"], ben["cert_1_active"], ben["cert_2_last_rotated"]) == ("false", "false", "N/A")
    assert root["arn"] == f"arn:aws:iam::{account_id}:root"
    assert (root["password_enabled"], root["access_key_1_active"], root["access_key_2_active"]) == (
        "not_supported",
        "true",
        "false",
    )
    iam.deactivate_mfa_device(UserName="ana", SerialNumber=phone.serial)
    iam.generate_credential_report()
    assert lines_of(iam)["ana"]["mfa_active"] == "true"  # the report is younger than four hours
    refused("ReportNotPresent", api.client(api.world.other, "iam").get_credential_report)


def test_a_report_is_for_four_hours(api):
    iam = api.client(api.world.one, "iam")
    iam.generate_credential_report()
    first = iam.get_credential_report()["GeneratedTime"]
    account_id = api.world.one.caller.account_id

    def age(tx):
        row = tx.session.get_one(IamCredentialReport, account_id)
        row.generated -= timedelta(hours=4)

    api.run(age)
    with pytest.raises(ClientError) as refusal:
        iam.get_credential_report()
    assert refusal.value.response["Error"]["Code"] == "ReportExpired"
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 410
    iam.create_user(UserName="late")
    assert iam.generate_credential_report()["State"] == "COMPLETE"
    assert "late" in lines_of(iam)
    assert iam.get_credential_report()["GeneratedTime"] >= first


def test_the_report_has_the_time_of_a_password_change(api):
    iam = api.client(api.world.one, "iam")
    iam.create_user(UserName="ana")
    iam.create_login_profile(UserName="ana", Password=STRONG)
    created = iam.get_login_profile(UserName="ana")["LoginProfile"]["CreateDate"]
    iam.update_login_profile(UserName="ana", Password=STRONG + "!")
    iam.generate_credential_report()
    changed = datetime.fromisoformat(lines_of(iam)["ana"]["password_last_changed"])
    assert changed >= created.replace(microsecond=0)
    assert iam.get_login_profile(UserName="ana")["LoginProfile"]["CreateDate"] == created


def test_there_are_no_trails(cloud):
    trails = cloud.new_account().client("cloudtrail")
    assert trails.describe_trails()["trailList"] == trails.list_trails()["Trails"] == []
    for ask in (trails.get_trail, trails.get_trail_status):
        assert "mine" in refused("TrailNotFoundException", ask, Name="mine")
    refused("UnsupportedOperation", trails.create_trail, Name="mine", S3BucketName="b")
