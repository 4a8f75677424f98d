"""The tier quick fits into half an hour on two cores, all five papers together."""

from __future__ import annotations

import pytest

from gnnip.config.resolve import resolve
from gnnip.config.schema import Config
from gnnip.training.settings import Settings

#: paper -> minutes of the half hour, trainings and epochs of all of them that fit in, as measured
SHARES = {
    "gijon2023": (5, 36, 1300),
    "rajak2021": (6, 18, 360),
    "kang2024": (7, 34, 640),
    "cho2023": (3, 80, 2600),
    "hoedl2022": (5, 31, 780),
}
REST = 4  #: minutes: the data sets, Snakemake, verdicts


def test_the_shares_leave_room_for_the_rest():
    assert sum(minutes for minutes, _, _ in SHARES.values()) + REST == 30
    assert set(SHARES) == set(Config().papers)


@pytest.mark.parametrize("name", SHARES)
def test_a_paper_keeps_to_its_share(root, name):
    card = resolve(name, "quick", folder=root / "papers")
    trainings = [
        (Settings.read(card.training(group, cell).settings), seed)
        for group in card.trainings
        for cell in card.cells(group)
        for seed in card.seeds(group)
    ]
    # half the epochs more where seed 0 is trained with half of them, too
    epochs = sum(s.epochs * (1.5 if s.check_flat and seed == 0 else 1.0) for s, seed in trainings)
    _, most, longest = SHARES[name]
    assert len(trainings) <= most
    assert epochs <= longest
