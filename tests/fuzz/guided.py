"""Coverage-guided fuzzing by atheris: ``make fuzz-guided``.

Each kind of file begins with the seeds of ``make fuzz`` and is changed so that it reaches more of the code. What makes
a reader fail is left as ``OUT/KIND/crash-*``, and the corpus as ``OUT/KIND/corpus``; a further call adds to it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

RUNS = 5000
"""Files of each kind."""


def main() -> None:
    """Fuzz all kinds, each in a process of its own; exit with 1 if one failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz-guided"))
    parser.add_argument("--kind", default="")
    given = parser.parse_args()
    if given.kind:
        fuzz(given.kind, given.out / given.kind, given.runs)
    from tests.fuzz.seeds import MAKERS  # noqa: PLC0415 - it imports what the other processes instrument

    words = [sys.executable, "-m", "tests.fuzz.guided", "--runs", str(given.runs), "--out", str(given.out)]
    kinds = [kind for kind in MAKERS if given.only in kind]
    failed = [kind for kind in kinds if subprocess.run([*words, "--kind", kind], check=False).returncode]
    sys.stdout.write(f"{len(kinds)} kinds, {given.runs} files each; failed: {', '.join(failed) or 'none'}\n")
    sys.exit(bool(failed))


def fuzz(kind: str, out: Path, runs: int) -> None:
    """Fuzz one kind; ends the process."""
    import atheris  # noqa: PLC0415 - in no environment but that of make fuzz-guided

    with atheris.instrument_imports(include=["tumortrace"]):  # only what is imported here
        from tests.fuzz.seeds import seeds_of  # noqa: PLC0415
        from tests.fuzz.worker import read  # noqa: PLC0415
    corpus = out / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds_of(kind)):
        (corpus / f"seed-{number}").write_bytes(data)
    options = [f"-runs={runs}", "-timeout=20", "-rss_limit_mb=1500", "-max_len=65536", f"-artifact_prefix={out}/"]
    atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", str(corpus)], lambda data: read(kind, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
