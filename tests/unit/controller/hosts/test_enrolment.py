"""A host says at its enrolment who it was: of a cloud that was lost, or of this one, which wants a token for it alone."""

from datetime import timedelta
from unittest.mock import MagicMock

import pytest
from sqlalchemy import func, select

from stead_controller.db.tables import EnrolmentToken, Host, HostToken
from stead_controller.errors import AlreadyExists, InvalidParameter, MalformedId, NotAuthorized, NotFound, WrongState
from stead_controller.hosts import facts
from stead_controller.hosts.enrolment import Enrolment, create_host_token, create_token
from stead_controller.operator.hosts import Hosts
from stead_controller.resources.operators import host_records
from stead_proto import tls
from stead_proto.certificates import VALIDITY, Authority, new_signing_request, sign
from stead_proto.tls import Identity
from stead_proto.v1 import host_pb2 as pb
from stead_proto.v1 import operator_pb2
from tests.support.rows import CLOUD, NOW

HOUR = timedelta(hours=1)


async def test_a_host_of_a_lost_cloud_is_who_it_was(database, run):
    token, _ = run(create_token, "us-east-1a", HOUR, NOW)
    enrolment = Enrolment(database, CLOUD, Authority.create(), lambda: NOW, MagicMock())
    request = pb.EnrolRequest(
        token=token,
        csr_pem=new_signing_request("box")[1],
        hostname="box",
        former_host_id="h-0123456789abcdef0",
        former_pool_address="198.18.0.9",
    )
    answer = await enrolment.Enrol(request, MagicMock(peer=lambda: "ipv4:192.0.2.1:4711"))
    assert answer.host_id == request.former_host_id
    row = run(lambda tx: tx.session.get_one(Host, answer.host_id))
    assert (row.hostname, row.pool_address) == ("box", "198.18.0.9")


class KnownHosts:
    """Hosts that are down, and how a machine that has the certificate of one enrols."""

    def __init__(self, database, run):
        self.run = run
        self.authority = Authority.create()
        self.enrolment = Enrolment(
            database, CLOUD, self.authority, lambda: NOW, MagicMock(failed=lambda _, error: error)
        )
        self.ids = ["h-0123456789abcdef0", "h-0123456789abcdef1"]
        for number, host_id in enumerate(self.ids):
            row = Host(id=host_id, hostname=f"box-{number}", zone="us-east-1b", state="down", created=NOW)
            row.labels, row.schedulable, row.pool_address = {"rack": "7"}, False, f"198.18.0.{number}"
            run(lambda tx, row=row: tx.session.add(row))
        self.key, self.csr = new_signing_request("box")

    def token(self, host_id=None, valid=HOUR, *, any_authority=False):
        if host_id is None:
            return self.run(create_token, "us-east-1a", valid, NOW)[0]
        return self.run(lambda tx: create_host_token(tx, host_id, valid, NOW, any_authority=any_authority))[0]

    def identity(self, host_id, validity=-timedelta(hours=1)):
        """Its certificate, which has expired."""
        return self.authority.issue_host(host_id, validity=validity)

    async def enrol(self, token, former_id="", identity=None, signed=None):
        request = pb.EnrolRequest(token=token, csr_pem=self.csr, hostname="new name", former_host_id=former_id)
        if identity is not None:
            request.former_certificate_pem = identity.certificate_pem
            request.former_signature = sign(identity.key_pem, signed or self.csr)
        return await self.enrolment.Enrol(request, MagicMock(peer=lambda: "ipv4:192.0.2.1:4711"))

    def row(self, host_id):
        return self.run(lambda tx: tx.session.get(Host, host_id))

    def tokens(self):
        return [
            self.run(lambda tx, table=table: tx.session.scalar(select(func.count()).select_from(table)))
            for table in (EnrolmentToken, HostToken)
        ]


@pytest.fixture
def known(database, run):
    return KnownHosts(database, run)


async def test_a_known_host_enrols_again_and_stays_what_it_is(known):
    one, other = known.ids
    token = known.token(one)
    answer = await known.enrol(token, one, known.identity(one))
    assert answer.host_id == one
    assert Identity(known.key, answer.certificate_pem, answer.ca_pem).peer.name == one
    assert known.authority.has_signed(answer.certificate_pem)
    row = known.row(one)
    assert row.certified == tls.lifetime(answer.certificate_pem)[0]
    assert row.enrolment == tls.enrolment_of(answer.certificate_pem, one) != ""
    assert known.run(facts.renews, one, NOW + VALIDITY) == row.enrolment
    assert (row.state, row.zone, row.labels, row.schedulable) == ("down", "us-east-1b", {"rack": "7"}, False)
    assert (row.pool_address, row.certificate_ends) == ("198.18.0.0", NOW + VALIDITY)
    assert known.row(other).certificate_ends is None
    assert known.run(lambda tx: tx.session.scalar(select(func.count()).select_from(Host))) == 2
    with pytest.raises(NotAuthorized, match="no such enrolment token"):
        await known.enrol(token, one, known.identity(one))


async def test_a_token_for_one_host_is_for_no_other_machine(known):
    one, other = known.ids
    token = known.token(one)
    with pytest.raises(WrongState, match=rf"for the host {one} alone.*join --again.*needs one of its own"):
        await known.enrol(token)
    with pytest.raises(WrongState, match=rf"for the host {one}, and this machine is {other}\..*--host {other}"):
        await known.enrol(token, other, known.identity(other))
    assert known.tokens() == [0, 1], "it stays for the host"
    assert (await known.enrol(token, one, known.identity(one))).host_id == one


