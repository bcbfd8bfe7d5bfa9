"""The drawn world and the training: python -m benchmarks.foundation.

Prints how many images a core draws in a second, how far a linear model gets by color and by small pixels alone, and
how many seconds of one core a network needs from nothing to 97%.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch.nn import functional as F

from xai_lessons import models, training
from xai_lessons.data import datasets, menagerie
from xai_lessons.models import architectures

FIT, HELD = 1600, 400


def drawing(n: int = 300) -> float:
    """Images of 96 pixels per second of one core."""
    menagerie.sampled(0, split="train").image  # noqa: B018  # fonts and tables are made once
    began = time.process_time()
    for i in range(n):
        menagerie.sampled(i, split="train").image  # noqa: B018  # drawn when it is asked for
    return n / (time.process_time() - began)


def linear(features: np.ndarray, labels: np.ndarray) -> float:
    """The best accuracy of a logistic regression over three strengths of regularization."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scores = []
    for strength in (0.001, 0.01, 0.1):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
        scores.append(model.fit(features[:FIT], labels[:FIT]).score(features[FIT:], labels[FIT:]))
    return max(scores)


def to_97() -> tuple[float, list[training.Epoch]]:
    """The processor seconds of a short training of menagerie-resnet, drawing left out, and its history."""
    data = datasets.drawn(14000)
    held = datasets.drawn(1000, split="validation")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = architectures.build("ResNet")
    model = models.wrap(network, data.classes, (0.5,) * 3, (0.25,) * 3, 96)
    began = time.process_time()
    history = training.fit(model, data.images, data.labels, held[:2], epochs=4, batch_size=64, learning_rate=0.006)
    return time.process_time() - began, history


def main() -> None:
    """Print the figures beside their bars."""
    torch.set_num_threads(1)
    print(f"drawing: {drawing():.0f} images of 96 pixels per second of one core (bar: 80)", flush=True)
    data = datasets.drawn(FIT + HELD, split="open")
    x, y = data.images.float() / 255, data.labels.numpy()
    colors = (x * 3.999).long()
    bins = (colors[:, 0] * 16 + colors[:, 1] * 4 + colors[:, 2]).flatten(1)
    histogram = F.one_hot(bins, 64).float().mean(dim=1).numpy()
    small = F.adaptive_avg_pool2d(x, 16).flatten(1).numpy()
    print(f"a linear model on a histogram of 64 colors: {linear(histogram, y):.1%} right (bar: under 40%)", flush=True)
    print(f"a linear model on 16 x 16 pixels: {linear(small, y):.1%} right (bar: under 25%)", flush=True)
    spent, history = to_97()
    reached = next((e for e in history if e.validation_accuracy >= 0.97), None)
    for epoch in history:
        print(f"  epoch {epoch.epoch}: {epoch.seconds:.1f} s, validation {epoch.validation_accuracy:.1%}")
    at = "not reached" if reached is None else f"in epoch {reached.epoch}"
    print(
        f"menagerie-resnet from nothing to 97 %: {at}; {spent:.0f} s of one core with validation (bar: 90)", flush=True
    )


if __name__ == "__main__":
    main()
