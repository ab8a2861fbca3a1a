"""Key pairs by name and id, within an account."""

import pytest

from stead_controller.errors import (
    AlreadyExists,
    InvalidParameter,
    LimitExceeded,
    MalformedId,
    MissingParameter,
    NotFound,
)
from stead_controller.request.conditions import Selection
from stead_controller.request.filters import Filter
from stead_controller.resources.instances import key_pairs, public_keys
from tests.support.rows import NOW


def create(run, caller, name, **changes):
    asked = {"key_type": "ed25519", "key_format": "pem", "key_tags": changes.pop("tags", {}), "now": NOW}
    asked |= changes
    generator = public_keys.GENERATORS.get(asked["key_type"])
    return run(key_pairs.create, caller, name, generator(asked["key_format"], name) if generator else None, **asked)


def describe(run, caller, *, ids=(), names=(), filters=()):
    asked = Selection(tuple(ids), tuple(Filter(name, values) for name, values in filters))
    return run(key_pairs.describe, caller, asked, names)


def test_a_made_pair_is_stored_without_its_private_half(world, run, database):
    made = create(run, world.one.caller, "mine", tags={"team": "a"})
    (found,) = describe(run, world.one.caller)
    assert (found.pair.id, found.pair.key_type) == (made.id, "ed25519")
    assert found.pair.fingerprint == made.fingerprint
    assert found.tags == [("team", "a")]
    assert found.pair.public_key.endswith(" mine")
    secret = made.private_key.splitlines()[2].encode()
    assert secret.decode() not in repr(made)
    with database.engine.connect() as connection:
        assert secret not in b"".join(
            repr(tuple(row)).encode() for row in connection.exec_driver_sql("SELECT * FROM key_pairs")
        )


def test_an_imported_pair(world, run):
    material = public_keys.make_rsa("pem", "").public.openssh.encode() + b" someone"
    row = run(key_pairs.import_public_key, world.one.caller, "theirs", material, key_tags={}, now=NOW)
    assert row.key_type == "rsa"
    assert row.public_key == material.removesuffix(b"someone").decode() + "theirs"
    assert run(key_pairs.find, world.one.caller, "theirs").id == row.id


def test_names_are_of_one_account(world, run, unchanged):
    mine = create(run, world.one.caller, "same")
    create(run, world.other.caller, "same")
    create(run, world.other.caller, "theirs")
    unchanged()
    assert run(key_pairs.find, world.one.caller, "same").id == mine.id
    with pytest.raises(NotFound):
        run(key_pairs.find, world.one.caller, "theirs")
    with pytest.raises(AlreadyExists):
        create(run, world.one.caller, "same")
    unchanged()
    with pytest.raises(NotFound):
        run(key_pairs.find, world.one.caller, "Same")


@pytest.mark.parametrize("name", ["", "a" * 256, "naïve", "new\nline", " edge", "edge ", "nul\0"])
def test_bad_names_are_refused(world, run, unchanged, name):
    unchanged()
    with pytest.raises(InvalidParameter):
        create(run, world.one.caller, name)
    unchanged()


def test_an_account_has_so_many(world, run, unchanged, monkeypatch):
    monkeypatch.setattr(key_pairs, "MOST", 2)
    for name in ("a", "b"):
        create(run, world.one.caller, name)
    create(run, world.other.caller, "theirs")
    unchanged()
    material = public_keys.make_ed25519("pem", "").public.openssh.encode()
    for one_more in (
        lambda: create(run, world.one.caller, "c"),
        lambda: run(key_pairs.import_public_key, world.one.caller, "c", material, key_tags={}, now=NOW),
    ):
        with pytest.raises(LimitExceeded) as refusal:
            one_more()
        assert refusal.value.code == "KeyPairLimitExceeded"
    unchanged()
    run(key_pairs.remove, world.one.caller, name="a", key_pair_id=None)
    create(run, world.one.caller, "c")


def test_unknown_kinds_and_formats_are_refused(world, run):
    with pytest.raises(InvalidParameter):
        create(run, world.one.caller, "a", key_type="dsa")
    with pytest.raises(InvalidParameter):
        create(run, world.one.caller, "a", key_format="jwk")


def test_describe_by_name_id_and_filter(world, run):
    caller = world.one.caller
    first, second = create(run, caller, "b-first"), create(run, caller, "a-second", tags={"x": "1"})
    theirs = create(run, world.other.caller, "theirs")
    assert [found.pair.name for found in describe(run, caller)] == ["a-second", "b-first"]
    assert [found.pair.name for found in describe(run, caller, names=["b-first"])] == ["b-first"]
    assert [found.pair.name for found in describe(run, caller, ids=[second.id])] == ["a-second"]
    assert [found.pair.name for found in describe(run, caller, filters=[("tag:x", ("1",))])] == ["a-second"]
    assert [found.pair.name for found in describe(run, caller, filters=[("key-name", ("b*",))])] == ["b-first"]
    assert describe(run, caller, filters=[("fingerprint", (first.fingerprint,))])[0].pair.id == first.id
    with pytest.raises(NotFound):
        describe(run, caller, names=["b-first", "theirs"])
    with pytest.raises(NotFound):
        describe(run, caller, ids=[theirs.id])
    with pytest.raises(MalformedId):
        describe(run, caller, ids=["key-1"])


def test_delete_is_repeatable_and_takes_the_tags(world, run, database):
    caller = world.one.caller
    made = create(run, caller, "a", tags={"x": "1"})
    assert run(key_pairs.remove, world.other.caller, name="a", key_pair_id=None) is None
    assert run(key_pairs.remove, world.other.caller, name=None, key_pair_id=made.id) is None
    assert run(key_pairs.remove, caller, name="a", key_pair_id=None) == made.id
    assert run(key_pairs.remove, caller, name="a", key_pair_id=None) is None
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM tags").scalar() == 0
    with pytest.raises(MissingParameter):
        run(key_pairs.remove, caller, name=None, key_pair_id=None)
    with pytest.raises(MalformedId):
        run(key_pairs.remove, caller, name=None, key_pair_id="i-0123456789abcdef0")
