"""The workflow as a text: formatting, lint, hygiene, dry-runs, mistakes. Nothing is computed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from project import jobs

from gnnip.config import papers
from gnnip.config.pipeline import Pipeline
from gnnip.config.resolve import resolve
from gnnip.config.schema import TIERS, Config

DIRECTIVES = ("log", "benchmark", "threads", "resources", "message")


def test_lint(project):
    done = project.run("snakemake", "--lint")
    assert done.returncode == 0, done.stdout + done.stderr


def test_snakefmt(root):
    done = subprocess.run(
        [sys.executable, "-m", "snakefmt", "--check", "Snakefile", "workflow"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def rules(root: Path) -> dict[str, str]:
    found = {}
    for path in sorted((root / "workflow/rules").glob("*.smk")):
        text = path.read_text(encoding="utf-8")
        for name, body in re.findall(r"^rule (\w+):\n((?:(?:    .*)?\n)+)", text, re.MULTILINE):
            found[name] = body
    assert len(found) > 10
    return found


def test_every_rule_that_computes_has_every_directive(root):
    for name, body in rules(root).items():
        if "script:" not in body:
            continue
        missing = [d for d in DIRECTIVES if not re.search(rf"^    {d}:", body, re.MULTILINE)]
        assert not missing, f"{name} lacks {missing}"
        assert "retries:" not in body, f"{name}: retries belong into the cluster's profile"


def test_every_job_says_what_it_needs(root):
    for name, body in rules(root).items():
        if "script:" not in body:
            continue
        (needs,) = re.findall(r"^    resources:\n((?:        .*\n)+)", body, re.MULTILINE)
        for what in ("mem_mb=", "runtime="):
            assert what in needs, f"{name} does not state {what}"
        # records say what those need that go to the nodes
        here = "localrule: True" in body
        assert here or len(re.findall(rf'=measured\(\s*"{name}"', needs)) == 2, name
        # what computes with torch on the device of the choice may want a GPU
        on_device = name in ("train_model", "run_dynamics", "measure")
        assert ("gpu=" in needs) is on_device, name
        assert not (here and on_device)
    scripts = (root / "workflow/scripts").glob("*.py")
    chosen = {path.stem for path in scripts if 'config.get("device"' in path.read_text("utf-8")}
    assert chosen <= {"train_model", "run_dynamics", "measure"}


#: end of a Snakefile: what Snakemake knows of each rule
TELL = """
import json

