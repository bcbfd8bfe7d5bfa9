"""A class at once: python -m benchmarks.class_load --students 20, with JupyterHub and a proxy on this machine.

Each simulated student starts a server through JupyterHub's API with the settings of deploy/jupyterhub, opens a kernel,
runs all cells of a lesson over the websocket as JupyterLab does, and then some of them drag a slider of the first
explorer at the same time. Needed beside this environment: JupyterHub (``pip install jupyterhub``) and
configurable-http-proxy (``npm install configurable-http-proxy``); --hub and --proxy say where they are.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import psutil
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "deploy" / "jupyterhub" / "jupyterhub_config.py"
PATIENCE = 600  # seconds for one cell, one server
PAUSE = 0.4  # seconds without a new picture, before the slider moves on
WANTED = {"first explorer, s": 30, "CPU-s of Run All": 12, "memory, MB": 400, "slider, ms": 300}


@dataclass
class Student:
    """What one simulated student saw.

    Attributes:
        name: of the account.
        server: seconds until the server was there, from the click on start.
        first: seconds until the first explorer showed its picture, from the same click.
        all_cells: seconds of Run All.
        cpu: CPU seconds of the kernel, from its start to the end of Run All.
        kernel: MB of the kernel, `server_memory` of its server: each its fair part of what processes share (PSS).
        server_memory: see `kernel`.
        moves: seconds from each move of the slider to the next picture.
        failures: what went wrong.
    """

    name: str
    server: float = 0.0
    first: float = 0.0
    all_cells: float = 0.0
    cpu: float = 0.0
    kernel: float = 0.0
    server_memory: float = 0.0
    moves: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Kernel:
    """A kernel behind a websocket: executes code, knows the widgets that it opened, and moves them."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self.connection, self.session = connection, uuid.uuid4().hex
        self.widgets: dict[str, dict[str, Any]] = {}  # comm id -> state and the cell that opened it
        self.picture = asyncio.Event()  # an image has got a new value ...
        self.pictured = 0.0  # ... at this time
        self._replies: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._idle: dict[str, asyncio.Event] = {}
        self._reader = asyncio.create_task(self._read())

    async def execute(self, code: str) -> dict[str, Any]:
        """Run a cell; return the content of the reply once the kernel is idle again."""
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": False}
        identity = uuid.uuid4().hex
        self._replies[identity] = asyncio.get_running_loop().create_future()
        self._idle[identity] = asyncio.Event()
        await self._send("execute_request", content, identity)
        reply = await asyncio.wait_for(self._replies[identity], PATIENCE)
        await asyncio.wait_for(self._idle[identity].wait(), PATIENCE)
        return {**reply, "cell": identity}

    async def move(self, comm: str, value: int) -> float:
        """Move a slider once no picture of the move before is on its way; return the seconds until one changes."""
        while time.perf_counter() - self.pictured < PAUSE:
            await asyncio.sleep(0.05)
        self.picture.clear()
        start = time.perf_counter()
        data = {"method": "update", "state": {"value": value}, "buffer_paths": []}
        await self._send("comm_msg", {"comm_id": comm, "data": data}, uuid.uuid4().hex)
        await asyncio.wait_for(self.picture.wait(), PATIENCE)
        return time.perf_counter() - start

    def slider(self) -> tuple[str, dict[str, Any]]:
        """The first slider of whole numbers that was opened, and its state."""
        return next((comm, state) for comm, state in self.widgets.items() if state["_model_name"] == "IntSliderModel")

    async def _send(self, kind: str, content: dict[str, Any], identity: str) -> None:
        header = {"msg_id": identity, "msg_type": kind, "session": self.session, "username": "", "version": "5.3"}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        await self.connection.write_message(json.dumps(message))

    async def _read(self) -> None:
        while (received := await self.connection.read_message()) is not None:
            binary = isinstance(received, bytes)
            if binary:  # the number of parts, where each begins, the message, its buffers
                count = struct.unpack("!I", received[:4])[0]
                starts = [*struct.unpack(f"!{count}I", received[4 : 4 * (count + 1)]), len(received)]
                received = received[starts[0] : starts[1]]
            message = json.loads(received)
            kind, content = message["header"]["msg_type"], message["content"]
            cell = message["parent_header"].get("msg_id", "")
            if kind == "execute_reply" and cell in self._replies:
                self._replies[cell].set_result(content)
            elif kind == "status" and content["execution_state"] == "idle" and cell in self._idle:
                self._idle[cell].set()
            elif kind == "comm_open" and content["target_name"] == "jupyter.widget":
                self.widgets[content["comm_id"]] = content["data"]["state"]
            elif kind == "comm_msg" and binary and content["data"].get("method") == "update":
                self.picture.set()
                self.pictured = time.perf_counter()


