import pytest


@pytest.fixture(params=["fast", "stock"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Either way in which frames can go, for producers made in the test; what they promise is the same."""
    monkeypatch.setenv("MEMQ_TRANSPORT", request.param)
    return request.param
