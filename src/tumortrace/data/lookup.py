"""The file that a table means, however it spells the path."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from tumortrace.data.folders import is_picture, join
from tumortrace.data.names import spelling_key, stem_of


class FileLookup:
    """Files of a dataset, found by paths that are spelt in another way.

    Letter case, composed or decomposed letters and slashes do not matter. A path may be shorter than the file's
    (``a.png`` for ``p1/a.png``) or longer (``data/images/a.png`` for ``images/a.png``), and may lack the suffix.
    """

    def __init__(self, files: Iterable[str]) -> None:
        """Index files by their names.

        Args:
            files: Paths within the dataset.
        """
        self._files = tuple(files)
        self._exact = frozenset(self._files)
        self._by_name: dict[str, list[str]] = {}
        for file in self._files:
            name = spelling_key(PurePosixPath(file).name)
            for key in {name, stem_of(name)}:
                self._by_name.setdefault(key, []).append(file)

    def find(self, path: str, *, folders: Sequence[str]) -> list[str]:
        """The files that a path can mean: one if it is clear, none, or several.

        Args:
            path: Path as a table or annotation file has it.
            folders: Folders that it may be relative to, the most likely one first.
        """
        # A name may begin or end with a blank, and so may the cell of another name.
        return self._find(path, folders) or self._find(path.strip(), folders)

    def _find(self, path: str, folders: Sequence[str]) -> list[str]:
        plain = PurePosixPath(path).as_posix()
        for folder in folders:
            if (exact := join(folder, plain)) in self._exact:
                return [exact]
        # What stands behind a dot may be no suffix: 1.2.840 means 1.2.840.png where no file is called 1.2.840.
        endings = (True,) if is_picture(plain) else (True, False)
        for folder in folders:
            for with_suffix in endings:
                if found := self._find_below(folder, spelling_key(plain), with_suffix=with_suffix):
                    return found
        return []

    def _find_below(self, folder: str, wanted: str, *, with_suffix: bool) -> list[str]:
        parts = PurePosixPath(wanted).parts
        found = []
        for file in self._by_name.get(PurePosixPath(wanted).name, []):
            if folder and not file.startswith(f"{folder}/"):
                continue
            there = spelling_key(file[len(folder) + 1 :] if folder else file)
            own = PurePosixPath(there if with_suffix else stem_of(there)).parts
            shorter = min(len(own), len(parts))
            if own[-shorter:] == parts[-shorter:]:
                found.append((len(own) != len(parts), file))
        best = min((inexact for inexact, _ in found), default=False)
        return [file for inexact, file in found if inexact == best]
