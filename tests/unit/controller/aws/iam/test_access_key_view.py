from stead_controller.aws.iam.access_key_view import access_key_view, last_use_view, new_access_key_view
from stead_controller.resources.iam.access_keys import DescribedKey, LastUse, NewKey
from tests.support.rows import NOW


def test_a_new_key_is_shown_with_its_secret():
    assert new_access_key_view(NewKey("AKIA1", "secret", NOW, "ada")) == {
        "UserName": "ada",
        "AccessKeyId": "AKIA1",
        "Status": "Active",
        "SecretAccessKey": "secret",
        "CreateDate": NOW,
    }


def test_a_key_is_active_or_not():
    shown = {active: access_key_view(DescribedKey("AKIA1", None, active, NOW)) for active in (True, False)}
    assert (shown[True]["Status"], shown[False]["Status"]) == ("Active", "Inactive")
    assert "SecretAccessKey" not in shown[True]


def test_a_key_that_was_never_used_has_no_service_and_no_region():
    assert last_use_view(LastUse("ada", None, None, None)) == {
        "UserName": "ada",
        "AccessKeyLastUsed": {"LastUsedDate": None, "ServiceName": "N/A", "Region": "N/A"},
    }
    used = last_use_view(LastUse("ada", NOW, "ec2", "eu-west-7"))["AccessKeyLastUsed"]
    assert used == {"LastUsedDate": NOW, "ServiceName": "ec2", "Region": "eu-west-7"}
