"""Sentences for the user end once."""

import pickle

import pytest

from gnnip.errors import CheckpointError, ConfigError, DataError, nearest


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (f"There is no 'energi'{nearest('energi', ['energy'])}.", "did you mean 'energy'?"),
        (f"There is no 'x'{nearest('x', ['energy'])}.", "known names are energy."),
        ("It ends.", "It ends."),
        ("", ""),
    ],
)
@pytest.mark.parametrize("kind", [ConfigError, DataError, CheckpointError])
def test_a_question_has_no_full_stop(kind, given, said):
    error = kind(given)
    assert str(error).endswith(said)
    assert not str(error).endswith("?.")
    # it comes back from the processes of trainings and jobs
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (kind, str(error))
