"""The command ``xai-lessons``: lab | app | collect | doctor | prefetch | kernels | train.

Each sub-command is a function that returns the exit status. It imports what it needs, so that ``--help`` is instant.
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from xai_lessons import __version__


def lab(options: argparse.Namespace) -> int:
    """Copy the lessons to a folder of yours and open them in JupyterLab."""
    from xai_lessons.command import lab as lessons
    from xai_lessons.command import student

    if options.here and options.student:
        raise ValueError("--student makes copies and --here makes none: give one of the two")
    source = lessons.lessons_folder()
    folder = source if options.here else options.folder.expanduser().resolve()
    with tempfile.TemporaryDirectory() as copies:
        if options.student:
            student.write_copies(source, Path(copies))
            source = Path(copies)
        if not options.here:
            for line in lessons.copy_lessons(source, folder):
                print(line)
            print(f"the lessons are in {folder}")
        if options.copy_only:
            return 0
        lessons.trust(source, folder)
    extra = options.jupyter[1:] if options.jupyter[:1] == ["--"] else options.jupyter
    return lessons.serve(lessons.FIRST, folder, port=options.port, browser=not options.no_browser, extra=extra)


def app(options: argparse.Namespace) -> int:
    """Show one explorer, or one lesson, as a page of its own in the browser."""
    from xai_lessons.command import app as pages

    if options.name is None:
        files = ", ".join(f"{number} ({file})" for number, file in pages.lessons().items())
        print(f"explorers: {', '.join(pages.explorers())}\nlessons: {files}")
        return 0
    return pages.show(options.name, options.port, not options.no_browser)


def collect(options: argparse.Namespace) -> int:
    """Print the answers that students handed in as a table (CSV)."""
    from xai_lessons.lessons import submission

    rows = submission.collect(options.folder)
    if not rows:
        print(f"there is no answers-NAME.json in {options.folder}", file=sys.stderr)
        return 1
    table = csv.DictWriter(sys.stdout, fieldnames=submission.COLUMNS)
    table.writeheader()
    table.writerows(rows)
    return 0


def doctor(options: argparse.Namespace) -> int:
    """Report on one screen what is installed, and what to do about what is missing."""
    from xai_lessons.command.doctor import examine

    if options.network is not None:
        return network_doctor(options)
    print(f"xai-lessons {__version__}")
    missing = []
    for finding in examine():
        print(finding, flush=True)
        missing += [finding.subject] if finding.advice and finding.fatal else []
    print(f"The lessons cannot run yet: see {', '.join(missing)}." if missing else "The lessons can run.")
    return 1 if missing else 0


def network_doctor(options: argparse.Namespace) -> int:
    """Describe a network of yours, and say which methods can explain it."""
    from xai_lessons import models
    from xai_lessons.command.network_doctor import diagnose, load_network

    findings, model = diagnose(load_network(options.network), options.input_size)
    for finding in findings:
        print(finding)
    if model is None:
        print("models.wrap refuses it as it is.")
        return 1
    if isinstance(model, models.Detector):
        call = f"models.wrap_detector(network, classes, input_size={model.input_size})"
        print(f"{call} accepts it; give the names of its classes, the background first.")
        return 0
    print(f"models.wrap(network, input_size={model.input_size}) accepts it; add mean, std and classes of its training.")
    return 0


def prefetch(options: argparse.Namespace) -> int:
    """Download ImageNet networks, or CIFAR-10, before class."""
    from xai_lessons.data import datasets
    from xai_lessons.models import imagenet

    names = options.names or imagenet.NAMES
    if "cifar10" in names:
        datasets.cifar10()
        print(f"cifar10: {datasets.cifar10_folder()}")
    for name, file in imagenet.prefetch([name for name in names if name != "cifar10"]).items():
        print(f"{name}: {file}")
    return 0


def kernels(options: argparse.Namespace) -> int:
    """Install the course's kernels for JupyterLab."""
    from xai_lessons.command.kernels import install

    installed = install(prefix=sys.prefix if options.sys_prefix else None)
    for title, folder in installed.items():
        print(f"{title}: {folder}")
    if len(installed) == 1:
        print("torch finds no CUDA device, so there is no GPU kernel")
    return 0


