"""The potentials of the library: name -> module and class. This file holds nothing else.

It is read without being imported too (`gnnip.catalogue`), so it must stay one literal.
"""

LISTING = True

POTENTIALS: dict[str, tuple[str, str]] = {
    "ace": ("gnnip.models.ace.linear", "LinearACE"),
    "ace_network": ("gnnip.models.ace_network", "ACENetwork"),
    "composition": ("gnnip.models.null_models", "Composition"),
    "constant": ("gnnip.models.null_models", "Constant"),
    "coulomb": ("gnnip.models.coulomb", "CoulombPotential"),
    "graph_network": ("gnnip.models.graph_network", "GraphNetwork"),
    "jat": ("gnnip.models.jat.network", "JAT"),
    "neuralil": ("gnnip.models.neuralil", "NeuralIL"),
    "nequip": ("gnnip.models.nequip.network", "NequIP"),
    "pair": ("gnnip.models.pair", "PairPotential"),
    "pair_network": ("gnnip.models.pair_network", "PairNetwork"),
    "random_features": ("gnnip.models.cluster_network", "RandomFeatures"),
    "spektral": ("gnnip.models.cluster_network", "ClusterNetwork"),
    "sum": ("gnnip.models.sum", "SumPotential"),
    "torch_geometric": ("gnnip.models.torch_geometric", "TorchGeometricPotential"),
    "triplet_network": ("gnnip.models.triplet_network", "TripletNetwork"),
    "zbl": ("gnnip.models.zbl", "ZBLPotential"),
}
