"""Artefacts about the seeds of trainings: calibration and warnings."""

from __future__ import annotations

import pytest
from made_up_tables import REPLICAS
from rajak2021_run import AS_TOLD, rajak_run

from gnnip.artefacts.make import draw, tabulate


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return rajak_run(tmp_path_factory.mktemp("ensembles"), AS_TOLD)


def values(metrics) -> dict[str, float]:
    return dict(zip(metrics["quantity"], metrics["value"], strict=True))


def test_metrics_of_a_calibration(run):
    _, metrics = tabulate(run.inputs("calibration"))
    found = values(metrics)
    for group in ("gese2_gnn", "gese2_decomposed"):
        assert found[f"{group}_split_random_forces_ratio"] == pytest.approx(2.0, rel=0.15)
        assert 0.9 < found[f"{group}_split_random_energy_covered"] <= 1.0
    of = {
        arm for m in ("sic", "gese2") for arm in run.card.measurements[f"calibration_{m}"].trainings
    }
    assert set(metrics["training"]) == {f"{group}/split-random" for group in of}


def test_warnings_are_counted_over_replicas(run):
    _, metrics = tabulate(run.inputs("warning"))
    found = values(metrics)
    failing = REPLICAS - 2
    assert found["gese2_gnn_warned"] == 1.0
    assert found["gese2_gnn_warning_time"] == pytest.approx(100.0)
    # of those that live one is flagged
    assert found["gese2_gnn_false_alarms"] == pytest.approx(1 / (REPLICAS - failing))
    assert found["gese2_decomposed_false_alarms"] == pytest.approx(1 / REPLICAS)
    assert "gese2_decomposed_warned" not in found


@pytest.mark.parametrize("artefact", ["calibration", "warning"])
def test_figures(run, artefact, tmp_path):
    tidy, _ = tabulate(run.inputs(artefact))
    figure = draw(tidy, run.info(artefact))
    figure.savefig(tmp_path / "figure.png")
    assert len(figure.axes) == 4
