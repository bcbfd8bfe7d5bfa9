"""Predict, then reveal: questions to answer before the result is shown.

A question shows radio buttons and a Reveal button; on GitHub, where no widget runs, it shows the question, its options
and the folded answer. It can also be answered in Python::

    question = quiz.ask(
        "The umbrella moves to the corner of the picture. What does the network say?",
        ["umbrella still", "something else", "all classes equally"],
        answer="a",                                   # a letter; it may be computed
        why="Convolutions look for the same thing everywhere, and the average over the map forgets where it was.",
        hints={"b": "It would if it had learned positions instead of shapes."},       # shown for a wrong answer
    )
    question                                          # the last line of the cell shows it
    question.answer("b")                              # the same from Python
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from xai_lessons.lessons.exercise import Verdict, show

LETTERS = "abcdefgh"
_STYLE = """<style>
.xai-quiz { border: 1px solid var(--jp-border-color2, #ccc); border-radius: 8px; padding: 10px 14px; max-width: 900px; }
.xai-quiz .xai-ask { font-size: 16px; line-height: 1.45; }
.xai-quiz .widget-radio-box label { font-size: 15px; height: auto; line-height: 1.5; white-space: normal; }
</style>"""


class Question:
    """A question with lettered options; made by `ask`.

    Attributes:
        text: the question.
        options: letter -> option.
        right: the letter of the correct option.
        given: the letter that was answered last, or None.
    """

    def __init__(self, text: str, options: Mapping[str, str], right: str, why: str, hints: Mapping[str, str]) -> None:
        self.text, self.options, self.right, self.why = text, dict(options), right, why
        self.hints = dict(hints)
        self.given: str | None = None
        self._widget: Any = None

    def answer(self, choice: str) -> None:
        """Answer the question, and show whether the answer is right and why.

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
        self.given = chosen
        if chosen == self.right:
            return Verdict("right", self.why)
        hint = f"{self.hints[chosen]} " if chosen in self.hints else ""
        return Verdict("wrong", f"{hint}It is {self.right}) {self.options[self.right]}. {self.why}")

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
        answer = html.escape(f"{self.right}) {self.options[self.right]}. {self.why}")
        return (
            f"<p><b>Predict.</b> {html.escape(self.text)}</p><p>{listed}</p>"
            f"<details><summary>Reveal</summary>{answer}</details>"
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {**self.widget._repr_mimebundle_(), "text/plain": repr(self), "text/html": self._static()}


def ask(text: str, options: Sequence[str], answer: str, why: str, hints: Mapping[str, str] | None = None) -> Question:
    """Make a question.

    Args:
        text: the question, plain text.
        options: two to eight short answers; they get the letters a, b, c, ...
        answer: the letter of the correct option.
        why: the explanation, shown for right and wrong answers.
        hints: letter -> what is wrong with that answer, shown before the explanation.

    Returns:
        The question; it is displayed if it is the last line of a cell.

    Raises:
        ValueError: if the answer or a hint does not belong to an option.

    Example:
        >>> question = ask("2 + 2?", ["3", "4"], answer="b", why="Count.", hints={"a": "Too small."})
        >>> question.judge("a")
        Not yet. Too small. It is b) 4. Count.
    """
    if not 2 <= len(options) <= len(LETTERS) or len(set(options)) < len(options):
        raise ValueError(f"expected two to {len(LETTERS)} different options, got {len(options)}")
    lettered = dict(zip(LETTERS, options, strict=False))
    for letter in (answer, *(hints or ())):
        if letter not in lettered:
            raise ValueError(f"{letter!r} is not the letter of an option: expected one of {', '.join(lettered)}")
    return Question(text, lettered, answer, why, hints or {})
