"""One whole run at tier smoke, and what may follow it: reruns, kills, figures, report, records."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml
from project import Project, jobs, kill_group

from gnnip.config import papers
from gnnip.config.resolve import resolve
from gnnip.datasets.references import modules_behind
from gnnip.verdicts.recorded import RecordedRun

TIER = ("--config", "tier=smoke")
PAPERS = ("gijon2023", "rajak2021", "cho2023", "kang2024", "hoedl2022")
CARD = "results/smoke/gijon2023"
CELL = f"{CARD}/trainings/table1/layer-gat_target-electronic/seed-0"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Project:
    """A copy of the project in which tier smoke has been run from scratch."""
    project = Project(tmp_path_factory.mktemp("smoke"))
    project.snakemake("--cores", "2", *TIER, timeout=1500)
    return project


@pytest.fixture
def edited(run):
    """Change a file of the run's sources for one test."""
    kept: dict[Path, str] = {}

    def edit(name: str, change: Callable[[str], str]) -> None:
        path = run.folder / name
        kept[path] = path.read_text(encoding="utf-8")
        path.write_text(change(kept[path]), encoding="utf-8")

    yield edit
    for path, text in kept.items():
        path.write_text(text, encoding="utf-8")


def test_every_artefact_and_verdict_is_there(run):
    table = pd.read_csv(run.folder / "results/smoke/verdicts.csv")
    for name in papers.folders(folder=run.folder / "papers"):
        card = resolve(name, "smoke", folder=run.folder / "papers")
        folder = run.folder / "results/smoke" / name / "artefacts"
        for artefact in card.artefacts:
            for suffix in ("csv", "metrics.csv", "png", "svg"):
                assert (folder / f"{artefact}.{suffix}").stat().st_size > 50
        quantities = {name for block in card.published for name in block.values}
        judged = table.loc[table["card"] == name, "quantity"]
        assert set(judged) == quantities | set(card.claims)
    # nothing that small may count as a reproduction
    assert set(table["verdict"]) <= {"not comparable", "cannot decide", "not run"}
    assert table["reason"].str.contains("smoke tier").all()
    measured = table[table["quantity"] == "gat_electronic_mae"].iloc[0]
    assert measured["verdict"] == "not comparable"
    assert measured["ours_mean"] > 0
    assert measured["baseline"] > 0
    for name in ("water_anion", "water_anion_ladder", "water_anion_pimd"):
        verified = pd.read_csv(run.folder / f"results/smoke/datasets/{name}.verification.csv")
        assert len(verified) > 0


def test_provenance(run):
    facts = json.loads((run.folder / CARD / "provenance.json").read_text(encoding="utf-8"))
    assert facts["card"]["tier"] == "smoke"
    assert facts["config"]["papers"] == list(PAPERS)
    assert facts["rules"]["train_model"]["jobs"] == facts["trainings"]["count"] > 10
    assert facts["rules"]["generate_trajectory"]["jobs"] > 1
    assert facts["peak_memory_mb"] > 50
    assert facts["wall_s"] > 0
    assert facts["packages"]["torch"]
    assert facts["cpu"]


def test_every_job_counts_once_in_the_table_of_costs(run):
    root = run.folder / "results/smoke"
    table = pd.read_csv(root / "costs.csv")
    assert set(table["card"]) == {*PAPERS, "datasets"}
    total = table[table["rule"] == "all"].set_index("card")
    for card, own in table[table["rule"] != "all"].groupby("card"):
        assert own["jobs"].sum() == total.loc[card, "jobs"]
        folder = root / card / "benchmarks"
        for rule, count in own.set_index("rule")["jobs"].items():
            files = [*folder.glob(f"{rule}.tsv"), *(folder / rule).rglob("*.tsv")]
            assert count == len(files), (card, rule)
    trained = table[table["rule"] == "train_model"]
    assert len(trained) == len(PAPERS)
    assert (trained["core_hours"] > 0).all()
    assert (trained["peak_memory_mb"] > 50).all()


