"""Train a classifier: epochs, live history, checkpoints, stopping and resuming, adversarial training.

Every random number of a training (order, augmentation, dropout) follows from the seed and the step, so that a training
that is stopped and resumed ends in the same weights as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xai_lessons import batching, hooks, store
from xai_lessons.augmentation import attacked, augment, pixels

Pictures = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        epochs: passes over the pictures.
        batch_size: pictures a step.
        learning_rate: the highest one of the one-cycle schedule.
        weight_decay: pulls weights towards zero.
        label_smoothing: share of the target spread over all classes.
        optimizer: "adamw" or "sgd" (Nesterov, momentum 0.9).
        flip: whether pictures are mirrored at random.
        shift: by how many pixels they are shifted at random, at most.
        erase: side of a square blanked at random, in pixels; 0 for none.
        adversarial: epsilon of the attack that each picture is trained under, in pixel units; 0 for none.
        seed: decides the order, the augmentation and the dropout.
    """

    epochs: int = 6
    batch_size: int = 128
    learning_rate: float = 0.006
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    optimizer: str = "adamw"
    flip: bool = True
    shift: int = 4
    erase: int = 0
    adversarial: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        batching.at_least("epochs", self.epochs, 1)
        batching.at_least("batch_size", self.batch_size, 2)
        batching.at_least("learning_rate", self.learning_rate, 1e-8, 100)
        batching.at_least("weight_decay", self.weight_decay, 0)
        batching.at_least("label_smoothing", self.label_smoothing, 0, 0.99)
        batching.at_least("shift", self.shift, 0)
        batching.at_least("erase", self.erase, 0)
        batching.at_least("adversarial", self.adversarial, 0, 1)
        if self.optimizer not in ("adamw", "sgd"):
            raise ValueError(f"optimizer must be 'adamw' or 'sgd', got {self.optimizer!r}")


class LayerChange(NamedTuple):
    """How the weights of one layer moved in one epoch."""

    distance: float  # |w_t - w_(t-1)| / |w_(t-1)|
    cosine: float  # between w_t and w_(t-1)
    gradient: float  # mean norm of the loss's gradient over the epoch's steps


@dataclass(frozen=True)
class Epoch:
    """What one epoch of training came to; `layers` is filled only if the training records them."""

    epoch: int
    seconds: float
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    layers: dict[str, LayerChange] = field(default_factory=dict)


class Score(NamedTuple):
    """How a network does on a set of pictures."""

    loss: float
    accuracy: float


def evaluate(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 64) -> Score:
    """Cross-entropy and accuracy on a set of pictures.

    Args:
        model: a network from pixels to logits.
        images: (N, 3, H, W), floats in [0, 1] or bytes.
        labels: (N,) class numbers.
        batch_size: pictures at once.

    Returns:
        The mean loss and the share that is right.
    """
    loss, right = 0.0, 0
    device = batching.device_of(model)[0]
    with hooks.undisturbed(model), torch.no_grad():
        for x, y in zip(images.split(batch_size), labels.split(batch_size), strict=True):
            scores, y = batching.logits(model, pixels(x.to(device))), y.to(device)
            loss += F.cross_entropy(scores, y, reduction="sum").item()
            right += int((scores.argmax(dim=1) == y).sum())
    return Score(loss / len(labels), right / len(labels))


