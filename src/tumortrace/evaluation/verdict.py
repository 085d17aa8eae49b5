"""The verdict on an evaluation: whether its number can be believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tumortrace.copies.agreement import ABOVE_THE_ANNOTATORS
from tumortrace.json_csv import Document
from tumortrace.wording import counted

FEW = 20
"""Number of clean images with a Dice below which their mean says little."""

_MEMORY = (
    "the model was trained on what it is scored on. Every image is a training slice, a copy of one, or a slice of the "
    "same patient. The score measures memory and says nothing about new patients."
)
_OTHER_PATIENTS = (
    "none of them is a copy of a training slice. If these are other patients, as of another hospital, give them names "
    "of their own in a pairs.csv and evaluate again"
)

_CHOSEN = "the kept epoch was chosen on {} images, so the score is likely too high."


@dataclass(frozen=True)
class Verdict:
    """A verdict on an evaluation.

    Attributes:
        believable: Whether the number can be believed.
        of_clean: Whether the clean images are judged, and not all.
        heading: Whether the number can be believed, and if not, why, in a few words.
        scores: The scores that are judged: those of the clean images, or of all images where these have no number.
        images: These images in words: "17 clean images", "all 24 images".
        baselines: Dice of each prediction without a network on the same images.
        sentences: Sentences that a reader has to know.
    """

    believable: bool
    of_clean: bool
    heading: str
    scores: Document
    images: str
    baselines: dict[str, Document]
    sentences: tuple[str, ...]


def judge(summary: Document) -> Verdict:
    """Judge an evaluation.

    Args:
        summary: Content of ``summary.json``.
    """
    clean, doubt = summary["clean"], _find_doubt(summary)
    chosen = bool(clean) and clean["dice"]["mean"] is not None
    scores = clean if chosen else summary
    images = counted(clean["n"], "clean image") if chosen else f"all {counted(summary['n'], 'image')}"
    baselines = {name: (each["clean"] if chosen else each)["dice"] for name, each in summary["baselines"].items()}
    sentences = [f"Not a number to believe: {doubt[1]}"] if doubt else []
    which = which_chose(summary)
    if doubt and doubt[1] != _CHOSEN.format(which) and which:
        sentences.append(_CHOSEN.format(which).capitalize())
    sentences += _remark_on_copies(summary) if chosen else []
    sentences += [_compare_with_baselines(scores, images, baselines), _compare_with_annotators(summary)]
    heading = f"Not a number to believe: {doubt[0]}" if doubt else "The number to believe"
    heading += ", from few images" if not doubt and _count_behind(scores) < FEW else ""
    kept = tuple(each for each in sentences if each)
    return Verdict(doubt is None, chosen, heading, scores, images, baselines, kept)


def _find_doubt(summary: Document) -> tuple[str, str] | None:
    """Return why no number can be believed, in a few words and in a sentence; None if one can."""
    clean, n = summary["clean"], summary["n"]
    if summary["dice"]["mean"] is None:
        return "no image has a Dice", "no image has a Dice, because no image has a tumour and nothing was marked."
    if clean is None:
        return _doubt_clean(summary)
    if not clean["n"]:
        named = f"every image is of a patient whose name is in training too, and {_OTHER_PATIENTS}."
        return "no image is clean", named if _are_tied_by_name(summary) else _MEMORY
    if clean["dice"]["mean"] is None:
        words = (
            f"the clean images ({clean['n']} of {n}) have no tumour and nothing was marked on them. All other images "
            "were in training."
        )
        return "no clean image has a Dice", words
    if which := which_chose(summary):
        return f"{'these' if which == 'these' else 'some'} images chose the model", _CHOSEN.format(which)
    return None


def _are_tied_by_name(summary: Document) -> bool:
    """Whether the names of patients alone tie images to the training; an earlier version's summary does not tell."""
    training = summary["training"]
    return bool(training["leaked_images"] and training.get("by_patient_alone") == training["leaked_images"])


def which_chose(summary: Document) -> str:
    """Say which of the judged images chose the model's epoch: "these", "4 of these 20", or "" for none.

    Args:
        summary: Content of ``summary.json``; that of an earlier version tells only whether all of them did.
    """
    if summary["card"].get("selected_on") == summary["data"]["sha256"]:
        return "these"
    count = summary["training"].get("chose_epoch", 0)
    judged = summary["clean"]["n"] if summary["clean"] else summary["n"] - summary["training"]["leaked_images"]
    return "" if not count else "these" if count == judged else f"{count} of these {judged}"