def test_nothing_is_left_to_do(run):
    """Not even bookkeeping: it would judge a finished run anew at every call."""
    assert "Nothing to be done" in run.snakemake("-n", *TIER)


def test_verdict_table_is_printed(run):
    done = run.run("gnnip", "verdicts", "--tier", "smoke")
    assert done.returncode == 0
    assert "gat_electronic_mape" in done.stdout


def append(line: str) -> Callable[[str], str]:
    return lambda text: f"{text}\n{line}\n"


def test_editing_a_model_retrains_it_and_redoes_no_data(run, edited):
    edited("src/gnnip/models/cluster_network.py", append("EDITED = 1"))
    todo = run.todo(*TIER)
    card = resolve("gijon2023", "smoke", folder=run.folder / "papers")
    same_module = ("spektral", "random_features")
    edited_model = [g for g, entry in card.trainings.items() if entry.model in same_module]
    assert todo.pop("train_model") == sum(len(card.cells(g)) for g in edited_model)
    # what follows from a training of that model, and nothing that does not
    assert set(todo) == {"measure", "tabulate_artefact", "plot_artefact"}
    others = ("fig1", "forces", "anion_md", "reference_data")
    trained = [name for name in card.artefacts if name not in others]
    assert todo["tabulate_artefact"] == todo["plot_artefact"] == len(trained)


LIBRARY, PAPER = "src/gnnip", "papers/gijon2023"
TOLD = {"tabulate_artefact", "plot_artefact"}
EDITED = append("EDITED = 1")


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        (
            # wording, lists of what there is, and what judges
            {
                f"{LIBRARY}/models/cluster_network.py": append("# a remark"),
                f"{LIBRARY}/models/listing.py": append("POTENTIALS['dummy'] = ('nowhere', 'P')"),
                f"{LIBRARY}/measurements/kinds.py": EDITED,
                f"{LIBRARY}/verdicts/judge.py": EDITED,
                f"{PAPER}/claims.py": EDITED,
            },
            set(),
        ),
        (
            dict.fromkeys((f"{PAPER}/figures.py", "workflow/scripts/plot_artefact.py"), EDITED),
            {"plot_artefact"},
        ),
        (dict.fromkeys((f"{PAPER}/tables.py", f"{LIBRARY}/models/baselines.py"), EDITED), TOLD),
        ({f"{LIBRARY}/measurements/force_audit.py": EDITED}, {"measure"} | TOLD),
        ({f"{LIBRARY}/reference/calculators.py": EDITED}, {"run_reference", "measure"} | TOLD),
    ],
)
def test_editing_elsewhere_retrains_nothing(run, edited, edits, expected):
    for name, change in edits.items():
        edited(name, change)
    # labels of the anion are recomputed where the solver has changed
    assert set(run.todo(*TIER)) - {"verify_labels"} == expected


def uses_nequip(training) -> bool:
    """Tell whether a training is of NequIP, or of a sum with a term of it."""
    terms = training.hyperparameters.get("terms", [])
    return "nequip" in {training.model, *(term.get("model") for term in terms)}


def test_one_operator_of_the_kernels_retrains_nequip_alone(run, edited):
    edited("src/gnnip/models/nequip/kernels.cpp", lambda text: text.replace("+=", "-=", 1))
    todo = run.todo(*TIER)
    every = [resolve(name, "smoke", folder=run.folder / "papers") for name in PAPERS]
    nequip = [
        (card, group, cell)
        for card in every
        for group in card.trainings
        for cell in card.cells(group)
        if uses_nequip(card.training(group, cell))
    ]
    assert todo["train_model"] == sum(len(card.seeds(group)) for card, group, _ in nequip) > 3
    assert "generate_trajectory" not in todo


