"""A cloud of `stead up` with its metrics in an engine of others: what it says to the controller, and what it refuses."""

from pathlib import Path

import pytest

from stead_cli import cloud, metrics_engine, settings, up
from stead_cli.errors import CliError
from stead_cli.steps import Steps


@pytest.fixture
def given(tmp_path: Path) -> dict[str, str]:
    """Settings that name an engine."""
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("hidden\n")
    return {
        "STEAD_STATE_DIR": str(tmp_path),
        "STEAD_METRICS_ENDPOINT": "https://192.0.2.14:8428",
        "STEAD_METRICS_TOKEN_FILE": str(token),
    }


def test_an_engine_is_remembered_and_may_be_the_controllers_own_again(
    given: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {"STEAD_STATE_DIR": str(tmp_path)}
    assert metrics_engine.options(settings.load(here)) == []
    monkeypatch.chdir(tmp_path)
    settings.load(given | {"STEAD_METRICS_TOKEN_FILE": "token", "STEAD_METRICS_CA_FILE": "ca"}).remember()
    options = metrics_engine.options(settings.load(here))
    assert options == [
        "--metrics-endpoint=https://192.0.2.14:8428",
        f"--metrics-token-file={tmp_path / 'token'}",
        f"--metrics-ca-file={tmp_path / 'ca'}",
    ]
    assert {*options} <= {*map(str, cloud.controller_program(settings.load(here)).command)}
    with pytest.raises(CliError, match=r"STEAD_METRICS_CA_FILE=.* is no certificate"):
        metrics_engine.require(settings.load(here))
    own = settings.load(here | {"STEAD_METRICS_ENDPOINT": "none"})
    metrics_engine.require(own)
    assert metrics_engine.options(own) == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"STEAD_METRICS_ENDPOINT": ""}, "STEAD_METRICS_TOKEN_FILE has no effect"),
        (
            {"STEAD_METRICS_ENDPOINT": "", "STEAD_METRICS_TOKEN_FILE": "", "STEAD_METRICS_CA_FILE": "a"},
            "STEAD_METRICS_CA_FILE has no effect",
        ),
        ({"STEAD_METRICS_ENDPOINT": "https://id:hidden@metrics.example"}, "STEAD_METRICS_ENDPOINT is no URL"),
        ({"STEAD_METRICS_ENDPOINT": "metrics.example:8428"}, "STEAD_METRICS_ENDPOINT is no URL"),
    ],
)
def test_what_names_no_engine_is_refused(given: dict[str, str], more: dict[str, str], said: str) -> None:
    with pytest.raises(CliError, match=said) as refused:
        settings.load(given | more)
    assert "hidden" not in f"{refused.value.message} {refused.value.hint}"


def test_what_would_hide_metrics_is_refused(given: dict[str, str]) -> None:
    chosen = settings.load(given)
    metrics_engine.require(chosen)
    (chosen.controller_dir / "metrics" / "data").mkdir(parents=True)
    with pytest.raises(CliError, match="the metrics of this cloud are in"):
        metrics_engine.require(chosen)
    with pytest.raises(CliError, match="the metrics of this cloud are in"):
        up.bring_up(chosen, Steps(), ())
    assert not chosen.memory_file.exists(), "it is not remembered"
    metrics_engine.require(settings.load(given | {"STEAD_METRICS_ENDPOINT": "none", "STEAD_METRICS_TOKEN_FILE": ""}))


@pytest.mark.parametrize(
    ("mode", "text", "said"),
    [(0o644, "hidden", "others than root may read"), (0o600, "\n", "has no token"), (0, None, "cannot be read")],
)
def test_a_token_that_is_none_or_that_others_read_is_refused(
    given: dict[str, str], tmp_path: Path, mode: int, text: str | None, said: str
) -> None:
    token = tmp_path / "token"
    if text is None:
        token.unlink()
    else:
        token.write_text(text)
        token.chmod(mode)
    with pytest.raises(CliError, match=said):
        metrics_engine.require(settings.load(given))


def test_a_password_may_have_letters_of_any_language(given: dict[str, str]) -> None:
    Path(given["STEAD_METRICS_TOKEN_FILE"]).write_text("user:pässword\n", encoding="utf-8")
    metrics_engine.require(settings.load(given))
