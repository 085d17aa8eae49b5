from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.copies.described import describe_cases
from tumortrace.copies.similarity import signature
from tumortrace.copies.training_index import (
    MASK_PX,
    build_training_index,
    join,
    load_training_index,
    save_training_index,
)
from tumortrace.data.cases import CaseRecord, read_case
from tumortrace.data.fingerprint import hash_case, hash_slice
from tumortrace.errors import DataError

DrawHead = Callable[..., NDArray[np.uint8]]
WriteCase = Callable[..., CaseRecord]


def lower_left(size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(size_hw, dtype=np.bool_)
    mask[size_hw[0] // 2 :, : size_hw[1] // 2] = True
    return mask


def test_what_is_remembered(draw_head: DrawHead, write_case: WriteCase):
    head = draw_head(1)
    records = [
        write_case("a", head, lower_left(head.shape), patient="p1"),
        write_case("b", draw_head(2)),  # not annotated: nothing to learn from
        write_case("c", draw_head(3), np.zeros(head.shape, dtype=np.bool_)),
    ]
    memory = build_training_index(describe_cases(records))
    assert memory.names == ("a.png", "c.png")
    assert memory.patients == ("p1", "")
    assert memory.pictures == tuple(hash_slice(read_case(records[index])[0].slice) for index in (0, 2))
    assert memory.hashes == tuple(hash_case(read_case(records[index])[0]) for index in (0, 2))
    assert memory.head_masks.shape == (2, MASK_PX, MASK_PX)
    # The head's box ends above and left of the picture's middle lines as it is not centred; corners are clear cut.
    assert memory.head_masks[0, -1, 0]
    assert not memory.head_masks[0, 0].any()
    assert not memory.head_masks[0, :, -1].any()
    assert not memory.head_masks[1].any()
    assert np.abs(memory.head_signatures()[0] - signature(head)).max() < 2e-3


def test_a_memory_comes_back_from_its_file(draw_head: DrawHead, write_case: WriteCase, tmp_path: Path):
    head = draw_head(1)
    memory = build_training_index(describe_cases([write_case("ä, b", head, lower_left(head.shape), patient="Ω")]))
    save_training_index(memory, tmp_path / "run" / "training.npz")
    back = load_training_index(tmp_path / "run" / "training.npz")
    assert (back.names, back.hashes, back.patients) == (memory.names, memory.hashes, memory.patients)
    assert back.pictures == memory.pictures
    assert np.array_equal(back.head_masks, memory.head_masks)
    assert np.array_equal(back.signatures.boxes_xywh, memory.signatures.boxes_xywh)
    similarity = float((back.head_signatures()[0] * memory.head_signatures()[0]).sum())
    assert similarity == pytest.approx(1.0, abs=0.005)


def test_two_memories_joined(draw_head: DrawHead, write_case: WriteCase, tmp_path: Path):
    mask = lower_left(draw_head(1).shape)
    first = [write_case(name, draw_head(seed), mask, patient=name) for name, seed in (("a", 1), ("b", 2))]
    second = [write_case("B", draw_head(2), mask), write_case("c", draw_head(3), mask)]
    joined = join(build_training_index(describe_cases(first)), build_training_index(describe_cases(second)))
    assert joined.names == ("a.png", "B.png", "c.png")
    assert joined.patients == ("a", "", "")
    assert len(set(joined.hashes)) == len(joined.signatures.windows) == len(joined.signatures.boxes_xywh) == 3
    assert np.array_equal(
        joined.head_signatures()[2], build_training_index(describe_cases(second)).head_signatures()[1]
    )
    save_training_index(joined, tmp_path / "training.npz")
    assert load_training_index(tmp_path / "training.npz").hashes == joined.hashes


def test_no_training_cases(write_case: WriteCase, draw_head: DrawHead, tmp_path: Path):
    empty = build_training_index(describe_cases([write_case("a", draw_head(1))]))
    save_training_index(empty, tmp_path / "training.npz")
    assert load_training_index(tmp_path / "training.npz").names == ()


def test_a_damaged_memory_is_an_error_and_no_crash(draw_head: DrawHead, write_case: WriteCase, tmp_path: Path):
    head, path = draw_head(1), tmp_path / "training.npz"
    save_training_index(build_training_index(describe_cases([write_case("a", head, lower_left(head.shape))])), path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(bytes(damaged))
        try:
            load_training_index(path)
        except DataError:
            refused += 1
    assert refused > 190  # a byte in the archive's comments or times changes nothing
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(path)
    with pytest.raises(DataError, match="cannot be read"):
        load_training_index(path)


def test_lists_of_different_lengths_are_refused(draw_head: DrawHead, write_case: WriteCase, tmp_path: Path):
    head, path = draw_head(1), tmp_path / "training.npz"
    save_training_index(build_training_index(describe_cases([write_case("a", head, lower_left(head.shape))])), path)
    with np.load(path) as arrays:
        content = dict(arrays)
    np.savez(path, **{**content, "patients": np.array(["p", "q"])})
    with pytest.raises(DataError, match="differ in length"):
        load_training_index(path)
    np.savez(path, **{**content, "names": np.array(["p", "q"])})
    with pytest.raises(DataError, match="cannot be read"):
        load_training_index(path)


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_files_that_are_no_memory(tmp_path: Path, content: bytes | None):
    if content is not None:
        (tmp_path / "training.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"training\.npz: cannot be read .*; train again"):
        load_training_index(tmp_path / "training.npz")
