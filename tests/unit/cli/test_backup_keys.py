"""What is said on the command line of a backup's keys becomes options without secrets, and what is read from stdin."""

import os
from pathlib import Path

import pytest

from stead_cli import backup_keys
from stead_cli.backup_keys import Given
from stead_cli.errors import CliError


def test_recipients_are_those_named_and_those_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "recipients"
    file.write_text("# of the safe\n\n age1two \n")
    assert backup_keys.seal(None, ("age1one",), file, is_new=True) == Given(
        ("--recipient=age1one", "--recipient=age1two")
    )
    file.write_text("# none yet\n")
    with pytest.raises(CliError, match=f"no recipient is in {file}"):
        backup_keys.seal(None, (), file, is_new=True)
    file.write_text("AGE-SECRET-KEY-1QQ\n")
    with pytest.raises(CliError, match="does not begin with age1") as refused:
        backup_keys.seal(None, ("age1one",), file, is_new=True)
    assert "SECRET" not in str(refused.value)


def test_a_passphrase_and_recipients_are_not_both_given(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_text("correct horse\nmore\n")
    assert backup_keys.seal(file, (), None, is_new=True) == Given(("--passphrase-file=-",), "correct horse\n")
    with pytest.raises(CliError, match="both a passphrase and recipients"):
        backup_keys.seal(file, ("age1one",), None, is_new=True)
    with pytest.raises(CliError, match="no passphrase is given"):
        backup_keys.seal(None, (), None, is_new=True)


def test_an_identity_is_read_only_from_a_file_that_nobody_else_reads(tmp_path: Path) -> None:
    file, passphrase = tmp_path / "identity", tmp_path / "passphrase"
    file.touch(0o600)
    file.write_text("# mine\nAGE-SECRET-KEY-1QQ\n")
    passphrase.write_text("correct horse\n")
    for is_needed in (True, False):
        found = backup_keys.opener(None, file, is_needed=is_needed)
        assert found == Given(("--identity-file=-",), "# mine\nAGE-SECRET-KEY-1QQ\n")
    assert "SECRET" not in repr(found)
    assert backup_keys.opener(passphrase, None, is_needed=True) == Given(("--passphrase-file=-",), "correct horse\n")
    assert backup_keys.opener(None, None, is_needed=False) == Given()
    with pytest.raises(CliError, match="no passphrase is given"):
        backup_keys.opener(None, None, is_needed=True)
    for mode in (0o640, 0o604):
        file.chmod(mode)
        with pytest.raises(CliError, match="others than root may read"):
            backup_keys.opener(None, file, is_needed=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_is_not_private(tmp_path: Path) -> None:
    file = tmp_path / "recipients"
    file.touch(0o644)
    backup_keys.require_private(file, others=0o022)
    file.chmod(0o664)
    with pytest.raises(CliError, match="others than root may write to"):
        backup_keys.require_private(file, others=0o022)
    file.chmod(0o644)
    os.chown(file, 1, 0)
    with pytest.raises(CliError, match="others than root may write to"):
        backup_keys.require_private(file, others=0o022)