def test_an_edit_of_an_engine_redoes_what_it_drove_and_labelled(run, edited):
    edited("src/gnnip/reference/xtb.py", append("EDITED = 1"))
    todo = run.todo(*TIER)
    every = [resolve(name, "smoke", folder=run.folder / "papers") for name in PAPERS]
    # its frames may be drawn by one engine and labelled by another
    driven = {
        name: use
        for card in every
        for name, use in card.datasets.items()
        if "gnnip.reference.xtb" in modules_behind(name, use.plan)
    }
    assert {"sic", "ani"} < set(driven)
    assert todo["generate_trajectory"] == sum(len(u.sizes) * u.replicas for u in driven.values())
    assert todo["assemble_dataset"] == todo["verify_labels"] == len(driven)


@pytest.mark.parametrize("without", [(), (".snakemake",)])
def test_a_copied_run_has_nothing_to_do(run, tmp_path, without):
    shutil.copytree(
        run.folder, tmp_path / "copy", symlinks=True, ignore=shutil.ignore_patterns(*without)
    )
    copy = Project(tmp_path / "copy", copied=True)
    # the sources of a fresh clone are newer than the results
    for path in (copy.folder / "src").rglob("*.py"):
        path.touch()
    assert copy.todo(*TIER) == {}


LASTING = (
    f"{CELL}/model.json",
    f"{CARD}/trainings/forces/all/seed-0/summary.json",
    f"{CARD}/dynamics/dynamics/forces/all/seed-0/trajectory.h5",
    f"{CARD}/measurements/timing.csv",
    f"{CARD}/artefacts/fig1.csv",
    f"{CARD}/artefacts/table1.metrics.csv",
    f"{CARD}/verdicts.json",
)


@contextlib.contextmanager
def damaged(run, names, damage: str):
    """Delete files, cut them, or change a byte of theirs without a trace, for a while."""
    kept = {run.folder / name: (run.folder / name).read_bytes() for name in names}
    stamps = {path: path.stat() for path in kept}

    def restore(path: Path, content: bytes) -> None:
        path.write_bytes(content)
        os.utime(path, ns=(stamps[path].st_atime_ns, stamps[path].st_mtime_ns))

    for path, content in kept.items():
        if damage == "deleted":
            path.unlink()
        else:
            edited = bytes([content[0] ^ 1]) + content[1:]
            restore(path, content[:-20] if damage == "cut" else edited)
    try:
        yield
    finally:
        for path, content in kept.items():
            path.with_name(f"{path.name}.changed").unlink(missing_ok=True)
            restore(path, content)
    assert run.todo(*TIER) == {}


@pytest.mark.parametrize("damage", ["deleted", "cut", "edited"])
def test_what_was_lost_or_damaged_is_made_again(run, damage):
    with damaged(run, LASTING, damage):
        text = run.snakemake("-n", *TIER)
        for name in LASTING:
            assert re.search(rf"Missing output files: .*{re.escape(name)}", text), name
            assert (f"{name} is not what its job had made" in text) == (damage != "deleted")


def test_an_edit_of_any_file_that_a_job_has_made_is_noticed(run):
    receipts = (run.folder / "results/.receipts").rglob("*.json")
    made = {n for path in receipts for n in json.loads(path.read_text(encoding="utf-8"))}
    names = sorted(n for n in made - {"made_of"} if (run.folder / n).stat().st_size)
    for kind in ("csv", "json", "h5", "npz", "safetensors", "png", "svg", "html"):
        assert any(name.endswith(kind) for name in names), kind
    with damaged(run, names, "edited"):
        text = run.snakemake("-n", *TIER)
        assert [n for n in names if f"{n} is not what its job had made" not in text] == []
        # nothing is taken for what it was, from the first frame to the last figure
        rules = {"generate_trajectory", "train_model", "measure", "plot_artefact"}
        assert set(jobs(text)) > rules


def test_an_edited_data_set_retrains_nothing_and_is_used_by_nothing(run):
    name = "results/smoke/datasets/water_anion.h5"
    with damaged(run, [name], "edited"):
        text = run.snakemake("-n", *TIER)
        assert f"{name} is not what its job had made" in text
        assert jobs(text) == {}
        training = f"{CELL}/model.safetensors"
        assert run.todo(*TIER, "--forcerun", training, "--", training) == {
            "provide_dataset": 1,
            "train_model": 1,
        }


