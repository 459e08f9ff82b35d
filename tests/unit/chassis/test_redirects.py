"""Redirects over a transport that a test decides."""

import httpx2
import pytest

from services.chassis.egress.redirects import SECRETS, Following, RedirectRefused

HEADERS = {"authorization": "Bearer s3cret", "x-key": "s3cret", "user-agent": "runplane/1"}


class Answers(httpx2.AsyncBaseTransport):
    """Answers in turn, each a status and a `Location`; knows what it was asked."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        self._answers = iter(answers)
        self.asked: list[httpx2.Request] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The next answer."""
        self.asked.append(request)
        status, location = next(self._answers)
        return httpx2.Response(status, headers={"location": location} if location else {})


def request(method: str = "GET", url: str = "https://a.example/x?q=1") -> httpx2.Request:
    """A request with a secret."""
    return httpx2.Request(method, url, headers=HEADERS, extensions={SECRETS: ("s3cret",)})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_within_the_origin_keeps_the_headers(status: int) -> None:
    answers = Answers((status, "/y"), (200, ""))

    response = await Following(answers).handle_async_request(request())

    assert response.status_code == 200
    assert str(answers.asked[1].url) == "https://a.example/y"
    assert answers.asked[1].headers["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize(
    "location", ["https://b.example/y", "//b.example/y", "https://a.example:444/y"]
)
async def test_another_origin_sees_no_secret(location: str) -> None:
    answers = Answers((302, location), (200, ""))

    await Following(answers).handle_async_request(request())

    assert set(answers.asked[1].headers) == {"host", "user-agent"}
    assert answers.asked[1].headers["host"] == answers.asked[1].url.netloc.decode()


async def test_the_secret_does_not_come_back_on_the_way_home() -> None:
    answers = Answers((302, "https://b.example/"), (302, "https://a.example/"), (200, ""))

    await Following(answers).handle_async_request(request())

    assert "authorization" not in answers.asked[2].headers


@pytest.mark.parametrize(
    "location",
    [
        "http://a.example/y",
        "ftp://a.example/",
        "file:///etc/passwd",
        "https://user:pw@a.example/",
        "https://b.example/?key=s3cret",
        "https://[::1",
        "https://a.example:99999/",
        "mailto:a@example",
    ],
)
async def test_some_redirects_are_refused(location: str) -> None:
    answers = Answers((302, location), (200, ""))

    with pytest.raises(RedirectRefused) as caught:
        await Following(answers).handle_async_request(request())

    assert len(answers.asked) == 1
    assert "s3cret" not in str(caught.value)


async def test_the_fourth_redirect_is_refused() -> None:
    answers = Answers(*[(302, "/again")] * 4)

    with pytest.raises(RedirectRefused):
        await Following(answers).handle_async_request(request())

    assert len(answers.asked) == 4


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_what_has_an_effect_is_not_sent_on(method: str) -> None:
    answers = Answers((307, "/y"))

    response = await Following(answers).handle_async_request(request(method))

    assert response.status_code == 307


async def test_http_may_lead_to_https_but_not_with_the_secret() -> None:
    answers = Answers((301, "https://a.example/x"), (200, ""))

    await Following(answers).handle_async_request(request(url="http://a.example/x"))

    assert "authorization" not in answers.asked[1].headers
