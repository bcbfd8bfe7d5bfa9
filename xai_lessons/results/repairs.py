"""Repairs of a suspect: what breaking its cue brings, and what the same training brings with the cue left in."""

from __future__ import annotations

from xai_lessons import results, training
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.lessons import detective

TRAININGS = {"cue broken": True, "cue left in": False}


def measure(
    cue: str = "tag", count: int = 400, epochs: int = 5, repeats: int = 4, tested: int = 100, progress: Progress = None
) -> results.Result:
    """Train the suspect that uses a cue further, several times, with the cue broken and with the cue left in.

    Args:
        cue: one of `detective.CUES`.
        count: images of each training.
        epochs: of each training.
        repeats: trainings of each kind, each on other images.
        tested: images of each test set.
        progress: True, or a callback (done, total), of one training.

    Returns:
        Test set -> the accuracy "before" and those after each training of `TRAININGS`.
    """
    suspect = next(one for one in detective.line_up() if cue in one.planted)
    sets = detective.draw_test_sets(cue, tested, size=suspect.model.input_size)
    found: dict[str, dict[str, list[float]]] = {
        name: {"before": [training.evaluate(suspect.model, *each).accuracy], **{kind: [] for kind in TRAININGS}}
        for name, each in sets.items()
    }
    with Meter(progress, repeats * len(TRAININGS)) as meter:
        for seed in range(repeats):
            for kind, broken in TRAININGS.items():
                made = detective.repair(suspect, cue if broken else "", count=count, epochs=epochs, seed=seed)
                for name, each in sets.items():
                    found[name][kind].append(training.evaluate(made.model, *each).accuracy)
                meter.add(1)
    return results.Result({"cue": cue, "images": count, "epochs": epochs, "tested": tested}, found)
