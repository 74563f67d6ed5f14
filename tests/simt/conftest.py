import pytest

from simt.compilation import why_unavailable


@pytest.fixture(autouse=True, scope="session")
def _compiler_for_device_code() -> None:
    reason = why_unavailable()
    if reason:
        pytest.skip(reason)
