"""Trust: the student's votes on a network, from 1 to 5, before and after each piece of evidence, and their plot.

votes = trust.Votes()
votes.ask("the bird network", "its accuracy")        # the last line of a cell shows five buttons
votes.plot({"the bird network": 0.62})               # at the end, beside what is true
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from xai_lessons import plots
from xai_lessons.core import libraries
from xai_lessons.lessons.exercise import Verdict

LEVELS = ("1", "2", "3", "4", "5")
MISSING = "Run the cells that ask for your vote, press a number from 1 to 5 in each, and run this cell again."


class Vote:
    """One question, "do you trust this network?", with five buttons.

    Attributes:
        network: which network, in words.
        evidence: what was shown just before.
        given: the vote, 1 to 5, or None.
    """

    def __init__(self, network: str, evidence: str) -> None:
        self.network, self.evidence = network, evidence
        self.given: int | None = None
        self._widget: Any = None

    def give(self, level: int) -> None:
        """Vote.

        Args:
            level: 1, not at all, to 5, completely.

        Raises:
            ValueError: for any other level.
        """
        if str(level) not in LEVELS:
            raise ValueError(f"expected a vote from 1 to 5, got {level!r}")
        self.given = int(level)

    @property
    def widget(self) -> Any:
        """The ipywidgets view, made on first use."""
        if self._widget is None:
            import ipywidgets as widgets

            text = widgets.HTML(f"<b>Your vote.</b> {html.escape(self._question())}")
            value = None if self.given is None else str(self.given)
            buttons = widgets.ToggleButtons(options=LEVELS, value=value, style={"button_width": "3em"})

            def pressed(change: dict[str, Any]) -> None:
                if change["new"] is not None:
                    self.give(int(change["new"]))

            buttons.observe(pressed, "value")
            self._widget = widgets.VBox([text, buttons]).add_class("xai-vote")
        return self._widget

    def _question(self) -> str:
        return f"After {self.evidence}: do you trust {self.network}? 1: not at all, 5: completely."

    def __repr__(self) -> str:
        return f"Your vote. {self._question()}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        static = f"<p>{html.escape(repr(self))}</p><p><i>Run this cell to vote.</i></p>"
        return {**libraries.widget_view(self.widget), "text/plain": repr(self), "text/html": static}


class Votes:
    """All votes of a notebook, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._votes: dict[tuple[str, str], Vote] = {}

    def ask(self, network: str, evidence: str) -> Vote:
        """Ask for a vote; a cell that runs again keeps the vote that was given.

        Args:
            network: which network, in words.
            evidence: what was shown just before.

        Returns:
            The question; it is displayed if it is the last line of a cell.

        Example:
            >>> Votes().ask("the bird network", "its accuracy")
            Your vote. After its accuracy: do you trust the bird network? 1: not at all, 5: completely.
        """
        again = Vote(network, evidence)
        again.given = self._votes[network, evidence].given if (network, evidence) in self._votes else None
        self._votes[network, evidence] = again
        return again

    @property
    def given(self) -> list[dict[str, Any]]:
        """The votes: network, evidence and vote (1 to 5) of each that was given."""
        return [
            {"network": one.network, "evidence": one.evidence, "vote": one.given}
            for one in self._votes.values()
            if one.given is not None
        ]

    def plot(self, accuracies: Mapping[str, float]) -> Any:
        """Draw the votes beside what is true.

        Args:
            accuracies: network -> its accuracy on a fair test, 0 to 1.

        Returns:
            A figure, or a verdict that says what to do if there are no votes.

        Example:
            >>> Votes().plot({}).kind
            'unattempted'
        """
        if not self.given:
            return Verdict("unattempted", MISSING)
        lines: dict[str, Any] = {}
        for network in dict.fromkeys(one["network"] for one in self.given):
            own = [(n, one["vote"]) for n, one in enumerate(self.given, 1) if one["network"] == network]
            lines[f"your votes on {network}"] = tuple(zip(*own, strict=True))
            if network in accuracies:
                level, xs = 1 + 4 * accuracies[network], [own[0][0] - 0.2, own[-1][0] + 0.2]
                lines[f"{network} on a fair test: {accuracies[network]:.0%}"] = (xs, [level, level])
        listed = "; ".join(f"{n}: after {one['evidence']}" for n, one in enumerate(self.given, 1))
        caption = f"Votes {listed}. The dashed lines show the accuracy on a fair test, 0% at 1 and 100% at 5."
        return plots.plot(lines, caption, x_label="vote", y_label="trust, 1 to 5", y_limits=(0.8, 5.2), size=(7.5, 3.8))
