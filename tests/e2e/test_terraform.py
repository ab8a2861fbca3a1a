"""Terraform's example on a whole cloud, over HTTPS: its guests are real, and answer."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import outside_clients
from tests.support.own_resources import own_resources
from tests.support.real_cloud import User
from tests.support.terraform import SECONDS, Terraform


@pytest.mark.client("terraform")
@pytest.mark.timeout(SECONDS)
def test_a_site_of_real_guests(user: User, tmp_path: Path) -> None:
    if why := outside_clients.why_missing("terraform"):
        pytest.skip(why)
    before = own_resources(user.account)
    terraform = Terraform(tmp_path, user.account)
    added, _, _ = terraform.apply()
    terraform.plan_is_empty()
    login = replace(user.login(terraform.outputs["machines"][0]), key_file=terraform.key)
    said = login.run("until test -s /var/tmp/word; do sleep 1; done; cat /var/tmp/word", 120)  # by its user data
    assert said.strip() == "front"
    assert terraform.destroy() == added
    assert own_resources(user.account) == before
