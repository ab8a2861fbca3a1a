"""Keys sealed for recipients of age: who opens them, and how a repository's backups may change from one seal to another."""

import json

import pyrage
import pytest

from stead_controller.backup import keys, recipients, restore
from stead_controller.backup.check import check
from stead_controller.backup.keys import Identities, Passphrase, Recipients
from stead_controller.backup.recipients import RecipientError
from stead_controller.backup.repository import BackupError
from stead_controller.backup.sealed_files import WrongPassphraseError

from .conftest import PASSPHRASE


def pair():
    """A recipient, and the text of the file of its identity, as age-keygen writes it."""
    identity = pyrage.x25519.Identity.generate()
    return str(
        identity.to_public()
    ), f"# created: 2026-12-01T12:00:00Z\n# public key: {identity.to_public()}\n{identity}\n"


def restored(made, manifest, target, opener):
    return restore.restore(made.repository, manifest, opener, restore.Target(target), made.show)


def test_each_recipients_identity_opens_the_keys_and_no_other(made, tmp_path):
    (one, first), (two, second), (_, third) = pair(), pair(), pair()
    manifest = made.create(seal=Recipients((one, two)))
    assert (manifest.recipients, made.repository.find("latest")) == ((one, two), manifest)
    assert sorted(manifest.files) == ["blocks.list", "database.sqlite", "keys.age"]
    sealed = (made.repository.folder / manifest.id / "keys.age").read_bytes()
    assert sealed.startswith(b"age-encryption.org/v1\n")
    assert b"k" * 32 not in sealed
    for text in (first, second, third + second):
        assert keys.opened(made.repository, manifest, Identities(text))["controller/master.key"] == b"k" * 32
        assert check(made.repository, manifest, Identities(text), made.show) == []
    restored(made, manifest, tmp_path / "new", Identities(second))
    assert (tmp_path / "new" / "master.key").read_bytes() == b"k" * 32
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "blocks",
        "ca",
        "ca.pem",
        "master.key",
        "stead.sqlite",
    }
    assert check(made.repository, manifest, None, made.show) == []
    [fault] = check(made.repository, manifest, Identities(third), made.show)
    assert fault.startswith("keys.age: The identity does not open the keys of this backup")
    with pytest.raises(RecipientError, match="does not open the keys"):
        restored(made, manifest, tmp_path / "other", Identities(third))
    with pytest.raises(BackupError, match=f"sealed for {one}, {two}: name the file of an identity"):
        restored(made, manifest, tmp_path / "other", Passphrase(PASSPHRASE))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("text", ["", "# nothing\n", "AGE-SECRET-KEY-1NOT\n", "age1" + "q" * 58, "\ufffd"])
def test_what_is_no_identity_is_refused_and_not_repeated(text):
    with pytest.raises(RecipientError, match=r"something else than AGE-SECRET-KEY-1… lines") as refused:
        recipients.unseal(b"", text, "one")
    assert "NOT" not in refused.value.message


def test_keys_of_another_backup_or_damaged_ones_are_refused(made):
    name, text = pair()
    sealed = recipients.seal({"master.key": b"secret"}, [name], "one")
    assert recipients.unseal(sealed, text, "one") == {"master.key": b"secret"}
    with pytest.raises(RecipientError, match="those of another backup"):
        recipients.unseal(sealed, text, "other")
    for damaged in (sealed[:-1] + bytes([sealed[-1] ^ 1]), sealed[:-20], b""):
        with pytest.raises(RecipientError, match="does not open"):
            recipients.unseal(damaged, text, "one")


def test_a_bad_recipient_is_refused_before_anything_is_written(made):
    good, text = pair()
    secret = text.splitlines()[-1]
    misspelt = good[:-1] + ("p" if good.endswith("q") else "q")
    for named in ((good, misspelt), (secret,), ("ssh-ed25519 AAAA",), ()):
        with pytest.raises(RecipientError) as refused:
            made.create(seal=Recipients(named))
        assert secret not in refused.value.message
    assert not made.repository.folder.exists()
    assert recipients.chosen([f" {good} ", "", "# mine", good]) == (good,)


def test_seals_may_change_from_backup_to_backup(made):
    (one, first), (two, _) = pair(), pair()
    made.create()
    older = made.create(seal=Recipients((one,)))
    made.create(seal=Recipients((two,)))
    with pytest.raises(WrongPassphraseError):
        made.create(b"correct house")
    by_passphrase = made.create()
    assert by_passphrase.recipients == ()
    assert check(made.repository, older, Identities(first), made.show) == []
    with pytest.raises(BackupError, match="sealed by a passphrase, and for no recipient"):
        keys.opened(made.repository, by_passphrase, Identities(first))


def test_another_cloud_is_told_by_its_authorities(made):
    name, _ = pair()
    first = made.create(seal=Recipients((name,)))
    (made.state / "ca.pem").write_bytes(b"of another cloud")
    for changes in ({"seal": Recipients((name,))}, {}):
        with pytest.raises(BackupError, match="backups of another cloud"):
            made.create(**changes)
    assert made.repository.ids() == [first.id]


def test_after_a_backup_of_an_earlier_release_comes_one_with_its_passphrase(made):
    name, _ = pair()
    path = made.repository.folder / made.create().id / "manifest.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps({key: said[key] for key in said.keys() - {"recipients", "authorities"}} | {"format": 2}))
    with pytest.raises(BackupError, match=r"of an earlier release .* make one with its passphrase, and then"):
        made.create(seal=Recipients((name,)))
    (made.state / "ca.pem").write_bytes(b"of another cloud")
    with pytest.raises(BackupError, match="backups of another cloud"):
        made.create()
    (made.state / "ca.pem").write_bytes(b"public")
    made.create()
    assert made.create(seal=Recipients((name,))).recipients == (name,)
