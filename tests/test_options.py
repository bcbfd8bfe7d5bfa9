"""Every number option of every method: what is no number of its kind is refused in one sentence that names it."""

import inspect
import math
from numbers import Real

import pytest
import torch

from methods import METHODS
from nets import PoolingNet, pictures, seeded
from xai_lessons import detection, evaluation, fgsm, inversion, occlusion, saliency

X = pictures(2)
NEGATIVE_ALLOWED = {"seed"}


def functions():
    """Name -> a call with these options, and the number options with their defaults."""
    net, maps = seeded(PoolingNet), X.mean(dim=1)
    found = {name: (lambda m=m, **o: m(net, X, 1, **o), m.function) for name, m in METHODS.items()}
    found["random_masks"] = (
        lambda **o: occlusion.random_masks(**{"samples": 4, "height": 8, "width": 8} | o),
        occlusion.random_masks,
    )
    found["windows"] = (lambda **o: occlusion.windows(16, 16, **o), occlusion.windows)
    found["erase_top"] = (lambda **o: occlusion.erase_top(X, maps, **{"fraction": 0.5} | o), occlusion.erase_top)
    found["keep_top"] = (lambda **o: occlusion.keep_top(X, maps, **{"fraction": 0.5} | o), occlusion.keep_top)
    found["superpixels"] = (lambda **o: occlusion.superpixels(X, **o), occlusion.superpixels)
    found["neuron_gradient"] = (
        lambda **o: saliency.neuron_gradient(net, X, **{"neuron": 1} | o),
        saliency.neuron_gradient,
    )
    found["robust_accuracy"] = (
        lambda **o: fgsm.robust_accuracy(net, X, [0, 1], attack="pgd", **o),
        fgsm.robust_accuracy,
    )
    for name in ("insertion", "deletion"):
        function = getattr(evaluation, name)
        found[name] = (lambda function=function, **o: function(net, X, maps, 1, **o), function)

    def infidelity(**options):
        kind = "noise" if "sigma" in options else "patch"  # each has options of its own
        return evaluation.infidelity(net, X, maps, 1, perturbation=kind, **options)

    found["infidelity"] = (infidelity, evaluation.infidelity)
    scores = (lambda **o: evaluation.pointing_game(maps, maps > 0.5, **o), evaluation.pointing_game)
    found["pointing_game"] = scores
    found["max_sensitivity"] = (
        lambda **o: evaluation.max_sensitivity(saliency.gradient, net, X, 1, **o),
        evaluation.max_sensitivity,
    )
    found["compare"] = (
        lambda **o: evaluation.compare(
            ["gradient"], {"net": net}, (X, torch.tensor([0, 1]), [{"object": m > 0} for m in maps]), **o
        ),
        evaluation.compare,
    )
    found["randomize_layers"] = (lambda **o: evaluation.randomize_layers(net, **o), evaluation.randomize_layers)
    return found


def number_options(function):
    """The options that take a number: name, default, and whether only whole numbers make sense."""
    for option in inspect.signature(function).parameters.values():
        kinds = set(str(option.annotation).replace("None", "").replace("|", " ").split())
        if option.name not in ("model", "images", "targets", "height", "width", "size") and kinds & {"int", "float"}:
            yield option.name, option.default, "float" not in kinds


def refused(call, option, value):
    with pytest.raises((TypeError, ValueError)) as caught:
        call(**{option: value})
    text = str(caught.value)
    assert option in text, f"{option}={value!r}: {text}"
    assert "\n" not in text
    place = caught.traceback[-1].path
    assert "xai_lessons" in str(place), f"{option}={value!r} is refused by {place}: {text}"


@pytest.mark.parametrize("name", functions())
def test_wrong_numbers_are_refused_in_one_sentence(name):
    call, function = functions()[name]
    options = list(number_options(function))
    assert options or name in ("cam", "grad_cam"), f"{name} has no number option"
    for option, default, whole in options:
        if option == "labels":
            continue
        for value in [1.5] * whole + [True, "three", math.nan]:
            refused(call, option, value)
        if default is not None:
            refused(call, option, None)
        if option not in NEGATIVE_ALLOWED:
            refused(call, option, -1)


