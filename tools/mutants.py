"""``make mutants``: small seeded mistakes in the methods and the evaluation, and whether the tests notice each.

Each mutant is one change: an operator, a comparison, a number, a condition, a call left out, two arguments swapped. The
tests of a module are collected once; then, in a fork of that process for each mutant, the changed function gets its new
code and the tests run up to the first that fails: those that run the changed line first, the quick ones before the slow
ones, then all others. ``docs/mutants.md`` lists the survivors; a reason written there stays when it is made anew.
"""

from __future__ import annotations
import __future__

import argparse
import ast
import copy
import hashlib
import importlib
import inspect
import json
import multiprocessing
import os
import resource  # Linux and macOS
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tools.pins import ROOT

FOLDERS = ("methods", "evaluation")
PAGE = ROOT / "docs" / "mutants.md"
EVERYWHERE = ("tests/test_politeness.py", "tests/test_options.py")  # what holds for every method
TESTS = {  # where a module's tests are not called after it
    "catalog": ["test_catalog", "test_evaluation_compare", "test_explorers_judging"],
    "compare": ["test_evaluation_compare", "oracles/test_evaluation_oracles"],
    "parts": ["test_evaluation_parts"],
    "faithfulness": ["test_evaluation", "oracles/test_evaluation_oracles"],
    "inversion": ["test_inversion", "test_explorers_inversion", "oracles/test_inversion_oracles"],
    "guided": ["test_saliency", "test_operations", "oracles/test_saliency_oracles"],
    "localization": ["test_evaluation", "oracles/test_evaluation_oracles"],
    "perturbation": ["test_occlusion", "test_surrogates", "oracles/test_occlusion_oracles"],
    "randomization": ["test_evaluation_compare", "oracles/test_evaluation_oracles"],
    "sensitivity": ["test_evaluation", "oracles/test_evaluation_oracles"],
}
IMPORTED = ["coverage", "torch._dynamo", "torchvision", "captum.attr", "captum.metrics", "zennit.composites",
            "hypothesis", "pytest", "scipy.stats", "sklearn.linear_model", "skimage.segmentation",
            "xdist.scheduler"]  # fmt: skip
QUICK = ["-q", "--tb=line", "-W", "ignore::pytest.PytestAssertRewriteWarning"]  # for what is imported already
QUICK += [f"-pno:{plugin}" for plugin in ("cacheprovider", "nbval", "xdist", "pytest_cov")]  # seconds each
SWAPPED: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


class Mutant(NamedTuple):
    """One change: ``before`` at these bytes of the file becomes ``after``."""

    path: Path
    line: int
    start: int
    end: int
    before: str
    after: str

    def order(self, seed: int) -> str:
        """A random order in which a mutant keeps its place when other code changes."""
        text = f"{seed} {self.path.relative_to(ROOT)} {self.line_text} {self.before} {self.after}"
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def line_text(self) -> str:
        """The line that is changed."""
        return self.path.read_text(encoding="utf-8").splitlines()[self.line - 1].strip()

    def __str__(self) -> str:
        short = (" ".join(text.split())[:70] for text in (self.before, self.after))
        return f"{self.path.relative_to(ROOT)}:{self.line}: " + "  ->  ".join(f"`{text}`" for text in short)


