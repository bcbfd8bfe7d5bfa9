"""Attacks over many scenes: other networks, the map of an attacked answer, and a map moved while the answer stays."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from xai_lessons import evaluation, models, results, training
from xai_lessons.core.progress import Meter, Progress
from xai_lessons.data import datasets, menagerie
from xai_lessons.methods import cam, fgsm, saliency
from xai_lessons.results.cheat import interval

EPSILON = 8 / 255
SEED = 5  # of the scenes; no network was trained on them
NETWORKS = ("menagerie-resnet", "menagerie-vgg", "menagerie-robust", "menagerie-shortcut")
EVALUATED = (*NETWORKS, "detective-c")  # the last one has the architecture of the residual ones and its own weights
ATTACKS = {"FGSM": fgsm.fgsm, "PGD": fgsm.pgd}
EXPLAINED = NETWORKS[:3]  # the networks whose maps are attacked
AIMED, GRAY = ("menagerie-resnet", "menagerie-robust"), (4, 8)  # of the targeted attacks
MAPS = {"grad_cam": cam.grad_cam, "gradient": saliency.gradient}
ATTACKED_MAPS = (*MAPS, fgsm.BOTH)
STEPS = 20  # of an attack on a map
FAR = 12  # pixels that a peak moves


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
        both classes before it, of the "wrong class" the rank correlation of its map after the attack with its map
        before, with that of the true class before and with that of another image, of its maps before and after "random
        signs", and the fraction of its peaks that move by more than `FAR`; and the numbers of right answers that are
        wrong where only the object's pixels were changed, and only the others.
    """
    x, labels, masks = menagerie.sample(images, seed=SEED)
    evaluated = {name: models.load(name, device="cpu") for name in EVALUATED}
    loaded = {name: evaluated[name] for name in NETWORKS}
    coin = fgsm.random_signs(x, EPSILON)

    def right(attacked: Tensor) -> dict[str, list[float]]:
        return {
            name: interval((model.predict(attacked).argmax(dim=1) == labels).double(), proportion=True)
            for name, model in evaluated.items()
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

    def of_wrong_class(
        model: models.Classifier, changed: Tensor, wrong: Tensor, counted: Tensor
    ) -> dict[str, list[float]]:
        before, after, still = (cam.grad_cam(model, images, wrong) for images in (x, changed, coin))
        true = cam.grad_cam(model, x, labels)
        others = {"before": before, "true class before": true, "another image's": before.roll(1, dims=0)}
        peaks = [torch.stack(torch.unravel_index(M.flatten(1).argmax(dim=1), M.shape[1:])) for M in (before, after)]
        far = (peaks[0] - peaks[1]).double().norm(dim=0) > FAR
        return {
            **{name: interval(evaluation.rank_correlation(after, M)[counted]) for name, M in others.items()},
            "random signs": interval(evaluation.rank_correlation(still, before)[counted]),
            "peak moved": interval(far[counted].double(), proportion=True),
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
            values["wrong class"] = of_wrong_class(model, changed, answer, counted)
            own = masks["object"][:, None]
            for name, where in {"object": own, "background": ~own}.items():
                wrong = model.predict(torch.where(where, changed, x)).argmax(dim=1) != labels
                values[f"wrong, only the {name} changed"] = int((wrong & right).sum())
        return values

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
    """Attack the maps of each network: Grad-CAM, the gradient, and both, towards the quarter with least of the object.

    Args:
        images: how many.
        progress: True, or a callback (done, total), called after every attack.

    Returns:
        Network -> what was done to the images ("nothing", "random signs", or the explanation that was attacked) ->
        "same answer" and "probability" of the predicted class, "alike": the rank correlation of the two maps, and for
        each map "in the region", "on the object" and "peak on the object": the mean with its 95 % interval.
    """
    x, _, masks = menagerie.sample(images, seed=SEED)
    regions = torch.stack([far_quarter(mask) for mask in masks["object"].float()])
    found: dict[str, Any] = {}
    with Meter(progress, len(EXPLAINED) * len(ATTACKED_MAPS)) as meter:
        for network in EXPLAINED:
            model = models.load(network, device="cpu")
            c = model.predict(x).argmax(dim=1)
            tried = {"nothing": x, "random signs": fgsm.random_signs(x, EPSILON)}
            for name in ATTACKED_MAPS:
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
    heats = {name: evaluation.heat(method(model, x, c)) for name, method in MAPS.items()}
    values["alike"] = interval(evaluation.rank_correlation(*heats.values()))
    for name, heat in heats.items():
        values[name] = {
            "in the region": interval((heat * regions).sum(dim=(1, 2)) / heat.sum(dim=(1, 2))),
            "on the object": interval(evaluation.energy_inside(heat, masks, name="object")),
            "peak on the object": interval(evaluation.pointing_game(heat, masks), proportion=True),
        }
    return values


def hardened(images: int, pictures: int) -> dict[str, Any]:
    """The residual network trained further, on pictures as they are (epsilon 0: the control) and on attacked ones.

    Args:
        images: how many to measure on.
        pictures: how many to train on, three times each.

    Returns:
        "0" and "8", the gray values of the attack in training -> "FGSM": the accuracy under it, "steepness": the sum of
        |dY/dx| for one gray value, "on the object": the fraction of the gradient's size; each with its 95 % interval.
    """
    x, labels, masks = menagerie.sample(images, seed=SEED)
    start, train = models.load(NETWORKS[0], device="cpu"), datasets.drawn(pictures, seed=0)
    found = {}
    for gray in (0, 8):
        model = copy.deepcopy(start).requires_grad_()
        options: dict[str, Any] = {"epochs": 3, "batch_size": 64, "learning_rate": 0.004, "adversarial": gray / 255}
        training.fit(model, train.images, train.labels, (x, labels), **options)
        found[str(gray)] = _hardness(model.eval().requires_grad_(requires_grad=False), x, labels, masks)
    return found


def _hardness(model: models.Classifier, x: Tensor, labels: Tensor, masks: Any) -> dict[str, list[float]]:
    right = model.predict(fgsm.fgsm(model, x, labels, epsilon=EPSILON)).argmax(dim=1) == labels
    gradient = saliency.gradient(model, x, labels)
    return {
        "FGSM": interval(right.double(), proportion=True),
        "steepness": interval(gradient.abs().sum(dim=(1, 2, 3)) / 255),
        "on the object": interval(evaluation.energy_inside(evaluation.heat(gradient), masks)),
    }


def measure(
    attacked: int = 200, aimed: int = 30, explained: int = 50, trained: int = 3000, progress: Progress = None
) -> results.Result:
    """The attacks on answers and those on maps, and training against them; it takes twelve minutes.

    Args:
        attacked: images whose answer is attacked.
        aimed: images attacked towards each other class.
        explained: images whose maps are attacked.
        trained: images that the residual network is trained on further.
        progress: True, or a callback (done, total), of each part.

    Returns:
        "transfer" and "answers" as of `made`, "smallest" as of `smallest`, "targeted" as of `targeted`, "maps" as of
        `moved`, and "hardened" as of `hardened`.
    """
    settings: dict[str, Any] = {"attacked": attacked, "aimed": aimed, "explained": explained, "trained": trained}
    settings |= {"epsilon": EPSILON, "steps": STEPS}
    values = {
        **made(attacked, progress),
        "smallest": smallest(attacked),
        "targeted": targeted(aimed, progress),
        "maps": moved(explained, progress),
        "hardened": hardened(explained, trained),
    }
    return results.Result({**settings, "seed": SEED}, values)
