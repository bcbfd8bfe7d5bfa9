"""``make mutants``: small seeded mistakes in the methods and the evaluation, and whether the tests notice each.

Each mutant is one change (an operator, a comparison, a number, a condition, a call left out, two arguments swapped) in
a copy of the package; the tests of its module run on the copy, in a process that has the libraries imported already:
first those that run the changed line, the quick ones before the slow ones, then the others, up to the first that fails.
``docs/mutants.md`` lists the survivors; a reason written there stays when the list is made anew.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tools.pins import ROOT

FOLDERS = ("methods", "evaluation")
PAGE = ROOT / "docs" / "mutants.md"
LINKED = ("weights",)  # large: not copied
EVERYWHERE = ("tests/test_politeness.py", "tests/test_options.py")  # what holds for every method
TESTS = {  # where a module's tests are not called after it
    "catalog": ["test_politeness", "test_evaluation_compare", "test_explorers_judging"],
    "compare": ["test_evaluation_compare"],
    "parts": ["test_evaluation_parts"],
    "faithfulness": ["test_evaluation", "oracles/test_evaluation_oracles"],
    "guided": ["test_saliency", "test_operations", "oracles/test_saliency_oracles"],
    "localization": ["test_evaluation", "oracles/test_evaluation_oracles"],
    "perturbation": ["test_occlusion", "test_surrogates", "oracles/test_occlusion_oracles"],
    "randomization": ["test_evaluation", "oracles/test_evaluation_oracles"],
    "sensitivity": ["test_evaluation", "oracles/test_evaluation_oracles"],
}
IMPORTED = ["coverage", "torch._dynamo", "torchvision", "captum.attr", "captum.metrics", "zennit.composites",
            "hypothesis", "pytest", "scipy.stats", "sklearn.linear_model", "skimage.segmentation",
            "xdist.scheduler"]  # fmt: skip
QUICK = ["-q", "-x", "--tb=no", "-W", "ignore::pytest.PytestAssertRewriteWarning"]  # for what is imported already
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
        if len(node.args) > 1 and not any(isinstance(each, ast.Starred) for each in node.args[:2]):
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


class Tests:
    """A pytest plugin: the tests of a module and, of those for every method, the cases of its functions."""

    def __init__(self, path: Path) -> None:
        """Find the functions of the module."""
        functions = [node.name for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.FunctionDef)]
        self.cases = tuple(f"[{name}" for name in functions if not name.startswith("_"))

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Leave out the other cases; then what the subclass says."""
        general = [item for item in items if f"tests/{item.path.name}" in EVERYWHERE]
        others = {item for item in general if not any(case in item.nodeid for case in self.cases)}
        items[:] = self.order([item for item in items if item not in others])

    def order(self, items: list[Any]) -> list[Any]:
        """The tests as they are run."""
        return items


class Watched(Tests):
    """Without a mistake: which tests run each line, and the seconds of each test."""

    def __init__(self, path: Path) -> None:
        """Watch the module at ``path``."""
        super().__init__(path)
        from coverage import Coverage

        self.path, self.seconds, self.coverage = path, dict[str, float](), Coverage(data_file=None, include=[str(path)])
        self.coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        """Time one test."""
        self.coverage.switch_context(item.nodeid)
        began = time.process_time()
        result = yield
        self.seconds[item.nodeid] = time.process_time() - began
        return result

    def pytest_sessionfinish(self) -> None:
        """Store both."""
        self.coverage.stop()
        lines = self.coverage.get_data().contexts_by_lineno(str(self.path))
        Path("watched.json").write_text(json.dumps({"seconds": self.seconds, "lines": lines}))


class Sorted(Tests):
    """With a mistake: the tests that run its line first, and the quick ones of them first."""

    def __init__(self, mutant: Mutant, watched: dict[str, Any]) -> None:
        """Take the order from what was watched."""
        super().__init__(mutant.path)
        self.running, self.seconds = set(watched["lines"].get(str(mutant.line), [])), watched["seconds"]

    def order(self, items: list[Any]) -> list[Any]:
        """The tests as they are run."""
        return sorted(items, key=lambda item: (item.nodeid not in self.running, self.seconds.get(item.nodeid, 0) > 2))


