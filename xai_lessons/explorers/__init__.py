"""The explorers: user interface only, a file each; `kit` is what they are made of."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=("kit",),
    submod_attrs={
        "cam": ["CamExplorer"],
        "candidates": ["CandidatesExplorer"],
        "classification": ["PredictionExplorer"],
        "deletion": ["DeletionExplorer"],
        "detection": ["DetectionExplorer"],
        "detective": ["DetectiveExplorer"],
        "eraser": ["EraserExplorer"],
        "fgsm": ["AttackExplorer"],
        "filters": ["FilterExplorer"],
        "hardening": ["HardeningExplorer"],
        "inversion": ["InversionExplorer"],
        "judging": ["LeaderboardExplorer"],
        "layers": ["LayerExplorer"],
        "mistakes": ["MistakesExplorer"],
        "occlusion": ["OcclusionExplorer"],
        "path": ["PathExplorer"],
        "robustness": ["RobustnessExplorer"],
        "saliency": ["SaliencyExplorer"],
        "sanity": ["SanityExplorer"],
        "scores": ["ScoresExplorer"],
        "training": ["TrainingExplorer"],
    },
)
