"""Each rule of a lifecycle has an id."""

import pytest

from stead_controller.errors import BadRequest
from stead_controller.object_store import answers
from stead_controller.object_store.lifecycle import with_ids

EXPIRES = "<Expiration><Days>1</Days></Expiration>"


def document(*rules):
    inner = "".join(f"<Rule>{rule}<Status>Enabled</Status>{EXPIRES}</Rule>" for rule in rules)
    return f'<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inner}</LifecycleConfiguration>'


def test_rules_without_an_id_get_one_each():
    root = answers.parse(with_ids(document("<ID>mine</ID>", "", "<ID></ID>", "<ID> </ID>").encode()))
    mine, *new = [rule.findtext("ID") for rule in root]
    assert mine == "mine"
    assert len({mine, *new}) == 4
    assert all(32 < len(each) < 64 for each in new)
    assert [rule.findtext("Status") for rule in root] == ["Enabled"] * 4


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (document(), "MalformedXML"),
        (document().replace("LifecycleConfiguration", "Other"), "MalformedXML"),
        (document("<ID>a</ID>", "<ID>a</ID>"), "InvalidArgument"),
        (document(f"<ID>{'a' * 256}</ID>"), "InvalidArgument"),
        (document("").replace("<Rule>", "<Another/><Rule>"), "MalformedXML"),
        (document(*[""] * 1001), "MalformedXML"),
        ("<", "MalformedXML"),
        (document("").replace(EXPIRES, ""), "InvalidRequest"),
        (document("").replace("Enabled", "Enabled?"), "MalformedXML"),
        (document("").replace("<Days>1<", "<Days>0<"), "InvalidArgument"),
        (document("").replace("<Days>1<", "<Days>soon<"), "InvalidArgument"),
        (document("<Transition><Days>1</Days></Transition>"), "NotImplemented"),
        (document("<NoncurrentVersionTransition/>"), "NotImplemented"),
        (document("<ActionOfLaterYears/>"), "NotImplemented"),
        (
            document("<NoncurrentVersionExpiration><NoncurrentDays>0</NoncurrentDays></NoncurrentVersionExpiration>"),
            "InvalidArgument",
        ),
    ],
)
def test_what_is_no_lifecycle(wrong, code):
    with pytest.raises(BadRequest) as refusal:
        with_ids(wrong.encode())
    assert refusal.value.code == code
