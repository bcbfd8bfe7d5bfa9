"""Train a network: steps, epochs, checkpoints, stopping and resuming, adversarial training.

Every random number of a training (order, augmentation, dropout) follows from the seed and the step, so a training that
is stopped and resumed ends with the same weights as one that is not.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xai_lessons.core import files, inputs, passes
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.core.state import private_random
from xai_lessons.training import scoring
from xai_lessons.training.augmentation import adversarial, augment, pixels


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        epochs: number of passes over the images.
        batch_size: images per step.
        learning_rate: the highest learning rate of the one-cycle schedule.
        weight_decay: decoupled weight decay.
        label_smoothing: fraction of the target that is spread over all classes.
        optimizer: "adamw" or "sgd" (Nesterov); the schedule moves momentum from 0.95 to 0.85 and back.
        flip: whether images are flipped horizontally at random.
        shift: largest random shift, in pixels.
        erase: side of a square erased at random, in pixels; 0 for none.
        recolor: probability that the red, green and blue of an image change places at random.
        adversarial: epsilon of the attack that each image is trained under, in pixel units; 0 for none.
        seed: determines the order, the augmentation and the dropout.

    Raises:
        ValueError: if a setting is out of range.

    Example:
        >>> Settings(epochs=2, optimizer="sgd").learning_rate
        0.006
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
    recolor: float = 0.0
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
        inputs.at_least("recolor", self.recolor, 0, 1)
        inputs.at_least("adversarial", self.adversarial, 0, 1)
        if self.optimizer not in ("adamw", "sgd"):
            raise ValueError(f"optimizer must be 'adamw' or 'sgd', got {self.optimizer!r}")


class LayerChange(NamedTuple):
    """How the weights of one layer changed in one epoch."""

    distance: float  # |w_t - w_(t-1)| / |w_(t-1)|
    cosine: float  # between w_t and w_(t-1)
    gradient: float  # norm of the gradient of the loss, mean over the steps of the epoch


class Task(Protocol):
    """What is learned: `Classification` or `training.detection.Detection`."""

    def check(self, images: Tensor, labels: Tensor, classes: int, least: int) -> None:
        """Refuse data that cannot be trained on."""

    def augment(
        self, images: Tensor, labels: Tensor, settings: Settings, rng: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Change images (N, 3, H, W) at random, and their labels with them."""

    def loss(self, model: Any, images: Tensor, labels: Tensor, settings: Settings) -> tuple[Tensor, Tensor]:
        """The loss, and for how many of the images the answer is right, both 0-d tensors."""

    def evaluate(self, model: Any, images: Tensor, labels: Tensor) -> scoring.Score:
        """Loss and accuracy on a set of images."""


