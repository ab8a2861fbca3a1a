"""From one authority to another: both are trusted between, and a kill leaves the phase before or the one after."""

from pathlib import Path

import pytest

from stead_controller.errors import WrongState
from stead_controller.secrets import access_files, authority_change
from stead_controller.secrets.authority_change import EARLIER_FILE, AuthorityChange, Phase
from stead_proto.certificates import AUTHORITY_FILE, FORMER_FILE, NEXT_FILE, Authority
from stead_proto.tls import certificates_in, share_an_authority


@pytest.fixture
def change(tmp_path: Path) -> AuthorityChange:
    """A cloud with one authority."""
    return again(tmp_path)


def again(folder: Path) -> AuthorityChange:
    """What a controller that starts anew has of it."""
    return AuthorityChange(folder, Authority.load_or_create(folder))


def trusted(change: AuthorityChange) -> list[bytes]:
    return certificates_in(change.authority.ca_pem)


def test_the_whole_way(change: AuthorityChange, tmp_path: Path) -> None:
    [first] = trusted(change)
    host = change.authority.issue_host("h-1")
    assert change.phase is Phase.SETTLED
    assert change.begin()
    assert trusted(change)[0] == first
    [_, second] = trusted(change)
    assert change.phase is Phase.BEGUN
    assert change.authority.has_signed(host.certificate_pem)
    assert change.switch()
    assert change.phase is Phase.SWITCHED
    assert trusted(change) == [second, first]
    assert not change.authority.has_signed(host.certificate_pem)
    assert change.authority.has_signed(change.authority.issue_host("h-1").certificate_pem)
    assert change.finish()
    assert (change.phase, trusted(change)) == (Phase.SETTLED, [second])
    assert certificates_in((tmp_path / EARLIER_FILE).read_bytes()) == [first]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([AUTHORITY_FILE, EARLIER_FILE])
    assert trusted(again(tmp_path)) == [second]
    for _ in range(2):
        change.begin()
    change.switch()
    change.finish()
    assert certificates_in((tmp_path / EARLIER_FILE).read_bytes()) == [first, second]


def test_names_are_no_two_authorities(change: AuthorityChange) -> None:
    """GnuTLS, by which volumes are shared, looks for an issuer by its name."""
    from cryptography import x509

    names = set()
    for _ in range(3):
        names.add(x509.load_pem_x509_certificate(change.authority.certificate_pem).subject.rfc4514_string())
        change.begin()
        change.switch()
        change.finish()
    assert len(names) == 3


def test_each_step_may_be_repeated_and_none_left_out(change: AuthorityChange) -> None:
    with pytest.raises(WrongState, match="certificate rotate"):
        change.switch()
    assert not change.finish()
    assert [change.begin(), change.begin()] == [True, False]
    before = trusted(change)
    with pytest.raises(WrongState, match="certificate switch"):
        change.finish()
    assert trusted(change) == before
    assert [change.switch(), change.switch(), change.begin()] == [True, False, False]
    assert [change.finish(), change.finish()] == [True, False]


@pytest.mark.parametrize("step", ["begin", "switch", "finish"])
def test_a_kill_in_a_step_leaves_two_that_are_trusted_or_what_was(
    change: AuthorityChange, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each write, replacement and removal of a file is the last that is done; then the step is given again."""
    for before in {"begin": (), "switch": ("begin",), "finish": ("begin", "switch")}[step]:
        getattr(change, before)()
    known = trusted(change)
    for limit in range(10):
        killed = _Killed(limit)
        with monkeypatch.context() as patched:
            patched.setattr(authority_change, "write_private", killed.after(authority_change.write_private))
            patched.setattr(authority_change, "sync_directory", killed.after(authority_change.sync_directory))
            patched.setattr(Authority, "save_once", killed.after(Authority.save_once))
            patched.setattr(Path, "replace", killed.after(Path.replace))
            patched.setattr(Path, "unlink", killed.after(Path.unlink))
            try:
                getattr(change, step)()
            except _Killed:
                change = again(tmp_path)
                assert share_an_authority(change.authority.ca_pem, b"\n".join(known))
                if step != "begin":
                    assert change.phase in (Phase.BEGUN, Phase.SWITCHED, Phase.SETTLED)
                    assert set(trusted(change)) <= set(known)
                continue
        break
    else:
        raise AssertionError("never came to its end")
    assert limit > 0
    assert change.phase is {"begin": Phase.BEGUN, "switch": Phase.SWITCHED, "finish": Phase.SETTLED}[step]
    left = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    expected = {
        "begin": {AUTHORITY_FILE, NEXT_FILE},
        "switch": {AUTHORITY_FILE, FORMER_FILE},
        "finish": {AUTHORITY_FILE, EARLIER_FILE},
    }
    assert left == expected[step]


class _Killed(BaseException):
    """The controller is gone, after so many changes of files."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._left = limit

    def after(self, work):
        def count(*arguments, **options):
            if self._left == 0:
                raise self
            self._left -= 1
            return work(*arguments, **options)

        return count


def test_operators_get_a_certificate_of_the_authority_that_signs_and_keep_their_key(
    change: AuthorityChange, tmp_path: Path
) -> None:
    def files() -> dict[str, bytes]:
        return {name: (tmp_path / name).read_bytes() for name in ("ca.pem", "operator.pem", "operator-key.pem")}

    access_files.write(tmp_path, change.authority)
    first = files()
    access_files.write(tmp_path, change.authority)
    assert files() == first
    change.begin()
    access_files.write(tmp_path, change.authority)
    assert files() == {**first, "ca.pem": change.authority.ca_pem}
    change.switch()
    access_files.write(tmp_path, change.authority)
    assert files()["operator-key.pem"] == first["operator-key.pem"]
    assert change.authority.has_signed(files()["operator.pem"])
    assert (tmp_path / "operator-key.pem").stat().st_mode & 0o77 == 0


def test_a_certificate_of_an_operator_that_ends_soon_is_renewed(
    change: AuthorityChange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access_files.write(tmp_path, change.authority)
    before = (tmp_path / "operator.pem").read_bytes()
    monkeypatch.setattr(access_files, "ends_soon", lambda given: given == before)
    access_files.write(tmp_path, change.authority)
    assert (tmp_path / "operator.pem").read_bytes() != before
