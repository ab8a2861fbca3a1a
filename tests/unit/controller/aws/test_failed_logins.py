"""Addresses that fail to show who they are: how often, what they are answered, and who is let through all the same."""

from stead_controller.aws.failed_logins import FailedLogins
from stead_controller.aws.signature import Reason, Refused
from stead_controller.errors import TooManyRequests

REFUSAL = Refused(Reason.MISMATCH, "no")


class Time:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def is_let_in(failed_logins, address, key="AKIA1"):
    try:
        failed_logins.check(address, key)
    except TooManyRequests:
        return False
    return True


def failures(failed_logins, address, most=1000):
    """How many failures in a row are answered with their reason."""
    return next((n for n in range(most) if failed_logins.failed(address, REFUSAL) is not REFUSAL), most)


def test_an_address_fails_so_often_and_no_more():
    time = Time()
    failed_logins = FailedLogins(1, time)
    assert is_let_in(failed_logins, "192.0.2.1")
    assert failures(failed_logins, "192.0.2.1") == 10
    assert not is_let_in(failed_logins, "192.0.2.1")
    assert isinstance(failed_logins.failed("192.0.2.1", REFUSAL), TooManyRequests)
    assert is_let_in(failed_logins, "192.0.2.2")
    time.now += 0.5
    assert not is_let_in(failed_logins, "192.0.2.1")
    time.now += 0.5
    assert is_let_in(failed_logins, "192.0.2.1")
    time.now += 1000
    assert failures(failed_logins, "192.0.2.1") == 10


def test_who_is_known_there_is_asked_all_the_same():
    failed_logins = FailedLogins(1, Time())
    failed_logins.welcome("192.0.2.1", "AKIAKNOWN")
    failures(failed_logins, "192.0.2.1")
    assert is_let_in(failed_logins, "192.0.2.1", "AKIAKNOWN")
    assert not is_let_in(failed_logins, "192.0.2.1", "AKIAOTHER")
    # And learns, when its signature is wrong, no more than who is not known.
    assert isinstance(failed_logins.failed("192.0.2.1", REFUSAL), TooManyRequests)


def test_one_subscriber_of_ipv6_is_one_address():
    failed_logins = FailedLogins(1, Time())
    for number in range(10):
        assert failed_logins.failed(f"2001:db8::{number:x}", REFUSAL) is REFUSAL
    assert not is_let_in(failed_logins, "2001:db8::ffff")
    assert is_let_in(failed_logins, "2001:db8:0:1::1")


def test_success_costs_nothing_and_off_is_off():
    failed_logins = FailedLogins(1, Time())
    for number in range(30_000):
        failed_logins.welcome("192.0.2.1", f"AKIA{number}")
    assert len(failed_logins._known) <= 10_000
    assert is_let_in(failed_logins, "192.0.2.1")
    assert failures(FailedLogins(0), "192.0.2.1") == 1000


def test_throttling_is_logged_once_a_minute(caplog):
    time = Time()
    failed_logins = FailedLogins(1, time)
    for _ in range(100):
        failed_logins.failed("192.0.2.1", REFUSAL)
    assert [record.message for record in caplog.records] == ["strangers_throttled"]
    time.now += 61
    failures(failed_logins, "192.0.2.1")
    assert len(caplog.records) == 2


def test_several_controllers_together_let_an_address_fail_as_often_as_one_does():
    failed_logins = FailedLogins(1, Time())
    failed_logins.share(2)
    assert failures(failed_logins, "192.0.2.1") == 5
    FailedLogins(0, Time()).share(2)