told = {
    one.name: {"needs": sorted(one.resources), "here": one.name in workflow._localrules}
    for one in workflow.rules
    if not one.norun
}
Path("rules.json").write_text(json.dumps(told))
"""
#: what takes seconds; a scheduler would take longer to start it
LIGHT = {
    *("tabulate_artefact", "plot_artefact", "redraw_artefact", "judge_card", "provide_dataset"),
    *("collect_verdicts", "collect_costs", "collect_provenance", "write_page", "record_results"),
    "datasets",
}


def test_no_rule_lacks_resources_and_light_ones_run_where_snakemake_does(project):
    with open(project.folder / "Snakefile", "a", encoding="utf-8") as stream:
        stream.write(TELL)
    project.todo("--config", "tier=smoke", "papers=cho2023")
    told = json.loads((project.folder / "rules.json").read_text(encoding="utf-8"))
    assert set(told) > set(rules(project.folder)) - {"all", "figures", "record"}
    for name, found in told.items():
        assert {"_cores", "mem_mb", "runtime"} <= set(found["needs"]), name
    # and what needs the network
    assert {name for name, found in told.items() if found["here"]} == LIGHT | {"download_dataset"}


def test_rule_script_and_log_share_a_name(root):
    used = set()
    for name, body in rules(root).items():
        script = re.search(r'"\.\./scripts/(\w+)\.py"', body)
        if script is None:
            continue
        used.add(script.group(1))
        # the same script draws new and recorded figures
        if name != "redraw_artefact":
            assert script.group(1) == name
        log = re.search(r'    log:\n        "([^"]+)"', body)
        assert log is not None
        assert f"/{name}" in log.group(1)
    assert used == {path.stem for path in (root / "workflow/scripts").glob("*.py")}


def test_scripts_fit_on_a_screen(root):
    for path in (root / "workflow/scripts").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 40, path.name


def test_rules_name_no_paper(root):
    for path in (root / "workflow").glob("**/*"):
        if path.suffix in (".smk", ".py"):
            text = path.read_text(encoding="utf-8")
            assert not [name for name in papers.folders(folder=root / "papers") if name in text]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("profile", ["default", "gpu", "slurm"])
def test_dry_run_of_every_tier_and_profile(project, tier, profile):
    if profile == "slurm" and find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("the package snakemake-executor-plugin-slurm is not installed")
    choice = ["--config", f"tier={tier}", "sources={water_anion_ladder: generate}"]
    todo = project.todo("--workflow-profile", f"profiles/{profile}", *choice)
    folder = project.folder / "papers"
    all_cards = [resolve(name, tier, folder=folder) for name in papers.folders(folder=folder)]
    assert todo["train_model"] == sum(
        len(card.cells(g)) * len(card.seeds(g)) for card in all_cards for g in card.trainings
    )
    artefacts = sum(len(card.artefacts) for card in all_cards)
    assert todo["plot_artefact"] == todo["tabulate_artefact"] == artefacts
    measured = [(card, m) for card in all_cards for m in card.measurements.values()]
    moved = [(card, m) for card, m in measured if m.kind == "dynamics"]
    assert todo["run_dynamics"] == sum(
        cell.chosen(measurement.cells)
        for card, measurement in moved
        for g in measurement.trainings
        for cell in card.cells(g)
    )
    assert todo["measure"] == len(measured)
    assert todo["run_reference"] == sum("reference" in m.options for _, m in moved)
    made = [
        use
        for card in all_cards
        for name, use in card.datasets.items()
        if name in card.used_datasets()
        if name == "water_anion_ladder" or use.source == "generate"
    ]
    assert todo["generate_trajectory"] == sum(len(use.sizes) * use.replicas for use in made)
    assert todo["draw_structures"] == sum(not use.sizes for use in made)


def test_one_artefact_brings_what_it_needs(project):
    todo = project.todo("--config", "tier=quick", "artefacts=fig1a")
    assert todo["plot_artefact"] == todo["tabulate_artefact"] == 1
    assert todo["draw_structures"] == 1
    assert "train_model" not in todo
    assert "generate_trajectory" not in todo


def test_a_training_brings_the_one_that_it_starts_from(project):
    path = project.folder / "papers/gijon2023/card.yaml"
    card = yaml.safe_load(path.read_text(encoding="utf-8"))
    group = {"target": "total", "seeds": 1, "hyperparameters": {"species": [1, 8]}}
    card["trainings"]["first"] = group | {"model": "pair_network"}
    terms = [{"initial": {"training": "first"}, "frozen": True}]
    terms.append({"model": "zbl", "hyperparameters": {"species": [1, 8]}})
    card["trainings"]["second"] = group | {"model": "sum", "hyperparameters": {"terms": terms}}
    path.write_text(yaml.safe_dump(card), encoding="utf-8")
    trainings = "results/smoke/gijon2023/trainings"
    wanted = ("--config", "tier=smoke", "--", f"{trainings}/second/all/seed-1/summary.json")
    text = project.snakemake("-n", *wanted)
    assert jobs(text)["train_model"] == 2
    assert f"{trainings}/first/all/seed-1/model.safetensors" in text
    del terms[0]
    path.write_text(yaml.safe_dump(card), encoding="utf-8")
    assert project.todo(*wanted)["train_model"] == 1


def test_the_archive_is_the_default_source(project):
    todo = project.todo("--config", "tier=quick")
    assert "generate_trajectory" not in todo
    every = [resolve(name, "quick") for name in papers.folders()]
    assert todo["provide_dataset"] == len({d for card in every for d in card.used_datasets()})


def test_a_reference_from_an_archive_and_the_order_as_a_measurement(project):
    data = project.folder / "data"
    shipped = [path.resolve() for path in data.iterdir() if path.is_file()]
    data.unlink()
    data.mkdir()
    for path in shipped:
        (data / path.name).symlink_to(path)
    entries = yaml.safe_load((data / "registry.yaml").read_text(encoding="utf-8"))
    entry = entries["water_anion_ladder"]
    entries["anion_path"] = entry | {"kind": "trajectory", "file": "path.h5"}
    (data / "registry.yaml").unlink()
    (data / "registry.yaml").write_text(yaml.safe_dump(entries), encoding="utf-8")
    path = project.folder / "papers/gijon2023/card.yaml"
    card = yaml.safe_load(path.read_text(encoding="utf-8"))
    moved = card["measurements"]["dynamics"]
    card["measurements"]["short_order"] = {
        "kind": "conservation",
        "trainings": moved["trainings"],
        "options": {"motion": moved["options"]["motion"], "reference": "water_anion"},
    }
    moved["options"]["reference_archive"] = "anion_path"
    card["artefacts"]["anion_md"]["measurements"].append("short_order")
    path.write_text(yaml.safe_dump(card), encoding="utf-8")
    choice = ("--config", "tier=smoke", "artefacts=anion_md", "papers=gijon2023")
    done = project.run("snakemake", "-n", *choice)
    assert done.returncode != 0
    assert "data/path.h5" in done.stdout + done.stderr
    # the user may have it run instead
    assert project.todo(*choice, "sources={anion_path: generate}")["run_reference"] == 1
    (data / "path.h5").touch()
    todo = project.todo(*choice)
    assert (todo["measure"], todo["run_reference"]) == (2, 1)
    card["measurements"]["dynamics"]["options"]["reference_archive"] = "anion_paths"
    path.write_text(yaml.safe_dump(card), encoding="utf-8")
    done = project.run("snakemake", "-n", *choice)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "'anion_paths' is not in the registry, did you mean 'anion_path'" in said


def test_the_whole_graph_answers_fast(project):
    choice = ["--config", "tier=paper", "sources={water_anion_ladder: generate}"]
    project.snakemake("-n", "--quiet", *choice)
    begun = time.process_time()
    before = _children_seconds()
    project.snakemake("-n", "--quiet", *choice)
    spent = _children_seconds() - before + time.process_time() - begun
    # 5 s with five whole cards on two busy cores; what a dry run may take at most is 15
    assert spent < 9.0, f"{spent:.1f} s of processor time"


def _children_seconds() -> float:
    import resource

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("teir=quick", "unknown key 'teir', did you mean 'tier'?"),
        ("tier=huge", "tier: input should be 'smoke', 'quick', 'long' or 'paper', found 'huge'."),
        (
            "papers=gijon2032",
            "There is no card 'gijon2032' in papers; the cards are cho2023, gijon2023, hoedl2022, "
            "kang2024, rajak2021.",
        ),
        ("sources={water_anions: generate}", "did you mean 'water_anion'?"),
    ],
)
def test_a_mistake_in_the_config_is_one_sentence(project, choice, expected):
    done = project.run("snakemake", "-n", "--config", choice)
    assert done.returncode != 0
    text = done.stdout + done.stderr
    assert expected in text
    assert "Traceback" not in text


def test_a_mistake_in_a_card_is_one_sentence(project):
    path = project.folder / "papers/gijon2023/card.yaml"
    card = yaml.safe_load(path.read_text(encoding="utf-8"))
    card["training_defaults"]["hyperparameters"]["cutoff"] = -6
    path.write_text(yaml.safe_dump(card), encoding="utf-8")
    done = project.run("snakemake", "-n")
    assert done.returncode != 0
    assert "gijon2023/card.yaml: training_defaults: cutoff is -6" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("profile", ["gpu", "slurm"])
def test_profiles_name_rules_that_exist(root, profile):
    text = (root / f"profiles/{profile}/profile.v9+.yaml").read_text(encoding="utf-8")
    assert set(yaml.safe_load(text).get("set-resources", {})) <= set(rules(root))


STUB = """#!/bin/sh
echo "$@" >> {log}
exit {status}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wanted", "flags", "others"),
    [
        # nothing is recorded of tier smoke: what the rule states
        (
            "trainings/table1/layer-gat_target-electronic/seed-0/summary.json",
            {"--gpus=1", "--cpus-per-gpu=8", "--mem 3000", "-t 480"},
            {"--exclusive"},
        ),
        ("measurements/symmetry_audit.csv", {"--gpus=1", "-t 60"}, {"--exclusive"}),
        # a clock has a node of its own
        ("measurements/timing.csv", {"--exclusive"}, set()),
    ],
)
def test_what_is_asked_of_slurm(project, tmp_path, monkeypatch, wanted, flags, others):
    if find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("the package snakemake-executor-plugin-slurm is not installed")
    # stand-ins for Slurm's commands: submission writes its arguments down and is refused
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    for name in ("sbatch", "squeue", "sacct", "sacctmgr", "scancel", "sinfo", "scontrol", "sshare"):
        log = tmp_path / f"{name}.log"
        (stubs / name).write_text(STUB.format(log=log, status=int(name == "sbatch")))
        (stubs / name).chmod(0o755)
    project.environment["PATH"] = f"{stubs}:{os.environ['PATH']}"
    # what the job needs is there
    monkeypatch.chdir(project.folder)
    pipeline = Pipeline(Config(tier="smoke", papers=["gijon2023"]))
    job = SimpleNamespace(tier="smoke", card="gijon2023", measurement=Path(wanted).stem)
    files = ["results/smoke/datasets/water_anion.h5"]
    if wanted.startswith("measurements"):
        files = [*pipeline.measured_datasets(job), *pipeline.measured_models(job)]
    for path in map(Path, files):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    done = project.run(
        *("snakemake", "--workflow-profile", "profiles/slurm", "--retries", "0"),
        *("--config", "tier=smoke", "--", f"results/smoke/gijon2023/{wanted}"),
        timeout=100,
    )
    assert done.returncode != 0
    (submitted,) = (tmp_path / "sbatch.log").read_text(encoding="utf-8").splitlines()
    assert not {flag for flag in flags if flag not in submitted}, submitted
    assert not {flag for flag in others if flag in submitted}, submitted


def test_without_slurm_its_profile_says_so(project, tmp_path):
    if find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("the package snakemake-executor-plugin-slurm is not installed")
    for name in ("bash", "sh", "uname", "which"):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    project.environment["PATH"] = str(tmp_path / "bin")
    choice = ("--workflow-profile", "profiles/slurm", "--config", "tier=smoke", "papers=kang2024")
    done = project.run("snakemake", *choice, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "This profile needs Slurm, and there is no command sbatch here" in said, said
    assert "Traceback" not in said
    assert not (project.folder / "results/smoke").exists()
    # a look at what would be done needs none
    assert project.todo(*choice)


def test_a_report_of_nothing_says_so(project):
    done = project.run("snakemake", "--report", "report.zip", "--config", "tier=smoke")
    assert done.returncode != 0
    assert "There is nothing to report yet at tier smoke" in done.stdout + done.stderr
    assert not (project.folder / "report.zip").exists()


@pytest.mark.parametrize("home", ["/proc/nowhere", ""])
def test_no_home_is_needed(project, home):
    project.environment = {"HOME": home, "XDG_CACHE_HOME": ""}
    assert project.todo("--config", "tier=smoke", "papers=cho2023")
