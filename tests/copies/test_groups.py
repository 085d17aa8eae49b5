from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tumortrace.copies.groups import join_patients, link_patients, name_groups
from tumortrace.data.components import link


def test_links_chain():
    assert link(6, [(4, 2), (0, 5), (2, 5)]) == [0, 1, 0, 3, 0, 0]
    assert link(3, []) == [0, 1, 2]
    assert link(0, []) == []


def test_groups_are_named_in_the_order_of_their_first_members():
    assert name_groups([0, 1, 0, 3]) == ("g0001", "g0002", "g0001", "g0003")
    assert name_groups([]) == ()
    assert len(name_groups(range(12_345))[0]) == len("g00001")


def test_slices_of_one_patient_are_linked_and_unknown_ones_are_not():
    assert link(6, link_patients(["a", None, "b", "a", "", "b"])) == [0, 1, 2, 0, 4, 2]


@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_components_hold_every_link_and_no_more(case: tuple[int, list[tuple[int, int]]]):
    count, links = case
    firsts = link(count, links)
    assert all(firsts[first] == firsts[second] for first, second in links)
    assert all(firsts[first] == first <= index for index, first in enumerate(firsts))
    # Each link can join at most two components.
    assert len(set(firsts)) >= count - len({tuple(sorted(pair)) for pair in links if pair[0] != pair[1]})


def test_groups_of_one_patient_are_joined():
    groups = ["g1", "g2", "g2", "g3", "g4", "g5"]
    patients = ["p", "", "q", "p", None, "q"]
    assert join_patients(groups, patients) == ("g1", "g2", "g2", "g1", "g4", "g2")
    assert join_patients([], []) == ()
