"""Tables and figures of what the potentials learn from, on frames whose structure is known."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from figure_checks import check, through_csv

from gnnip.artefacts import reference_data as data
from gnnip.artefacts import style
from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.kinds import ReferenceData
from gnnip.artefacts.reference_data_figure import reference_data as draw
from gnnip.artefacts.tables import metric_row
from gnnip.datasets import engine_sets
from gnnip.errors import DataError
from gnnip.sampling import ani, sic

REFERENCES = {"sic": "xtb", "ani": "dft"}


def inputs_of(folder, *datasets):
    card = {"artefact": "reference_data", "datasets": datasets, "references": REFERENCES}
    return Inputs(folder / "card", card)


def tabulate(folder, *datasets):
    return data.reference_data(inputs_of(folder, *datasets), ReferenceData())


@pytest.fixture(scope="module")
def folder(cold_crystal, tmp_path_factory):
    """The folder of a tier with a cold crystal of SiC and a few molecules as its data sets."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "datasets").mkdir()
    shutil.copy(cold_crystal, folder / "datasets")
    molecules = replace(
        ani.smoke_plan(1), molecules=("CH4", "NH3"), label_engine="xtb method=GFN1-xTB"
    )
    path = ani.run_trajectory(molecules, folder / "m", str)
    engine_sets.assemble("ani", [path], folder / "datasets" / "ani.h5", progress=str)
    return folder


def test_bonds_of_the_cold_crystal(folder):
    tidy, metrics = tabulate(folder, "sic")
    assert list(tidy.loc[tidy["record"] == "bond", "group"].unique()) == [
        "crystal 30 K",
        "crystal 60 K",
    ]
    found = tidy[(tidy["record"] == "bond") & (tidy["group"] == "crystal 30 K")]
    found = found.set_index("name")["value"]
    length = sic.LATTICE * 3**0.5 / 4
    assert found["first_peak"] == pytest.approx(length, abs=0.03)
    assert found["neighbours"] == pytest.approx(4.0)
    assert found["closest"] == pytest.approx(length, abs=0.1)
    curve = tidy[(tidy["record"] == "rdf") & (tidy["group"] == "crystal 60 K")]
    assert curve.loc[curve["value"].idxmax(), "x"] == pytest.approx(length, abs=0.05)
    # four neighbours lie under the first peak
    near = curve[curve["x"] < 2.5]
    density = 32 / (2 * sic.LATTICE) ** 3
    shell = 4 * np.pi * near["x"] ** 2 * (data.R_MAX / data.BINS)
    assert (near["value"] * shell).sum() * density == pytest.approx(4.0, rel=0.02)
    row = metrics.set_index("quantity").loc["sic_Si-C_first_peak"]
    assert row["baseline"] == data.KNOWN["sic"].bonds[0].length
    assert metrics.set_index("quantity").loc["sic_n_frames", "value"] == 6


def test_energies_are_above_the_lowest_of_the_same_molecule(folder):
    frames = inputs_of(folder, "ani").arrays("ani")
    above = data.relative_energies(frames)
    molecule = frames.column("molecule")
    for name in ("CH4", "NH3"):
        own = above[molecule == name]
        assert own.min() == 0.0
        assert own.max() > 0.0
    tidy, _ = tabulate(folder, "ani")
    assert set(tidy.loc[tidy["record"] == "energy", "group"]) == {"1 heavy atom"}
    peak = tidy[(tidy["record"] == "bond") & (tidy["name"] == "first_peak")]["value"].iloc[0]
    assert 0.8 < peak < 1.5


def test_the_engine_in_a_few_words():
    assert data._engine({"engine": "xtb method=GFN1-xTB accuracy=1.0"}) == "GFN1-xTB (xtb)"
    pyscf = {"engine": "pyscf functional=wb97x basis='6-31g*' grid=3"}
    assert data._engine(pyscf) == "wb97x/6-31g* (pyscf)"
    assert data._engine({"labeller": "point_charges"}) == "point_charges"


def test_a_set_without_known_bonds_is_named():
    with pytest.raises(DataError, match="No bonds are known of 'sik', did you mean 'sic'"):
        data.known_of("sik")


def test_every_row_names_the_reference_of_its_own_data_set(folder):
    _, metrics = tabulate(folder, "sic", "ani")
    found = metrics.set_index("quantity")["reference"].to_dict()
    assert {found[name] for name in ("sic_n_frames", "sic_Si-C_first_peak")} == {"xtb"}
    assert {found[name] for name in ("ani_n_frames", "ani_C-H_first_peak")} == {"dft"}
    inputs = inputs_of(folder, "sic", "ani")
    assert metric_row(inputs, "of_both", "", 1.0)["reference"] == "xtb+dft"


def test_figure(folder):
    tidy, _ = tabulate(folder, "sic", "ani")
    reference = "xtb (sic), dft (ani)"
    info = {"card": "rajak2021", "tier": "smoke", "reference": reference}
    fig = draw(through_csv(tidy), info, ReferenceData())
    check(fig, (style.DOUBLE,), reference)
    assert len(fig.axes) == 4
    words = " ".join(t.get_text() for t in fig.texts)
    assert "6 frames of up to 64 atoms, 1 trajectories; labels: ase:lj" in words
    lines = [line for line in fig.axes[0].lines if line.get_linestyle() == ":"]
    assert lines[0].get_xdata()[0] == pytest.approx(1.888)


def test_frames_that_name_no_ensemble_are_one(folder):
    frames = replace(inputs_of(folder, "sic").arrays("sic"), metadata={})
    ((name, chosen),) = data.groups(frames, data.KNOWN["sic"].groups)
    assert name == ""
    np.testing.assert_array_equal(chosen, np.arange(frames.n_frames))
