import pytest

from gnnip.errors import ConfigError
from gnnip.measurements.conservation import Order
from gnnip.measurements.dynamics.motion import Motion
from gnnip.measurements.dynamics.options import Comparison


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (Motion, {"tempreature": 3.0}, "no option 'tempreature', did you mean 'temperature'"),
        (Motion, {"starts": 0}, "starts must be at least 1"),
        (Motion, {"time_step": 0.0}, "time_step must be greater than zero"),
        (Motion, {"temperature": -1.0}, "temperature must not be negative"),
        (Motion, {"thermostat": "nose"}, "thermostat is 'nose'"),
        (Motion, {"supercell": [2, 2]}, "give three numbers, at least 1 each"),
        (Motion, {"criteria": {"distance": 0.6}}, "criteria has no option 'distance'"),
        (Motion, {"criteria": {"energy_sigm": 6.0}}, "did you mean 'energy_sigma'"),
        (Comparison, {"discrad": 1}, "no option 'discrad', did you mean 'discard'"),
        (Comparison, {"adf_cutoff": {"Ge:Se": 3.0}}, "has 'Ge:Se', elements such as Ge-Se"),
        (Comparison, {"adf_cutoff": {"Ge-Se": "far"}}, "adf_cutoff must be greater than zero"),
        (Comparison, {"adf_cutoff": -1}, "adf_cutoff must be greater than zero"),
        (Comparison, {"adf_cutoff": "far"}, "a value of type float is expected"),
        (Comparison, {"adf_triplets": ["Se-Ge"]}, "has 'Se-Ge', elements such as Se-Ge-Se"),
        (Order, {"time_steps": [0.5, 0.5]}, "at least two different ones"),
        (Order, {"duration": 5.0}, "at least 20 of the longest time step"),
        (Order, {"time_step": [1.0]}, "no option 'time_step', did you mean 'time_steps'"),
        (Order, {"precision": "single"}, "precision is 'single'"),
    ],
)
def test_wrong_options_are_one_sentence(kind, options, words):
    stated = {"temperature": 40.0} if kind is Motion else {}
    with pytest.raises(ConfigError, match=words):
        kind.read({**stated, **options})
