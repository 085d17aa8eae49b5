"""Masks that paint the background: nothing else shows it, for every score and every training takes them as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tumortrace.data.findings import Finding

MOST = 0.5
"""Share of the frame that no tumour fills in most slices of a dataset."""

FEWEST = 5
"""Fewer masks say nothing of a source: one slice may be cut out around its tumour."""


def find_inverted(shares: Mapping[str, Sequence[float]]) -> list[Finding]:
    """A warning for each source of ``FEWEST`` masks or more that paint most of the frame in most of its slices.

    Args:
        shares: By the name of the source, the share of the frame that each of its masks paints, 0 to 1; none empty.
    """
    findings = []
    for source, painted in shares.items():
        median = float(np.median(painted))
        if len(painted) >= FEWEST and median > MOST:
            cause = f"of {len(painted)} masks, half paint {median:.0%} of the frame or more as tumour"
            remedy = "check whether they are inverted: 0 must be background"
            findings.append(Finding("masks-inverted", "warning", source or "masks", cause, remedy))
    return findings
