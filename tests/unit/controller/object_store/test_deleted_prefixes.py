"""Which prefixes are looked at again in listings, and for how long."""

import pytest

from stead_controller.object_store import deleted_prefixes
from stead_controller.object_store.deleted_prefixes import KEPT_SECONDS, DeletedPrefixes, above

DOCUMENT = b"<Delete><Object><Key>a/b&amp;c/d</Key></Object><Object><Key>e/f</Key></Object></Delete>"


@pytest.mark.parametrize(
    ("key", "prefixes"),
    [("a", []), ("a/", []), ("a/b", ["a/"]), ("a/b/", ["a/"]), ("a//b/c", ["a/", "a//", "a//b/"]), ("/a", ["/"])],
)
def test_prefixes_above_a_key(key, prefixes):
    assert above(key) == prefixes


def test_those_below_which_something_was_deleted_are_suspects():
    noted = DeletedPrefixes()
    noted.note("/bucket/x%20%2B/y", None, 1)
    noted.note("/bucket", DOCUMENT, 2)
    noted.note("/other", None, 2)
    asked = ["x +/", "a/", "a/b&c/", "e/", "never/"]
    assert noted.suspects("bucket", asked) == {"x +/": 1, "a/": 2, "a/b&c/": 2, "e/": 2}
    assert noted.suspects("other", asked) == {}


def test_one_that_is_not_empty_is_forgotten_until_more_is_deleted_below_it():
    noted = DeletedPrefixes()
    noted.note("/bucket/a/b", None, 1)
    noted.note("/bucket/a/c", None, 2)
    noted.clear("bucket", "a/", 1)
    assert noted.suspects("bucket", ["a/"]) == {"a/": 2}
    noted.clear("bucket", "a/", 2)
    assert noted.suspects("bucket", ["a/"]) == {}


def test_they_are_forgotten_in_time(monkeypatch):
    noted = DeletedPrefixes()
    noted.note("/bucket/a/b", None, 0)
    noted.note("/bucket/b/b", None, 1)
    noted.note("/bucket/c/b", None, KEPT_SECONDS + 0.5)
    assert set(noted.suspects("bucket", ["a/", "b/", "c/"])) == {"b/", "c/"}
    monkeypatch.setattr(deleted_prefixes, "MOST", 1)
    noted.note("/bucket/d/b", None, KEPT_SECONDS + 0.5)
    assert set(noted.suspects("bucket", ["b/", "c/", "d/"])) == {"d/"}