@pytest.mark.parametrize("name", ["occlusion", "rise", "lime", "kernel_shap"])
@pytest.mark.parametrize("fill", [None, True, lambda x: x, {"black"}], ids=["None", "True", "function", "set"])
def test_a_fill_of_another_kind_is_refused(name, fill):
    with pytest.raises(TypeError, match="fill must be 'black', .* a color .* got") as caught:
        METHODS[name](seeded(PoolingNet), X, 1, fill=fill)
    assert "\n" not in str(caught.value)


def test_whole_numbers_of_other_libraries_are_taken():
    net = seeded(PoolingNet)
    expected = METHODS["occlusion"](net, X, 1, patch=4, stride=2, batch_size=5)
    other = {"patch": torch.tensor(4), "stride": torch.tensor(2).numpy()[()], "batch_size": torch.tensor(5)}
    assert all(not isinstance(value, int) for value in other.values())
    assert not isinstance(other["patch"], Real)
    assert torch.equal(METHODS["occlusion"](net, X, 1, **other), expected)


DEFAULTS = {  # what the docs and the lessons mean where they name no option; seed=0 and size="image" everywhere
    "compare": {"radius": 0.02, "samples": 10, "steps": 32},
    "d_rise": {"samples": 1000, "cells": 16, "fraction": 0.5, "fill": "black", "fast": False},
    "deep_lift": {"baseline": 0.0},
    "deletion": {"steps": 32, "fill": "black", "output": "probability"},
    "erase_top": {"fill": "black"},
    "fgsm": {"epsilon": 8 / 255, "targeted": False},
    "gradient_shap": {"samples": 32, "baseline": 0.0, "sigma": 0.0},
    "hide": {"fill": "black"},
    "infidelity": {"perturbation": "patch", "sigma": 0.1, "samples": 64, "normalize": False, "output": "logit"},
    "insertion": {"steps": 32, "fill": "blur", "output": "probability"},
    "integrated_gradients": {"steps": 32, "baseline": 0.0},
    "invert": {"mean": False, "steps": 200, "optimizer": "adam", "tv": 2.0, "jitter": 0, "parametrization": "pixels"},
    "keep_top": {"fill": "black"},
    "kernel_shap": {"segments": 50, "samples": 500, "fill": "mean", "output": "logit", "fast": False},
    "lime": {"segments": 50, "samples": 500, "width": 0.25, "penalty": "ridge", "fill": "mean", "output": "logit",
             "fast": False},
    "lrp": {"rule": "epsilon", "epsilon": 1e-6, "gamma": 0.25},
    "maximize": {"where": "everywhere", "steps": 128, "optimizer": "adam", "tv": 2.0, "jitter": 4,
                 "parametrization": "pixels"},
    "max_sensitivity": {"radius": 0.02, "samples": 10},
    "occlusion": {"fill": "black", "output": "logit", "fast": False},
    "pgd": {"epsilon": 8 / 255, "steps": 10, "targeted": False, "random_start": False},
    "pointing_game": {"tolerance": 0, "name": "object"},
    "random_masks": {"cells": 8, "fraction": 0.5},
    "rise": {"samples": 400, "cells": 8, "fraction": 0.5, "fill": "black", "output": "probability", "fast": False},
    "robust_accuracy": {"epsilons": (0, 2 / 255, 4 / 255, 8 / 255, 16 / 255), "attack": "fgsm", "steps": 10},
    "score_cam": {"fast": False},
    "smallest_epsilon": {"targeted": False, "largest": 0.25, "steps": 16},
    "smooth_grad": {"samples": 25, "sigma": 0.04, "kind": "mean"},
    "superpixels": {"segments": 50},
}  # fmt: skip


OTHERS = {
    function.__name__: function
    for function in (detection.d_rise, fgsm.random_signs, occlusion.hide, inversion.invert, inversion.maximize)
}


@pytest.mark.parametrize("name", [*functions(), *OTHERS])
def test_the_defaults_are_the_documented_ones(name):
    function = OTHERS[name] if name in OTHERS else functions()[name][1]
    options = inspect.signature(function).parameters.values()
    found = {option.name: option.default for option in options if isinstance(option.default, Real | str | tuple)}
    assert found.pop("seed", 0) == 0
    assert found.pop("size", "image") == "image"
    found.pop("metrics", None)
    assert found == DEFAULTS.get(name, {})
