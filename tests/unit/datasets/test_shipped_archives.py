"""Every archive of the repository: whole, and labelled by what it says."""

import pytest

from gnnip import datasets, md
from gnnip.config.resolve import resolve
from gnnip.datasets import verification
from gnnip.datasets.references import stated_reference
from gnnip.datasets.registry import check_archive, load_registry
from gnnip.datasets.store import read_frames
from gnnip.measurements.dynamics import take_archived


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


@pytest.mark.parametrize("tier", ["quick", "long"])
@pytest.mark.parametrize("measurement", ["dynamics_sic", "dynamics_gese2"])
def test_shipped_dynamics_are_those_of_the_card(tmp_path, tier, measurement):
    options = resolve("rajak2021", tier).measurements[measurement].options
    output = tmp_path / "trajectory.h5"
    names = ("reference_archive", "motion", "reference_motion", "reference")
    name, motion, own, reference = (options[key] for key in names)
    take_archived(name, output, motion=motion, own=own, reference=reference)
    assert md.is_trajectory(output)
