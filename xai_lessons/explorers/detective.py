"""The detective game: four suspects, ten points, and an accusation that is judged; then the repair of the accused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from xai_lessons import models, plots
from xai_lessons.explorers.kit import Cache, Explorer, Reporter, with_imports
from xai_lessons.explorers.kit.controls import PANELS, Button, Choice, Control, Slider, group
from xai_lessons.explorers.kit.panels import Panel, chart_panel
from xai_lessons.lessons import detective
from xai_lessons.lessons.detective import ACCUSE, CUES, Move, Repair, Suspect, Verdict
from xai_lessons.methods import catalog

METHODS = {
    method.label: method
    for method in map(catalog.get, ("grad_cam", "guided_backprop", "integrated_gradients", "occlusion"))
}
NAMES = tuple(f"suspect {n}" for n in (1, 2, 3, 4))
TILE = 252
ORDERS = 24  # of four suspects


@dataclass(frozen=True)
class DetectiveState:
    """A drawing, a suspect, what to do next, and all moves so far."""

    cue: str = "tree"  # of the drawing
    suspect: str = NAMES[0]
    act: str = detective.acts("tree")[detective.OBJECT]  # in words
    method: str = "Grad-CAM"  # one of `METHODS`
    opacity: float = 0.7  # of the maps over the drawing
    seed: int = 0  # of the drawing
    order: int = 0  # the seed of the line-up
    moves: tuple[Move, ...] = ()  # interventions that were paid for, and accusations
    # pictures, epochs: of the repair
    pictures: int = 400
    epochs: int = 3


@dataclass(frozen=True)
class DetectiveResult:
    """The maps of all suspects, what was found out, and the repair."""

    image: np.ndarray  # as the networks take it (3, S, S)
    shown: np.ndarray  # the same, drawn for the screen
    maps: np.ndarray  # of the drawing's class, by each suspect (M, S, S), at least 0
    said: tuple[str, ...]  # what each suspect says of the drawing; "" while it is hidden
    effects: tuple[tuple[float, float], ...]  # logits before and after each intervention
    standing: detective.Standing
    verdict: Verdict | None = None  # on the last accusation
    # repaired: the accused's map after the repair (S, S); empty before
    repaired: np.ndarray = field(default_factory=lambda: np.empty(0))
    # test set -> accuracy before the repair and after each of its epochs
    accuracies: dict[str, np.ndarray] = field(default_factory=dict)
    # step, steps: steps of the repair done, and in all
    step: int = 0
    steps: int = 0
    note: str = ""  # what is being done


class DetectiveExplorer(Explorer):
    """A game: find out which of four suspects cheat, and by what, with as few interventions as possible.

    Args:
        order: the seed of the line-up.
        initial: other fields of the state to start from.
    """

    name, title = "detective", "The detective"
    question = (
        "One of the four is honest. Who cheats, and by which cue? The maps are free, an intervention costs a point, a "
        "wrong accusation three."
    )
    State = DetectiveState
    stage = ("cue", "suspect", "act", "do")
    shown_by_code = ("maps",)
    counts: ClassVar[tuple[int, ...]] = (100, 200, 400, 800, 1600)
    screen: ClassVar[int] = 384
    live = False
    offers_saved = False  # a suspect cannot be chosen from outside the line-up

    def __init__(self, order: int = 0, **initial: Any) -> None:
        self._line_up = lru_cache(maxsize=4)(detective.line_up)
        self._logits = lru_cache(maxsize=64)(self._compute_logits)
        self._verdict = lru_cache(maxsize=16)(self._compute_verdict)
        self._repair_cache = Cache(8)
        super().__init__(order=order, **initial)

    def suspects(self, state: DetectiveState) -> tuple[Suspect, ...]:
        """The line-up of a state."""
        return self._line_up(state.order)

    def controls(self) -> tuple[Control, ...]:
        """The move, then the maps, the line-up and the repair."""
        return (
            Choice("cue", "Scene", choices=tuple(CUES), names=_scene, changes=("image", "maps")),
            Choice("suspect", "Suspect", choices=NAMES, changes=(PANELS,)),
            Choice("act", "Move", choices=lambda state: tuple(detective.acts(state.cue).values()), changes=(PANELS,)),
            Button("do", "Do it", act=_done, changes=("standing",), help="Make the chosen move"),
            *group(
                "Maps",
                Choice("method", "Method", choices=tuple(METHODS), changes=("maps",)),
                Slider("opacity", "Opacity", low=0.0, high=1.0, step=0.1, changes=(PANELS,)),
                Slider("seed", "Drawing", high=99, changes=("image", "maps"), help="Another drawing of the scene"),
            ),
            *group(
                "New game",
                Slider("order", "Line-up", high=ORDERS - 1, changes=("maps",), help="The seed of the line-up"),
            ),
            *group(
                "Repair of the accused, on Run",
                Slider("pictures", "Pictures", values=self.counts, help="Half of them carry the cue"),
                Slider("epochs", "Epochs", low=1, high=6, changes=("accuracies",)),
                Button("again", "Start the repair again", act=self._forget),
                changes=("repaired",),
            ),
        )

    def preview(self, state: DetectiveState) -> DetectiveResult:
        """The maps of all suspects, and what the moves have brought to light."""
        suspects, kind = self.suspects(state), CUES[state.cue].kind
        image = detective.exhibit(state.cue, state.seed, suspects[0].model.input_size).image
        standing = detective.standing(suspects, state.moves)
        said = [
            _said(one.model, image) if standing.over or n in standing.accused else "" for n, one in enumerate(suspects)
        ]
        tests = [move for move in state.moves if move.act != ACCUSE]
        accused = _accusation(state)
        result = DetectiveResult(
            image.numpy(),
            detective.exhibit(state.cue, state.seed, self.screen).image.numpy(),
            np.stack([_explain(state.method, one.model, image, kind) for one in suspects]),
            tuple(said),
            tuple(self._logits(state.order, move) for move in tests),
            standing,
            self._verdict(state.order, accused.suspect, accused.cue) if accused else None,
        )
        return self._with_repair(result, state)

    def compute(self, state: DetectiveState, progress: Reporter) -> Iterator[DetectiveResult]:
        """Repair the suspect that was accused last: draw images with the cue broken, then train."""
        result, accused = self.preview(state), _accusation(state)
        if accused is None:
            yield replace(result, note="Run repairs a suspect: accuse one first.")
            return
        if _key(state) not in self._repair_cache:
            yield replace(result, note="Drawing pictures with the cue broken.")
            suspect = self.suspects(state)[accused.suspect]
            self._repair_cache[_key(state)] = Repair(suspect, accused.cue, state.pictures, state.epochs, progress)
        for step in self._repair_cache[_key(state)].steps():
            progress(step.done, step.total)
            if step.epoch is not None:
                yield self._with_repair(result, state)
        yield self._with_repair(result, state)

    def panels(self, result: DetectiveResult, state: DetectiveState) -> list[Panel]:
        """The maps of all suspects, then the evidence, the verdict and the repair."""
        kind, scene, panels = CUES[state.cue].kind, _scene(state.cue), []
        for name, one, said in zip(NAMES, result.maps, result.said, strict=False):
            title = f"{'▸ ' if name == state.suspect else ''}{name}{': ' if said else ''}{said}"
            alt = f"{state.method} for {kind} of {name}, over {scene}"
            over = _overlay(result.shown, one, state)
            panels.append(Panel(title, _framed(over) if name == state.suspect else over, alt, TILE))
        tests = [move for move in state.moves if move.act != ACCUSE]
        after = _after(Move(0, state.cue, _act(state), state.seed), self.screen)
        caption = f"The maps above: {state.method} for {kind}."
        title = f"Next: {state.act.partition(' (')[0]}"  # the cost stands beside Move
        panels.append(Panel(title, after, f"the scene: {state.act}", TILE, caption=caption, below=True))
        if tests:
            panels.append(_evidence(tests, result.effects))
        if result.verdict:
            counts, total = result.verdict.counts, result.verdict.total
            bars = plots.bars(list(counts), [n / total for n in counts.values()], width=330, row=40)
            listed = ", ".join(f"{title} {count}" for title, count in counts.items())
            caption = f"Of {total} scenes each: the fraction that the accused takes for the class with the cue."
            panels.append(chart_panel("The evidence of the accusation", bars, listed, 330, caption, below=True))
        if result.accuracies:
            accused = _accusation(state)
            if accused is not None and accused.cue == state.cue:
                healed = f"{NAMES[accused.suspect]} after the repair"
                over = _overlay(result.shown, result.repaired, state)
                panels.append(Panel(healed, over, f"{state.method} of {healed}", 330, below=True))
            series = {name: (range(len(y)), y.tolist()) for name, y in result.accuracies.items()}
            axes: dict[str, Any] = {"x_limits": (0, state.epochs), "y_limits": (0, 1.02), "width": 430, "height": 340}
            chart = plots.curves(series, x_label="epochs of the repair", y_label="accuracy", **axes)
            alt = f"Accuracy on three test sets: {_numbers(result)}"
            panels.append(chart_panel("Its tests", chart, alt, 375, below=True))
        return panels

    def describe(self, result: DetectiveResult, state: DetectiveState) -> str:
        """The points left, what the last move brought, and how the repair stands."""
        points, accused, caught, over = result.standing
        text = f"{points} {'point' if points == 1 else 'points'} left. "
        last = state.moves[-1] if state.moves else None
        if last is None:
            text += "Compare the four maps, then choose a suspect and a move."
        elif last.act != ACCUSE:
            before, after = result.effects[-1]
            text += f"{_words(last)}: its {CUES[last.cue].kind} logit goes from {before:.1f} to {after:.1f}."
        elif result.verdict:
            text += result.verdict.text
        if over:
            text += f" The game is over: your score is {points}, with {len(caught)} caught. "
            text += " ".join(f"{line}." for line in detective.Reveal(self.suspects(state)).lines)
        elif accused and last is not None and last.act == ACCUSE:
            text += " Run repairs it."
        if result.accuracies:
            text += f" Repair, step {result.step} of {result.steps}: {_numbers(result)}."
        return f"{text} {result.note}".rstrip()

    def code(self, state: DetectiveState) -> str:
        """The maps of all suspects, the moves, and the repair."""
        suspects, one = self.suspects(state), CUES[state.cue]
        method = METHODS[state.method]
        options = "".join(f", {k}={v!r}" for k, v in _options(method, suspects[0].model.input_size).items())
        call = f"{method.code}(one.model, image, {one.kind!r}{options})"
        call += ".abs().amax(0)" * (method.returns == "attribution")
        size = suspects[0].model.input_size
        lines = [
            f"suspects = detective.line_up({state.order})",
            f"image = detective.exhibit({state.cue!r}, {state.seed}{'' if size == 96 else f', {size}'}).image",
            f"maps = torch.stack([{call} for one in suspects]).clamp(min=0).cpu()",
        ]
        for move in state.moves:
            if move.act != ACCUSE:
                given = f"{move.suspect}, {move.cue!r}, {move.act!r}, {move.seed}"
                lines.append(f"print(detective.logits(suspects[{move.suspect}], detective.Move({given})))")
        accused = _accusation(state)
        shown = "[plots.overlay(image, heatmap) for heatmap in maps]"
        if accused is not None:
            given = f"suspects[{accused.suspect}], {accused.cue!r}"
            lines += [
                f"print(detective.verdict({given}).text)",
                f"one = detective.repair({given}, count={state.pictures}, epochs={state.epochs})",
                f"repaired = {call}.clamp(min=0).cpu()",
                "print(one.accuracies)",
            ]
            shown = shown[:-1] + "] + [plots.overlay(image, repaired)]"
        return with_imports(*lines, f"plots.show({shown})", also=["from xai_lessons.lessons import detective"])

    def _changed(self, state: Any, changes: dict[str, Any]) -> Any:
        """Another line-up begins another game."""
        new = changes.get("order", state.order) != state.order and "moves" not in changes
        return super()._changed(replace(state, moves=()) if new else state, changes)

    def _forget(self, state: DetectiveState) -> DetectiveState:
        self._repair_cache.pop(_key(state), None)
        return state

    def _compute_logits(self, order: int, move: Move) -> tuple[float, float]:
        return detective.logits(self._line_up(order)[move.suspect], move)

    def _compute_verdict(self, order: int, suspect: int, cue: str) -> Verdict:
        return detective.verdict(self._line_up(order)[suspect], cue)

    def _with_repair(self, result: DetectiveResult, state: DetectiveState) -> DetectiveResult:
        """The result with how far the repair is, if there is one."""
        repair: Repair | None = self._repair_cache.get(_key(state))
        if repair is None:
            return result
        return replace(
            result,
            repaired=_explain(state.method, repair.model, torch.from_numpy(result.image), CUES[state.cue].kind),
            accuracies={name: np.array(values) for name, values in repair.accuracies.items()},
            step=repair.training.step,
            steps=repair.training.total_steps,
        )


def _scene(cue: str) -> str:
    return CUES[cue].scene


def _done(state: DetectiveState) -> DetectiveState:
    """The state after the chosen move."""
    move = Move(NAMES.index(state.suspect), state.cue, _act(state), state.seed)
    return replace(state, moves=(*state.moves, move))


def _act(state: DetectiveState) -> str:
    """The chosen act by its name."""
    return next(act for act, words in detective.acts(state.cue).items() if words == state.act)


def _accusation(state: DetectiveState) -> Move | None:
    """The last accusation."""
    return next((move for move in reversed(state.moves) if move.act == ACCUSE), None)


def _key(state: DetectiveState) -> tuple[Any, ...]:
    """What a repair depends on."""
    accused = _accusation(state)
    return (state.order, accused and accused[:2], state.pictures, state.epochs)


def _words(move: Move) -> str:
    """An intervention in words."""
    one = CUES[move.cue]
    what = {detective.OBJECT: f"the {one.kind} taken away", detective.CUE: f"{one.name} taken away"}
    return f"{NAMES[move.suspect]}, {one.scene}, {what.get(move.act, 'now on snow')}"


@lru_cache(maxsize=16)
def _after(move: Move, size: int) -> np.ndarray:
    """The drawing after a move (3, size, size), the last sixteen are kept; an accusation changes nothing."""
    scene = detective.exhibit(move.cue, move.seed, size)
    return (scene if move.act == ACCUSE else detective.changed(scene, move.cue, move.act)).image.numpy()


def _framed(image: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) with an orange frame."""
    framed, edge = image.copy(), image.shape[0] // 48
    for part in (framed[:edge], framed[-edge:], framed[:, :edge], framed[:, -edge:]):
        part[:] = (213, 94, 0)
    return framed


