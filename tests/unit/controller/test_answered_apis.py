"""Each API that tenants call has the database that answers in time where its server is gone or hangs."""

from stead_controller.db.answered import Answered
from tests.unit.controller.test_controller import cloud  # noqa: F401 - a fixture


async def test_who_calls_is_answered_in_time_by_each_api(cloud):  # noqa: F811 - the fixture
    controller = cloud.controller
    databases = {
        "who calls": controller._keys._database,
        "AWS": controller._app(b"k" * 32)._transactions,
        "S3": controller._objects._transactions,
        "native": controller._compute(None)._database,
    }
    assert {api: type(database) for api, database in databases.items()} == dict.fromkeys(databases, Answered)
