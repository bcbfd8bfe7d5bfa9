"""What a lesson asks and checks: exercises, quizzes, submissions."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "checks",
        "detective",
        "exercise",
        "quiz",
        "quizzes",
        "submission",
        "trust",
    ),
)