class Hub:
    """JupyterHub's API."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.headers = url, {"Authorization": f"token {token}"}

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One request; the answer read as JSON."""
        content = None if method == "GET" else json.dumps(body or {})
        request = HTTPRequest(self.url + path, method, self.headers, content, request_timeout=PATIENCE)
        answer = await AsyncHTTPClient().fetch(request)
        return json.loads(answer.body) if answer.body else None

    async def start(self, name: str) -> None:
        """Start a student's server, and wait until it is there."""
        await self.ask("POST", f"/hub/api/users/{name}")
        await self.ask("POST", f"/hub/api/users/{name}/server")
        for _ in range(2 * PATIENCE):
            servers = (await self.ask("GET", f"/hub/api/users/{name}"))["servers"]
            if servers.get("", {}).get("ready"):
                return
            await asyncio.sleep(0.5)
        raise TimeoutError(f"the server was not there after {PATIENCE} s")

    async def kernel(self, name: str, lesson: str) -> Kernel:
        """Open a kernel, as JupyterLab does for a notebook."""
        base = f"/user/{name}/api/kernels"
        made = await self.ask("POST", base, {"name": "python3", "path": lesson})
        address = f"{self.url.replace('http', 'ws', 1)}{base}/{made['id']}/channels?session_id={uuid.uuid4().hex}"
        request = HTTPRequest(address, headers=self.headers, request_timeout=PATIENCE)
        return Kernel(await websocket_connect(request, max_message_size=100_000_000))


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running_hub(hub: str, proxy: str, folder: Path, students: int) -> Any:
    """JupyterHub with the settings of deploy/jupyterhub, students without accounts, on free ports of this machine."""
    port, inside, api, token = free_port(), free_port(), free_port(), secrets.token_hex(16)
    site = folder / "site.py"
    site.write_text(
        f"""c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {inside}
c.JupyterHub.db_url = "sqlite://"
c.JupyterHub.cookie_secret_file = "{folder}/cookie"
c.JupyterHub.authenticator_class = "dummy"
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.concurrent_spawn_limit = {students}
c.JupyterHub.services = [{{"name": "class", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [
    {{"name": "class", "scopes": ["admin:users", "admin:servers", "access:servers"], "services": ["class"]}}
]
c.ConfigurableHTTPProxy.command = ["{proxy}"]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api}"
c.ConfigurableHTTPProxy.pid_file = "{folder}/proxy.pid"
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/{{username}}"
c.Spawner.env_keep = ["PATH", "LANG", "PYTHONPATH"]
{'c.Spawner.args.append("--allow-root")' if os.geteuid() == 0 else ""}
"""
    )
    environment = {**os.environ, "XAI_LESSONS_HUB": str(site)}
    environment["PATH"] = os.pathsep.join([str(Path(hub).parent), environment["PATH"]])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH", "")]))
    with open(folder / "hub.log", "wb") as log:
        process = subprocess.Popen([hub, "-f", str(CONFIG)], cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        yield Hub(f"http://127.0.0.1:{port}", token)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def processes(name: str) -> tuple[psutil.Process, list[psutil.Process]]:
    """A student's server and its kernels."""
    for process in psutil.process_iter(["cmdline"]):
        with suppress(psutil.Error):
            is_server = "jupyterhub-singleuser" in " ".join(process.info["cmdline"] or ())
            if is_server and process.environ().get("JUPYTERHUB_USER") == name:
                return process, process.children()
    raise RuntimeError(f"the server of {name} is gone")


async def lesson(hub: Hub, student: Student, book: nbformat.NotebookNode, name: str) -> Kernel | None:
    """Start a server and a kernel, and run all cells."""
    start = time.perf_counter()
    try:
        await hub.start(student.name)
        student.server = time.perf_counter() - start
        kernel = await hub.kernel(student.name, name)
        begin = time.perf_counter()
        for cell in book.cells:
            if cell.cell_type != "code":
                continue
            reply = await kernel.execute(cell.source)
            if reply["status"] != "ok":
                student.failures.append(f"{student.name}, cell {cell.id}: {reply.get('ename')}: {reply.get('evalue')}")
            if not student.first and any(state["_model_name"] == "ImageModel" for state in kernel.widgets.values()):
                await asyncio.wait_for(kernel.picture.wait(), PATIENCE)
                student.first = time.perf_counter() - start
        student.all_cells = time.perf_counter() - begin
        (process,) = processes(student.name)[1]
        times = process.cpu_times()
        student.cpu = times.user + times.system
        return kernel
    except (OSError, RuntimeError, ValueError, TimeoutError, HTTPClientError) as error:
        student.failures.append(f"{student.name}: {type(error).__name__}: {error}")
        return None


async def drag(student: Student, kernel: Kernel, moves: int) -> None:
    """Move the first slider back and forth, as a hand does."""
    comm, state = kernel.slider()
    with suppress(TimeoutError):
        for move in range(moves):
            value = state["min"] + 1 + move % min(state["max"] - state["min"], 20)
            student.moves.append(await kernel.move(comm, value))
        return
    student.failures.append(f"{student.name}: the slider did not answer in {PATIENCE} s")


async def run_class(hub: Hub, options: argparse.Namespace) -> list[Student]:
    """All students at once: Run All, then some of them drag a slider."""
    (path,) = (ROOT / "notebooks").glob(f"{options.lesson}*.ipynb")
    book = nbformat.read(path, as_version=4)
    for second in range(60):
        with suppress(OSError, HTTPClientError):
            await hub.ask("GET", "/hub/api/")
            break
        await asyncio.sleep(1)
        if second == 59:
            raise SystemExit("JupyterHub did not start: run it with deploy/jupyterhub/jupyterhub_config.py to see why")
    students = [Student(f"student{number:02}") for number in range(options.students)]
    kernels = await asyncio.gather(*(lesson(hub, student, book, path.name) for student in students))
    for student in students:
        with suppress(psutil.Error, RuntimeError, ValueError):
            server, (kernel,) = processes(student.name)
            student.kernel = kernel.memory_full_info().pss / 1e6
            student.server_memory = server.memory_full_info().pss / 1e6
    ready = [(student, kernel) for student, kernel in zip(students, kernels, strict=True) if kernel is not None]
    await asyncio.gather(*(drag(student, kernel, options.moves) for student, kernel in ready[: options.dragging]))
    return students


def middle(values: list[float], part: float = 0.5) -> float:
    """The median, or another quantile; NaN of nothing."""
    values = sorted(values)
    return values[min(int(len(values) * part), len(values) - 1)] if values else float("nan")


def report(students: list[Student], dragging: int) -> None:
    """Print the table."""
    moves = [1000 * seconds for student in students for seconds in student.moves]
    failures = [failure for student in students for failure in student.failures]
    rows = {
        "server, s": ([s.server for s in students], ""),
        "first explorer, s": ([s.first for s in students], ""),
        "Run All, s": ([s.all_cells for s in students], ""),
        "CPU-s of Run All": ([s.cpu for s in students], ""),
        "memory, MB": ([s.kernel + s.server_memory for s in students], "kernel and server, PSS"),
        "kernel alone, MB": ([s.kernel for s in students], "PSS"),
        "slider, ms": (moves, f"{len(moves)} moves, {dragging} students at once"),
    }
    print(f"{len(students)} students on {os.cpu_count()} cores; load {os.getloadavg()[0]:.1f}\n")
    print(f"{'':20}{'median':>8}{'95%':>8}{'worst':>8}{'wanted':>8}")
    for name, (values, note) in rows.items():
        numbers = middle(values), middle(values, 0.95), max(values, default=0)
        print(f"{name:20}", *(f"{value:7.1f}" for value in numbers), f"{WANTED.get(name, ''):>7}  {note}")
    print(f"\n{len(failures)} failures", *failures, sep="\n")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--students", type=int, default=3)
    parser.add_argument("--dragging", type=int, default=6, help="how many drag a slider at the same time")
    parser.add_argument("--moves", type=int, default=20, help="of each slider")
    parser.add_argument("--lesson", default="02", help="the beginning of a notebook's name")
    parser.add_argument("--hub", default=shutil.which("jupyterhub"), help="the jupyterhub command")
    parser.add_argument("--proxy", default=shutil.which("configurable-http-proxy"), help="the proxy's command")
    options = parser.parse_args()
    if not options.hub or not Path(options.hub).is_file():
        print("jupyterhub was not found: install it with pip and name its command with --hub")
        return 1
    if not options.proxy or not Path(options.proxy).is_file():
        print("configurable-http-proxy was not found: install it with npm and name its command with --proxy")
        return 1
    with tempfile.TemporaryDirectory(prefix="class-", ignore_cleanup_errors=True) as folder:
        with running_hub(options.hub, options.proxy, Path(folder), options.students) as hub:
            students = asyncio.run(run_class(hub, options))
        if any(student.failures for student in students):
            log = Path(tempfile.gettempdir()) / "class_load.log"
            shutil.copy(Path(folder) / "hub.log", log)
            print(f"JupyterHub's log: {log}")
    report(students, min(options.dragging, len(students)))
    return 1 if any(student.failures for student in students) else 0


if __name__ == "__main__":
    sys.exit(main())
