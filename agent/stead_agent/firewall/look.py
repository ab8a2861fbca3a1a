"""Read the rules that are in force for one interface from the kernel, for a person who debugs."""

from typing import Final

from stead_agent.findings import Finding, Path
from stead_agent.firewall.interface import FirewallError
from stead_agent.firewall.nftables import Nft

_NAME: Final = "stead"


def look_at_bindings(nft: Nft, path: Path) -> list[Finding]:
    """Tell whether the interface's guest may send and receive frames at all: in the host's namespace."""
    owner = f"{path.vpc_id} {path.interface_id}"
    try:
        sources = [text for name in ("sources", "sources6") for text in _set_texts(nft, "bridge", name)]
    except FirewallError as error:
        return [
            Finding("anti-spoofing", path.interface_id, ok=False, detail=f"the host's rules are not there: {error}")
        ]
    mine = [text for text in sources if owner in text]
    if not mine:
        detail = "nothing from this interface is let through: it is not bound to its tap"
        return [Finding("anti-spoofing", path.interface_id, ok=False, detail=detail)]
    return [Finding("anti-spoofing", path.interface_id, ok=True, detail=f"addresses bound to its tap: {len(mine)}")]


def look_at_groups(nft: Nft, path: Path) -> list[Finding]:
    """Return which groups apply to the interface, out and in: in the VPC's namespace."""
    found = []
    for way, word in (("out", "may send"), ("in", "may get")):
        try:
            rules = nft.list(f"list chain inet {_NAME} {path.interface_id}-{way}")
        except FirewallError:
            detail = f"no rules say what it {word}: nothing"
            found.append(Finding("security groups", path.interface_id, ok=False, detail=detail))
            continue
        targets = [
            target
            for item in rules
            for step in item.get("rule", {}).get("expr", ())
            if isinstance(step, dict) and (target := step.get("jump", {}).get("target"))
        ]
        groups = sorted(target.removesuffix(f"-{way}") for target in targets)
        counts = [f"{group} (rules: {_count(nft, f'{group}-{way}')})" for group in groups]
        detail = f"what it {word} is asked of {', '.join(counts) or 'no group'}"
        found.append(Finding("security groups", path.interface_id, ok=True, detail=detail))
    return found


def _count(nft: Nft, chain: str) -> int:
    return sum("rule" in item for item in nft.list(f"list chain inet {_NAME} {chain}"))


def _set_texts(nft: Nft, family: str, name: str) -> list[str]:
    (item,) = [each["set"] for each in nft.list(f"list set {family} {_NAME} {name}") if "set" in each]
    return [str(element) for element in item.get("elem", ())]
