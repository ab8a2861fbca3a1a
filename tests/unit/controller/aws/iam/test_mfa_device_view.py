from stead_controller.aws.iam import mfa_device_view
from stead_controller.aws.iam.user_view import listed_user_view, root_view
from stead_controller.db.tables import IamUser
from stead_controller.resources.iam.mfa_devices import AssignedMfaDevice, DescribedMfaDevice
from stead_controller.resources.iam.users import DescribedUser, Root
from tests.support.rows import NOW

ADA = DescribedUser(IamUser(id="AIDA1", name="ada", path="/", created=NOW), "the ARN")
ROOT = Root("123456789012", "arn:aws:iam::123456789012:root")


def test_a_device_by_itself_has_certifications():
    found = DescribedMfaDevice("serial", "name", "ada", NOW)
    listed = {"UserName": "ada", "SerialNumber": "serial", "EnableDate": NOW}
    assert mfa_device_view.mfa_device_view(found) == listed
    assert mfa_device_view.mfa_device_by_itself_view(found) == {**listed, "Certifications": {}}


def test_a_device_is_a_users_or_roots_or_unassigned():
    shown = [
        mfa_device_view.virtual_mfa_device_view(AssignedMfaDevice("serial", "name", owner, None))
        for owner in (ADA, ROOT, None)
    ]
    assert [one["User"] for one in shown] == [listed_user_view(ADA), root_view(ROOT), None]
    assert shown[0] == {"SerialNumber": "serial", "User": listed_user_view(ADA), "EnableDate": None}
