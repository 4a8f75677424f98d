"""The one page of a run: what was trained, its errors, its dynamics, and how to use it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from gnnip.files import read_csv, write_text
from gnnip.own.evaluate import worst_rows
from gnnip.own.run import Run
from gnnip.training.outputs import read_summary
from gnnip.verdicts.recorded import join_histories


def write_run_page(run: Run) -> str:
    """Write `index.html` of a run that is finished; return its path."""
    from gnnip.page.charts import training_curves
    from gnnip.page.pictures import picture
    from gnnip.page.write import RUN_PAGE, page_style, template

    paths = sorted(run.folder.glob("trainings/*/*/*/history.csv"))
    page = template(RUN_PAGE).render(
        title=run.card.title,
        words=" ".join(training_words(run)),
        tables=[_errors(run), *_dynamics(run), _worst(run), _trainings(run)],
        figures=[
            {
                "name": name,
                "label": artefact.label,
                "title": artefact.title,
                "picture": picture(run.folder / f"artefacts/{name}.png"),
            }
            for name, artefact in run.card.artefacts.items()
        ],
        curves=training_curves(join_histories(paths)),
        commands=commands(run),
        style=page_style(),
    )
    path = run.folder / "index.html"
    write_text(path, page)
    return str(path)


def commands(run: Run) -> list[str]:
    """Return what can be done with the potential, as commands."""
    return [
        f"gnnip predict structures.xyz --model {run.folder} --output predicted.xyz",
        f"gnnip evaluate {run.folder} other_frames.xyz",
        f"gnnip train {run.folder}/train.yaml --output the_same_again",
        f'from gnnip import load_calculator; atoms.calc = load_calculator("{run.folder}")',
    ]


def training_words(run: Run) -> list[str]:
    """Return sentences on what was trained, on what, and what is wrong with it."""
    found = []
    for group in run.card.trainings:
        summaries = [(seed, _summary(folder)) for _, _, seed, folder in run.trainings([group])]
        first = summaries[0][1]
        split = run.card.trainings[group].split.scheme
        seconds = sum(summary["wall_s"] for _, summary in summaries)
        found.append(
            f"{run.card.trainings[group].model}, {first['n_parameters']} parameters: "
            f"{first['n_train']} frames to learn from, {first['n_validation']} to choose the "
            f"epoch, {first['n_test']} to test (split: {split}); {len(summaries)} "
            f"seed{'s' if len(summaries) > 1 else ''}, {seconds / 60:.1f} minutes."
        )
        for seed, summary in summaries:
            found += [f"Seed {seed}: {fault}." for fault in summary["faults"]]
    return found


def _summary(folder: str) -> dict[str, Any]:
    return read_summary(Path(folder))


def error_rows(tables: Iterable[pd.DataFrame]) -> list[list[str]]:
    """Return name, unit, rmse, mae, largest, what a trivial predictor has and their ratio, over the
    tables of the kind evaluation, as text."""
    table = pd.concat(list(tables))
    rows = []
    for name, part in table[table["record"] == "error"].groupby("name", sort=False):
        numbers = part[["rmse", "mae", "largest", "trivial"]].mean()
        share = numbers["rmse"] / numbers["trivial"] if numbers["trivial"] > 0 else float("nan")
        words = str(name).replace("forces_", "forces on ")
        said = [f"{value:.3g}" for value in numbers]
        rows.append([words, str(part["unit"].iloc[0]), *said, f"{100 * share:.1f} %"])
    return rows


ERROR_COLUMNS = ["", "unit", "RMSE", "MAE", "largest", "trivial RMSE", "share of trivial"]


def evaluations(run: Run) -> list[pd.DataFrame]:
    """Return the tables of a run's measurements of the kind evaluation."""
    names = [name for name, m in run.card.measurements.items() if m.kind == "evaluation"]
    return [read_csv(run.folder / f"measurements/{name}.csv") for name in names]


def _errors(run: Run) -> dict[str, Any]:
    return {
        "title": "Errors on test frames",
        "note": "Trivial: the fit of the energies to the composition, no force, the mean stress.",
        "columns": ERROR_COLUMNS,
        "rows": error_rows(evaluations(run)),
    }


def dynamics_facts(run: Run) -> list[dict[str, float]]:
    """Return, of each dynamics, ps, replicas, survived, the shortest run (ps) and the largest and
    the mean drift of the energy (meV/atom/ps) of the replicas that survived."""
    found = []
    for name, measurement in run.card.measurements.items():
        if measurement.kind != "dynamics":
            continue
        table = read_csv(run.folder / f"measurements/{name}.csv")
        runs = table[table["record"] == "run"].pivot_table(
            index=["potential", "replica"], columns="name", values="value", aggfunc="first"
        )
        drift = runs.get("drift_mev_per_atom_ps", pd.Series(dtype=float))[runs["failed"] == 0]
        found.append(
            {
                "ps": float(measurement.options["motion"]["duration"]) / 1000.0,
                "replicas": len(runs),
                "survived": int((runs["failed"] == 0).sum()),
                "shortest_ps": float(runs["simulated_fs"].min()) / 1000.0,
                "temperature_k": float(runs["temperature_mean_k"].mean())
                if "temperature_mean_k" in runs
                else float("nan"),
                "largest_drift": float(drift.abs().max()),
                "mean_drift": float(drift.mean()),
            }
        )
    return found


def _dynamics(run: Run) -> list[dict[str, Any]]:
    rows = [
        [
            f"{facts['ps']:g}",
            f"{facts['survived']} of {facts['replicas']}",
            f"{facts['shortest_ps']:.3g}",
            f"{facts['temperature_k']:.0f}",
            f"{facts['mean_drift']:.2g}",
            f"{facts['largest_drift']:.2g}",
        ]
        for facts in dynamics_facts(run)
    ]
    columns = ["ps", "survived", "shortest, ps", "mean temperature, K"]
    columns += ["mean drift, meV/atom/ps", "largest drift, meV/atom/ps"]
    title = "Dynamics at constant energy"
    return [{"title": title, "note": "", "columns": columns, "rows": rows}] if rows else []


def _worst(run: Run) -> dict[str, Any]:
    rows = worst_rows(pd.concat(evaluations(run)))
    columns = ["frame", "RMSE", "energy error"]
    return {"title": "Worst test frames", "note": "", "columns": columns, "rows": rows}


def _trainings(run: Run) -> dict[str, Any]:
    columns = ["training", "best epoch", "epochs", "parameters", "seconds per epoch", "device"]
    rows = []
    for group, cell, seed, folder in run.trainings(list(run.card.trainings)):
        summary = _summary(folder)
        speed = summary["seconds_per_epoch"]
        said = [summary["best_epoch"], summary["epochs_run"], summary["n_parameters"]]
        rows.append(
            [
                f"{group}/{cell.name}/seed-{seed}",
                *map(str, said),
                "" if speed is None else f"{speed:.2g}",
                summary["device"],
            ]
        )
    return {"title": "Trainings", "note": "", "columns": columns, "rows": rows}