def _doubt_clean(summary: Document) -> tuple[str, str]:
    """Return why it is unknown which images are clean, and how many are known not to be."""
    training, n, card = summary["training"], summary["n"], summary["card"]
    leaked, known, total = training["leaked_images"], training["compared_slices"], training["slices"]
    if card.get("remembered") is False:
        why = f"the model was trained from {card.get('began_from')}, whose training slices are unknown"
    elif total is None:
        why = "training.npz is missing beside the model, so its training slices are unknown. Evaluate a run folder"
    else:
        why = (
            f"the model comes without its training slices, and {known or 'none'} of these {total} are in this data. "
            "All of them are published, so slices that were never published are no copies"
        )
    if not leaked:
        words = f"cannot check for training copies: {why}."
        return "it is unknown which images are clean", words
    verb, past = ("is", "was") if leaked == 1 else ("are", "were")
    words = (
        f"{leaked} of {counted(n, 'image')} {verb} in the model's training data, as the same slice, a copy, or another "
        f"slice of the patient. The other {n - leaked} cannot be checked: {why}."
    )
    return f"{leaked} of {counted(n, 'image')} {past} in training", words


def _remark_on_copies(summary: Document) -> list[str]:
    clean, n = summary["clean"]["n"], summary["n"]
    remarks = []
    if clean < n and _are_tied_by_name(summary):
        verb = "is" if n - clean == 1 else "are"
        remarks.append(
            f"{n - clean} of {counted(n, 'image')} {verb} of a patient whose name is in training too, and "
            f"{_OTHER_PATIENTS}; over all {n} the mean Dice is {summary['dice']['mean']:.3f}."
        )
    elif clean < n:
        verb = "shows" if n - clean == 1 else "show"
        remarks.append(
            f"{n - clean} of {counted(n, 'image')} {verb} a slice that was in training as well, mirrored or "
            f"re-contrasted, or one of its patients; over all {n} the mean Dice is {summary['dice']['mean']:.3f}."
        )
    behind = _count_behind(summary["clean"])
    if behind < FEW:
        images = counted(clean, "clean image")
        some = f"{behind} of {images} {'has' if behind == 1 else 'have'} a Dice"
        words = f"{clean} {'image is' if clean == 1 else 'images are'} clean" if behind == clean else some
        remedy = "annotate more slices" if summary["folds"] or clean == n else "run a grouped cross-validation instead"
        remarks.append(f"Only {words}, too few to say much; {remedy}.")
    return remarks


def _count_behind(scores: Document) -> int:
    """Count the images behind a mean Dice: a tumour-free image that was left empty has none."""
    return int(scores["n"] - scores["dice"]["undefined"])


def _compare_with_baselines(scores: Document, images: str, baselines: Mapping[str, Document]) -> str:
    """Compare the mean Dice with the best prediction without a network on the same images."""
    known = {name: spread["mean"] for name, spread in baselines.items() if spread["mean"] is not None}
    mean = scores["dice"]["mean"]
    if mean is None or not known:
        return ""
    name = max(known, key=lambda each: known[each])
    lead = round(mean, 3) - round(known[name], 3)  # as a reader sees them
    verb = "is above" if lead > 0 else "is below" if lead < 0 else "equals"
    what = f"the best prediction without a network ({name.replace('_', ' ')}: {known[name]:.3f})"
    overlap = _say_overlap(scores["dice"], baselines[name])
    words = f"On {images} the model's mean Dice of {mean:.3f} {verb} {what}{overlap}."
    own, other = (scores["n"] - each["undefined"] for each in (scores["dice"], baselines[name]))
    if own == other:
        return words
    return (
        f"{words} These means are over {own} and {other} images: a tumour-free image counts as 0 if anything is marked "
        "on it, and has no Dice if nothing is."
    )


def _say_overlap(first: Document, second: Document) -> str:
    """Say that two means may differ by chance, as their intervals overlap; nothing where one of these is unknown."""
    if not first["ci95"] or not second["ci95"]:
        return ""
    (low, high), (other_low, other_high) = first["ci95"], second["ci95"]
    return "; their 95 % intervals overlap" if low <= other_high and other_low <= high else ""


def _compare_with_annotators(summary: Document) -> str:
    agreement = summary["agreement"]
    if not agreement or agreement["dice"]["mean"] is None:
        return ""
    mean = agreement["dice"]["mean"]
    pairs = f"{counted(agreement['pairs'], 'pair')}, also of other images of this data"
    return f"Two outlines of one slice agree at mean Dice {mean:.3f} ({pairs}). {ABOVE_THE_ANNOTATORS}"
