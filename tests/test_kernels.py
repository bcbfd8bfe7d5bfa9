"""`xai-lessons kernels`: each kernel sets its device."""

import json
import sys

from xai_lessons.command import cli, kernels


def test_kernels_set_the_device(tmp_path):
    installed = kernels.install(prefix=str(tmp_path), devices=("cpu", "cuda"))
    assert list(installed) == ["XAI lessons (CPU)", "XAI lessons (GPU)"]
    for (title, folder), device in zip(installed.items(), ("cpu", "cuda"), strict=True):
        spec = json.loads((folder / "kernel.json").read_text())
        assert spec["display_name"] == title
        assert spec["env"] == {"XAI_LESSONS_DEVICE": device, **kernels.MEMORY}
        assert spec["argv"][0] == sys.executable
        assert tmp_path in folder.parents


def test_kernels_says_what_it_did_and_why_there_is_no_gpu(tmp_path, monkeypatch, capsys):
    import torch

    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cli.main(["kernels", "--sys-prefix"]) == 0
    said = capsys.readouterr().out
    assert "XAI lessons (CPU)" in said
    assert "no CUDA device" in said
    assert not (tmp_path / "share/jupyter/kernels/xai-lessons-gpu").exists()


def test_a_kernel_of_ours_starts_on_its_device(tmp_path, monkeypatch):
    from jupyter_client.manager import start_new_kernel

    kernels.install(prefix=str(tmp_path), devices=("cpu",))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share" / "jupyter"))
    monkeypatch.delenv("XAI_LESSONS_DEVICE", raising=False)
    manager, client = start_new_kernel(kernel_name="xai-lessons-cpu")
    try:
        seen = []
        client.execute_interactive(
            "import os; print(os.environ['XAI_LESSONS_DEVICE'])",
            output_hook=lambda message: seen.append(message["content"].get("text")),
            timeout=60,
        )
        assert "cpu\n" in seen
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
