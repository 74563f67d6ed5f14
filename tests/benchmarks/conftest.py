import pytest

from simt.compilation import why_unavailable


@pytest.fixture(autouse=True)
def _compiler_for_device_code(request: pytest.FixtureRequest) -> None:
    reason = why_unavailable()
    if reason and request.path.name.startswith("test_simt_"):
        pytest.skip(reason)
