"""Explain whether a packet reaches its destination and its answer the source."""

from dataclasses import dataclass

from stead_controller.resources.network.reachability.facts import Facts, Interface
from stead_controller.resources.network.reachability.packet import Packet
from stead_controller.resources.network.reachability.verdict import Reason, Verdict
from stead_controller.resources.network.reachability.walk import Walk, WalkEnd


@dataclass(frozen=True, slots=True)
class Gateway:
    """An internet gateway as the place where traffic comes from or goes to."""

    id: str
    vpc_id: str


@dataclass(frozen=True, slots=True)
class Question:
    """The question whether a packet gets from a source to a destination.

    The destination is an interface, the internet behind a gateway, or None: wherever the packet's address is.
    """

    packet: Packet
    source: Interface | Gateway
    destination: Interface | Gateway | None = None


def explain(facts: Facts, question: Question) -> Verdict:
    """Walk there, and back if it arrived; reports every filter that stops it, and the first route that ends it."""
    there = Walk(facts, question.packet)
    _begin(there, question.source)
    if there.ended is None:
        return Verdict(False, tuple(there.hops), reasons=tuple(there.reasons), warnings=_once(there.warnings))
    missed = _missed(question.destination, there)
    if missed is not None:
        there.reasons.append(missed)
        return Verdict(False, tuple(there.hops), reasons=tuple(there.reasons), warnings=_once(there.warnings))
    back = _back(facts, question, there)
    reasons = (*there.reasons, *back.reasons)
    if back.ended is None and not back.reasons:
        raise AssertionError("a walk that got nowhere has a reason")
    return Verdict(not reasons, tuple(there.hops), tuple(back.hops), reasons, _once([*there.warnings, *back.warnings]))


def _begin(walk: Walk, source: Interface | Gateway) -> None:
    if isinstance(source, Gateway):
        walk.from_internet(source.id, source.vpc_id)
    else:
        walk.from_interface(source)


def _back(facts: Facts, question: Question, there: Walk) -> Walk:
    """Walk the answer's path; only ACLs and routes decide, since security groups are stateful."""
    back = Walk(facts, there.packet.reply(), stateful=True, translated=dict(there.translated))
    ended = there.ended
    if isinstance(ended, str):
        _back_from_outside(question, there, back, ended)
    elif ended is not None:
        back.from_interface(ended)
    if isinstance(question.source, Interface) and back.ended is not None and not _is(question.source, back.ended):
        back.reasons.append(
            Reason(
                "NO_POSSIBLE_DESTINATION",
                question.source.id,
                f"The answer to {back.packet.destination} does not come back to {question.source.id}.",
                back.packet,
                reply=True,
            )
        )
    return back


def _back_from_outside(question: Question, there: Walk, back: Walk, ended: str) -> None:
    """Let the answer enter where the question left; another account's VPC is assumed to let it pass."""
    gone_out = next(hop for hop in reversed(there.hops) if hop.component_id == ended)
    if ended.startswith("igw-") and gone_out.vpc_id is not None:
        back.from_internet(ended, gone_out.vpc_id)
        return
    if ended.startswith("vpce-") and isinstance(question.source, Interface):
        back.from_endpoint(question.source)
        return
    back.ended = question.source if isinstance(question.source, Interface) else question.source.id


def _is(wanted: Interface, ended: WalkEnd) -> bool:
    return isinstance(ended, Interface) and ended.id == wanted.id


def _missed(wanted: Interface | Gateway | None, walk: Walk) -> Reason | None:
    """Return the reason if the packet arrived at another place than the requested one."""
    if wanted is None or (isinstance(wanted, Gateway) and walk.ended == wanted.id):
        return None
    if isinstance(walk.ended, str) and walk.ended.startswith("pcx-"):
        return None  # behind it is another account's VPC
    if isinstance(wanted, Interface) and _is(wanted, walk.ended):
        return None
    reached = walk.ended if isinstance(walk.ended, str) else walk.ended.id if walk.ended else ""
    return Reason(
        "NO_POSSIBLE_DESTINATION",
        wanted.id,
        f"{walk.packet} gets to {reached}, not to {wanted.id}.",
        walk.packet,
    )


def _once(warnings: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(warnings))
