"""Every archive of the repository: whole, and labelled by what it says."""

import pytest

from gnnip import datasets
from gnnip.datasets import verification
from gnnip.datasets.references import stated_reference
from gnnip.datasets.registry import check_archive, load_registry
from gnnip.datasets.store import read_frames


@pytest.mark.slow
@pytest.mark.parametrize("name", datasets.names())
def test_labels_are_those_of_the_reference(name):
    entry = load_registry()[name]
    path = check_archive(name)
    frames = read_frames(path)
    assert frames.n_frames == entry["n_frames"]
    assert entry["reference"] == stated_reference(frames)
    table = verification.verify_labels(path, 1, seed=1)
    if "note" in table:
        pytest.skip(str(table["note"][0]))
    assert set(table["term"]) == set(frames.terms)
