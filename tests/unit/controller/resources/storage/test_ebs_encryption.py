"""Which volumes are encrypted, and under which key.

See https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption.html: the outcomes by what is asked, what the
snapshot is and whose it is, and what the account has by default.
"""

import pytest

from stead_controller.errors import InvalidParameter
from stead_controller.resources.storage import ebs_encryption
from tests.support import rows
from tests.support.rows import CLOUD

KEY = "arn:aws:kms:us-east-1:111111111111:key/1234abcd-12ab-34cd-56ef-{}"
OWN, NAMED, DEFAULT = KEY.format("000000000001"), KEY.format("000000000002"), KEY.format("000000000003")
PLAIN, SECRET, SHARED, NAMELESS = "plain", "own and encrypted", "another's and encrypted", "of no known key"


@pytest.fixture
def account(world, run):
    """The first tenant's account, whose default key is DEFAULT."""
    run(ebs_encryption.set_default_key, world.one.caller, CLOUD, DEFAULT)
    return world.one.caller.account_id


@pytest.fixture
def snapshots(world):
    mine, theirs = world.one.caller.account_id, world.other.caller.account_id
    return {
        PLAIN: rows.snapshot(mine),
        SECRET: rows.snapshot(mine, encrypted=True, kms_key_id=OWN),
        SHARED: rows.snapshot(theirs, encrypted=True, kms_key_id=OWN),
        NAMELESS: rows.snapshot(mine, encrypted=True, kms_key_id=None),
        None: None,
    }


@pytest.mark.parametrize("by_default", [False, True])
@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("source", [None, PLAIN])
def test_of_nothing_or_a_plain_snapshot_it_is_as_asked_or_by_default(  # noqa: PLR0917 - fixtures and a case
    run, world, account, snapshots, source, encrypted, by_default
):
    run(ebs_encryption.set_by_default, world.one.caller, on=by_default)
    asked = (ebs_encryption.key_for, CLOUD, account, snapshots[source])
    if encrypted or by_default:
        assert run(*asked, encrypted=encrypted, key=None) == DEFAULT
        assert run(*asked, encrypted=encrypted, key=NAMED) == NAMED
        return
    assert run(*asked, encrypted=False, key=None) is None
    with pytest.raises(InvalidParameter) as refusal:
        run(*asked, encrypted=False, key=NAMED)
    assert refusal.value.code == "InvalidParameterDependency"


@pytest.mark.parametrize(("source", "key"), [(SECRET, OWN), (SHARED, DEFAULT), (NAMELESS, DEFAULT)])
@pytest.mark.parametrize("encrypted", [False, True])
def test_of_an_encrypted_snapshot_it_always_is(run, account, snapshots, *, source, key, encrypted):
    asked = (ebs_encryption.key_for, CLOUD, account, snapshots[source])
    assert run(*asked, encrypted=encrypted, key=None) == key
    assert run(*asked, encrypted=encrypted, key=NAMED) == NAMED
    with pytest.raises(InvalidParameter):
        run(*asked, encrypted=encrypted, key="nonsense")


@pytest.mark.parametrize("source", [SECRET, SHARED])
def test_a_copy_is_under_the_default_key_unless_one_is_named(run, account, snapshots, source):
    asked = (ebs_encryption.key_for_copy, CLOUD, account, snapshots[source])
    assert run(*asked, encrypted=False, key=None) == DEFAULT
    assert run(*asked, encrypted=False, key=NAMED) == NAMED


def test_a_copy_of_a_plain_snapshot_is_encrypted_where_that_is_asked(run, account, snapshots):
    asked = (ebs_encryption.key_for_copy, CLOUD, account, snapshots[PLAIN])
    assert run(*asked, encrypted=False, key=None) is None
    assert run(*asked, encrypted=True, key=None) == DEFAULT


def test_the_settings_are_each_accounts_own(run, world):
    mine, theirs = world.one.caller, world.other.caller
    first = run(ebs_encryption.default_key, mine.account_id)
    assert first == "alias/aws/ebs"
    assert run(ebs_encryption.is_by_default, mine.account_id) is False
    assert run(ebs_encryption.set_by_default, mine, on=True) is True
    assert run(ebs_encryption.default_key, mine.account_id) == first
    assert run(ebs_encryption.set_default_key, mine, CLOUD, NAMED) == NAMED
    assert run(ebs_encryption.is_by_default, mine.account_id) is True
    assert run(ebs_encryption.default_key, mine.account_id) == NAMED
    assert run(ebs_encryption.is_by_default, theirs.account_id) is False
    assert run(ebs_encryption.default_key, theirs.account_id) == first
    assert run(ebs_encryption.set_by_default, mine, on=False) is False
    assert run(ebs_encryption.is_by_default, mine.account_id) is False
    assert run(ebs_encryption.reset_default_key, mine) == first
    assert run(ebs_encryption.default_key, mine.account_id) == first


def test_a_key_of_ones_own_is_not_the_one_that_each_account_has(run, world):
    mine = world.one.caller.account_id
    managed = run(ebs_encryption.key_for, CLOUD, mine, None, encrypted=True, key=None)
    assert ebs_encryption.is_managed_key(CLOUD, mine, managed)
    for key in (NAMED, None):
        assert not ebs_encryption.is_managed_key(CLOUD, mine, key)
    assert not ebs_encryption.is_managed_key(CLOUD, world.other.caller.account_id, managed)
