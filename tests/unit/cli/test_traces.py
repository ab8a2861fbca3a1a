"""A cloud of `stead up` whose calls are traced: what its programs are told, and what is refused."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from stead_agent.settings import Settings as AgentSettings
from stead_cli import cloud, settings, traces
from stead_cli.errors import CliError
from stead_controller.__main__ import cli
from stead_proto import traces as what_is_sent

URL = "http://127.0.0.1:4318"


@pytest.fixture
def given(tmp_path: Path) -> dict[str, str]:
    """Settings that name a server, a token for it and its authority."""
    headers, authority = tmp_path / "headers", tmp_path / "ca.pem"
    headers.touch(0o600)
    headers.write_text("Authorization: Bearer secret\n")
    authority.touch()
    return {
        "STEAD_STATE_DIR": str(tmp_path),
        "STEAD_TRACES_ENDPOINT": URL,
        "STEAD_TRACES_HEADERS_FILE": str(headers),
        "STEAD_TRACES_CA_FILE": str(authority),
        "STEAD_TRACES_SHARE": "0.5",
    }


def test_both_programs_are_told_and_it_is_remembered_and_may_end(given: dict[str, str], tmp_path: Path) -> None:
    here = {"STEAD_STATE_DIR": str(tmp_path)}
    traces.require(settings.load(here))
    assert traces.controller_options(settings.load(here)) == []
    settings.load(given).remember()
    chosen = settings.load(here)
    traces.require(chosen)
    files = [f"--traces-ca-file={tmp_path / 'ca.pem'}", f"--traces-headers-file={tmp_path / 'headers'}"]
    assert traces.options(chosen) == [f"--traces-endpoint={URL}", *files]
    assert {*traces.options(chosen), "--traces-share=0.5"} <= {*map(str, cloud.controller_program(chosen).command)}
    assert {*traces.options(chosen)} <= {*map(str, cloud.agent_program(chosen).command)}
    assert "--traces-share=0.5" not in cloud.agent_program(chosen).command
    settings.load(here | {"STEAD_TRACES_ENDPOINT": "none"}).remember()
    chosen = settings.load(here)
    traces.require(chosen)
    commands = [*cloud.controller_program(chosen).command, *cloud.agent_program(chosen).command]
    assert not [word for word in commands if "--traces" in str(word)]


def test_files_may_be_named_from_where_one_is(
    given: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = settings.load(given | {"STEAD_TRACES_HEADERS_FILE": "headers", "STEAD_TRACES_CA_FILE": "ca.pem"})
    assert (chosen.traces_headers_file, chosen.traces_ca_file) == (str(tmp_path / "headers"), str(tmp_path / "ca.pem"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ENDPOINT": "127.0.0.1:4318"}, "no URL of a server"),
        ({"ENDPOINT": "ftp://127.0.0.1"}, "no URL of a server"),
        ({"ENDPOINT": "http://"}, "no URL of a server"),
        ({"ENDPOINT": "http://[a"}, "no URL of a server"),
        ({"ENDPOINT": "http://a:secret@host"}, "may be a password"),
        ({"ENDPOINT": "http://host?key=secret"}, "may be a password"),
        ({"SHARE": "2"}, "no share"),
        ({"SHARE": "-0.1"}, "no share"),
        ({"SHARE": "nan"}, "no share"),
        ({"SHARE": "half"}, "no share"),
        ({"CA_FILE": "/nowhere"}, "no file"),
        ({"HEADERS_FILE": "/nowhere"}, "cannot be read"),
    ],
)
def test_what_could_not_be_sent_is_refused(given: dict[str, str], changed: dict[str, str], said: str) -> None:
    chosen = settings.load(given | {f"STEAD_TRACES_{name}": value for name, value in changed.items()})
    with pytest.raises(CliError, match=said) as caught:
        traces.require(chosen)
    assert "secret" not in str(vars(caught.value)) + str(caught.value)


@pytest.mark.parametrize("name", ["SHARE", "CA_FILE", "HEADERS_FILE"])
def test_what_has_no_effect_is_refused(given: dict[str, str], name: str) -> None:
    alone = {key: value for key, value in given.items() if key in {"STEAD_STATE_DIR", f"STEAD_TRACES_{name}"}}
    with pytest.raises(CliError, match=f"STEAD_TRACES_{name} has no effect"):
        settings.load(alone)


@pytest.mark.parametrize("missing", ["opentelemetry.sdk.none", "no.such.package"])
def test_missing_packages_are_named(given: dict[str, str], monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setattr(what_is_sent, "PACKAGES", ("opentelemetry.sdk", missing))
    with pytest.raises(CliError, match="not installed"):
        traces.require(settings.load(given))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--traces-share=1.1"], "1.1 is not in the range"),
        (["--traces-ca-file={file}"], "--traces-ca-file has no effect without --traces-endpoint"),
        (["--traces-headers-file={file}"], "--traces-headers-file has no effect without --traces-endpoint"),
    ],
)
def test_the_controller_refuses_it_as_well(tmp_path: Path, options: list[str], said: str) -> None:
    file = tmp_path / "file"
    file.touch()
    words = ["init", f"--state-dir={tmp_path}", *(option.format(file=file) for option in options)]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 2
    assert said in done.output


def test_an_agent_traces_what_controllers_ask_for() -> None:
    chosen = AgentSettings(traces_endpoint=URL, traces_ca_file=Path("/ca"), traces_headers_file=Path("/headers")).traces
    assert (chosen.endpoint, chosen.share, chosen.ca_file, chosen.headers_file) == (
        URL,
        1.0,
        Path("/ca"),
        Path("/headers"),
    )
