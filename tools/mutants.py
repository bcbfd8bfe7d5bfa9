"""``make mutants``: small seeded mistakes in the methods and the evaluation, and whether the tests notice each.

Each mutant is one change (an operator, a comparison, a number, a condition, a call left out, two arguments swapped) in
a copy of the package; the tests of its module run on the copy, in a process that has the libraries imported already.
Ends with the survivors, one line each.
"""

from __future__ import annotations

import argparse
import ast
import copy
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
from typing import NamedTuple

from tools.pins import ROOT

FOLDERS = ("methods", "evaluation")
LINKED = ("weights", "__pycache__")  # large or worthless: not copied
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
IMPORTED = ["torch", "torchvision", "captum.attr", "captum.metrics", "zennit.composites", "hypothesis", "pytest",
            "scipy.stats", "sklearn.linear_model", "skimage.segmentation", "xdist.scheduler"]  # fmt: skip
EARLIER = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # pytest wants to rewrite what is imported already
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


def tests_of(path: Path) -> list[list[str]]:
    """What pytest is given for a module: its own tests, then, for a method, what holds for every method.

    Raises:
        ValueError: if no test file is called after the module, and `TESTS` names none.
    """
    names = TESTS.get(path.stem) or [f"test_{path.stem}", f"oracles/test_{path.stem}_oracles"]
    own = [name for each in names if (ROOT / (name := f"tests/{each}.py")).exists()]
    if not own:
        raise ValueError(f"there is no tests/test_{path.stem}.py: name the tests of {path.name} in TESTS")
    functions = [node.name for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.FunctionDef)]
    those = " or ".join(f"[{name}" for name in functions if not name.startswith("_"))
    return [own, [*EVERYWHERE, "-k", those]] if path.parent.name == "methods" and those else [own]


def survives(mutant: Mutant | None, path: Path, limit: float) -> str:
    """Run the tests of ``path`` on a copy with the mutant: "" if all pass, else what noticed it."""
    with tempfile.TemporaryDirectory(prefix="mutant") as folder:
        home = Path(folder)
        for name in ("xai_lessons", "tests"):
            shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns(*LINKED))
        for found in (*ROOT.iterdir(), *(ROOT / "xai_lessons").rglob("weights")):
            link = home / found.relative_to(ROOT)
            if not link.exists() and found.name not in (".venv", ".git", "build"):
                link.symlink_to(found)
        if mutant:
            source = mutant.path.read_bytes()
            mutated = source[: mutant.start] + mutant.after.encode() + source[mutant.end :]
            (home / mutant.path.relative_to(ROOT)).write_bytes(mutated)
        for part in tests_of(path):
            process = multiprocessing.get_context("forkserver").Process(target=run_tests, args=(home, part, limit))
            process.start()
            process.join(20 * limit)  # a busy machine may be slow; one that waits for nothing never ends
            if process.exitcode is None:
                process.kill()
                process.join()
            if process.exitcode is None or process.exitcode < 0:
                return f"no answer in {limit:.0f} s of computing"
            if process.exitcode not in (0, 5):  # 5: none of the tests for every method is for this module
                said = (home / "said").read_text(encoding="utf-8", errors="replace").splitlines()
                lines = [line for line in said if line.startswith(("FAILED", "ERROR", "E   "))]
                return (lines or said[-1:] or ["pytest could not start"])[0][:110]
    return ""


def run_tests(home: Path, part: list[str], limit: float) -> None:
    """In a process of its own: pytest, with the package in ``home``."""
    import resource  # Linux and macOS

    resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit)))
    os.chdir(home)
    with open("said", "w") as said:
        for stream in (1, 2):
            os.dup2(said.fileno(), stream)
    sys.path[:] = [str(home), *(folder for folder in sys.path if folder not in ("", str(ROOT)))]
    import pytest

    code = pytest.main(["-q", "-x", "--tb=no", "-p", "no:cacheprovider", *EARLIER, *part])
    os._exit(int(code))  # at once: threads that a test left behind would be waited for


def _with(node: ast.AST, **fields: object) -> ast.AST:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def main() -> int:
    """Make them, try them, list the survivors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="only these modules, as cam or compare")
    parser.add_argument("--count", type=int, default=100, help="how many mutants")
    parser.add_argument("--first", type=int, default=0, help="how many of them to leave out: they ran before")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=float, default=120, help="seconds of computing for the tests of one mutant")
    parser.add_argument("--least", type=float, default=0.9, help="the part that must be noticed")
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "XAI_LESSONS_DEVICE": "cpu", "MPLBACKEND": "agg"}
    multiprocessing.set_forkserver_preload(IMPORTED)
    paths = [path for path in modules() if not options.modules or path.stem in options.modules]
    every = [mutant for path in paths for mutant in mutants(path)]
    chosen = random.Random(options.seed).sample(every, min(options.count, len(every)))[options.first :]
    print(f"{len(chosen)} of {len(every)} mutants of {len(paths)} modules, seed {options.seed}", flush=True)
    survivors, began = [], time.perf_counter()
    with ThreadPoolExecutor(options.workers) as pool:
        touched = sorted({each.path for each in chosen})
        for path, noticed in zip(
            touched, pool.map(lambda path: survives(None, path, options.limit), touched), strict=True
        ):
            print(f"{path.stem}: {time.perf_counter() - began:.0f} s", flush=True)
            if noticed:
                sys.exit(f"the tests of {path.name} fail without any mistake: {noticed}")
        results = pool.map(lambda each: survives(each, each.path, options.limit), chosen)
        for mutant, noticed in zip(chosen, results, strict=True):
            print(f"{'killed  ' if noticed else 'SURVIVES'} {mutant}  {noticed}", flush=True)
            survivors += [] if noticed else [mutant]
    part = 1 - len(survivors) / len(chosen)
    print(f"\n{part:.0%} of {len(chosen)} mutants killed in {time.perf_counter() - began:.0f} s; survivors:")
    print("\n".join(map(str, survivors)) or "none")
    return int(part < options.least)


if __name__ == "__main__":
    sys.exit(main())
