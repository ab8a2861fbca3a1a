"""Benchmarks that boot guests still work, at their smallest size; all but two in a box of their own."""

import pytest

from tests.support import benches
from tests.support.real_cloud import RealCloud

_SECONDS = 1180  # each takes less than a minute on an idle machine


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", benches.WITH_GUESTS)
def test_a_benchmark_works(real_cloud: RealCloud, name: str) -> None:
    if name not in ("launch", "scale_out"):
        benches.run(name, seconds=_SECONDS)
        return
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
