"""Benchmarks that launch guests in a cloud still work, at their smallest size."""

import pytest

from tests.support import benches
from tests.support.real_cloud import RealCloud

_SECONDS = 1180  # each takes less than a minute on an idle machine


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", benches.IN_A_CLOUD)
def test_a_benchmark_works(real_cloud: RealCloud, name: str) -> None:
    settings, account = real_cloud.settings, real_cloud.account
    benches.run(
        name,
        f"--state-dir={settings.state_dir}",
        seconds=_SECONDS,
        STEAD_ENROLMENT_PORT=str(settings.enrolment_port),
        AWS_ENDPOINT_URL=settings.https_endpoint,
        AWS_ACCESS_KEY_ID=account.access_key_id,
        AWS_SECRET_ACCESS_KEY=account.secret_access_key,
        AWS_DEFAULT_REGION=settings.region,
        AWS_CA_BUNDLE=str(settings.ca_file),
    )
