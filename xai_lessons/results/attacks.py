"""Attacks over many scenes: other networks, the map of an attacked answer, and a map moved while the answer stays."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from xai_lessons import evaluation, models, results
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.data import menagerie
from xai_lessons.methods import cam, fgsm, saliency
from xai_lessons.results.cheat import interval

EPSILON = 8 / 255
SEED = 5  # of the scenes; no network was trained on them
NETWORKS = ("menagerie-resnet", "menagerie-vgg", "menagerie-robust", "menagerie-shortcut")
ATTACKS = {"FGSM": fgsm.fgsm, "PGD": fgsm.pgd}
EXPLAINED = NETWORKS[:3]  # the networks whose maps are attacked
AIMED, GRAY = ("menagerie-resnet", "menagerie-robust"), (4, 8)  # of the targeted attacks
MAPS = {"grad_cam": cam.grad_cam, "gradient": saliency.gradient}
STEPS = 20  # of an attack on a map


def far_quarter(mask: Tensor) -> Tensor:
    """The quarter of the image that holds least of an object; the attack moves the map there.

    Args:
        mask: of the object, (H, W).

    Returns:
        (H, W), 1 inside and 0 outside.

    Example:
        >>> import torch
        >>> from xai_lessons.results import attacks
        >>> attacks.far_quarter(torch.tensor([[1, 1], [0, 1]])).tolist()
        [[0.0, 0.0], [1.0, 0.0]]
    """
    height, width = (side // 2 for side in mask.shape)
    quarters = torch.zeros(4, *mask.shape)
    for q, quarter in enumerate(quarters):
        top, left = height * (q // 2), width * (q % 2)
        quarter[top : top + height, left : left + width] = 1
    return quarters[int((quarters * mask).sum(dim=(1, 2)).argmin())]


def made(images: int, progress: Progress = None) -> dict[str, Any]:
    """Attack each network, evaluate all networks on the attacked images, and explain the answers of its own.

    Args:
        images: how many.
        progress: True, or a callback (done, total), called after every attack.

    Returns:
        "transfer": "clean" and "random signs": network -> accuracy with its 95 % interval; per attack: the network that
        the attack was made on -> the network that is evaluated -> accuracy with its 95 % interval. "answers": network
        -> "nothing", "random signs" or an attack -> the Grad-CAM maps of the "answer" and of the "true class", over the
        images whose answer was right and, after an attack, is wrong: "images" is their number. After an attack also of
        both classes before it, and the numbers of right answers that are wrong where only the object's pixels were
        changed, and only the others.
    """
    x, labels, masks = menagerie.sample(images, seed=SEED)
    loaded = {name: models.load(name, device="cpu") for name in NETWORKS}

    def right(attacked: Tensor) -> dict[str, list[float]]:
        return {
            name: interval((model.predict(attacked).argmax(dim=1) == labels).double(), proportion=True)
            for name, model in loaded.items()
        }

    def maps_of(model: models.Classifier, images: Tensor, c: Tensor, counted: Tensor) -> dict[str, list[float]]:
        M = cam.grad_cam(model, images, c)
        elsewhere = {name: mask.roll(1, dims=0) for name, mask in masks.items()}
        return {
            "peak": interval(M.amax(dim=(1, 2))[counted]),
            "on the object": interval(evaluation.energy_inside(M, masks)[counted]),
            "peak on the object": interval(evaluation.pointing_game(M, masks)[counted], proportion=True),
            "peak on another image's object": interval(
                evaluation.pointing_game(M, elsewhere)[counted], proportion=True
            ),
        }

    def explained(model: models.Classifier, changed: Tensor, fooled: bool) -> dict[str, Any]:
        p = model.predict(changed)
        answer, right = p.argmax(dim=1), model.predict(x).argmax(dim=1) == labels
        counted = right & ((answer != labels) == fooled)
        if not counted.any():
            return {"images": 0}
        values: dict[str, Any] = {"images": int(counted.sum()), "probability": interval(p.amax(dim=1)[counted])}
        for name, c in {"answer": answer, "true class": labels}.items():
            values[name] = maps_of(model, changed, c, counted)
            if fooled:
                values[f"{name}, before"] = maps_of(model, x, c, counted)
        if fooled:
            own = masks["object"][:, None]
            for name, where in {"object": own, "background": ~own}.items():
                wrong = model.predict(torch.where(where, changed, x)).argmax(dim=1) != labels
                values[f"wrong, only the {name} changed"] = int((wrong & right).sum())
        return values

    coin = fgsm.random_signs(x, EPSILON)
    transfer: dict[str, Any] = {"clean": right(x), "random signs": right(coin)}
    unfooled = {"nothing": x, "random signs": coin}
    answers: dict[str, Any] = {
        name: {what: explained(model, changed, fooled=False) for what, changed in unfooled.items()}
        for name, model in loaded.items()
    }
    with Meter(progress, len(ATTACKS) * len(loaded)) as meter:
        for attack_name, attack in ATTACKS.items():
            transfer[attack_name] = {}
            for name, model in loaded.items():
                attacked = attack(model, x, labels, epsilon=EPSILON)
                transfer[attack_name][name] = right(attacked)
                answers[name][attack_name] = explained(model, attacked, fooled=True)
                meter.add(1)
    return {"transfer": transfer, "answers": answers}


def targeted(images: int, progress: Progress = None) -> dict[str, Any]:
    """How often an attack reaches any other answer, and how often one target class; every other class in turn.

    Args:
        images: how many.
        progress: True, or a callback (done, total), called after every attack.

    Returns:
        Network -> epsilon in gray values -> "away" and "target" -> attack -> the fraction of the attacks that succeed,
        with its 95 % interval over the images.
    """
    x, labels, _ = menagerie.sample(images, seed=SEED)
    classes = len(menagerie.CLASSES)
    repeated = x.repeat_interleave(classes - 1, dim=0)
    targets = torch.cat([torch.tensor([c for c in range(classes) if c != label]) for label in labels.tolist()])
    found: dict[str, Any] = {}
    with Meter(progress, len(AIMED) * len(GRAY) * len(ATTACKS)) as meter:
        for network in AIMED:
            model, found[network] = models.load(network, device="cpu"), {}
            for gray in GRAY:
                reached: dict[str, Any] = {"away": {}, "target": {}}
                for name, attack in ATTACKS.items():
                    away = model.predict(attack(model, x, labels, epsilon=gray / 255)).argmax(dim=1)
                    led = attack(model, repeated, targets, epsilon=gray / 255, targeted=True)
                    there = model.predict(led).argmax(dim=1) == targets
                    reached["away"][name] = interval((away != labels).double(), proportion=True)
                    reached["target"][name] = interval(there.double().view(images, -1).mean(dim=1))
                    meter.add(1)
                found[network][str(gray)] = reached
    return found


def smallest(images: int) -> dict[str, list[float]]:
    """The smallest epsilon at which FGSM changes the right answer.

    Args:
        images: how many.

    Returns:
        Network -> the quartiles over the images, in gray values.
    """
    x, labels, _ = menagerie.sample(images, seed=SEED)
    quarters = torch.tensor([0.25, 0.5, 0.75])
    found = {}
    for network in EXPLAINED:
        epsilons = fgsm.smallest_epsilon(models.load(network, device="cpu"), x, labels)
        found[network] = (255 * torch.as_tensor(epsilons).quantile(quarters, interpolation="lower")).tolist()
    return found


def moved(images: int, progress: Progress = None) -> dict[str, Any]:
    """Attack the maps of each network: Grad-CAM and the gradient, towards the quarter with least of the object.

    Args:
        images: how many.
        progress: True, or a callback (done, total), called after every attack.

    Returns:
        Network -> what was done to the images ("nothing", "random signs", or the explanation that was attacked) ->
        "same answer" and "probability" of the predicted class, and for each map "in the region", "on the object" and
        "peak on the object": the mean with its 95 % interval.
    """
    x, _, masks = menagerie.sample(images, seed=SEED)
    regions = torch.stack([far_quarter(mask) for mask in masks["object"].float()])
    found: dict[str, Any] = {}
    with Meter(progress, len(EXPLAINED) * len(MAPS)) as meter:
        for network in EXPLAINED:
            model = models.load(network, device="cpu")
            c = model.predict(x).argmax(dim=1)
            tried = {"nothing": x, "random signs": fgsm.random_signs(x, EPSILON)}
            for name in MAPS:
                options: dict[str, Any] = {"region": regions, "explanation": name, "epsilon": EPSILON, "steps": STEPS}
                tried[name] = fgsm.attack_map(model, x, c, **options)
                meter.add(1)
            found[network] = {name: _measured(model, changed, c, regions, masks) for name, changed in tried.items()}
    return found


def _measured(model: models.Classifier, x: Tensor, c: Tensor, regions: Tensor, masks: Any) -> dict[str, Any]:
    p = model.predict(x)
    values: dict[str, Any] = {
        "same answer": interval((p.argmax(dim=1) == c).double(), proportion=True),
        "probability": interval(p.gather(1, c[:, None])[:, 0]),
    }
    for name, method in MAPS.items():
        heat = evaluation.heat(method(model, x, c))
        values[name] = {
            "in the region": interval((heat * regions).sum(dim=(1, 2)) / heat.sum(dim=(1, 2))),
            "on the object": interval(evaluation.energy_inside(heat, masks, name="object")),
            "peak on the object": interval(evaluation.pointing_game(heat, masks), proportion=True),
        }
    return values


def measure(attacked: int = 200, aimed: int = 30, explained: int = 50, progress: Progress = None) -> results.Result:
    """The attacks on answers and those on maps; it takes ten minutes.

    Args:
        attacked: images whose answer is attacked.
        aimed: images attacked towards each other class.
        explained: images whose maps are attacked.
        progress: True, or a callback (done, total), of each part.

    Returns:
        "transfer" and "answers" as of `made`, "smallest" as of `smallest`, "targeted" as of `targeted`, and "maps" as
        of `moved`.
    """
    settings = {"attacked": attacked, "aimed": aimed, "explained": explained, "epsilon": EPSILON, "steps": STEPS}
    values = {
        **made(attacked, progress),
        "smallest": smallest(attacked),
        "targeted": targeted(aimed, progress),
        "maps": moved(explained, progress),
    }
    return results.Result({**settings, "seed": SEED}, values)
