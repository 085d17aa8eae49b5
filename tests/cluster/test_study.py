"""Folders of results are compared but for times."""

from __future__ import annotations

from pathlib import Path

from studies.cluster import compare_folders


def test_folders_differ_in_results_and_not_in_times(tmp_path: Path):
    for folder, seconds, dice, extra in (("here", 1.5, 0.25, "a.png"), ("there", 2.5, 0.5, "b.png")):
        run = tmp_path / folder / "run"
        (run / "last").mkdir(parents=True)
        (run / "metrics.csv").write_text(f"epoch,seconds,val_dice\n1,{seconds},0.125\n")
        (run / "scores.csv").write_text(f"epoch,dice\n1,{dice}\n")
        (run / "results.json").write_text(f'{{"images": [{{"seconds": {seconds}, "file": "x"}}]}}')
        (run / "manifest.json").write_text(f'{{"device": "{folder}"}}')
        (run / "last" / "checkpoint.safetensors").write_text(folder)
        (run / extra).write_bytes(b"mask")
    found = compare_folders(tmp_path / "here", tmp_path / "there")
    assert found == {"files": 4, "missing": 1, "extra": 1, "differing": "run/scores.csv"}