async def test_the_host_must_have_the_key_of_its_certificate(known):
    one, other = known.ids
    token = known.token(one)
    of_another = known.identity(other)
    stolen = Identity(of_another.key_pem, known.identity(one).certificate_pem, b"")
    operator = known.authority.issue_operator(one)
    for identity, signed in (
        (None, None),  # an agent of an earlier release
        (of_another, None),
        (stolen, None),
        (operator, None),
        (known.identity(one), b"another request"),
        (Identity(of_another.key_pem, b"no certificate", b""), None),
    ):
        with pytest.raises(WrongState, match=f"not shown that it has the key of {one}"):
            await known.enrol(token, one, identity, signed)
    long = known.identity(one)
    with pytest.raises(WrongState, match="not shown"):
        await known.enrol(token, one, Identity(long.key_pem, long.certificate_pem + b"\n" * 17000, b""))
    assert (await known.enrol(token, one, known.identity(one, VALIDITY))).host_id == one, "one that has not expired"


async def test_of_an_authority_that_is_not_known_the_token_must_say_that_it_may(known):
    one, _ = known.ids
    foreign = Authority.create("Stead CA 2").issue_host(one)
    with pytest.raises(WrongState, match=r"an authority that this controller does not know.*--any-authority"):
        await known.enrol(known.token(one), one, foreign)
    token = known.token(one, any_authority=True)
    with pytest.raises(WrongState, match="not shown"):
        await known.enrol(token, one)
    assert (await known.enrol(token, one, foreign)).host_id == one


async def test_one_that_is_trusted_and_does_not_sign_is_known(known):
    one, _ = known.ids
    former = known.authority
    known.enrolment._authority = Authority(*Authority.create("Stead CA 2")._pair, [former.certificate_pem])
    assert (await known.enrol(known.token(one), one, former.issue_host(one))).host_id == one


async def test_a_token_for_any_machine_takes_no_known_hosts_place(known):
    one, _ = known.ids
    token = known.token()
    with pytest.raises(AlreadyExists, match=f"stead host token --host {one}"):
        await known.enrol(token, one, known.identity(one))
    assert known.tokens() == [1, 0]


async def test_nobody_takes_the_place_of_a_host_that_is_up(known):
    one, other = known.ids
    token = known.token(one)
    known.run(lambda tx: setattr(tx.session.get(Host, one), "state", "up"))
    with pytest.raises(WrongState, match=f"{one} is up"):
        await known.enrol(token, one, known.identity(one))
    with pytest.raises(WrongState, match=f"{one} is up"):
        known.token(one)
    assert known.token(other)
    known.run(lambda tx: setattr(tx.session.get(Host, one), "state", "down"))
    assert (await known.enrol(token, one, known.identity(one))).host_id == one


async def test_its_token_ends_with_its_time_and_with_the_host(known):
    one, other = known.ids
    late = known.token(one, timedelta(0))
    with pytest.raises(NotAuthorized):
        await known.enrol(late, one, known.identity(one))
    for wrong in (known.token(valid=timedelta(0)), "wrong"):
        with pytest.raises(NotAuthorized):
            await known.enrol(wrong)
    token = known.token(other)
    known.run(lambda tx: host_records.remove_host(tx, CLOUD, other, NOW, lost=True))
    with pytest.raises(NotAuthorized):
        await known.enrol(token, other, known.identity(other))
    assert known.row(other) is None
    with pytest.raises(NotFound):
        known.token(other)
    with pytest.raises(MalformedId):
        known.token("box-0")


async def test_until_when_a_host_has_a_certificate_and_may_join_is_known(known):
    one, other = known.ids
    shown = known.run(host_records.show_host, CLOUD, one)
    assert (shown.host.certificate_ends, shown.joins_until) == (None, None)
    known.token(one)
    known.token(one, 2 * HOUR)
    known.token(other, 3 * HOUR)
    assert known.run(host_records.show_host, CLOUD, one).joins_until == NOW + 2 * HOUR
    assert known.run(facts.renews, one, NOW + HOUR) == ""
    assert known.row(one).certificate_ends == NOW + HOUR
    assert known.row(other).certificate_ends is None
    assert known.run(facts.renews, "h-0123456789abcdef9", NOW) is None
    new = await known.enrol(known.token())
    assert (known.row(new.host_id).certificate_ends, known.row(new.host_id).enrolment) == (NOW + VALIDITY, "")


async def test_an_operator_makes_a_token_for_a_host_in_the_zone_that_it_is_in(known, database):
    one, _ = known.ids
    hosts = Hosts(database, CLOUD, lambda: NOW, known.authority, None)

    async def make(**words):
        return await hosts.CreateEnrolmentToken(operator_pb2.CreateEnrolmentTokenRequest(**words), None)

    made = await make(host_id=one, valid_seconds=60)
    assert (made.host_id, made.expires, made.ca_pem) == (one, int(NOW.timestamp()) + 60, known.authority.ca_pem)
    foreign = Authority.create("Stead CA 2").issue_host(one)
    with pytest.raises(WrongState, match="--any-authority"):
        await known.enrol(made.token, one, foreign)
    [shown] = (await hosts.ListHosts(operator_pb2.ListHostsRequest(host_id=one), None)).hosts
    assert (shown.certificate_ends, shown.joins_until) == (0, made.expires)
    any_authority = await make(host_id=one, any_authority=True)
    assert (await known.enrol(any_authority.token, one, foreign)).host_id == one
    [shown] = (await hosts.ListHosts(operator_pb2.ListHostsRequest(host_id=one), None)).hosts
    assert shown.certificate_ends == int((NOW + VALIDITY).timestamp())
    assert (await make()).host_id == ""
    for words in ({"host_id": one, "zone": "us-east-1b"}, {"any_authority": True}):
        with pytest.raises(InvalidParameter):
            await make(**words)
