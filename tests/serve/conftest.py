from collections.abc import Iterator

import pytest
from serve_helpers import deep, serving
from starlette.testclient import TestClient

from whyrank import Fake, Pointwise
from whyrank.serve.service import Service


@pytest.fixture
def client() -> Iterator[TestClient]:
    with serving() as client:
        yield client


@pytest.fixture
def two() -> Iterator[TestClient]:
    with serving(Service({"deep": deep(), "graded": Pointwise(Fake("<score>70</score>"))})) as client:
        yield client
