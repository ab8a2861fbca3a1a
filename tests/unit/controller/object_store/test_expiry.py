"""Which versions of an object are due by a bucket's rules."""

from datetime import UTC, datetime, timedelta

import pytest

from stead_controller.object_store import lifecycle
from stead_controller.object_store.expiry import Version, _outermost, due
from stead_controller.object_store.lifecycle import LifecycleRule, is_due

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def days(number, hours=0):
    return timedelta(days=number, hours=hours)


def version(id_, age, *, current=False, marker=False, size=10, key="logs/k"):
    return Version(key, id_, NOON - days(age), size, current, marker)


def going(versions, *rules):
    return [(each.version.id, each.of_current) for each in due(versions, rules, NOON)]


def test_days_end_with_the_day_in_which_they_are_over():
    assert not is_due(NOON, 1, NOON + days(1, 11))
    assert is_due(NOON, 1, NOON + days(1, 12))
    midnight = NOON.replace(hour=0)
    assert not is_due(midnight, 1, midnight + days(0, 23))
    assert is_due(midnight, 1, midnight + days(1))
    assert not is_due(NOON, 2**31 - 1, NOON + days(1000))


def test_a_current_version_goes_after_days_or_at_a_date():
    now = [version("new", 1, current=True)], [version("old", 40, current=True)]
    assert [going(each, LifecycleRule(days=30)) for each in now] == [[], [("old", True)]]
    assert going(now[0], LifecycleRule(date=NOON - days(1))) == [("new", True)]
    assert going(now[0], LifecycleRule(date=NOON + days(1))) == []
    assert going(now[1], LifecycleRule(noncurrent_days=1, upload_days=1, marker=True)) == []


@pytest.mark.parametrize(
    ("rule", "is_of"),
    [
        (LifecycleRule(days=1, prefix="logs/"), True),
        (LifecycleRule(days=1, prefix="data/"), False),
        (LifecycleRule(days=1, larger=9), True),
        (LifecycleRule(days=1, larger=10), False),
        (LifecycleRule(days=1, smaller=11), True),
        (LifecycleRule(days=1, smaller=10), False),
    ],
)
def test_a_rule_is_of_some_objects(rule, is_of):
    assert bool(going([version("k", 5, current=True)], rule)) == is_of


def test_noncurrent_versions_count_since_they_were_replaced():
    versions = [version("4", 1, current=True), version("3", 5), version("2", 9), version("1", 20)]
    assert going(versions, LifecycleRule(noncurrent_days=3)) == [("2", False), ("1", False)]
    assert going(versions, LifecycleRule(noncurrent_days=3, newer_noncurrent=2)) == [("1", False)]
    assert going(versions, LifecycleRule(noncurrent_days=30)) == []
    assert going(versions, LifecycleRule(days=3)) == []


def test_a_delete_marker_goes_when_nothing_is_below_it():
    alone, below = [version("m", 5, current=True, marker=True)], version("1", 9)
    for rule in (LifecycleRule(marker=True), LifecycleRule(days=3)):
        assert going(alone, rule) == [("m", False)]
        assert going([*alone, below], rule) == []
    assert going(alone, LifecycleRule(days=30)) == []
    assert going(alone, LifecycleRule(marker=True, tags=(("a", "b"),))) == []


def test_two_rules_remove_a_version_once():
    assert going([version("k", 9, current=True)], LifecycleRule(days=1), LifecycleRule(days=2)) == [("k", True)]


def test_each_rule_has_its_tags():
    [removal] = due(
        [version("k", 9, current=True)], [LifecycleRule(days=1, tags=(("a", "b"),)), LifecycleRule(days=2)], NOON
    )
    assert removal.tags == ((("a", "b"),), ())


def test_prefixes_are_listed_once():
    assert _outermost(["logs/a", "logs/", "data", "logs/", "log"]) == ["data", "log"]
    assert _outermost(["a", ""]) == [""]
    assert _outermost([]) == []


def test_a_document_becomes_rules():
    text = """<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
    <Rule><Status>Enabled</Status><Filter><And><Prefix>a/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag>
      <ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter>
      <Expiration><Days>3</Days></Expiration>
      <AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>
    </Rule>
    <Rule><Status>Disabled</Status><Prefix>b/</Prefix><Expiration><Days>1</Days></Expiration></Rule>
    <Rule><Status>Enabled</Status><Prefix>c/</Prefix><Expiration><Date>2026-01-01T00:00:00Z</Date></Expiration></Rule>
    <Rule><Status>Enabled</Status><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>
      <Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>
      <NoncurrentVersionExpiration><NoncurrentDays>2</NoncurrentDays><NewerNoncurrentVersions>4</NewerNoncurrentVersions>
      </NoncurrentVersionExpiration></Rule>
    </LifecycleConfiguration>"""
    tags = (("k", "v"),)
    assert lifecycle.read(text.encode()) == (
        LifecycleRule("a/", tags, larger=5, smaller=9, days=3, upload_days=7),
        LifecycleRule("c/", date=datetime(2026, 1, 1, tzinfo=UTC)),
        LifecycleRule(tags=tags, marker=True, noncurrent_days=2, newer_noncurrent=4),
    )
