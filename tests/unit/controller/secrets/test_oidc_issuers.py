"""Files in which the operator names issuers: read when they change, and passed over when they are none."""

import json
import os
from pathlib import Path

import pytest

from stead_controller.secrets.oidc_issuers import BadIssuer, OidcIssuers, read

URL = "https://issuer.example"


def write(path: Path, issuer: str = URL, *kids: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"issuer": issuer, "jwks": {"keys": [{"kid": kid} for kid in kids]}}))


def kids(issuers: OidcIssuers, url: str = URL) -> list[str] | None:
    keys = issuers.keys_of(url)
    return None if keys is None else [key["kid"] for key in keys]


def test_files_are_read_as_they_change(tmp_path: Path) -> None:
    folder = tmp_path / "oidc"
    issuers = OidcIssuers(folder)
    assert kids(issuers) is None
    write(folder / "one.json", URL, "a")
    assert kids(issuers) == ["a"]
    assert kids(issuers, "https://other.example") is None
    write(folder / "one.json", URL, "a", "b")
    assert kids(issuers) == ["a", "b"]
    write(folder / "two.json", URL, "c")
    (folder / "bad.json").write_text("{")
    assert kids(issuers) == ["a", "b", "c"]
    (folder / "one.json").unlink()
    assert kids(issuers) == ["c"]
    os.truncate(folder / "two.json", 0)
    assert kids(issuers) is None


def test_without_a_folder_there_is_no_issuer() -> None:
    assert kids(OidcIssuers()) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"issuer": "http://a"}',
        b'{"issuer": "https://a"}',
        b'{"issuer":"https://a","jwks":{"keys":[1]}}',
    ],
)
def test_other_files_name_no_issuer(content: bytes) -> None:
    with pytest.raises(BadIssuer):
        read(content)
