"""Numbers in README and docs are those of the recorded tables, and of the benchmarks."""

import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from gnnip import md
from gnnip.datasets.store import load_arrays
from gnnip.measurements.dynamics import Motion
from gnnip.measurements.dynamics.drift import drifts, ensembles
from gnnip.measurements.dynamics.options import Comparison

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "results" / "recorded"
WORDS = (
    *("none", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)
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
        "it lowers the test error of forces from {:.2f} to {:.2f} eV/Å, and with several times the "
        "epochs (`long`) from {:.2f} to {:.2f} eV/Å"
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
    hfo2 = "long/cho2023"
    errors = pd.read_csv(RECORDED / hfo2 / "fig3.metrics.csv")
    ends = errors[errors["quantity"] == "slow_final_mse"].groupby("variant")["value"].mean()
    sentence = (
        "{:.2f} eV² as described and {:.2f} eV² as coded (one seed of three not flat), where the "
        "linear fit has {:.2f}"
    )
    linear = metric(f"{hfo2}/linear_fit", "mse")
    yield page, sentence.format(ends["as_described"], ends["as_coded"], linear)
    failed = [metric(f"{hfo2}/stability", f"{arm}_forces_failed") for arm in ("linear", "nequip")]
    sentence = "of eight replicas of 5 ps at 300 K {} fail by linear ACE and {} by NequIP"
    yield page, sentence.format(*(WORDS[int(n)] for n in failed))
    for arm in ("linear", "nequip"):
        assert metric(f"{hfo2}/autopsy", f"{arm}_forces_change") < 0
        assert metric(f"{hfo2}/autopsy", f"{arm}_forces_change_by_reference") > 0
    gold = [
        metric("long/kang2024/fig2b", f"{who}_{support}_difference")
        for who in ("au_gnn", "reference")
        for support in ("undoped", "doped")
    ]
    yield "README.md", recognised()
    cells = pd.read_csv(RECORDED / "paper/gijon2023/search.csv")
    rates = cells.loc[cells["chosen"], "learning_rate"]
    large = WORDS[int((rates == cells["learning_rate"].max()).sum())]
    yield (
        page,
        f"Of the {WORDS[len(rates)]} cells that were chosen {large} have the largest of the rates",
    )
    sentence = "give {:.0f} and {:.0f} meV where the reference has {:.0f} and {:.0f} meV"
    yield page, sentence.format(*gold)


def recognised():
    """What GATConv knows of frames that were divided at random."""
    tidy = pd.read_csv(RECORDED / "paper/gijon2023/fig2.csv")
    own, mean, inside = {}, {}, {}
    for target, part in tidy.groupby("target"):
        true, predicted, known = (
            part[f"{name}_ha"] for name in ("true", "predicted", "ensemble_mean")
        )
        own[target], mean[target] = ((x - true).abs().mean() for x in (predicted, known))
        inside[target] = metric("paper/gijon2023/fig2", f"gat_{target}_r2_within")
        assert own[target] > mean[target]
    card = yaml.safe_load((ROOT / "papers/gijon2023/card.yaml").read_text(encoding="utf-8"))
    table = card["artefacts"]["unseen"]["options"]["published"]
    published = {target: table[f"gat_{target}_mae"] for target in own}
    pairs = [
        " and ".join(form.format(values[t]) for t in ("atomic", "electronic"))
        for values, form in (
            (own, "{:.4f}"),
            (published, "{:g}"),
            (mean, "{:.4f}"),
            (inside, "{:.2f}"),
        )
    ]
    return (
        "GATConv has errors of {} Ha for the two energies of a water cluster anion, where the "
        "paper has {}; the mean of each trajectory has {}, and inside the trajectories R² is {}."
    ).format(*pairs[:3], pairs[3].replace("-", "−"))


def benchmarked():
    """Yield the page and each sentence that the figures of the benchmarks make."""
    page = "docs/run_on_a_cluster.md"
    held = benchmark("md_scaling")["memory"]["rows"]
    atoms = {row["atoms"] for row in held}
    peaks = [f"{row['peak_mb']:,.0f}" for row in sorted(held, key=lambda r: r["allocator"])]
    assert atoms == {101_568}
    yield (
        page,
        "101,568 atoms take {2} MB to evaluate once and {3} MB to move, and {0} and {1} MB without "
        "these settings".format(*peaks),
    )
    scale = benchmark("scale")
    ways, of_each = scale["ways"], "wall_s_per_training"
    many = ways["shared"]["trainings"]
    assert ways["dry-run"]["trainings"] == many
    yield (
        page,
        f"A dry-run of {many:,} of them takes {ways['dry-run']['wall_s']:.1f} seconds, and doing "
        f"them {ways['shared'][of_each]:.2f} seconds each on {WORDS[scale['cores']]} cores, while "
        f"Snakemake holds {ways['shared']['main_peak_mb']:.0f} MB",
    )
    yield (
        page,
        f"With a Python for every job it is {ways['alone'][of_each]:.1f} seconds, with a job of "
        f"Slurm for every training {ways['slurm'][of_each]:.1f}, and "
        f"{ways['grouped'][of_each]:.2f} in groups of {scale['group']}",
    )
    script = runpy.run_path(str(ROOT / "benchmarks/engines.py"))
    yield "docs/engines.md", " ".join(script["table"](benchmark("engines")["programs"]).split())


def benchmark(name):
    """The figures of a benchmark."""
    return json.loads((ROOT / f"benchmarks/{name}.json").read_text(encoding="utf-8"))


def test_a_job_costs_less_than_was_promised():
    """On two cores: 2 s a job, half a second in groups, and 15 s for a dry-run of 1,000."""
    ways = benchmark("scale")["ways"]
    assert ways["dry-run"]["trainings"] == ways["shared"]["trainings"] == 1000
    assert ways["dry-run"]["wall_s"] < 15
    assert ways["shared"]["wall_s_per_training"] < 2
    assert ways["grouped"]["wall_s_per_training"] < 0.5


@pytest.fixture(scope="module")
def sentences():
    return [*said(), *benchmarked()]


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
