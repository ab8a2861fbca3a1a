"""Read and replace the nft rules of a namespace that the network manages alone: those of gateways and endpoints."""

from pathlib import Path
from typing import Final

from stead_agent.network.interface import NetworkError
from stead_agent.programs.run import RunError, run

_SECONDS: Final = 20.0
_NOTHING: Final = "flush ruleset\n"  # in one transaction with the rules that follow, so that tracked flows continue


def listed(namespace: Path) -> bytes:
    """Return the rules as the kernel lists them, empty if there are none; raises NetworkError."""
    return _nft(namespace, "--stateless", "list", "ruleset")


def replace(namespace: Path, rules: str) -> None:
    """Make these nft commands' rules the only ones; raises NetworkError."""
    _nft(namespace, "-f", "-", stdin=_NOTHING + rules)


def _nft(namespace: Path, *words: str, stdin: str = "") -> bytes:
    entered = ["nsenter", f"--net={namespace}", "nft", *words]
    try:
        return run(entered, timeout=_SECONDS, stdin=stdin.encode()).stdout
    except RunError as error:
        raise NetworkError(str(error)) from error
