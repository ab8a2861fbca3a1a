"""The newest word about a guest wins, whichever thread comes last."""

from dataclasses import replace

from stead_agent.metadata.interface import Guest
from stead_agent.reconcile import translate
from stead_agent.reconcile.metadata_guests import GuestBook
from stead_agent.simulated.networks import SimulatedMetadata
from stead_agent.simulated.world import World
from tests.support import desired_states as make


def _book() -> tuple[GuestBook, SimulatedMetadata]:
    service = SimulatedMetadata(World())
    return GuestBook(service), service


def _guest(vpc_id: str = "vpc-1") -> Guest:
    known = {"eni-1": make.interface("eni-1", "i-1", vpc_id=vpc_id)}
    return translate.guest(make.machine("i-1", volumes=(), interfaces=("eni-1",)), known)


def test_older_word_is_not_passed_on() -> None:
    book, service = _book()
    new = replace(_guest(), hostname="new")
    book.put(2, new)
    book.put(1, _guest())
    assert service.guests["vpc-1"]["i-1"] == new
    assert book.is_current(new)
    assert not book.is_current(_guest())


def test_a_guest_that_left_a_vpc_is_forgotten_there() -> None:
    book, service = _book()
    book.put(1, _guest("vpc-1"))
    book.put(2, _guest("vpc-2"))
    assert "vpc-1" not in service.guests
    assert "i-1" in service.guests["vpc-2"]
    book.remove("i-1")
    assert service.guests == {}


def test_after_a_withdrawal_a_guest_is_not_current() -> None:
    book, service = _book()
    book.put(1, _guest())
    book.withdraw("vpc-1")
    assert not book.is_current(_guest())
    book.put(2, _guest())
    assert "i-1" in service.guests["vpc-1"]
