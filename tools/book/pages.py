"""The pages of the web book: the lessons with their players, docs/, the methods, and the reference from docstrings."""

from __future__ import annotations

import html
import importlib
import inspect
import json
import os
import re
import shutil
from collections.abc import Mapping
from importlib.metadata import files
from pathlib import Path
from typing import Any

import nbformat
import numpy as np

from tools import pins
from tools.book import repository
from tools.book.frames import PICTURES, explorer_cells
from xai_lessons.methods import catalog

SOURCES = ("docs/*.md", "TEACHING.md", "docs/img/*")
API = {
    "Methods": "cam saliency occlusion fgsm inversion detection paths catalog",
    "Models": "models anatomy architectures imagenet store",
    "Images": "menagerie photos datasets interventions",
    "Judging explanations": "evaluation",
    "Training": "training histories",
    "Plots": "plots",
    "Explorers": "explorers",
    "Lessons": "quiz lessons.exercise lessons.submission lessons.trust lessons.detective results",
}
HELP = ("troubleshooting", "TEACHING")  # they stand in a part of their own
LIVE = "{binder}?urlpath=lab/tree/notebooks/{name}"
LINK = re.compile(r"(\]\()((?!\w+:|#)[^)\s]+)(\))")


def binder() -> str:
    """The address of the course on Binder."""
    return repository().replace("https://github.com/", "https://mybinder.org/v2/gh/") + "/HEAD"


def sources() -> list[Path]:
    """The files of the repository that are pages or pictures of the book, beside the notebooks."""
    return [path for pattern in SOURCES for path in sorted(pins.ROOT.glob(pattern))]


def link_outwards(text: str, page: Path) -> str:
    """Relative links to files that the book does not hold lead to the repository."""
    held = {*sources(), *(pins.ROOT / "notebooks").glob("*.ipynb")}

    def outwards(found: re.Match[str]) -> str:
        before, target, after = found.groups()
        path = Path(os.path.normpath(page.parent / target.split("#")[0]))
        if path in held or not path.exists():
            return found[0]
        return f"{before}{repository()}/blob/HEAD/{path.relative_to(pins.ROOT).as_posix()}{after}"

    return LINK.sub(outwards, text)


def lesson(path: Path, players: Mapping[str, Any]) -> Any:
    """A notebook for the book: players for explorers, what Lab folds is folded, nothing invites to run a cell."""
    book = nbformat.read(path, as_version=4)
    shown = {cell.id for cell in explorer_cells(book)}
    live = html.escape(LIVE.format(binder=binder(), name=path.name))
    for cell in book.cells:
        if cell.cell_type == "markdown":
            cell.source = link_outwards(cell.source, path)
            continue
        if cell.cell_type != "code":
            continue
        lab, tags = cell.metadata.get("jupyter", {}), set(cell.metadata.get("tags", []))
        texts = [output.get("data", {}).get("text/html", "") for output in cell.outputs]
        if any("<i>Run this cell to " in text for text in texts):
            tags.add("remove-input")  # a quiz or a vote: its text is all there is to see
        elif lab.get("source_hidden"):
            tags.add("hide-input")
        if lab.get("outputs_hidden"):
            tags.add("hide-output")
        cell.metadata["tags"] = sorted(tags)
        for output in cell.outputs:
            data = output.get("data", {})
            if cell.id in shown and PICTURES & data.keys():
                output["data"] = {"text/html": markup(cell.id, players[cell.id], "../_static/frames")}
            elif "text/html" in data:
                invitation = f'<i>The <a href="{live}">live lesson</a> lets you \\1.</i>'
                data["text/html"] = re.sub(
                    r"<i>Run this cell to (.*?)\.</i>", invitation, data["text/html"], flags=re.S
                )
            elif PICTURES & data.keys():
                cell.metadata["mystnb"] = {"image": {"alt": data.get("text/plain", "figure")}}
    return book


def markup(name: str, player: dict[str, Any], where: str) -> str:
    """The HTML of a player: the first frame for readers without JavaScript, and all frames as data for `player.js`.

    Args:
        name: its id on the page.
        player: what `record` returns.
        where: the address of the folder of images, seen from the page.
    """
    shape = [len(control["positions"]) for control in player["controls"]]
    first = int(np.ravel_multi_index([control["start"] for control in player["controls"]], shape))
    shown = player["frames"][first]
    stills = "".join(
        f'<div class="xp-panel"><img src="{where}/{panel["src"]}" alt="{html.escape(panel["alt"])}"></div>'
        for panel in shown["panels"]
    )
    data = json.dumps({**player, "where": where}, ensure_ascii=False).replace("<", "\\u003c")
    return (
        f'<div class="xai-player" id="{name}" role="group" aria-label="{html.escape(player["title"])}">'
        f'<p class="xp-head"><span class="xp-title">{html.escape(player["title"])}</span> '
        f'<span class="xp-question">{html.escape(player["question"])}</span></p>'
        f'<p class="xp-sentence" role="status">{html.escape(shown["sentence"])}</p>'
        f'<div class="xp-controls"></div><div class="xp-stage">{stills}</div><div class="xp-stage xp-below"></div>'
        '<p class="xp-note">Recorded: the controls choose among frames that this explorer computed beforehand. '
        "In the live lesson all of its controls move, and some pictures answer a click.</p>"
        f'<script type="application/json">{data}</script></div>'
    )