def changed(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that may stand where this one does, each with one mistake."""
    if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in SWAPPED:
        yield _with(node, op=SWAPPED[type(node.op)]())
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield _with(node, ops=[SWAPPED[type(node.ops[0])]()])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        yield ast.Constant(not node.value if isinstance(node.value, bool) else node.value + 1)
    elif isinstance(node, ast.Call):
        same = ast.unparse(node.func) in ("min", "max")  # in any order
        if len(node.args) > 1 and not same and not any(isinstance(each, ast.Starred) for each in node.args[:2]):
            yield _with(node, args=[node.args[1], node.args[0], *node.args[2:]])
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Call | ast.BinOp | ast.Subscript):
            yield node.func.value  # x[0].relu() without relu


def nodes(tree: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """The places of mistakes and what may stand there: no annotation, decorator, message or import among them."""
    if isinstance(tree, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    if isinstance(tree, ast.Call) and ast.unparse(tree.func) in ("warnings.warn", "TypeVar", "cast"):
        return
    yield from ((tree, other) for other in changed(tree) if ast.dump(other) != ast.dump(tree))
    if isinstance(tree, ast.If | ast.While) and ast.unparse(tree.test) != "TYPE_CHECKING":
        yield tree.test, ast.UnaryOp(ast.Not(), tree.test)
    if isinstance(tree, ast.Expr) and isinstance(tree.value, ast.Call):
        yield tree.value, ast.Constant(None)
    for name, value in ast.iter_fields(tree):
        if name not in ("annotation", "returns", "decorator_list", "type_params"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from nodes(child)


def mutants(path: Path) -> list[Mutant]:
    """Every mutant of a module."""
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node, other in nodes(ast.parse(source)):
        start, end = (starts[getattr(node, f"{e}lineno") - 1] + getattr(node, f"{e}col_offset") for e in ("", "end_"))
        after = ast.unparse(ast.fix_missing_locations(other))
        before = source[start:end].decode()
        found.append(Mutant(path, node.lineno, start, end, before, after if after == "None" else f"({after})"))
    return found


def modules() -> list[Path]:
    """The files that are mutated."""
    return [path for folder in FOLDERS for path in sorted((ROOT / "xai_lessons" / folder).glob("[a-z]*.py"))]


def tests_of(path: Path) -> list[str]:
    """The test files of a module.

    Raises:
        ValueError: if no test file is called after the module, and `TESTS` names none.
    """
    names = TESTS.get(path.stem) or [f"test_{path.stem}", f"oracles/test_{path.stem}_oracles"]
    found = [name for each in names if (ROOT / (name := f"tests/{each}.py")).exists()]
    if not found:
        raise ValueError(f"there is no tests/test_{path.stem}.py: name the tests of {path.name} in TESTS")
    return found


def make(mutant: Mutant) -> None:
    """Put the mistake into the imported module: other modules hold the same functions, so these get new code."""
    source = mutant.path.read_bytes()
    module = importlib.import_module(".".join(mutant.path.relative_to(ROOT).with_suffix("").parts))
    number, old = next(
        (i, node)
        for i, node in enumerate(ast.parse(source).body)
        if node.lineno <= mutant.line <= (node.end_lineno or 0)
    )
    text = source[: mutant.start] + mutant.after.encode() + source[mutant.end :]
    node, *after = ast.parse(text).body[number:]
    made: dict[str, Any] = {}

    def run(node: ast.stmt) -> None:
        flags = __future__.annotations.compiler_flag
        code = compile(ast.Module([node], []), str(mutant.path), "exec", flags=flags, dont_inherit=True)
        exec(code, vars(module), made)

    run(node)
    if isinstance(old, ast.FunctionDef):
        _take_code(getattr(module, old.name), made[old.name])
    elif isinstance(old, ast.ClassDef) and any(
        isinstance(part, ast.FunctionDef) and part.lineno <= mutant.line <= (part.end_lineno or 0) for part in old.body
    ):
        kind = getattr(module, old.name)
        for name, value in vars(made[old.name]).items():
            if hasattr(value, "__code__"):
                _take_code(vars(kind)[name], value)
            elif isinstance(value, property):
                _take_code(vars(kind)[name].fget, value.fget)
    else:  # what is made of a constant is made anew, and tables keep their identity
        for each in after:
            if isinstance(each, ast.Assign | ast.AnnAssign):
                run(each)
        for name, value in made.items():
            if isinstance(value, dict) and isinstance(table := vars(module).get(name), dict):
                table.clear()
                table.update(value)
            else:
                setattr(module, name, value)


def _take_code(function: Any, other: Any) -> None:
    function, other = inspect.unwrap(function), inspect.unwrap(other)
    for ours, cell in zip(function.__closure__ or (), other.__closure__ or (), strict=True):
        if inspect.isfunction(cell.cell_contents):  # what a decorator holds
            ours.cell_contents = cell.cell_contents
    function.__code__ = other.__code__
    function.__defaults__, function.__kwdefaults__ = other.__defaults__, other.__kwdefaults__


class Trials:
    """A pytest plugin: the tests of a module, run once without a mistake and once for each mutant, each in a fork."""

    def __init__(self, path: Path, chosen: list[Mutant], limit: float, answers: Connection) -> None:
        """Prepare the trials of the module at ``path``; ``answers`` gets one text for each run."""
        self.path, self.chosen, self.limit, self.answers, self.failed = path, chosen, limit, answers, ""
        functions = [node.name for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.FunctionDef)]
        self.cases = tuple(f"[{name}" for name in functions if not name.startswith("_"))

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Of the tests for every method, leave only the cases that name a function of the module."""
        general = [item for item in items if f"tests/{item.path.name}" in EVERYWHERE]
        others = {item for item in general if not any(case in item.nodeid for case in self.cases)}
        items[:] = [item for item in items if item not in others]

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep what failed."""
        if report.failed:
            self.failed = f"{report.nodeid}: {getattr(report.longrepr, 'reprcrash', None) or report.longrepr}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """All trials."""
        text = self.forked(lambda: self.watched(session.items))
        self.answers.send(text if not text.startswith("[") else "")
        if text.startswith("["):
            seconds, lines = json.loads(text)
            for mutant in self.chosen:
                running = set(lines.get(str(mutant.line), ()))

                def order(item: Any, running: set[str] = running) -> tuple[bool, bool]:
                    return item.nodeid not in running, seconds.get(item.nodeid, 0) > 2

                self.answers.send(self.forked(lambda m=mutant, o=order: self.tried(m, sorted(session.items, key=o))))
        return True

    def tried(self, mutant: Mutant, items: list[Any]) -> str:
        """What notices the mutant, or "" if nothing does."""
        try:
            make(mutant)
        except (AttributeError, TypeError, ValueError, IndexError, KeyError) as error:
            return f"the import fails: {error!r}"
        return self.run(items)

    def watched(self, items: list[Any]) -> str:
        """Without a mistake: the seconds of each test, and the tests that run each line, as JSON; or what fails."""
        from coverage import Coverage

        seconds, coverage = {}, Coverage(None, config_file=False, include=[str(self.path)])
        coverage.start()

        def begin(item: Any) -> None:
            coverage.switch_context(item.nodeid)
            seconds[item.nodeid] = -time.process_time()

        def end(item: Any) -> None:
            seconds[item.nodeid] += time.process_time()

        if failed := self.run(items, begin, end):
            return failed
        coverage.stop()
        return json.dumps([seconds, coverage.get_data().contexts_by_lineno(str(self.path))])

    def run(self, items: list[Any], begin: Callable[[Any], None] = id, end: Callable[[Any], None] = id) -> str:
        """Run tests up to the first that fails."""
        for item, following in zip(items, [*items[1:], None], strict=True):
            begin(item)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            end(item)
            if self.failed:
                return " ".join(self.failed.split())
        return ""

    def forked(self, work: Callable[[], str]) -> str:
        """The answer of ``work`` in a fork of this process."""
        reading, writing = os.pipe()
        if not (child := os.fork()):
            resource.setrlimit(resource.RLIMIT_CPU, (int(self.limit), int(self.limit)))
            signal.alarm(int(20 * self.limit))  # a busy machine may be slow; one that waits for nothing never ends
            with os.fdopen(writing, "w") as pipe:
                try:
                    pipe.write(f"{work()}\n")
                except BaseException:  # it must not go on as if it were the parent
                    pipe.write(traceback.format_exc())
            os._exit(0)  # at once: threads that a test left behind would be waited for
        os.close(writing)
        with os.fdopen(reading) as pipe:
            text = pipe.read()
        os.waitpid(child, 0)
        return text.strip() if text else f"no answer in {self.limit:.0f} s of computing"


def examine(path: Path, chosen: list[Mutant], limit: float, answers: Connection) -> None:
    """In a process of its own: the trials of a module."""
    os.chdir(ROOT)
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)
    files = [*tests_of(path), *EVERYWHERE]
    pytest.main([*QUICK, *files], plugins=[Trials(path, chosen, limit, answers)])


def _with(node: ast.AST, **fields: object) -> ast.AST:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def page(options: argparse.Namespace, chosen: list[Mutant], count: int, survivors: list[Mutant]) -> str:
    """The survivors as a table; a reason that the old table gives for the same change is kept."""
    old = [line.split(" | ") for line in PAGE.read_text().splitlines()] if PAGE.exists() else []
    reasons = {(row[0].split(":")[0], row[1]): row[2].removesuffix(" |") for row in old if len(row) == 3}
    rows = []
    for mutant in survivors:
        where, change = str(mutant).replace("|", "\\|").split(": ", 1)
        reason = reasons.get((f"| {where.split(':')[0]}", change), "no test yet")
        rows.append(f"| {where} | {change} | {reason} |")
    return f"""# Are the tests of the methods sharp?

`make mutants` makes {len(chosen)} small mistakes (seed {options.seed}) of the {count} that it knows for
`{"`, `".join(FOLDERS)}`, one at a time, and runs the tests of the module.
**They notice {len(chosen) - len(survivors)} of {len(chosen)}.** The others:

| where | mistake | why it is not noticed |
|---|---|---|
{chr(10).join(rows)}
"""


def main() -> int:
    """Make them, try them, list the survivors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="of the chosen, only those of these modules")
    parser.add_argument("--count", type=int, default=100, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=float, default=240, help="seconds of computing for the tests of one mutant")
    parser.add_argument("--least", type=float, default=0.9, help="the part that must be noticed")
    parser.add_argument("--write", action="store_true", help=f"store the survivors in {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "XAI_LESSONS_DEVICE": "cpu", "MPLBACKEND": "agg"}
    multiprocessing.set_forkserver_preload(IMPORTED)
    every = sorted(
        (mutant for path in modules() for mutant in mutants(path)), key=lambda each: each.order(options.seed)
    )
    chosen = [each for each in every[: options.count] if not options.modules or each.path.stem in options.modules]
    print(f"{len(chosen)} of {len(every)} mutants, seed {options.seed}", flush=True)
    survivors, began = [], time.perf_counter()
    processes = multiprocessing.get_context("forkserver")

    def examined(path: Path) -> list[Mutant]:
        """The survivors of a module."""
        here, there = processes.Pipe(duplex=False)
        own = [mutant for mutant in chosen if mutant.path == path]
        processes.Process(target=examine, args=(path, own, options.limit, there)).start()
        there.close()
        if wrong := here.recv():
            raise RuntimeError(f"the tests of {path.name} fail without any mistake: {wrong}")
        found = []
        for mutant in own:
            noticed = here.recv()
            if noticed.startswith("Traceback"):
                raise RuntimeError(f"{mutant} could not be tried: {noticed}")
            print(f"{'killed  ' if noticed else 'SURVIVES'} {mutant}  {noticed[:110]}", flush=True)
            found += [] if noticed else [mutant]
        print(f"{path.stem}: {len(own) - len(found)} of {len(own)}, {time.perf_counter() - began:.0f} s", flush=True)
        return found

    with ThreadPoolExecutor(options.workers) as pool:
        for found in pool.map(examined, sorted({mutant.path for mutant in chosen})):
            survivors += found
    part = 1 - len(survivors) / len(chosen)
    print(f"\n{part:.0%} of {len(chosen)} mutants killed in {time.perf_counter() - began:.0f} s; survivors:")
    print("\n".join(map(str, survivors)) or "none")
    if options.write:
        PAGE.write_text(page(options, chosen, len(every), survivors))
    return int(part < options.least)


if __name__ == "__main__":
    sys.exit(main())
