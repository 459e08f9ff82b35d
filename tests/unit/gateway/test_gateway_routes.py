"""Which endpoint a method and a path mean."""

import pytest

from gateway.routes import Route, Router
from gateway.templates import parse
from services.chassis.errors import InvalidArgument, NotFound

TABLE = [
    ("GET", "/v1/tasks"),
    ("POST", "/v1/tasks"),
    ("GET", "/v1/tasks/{task_id}"),
    ("GET", "/v1/tasks/{task_id}:watch"),
    ("POST", "/v1/tasks/{task_id}:cancel"),
    ("GET", "/v1/tasks/latest"),
    ("GET", "/v1/resources:read"),
    ("GET", "/v1/tools/{name}/versions"),
    ("GET", "/v1/files/{path=**}"),
    ("DELETE", "/v1/{name=shelves/*/books/*}"),
]


@pytest.fixture
def router() -> Router[str]:
    return Router([Route(method, parse(path), f"{method} {path}") for method, path in TABLE])


@pytest.mark.parametrize(
    ("method", "path", "endpoint", "captures"),
    [
        ("GET", "/v1/tasks", "GET /v1/tasks", {}),
        ("POST", "/v1/tasks", "POST /v1/tasks", {}),
        ("GET", "/v1/tasks/t1", "GET /v1/tasks/{task_id}", {"task_id": "t1"}),
        ("GET", "/v1/tasks/latest", "GET /v1/tasks/latest", {}),
        ("GET", "/v1/tasks/t1:watch", "GET /v1/tasks/{task_id}:watch", {"task_id": "t1"}),
        ("POST", "/v1/tasks/t1:cancel", "POST /v1/tasks/{task_id}:cancel", {"task_id": "t1"}),
        ("GET", "/v1/tasks/a:b:watch", "GET /v1/tasks/{task_id}:watch", {"task_id": "a:b"}),
        ("GET", "/v1/tasks/t1%3Ae", "GET /v1/tasks/{task_id}", {"task_id": "t1:e"}),
        ("GET", "/v1/tasks/t1%3Awatch", "GET /v1/tasks/{task_id}", {"task_id": "t1:watch"}),
        ("GET", "/v1/resources:read", "GET /v1/resources:read", {}),
        ("GET", "/v1/tools/x/versions", "GET /v1/tools/{name}/versions", {"name": "x"}),
        ("GET", "/v1/files/a/b/c", "GET /v1/files/{path=**}", {"path": "a/b/c"}),
        ("GET", "/v1/files", "GET /v1/files/{path=**}", {"path": ""}),
        (
            "DELETE",
            "/v1/shelves/1/books/2",
            "DELETE /v1/{name=shelves/*/books/*}",
            {"name": "shelves/1/books/2"},
        ),
        ("HEAD", "/v1/tasks/t1", "GET /v1/tasks/{task_id}", {"task_id": "t1"}),
    ],
)
def test_a_path_finds_its_endpoint_and_variables(
    router: Router[str], method: str, path: str, endpoint: str, captures: dict[str, str]
) -> None:
    assert router.find(method, path) == (endpoint, captures)


@pytest.mark.parametrize(
    "path",
    ["/", "", "*", "/v1", "/v1/tasks/", "/v1/tasks//", "//v1/tasks", "/v1/tasks/a/b", "/V1/tasks"],
)
def test_a_path_that_no_template_matches_is_not_found(router: Router[str], path: str) -> None:
    with pytest.raises(NotFound) as caught:
        router.find("GET", path)

    assert caught.value.reason == "ROUTE_NOT_FOUND"


def test_a_method_that_is_not_offered_names_those_that_are(router: Router[str]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        router.find("DELETE", "/v1/tasks")

    assert caught.value.reason == "METHOD_NOT_ALLOWED"
    assert caught.value.metadata["allow"] == "GET, HEAD, OPTIONS, POST"
    assert router.allowed("/v1/tasks/t1:cancel") == ["OPTIONS", "POST"]


def test_two_endpoints_for_one_route_are_a_fault_of_the_contract() -> None:
    routes = [Route("GET", parse(f"/v1/{{{name}}}"), name) for name in ("a", "b")]

    with pytest.raises(ValueError, match="two endpoints"):
        Router(routes)