def tried(mutant: Mutant | None, path: Path, limit: float, watched: dict[str, Any]) -> str:
    """Run the tests of ``path`` on a copy with the mutant: "" if all pass, else what noticed it.

    Without a mutant, ``watched`` is filled.
    """
    with tempfile.TemporaryDirectory(prefix="mutant") as folder:
        home = Path(folder)
        for name in ("xai_lessons", "tests"):
            shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns(*LINKED))
        for found in (*ROOT.iterdir(), *(ROOT / "xai_lessons").rglob("weights")):
            link = home / found.relative_to(ROOT)
            if not link.exists() and found.name not in (".venv", ".git", "build"):
                link.symlink_to(found)
        if mutant:
            source = path.read_bytes()
            mutated = source[: mutant.start] + mutant.after.encode() + source[mutant.end :]
            (home / path.relative_to(ROOT)).write_bytes(mutated)
        process = multiprocessing.get_context("forkserver").Process(
            target=run_tests, args=(home, mutant, path, limit, watched)
        )
        process.start()
        process.join(20 * limit)  # a busy machine may be slow; one that waits for nothing never ends
        if process.exitcode is None:
            process.kill()
            process.join()
        if process.exitcode is None or process.exitcode < 0:
            return f"no answer in {limit:.0f} s of computing"
        if process.exitcode != 0:
            said = (home / "said").read_text(encoding="utf-8", errors="replace").splitlines()
            lines = [line for line in said if line.startswith(("FAILED", "ERROR", "E   "))]
            return (lines or said[-1:] or ["pytest could not start"])[0][:110]
        if not mutant:
            watched.update(json.loads((home / "watched.json").read_text()))
    return ""


def run_tests(home: Path, mutant: Mutant | None, path: Path, limit: float, watched: dict[str, Any]) -> None:
    """In a process of its own: pytest, with the package in ``home``."""
    import resource  # Linux and macOS

    resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit)))
    os.chdir(home)
    with open("said", "w") as said:
        for stream in (1, 2):
            os.dup2(said.fileno(), stream)
    sys.path[:] = [str(home), *(folder for folder in sys.path if folder not in ("", str(ROOT)))]
    plugin = Sorted(mutant, watched) if mutant else Watched(home / path.relative_to(ROOT))
    files = [*tests_of(path), *(EVERYWHERE if path.parent.name == "methods" else ())]
    code = pytest.main([*QUICK, *files], plugins=[plugin])
    os._exit(int(code))  # at once: threads that a test left behind would be waited for


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
    parser.add_argument("modules", nargs="*", help="only these modules, as cam or compare")
    parser.add_argument("--count", type=int, default=100, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=float, default=240, help="seconds of computing for the tests of one mutant")
    parser.add_argument("--least", type=float, default=0.9, help="the part that must be noticed")
    parser.add_argument("--write", action="store_true", help=f"store the survivors in {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "XAI_LESSONS_DEVICE": "cpu", "MPLBACKEND": "agg"}
    multiprocessing.set_forkserver_preload(IMPORTED)
    paths = [path for path in modules() if not options.modules or path.stem in options.modules]
    every = [mutant for path in paths for mutant in mutants(path)]
    chosen = random.Random(options.seed).sample(every, min(options.count, len(every)))
    print(f"{len(chosen)} of {len(every)} mutants of {len(paths)} modules, seed {options.seed}", flush=True)
    survivors, began = [], time.perf_counter()
    watched: dict[Path, dict[str, Any]] = {mutant.path: {} for mutant in chosen}
    with ThreadPoolExecutor(options.workers) as pool:
        unchanged = pool.map(lambda path: tried(None, path, options.limit, watched[path]), watched)
        for path, noticed in zip(watched, unchanged, strict=True):
            if noticed:
                sys.exit(f"the tests of {path.name} fail without any mistake: {noticed}")
            computed = sum(watched[path]["seconds"].values())
            print(f"{path.stem}: {computed:.0f} s of computing, {time.perf_counter() - began:.0f} s", flush=True)
        results = pool.map(lambda each: tried(each, each.path, options.limit, watched[each.path]), chosen)
        for mutant, noticed in zip(chosen, results, strict=True):
            print(f"{'killed  ' if noticed else 'SURVIVES'} {mutant}  {noticed}", flush=True)
            survivors += [] if noticed else [mutant]
    part = 1 - len(survivors) / len(chosen)
    print(f"\n{part:.0%} of {len(chosen)} mutants killed in {time.perf_counter() - began:.0f} s; survivors:")
    print("\n".join(map(str, survivors)) or "none")
    if options.write:
        PAGE.write_text(page(options, chosen, len(every), survivors))
    return int(part < options.least)


if __name__ == "__main__":
    sys.exit(main())
