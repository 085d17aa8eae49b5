"""What the scores of an evaluation are worth, in words: whether there is a number to believe, and beside what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tumortrace.files import Document
from tumortrace.reporting.words import counted

FEW = 20
"""Clean images below which a mean tells little."""


@dataclass(frozen=True)
class Verdict:
    """A judgement on an evaluation.

    Attributes:
        heading: Whether its number can be believed; if not, why.
        scores: The judged ones: of the clean images, or of all where these give no number.
        images: Which those are: "17 clean images", "all 24 images".
        baselines: Dice of each prediction without a network on the same images.
        sentences: What a reader has to know.
    """

    heading: str
    scores: Document
    images: str
    baselines: dict[str, Document]
    sentences: tuple[str, ...]


def judge(summary: Document) -> Verdict:
    """Judge an evaluation.

    Args:
        summary: Of ``summary.json``.
    """
    clean, doubt = summary["clean"], _doubt(summary)
    chosen = bool(clean) and clean["dice"]["mean"] is not None
    scores = clean if chosen else summary
    images = counted(clean["n"], "clean image") if chosen else f"all {counted(summary['n'], 'image')}"
    baselines = {name: (each["clean"] if chosen else each)["dice"] for name, each in summary["baselines"].items()}
    sentences = [f"Not a number to believe: {doubt[1]}"] if doubt else []
    sentences += _remark(summary) if chosen else []
    sentences += [_beside_baselines(scores, images, baselines), _beside_annotators(summary)]
    heading = f"Not a number to believe: {doubt[0]}" if doubt else "The number to believe"
    return Verdict(heading, scores, images, baselines, tuple(each for each in sentences if each))


def _doubt(summary: Document) -> tuple[str, str] | None:
    """Why no number can be believed, in a few words and in sentences; None if one can."""
    clean, n = summary["clean"], summary["n"]
    if summary["dice"]["mean"] is None:
        return "no image has a Dice", "no image has a Dice, as none holds a tumour and none was marked."
    if clean is None:
        words = (
            "the model came without training.npz, so any of these images may have been in training, itself or as a "
            "copy. A run folder holds that file: evaluate one."
        )
        return "it is unknown which images are clean", words
    if not clean["n"]:
        words = (
            f"the model was trained on what it is scored on. Of {counted(n, 'image')} not one is free of the training "
            "slices, their copies and their patients: this says how well it remembers, and nothing about new patients."
        )
        return "no image is clean", words
    if clean["dice"]["mean"] is None:
        words = (
            f"the clean images ({clean['n']} of {n}) hold no tumour and nothing was marked there; all that is left is "
            "what was in training."
        )
        return "no clean image has a Dice", words
    return _doubt_origin(summary)


def _doubt_origin(summary: Document) -> tuple[str, str] | None:
    """The same, from how the model came about."""
    card = summary["card"]
    if card.get("remembered") is False:
        words = (
            f"the model began from {card.get('began_from')}, whose training slices are unknown; copies of those may "
            "be among these images."
        )
        return "it is unknown which images are clean", words
    if card.get("selected_on") == summary["data"]["sha256"]:
        return "these images chose the model", "these images chose the epoch that was kept, so they flatter it."
    return None


def _remark(summary: Document) -> list[str]:
    clean, n = summary["clean"]["n"], summary["n"]
    remarks = []
    if clean < n:
        verb = "shows" if n - clean == 1 else "show"
        remarks.append(
            f"{n - clean} of {n} images {verb} a slice that was in training as well, turned or re-contrasted, or one "
            f"of its patients; over all {n} the mean is {summary['dice']['mean']:.3f}."
        )
    if clean < FEW:
        verb = "image is" if clean == 1 else "images are"
        remarks.append(f"Only {clean} {verb} clean: too few to tell much; cross-validate by groups instead.")
    return remarks


def _beside_baselines(scores: Document, images: str, baselines: Mapping[str, Document]) -> str:
    """The mean Dice against the best trivial prediction on the same images."""
    known = {name: spread["mean"] for name, spread in baselines.items() if spread["mean"] is not None}
    mean = scores["dice"]["mean"]
    if mean is None or not known:
        return ""
    name = max(known, key=lambda each: known[each])
    lead = round(mean, 3) - round(known[name], 3)  # as a reader sees them
    verb = "beats" if lead > 0 else "is below" if lead < 0 else "is no better than"
    what = f"the best prediction without a network ({name.replace('_', ' ')}: {known[name]:.3f})"
    return f"On {images} the model's {mean:.3f} {verb} {what}."


def _beside_annotators(summary: Document) -> str:
    agreement = summary["agreement"]
    if not agreement or agreement["dice"]["mean"] is None:
        return ""
    mean = agreement["dice"]["mean"]
    return f"Two annotators' outlines of one slice agree at {mean:.3f}: no model can honestly score above that."
