"""The one number of an evaluation, with all that a reader needs beside it.

The card is the JSON object ``number_card`` of ``summary.json``; ``text`` in it is a paragraph for a paper or a review.
"""

from __future__ import annotations

from collections.abc import Sequence

from tumortrace.evaluation.verdict import Verdict, which_chose
from tumortrace.json_csv import Document, nan_to_none
from tumortrace.metrics.calibration import FALSE_ALARM_AREA
from tumortrace.metrics.intervals import count_effective_groups, warn_of_groups
from tumortrace.wording import counted, percent

CHOSEN = {
    "nothing": "No epoch was chosen by scores.",
    "these images": "The epoch was chosen on these very images, so the score is likely too high.",
    "some of these images": "The epoch was chosen on some of these very images, so the score is likely too high.",
    "other images": "The epoch was chosen on other images.",
    "unknown": "The model does not say what its epoch was chosen on.",
}
"""Sentences on what the kept epoch was chosen on."""


def make_number_card(summary: Document, verdict: Verdict, groups: Sequence[str]) -> Document:
    """Gather what a reader needs to judge the mean Dice of an evaluation.

    Args:
        summary: Content of ``summary.json``, as far as it is made; false alarms and slices outlined twice are those of
            the images behind the number.
        verdict: Verdict on it.
        groups: Group of each image that has a Dice, of those behind the number.
    """
    known = {name: dice for name, dice in verdict.baselines.items() if dice["mean"] is not None}
    best = max(known, key=lambda name: known[name]["mean"], default=None)
    twice, alarms, clean = summary["outlined_twice"], summary["false_alarms"], summary["clean"]
    card: Document = {
        "believable": verdict.believable,
        "images": verdict.images,
        "n": verdict.scores["n"],
        "undefined": verdict.scores["dice"]["undefined"],
        "scored": summary["n"],
        "clean": None if clean is None else clean["n"],
        "groups": len(set(groups)),
        "effective_groups": round(count_effective_groups(groups), 1),
        "dice": _pick(verdict.scores["dice"]),
        "annotators": twice and _pick_sides(twice),
        "best_baseline": None if best is None else {"name": best, "dice": _pick(known[best])},
        "tumour_free_slices": alarms["tumour_free_slices"],
        "marked_tumour_free": alarms["painted"],
        "heads": alarms["heads"],
        "false_lesions_per_head": alarms["false_lesions_per_head"],
        "chosen_on": _find_chosen_on(summary),
    }
    return dict(nan_to_none(card | {"text": " ".join(_describe(card, verdict.heading))}))


def _pick(dice: Document) -> Document:
    return {"mean": dice["mean"], "ci95": dice["ci95"]}


def _pick_sides(twice: Document) -> Document:
    dices = {side: _pick(twice[side]) for side in ("model", "annotators")}
    return dices | {key: twice[key] for key in ("n", "groups", "effective_groups")}


def _find_chosen_on(summary: Document) -> str:
    chosen = summary["card"].get("selected_on", "" if summary["folds"] else None)
    if chosen is None:
        return "unknown"
    if not chosen:
        return "nothing"
    which = which_chose(summary)
    return "other images" if not which else "these images" if which == "these" else "some of these images"


def _describe(card: Document, heading: str) -> list[str]:
    """Return the card in sentences, each of which stands on its own; a number not to believe says so at once."""
    clean = "unknown how many" if card["clean"] is None else card["clean"]
    where = f"{_name_images(card)} ({card['scored']} scored, {clean} clean)"
    sentences = [f"Mean Dice {_show(card['dice'])} on {where}."]
    sentences += [] if card["believable"] else [f"{heading}."]
    warning = warn_of_groups(card["groups"], card["effective_groups"])
    sentences += [f"{warning.capitalize()}."] if warning else []
    if best := card["best_baseline"]:
        name = best["name"].replace("_", " ")
        sentences.append(f"The best prediction without a network ({name}) reaches {_show(best['dice'])}.")
    if twice := card["annotators"]:
        warning = warn_of_groups(twice["groups"], twice["effective_groups"])
        sentences.append(
            f"On the {counted(twice['n'], 'image')} outlined twice, two outlines agree at mean Dice "
            f"{_show(twice['annotators'])} and the model reaches {_show(twice['model'])}"
            f"{f'; {warning}' if warning else ''}."
        )
    if card["tumour_free_slices"]:
        marked = card["marked_tumour_free"]
        sentences.append(
            f"The model marks more than {100 * FALSE_ALARM_AREA:g} % of the frame on "
            f"{round(marked['share'] * card['tumour_free_slices'])} of "
            f"{counted(card['tumour_free_slices'], 'tumour-free slice')}: "
            f"{percent(marked['share'], 1)}{_interval(marked['ci95'], percent=True)}."
        )
    false_lesions = card["false_lesions_per_head"]
    sentences.append(
        f"False lesions per head: {false_lesions['mean']:.2f}{_interval(false_lesions['ci95'])} over "
        f"{counted(card['heads'], 'head')} (patients, or groups of copies where no patient is named)."
    )
    return [*sentences, CHOSEN[card["chosen_on"]]]


def _name_images(card: Document) -> str:
    """Name the images that the mean is of, and the tumour-free ones: with no Dice, or with a Dice of 0."""
    undefined, defined = card["undefined"], card["n"] - card["undefined"]
    if not defined:
        return str(card["images"])
    some = f"{defined} of {card['images']}" if undefined else card["images"]
    verbs = "was left empty and has" if undefined == 1 else "were left empty and have"
    without = f"; {undefined} without tumour {verbs} no Dice" if undefined else ""
    marked = card["tumour_free_slices"] - undefined
    without += f"; {marked} without tumour {'was' if marked == 1 else 'were'} marked, Dice 0" if marked > 0 else ""
    return f"{some} in {counted(card['groups'], 'group')} of copies and patients{without}"


def _show(dice: Document) -> str:
    return "undefined" if dice["mean"] is None else f"{dice['mean']:.3f}{_interval(dice['ci95'])}"


def _interval(bounds: Sequence[float] | None, *, percent: bool = False) -> str:
    """Format an interval in brackets after a number; empty if it is undefined."""
    if bounds is None:
        return ""
    low, high = (f"{100 * bound:.1f}" if percent else f"{bound:.3f}" for bound in bounds)
    return f" (95 % CI {low} to {high}{' %' if percent else ''})"
