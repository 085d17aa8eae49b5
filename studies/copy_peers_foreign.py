"""Search for planted copies with other tools, without tumortrace.

``python studies/copy_peers_foreign.py planted`` needs imgleakcheck, cleanvision and imagededup
(``studies/copy_peers.py`` makes the copies). Of imagededup only the hashes run: the weights of its network would be
downloaded.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

TRAIN, TEST = "train", "test"

Document = dict[str, Any]


def run_leakcheck(folder: Path) -> Document:
    """Compare pictures by imgleakcheck's perceptual hash; all pairs up to 20 bits, the tool's default is 5."""
    import leakcheck

    train, test = leakcheck.hash_folder(folder / TRAIN), leakcheck.hash_folder(folder / TEST)
    pairs = [
        (one.name, other.name, int(first - second))
        for one, first in test.items()
        for other, second in train.items()
        if first - second <= 20
    ]
    return {"threshold": 5, "pairs": pairs}


def run_cleanvision(folder: Path) -> Document:
    """Return the pairs in the sets of exact and near duplicates that cleanvision reports over both folders."""
    from cleanvision import Imagelab

    files = [str(path) for name in (TRAIN, TEST) for path in sorted((folder / name).glob("*.png"))]
    lab = Imagelab(filepaths=files)
    lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, n_jobs=1, verbose=False)
    pairs = []
    for kind in ("exact_duplicates", "near_duplicates"):
        for group in lab.info[kind]["sets"]:
            train = [Path(each).name for each in group if Path(each).parent.name == TRAIN]
            test = [Path(each).name for each in group if Path(each).parent.name == TEST]
            pairs += [(one, other, 0) for one in test for other in train]
    return {"pairs": pairs}


def run_imagededup(folder: Path) -> Document:
    """Compare pictures by imagededup's hash of 64 bits; all pairs up to 20 bits, the tool's default is 10."""
    import imagededup

    for name in ("methods", "utils"):  # packages whose own modules would import the network
        package = ModuleType(f"imagededup.{name}")
        package.__path__ = [str(Path(imagededup.__file__).parent / name)]
        sys.modules[package.__name__] = package
    from imagededup.methods.hashing import PHash

    hasher = PHash()
    train, test = (hasher.encode_images(image_dir=folder / name, num_enc_workers=0) for name in (TRAIN, TEST))
    known = {name: int(code, 16) for name, code in train.items()}
    pairs = []
    for name, code in test.items():
        asked = int(code, 16)
        near = ((other, (asked ^ value).bit_count()) for other, value in known.items())
        pairs += [(name, other, distance) for other, distance in near if distance <= 20]
    return {"threshold": 10, "pairs": pairs}


def main() -> None:
    """Run each tool and write what it finds."""
    folder = Path(sys.argv[1])
    tools = {"imgleakcheck": run_leakcheck, "cleanvision": run_cleanvision, "imagededup PHash": run_imagededup}
    for name, run in tools.items():
        started = sum(os.times()[:4])  # children included
        try:
            found = run(folder)
        except Exception as error:  # noqa: BLE001 - another tool's failure is a result, and the others go on
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        found["seconds"] = sum(os.times()[:4]) - started
        (folder / f"{name}.json").write_text(json.dumps(found))
        print(f"{name}: {len(found['pairs'])} pairs, {found['seconds']:.0f} s")


if __name__ == "__main__":
    main()
