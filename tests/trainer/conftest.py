from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def one_thread_in_torch() -> Iterator[None]:
    """Its threads wait by spinning, which takes minutes where other programs run; tests ask for threads themselves."""
    try:
        import torch
    except ImportError:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
