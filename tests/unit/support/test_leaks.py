"""What counts as left on a host."""

import pytest

from tests.support import leaks


@pytest.mark.parametrize(
    ("route", "is_one"),
    [
        ({"type": "local", "dst": "fe80::fcbe:a5ff:fef3:d04", "dev": "stt02454d91de62", "table": "local"}, True),
        ({"type": "unicast", "dst": "fe80::/64", "dev": "stt02454d91de62"}, True),
        ({"type": "multicast", "dst": "ff00::/8", "dev": "stt02454d91de62", "table": "local"}, True),
        ({"type": "unicast", "dst": "fd00:ec2::/32", "dev": "sti5ec0d96a7107"}, False),
        ({"type": "local", "dst": "169.254.169.254", "dev": "sti5ec0d96a7107", "table": "local"}, False),
        ({"type": "unicast", "dst": "default", "gateway": "fe80::1", "dev": "stead0"}, False),
        ({"type": "unreachable"}, False),
    ],
)
def test_routes_of_link_local_addresses_come_late_and_are_no_leak(route, is_one):
    assert leaks.is_link_local(route) is is_one
