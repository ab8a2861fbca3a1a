"""What the controller's program says of settings before it does anything."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from stead_controller.__main__ import _settings, cli


@pytest.mark.parametrize(
    ("option", "needed"),
    [
        ("--block-endpoint", "--block-bucket"),
        ("--block-key-file", "--block-bucket"),
        ("--object-key-file", "--object-endpoint"),
        ("--metrics-token-file", "--metrics-endpoint"),
        ("--remote-write-token-file", "--remote-write-url"),
    ],
)
def test_a_setting_that_would_have_no_effect_is_refused(tmp_path: Path, option: str, needed: str) -> None:
    file, state = tmp_path / "file", tmp_path / "state"
    file.touch()
    words = ["init", "--state-dir", str(state), option, str(file)]
    done = CliRunner().invoke(cli, words)
    assert (done.exit_code, f"{option} has no effect without {needed}" in done.output) == (2, True), done.output
    assert not state.exists()
    with cli.commands["init"].make_context("init", [*words[1:], needed, "http://127.0.0.1:9"]) as context:
        assert str(_settings(context.params)).count("http://127.0.0.1:9") == 1
