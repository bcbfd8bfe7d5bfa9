"""Predict, then reveal: questions to answer before the result is shown.

A question shows radio buttons and a Reveal button. The first wrong answer gets a hint, the second one the solution. Its
text, options and answer are stored in `lessons.quizzes`, so that a notebook's code does not give them away::

    question = quiz.ask("lesson1.shift")
    question                                          # the last line of the cell shows it
    question.answer("b")                              # the same from Python

What a question needs from the notebook is passed by name, as in ``quiz.ask("lesson2.layer", layers=scores, ...)``.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from xai_lessons.core import libraries
from xai_lessons.core.inputs import closest
from xai_lessons.lessons import quizzes
from xai_lessons.lessons.exercise import Verdict, show

LETTERS = "abcdefgh"
_STYLE = """<style>
.xai-quiz { border: 1px solid var(--jp-border-color2, #ccc); border-radius: 8px; padding: 10px 14px; max-width: 900px; }
.xai-quiz .xai-ask { font-size: 16px; line-height: 1.45; }
.xai-quiz .widget-radio-box label { font-size: 15px; height: auto; line-height: 1.5; white-space: normal; }
</style>"""


class Question:
    """A question with lettered options: `ask` makes those of the lessons, and you can make your own.

    Attributes:
        text: the question.
        options: letter -> option.
        given: the letters that were answered before the solution was shown: none, one or two.
        solved: whether the last of them is right.
    """

    def __init__(
        self, text: str, options: Sequence[str], answer: str, why: str, hints: Mapping[str, str] | None = None
    ) -> None:
        """Make a question.

        Args:
            text: the question, plain text.
            options: two to eight different short answers; they get the letters a, b, c, ...
            answer: the letter of the correct option.
            why: the explanation, shown with the solution.
            hints: letter -> the hint for this wrong option; ``any`` -> the hint for every other one.

        Raises:
            ValueError: if the answer or a hint does not belong to an option.

        Example:
            >>> question = Question("2 + 2?", ["3", "4"], answer="b", why="Count.", hints={"a": "That is too small."})
            >>> question.judge("a")
            Not yet. That is too small. Choose again.
        """
        if not 2 <= len(options) <= len(LETTERS) or len(set(options)) < len(options):
            raise ValueError(f"expected two to {len(LETTERS)} different options, got {len(options)}")
        self.text, self.options = text, dict(zip(LETTERS, options, strict=False))
        for letter in (answer, *(key for key in hints or () if key != "any")):
            if letter not in self.options:
                raise ValueError(
                    f"{letter!r} is not the letter of an option: expected one of {', '.join(self.options)}"
                )
        self._answer, self._why, self._hints = answer, why, dict(hints or {})
        self.given: list[str] = []
        self._revealed = False
        self._widget: Any = None

    @property
    def solved(self) -> bool:
        """Whether the last answer before the solution was shown is right."""
        return bool(self.given) and self.given[-1] == self._answer

    def answer(self, choice: str) -> None:
        """Answer the question: the first wrong answer shows a hint, the second one the solution.

        Args:
            choice: the letter, or the option itself.

        Raises:
            ValueError: if there is no such option.
        """
        show(self.judge(choice))

    def judge(self, choice: str) -> Verdict:
        """The verdict on an answer: a letter, or the option itself."""
        chosen = next((k for k, option in self.options.items() if choice == option), str(choice).strip().lower())
        if chosen not in self.options:
            raise ValueError(f"{choice!r} is not an answer to this question: expected one of {', '.join(self.options)}")
        if not self._revealed and chosen not in self.given:
            self.given.append(chosen)
        self._revealed = self._revealed or chosen == self._answer or len(self.given) > 1
        if chosen == self._answer:
            return Verdict("right", self._why)
        hint = self._hints.get(chosen, self._hints.get("any", ""))
        if not self._revealed:
            return Verdict("wrong", f"{hint} Choose again.".strip())
        answer = f"{self._answer}) {self.options[self._answer].rstrip('.')}. {self._why}"
        return Verdict("revealed", f"{hint} The answer is {answer}".strip())

    @property
    def widget(self) -> Any:
        """The ipywidgets view, made on first use."""
        if self._widget is None:
            self._widget = self._build()
        return self._widget

    def _build(self) -> Any:
        import ipywidgets as widgets

        text = widgets.HTML(f'{_STYLE}<div class="xai-ask"><b>Predict.</b> {html.escape(self.text)}</div>')
        choices = [(f"{letter})  {option}", letter) for letter, option in self.options.items()]
        radio = widgets.RadioButtons(options=choices, value=None, layout=widgets.Layout(width="auto"))
        reveal = widgets.Button(description="Reveal", disabled=True, button_style="primary")
        reveal.tooltip = "Choose an answer first"
        verdict = widgets.HTML()

        def chosen(_change: Any) -> None:
            reveal.disabled = False

        def revealed(_button: Any) -> None:
            reveal.disabled = True  # until another answer is chosen
            verdict.value = self.judge(radio.value)._repr_html_()

        radio.observe(chosen, "value")
        reveal.on_click(revealed)
        return widgets.VBox([text, radio, reveal, verdict]).add_class("xai-quiz")

    def __repr__(self) -> str:
        options = (f"  {letter}) {option}" for letter, option in self.options.items())
        return "\n".join([f"Predict. {self.text}", *options])

    def _static(self) -> str:
        """The HTML that is shown where no widget runs."""
        listed = "<br>".join(f"{letter}) {html.escape(option)}" for letter, option in self.options.items())
        return (
            f"<p><b>Predict.</b> {html.escape(self.text)}</p><p>{listed}</p><p><i>Run this cell to answer, and to see "
            "whether you are right.</i></p>"
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {**libraries.widget_view(self.widget), "text/plain": repr(self), "text/html": self._static()}


def ask(name: str, **values: Any) -> Question:
    """A question of a lesson.

    Args:
        name: the lesson and the question, such as ``lesson1.shift``.
        values: what its text, its options and its answer need from the notebook.

    Returns:
        The question; it is displayed if it is the last line of a cell.

    Raises:
        ValueError: if there is no such question, or a value is missing.

    Example:
        >>> ask("lesson1.shift")  # doctest: +ELLIPSIS
        Predict. Now a cat that the network is sure of: 100%. It is moved ... What does the network say?
          a) still cat, about as confident
          b) something else
          c) all ten classes about equally
    """
    lesson, _, key = name.partition(".")
    known = [
        f"{path.stem}.{each}" for path in sorted(quizzes.FOLDER.glob("*.json")) for each in quizzes.load(path.stem)
    ]
    if name not in known:
        raise ValueError(f"there is no question {name!r}: did you mean {closest(name, known)}?")
    entry = quizzes.load(lesson)[key]
    try:
        named = entry["options"]
        options = [str(each).format(**values) for each in (values[named] if isinstance(named, str) else named)]
        letter = _letter(entry["answer"], options, values)
        text, why = entry["text"].format(**values), entry["why"].format(**values)
    except KeyError as missing:
        raise ValueError(f"the question {name!r} needs the value {missing}: pass it by name") from None
    return Question(text, options, letter, why, {k: hint for k, hint in entry["hints"].items() if k != letter})


def _letter(answer: Any, options: Sequence[str], values: Mapping[str, Any]) -> str:
    """The letter of the right option; `quizzes.load` explains the three kinds of answers."""
    if isinstance(answer, str):
        return answer
    if "option" in answer:
        return LETTERS[options.index(str(values[answer["option"]]))]
    measured = float(values[answer["of"]])
    limits = {letter: values[limit] if isinstance(limit, str) else limit for letter, limit in answer["above"].items()}
    return next((letter for letter, limit in limits.items() if measured > limit), answer["else"])
