"""What the cards of a tier will take, from what was recorded, before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gnnip.config.costs import RECORDED, provenance, spent
from gnnip.config.resolve import ResolvedCard, resolve
from gnnip.config.schema import TIERS, Config
from gnnip.datasets import registry
from gnnip.errors import DataError
from gnnip.measurements.dynamics.motion import Motion
from gnnip.measurements.kinds import Dynamics
from gnnip.terminal import columns
from gnnip.training.settings import Settings

KEPT = Path("results/kept")
#: rules whose jobs compute on a GPU where there is one, measurements aside
_ON_GPU = ("train_model", "run_dynamics")
_HEADER = ("card", "rule", "jobs", "core-hours", "GPU-hours", "from")


@dataclass(frozen=True)
class Load:
    """The jobs of a rule: how many, and their work in units that grow with their time."""

    jobs: int
    work: float
    unit: str = "jobs"


@dataclass(frozen=True)
class Row:
    """What a rule takes; hours are None where nothing like it was recorded."""

    card: str
    rule: str
    jobs: int
    core_hours: float | None
    gpu_hours: float | None
    basis: str

    def texts(self) -> tuple[str, ...]:
        """Return the cells of the table."""
        hours = [f"{h:.2f}" if h is not None else "" for h in (self.core_hours, self.gpu_hours)]
        return self.card, self.rule, str(self.jobs), *hours, self.basis


def loads(card: ResolvedCard) -> dict[str, Load]:
    """Return the jobs of each rule that takes more than seconds.

    Work is epochs times frames of trainings, and steps times replicas of dynamics; what the models
    and structures cost differs, too, and is taken to be alike.
    """
    trainings = [
        (card.training(group, cell), len(card.seeds(group)))
        for group in card.trainings
        for cell in card.cells(group)
    ]
    epochs = sum(
        seeds * Settings.read(training.settings).epochs * _frames(training.dataset, training.split)
        for training, seeds in trainings
    )
    found = {
        "train_model": Load(sum(seeds for _, seeds in trainings), epochs, "epochs x frames"),
        "measure": Load(len(card.measurements), len(card.measurements)),
        "tabulate_artefact": Load(len(card.artefacts), len(card.artefacts)),
        "plot_artefact": Load(len(card.artefacts), len(card.artefacts)),
        "verify_labels": Load(len(card.used_datasets()), len(card.used_datasets())),
    }
    movers, references, steps = 0, 0, 0.0
    for name, stated in card.measurements.items():
        if stated.kind != "dynamics":
            continue
        kind = card.measurement_kind(name)
        assert isinstance(kind, Dynamics)
        motion = Motion.read(kind.motion)
        many = sum(
            len(card.seeds(group)[: 1 if stated.seeds == "first" else None])
            for group in stated.trainings
            for cell in card.cells(group)
            if cell.chosen(stated.cells)
        )
        length = motion.duration / motion.time_step * motion.starts * motion.repeats
        movers, steps, references = movers + many, steps + many * length, references + 1
    found["run_dynamics"] = Load(movers, steps, "steps x replicas")
    found["run_reference"] = Load(references, references)
    return {rule: load for rule, load in found.items() if load.jobs}


def _frames(dataset: str, split: Mapping[str, object]) -> int:
    """Return about how many frames a training looks at; 1 where that is not known."""
    try:
        most = int(registry.find_entry(dataset).get("n_frames", 1))
    except DataError:
        most = 1
    limits = [int(str(split[k])) for k in ("max_frames", "train_frames") if split.get(k)]
    return min([most, *limits]) if most > 1 else min(limits, default=1)


def rows(card: str, tier: str, config: Config) -> list[Row]:
    """Return what each rule of a card takes at a tier."""
    found = []
    for rule, load in loads(resolve(card, tier, config)).items():
        # the tier itself, then those nearest to it from above and below
        order = sorted(TIERS, key=lambda other: abs(TIERS.index(other) - TIERS.index(tier)))
        source = next((other for other in order if spent(other, card, rule)), None)
        record = spent(source, card, rule) if source else None
        if source is None or record is None:
            found.append(Row(card, rule, load.jobs, None, None, "nothing recorded"))
            continue
        seconds, basis = record.wall_s, f"recorded, {record.jobs} jobs"
        if source != tier:
            before = loads(resolve(card, source, config)).get(rule, load)
            factor = load.work / before.work
            # the record is of the jobs that there were then
            seconds *= factor * before.jobs / record.jobs
            basis = f"EXTRAPOLATED from {source}, {factor:.3g} times the {load.unit}"
        elif record.jobs != load.jobs:
            seconds *= load.jobs / record.jobs
            basis += f", scaled to {load.jobs}"
        devices = provenance(source, card).get("trainings", {}).get("devices", ["cpu"])
        on_gpu = rule in _ON_GPU and devices != ["cpu"]
        gpu_hours = seconds / 3600 if on_gpu else None
        found.append(Row(card, rule, load.jobs, seconds / 3600, gpu_hours, basis))
    return found


def table(cards: list[str], tier: str, config: Config) -> str:
    """Return the table of all rules and, for each card, its sums and what it leaves on the disk."""
    cells: list[tuple[str, ...]] = [_HEADER]
    notes, total = [], 0.0
    for card in cards:
        found = rows(card, tier, config)
        known = sum(row.core_hours or 0.0 for row in found)
        total += known
        cells += [row.texts() for row in found]
        jobs = sum(row.jobs for row in found)
        guessed = sum(row.core_hours or 0.0 for row in found if "EXTRAPOLATED" in row.basis)
        unknown = [row.rule for row in found if row.core_hours is None]
        notes.append(
            f"{card}: {jobs} jobs, {known:.1f} core-hours, {guessed:.1f} of them extrapolated"
            + (f"; not known: {', '.join(unknown)}" if unknown else "")
            + f"; disk {_disk(card, tier)}"
        )
    return "\n".join(
        [
            columns(cells, "llrrrl"),
            "",
            *notes,
            f"All: {total:.1f} core-hours of the machines that recorded them, without data sets "
            "that are made anew.",
            "An extrapolation takes models and structures to be as large as those recorded; at "
            "tier paper some are larger.",
            "GPU-hours are given where a run on a GPU is recorded; elsewhere nobody has measured "
            "what a GPU saves.",
        ]
    )


def _disk(card: str, tier: str) -> str:
    """Say how large the results of a card are, or at least are."""
    there = Path("results") / tier / card
    if (there / "verdicts.csv").exists():
        return f"{_megabytes(there):.0f} MB, as they lie here"
    kept = [folder / tier / card for folder in (RECORDED, KEPT)]
    size = sum(_megabytes(folder) for folder in kept if folder.exists())
    return f"more than {size:.1f} MB, what of them is recorded" if size else "not known"


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
