"""A cloud of `stead up` with its buckets on a server of others: what it says to the controller, and what it refuses."""

from pathlib import Path

import pytest

from stead_cli import cloud, object_store, settings
from stead_cli.errors import CliError


@pytest.fixture
def given(tmp_path: Path) -> dict[str, str]:
    """Settings that name a server."""
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_text("AKIASTEAD\na/secret+key\n")
    return {
        "STEAD_STATE_DIR": str(tmp_path),
        "STEAD_OBJECT_ENDPOINT": "https://192.0.2.14:8333",
        "STEAD_OBJECT_KEY_FILE": str(key),
    }


def test_a_server_is_remembered_and_may_be_the_controllers_own_again(
    given: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {"STEAD_STATE_DIR": str(tmp_path)}
    assert object_store.options(settings.load(here)) == []
    monkeypatch.chdir(tmp_path)
    named = {"STEAD_OBJECT_KEY_FILE": "key", "STEAD_OBJECT_CA_FILE": "ca", "STEAD_OBJECT_REGION": "eu-central-1"}
    settings.load(given | named).remember()
    options = object_store.options(settings.load(here))
    assert options == [
        "--object-endpoint=https://192.0.2.14:8333",
        "--object-region=eu-central-1",
        f"--object-key-file={tmp_path / 'key'}",
        f"--object-ca-file={tmp_path / 'ca'}",
    ]
    assert {*options} <= {*map(str, cloud.controller_program(settings.load(here)).command)}
    with pytest.raises(CliError, match=r"STEAD_OBJECT_CA_FILE=.* is no certificate"):
        object_store.require(settings.load(here))
    own = settings.load(here | {"STEAD_OBJECT_ENDPOINT": "none"})
    object_store.require(own)
    assert object_store.options(own) == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"STEAD_OBJECT_KEY_FILE": ""}, "needs STEAD_OBJECT_KEY_FILE"),
        ({"STEAD_OBJECT_ENDPOINT": ""}, "STEAD_OBJECT_KEY_FILE has no effect"),
        (
            {"STEAD_OBJECT_ENDPOINT": "", "STEAD_OBJECT_KEY_FILE": "", "STEAD_OBJECT_REGION": "a"},
            "REGION has no effect",
        ),
        ({"STEAD_OBJECT_ENDPOINT": "https://id:hidden@s3.example"}, "STEAD_OBJECT_ENDPOINT is no URL"),
    ],
)
def test_what_names_no_server_is_refused(given: dict[str, str], more: dict[str, str], said: str) -> None:
    with pytest.raises(CliError, match=said) as refused:
        settings.load(given | more)
    assert "hidden" not in f"{refused.value.message} {refused.value.hint}"


def test_what_would_lose_objects_or_has_no_key_is_refused(given: dict[str, str], tmp_path: Path) -> None:
    chosen = settings.load(given)
    object_store.require(chosen)
    (chosen.controller_dir / "object-store" / "data").mkdir(parents=True)
    with pytest.raises(CliError, match="the objects of this cloud's buckets are in"):
        object_store.require(chosen)
    object_store.require(settings.load(given | {"STEAD_OBJECT_ENDPOINT": "none", "STEAD_OBJECT_KEY_FILE": ""}))
    (tmp_path / "key").write_text("hidden\n")
    with pytest.raises(CliError, match="is no access key"):
        object_store.require(chosen)
