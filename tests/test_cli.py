"""The command `xai-lessons`: what a student's folder keeps, how JupyterLab is started, what the doctor sees."""

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

import xai_lessons
from xai_lessons import cli, doctor, kernels, lab

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def source(tmp_path):
    """A small course: two lessons and a picture."""
    folder = tmp_path / "source"
    (folder / "pictures").mkdir(parents=True)
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "01_classification-checkpoint.ipynb").write_text("old")
    (folder / "01_classification.ipynb").write_text("first")
    (folder / "02_cam_to_gradcam.ipynb").write_text("second")
    (folder / "pictures" / "a.png").write_bytes(b"\x89PNG")
    return folder


def held(folder: Path) -> dict[str, str]:
    """What is in a student's folder, the record aside."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != lab.RECORD)
    return {path.relative_to(folder).as_posix(): path.read_bytes().decode("latin-1") for path in paths}


FRESH = {"01_classification.ipynb": "first", "02_cam_to_gradcam.ipynb": "second", "pictures/a.png": "\x89PNG"}


def test_copies_all_lessons_and_says_so(source, tmp_path):
    said = lab.copy_lessons(source, tmp_path / "mine" / "deep")
    assert held(tmp_path / "mine" / "deep") == FRESH
    assert said == ["copied 01_classification.ipynb", "copied 02_cam_to_gradcam.ipynb", "copied pictures/a.png"]


def test_a_second_copy_writes_nothing(source, tmp_path):
    lab.copy_lessons(source, tmp_path / "mine")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "mine").rglob("*.ipynb")}
    assert lab.copy_lessons(source, tmp_path / "mine") == []
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_students_changes_stay(source, tmp_path):
    mine = tmp_path / "mine"
    lab.copy_lessons(source, mine)
    (mine / "01_classification.ipynb").write_text("my work")
    (mine / "notes.txt").write_text("mine, too")
    assert lab.copy_lessons(source, mine) == []
    assert held(mine) == {**FRESH, "01_classification.ipynb": "my work", "notes.txt": "mine, too"}


def test_an_untouched_lesson_is_brought_up_to_date(source, tmp_path):
    mine = tmp_path / "mine"
    lab.copy_lessons(source, mine)
    (source / "01_classification.ipynb").write_text("first, better")
    assert lab.copy_lessons(source, mine) == ["updated 01_classification.ipynb"]
    assert held(mine) == {**FRESH, "01_classification.ipynb": "first, better"}


def test_a_new_version_is_put_beside_the_students_own_once(source, tmp_path):
    mine = tmp_path / "mine"
    lab.copy_lessons(source, mine)
    (mine / "01_classification.ipynb").write_text("my work")
    (source / "01_classification.ipynb").write_text("first, better")
    (said,) = lab.copy_lessons(source, mine)
    assert "kept your 01_classification.ipynb" in said
    assert "01_classification.new.ipynb" in said
    expected = {**FRESH, "01_classification.ipynb": "my work", "01_classification.new.ipynb": "first, better"}
    assert held(mine) == expected
    assert lab.copy_lessons(source, mine) == []
    assert held(mine) == expected


def test_a_second_new_version_does_not_write_over_the_first_new_one(source, tmp_path):
    mine = tmp_path / "mine"
    lab.copy_lessons(source, mine)
    (mine / "01_classification.ipynb").write_text("my work")
    for text in ("better", "best"):
        (source / "01_classification.ipynb").write_text(text)
        lab.copy_lessons(source, mine)
    assert held(mine)["01_classification.ipynb"] == "my work"
    assert held(mine)["01_classification.new.ipynb"] == "better"
    assert held(mine)["01_classification.new2.ipynb"] == "best"


def test_files_that_were_there_before_are_the_students(source, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "01_classification.ipynb").write_text("by hand")
    lab.copy_lessons(source, mine)
    assert held(mine)["01_classification.ipynb"] == "by hand"
    assert held(mine)["01_classification.new.ipynb"] == "first"


@pytest.mark.parametrize("damage", ["", "not json", "[]"])
def test_a_damaged_record_costs_no_work(source, tmp_path, damage):
    mine = tmp_path / "mine"
    lab.copy_lessons(source, mine)
    (mine / "01_classification.ipynb").write_text("my work")
    (mine / lab.RECORD).write_text(damage)
    lab.copy_lessons(source, mine)
    assert held(mine)["01_classification.ipynb"] == "my work"


def test_a_deleted_lesson_comes_back(source, tmp_path):
    mine = tmp_path / "mine"
    lab.copy_lessons(source, mine)
    (mine / "02_cam_to_gradcam.ipynb").unlink()
    assert lab.copy_lessons(source, mine) == ["copied 02_cam_to_gradcam.ipynb"]
    assert held(mine) == FRESH


def test_a_file_in_the_folders_place_is_one_sentence(source, tmp_path):
    (tmp_path / "mine").write_text("a file")
    with pytest.raises(NotADirectoryError, match="a folder is wanted"):
        lab.copy_lessons(source, tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "a file"


def test_the_lessons_of_a_checkout_are_beside_the_package(monkeypatch, tmp_path):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(lab, "PACKAGE", tmp_path / "xai_lessons")
    assert lab.lessons_folder() == tmp_path / "notebooks"
    (tmp_path / "xai_lessons" / "_notebooks").mkdir(parents=True)
    assert lab.lessons_folder() == tmp_path / "xai_lessons" / "_notebooks"


def test_an_installation_without_lessons_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(lab, "PACKAGE", tmp_path / "xai_lessons")
    assert cli.main(["lab", "--copy-only"]) == 2
    assert "no notebooks" in capsys.readouterr().err


class Started:
    """Stands in for a running JupyterLab."""

    calls: list = []

    def __init__(self, command, env):
        Started.calls.append((command, env))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def wait(self):
        return 0


@pytest.fixture
def started(monkeypatch, source):
    Started.calls = []
    monkeypatch.setattr(lab.subprocess, "Popen", Started)
    monkeypatch.setattr(lab, "lessons_folder", lambda: source)
    return Started.calls


def test_lab_opens_lesson_1_in_the_students_folder(started, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["lab"]) == 0
    ((command, environment),) = started
    folder = tmp_path / "xai-lessons-notebooks"
    assert held(folder) == FRESH
    assert command[:4] == [sys.executable, "-m", "jupyterlab", str(folder / "01_classification.ipynb")]
    assert f"--ServerApp.root_dir={folder}" in command
    assert "--no-browser" not in command
    assert environment["JUPYTER_CONFIG_PATH"].split(os.pathsep)[0] == str(lab.PACKAGE / "jupyter")


def test_lab_hands_its_options_on(started, tmp_path):
    folder = str(tmp_path / "class")
    assert cli.main(["lab", "--folder", folder, "--no-browser", "--port", "9999", "--", "--ip=0.0.0.0"]) == 0
    ((command, _),) = started
    assert {"--no-browser", "--port=9999", "--ip=0.0.0.0"} <= set(command)
    assert "--" not in command


def test_lab_here_copies_nothing(started, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["lab", "--here"]) == 0
    assert started[0][0][3] == str(source / "01_classification.ipynb")
    assert not (tmp_path / "xai-lessons-notebooks").exists()


def test_copy_only_starts_nothing(started, tmp_path, capsys):
    assert cli.main(["lab", "--copy-only", "--folder", str(tmp_path / "mine")]) == 0
    assert started == []
    assert f"the lessons are in {tmp_path / 'mine'}" in capsys.readouterr().out


def test_the_users_own_jupyter_settings_come_after_ours(monkeypatch):
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "theirs")
    assert lab.environment()["JUPYTER_CONFIG_PATH"] == os.pathsep.join([str(lab.PACKAGE / "jupyter"), "theirs"])


def test_our_settings_ask_nobody_for_news():
    settings = json.loads((lab.PACKAGE / "jupyter" / "labconfig" / "default_setting_overrides.json").read_text())
    config = json.loads((lab.PACKAGE / "jupyter" / "jupyter_lab_config.json").read_text())
    assert settings["@jupyterlab/apputils-extension:notification"] == {"checkForUpdates": False, "fetchNews": "false"}
    assert config["LabApp"]["news_url"] is None


def test_kernels_set_the_device(tmp_path):
    installed = kernels.install(prefix=str(tmp_path), devices=("cpu", "cuda"))
    assert list(installed) == ["XAI lessons (CPU)", "XAI lessons (GPU)"]
    for (title, folder), device in zip(installed.items(), ("cpu", "cuda"), strict=True):
        spec = json.loads((folder / "kernel.json").read_text())
        assert spec["display_name"] == title
        assert spec["env"] == {"XAI_LESSONS_DEVICE": device}
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


def stand_in(monkeypatch, name, **members):
    """Put a module of this name in the place of ours."""
    module = types.SimpleNamespace(**members)
    monkeypatch.setitem(sys.modules, f"xai_lessons.{name}", module)
    monkeypatch.setattr(xai_lessons, name, module, raising=False)


def test_train_hands_the_recipe_what_was_given(monkeypatch):
    calls = []
    stand_in(monkeypatch, "recipes", main=lambda name, **options: calls.append((name, options)) or True)
    assert cli.main(["train", "menagerie-resnet", "--evaluate"]) == 0
    assert cli.main(["train", "menagerie-vgg", "--epochs", "2", "--device", "cpu", "--out", "runs"]) == 0
    assert calls == [
        ("menagerie-resnet", {"evaluate": True}),
        ("menagerie-vgg", {"evaluate": False, "epochs": 2, "device": "cpu", "out": Path("runs")}),
    ]


def test_train_fails_where_a_bar_is_missed(monkeypatch):
    stand_in(monkeypatch, "recipes", main=lambda name, **options: False)
    assert cli.main(["train", "menagerie-resnet", "--evaluate"]) == 1


def test_prefetch_hands_the_names_on_and_says_where_they_are(monkeypatch, capsys):
    def prefetch(names):
        return {name: Path("cache") / f"{name}.pth" for name in names}

    stand_in(monkeypatch, "imagenet", prefetch=prefetch, NAMES=("resnet50",))
    assert cli.main(["prefetch", "resnet18", "vgg16"]) == 0
    assert cli.main(["prefetch"]) == 0
    said = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert said == ["resnet18", "vgg16", "resnet50"]


def test_a_mistake_is_one_sentence(monkeypatch, capsys):
    def refuse(name, **options):
        raise ValueError(f"no network is called {name!r}")

    stand_in(monkeypatch, "recipes", main=refuse)
    assert cli.main(["train", "menagery"]) == 2
    assert capsys.readouterr().err == "xai-lessons train: no network is called 'menagery'\n"


def test_ctrl_c_ends_quietly(monkeypatch, capsys):
    def interrupt(name, **options):
        raise KeyboardInterrupt

    stand_in(monkeypatch, "recipes", main=interrupt)
    assert cli.main(["train", "menagerie-resnet"]) == 130
    assert capsys.readouterr().err == "stopped\n"


@pytest.mark.parametrize("arguments", [[], ["draw"], ["train"], ["lab", "--port", "x"]])
def test_a_wrong_command_line_explains_itself(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert "usage: xai-lessons" in capsys.readouterr().err


def test_help_is_instant_because_it_imports_nothing():
    asked = "import sys; from xai_lessons import cli; cli.parser().format_help(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_python_dash_m_is_the_command():
    command = [sys.executable, "-m", "xai_lessons", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"xai-lessons {xai_lessons.__version__}\n"


def test_the_doctor_looks_at_everything_in_one_screen(capsys):
    cli.main(["doctor"])
    said = capsys.readouterr().out
    for subject in (
        "Python",
        "torch",
        "torchvision",
        "device",
        "ipykernel",
        "kernels",
        "widgets",
        "ImageNet",
        "disk",
        "memory",
    ):
        assert f"  {subject} " in said, subject
    assert said.count("\n") <= 40
    assert "Traceback" not in said


def test_the_doctor_says_what_to_do(monkeypatch, capsys):
    found = [
        doctor.Finding("torch", "not installed", "pip install torch", fatal=True),
        doctor.Finding("disk", "9 GB free"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda: iter(found))
    assert cli.main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "NO  torch" in said
    assert "-> pip install torch" in said
    assert "ok  disk" in said
    assert said.endswith("The lessons cannot run yet: see torch.\n")


def test_the_doctor_survives_a_look_that_fails(monkeypatch):
    def broken():
        raise RuntimeError("no such thing")

    monkeypatch.setattr(doctor, "LOOKS", (broken, doctor.disk))
    first, second = doctor.examine()
    assert (first.subject, first.found) == ("broken", "could not be read: no such thing")
    assert second.subject == "disk"


@pytest.mark.parametrize(
    ("look", "versions", "advice"),
    [
        (doctor.torch_found, {}, "pip install torch torchvision"),
        (doctor.torch_found, {"torch": "2.4.1+cpu"}, "too old"),
        (doctor.torchvision_found, {}, "pip install torchvision"),
        (doctor.kernel, {}, "ipykernel<7"),
        (doctor.kernel, {"ipykernel": "7.1.0"}, "disturb each other"),
        (doctor.widgets, {"jupyterlab": "4.6.6"}, "ipywidgets anywidget"),
    ],
)
def test_the_doctor_knows_what_is_missing(monkeypatch, look, versions, advice):
    monkeypatch.setattr(doctor, "_version", versions.get)
    assert advice in look().advice


def test_the_doctor_sees_a_torchvision_of_another_torch(monkeypatch):
    class Refuses:
        def find_spec(self, name, *_):
            if name == "torchvision":
                raise RuntimeError("operator torchvision::nms does not exist\nmore")

    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Refuses(), *sys.meta_path])
    finding = doctor.torchvision_found()
    assert finding.found.endswith("(operator torchvision::nms does not exist)")
    assert "from one index" in finding.advice


def test_the_doctor_sees_a_missing_front_end(monkeypatch):
    monkeypatch.setattr(doctor, "_front_end", {"anywidget": "0.11.0"}.get)
    finding = doctor.widgets()
    assert finding.fatal
    assert "--force-reinstall ipywidgets," in finding.advice


@pytest.mark.parametrize(
    ("wanted", "cuda", "fatal"), [("cuda", False, True), ("tpu", False, True), ("cpu", False, False)]
)
def test_the_doctor_checks_the_kernels_device(monkeypatch, wanted, cuda, fatal):
    import torch

    monkeypatch.setenv("XAI_LESSONS_DEVICE", wanted)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    finding = doctor.device()
    assert (finding.fatal and bool(finding.advice)) == fatal


def test_the_doctor_counts_downloaded_weights(monkeypatch, tmp_path):
    import torch

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert "prefetch" in doctor.cached_weights().advice
    (tmp_path / "checkpoints").mkdir()
    for number in range(8):
        (tmp_path / "checkpoints" / f"net{number}.pth").write_bytes(b"0" * 10)
    finding = doctor.cached_weights()
    assert finding.advice == ""
    assert finding.found.startswith("8 files")
    assert "and 2 more" in finding.found


def test_the_doctor_finds_the_networks_and_the_lessons(monkeypatch, tmp_path, source):
    monkeypatch.setattr(doctor, "PACKAGE", tmp_path)
    assert doctor.networks().fatal
    assert doctor.networks().advice
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "menagerie-resnet.safetensors").write_bytes(b"0")
    assert doctor.networks().found == "1 networks: menagerie-resnet"
    monkeypatch.setattr(lab, "lessons_folder", lambda: source)
    assert doctor.lessons().found == f"2 notebooks in {source}"