def methods() -> str:
    """The page of all methods, from the catalog."""
    rows = [["method", "call", "returns", "needs", "signed", "what a value means"], ["---"] * 6]
    for m in catalog.METHODS.values():
        call = f"[`{m.code}`](api/{m.family}.md)"
        rows.append([m.label, call, m.returns, m.needs, "yes" if m.signed else "", m.meaning])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    attributes = inspect.getdoc(catalog.Method).split("Attributes:")[1]
    meanings = {
        name: " ".join(text.split())
        for name, text in re.findall(r"^ +(\w+): (.+?)(?=^ +\w+: |\Z)", attributes, re.M | re.S)
    }
    told = "\n".join(f"- *{name}*: {meanings[name]}" for name in ("returns", "needs", "signed"))
    return (
        "# All methods\n\nCalled as `method(model, images, targets, **options)`; made from `xai_lessons.catalog`.\n\n"
        f"{told}\n\n{table}\n"
    )


def reference() -> dict[str, str]:
    """The pages of the reference, name -> text; a function that several modules offer stands in the first."""
    pages, documented, index = {}, set(), ["# Reference", "From the docstrings."]
    for heading, names in API.items():
        index += [f"```{{toctree}}\n:caption: {heading}\n:maxdepth: 1\n" + "\n".join(names.split()) + "\n```"]
        for name in names.split():
            module = importlib.import_module("xai_lessons")
            for part in name.split("."):
                module = getattr(module, part)
            entries = []
            for each in sorted(getattr(module, "__all__", None) or vars(module)):
                thing = getattr(module, each)
                home = getattr(thing, "__module__", None) or ""
                ours = home.startswith(module.__name__) or each in getattr(module, "__all__", ())
                kind = "class" if inspect.isclass(thing) else "function" if inspect.isfunction(thing) else ""
                if each.startswith("_") or not kind or not ours or id(thing) in documented:
                    continue
                documented.add(id(thing))
                members = "\n   :members:" * (kind == "class" and name != "explorers")
                entries.append(f".. auto{kind}:: {module.__name__}.{each}{members}")
            text = inspect.getdoc(module) or ""
            body = "\n\n".join([text, *entries])
            pages[name] = (
                f"# {name.split('.')[-1]}\n\n```{{eval-rst}}\n.. currentmodule:: {module.__name__}\n\n{body}\n```\n"
            )
    pages["index"] = "\n\n".join(index) + "\n"
    return pages


def front(players: Mapping[str, Any]) -> str:
    """The first page, with a card for each lesson."""
    cards = []
    for path in sorted((pins.ROOT / "notebooks").glob("*.ipynb")):
        book = nbformat.read(path, as_version=4)
        title = book.cells[0].source.splitlines()[0].removeprefix("# ")
        head, _, question = title.partition(": ")
        panel = players[explorer_cells(book)[0].id]["frames"][0]["panels"][0]
        cards.append(
            f'<a href="notebooks/{path.stem}.html"><img src="_static/frames/{panel["src"]}" alt="">'
            f"<strong>{html.escape(head)}</strong><span>{html.escape(question[:1].upper() + question[1:])}</span></a>"
        )
    text = (Path(__file__).resolve().parents[2] / "docs/book/index.md").read_text(encoding="utf-8")
    lessons = f'<nav class="xai-lessons" aria-label="Lessons">{"".join(cards)}</nav>'
    measured = "\n".join(f"docs/{path.stem}" for path in sources() if path.suffix == ".md" and path.stem not in HELP)
    return text.format(
        measured=measured, binder=f"{binder()}?urlpath=lab/tree/notebooks", repository=repository(), lessons=lessons
    )


def mathjax(folder: Path) -> None:
    """Copy what formulas need of MathJax, as the installed distribution brings it."""
    for file in files("sphinx-mathjax-offline") or ():
        _, _, name = file.as_posix().partition("/static/mathjax/")
        if name == "tex-mml-chtml.js" or name.startswith("output/chtml/fonts/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), folder / name)


def assemble(players: Mapping[str, Any], images: Path, folder: Path) -> None:
    """Write all pages into `folder/source`, and what they show into `folder/static`."""
    shutil.rmtree(folder, ignore_errors=True)
    source, static = folder / "source", folder / "static"
    texts = {"index.md": front(players), "methods.md": methods()}
    texts |= {f"api/{name}.md": text for name, text in reference().items()}
    for path in sorted((pins.ROOT / "notebooks").glob("*.ipynb")):
        texts[f"notebooks/{path.name}"] = nbformat.writes(lesson(path, players))
    for path in sources():
        name = path.relative_to(pins.ROOT).as_posix()
        if path.suffix == ".md":
            texts[name] = link_outwards(path.read_text(encoding="utf-8"), path)
        else:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, source / name)
    for name, text in texts.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text, encoding="utf-8")
    (static / "frames").mkdir(parents=True)
    for name in {panel["src"] for one in players.values() for frame in one["frames"] for panel in frame["panels"]}:
        shutil.copy(images / name, static / "frames" / name)
    mathjax(static / "mathjax")
