"""When a delivery is tried again: SNS's phases, for half an hour."""

from stead_controller.resources.notifications import retries


def test_the_phases() -> None:
    waits = [retries.delay(tries) for tries in range(1, retries.RETRIES + 2)]
    assert waits[:5] == [0, 0, 0, 1, 1]
    growing = waits[5:15]
    assert growing == sorted(growing)
    assert len(set(growing)) == 10
    assert 1 < growing[0] < 2
    assert waits[14:100] == [20.0] * 86
    assert waits[100] is None


def test_the_time_until_a_message_is_given_up() -> None:
    total = sum(retries.delay(tries) or 0 for tries in range(1, retries.RETRIES + 1))
    assert 28 * 60 < total < 32 * 60
    assert total <= 3600  # the most that a policy of SNS may take


def test_the_policy_says_the_same() -> None:
    policy = retries.POLICY
    waits = [retries.delay(tries) for tries in range(1, policy["numRetries"] + 1)]
    assert waits.count(0) == policy["numNoDelayRetries"]
    assert waits.count(policy["minDelayTarget"]) == policy["numMinDelayRetries"]
    assert waits.count(policy["maxDelayTarget"]) == policy["numMaxDelayRetries"] + 1  # where growing has ended