def test_editing_a_tolerance_only_judges_again(run, edited):
    edited(f"{PAPER}/card.yaml", lambda text: text.replace("factor: 2.25", "factor: 3"))
    text = run.snakemake("-n", *TIER)
    assert jobs(text) == {}
    assert "Judging gijon2023" in text


def test_report_opens_with_the_verdicts(run):
    run.snakemake(*TIER, "--report", "report.zip")
    with zipfile.ZipFile(run.folder / "report.zip") as archive:
        names = archive.namelist()
        page = next(name for name in names if name.endswith("report.html"))
        html = archive.read(page).decode()
        (costs,) = (archive.read(n).decode() for n in names if n.endswith("costs.html"))
    # the landing page is the description of the workflow, which holds the table
    assert "<td" in html
    cell = re.search(r"<td[^<]*>gat_electronic_mae</td>", html.replace("\\", ""))
    assert cell is not None
    assert any(name.endswith("table1.png") for name in names)
    assert any(name.endswith("verdicts.html") for name in names)
    assert "<td>train_model</td>" in costs


@pytest.fixture(scope="module")
def recorded(run) -> Project:
    """The run after `make record`."""
    run.snakemake("--cores", "2", *TIER, "--forcerun", "record_results", "--", "record")
    return run


def test_recorded_files(recorded):
    folder = recorded.folder / "results/recorded/smoke/gijon2023"
    names = {path.name for path in folder.iterdir()}
    assert {"verdicts.csv", "verdicts.json", "provenance.json"} <= names
    assert {"table1.csv", "table1.metrics.csv", "table1.png", "table1.svg"} <= names
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 20e6
    record = RecordedRun.of("smoke", "gijon2023", recorded.folder / "results")
    facts = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    trained = record.histories().groupby(["group", "cell", "seed"])
    assert len(trained) == facts["trainings"]["count"]
    for group, cell, place in (
        ("forces", "all", record.folder),
        ("table1", "layer-gat_target-electronic", record.folder),
        ("cutoff_scan", "cutoff-4_target-electronic", record.kept),
    ):
        name = f"weights/{group}/{cell}/seed-0/model.safetensors"
        assert record.file(name).is_relative_to(place)
        assert record.load(group, cell, 0).n_parameters > 0
    moved = {atoms.info["potential"] for atoms in record.last_frames("dynamics")}
    assert moved == {"forces/all/seed-0", "forces_pair/all/seed-0", "reference"}
    done = recorded.run("gnnip", "kept", "gijon2023")
    assert (done.returncode, done.stdout.count("all here")) == (0, 1)


