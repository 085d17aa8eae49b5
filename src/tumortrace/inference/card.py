"""The card of a shipped model: data, scores, purpose, licence."""

from __future__ import annotations

from typing import Any

from tumortrace.errors import ModelError
from tumortrace.inference.model import BOX_MODEL, Model, find_model, is_shipped
from tumortrace.inference.prompts.model import PromptModel
from tumortrace.json_csv import read_json

Card = dict[str, Any]


def read_card(model: Model | PromptModel) -> Card | None:
    """The card beside a model's file (``default.json`` of ``default.onnx``, ``box.json``); None if there is none.

    A copy of a shipped model has the card of the package, wherever it lies.

    Raises:
        ModelError: It is damaged, or belongs to other weights.
    """
    path = model.path / f"{BOX_MODEL}.json" if isinstance(model, PromptModel) else model.path.with_suffix(".json")
    if not path.is_file() and isinstance(model, Model) and is_shipped(model):
        path = find_model(model.name).with_suffix(".json")
    if not path.is_file():
        return None
    try:
        card = dict(read_json(path))
        its_model = card["sha256"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: not a model's card ({error}); install tumortrace again") from None
    if its_model != model.sha256:
        raise ModelError(f"{path}: the card of other weights ({its_model[:12]}); install tumortrace again")
    return card


def describe_card(card: Card) -> str:
    """The card as text for a terminal.

    Args:
        card: Card as ``read_card`` returns it.
    """
    lines = [card["summary"], "", f"for: {card['intended_use']}", "limits:"]
    lines += [f"  - {limit}" for limit in card["limits"]]
    lines += ["training data:"]
    lines += [f"  - {data['name']}: {data['cases']} slices; {data['mask']}; {data['licence']}" for data in card["data"]]
    lines += [f"scores, measured on {card['scored_on']}:"]
    for title, scores in card["scores"].items():
        lines += [f"  {title}:"]
        lines += [f"  - {name}: {_describe_score(score)}" for name, score in scores.items()]
    return "\n".join([*lines, f"licence of the weights: {card['licence']}", f"retrain: {card['retrain']}"])


def _describe_score(score: Card) -> str:
    interval = f" [{score['ci95'][0]:.3f}, {score['ci95'][1]:.3f}]" if score["ci95"] else ""
    return f"{score['value']:.3f}{interval} of {score['n']}"
