"""Networks of torch-geometric: on their own open graphs, and what is refused."""

import numpy as np
import pytest
import torch
from torch_geometric.nn.models import SchNet, ViSNet

from gnnip.errors import ConfigError, DataError
from gnnip.graphs import GraphBatch
from gnnip.models import build
from gnnip.models.contract import TargetStatistics
from gnnip.testing import water

SMALL = {
    "SchNet": {"hidden_channels": 8, "num_filters": 8, "num_interactions": 2},
    "ViSNet": {"hidden_channels": 8, "num_heads": 2, "num_layers": 2, "num_rbf": 8},
}


def potential(network, **options):
    torch.manual_seed(0)
    given = {"species": (1, 8), "cutoff": 4.0, "network": network, "options": SMALL[network]}
    return build("torch_geometric", **(given | options)).double()


def neighbours(self_loops):
    """What the package asks torch-cluster for, in open structures."""

    def find(positions, batch):
        apart = torch.cdist(positions, positions)
        near = (apart < 4.0) & (batch[:, None] == batch)
        near = near if self_loops else near & (apart > 0)
        edges = near.nonzero().t()
        vectors = positions[edges[0]] - positions[edges[1]]
        lengths = apart[edges[0], edges[1]]
        return (edges, lengths, vectors) if self_loops else (edges, lengths)

    return find


@pytest.mark.parametrize("network", SMALL)
def test_energies_are_those_of_the_package(network):
    model = potential(network)
    structures = [water(4, 0), water(2, 1)]
    batch = GraphBatch.from_structures(structures, 4.0, dtype=torch.float64)
    inputs = batch.atomic_numbers, batch.positions, batch.batch
    if network == "SchNet":
        peer = SchNet(cutoff=4.0, interaction_graph=neighbours(False), **SMALL[network]).double()
        state = dict(model.network.state_dict())
        # the package holds these weights under two names
        state |= {k.replace("conv.nn", "mlp"): v for k, v in state.items() if "conv.nn" in k}
        peer.load_state_dict(state)
        expected = peer(*inputs)[:, 0]
    else:
        peer = ViSNet(cutoff=4.0, **SMALL[network]).double()
        peer.load_state_dict(peer.state_dict() | model.network.state_dict())
        peer.representation_model.distance.forward = neighbours(True)
        expected = peer(*inputs)[0][:, 0]
    assert torch.allclose(model(batch)["energy"], expected, rtol=1e-10)
    model.calibrate(TargetStatistics(-7.0, 2.0, {1: -1.5, 8: -4.0}, 0.3, 1.5, 20.0))
    waters = torch.tensor([4.0, 2.0], dtype=torch.float64)
    assert torch.allclose(model(batch)["energy"], 1.5 * expected - 7.0 * waters, rtol=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "DimeNetPlusPlus"}, "DimeNetPlusPlus needs the compiled packages torch-clust"),
        ({"network": "SchNett"}, "did you mean 'SchNet'"),
        ({"options": {"num_gausians": 5}}, "SchNet has no option 'num_gausians', did you mean"),
        ({"options": {"readout": "mean"}}, "SchNet has no option 'readout'"),
        ({"options": {"hidden_channels": "many"}}, "SchNet does not accept the options"),
        ({"species": (1, 110)}, "elements up to 99"),
        ({"cutoff": 0.0}, "must be positive"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build("torch_geometric", **({"species": (1, 8)} | options))
    assert "\n" not in str(caught.value)


def test_unknown_species():
    carbon = {"positions": np.zeros((1, 3)), "numbers": np.array([6])}
    with pytest.raises(DataError, match=r"not for \[6\]"):
        potential("SchNet")(GraphBatch.from_structures([carbon], 4.0, dtype=torch.float64))
