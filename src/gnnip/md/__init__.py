"""Batched molecular dynamics: many replicas in one flat batch, each with its own temperature and
seed.

    state = md.from_atoms([atoms] * 8, temperature=300.0, seeds=range(8))
    run = md.Simulation(potential, state, md.CSVR(time_step=1.0, relaxation=100.0), folder="run")
    result = run.run(10_000, progress=print)

Units: Angstrom, fs, amu, eV, K. Imports torch, numpy and h5py only; ASE where structures or
calculators of it come in.
"""

from gnnip.md.integrators import CSVR, Langevin, VelocityVerlet
from gnnip.md.nve import OrderTest, nve_order_test, straight_line
from gnnip.md.observables import (
    AngularDistribution,
    RadialDistribution,
    Spectrum,
    adf_errors,
    angular_distribution,
    mean_angular_distribution,
    mean_radial_distribution,
    mean_square_displacement,
    radial_distribution,
    rdf_errors,
    vdos_error,
    vibrational_density_of_states,
)
from gnnip.md.simulation import Result, Simulation
from gnnip.md.stability import (
    KINDS,
    Criteria,
    EnvironmentLibrary,
    Failure,
    Frame,
    RdfCriterion,
    survival_curve,
)
from gnnip.md.state import (
    State,
    from_atoms,
    kinetic_energy,
    kinetic_temperature,
    make_state,
    maxwell_boltzmann,
)
from gnnip.md.structures import Structure, closest_pair, shortest_distances
from gnnip.md.trajectory import (
    Trajectory,
    add_facts,
    is_trajectory,
    last_frames,
    pack_trajectory,
    read_facts,
    read_trajectory,
    write_extxyz,
    write_failure,
)

__all__ = [
    "CSVR",
    "KINDS",
    "AngularDistribution",
    "Criteria",
    "EnvironmentLibrary",
    "Failure",
    "Frame",
    "Langevin",
    "OrderTest",
    "RadialDistribution",
    "RdfCriterion",
    "Result",
    "Simulation",
    "Spectrum",
    "State",
    "Structure",
    "Trajectory",
    "VelocityVerlet",
    "add_facts",
    "adf_errors",
    "angular_distribution",
    "closest_pair",
    "from_atoms",
    "is_trajectory",
    "kinetic_energy",
    "kinetic_temperature",
    "last_frames",
    "make_state",
    "maxwell_boltzmann",
    "mean_angular_distribution",
    "mean_radial_distribution",
    "mean_square_displacement",
    "nve_order_test",
    "pack_trajectory",
    "radial_distribution",
    "rdf_errors",
    "read_facts",
    "read_trajectory",
    "shortest_distances",
    "straight_line",
    "survival_curve",
    "vdos_error",
    "vibrational_density_of_states",
    "write_extxyz",
    "write_failure",
]
