"""Train a classifier: epochs, live history, checkpoints, stopping and resuming, adversarial training.

Every random number of a training (order, augmentation, dropout) follows from the seed and the step, so that a training
that is stopped and resumed ends in the same weights as one that was not.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xai_lessons.core import inputs, passes
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.core.state import private_random
from xai_lessons.models import store
from xai_lessons.training.augmentation import attacked, augment, pixels
from xai_lessons.training.scoring import Reliability as Reliability
from xai_lessons.training.scoring import Score as Score
from xai_lessons.training.scoring import confusion as confusion
from xai_lessons.training.scoring import evaluate as evaluate
from xai_lessons.training.scoring import reliability as reliability

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
        optimizer: "adamw" or "sgd" (Nesterov); the schedule moves momentum from 0.95 to 0.85 and back.
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
        inputs.at_least("epochs", self.epochs, 1)
        inputs.at_least("batch_size", self.batch_size, 2)
        inputs.at_least("learning_rate", self.learning_rate, 1e-8, 100)
        inputs.at_least("weight_decay", self.weight_decay, 0)
        inputs.at_least("label_smoothing", self.label_smoothing, 0, 0.99)
        inputs.at_least("shift", self.shift, 0)
        inputs.at_least("erase", self.erase, 0)
        inputs.at_least("adversarial", self.adversarial, 0, 1)
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


class Training:
    """A training that can be run, stopped at any batch, resumed, saved and loaded.

    Args:
        model: the network to train, from pixels to logits; trained in place, and not to be asked from another thread
            meanwhile. If some of its weights are frozen, only the others are trained; if all are, all are trained.
        images: (N, 3, H, W), floats in [0, 1] or bytes.
        labels: (N,).
        validation: pictures and labels that are only looked at.
        settings: how to train.
        record_layers: whether each epoch notes how every layer's weights moved.

    Raises:
        TypeError: if pictures or labels are of the wrong kind.
        ValueError: if there are too few, or their values are out of range.
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
        classes = len(getattr(model, "classes", ()))
        _check(images, labels, classes, 2)
        _check(*validation, classes, 1)
        self.settings = settings = settings or Settings()
        self.device, self.dtype = inputs.device_of(model)
        self.model = model.to(memory_format=torch.channels_last)
        self.images, self.labels = images.to(self.device), labels.to(self.device)
        self.validation, self.record_layers = validation, record_layers
        self.half = passes.knows_bfloat16(self.device)  # twice as fast there, and as good
        self.batch_size = min(settings.batch_size, len(images))
        self.steps_per_epoch = len(images) // self.batch_size
        self.total_steps = settings.epochs * self.steps_per_epoch
        self.step, self._ordered = 0, -1  # the epoch whose order is at hand
        self.history: list[Epoch] = []
        every = [p for p in model.parameters() if p.is_floating_point()]
        weights = [p for p in every if p.requires_grad] or every
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
            self.optimizer,
            rate,
            total_steps=max(5, self.total_steps),
            pct_start=0.25,  # of four, torch divides by 0
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
        flags = [(m, m.training) for m in self.model.modules()]
        try:
            self.model.train()
            with torch.inference_mode(False), torch.enable_grad():
                while self._epoch_is_due() or not self.finished:
                    if not self._epoch_is_due():
                        self._one_step()
                    if self._epoch_is_due():
                        self._end_epoch()
                        if checkpoint is not None:
                            self.save(checkpoint)
                        if on_epoch is not None:
                            on_epoch(self.history[-1])
                    if progress is not None:
                        progress(self.step, self.total_steps)
        finally:
            for module, flag in flags:
                module.training = flag
        return self.history

    def _epoch_is_due(self) -> bool:
        """Whether an epoch's steps are done and its figures not yet taken, as after an interrupt."""
        return len(self.history) < self.step // self.steps_per_epoch

    def _one_step(self) -> None:
        began, settings = time.perf_counter(), self.settings
        epoch, batch = divmod(self.step, self.steps_per_epoch)
        if self._ordered != epoch:
            order = torch.randperm(len(self.images), generator=inputs.generator(settings.seed * 1009 + epoch))
            self._ordered, self._order = epoch, order.to(self.device)
        chosen = self._order[batch * self.batch_size :][: self.batch_size]
        rng = inputs.generator(settings.seed * 1_000_003 + self.step)
        x = augment(pixels(self.images[chosen]).to(self.dtype), settings.flip, settings.shift, settings.erase, rng)
        x = x.contiguous(memory_format=torch.channels_last)
        y = self.labels[chosen]
        # one thread at a time: dropout draws from the global state
        with (
            private_random(settings.seed * 7919 + self.step, self.device),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.half),
        ):
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

    def _fingerprint(self) -> str:
        """Tells one set of pictures from another: all labels, and the first pictures."""
        content = (self.labels.cpu(), self.images[:4].cpu())
        return hashlib.sha256(b"".join(t.contiguous().numpy().tobytes() for t in content)).hexdigest()

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        content = BytesIO()
        state = {
            "settings": asdict(self.settings),
            "pictures": self._fingerprint(),
            "epoch": (self._seconds, self._loss, self._right, self._norms, self._before),
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
        try:  # on the CPU: each part then goes where it belongs
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            settings, pictures, weights = state["settings"], state["pictures"], state["model"]
        except Exception as error:
            raise ValueError(f"the checkpoint {path.name} is damaged: delete it to begin anew") from error
        here = {n: (v.shape, v.dtype) for n, v in self.model.state_dict().items()}
        for what, same in (
            ("with other settings", settings == asdict(self.settings)),
            ("on other pictures", pictures in (self._fingerprint(), len(self.images))),  # once it was their number
            ("of another network", {n: (v.shape, v.dtype) for n, v in weights.items()} == here),
        ):
            if not same:
                raise ValueError(
                    f"the checkpoint {path.name} is of a training {what}: delete it, or choose another file"
                )
        self.model.load_state_dict(weights)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.step = state["step"]
        self.history = [
            Epoch(**{**e, "layers": {n: LayerChange(*c) for n, c in e["layers"].items()}}) for e in state["history"]
        ]
        self._start_epoch()
        if "epoch" in state:
            self._seconds, loss, right, self._norms, before = state["epoch"]
            self._loss, self._right = loss.to(self.device), right.to(self.device)
            self._before |= {n: t.to(self.device) for n, t in before.items() if n in self._before}


def _check(images: Tensor, labels: Tensor, classes: int, least: int) -> None:
    """Refuse what cannot be trained on, before anything is computed."""
    if not isinstance(images, Tensor) or not isinstance(labels, Tensor):
        raise TypeError("training needs tensors: pictures (N, 3, H, W) and labels (N,); see datasets.folder")
    if len(images) != len(labels) or len(images) < least:
        raise ValueError(
            f"training needs at least {least} picture(s) and a label for each, got {len(images)} and {len(labels)}"
        )
    if images.ndim != 4 or images.shape[1] != 3 or labels.ndim != 1:
        raise ValueError(
            f"training needs pictures (N, 3, H, W) and labels (N,), got {tuple(images.shape)} and {tuple(labels.shape)}"
        )
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise TypeError(f"labels must be whole numbers, got {labels.dtype}: use .long()")
    if images.dtype != torch.uint8 and not (images.min() >= -1e-3 and images.max() <= 1 + 1e-3):
        raise ValueError("pictures must be bytes, or floats in [0, 1] without NaN: divide by 255")
    if int(labels.min()) < 0 or (classes and int(labels.max()) >= classes):
        raise ValueError(
            f"labels run from {int(labels.min())} to {int(labels.max())}: "
            f"the network has {classes or 'its'} classes, counted from 0"
        )


def fit(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    validation: Pictures,
    *,
    checkpoint: str | Path | None = None,
    progress: Progress = None,
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
    checkpoint = None if checkpoint is None else Path(checkpoint)
    if checkpoint is not None and checkpoint.is_file():
        training.load(checkpoint)
    with Meter(progress, training.total_steps) as meter:
        meter.add(training.step)
        try:
            return training.run(lambda done, _total: meter.add(done - meter.done), on_epoch, checkpoint)
        finally:
            training.release()
