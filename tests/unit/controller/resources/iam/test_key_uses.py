from datetime import timedelta

from stead_controller.request.caller import Caller
from stead_controller.resources.iam import access_keys, roles
from stead_controller.resources.iam.access_keys import LastUse
from stead_controller.resources.iam.key_uses import KeyUses
from stead_controller.resources.iam.roles import NewRole
from stead_controller.resources.operators.create_account import create_account
from stead_controller.secrets.sealing import no_sealer
from tests.support.rows import CLOUD, NOW

TRUST = (
    '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},'
    '"Action":"sts:AssumeRole"}}'
)


async def test_the_last_use_of_keys_and_roles_is_written(database):
    def make(tx):
        made = create_account(tx, no_sealer(), CLOUD, "one", NOW)
        root = Caller(made.account_id, f"arn:aws:iam::{made.account_id}:root", made.account_id, made.access_key_id)
        return root, roles.create(tx, root, NewRole("r", TRUST), NOW).role.id

    root, role_id = await database.run(make)
    role = Caller(root.account_id, "arn", "user", "ASIA", kind="role", principal_id=role_id)
    uses = KeyUses(database, "eu-west-7")
    await uses.write()
    uses.note(root, "ec2", NOW)
    uses.note(root, "iam", NOW + timedelta(seconds=1))
    uses.note(role, "ec2", NOW + timedelta(seconds=2))
    for number in range(1000):
        uses.note(Caller(root.account_id, "arn", "gone", f"AKIAGONE{number}", kind="user"), "ec2", NOW)
    await uses.write()

    def look(tx):
        role = roles.get(tx, root, "r").role
        return access_keys.last_used(tx, root, root.access_key_id), (role.last_used, role.last_used_region)

    key, used = await database.run(look, writes=False)
    assert key == LastUse(None, NOW + timedelta(seconds=1), "iam", "eu-west-7")
    assert used == (NOW + timedelta(seconds=2), "eu-west-7")