def train(options: argparse.Namespace) -> int:
    """Train a built-in network again, or evaluate the installed one."""
    from xai_lessons.training import recipes

    chosen = ("epochs", "device", "out", "source")
    given = {name: getattr(options, name) for name in chosen if getattr(options, name) is not None}
    return 0 if recipes.main(options.name, evaluate=options.evaluate, **given) else 1


def parser() -> argparse.ArgumentParser:
    """The parser of the command line.

    Example:
        >>> parser().parse_args(["train", "menagerie-vgg", "--epochs", "2"]).epochs
        2
    """
    top = argparse.ArgumentParser(prog="xai-lessons", description="Open up an image classifier, in eight lessons.")
    top.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(run: Callable[[argparse.Namespace], int], summary: str) -> argparse.ArgumentParser:
        one = commands.add_parser(run.__name__, help=summary, description=run.__doc__)
        one.set_defaults(run=run)
        return one

    one = command(lab, "copy the lessons to a folder of yours and open them in JupyterLab")
    one.add_argument("--folder", type=Path, default=Path("xai-lessons-notebooks"), help="default: ./%(default)s")
    one.add_argument("--here", action="store_true", help="open the lessons without copying them")
    one.add_argument("--student", action="store_true", help="copies without solutions, with a last cell to hand in")
    one.add_argument("--copy-only", action="store_true", help="copy only, without starting JupyterLab")
    one.add_argument("--no-browser", action="store_true", help="only print the address")
    one.add_argument("--port", type=int, help="the port of JupyterLab (default: the first free one from 8888)")
    one.add_argument("jupyter", nargs=argparse.REMAINDER, help="after --: further options for jupyter lab")

    one = command(app, "show one explorer, or one lesson, as a page of its own (with Voila)")
    one.add_argument("name", nargs="?", metavar="NAME", help="such as cam, or the number of a lesson (default: list)")
    one.add_argument("--no-browser", action="store_true", help="only print the address")
    one.add_argument("--port", type=int, help="the port of the page (default: the first free one from 8866)")

    one = command(collect, "make a table of the answers that students handed in")
    one.add_argument("folder", type=Path, metavar="FOLDER", help="the folder of the files answers-NAME.json")

    one = command(doctor, "check this installation, or a network of yours, and say what to do")
    one.add_argument("--network", metavar="FILE.PY:NAME", help="examine this network (the file is run)")
    one.add_argument("--input-size", type=int, metavar="PIXELS", help="height and width of the network's images")

    one = command(prefetch, "download ImageNet networks, or CIFAR-10, before class")
    one.add_argument(
        "names", nargs="*", metavar="NAME", help="such as resnet18, or cifar10 (default: all networks of the lessons)"
    )

    one = command(kernels, "install the CPU and the GPU kernel")
    one.add_argument(
        "--sys-prefix", action="store_true", help="into this environment instead of your own list of kernels"
    )

    one = command(train, "train a built-in network again, or evaluate it")
    one.add_argument("name", metavar="NAME", help="such as menagerie-resnet")
    one.add_argument("--evaluate", action="store_true", help="only print the accuracy of the present weights")
    one.add_argument("--epochs", type=int, help="default: the recipe's number")
    one.add_argument("--device", choices=("cpu", "cuda"), help="default: CUDA if available")
    one.add_argument("--out", type=Path, help="the folder for checkpoints and the result (default: ./trained)")
    one.add_argument("--source", type=Path, metavar="FOLDER", help="of CIFAR-10 (default: found or downloaded)")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command; an expected error prints one sentence to stderr and gives exit status 2."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except (OSError, ValueError, TypeError, ImportError) as error:
        print(f"xai-lessons {options.command}: {_sentence(error)}", file=sys.stderr)
        return 2


def _sentence(error: Exception) -> str:
    """The error's own sentence; of a file that may not be written, also what to do."""
    if isinstance(error, PermissionError):
        return f"no permission to write {error.filename}: choose a folder of your own, or ask who owns it"
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