def _evidence(tests: list[Move], effects: tuple[tuple[float, float], ...]) -> Panel:
    """A bar per intervention: the logit after it, with a line at the logit before."""
    labels = [f"{_words(move)}" for move in tests]
    before, after = ([pair[k] for pair in effects] for k in (0, 1))
    high = max([*before, *after, 1.0])
    bars = plots.bars(labels, after, before=before, high=high, percent=False, width=560, row=30)
    listed = "; ".join(f"{label}: {b:.1f} to {a:.1f}" for label, b, a in zip(labels, before, after, strict=True))
    caption = "The logit of the scene's class after each intervention; line: before it."
    return chart_panel("What you have paid for", bars, listed, 560, caption, below=True)


def _said(model: models.Classifier, image: Tensor) -> str:
    """What a network says of an image."""
    p = model.predict(image)
    return f"{model.classes[int(p.argmax())]} {float(p.max()):.0%}"


def _numbers(result: DetectiveResult) -> str:
    """Accuracies before the repair and now."""
    return ", ".join(f"{name} {y[0]:.0%} → {y[-1]:.0%}" for name, y in result.accuracies.items())


def _options(method: catalog.Method, side: int) -> dict[str, Any]:
    options = {"integrated_gradients": {"steps": 16}, "occlusion": {"patch": side // 5, "stride": side // 8}}
    return options.get(method.name, {})


def _explain(name: str, model: models.Classifier, image: Tensor, kind: str) -> np.ndarray:
    """A map (S, S) of a class, at least 0."""
    method = METHODS[name]
    one = method(model, image, kind, **_options(method, image.shape[-1])).detach().float().cpu()
    return (one.abs().amax(dim=0) if method.returns == "attribution" else one.clamp(min=0)).numpy()


def _overlay(image: np.ndarray, one: np.ndarray, state: DetectiveState) -> np.ndarray:
    """A map over an image, each on its own scale."""
    clip = 0.005 if METHODS[state.method].returns == "attribution" else 0.0
    high = plots.limits(one, signed=False, clip=clip)[1]
    return plots.overlay(image, one, state.opacity, scale=(0.0, high or 1.0))
