"""Downloads by torchvision's own means, from a server on this machine that is good, cuts off, lies, sleeps, refuses."""

import gc
import hashlib
import socket
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from xai_lessons import models
from xai_lessons.command import cli
from xai_lessons.models import imagenet

NAME = "squeezenet1_1"  # the smallest but for its weights, which are made here


pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(scope="module")
def state():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torchvision.models.get_model(NAME, weights=None).state_dict()


@pytest.fixture(scope="module")
def content(state):
    buffer = BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """Serves one file, in one of several ways."""

    daemon_threads = True
    way, asked = "good", 0

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.closing = content, threading.Event()


class Handler(BaseHTTPRequestHandler):
    """Good, truncated, wrong, slow, missing."""

    def do_GET(self):
        self.server.asked += 1
        if self.server.way == "missing":
            self.send_error(404)
            return
        content = self.server.content
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.server.way == "wrong":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if self.server.way in ("truncated", "slow"):
            content = content[: len(content) // 2]
        self.wfile.write(content)
        if self.server.way == "slow":
            self.wfile.flush()
            self.server.closing.wait(20)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(content):
    server = Server(content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()
    with warnings.catch_warnings():  # torch.hub leaves its connections to the garbage collector: let it find them here
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture
def entry(server, content, tmp_path, monkeypatch):
    """torchvision's entry for the weights, its address turned to the server; an empty cache."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(imagenet, "TIMEOUT", 0.3)
    entry = torchvision.models.get_model_weights(NAME).DEFAULT
    file = f"{NAME}-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    real = entry.value
    fake = type(real)(f"http://127.0.0.1:{server.server_port}/{file}", real.transforms, real.meta)
    monkeypatch.setattr(entry, "_value_", fake)
    assert entry.url == fake.url
    return entry


def cached(tmp_path):
    return [path.name for path in (tmp_path / "torch").rglob("*") if path.is_file()]


def test_a_good_file_is_fetched_once_and_works(server, entry, tmp_path, state):
    for _ in range(2):
        model = models.load(NAME, device="cpu")
    assert server.asked == 1
    assert cached(tmp_path) == [imagenet.cached_file(entry).name]
    assert len(model.classes) == 1000
    assert model.classes[0] == "tench"
    assert model.name == NAME
    assert model.input_size == 224
    assert not any(p.requires_grad for p in model.parameters())
    assert torch.equal(model.network.state_dict()["features.0.weight"], state["features.0.weight"])


@pytest.mark.parametrize("way", ["truncated", "wrong", "slow", "missing"])
def test_a_failed_download_is_one_sentence_leaves_nothing_and_the_next_try_works(server, entry, tmp_path, way):
    server.way = way
    with pytest.raises(
        ConnectionError, match="could not be downloaded .*: connect and run xai-lessons prefetch"
    ) as caught:
        models.load(NAME, device="cpu")
    assert "\n" not in str(caught.value)
    assert cached(tmp_path) == []
    server.way = "good"
    assert models.load(NAME, device="cpu").name == NAME


def test_offline_is_one_sentence_and_the_machines_time_limit_stays(entry, server, tmp_path):
    closed = entry.url.replace(str(server.server_port), "9")
    fake = type(entry.value)(closed, entry.transforms, entry.meta)
    entry._value_ = fake
    before = socket.getdefaulttimeout()
    with pytest.raises(ConnectionError, match="refused.*go on with a built-in network"):
        models.load(NAME, device="cpu")
    assert socket.getdefaulttimeout() == before
    assert cached(tmp_path) == []


def test_a_damaged_file_in_the_cache_is_fetched_again(server, entry, tmp_path):
    models.load(NAME, device="cpu")
    file = imagenet.cached_file(entry)
    file.write_bytes(file.read_bytes()[:1000])
    assert models.load(NAME, device="cpu").name == NAME
    assert server.asked == 2
    file.write_bytes(b"")
    server.way = "missing"
    with pytest.raises(ConnectionError):
        models.load(NAME, device="cpu")
    assert cached(tmp_path) == []


def test_prefetch_from_the_command_line(server, entry, tmp_path, capsys):
    assert cli.main(["prefetch", NAME]) == 0
    assert str(imagenet.cached_file(entry)) in capsys.readouterr().out
    server.way = "missing"
    imagenet.cached_file(entry).unlink()
    assert cli.main(["prefetch", NAME]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("xai-lessons prefetch: the weights")
    assert cli.main(["prefetch", "resnet81", NAME]) == 2
    assert "no network 'resnet81'" in capsys.readouterr().err
    assert server.asked == 2


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_weights_from_a_file_need_no_download(tmp_path, state, ending):
    file = tmp_path / f"w.{ending}"
    save_file(state, file) if ending == "safetensors" else torch.save(state, file)
    model = models.load(NAME, weights=file, device="cpu")
    assert torch.equal(model.network.state_dict()["classifier.1.bias"], state["classifier.1.bias"])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda f, s: None, "there is no weights file"),
        (lambda f, s: f.write_bytes(b"x" * 100), "is damaged or holds no weights"),
        (lambda f, s: save_file({"features.0.weight": torch.zeros(2)}, f), "are not the weights of squeezenet1_1"),
        (lambda f, s: save_file(s | {"more": torch.zeros(1)}, f), "are not the weights of squeezenet1_1"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, state, make, says):
    file = tmp_path / "w.safetensors"
    make(file, state)
    with pytest.raises(ValueError, match=says) as caught:
        models.load(NAME, weights=file, device="cpu")
    assert "\n" not in str(caught.value)


def test_pickled_code_in_a_weights_file_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the code in the file was run",))

    torch.save({"a": Bomb()}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="holds no weights"):
        models.load(NAME, weights=tmp_path / "w.pth", device="cpu")


def test_the_old_names_in_densenets_weights_are_understood():
    key = imagenet._OLD_KEY
    assert key.sub(r"\1\2", "features.denseblock1.denselayer2.norm.1.weight") == (
        "features.denseblock1.denselayer2.norm1.weight"
    )
    for name in ("features.denseblock1.denselayer2.norm1.weight", "features.norm5.weight", "classifier.1.weight"):
        assert key.sub(r"\1\2", name) == name