def test_figures_are_redrawn_without_torch(recorded, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    for name in ("torch", "torch_geometric", "e3nn"):
        (blocked / f"{name}.py").write_text(f"raise ImportError('{name} is blocked')\n")
    project = Project(tmp_path / "project")
    project.environment["PYTHONPATH"] = f"{blocked}:{project.folder / 'src'}"
    kept = "results/recorded"
    shutil.copytree(recorded.folder / kept, project.folder / kept)
    assert project.run("torch").stderr.strip().endswith("torch is blocked")
    # the tables as they are after a clone, with nothing else
    project.snakemake("--cores", "2", "figures")
    for table in (project.folder / kept / "smoke/gijon2023").glob("*.metrics.csv"):
        artefact = table.name.removesuffix(".metrics.csv")
        for suffix in ("png", "svg"):
            drawn = project.folder / f"results/figures/smoke/gijon2023/{artefact}.{suffix}"
            original = recorded.folder / CARD / f"artefacts/{artefact}.{suffix}"
            assert drawn.read_bytes() == original.read_bytes(), f"{artefact}.{suffix} differs"


def wait_for(path: Path, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.02)


def longer(project: Project, epochs: int) -> None:
    """Make the smoke trainings long enough to be killed in the middle."""
    path = project.folder / "papers/gijon2023/card.yaml"
    card = yaml.safe_load(path.read_text(encoding="utf-8"))
    settings = card["tiers"]["smoke"]["training_defaults"]["settings"]
    settings |= {"epochs": epochs, "learning_rate": 0.0001}
    path.write_text(yaml.safe_dump(card), encoding="utf-8")


def test_a_training_survives_sigkill(run, tmp_path):
    whole, killed = (Project(tmp_path / name) for name in ("whole", "killed"))
    for project in (whole, killed):
        data = "results/smoke/datasets/water_anion.h5"
        (project.folder / data).parent.mkdir(parents=True)
        shutil.copy(run.folder / data, project.folder / data)
        # a checkpoint comes after ten seconds: the run has to be longer on any machine
        longer(project, epochs=4000)
    target = ("--cores", "1", *TIER, "--", f"{CELL}/model.safetensors")
    # the data set is there: only the training is asked for
    assert jobs(whole.snakemake("-n", *target)) == {"train_model": 1}
    whole.snakemake(*target)
    process = killed.start(*target)
    wait_for(killed.folder / CELL / "checkpoint.pt")
    kill_group(process)
    assert not (killed.folder / CELL / "summary.json").exists()
    killed.snakemake("--unlock", *TIER)
    killed.snakemake(*target)
    summary = json.loads((killed.folder / CELL / "summary.json").read_text(encoding="utf-8"))
    assert summary["resumed"] == 1
    for name in ("model.safetensors", "predictions.csv"):
        first, second = ((p.folder / CELL / name).read_bytes() for p in (whole, killed))
        assert first == second, f"{name} differs from the uninterrupted training"


@pytest.mark.parametrize("name", ["water_anion", "water_anion_ladder"])
def test_a_trajectory_survives_sigkill(run, name, tmp_path):
    folder = f"results/smoke/trajectories/{name}/size-20_replica-0"
    killed = Project(tmp_path)
    target = ("--cores", "1", *TIER, "--", f"{folder}/frames.npz")
    process = killed.start(*target)
    wait_for(killed.folder / folder / "checkpoint.npz")
    kill_group(process)
    assert not (killed.folder / folder / "frames.npz").exists()
    killed.snakemake("--unlock", *TIER)
    killed.snakemake(*target)
    log = killed.folder / f"logs/smoke/{name}/generate_trajectory/size-20_replica-0.log"
    assert "continues at interval" in log.read_text(encoding="utf-8")
    import numpy as np

    first, second = (
        np.load(project.folder / folder / "frames.npz")["positions"] for project in (run, killed)
    )
    np.testing.assert_array_equal(first, second)


def test_a_wrong_label_stops_the_run_with_one_sentence(run, tmp_path):
    import h5py

    project = Project(tmp_path)
    data = project.folder / "results/smoke/datasets/water_anion_ladder.h5"
    data.parent.mkdir(parents=True)
    shutil.copy(run.folder / data.relative_to(project.folder), data)
    with h5py.File(data, "r+") as archive:
        energies = archive["energies/electronic"]
        energies[...] = energies[...] + 1e-3
    target = str(data.relative_to(project.folder).with_suffix(".verification.csv"))
    done = project.run("snakemake", "--cores", "1", *TIER, "--", target)
    assert done.returncode != 0
    text = done.stdout + done.stderr
    assert "labels differ from the reference" in text
    assert "Traceback" not in text


def test_the_device_of_this_machine_redoes_no_training(run):
    assert "train_model" not in run.todo(*TIER, "device=cpu")


def test_one_figure_leaves_the_rest_of_the_run_as_it_is(run):
    """Last: the artefact itself is tabulated from a part of its measurement then."""
    place = run.folder / "results/smoke"
    names = ("kang2024/verdicts.json", "kang2024/trainings.csv", "verdicts.csv")
    files = [place / name for name in (*names, "kang2024/measurements/charge_probe.csv")]
    before = [path.read_bytes() for path in files]
    run.snakemake("--cores", "2", *TIER, "papers=kang2024", "artefacts=fig1b")
    assert [path.read_bytes() for path in files] == before
    assert (place / "kang2024/measurements/charge_probe.part.csv").exists()
