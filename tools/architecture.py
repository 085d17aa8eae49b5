"""The architecture as a picture and a table, read off the source code."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "tumortrace"


def draw_rooms() -> str:
    """Return the rooms as a Mermaid graph: each arrow is an import that no longer path already implies."""
    imports = find_imports()
    arrows = sorted(
        (room, other) for room, others in imports.items() for other in others if not _is_implied(room, other, imports)
    )
    lines = ["```mermaid", "flowchart TD", *(f"  {room} --> {other}" for room, other in arrows), "```", ""]
    return "\n".join(lines)


def list_rooms() -> list[list[str]]:
    """Return one row a room, from the top of the import order to its bottom: name, content, modules, imports."""
    imports = find_imports()
    rows = [["room", "content", "modules", "imports"]]
    for room in _read_order():
        path = SOURCE / room if (SOURCE / room).is_dir() else SOURCE / f"{room}.py"
        folders = sorted(f"{each.parent.name}/" for each in path.glob("*/__init__.py"))
        modules = sorted(each.stem for each in path.glob("*.py") if each.stem != "__init__")
        title = _first_line(path / "__init__.py" if path.is_dir() else path)
        name = f"`{room}/`" if path.is_dir() else f"`{room}.py`"
        rows.append([name, title, ", ".join(folders + modules), ", ".join(sorted(imports[room]))])
    return rows


def find_imports() -> dict[str, set[str]]:
    """Return the rooms that each room imports from; imports for types alone do not count."""
    rooms = _read_order()
    imports: dict[str, set[str]] = {room: set() for room in rooms}
    for path in SOURCE.rglob("*.py"):
        room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        if room in imports:
            names = {name.split(".")[1] for name in _imported_names(path) if name.startswith("tumortrace.")}
            imports[room] |= (names & set(rooms)) - {room}
    return imports


def _read_order() -> list[str]:
    """Return the rooms in the order of the import contract, highest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(each for each in settings["tool"]["importlinter"]["contracts"] if each["type"] == "layers")
    return [name.strip().removeprefix("tumortrace.") for layer in contract["layers"] for name in layer.split("|")]


def _imported_names(path: Path) -> list[str]:
    names: list[str] = []
    for node in _walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [name for name in names if name.count(".")]


def _walk(tree: ast.AST) -> list[ast.AST]:
    """Return all nodes but those below ``if TYPE_CHECKING``."""
    found = [tree]
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            found += _walk(child)
    return found


def _is_implied(room: str, other: str, imports: dict[str, set[str]]) -> bool:
    return any(other in _reach(between, imports) for between in imports[room] - {other})


def _reach(room: str, imports: dict[str, set[str]]) -> set[str]:
    reached = set(imports[room])
    for other in imports[room]:
        reached |= _reach(other, imports)
    return reached


def _first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]