@dataclass(frozen=True)
class Epoch:
    """The figures of one epoch; `layers` is filled only if the training records them."""

    epoch: int
    seconds: float
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    layers: dict[str, LayerChange] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One step of a training."""

    done: int  # number of steps done so far
    total: int  # number of steps of the whole training
    loss: Tensor  # loss of this step's batch, a 0-d tensor on the network's device
    epoch: Epoch | None  # the figures of the epoch, after its last step; otherwise None


class Training:
    """A training that can be stopped at any step, resumed, saved and loaded.

    Args:
        model: the network to train, from pixels to logits; trained in place. No other thread may use it meanwhile.
            If some of its weights are frozen, only the others are trained; if all are, all are trained.
        images: (N, 3, H, W), floats in [0, 1] or bytes.
        labels: (N,).
        validation: images and labels to evaluate on after each epoch.
        settings: how to train.
        record_layers: whether each epoch records how the weights of every layer changed.
        task: what is learned; classification by default.

    Raises:
        TypeError: if images or labels are of the wrong type.
        ValueError: if there are too few, or their values are out of range.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
        >>> data = torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 0, 1])
        >>> training = Training(model, *data, data, Settings(epochs=2, batch_size=2))
        >>> for step in training.steps():
        ...     if step.epoch:
        ...         print(f"step {step.done} of {step.total}: epoch {step.epoch.epoch}")
        step 2 of 4: epoch 1
        step 4 of 4: epoch 2
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        validation: tuple[Tensor, Tensor],
        settings: Settings | None = None,
        record_layers: bool = False,
        task: Task | None = None,
    ) -> None:
        classes, self.task = len(getattr(model, "classes", ())), task or Classification()
        self.task.check(images, labels, classes, 2)
        self.task.check(*validation, classes, 1)
        self.settings = settings = settings or Settings()
        self.device, self.dtype = inputs.device_of(model)
        self.model = model.to(memory_format=torch.channels_last)
        self.images, self.labels = images.to(self.device), labels.to(self.device)
        self.validation, self.record_layers = validation, record_layers
        self.half = passes.knows_bfloat16(self.device)  # twice as fast there, and as good
        self.batch_size = min(settings.batch_size, len(images))
        self.steps_per_epoch = len(images) // self.batch_size
        self.total_steps = settings.epochs * self.steps_per_epoch
        self.step = 0
        self.history: list[Epoch] = []
        self._ordered_epoch = -1  # the epoch that self._order belongs to
        self._batch_loss = torch.tensor(float("nan"), device=self.device)
        floating = [p for p in model.parameters() if p.is_floating_point()]
        weights = [p for p in floating if p.requires_grad] or floating
        self._was_trainable = [p.requires_grad for p in weights]
        for p in weights:
            p.requires_grad_(True)
        rate, decay = settings.learning_rate, settings.weight_decay
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.AdamW(weights, lr=rate, weight_decay=decay)
            if settings.optimizer == "adamw"
            else torch.optim.SGD(weights, lr=rate, momentum=0.9, weight_decay=decay, nesterov=True)
        )
        self.schedule: torch.optim.lr_scheduler.LRScheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            rate,
            total_steps=max(5, self.total_steps),  # with 4, torch divides by 0
            pct_start=0.25,
        )
        self._start_epoch()

    def _start_epoch(self) -> None:
        self._seconds = 0.0
        # kept on the device: reading them after each step would wait for the GPU
        self._loss = torch.zeros((), device=self.device)
        self._right = torch.zeros((), dtype=torch.float64, device=self.device)
        self._norms: dict[str, float] = {}
        self._before = {n: p.detach().clone() for n, p in self._layers().items()} if self.record_layers else {}

    def _layers(self) -> dict[str, nn.Parameter]:
        """The weights of the convolutions and linear layers."""
        return {
            n.removesuffix(".weight").removeprefix("network."): p
            for n, p in self.model.named_parameters()
            if p.ndim > 1
        }

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.total_steps

    def steps(self) -> Iterator[Step]:
        """Train from the current step to the end, one step per iteration.

        Leaving the loop stops the training; iterating again resumes it. Between steps the modules have the training
        flags that they had before.

        Yields:
            What each step did. The last step of an epoch comes with the figures of the epoch.
        """
        while self._epoch_is_due() or not self.finished:
            with self._training_mode():
                if not self._epoch_is_due():
                    self._one_step()
                epoch = self._end_epoch() if self._epoch_is_due() else None
            yield Step(self.step, self.total_steps, self._batch_loss, epoch)

    @contextmanager
    def _training_mode(self) -> Iterator[None]:
        flags = [(m, m.training) for m in self.model.modules()]
        try:
            self.model.train()
            with torch.inference_mode(False), torch.enable_grad():
                yield
        finally:
            for module, flag in flags:
                module.training = flag

    def _epoch_is_due(self) -> bool:
        """Whether the steps of an epoch are done but not its figures, as after an interrupt."""
        return len(self.history) < self.step // self.steps_per_epoch

    def _one_step(self) -> None:
        began, settings = time.perf_counter(), self.settings
        epoch, batch = divmod(self.step, self.steps_per_epoch)
        if self._ordered_epoch != epoch:
            order = torch.randperm(len(self.images), generator=inputs.generator(settings.seed * 1009 + epoch))
            self._ordered_epoch, self._order = epoch, order.to(self.device)
        chosen = self._order[batch * self.batch_size :][: self.batch_size]
        rng = inputs.generator(settings.seed * 1_000_003 + self.step)
        x, y = self.task.augment(pixels(self.images[chosen]).to(self.dtype), self.labels[chosen], settings, rng)
        x = x.contiguous(memory_format=torch.channels_last)
        # dropout draws from the global random state, so only one thread at a time may run this
        with (
            private_random(settings.seed * 7919 + self.step, self.device),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.half),
        ):
            if settings.adversarial:
                x = adversarial(self.model, x, y, settings.adversarial, rng)
            loss, right = self.task.loss(self.model, x, y, settings)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.record_layers:
            for name, p in self._layers().items():
                if p.grad is not None:
                    self._norms[name] = self._norms.get(name, 0.0) + float(p.grad.norm()) / self.steps_per_epoch
        self.optimizer.step()
        self.schedule.step()
        self._batch_loss = loss.detach()
        self._loss += self._batch_loss
        self._right += right
        self._seconds += time.perf_counter() - began
        self.step += 1

    def _end_epoch(self) -> Epoch:
        validation = self.task.evaluate(self.model, *self.validation)
        changes = {}
        for name, now in self._layers().items() if self.record_layers else ():
            before = self._before[name]
            distance = float((now.detach() - before).norm() / before.norm().clamp_min(1e-12))
            cosine = float(F.cosine_similarity(now.detach().flatten(), before.flatten(), dim=0))
            changes[name] = LayerChange(distance, cosine, self._norms.get(name, 0.0))
        seen = self.steps_per_epoch * self.batch_size
        epoch = Epoch(
            epoch=self.step // self.steps_per_epoch,
            seconds=self._seconds,
            train_loss=float(self._loss) / self.steps_per_epoch,
            train_accuracy=float(self._right) / seen,
            validation_loss=validation.loss,
            validation_accuracy=validation.accuracy,
            layers=changes,
        )
        self.history.append(epoch)
        self._start_epoch()
        return epoch

    def release(self) -> None:
        """Remove the gradients and restore the weights' `requires_grad` flags."""
        for p, flag in zip(self.optimizer.param_groups[0]["params"], self._was_trainable, strict=True):
            p.grad = None
            p.requires_grad_(flag)

    def _fingerprint(self) -> str:
        """A digest of the data: all labels and the first images."""
        content = (self.labels.cpu(), self.images[:4].cpu())
        return hashlib.sha256(b"".join(t.contiguous().numpy().tobytes() for t in content)).hexdigest()

    def save(self, path: Path) -> None:
        """Write a checkpoint: the whole file or nothing.

        Args:
            path: the file; its folder is created if needed.
        """
        content = BytesIO()
        state = {
            "settings": asdict(self.settings),
            "images": self._fingerprint(),
            "epoch": (self._seconds, self._loss, self._right, self._norms, self._before),
            "step": self.step,
            "history": [{**asdict(e), "layers": {n: tuple(c) for n, c in e.layers.items()}} for e in self.history],
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        torch.save(state, content)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(path, content.getvalue())

    def load(self, path: Path) -> None:
        """Restore the state of a checkpoint.

        Args:
            path: the file that `save` wrote.

        Raises:
            ValueError: if it is damaged, or of a training with other settings, images or network.
        """
        try:  # onto the CPU: each part is then copied to its device
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            settings, images, weights = state["settings"], state["images"], state["model"]
            seconds, loss, right, norms, before = state["epoch"]
        except Exception as error:
            raise ValueError(f"the checkpoint {path.name} is damaged: delete it to start again") from error
        here = {n: (v.shape, v.dtype) for n, v in self.model.state_dict().items()}
        for what, same in (
            ("with other settings", settings == asdict(self.settings)),
            ("on other images", images == self._fingerprint()),
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
        self._seconds, self._norms = seconds, norms
        self._loss, self._right = loss.to(self.device), right.to(self.device)
        self._before |= {n: t.to(self.device) for n, t in before.items() if n in self._before}


class Classification:
    """One class per image: labels (N,), cross-entropy."""

    def check(self, images: Tensor, labels: Tensor, classes: int, least: int) -> None:
        """Refuse data that cannot be trained on, before any computing."""
        if not isinstance(images, Tensor) or not isinstance(labels, Tensor):
            kinds = f"{type(images).__name__} and {type(labels).__name__}"
            raise TypeError(f"expected tensors, images (N, 3, H, W) and labels (N,), got {kinds}: see datasets.folder")
        if len(images) != len(labels) or len(images) < least:
            raise ValueError(
                f"expected at least {least} image(s) and one label per image, got {len(images)} images and "
                f"{len(labels)} labels"
            )
        if images.ndim != 4 or images.shape[1] != 3 or labels.ndim != 1:
            raise ValueError(
                f"expected images (N, 3, H, W) and labels (N,), got {tuple(images.shape)} and {tuple(labels.shape)}"
            )
        if labels.is_floating_point() or labels.dtype == torch.bool:
            raise TypeError(f"expected labels that are whole numbers, got {labels.dtype}: use .long()")
        if images.dtype != torch.uint8 and not (images.min() >= -1e-3 and images.max() <= 1 + 1e-3):
            raise ValueError("expected bytes, or floats in [0, 1] without NaN, as images: divide by 255")
        if int(labels.min()) < 0 or (classes and int(labels.max()) >= classes):
            raise ValueError(
                f"expected labels from 0 to {classes - 1 if classes else 'the number of classes - 1'}, "
                f"got labels from {int(labels.min())} to {int(labels.max())}"
            )

    def augment(
        self, images: Tensor, labels: Tensor, settings: Settings, rng: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Flip, shift, erase and recolor; the labels stay."""
        return augment(images, settings.flip, settings.shift, settings.erase, rng, settings.recolor), labels

    def loss(self, model: Any, images: Tensor, labels: Tensor, settings: Settings) -> tuple[Tensor, Tensor]:
        """Cross-entropy, and the number of images whose class is right."""
        scores = model(images)
        loss = F.cross_entropy(scores, labels, label_smoothing=settings.label_smoothing)
        return loss, (scores.detach().argmax(dim=1) == labels).sum()

    def evaluate(self, model: Any, images: Tensor, labels: Tensor) -> scoring.Score:
        """See `scoring.evaluate`."""
        return scoring.evaluate(model, images, labels)


def fit(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    validation: tuple[Tensor, Tensor],
    *,
    checkpoint: str | Path | None = None,
    progress: Progress = None,
    on_epoch: Callable[[Epoch], object] | None = None,
    record_layers: bool = False,
    task: Task | None = None,
    **settings: Any,
) -> list[Epoch]:
    """Train a network, resuming from a checkpoint if there is one.

    Args:
        model: the network to train, from pixels to logits; trained in place.
        images: (N, 3, H, W), floats in [0, 1] or bytes.
        labels: (N,).
        validation: images and labels to evaluate on after each epoch.
        checkpoint: a file written after every epoch, and read at the start if it exists.
        progress: True for a bar, or a callback ``(done, total)`` in steps; one that raises stops the training.
        on_epoch: called with each `Epoch`.
        record_layers: whether each epoch records how the weights of every layer changed.
        task: what is learned; classification by default.
        settings: see `Settings`.

    Returns:
        The history, one entry per epoch.

    Raises:
        ValueError: if a setting is out of its range, or the checkpoint is of another training.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
        >>> data = torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 0, 1])
        >>> len(fit(model, *data, data, epochs=3))
        3
    """
    training = Training(model, images, labels, validation, Settings(**settings), record_layers, task)
    checkpoint = None if checkpoint is None else Path(checkpoint)
    if checkpoint is not None and checkpoint.is_file():
        training.load(checkpoint)
    with Meter(progress, training.total_steps) as meter:
        try:
            meter.add(training.step)
            for step in training.steps():
                if step.epoch is not None:
                    if checkpoint is not None:
                        training.save(checkpoint)
                    if on_epoch is not None:
                        on_epoch(step.epoch)
                meter.add(step.done - meter.done)
        finally:
            training.release()
    return training.history
