"""Names of BIDS derivatives: entities kept, no two alike, and no name of a patient."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tumortrace.inference.results.bids import name_derivatives

TAIL = "space-orig_label-lesion"


def test_entities_of_a_bids_source_are_kept():
    assert name_derivatives(["sub-01/ses-2/anat/sub-01_ses-2_acq-fast_T1w"]) == [
        f"sub-01/ses-2/anat/sub-01_ses-2_acq-fast_{TAIL}"
    ]


def test_two_contrasts_of_one_subject_are_told_apart_by_their_suffix():
    assert name_derivatives(["sub-01_T1w", "sub-01_FLAIR", "sub-02_T1w"]) == [
        f"sub-01/anat/sub-01_{TAIL}_desc-T1w",
        f"sub-01/anat/sub-01_{TAIL}_desc-FLAIR",
        f"sub-02/anat/sub-02_{TAIL}",
    ]


def test_other_names_become_free_numbers_because_they_may_be_those_of_patients():
    assert name_derivatives(["DOE_JANE/1", "sub-001_T1w", "DOE_JANE/2"]) == [
        f"sub-002/anat/sub-002_{TAIL}",
        f"sub-001/anat/sub-001_{TAIL}",
        f"sub-003/anat/sub-003_{TAIL}",
    ]


@given(st.lists(st.sampled_from(["sub-1_T1w", "a/sub-1_T1w", "sub-1_T1w2", "x", "sub-1", "sub-1_"]), max_size=6))
def test_no_two_names_are_alike(names: list[str]):
    assert len(set(name_derivatives(names))) == len(names)
