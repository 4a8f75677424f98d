"""Numbers in README and docs are those of the recorded tables."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from gnnip import md
from gnnip.datasets.store import load_arrays
from gnnip.measurements.dynamics import Motion
from gnnip.measurements.dynamics.drift import drifts, ensembles
from gnnip.measurements.dynamics.options import Comparison

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "results" / "recorded"
WORDS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight")
#: what a paragraph about recorded results has: a measured number with its unit, or a count
MEASURED = re.compile(r"\d (eV/Å|meV/atom)|of eight")


def prose(name):
    """The text of a page without the line breaks."""
    return " ".join((ROOT / name).read_text(encoding="utf-8").split())


def metric(place, quantity):
    """The mean over seeds of a quantity of a recorded artefact, e.g. long/rajak2021/table1."""
    table = pd.read_csv(RECORDED / f"{place}.metrics.csv")
    own = table[(table["quantity"] == quantity) & (table["variant"] != "by_trajectory")]
    assert len(own), (place, quantity)
    return float(own["value"].mean())


def left_by_energy(artefact, material, temperature):
    """How many replicas of each arm left the energies of the shipped reference, and the limit."""
    arrays = load_arrays(ROOT / "data" / f"{material}.h5")
    archive = ROOT / "data" / f"{material}_md.h5"
    runs = {"reference": md.read_trajectory(archive)}
    own = Motion.read(md.read_facts(archive)["motion"])
    select = {"temperature_k": temperature}
    options = {"temperature": temperature, "select": select, "starts": 4, "repeats": 2}
    wanted = Comparison.read({"discard": 200.0, "r_max": 6.0, "bins": 150})
    alike = {"reference": ensembles(arrays, own, ["phase"])}
    table = pd.read_csv(RECORDED / f"long/rajak2021/{artefact}.csv")
    series = table[(table["record"] == "series") & (table["potential"] != "reference")]
    for (name, replica), part in series.groupby(["potential", "replica"]):
        alike[name] = ensembles(arrays, Motion.read(options), ["phase"])
        energies = {"time_fs": part["x"], "potential_energy_ev": part["value"]}
        runs.setdefault(name, []).append(
            SimpleNamespace(
                replica=int(replica),
                atomic_numbers=runs["reference"][0].atomic_numbers,
                series={key: values.to_numpy() for key, values in energies.items()},
                time_fs=np.zeros(0),
                failure=None,
            )
        )
    rows = pd.DataFrame(drifts(runs, wanted, 15000.0, alike))
    run = rows[rows["record"] == "run"]
    failed = run[run["name"] == "failed_by_energy"].groupby("potential")["value"].sum()
    limit = run.loc[run["name"] == "energy_limit_mev_per_atom", "value"].max()
    return failed.astype(int).to_dict(), float(limit)


def said():
    """Yield the page and each sentence that the recorded tables make."""
    page, long = "docs/limitations.md", "long/rajak2021"
    found = []
    for tier in ("quick", "long"):
        place = f"{tier}/rajak2021/ablation"
        found += [metric(place, f"gese2_{arm}_test_force_rmse") for arm in ("nn3", "decomposed")]
        nothing, sic = (
            metric(place, f"sic_{arm}_test_force_rmse") for arm in ("nn3", "decomposed")
        )
        assert sic == pytest.approx(nothing, rel=1e-2)
    sentence = (
        "it lowers the test error of forces from {:.2f} to {:.2f} eV/Å, and with twice the epochs "
        "(`long`) from {:.2f} to {:.2f} eV/Å"
    )
    yield page, sentence.format(*found)
    failed = int(metric(f"{long}/stability", "sic_gnn_failed"))
    autopsies = pd.read_csv(RECORDED / long / "stability.csv")
    close = autopsies[(autopsies["name"] == "pair_distance_a") & (autopsies["potential"] == "gnn")]
    (pair,) = set(close["text"])
    words = f"{WORDS[failed]} of eight do without an envelope, with Si at"
    yield page, f"{words} {close['value'].mean():.1f} Å from Si"
    assert pair == "Si-Si"
    nequip = int(metric(f"{long}/stability", "gese2_nequip_failed"))
    yield page, f"but {WORDS[nequip]} replica of eight of NequIP"
    sic, sic_limit = left_by_energy("fig2b", "sic", 2000.0)
    counts = [WORDS[sic[arm]] for arm in ("gnn", "zbl_gnn", "smooth", "decomposed")]
    yield (
        page,
        "In SiC {} of eight replicas of the graph network leave the reference, {} with the "
        "repulsion of nuclei, {} with the envelope, {} with frozen pairs and triplets".format(
            *counts
        ),
    )
    gese2, gese2_limit = left_by_energy("fig3b", "gese2", 1100.0)
    single = {gese2[arm] for arm in ("decomposed", "zbl_gnn", "nequip")}
    assert len(single) == 1
    counts = [WORDS[gese2[arm]] for arm in ("gnn", "nn2_gnn", "smooth")] + [WORDS[single.pop()]]
    sentence = (
        "In GeSe2 {} of the graph network do, {} behind frozen pairs, {} with the envelope, and {} "
        "each behind pairs and triplets, with the repulsion, and of NequIP"
    )
    yield page, sentence.format(*counts)
    yield page, f"the limits are wide, {sic_limit:.0f} and {gese2_limit:.0f} meV/atom"


@pytest.fixture(scope="module")
def sentences():
    return list(said())


def test_prose_says_what_the_recorded_tables_say(sentences):
    for page, sentence in sentences:
        assert sentence in prose(page), f"{page} should say: {sentence}"


def test_every_paragraph_with_a_recorded_result_is_compared(sentences):
    """A paragraph that names a tier and a measured number holds a sentence made from tables."""
    for page in ("README.md", "docs/limitations.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        text = re.sub(r"<!-- verdicts:start -->.*<!-- verdicts:end -->", "", text, flags=re.DOTALL)
        for paragraph in text.split("\n\n"):
            flat = " ".join(paragraph.split())
            if re.search(r"`(quick|long|paper)`", flat) and MEASURED.search(flat):
                assert any(s in flat for p, s in sentences if p == page), flat[:90]