class Training:
    """A training that can be run, stopped at any batch, resumed, saved and loaded.

    Args:
        model: the network to train, from pixels to logits; trained in place.
        images: (N, 3, H, W), floats in [0, 1] or bytes.
        labels: (N,).
        validation: pictures and labels that are only looked at.
        settings: how to train.
        record_layers: whether each epoch notes how every layer's weights moved.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        validation: Pictures,
        settings: Settings | None = None,
        record_layers: bool = False,
    ) -> None:
        if len(images) != len(labels) or len(images) < 2:
            raise ValueError(
                f"training needs at least two pictures and a label for each, got {len(images)} and {len(labels)}"
            )
        self.settings = settings = settings or Settings()
        self.device = batching.device_of(model)[0]
        self.model = model.to(memory_format=torch.channels_last)
        self.images, self.labels = images.to(self.device), labels.to(self.device)
        self.validation, self.record_layers = validation, record_layers
        self.half = batching.knows_bfloat16(self.device)  # twice as fast there, and as good
        self.batch_size = min(settings.batch_size, len(images))
        self.steps_per_epoch = len(images) // self.batch_size
        self.total_steps = settings.epochs * self.steps_per_epoch
        self.step = 0
        self.history: list[Epoch] = []
        weights = [p for p in model.parameters() if p.is_floating_point()]
        self._was_trainable = [p.requires_grad for p in weights]
        for p in weights:
            p.requires_grad_(True)
        rate, decay = settings.learning_rate, settings.weight_decay
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.AdamW(weights, lr=rate, weight_decay=decay)
            if settings.optimizer == "adamw"
            else torch.optim.SGD(weights, lr=rate, momentum=0.9, weight_decay=decay, nesterov=True)
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, rate, total_steps=self.total_steps, pct_start=0.25
        )
        self._start_epoch()

    def _start_epoch(self) -> None:
        self._seconds = 0.0
        # on the device: reading them after each step would wait for the GPU
        self._loss = torch.zeros((), device=self.device)
        self._right = torch.zeros((), dtype=torch.long, device=self.device)
        self._norms: dict[str, float] = {}
        self._before = {n: p.detach().clone() for n, p in self._layers().items()} if self.record_layers else {}

    def _layers(self) -> dict[str, nn.Parameter]:
        """The weight tensors worth watching: those of convolutions and linear layers."""
        return {
            n.removesuffix(".weight").removeprefix("network."): p
            for n, p in self.model.named_parameters()
            if p.ndim > 1
        }

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.step >= self.total_steps

    def run(
        self,
        progress: Callable[[int, int], object] | None = None,
        on_epoch: Callable[[Epoch], object] | None = None,
        checkpoint: Path | None = None,
    ) -> list[Epoch]:
        """Train from where it stands to the end.

        Args:
            progress: called as ``(done, total)`` after every batch; if it raises, the training stops there and a later
                `run` goes on from the next batch.
            on_epoch: called with what each epoch came to.
            checkpoint: a file written (whole or not at all) after every epoch.

        Returns:
            The history, one entry an epoch.
        """
        was_training = self.model.training
        try:
            with torch.inference_mode(False), torch.enable_grad():
                while not self.finished:
                    self.model.train()
                    self._one_step()
                    if self.step % self.steps_per_epoch == 0:
                        self._end_epoch()
                        if checkpoint is not None:
                            self.save(checkpoint)
                        if on_epoch is not None:
                            on_epoch(self.history[-1])
                    if progress is not None:
                        progress(self.step, self.total_steps)
        finally:
            self.model.train(was_training)
        return self.history

    def _one_step(self) -> None:
        began, settings = time.perf_counter(), self.settings
        epoch, batch = divmod(self.step, self.steps_per_epoch)
        order = torch.randperm(len(self.images), generator=batching.generator(settings.seed * 1009 + epoch))
        chosen = order[batch * self.batch_size :][: self.batch_size].to(self.device)
        rng = batching.generator(settings.seed * 1_000_003 + self.step)
        x = augment(pixels(self.images[chosen]), settings.flip, settings.shift, settings.erase, rng)
        x = x.contiguous(memory_format=torch.channels_last)
        y = self.labels[chosen]
        on_gpu = [self.device.index or 0] if self.device.type == "cuda" else []
        with (
            torch.random.fork_rng(devices=on_gpu),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.half),
        ):
            torch.manual_seed(settings.seed * 7919 + self.step)  # for dropout
            if settings.adversarial:
                x = attacked(self.model, x, y, settings.adversarial, rng)
            scores = self.model(x)
            loss = F.cross_entropy(scores, y, label_smoothing=settings.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.record_layers:
            for name, p in self._layers().items():
                if p.grad is not None:
                    self._norms[name] = self._norms.get(name, 0.0) + float(p.grad.norm()) / self.steps_per_epoch
        self.optimizer.step()
        self.schedule.step()
        self._loss += loss.detach()
        self._right += (scores.detach().argmax(dim=1) == y).sum()
        self._seconds += time.perf_counter() - began
        self.step += 1

    def _end_epoch(self) -> None:
        on_validation = evaluate(self.model, *self.validation)
        changes = {}
        for name, now in self._layers().items() if self.record_layers else ():
            before = self._before[name]
            distance = float((now.detach() - before).norm() / before.norm().clamp_min(1e-12))
            cosine = float(F.cosine_similarity(now.detach().flatten(), before.flatten(), dim=0))
            changes[name] = LayerChange(distance, cosine, self._norms.get(name, 0.0))
        seen = self.steps_per_epoch * self.batch_size
        self.history.append(
            Epoch(
                epoch=self.step // self.steps_per_epoch,
                seconds=self._seconds,
                train_loss=float(self._loss) / self.steps_per_epoch,
                train_accuracy=int(self._right) / seen,
                validation_loss=on_validation.loss,
                validation_accuracy=on_validation.accuracy,
                layers=changes,
            )
        )
        self._start_epoch()

    def release(self) -> None:
        """Drop the gradients and give the weights their flags back."""
        for p, flag in zip(self.optimizer.param_groups[0]["params"], self._was_trainable, strict=True):
            p.grad = None
            p.requires_grad_(flag)

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        content = BytesIO()
        state = {
            "settings": asdict(self.settings),
            "pictures": len(self.images),
            "step": self.step,
            "history": [{**asdict(e), "layers": {n: tuple(c) for n, c in e.layers.items()}} for e in self.history],
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        torch.save(state, content)
        path.parent.mkdir(parents=True, exist_ok=True)
        store.write_whole(path, content.getvalue())

    def load(self, path: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            ValueError: if it is damaged, or of a training with other settings.
        """
        try:
            state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        except Exception as error:
            raise ValueError(f"the checkpoint {path.name} is damaged: delete it to begin anew") from error
        if state["settings"] != asdict(self.settings) or state["pictures"] != len(self.images):
            raise ValueError(
                f"the checkpoint {path.name} is of a training with other settings: delete it, or choose another file"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.step = state["step"]
        self.history = [
            Epoch(**{**e, "layers": {n: LayerChange(*c) for n, c in e["layers"].items()}}) for e in state["history"]
        ]
        self._start_epoch()


def fit(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    validation: Pictures,
    *,
    checkpoint: Path | None = None,
    progress: batching.Progress = None,
    on_epoch: Callable[[Epoch], object] | None = None,
    record_layers: bool = False,
    **settings: Any,
) -> list[Epoch]:
    """Train a network on pictures, going on from a checkpoint if there is one.

    Args:
        model: the network to train, from pixels to logits; trained in place.
        images: (N, 3, H, W), floats in [0, 1] or bytes.
        labels: (N,).
        validation: pictures and labels that are only looked at.
        checkpoint: a file written after every epoch, and read at the start if it is there.
        progress: True for a bar, or a callback ``(done, total)`` in batches; one that raises stops the training.
        on_epoch: called with what each epoch came to.
        record_layers: whether each epoch notes how every layer's weights moved.
        settings: see `Settings`.

    Returns:
        The history, one entry an epoch.

    Raises:
        ValueError: if a setting is out of its range, or the checkpoint is of another training.
    """
    training = Training(model, images, labels, validation, Settings(**settings), record_layers)
    if checkpoint is not None and checkpoint.is_file():
        training.load(checkpoint)
    with batching.Meter(progress, training.total_steps) as meter:
        meter.add(training.step)
        try:
            return training.run(lambda done, _total: meter.add(done - meter.done), on_epoch, checkpoint)
        finally:
            training.release()


class Reliability(NamedTuple):
    """How often a network is right when it is that sure, in bins of confidence."""

    confidence: list[float]
    accuracy: list[float]
    pictures: list[int]
    expected_calibration_error: float


def reliability(probabilities: Tensor, labels: Tensor, bins: int = 10) -> Reliability:
    """Confidence against correctness: ECE = sum_b n_b / n |accuracy_b - confidence_b|.

    Args:
        probabilities: (N, K), each row summing to 1.
        labels: (N,).
        bins: equal bins of confidence in [0, 1].

    Returns:
        The mean confidence, the share that is right and the count of each bin that is not empty, and the error.

    Source: Guo, Pleiss, Sun, Weinberger, 2017, arXiv:1706.04599.
    """
    sure, answer = probabilities.max(dim=1)
    right = (answer == labels).double()
    which = (sure * bins).long().clamp(max=bins - 1)
    rows = [
        (float(sure[m].mean()), float(right[m].mean()), int(m.sum()))
        for m in (which == b for b in range(bins))
        if m.any()
    ]
    error = sum(n * abs(a - c) for c, a, n in rows) / len(labels)
    return Reliability([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], error)


def confusion(answers: Tensor, labels: Tensor, classes: Sequence[str]) -> Tensor:
    """How often each class (row) was called each class (column): a LongTensor (K, K)."""
    k = len(classes)
    return torch.bincount(labels * k + answers, minlength=k * k).reshape(k, k)
