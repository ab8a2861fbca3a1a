"""`stead down`: stop the cloud's programs; with --purge also end its guests and remove all that it made."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import click

from stead_cli import backup_timer, cloud, processes, settings, upgrade
from stead_cli.errors import CliError
from stead_cli.output import say, say_heading
from stead_cli.settings import Settings
from stead_cli.steps import Steps

_PURGE_SECONDS: Final = 300.0


@click.command()
@click.option("--purge", is_flag=True, help="Also end all guests and remove every trace, the state included.")
@click.option("--yes", is_flag=True, help="Do not ask before a purge.")
def down(*, purge: bool, yes: bool) -> None:
    """Stop controller and agent; guests stay, and the next `up` adopts them."""
    cloud.require_root("stopping the cloud")
    chosen = settings.load()
    cloud.refuse_rig(chosen)
    if not chosen.state_dir.exists():
        say(f"There is no cloud in {chosen.state_dir}.")
        return
    if purge and not yes and sys.stdin.isatty():
        click.confirm(f"End all guests and delete {chosen.state_dir}?", abort=True, err=True)
    say_heading("Stopping Stead on this machine")
    steps = Steps()
    with cloud.exclusively(chosen):
        _stop_programs(chosen, steps)
        if purge:
            _purge(chosen, steps)
    if not purge:
        say("Guests run on; `./stead up` adopts them, `./stead down --purge` ends them.")


def _stop_programs(chosen: Settings, steps: Steps) -> None:
    """Stop the agent, then the controller, so that the last reports arrive, then what the controller started."""
    programs = (cloud.agent_program(chosen), cloud.controller_program(chosen), *cloud.started_by_controller(chosen))
    for program in programs:
        with steps.step(f"{program.name} stopped") as step:
            step.note = "" if processes.stop(program) else "did not run"


def _purge(chosen: Settings, steps: Steps) -> None:
    """Remove guests, networks and disks through the agent, which knows which are its own, then the state."""
    if backup_timer.remove(chosen):
        with steps.step("the schedule of backups removed"):
            pass
    if chosen.agent_dir.exists():
        with steps.step("guests, networks and disks removed"):
            _purge_host(chosen)
    with steps.step(f"{chosen.state_dir} removed"):
        _remove_state(chosen)


def _purge_host(chosen: Settings) -> None:
    command: list[str | Path] = [
        cloud.BIN / "stead-agent",
        "purge",
        f"--state-dir={chosen.agent_dir}",
        f"--run-dir={chosen.volatile_dir / 'agent'}",
        f"--netns-dir={chosen.netns_dir}",
        *(f"--pool={pool}" for pool in chosen.pools.split()),
    ]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PURGE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise CliError(f"removing what the agent made took more than {_PURGE_SECONDS:g} s", "try again") from error
    if done.returncode != 0:
        hint = f"nothing else was deleted; by hand: {' '.join(map(str, command))}"
        raise CliError(f"not all of the host could be removed: {done.stderr.strip()[-1500:]}", hint)


def _remove_state(chosen: Settings) -> None:
    """Delete Stead's files in the state directory, and the directory itself if nothing else is in it."""
    for part in _parts(chosen):
        if part.is_dir() and not part.is_symlink():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)
    try:
        chosen.state_dir.rmdir()
    except OSError as error:
        strange = ", ".join(sorted(path.name for path in chosen.state_dir.iterdir()))
        raise CliError(
            f"{chosen.state_dir} has files that are not Stead's: {strange}", "they were left alone"
        ) from error


def _parts(chosen: Settings) -> list[Path]:
    return [
        chosen.controller_dir,
        chosen.agent_dir,
        chosen.image_dir,
        chosen.log_dir,
        chosen.demo_dir,
        chosen.users_dir,
        chosen.volatile_dir,
        chosen.ca_file,
        chosen.identity_file,
        chosen.memory_file,
        upgrade.note_file(chosen),
        chosen.run_dir,
    ]
