"""The explanation methods, one file per family."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "cam",
        "catalog",
        "detection",
        "fgsm",
        "inversion",
        "occlusion",
        "paths",
        "perturbation",
        "relevance",
        "guided",
        "saliency",
        "surrogates",
    ),
)
