"""The simulated class: what is counted, and how the table says it."""

import asyncio
import json
import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from jupyter_server.services.kernels.connection.base import serialize_binary_message

from benchmarks import class_load
from benchmarks.class_load import Kernel, Student


def test_the_middle_and_other_quantiles_of_what_was_measured():
    assert class_load.middle([3, 1, 2]) == 2
    assert class_load.middle(list(range(100)), 0.95) == 95
    assert class_load.middle([7], 0.95) == 7
    assert math.isnan(class_load.middle([]))


def test_the_table_holds_every_student_and_every_failure(capsys):
    quick = Student("a", 1, 2, 3, 4, 300, 100, [0.1, 0.3])
    slow = Student("b", 5, 40, 7, 8, 500, 100, [0.2], ["b, cell l2-setup: ValueError: no"])
    class_load.report([quick, slow, Student("c", 2, 3, 4, 5, 400, 100)], 2)
    out = capsys.readouterr().out
    rows = {line[:20].strip(): line[20:].split() for line in out.splitlines() if line[20:].strip()}
    assert rows["first explorer, s"][:4] == ["3.0", "40.0", "40.0", "30"]
    assert rows["memory, MB"][:4] == ["500.0", "600.0", "600.0", "400"]
    assert rows["slider, ms"][:7] == ["200.0", "300.0", "300.0", "300", "3", "moves,", "2"]
    assert out.endswith("1 failures\nb, cell l2-setup: ValueError: no\n")


def message(kind, content, buffers=()):
    """A message as the server sends it: JSON, or binary with its buffers."""
    whole = {"header": {"msg_type": kind}, "parent_header": {}, "content": content}
    return serialize_binary_message({**whole, "buffers": list(buffers)}) if buffers else json.dumps(whole)


@pytest.mark.parametrize("buffers", [(), (b"\xff\xd8 a picture",)], ids=["text", "picture"])
def test_a_kernel_knows_its_sliders_and_sees_pictures(buffers):
    opened = {"target_name": "jupyter.widget", "comm_id": "s", "data": {"state": {"_model_name": "IntSliderModel"}}}
    update = {"comm_id": "p", "data": {"method": "update", "state": {}}}
    waiting = [message("comm_open", opened), message("comm_msg", update, buffers=buffers)]

    class Connection:
        async def read_message(self):
            return waiting.pop(0) if waiting else None

    async def read():
        kernel = Kernel(Connection())
        await kernel._reader
        return kernel

    with ThreadPoolExecutor() as threads:  # Playwright's event loop may run in this one
        kernel = threads.submit(asyncio.run, read()).result()
    assert kernel.slider()[0] == "s"
    assert kernel.picture.is_set() == bool(buffers)
