"""What the files of a set mean: format, key names, units, and what is done with bad frames."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gnnip import units
from gnnip.errors import nearest
from gnnip.strict import Strict

Format = Literal["extxyz", "vasp", "runner", "neuralil", "ani", "ase", "gnnip"]
#: formats whose frames have any columns, and a stress by any name
NAMED = ("extxyz", "ase", "gnnip")
Length = Literal["Angstrom", "Bohr", "nm"]
Energy = Literal["eV", "meV", "Hartree", "Rydberg", "kcal/mol", "kJ/mol"]

LENGTHS: dict[str, float] = {"Angstrom": 1.0, "Bohr": units.BOHR, "nm": 10.0}
ENERGIES: dict[str, float] = {
    "eV": 1.0,
    "meV": 1e-3,
    "Hartree": units.HARTREE,
    "Rydberg": units.HARTREE / 2.0,
    "kcal/mol": units.KCAL_PER_MOL,
    "kJ/mol": units.KJ_PER_MOL,
}
#: of a stress with the sign of ASE, positive when stretched
STRESSES: dict[str, float] = {
    "eV/Angstrom^3": 1.0,
    "GPa": units.GPA,
    "kbar": units.GPA / 10.0,
    "Hartree/Bohr^3": units.HARTREE / units.BOHR**3,
}
FORCES: dict[str, float] = {
    f"{energy}/{length}": ENERGIES[energy] / LENGTHS[length]
    for energy in ENERGIES
    for length in LENGTHS
}
#: the units of each format where none are stated: those of the program that writes it
CONVENTIONS: dict[str, tuple[str, str]] = {
    "extxyz": ("Angstrom", "eV"),
    "vasp": ("Angstrom", "eV"),
    "runner": ("Bohr", "Hartree"),
    "neuralil": ("Angstrom", "eV"),
    "ani": ("Angstrom", "Hartree"),
    "ase": ("Angstrom", "eV"),
    "gnnip": ("Angstrom", "eV"),
}
#: names of energies and forces in the file where none are stated
KEYS: dict[str, tuple[str, str | None]] = {
    "extxyz": ("energy", "forces"),
    "vasp": ("free_energy", "forces"),
    "runner": ("energy", "forces"),
    "neuralil": ("Energy", "Forces"),
    "ani": ("energies", None),
    "ase": ("energy", "forces"),
    "gnnip": ("total", "total"),
}


#: what is done with frames that are not as they should be
Bad = Literal["refuse", "leave_out"]
#: the words for what labels frames that have a meaning of their own
REFERENCES = ("exact", "published", "dft", "xtb")
#: columns of every import
WRITTEN = ("trajectory", "source", "source_frame")


def _reference(value: str) -> str:
    words = " ".join(value.split())
    if not words:
        raise ValueError("reference is empty; say what labels the frames, e.g. dft or CCSD(T)")
    return words.lower() if words.lower() in REFERENCES else words


#: what labels frames: exact, published, dft, xtb, or the user's own words
Reference = Annotated[str, AfterValidator(_reference)]


def _words(value: object) -> object:
    return value.split() if isinstance(value, str) else value


def _false(value: object) -> object:
    # values within brackets on snakemake's command line arrive as text
    return False if value in ("false", "False") else value


class UnitSettings(Strict):
    """Units of the numbers in the file; what is not stated follows the format's convention."""

    length: Length | None = None
    """Of positions and cells."""
    energy: Energy | None = None
    """Of energies."""
    forces: str | None = None
    """Energy/length, e.g. Hartree/Bohr; null takes the units of energy and length."""
    stress: str | None = None
    """eV/Angstrom^3, GPa, kbar or Hartree/Bohr^3; a virial is in the unit of energy."""

    @model_validator(mode="after")
    def _known(self) -> UnitSettings:
        for key, value, known in (
            ("forces", self.forces, FORCES),
            ("stress", self.stress, STRESSES),
        ):
            if value is not None and value not in known:
                raise ValueError(f"{key} cannot be in '{value}'{nearest(value, known)}")
        return self


class SpeciesGroup(Strict):
    """A molecule whose atoms follow each other, and how often it is repeated."""

    symbols: Annotated[list[str], BeforeValidator(_words)] = Field(min_length=1)
    """Elements of one molecule in the order of the file, e.g. `N O O O`."""
    times: int = Field(default=1, ge=1, le=10_000_000)
    """Molecules of this kind in a row."""


class ImportSettings(Strict):
    """How files are read, and what is done with frames that are not in order."""

    format: Format
    """extxyz, vasp (OUTCAR), runner (input.data), neuralil (JSON lines), ani (HDF5), ase (whatever
    ASE reads: trajectories, databases, outputs of programs) or gnnip (an archive)."""
    energy: str | None = None
    """Name of the energy in the file; null takes the format's own."""
    forces: Annotated[str | Literal[False] | None, BeforeValidator(_false)] = None
    """Name of the forces in the file; null takes the format's own, false imports energies only."""
    stress: str | None = None
    """Name of the stress or virial in the file; null leaves it out."""
    stress_is: Literal["stress", "pressure", "virial", "strain_derivative"] | None = None
    """stress: positive when stretched, as in ASE; pressure: positive when compressed, as VASP
    prints it; virial: -V times the stress, an energy; strain_derivative: +V times it. null takes
    what the name says, or the energies of strained frames."""
    stress_order: Literal["ase", "vasp"] | None = None
    """Of six numbers: ase, xx yy zz yz xz xy, or vasp, xx yy zz xy yz zx; null takes ASE's order
    for a stress with ASE's sign, or what the energies of strained frames say."""
    energy_per: Literal["structure", "atom"] = "structure"
    """What the energies in the file are of."""
    energies_are: Literal["total", "relative"] | None = None
    """total: of the method, so that files of one composition have one scale; relative: to atoms, to
    a formation or to any other zero, which only the user knows; null takes them as they are."""
    units: UnitSettings = UnitSettings()
    """Units in the file; every number is converted once, to eV and Angstrom."""
    forces_are: Literal["forces", "gradient"] = "forces"
    """gradient: the array holds +dE/dx under whatever name, and its sign is turned."""
    zero_forces: Literal["real", "missing"] | None = None
    """What forces of exactly zero on many atoms mean: real (symmetry), or missing (placeholders of
    atoms that were held); null refuses them until this is decided."""
    missing_forces: Literal["refuse", "leave_out", "energies_only"] = "refuse"
    """Frames without forces: an error, left out, or the whole set imported with energies only."""
    non_finite: Bad = "refuse"
    """Frames with a number that is not finite: an error, or left out."""
    missing_stress: Bad = "refuse"
    """Frames without the stress that is named, as those that are not periodic in three directions:
    an error, or left out."""
    faulty: Bad = "refuse"
    """Frames that no potential can treat (no atoms, no element, two atoms at one point, a periodic
    cell without volume): an error, or left out."""
    cut_off: Bad = "refuse"
    """A last frame or ionic step that the file does not hold to its end: an error, or left out."""
    unconverged: Bad | Literal["keep"] = "refuse"
    """vasp: steps whose electronic loop stopped at NELM: an error, left out, or kept."""
    machine_learned: Bad | Literal["keep"] = "refuse"
    """vasp: steps of a machine-learned force field (ML_LMLFF): an error, left out, or kept."""
    duplicates: Literal["keep", "leave_out", "refuse"] = "keep"
    """Frames with the geometry of an earlier one (to 1e-6 Angstrom, same order of atoms): kept,
    left out after the first, or an error; they are reported in any case."""
    check_work: bool = True
    """Refuse forces that do not fit the energy differences of neighbouring frames (wrong sign or
    units), where frames lie close enough to tell."""
    term: str = Field(default="total", pattern=r"^[a-z][a-z0-9_]*$")
    """Name of the energy term in the archive."""
    trajectory: Literal["file", "molecule", "composition", "frame"] = "file"
    """Frames that belong together in a split by trajectory: those of a file, of a molecule (ani),
    of a composition, or every frame for itself."""
    trajectory_key: str | None = None
    """extxyz, ase, gnnip: the name in the comment line, or the column, that tells the trajectories
    apart, instead."""
    block_frames: int | None = Field(default=None, ge=1, le=2**31)
    """Cut every trajectory into blocks of so many consecutive frames: for a single long run."""
    columns: dict[Annotated[str, Field(pattern=r"^[A-Za-z]\w*$")], str] = Field(
        default_factory=dict
    )
    """extxyz, ase, gnnip: further columns, {name in the archive: name in the comment line}."""
    species: list[SpeciesGroup] = Field(default_factory=list)
    """neuralil: the elements, which its files do not hold."""
    high_energy: bool = False
    """ani: also the frames that the release keeps apart as high in energy."""

    @model_validator(mode="after")
    def _fits_the_format(self) -> ImportSettings:
        if self.format == "neuralil" and not self.species:
            raise ValueError("format neuralil needs species: its files do not name the elements")
        if sum(group.times * len(group.symbols) for group in self.species) > 10_000_000:
            raise ValueError("species stand for more than 10000000 atoms a frame; correct times")
        needs = {
            "trajectory_key": (NAMED, self.trajectory_key),
            "columns": (NAMED, self.columns),
            "species": (("neuralil",), self.species),
            "high_energy": (("ani",), self.high_energy),
        }
        for key, (formats, value) in needs.items():
            if value and self.format not in formats:
                raise ValueError(
                    f"{key} is for the format {' or '.join(formats)} only, not for {self.format}"
                )
        taken = set(WRITTEN) & set(self.columns)
        if taken:
            raise ValueError(f"columns cannot be called {taken.pop()}, which the import writes")
        if self.stress is not None and self.format not in (*NAMED, "vasp"):
            raise ValueError(f"the format {self.format} has no stress; leave the key out")
        if self.stress is None and (self.stress_is or self.stress_order):
            raise ValueError("stress_is and stress_order need stress, the name in the file")
        if self.trajectory == "molecule" and self.format != "ani":
            raise ValueError(
                "trajectory: molecule is for the format ani only; take file, composition or frame"
            )
        return self

    @property
    def energy_key(self) -> str:
        """Return the name of the energies in the file."""
        return self.energy or KEYS[self.format][0]

    @property
    def forces_key(self) -> str | None:
        """Return the name of the forces in the file, None when they are not wanted."""
        if self.forces is False:
            return None
        return self.forces or KEYS[self.format][1]

    @property
    def energy_in_words(self) -> str:
        """Return what is assumed of the energies."""
        per = " per atom, times the number of atoms" if self.energy_per == "atom" else ""
        words = {
            "total": "total energies of the method",
            "relative": "relative to a zero of their own",
            None: "taken as they are, total or relative (energies_are)",
        }[self.energies_are]
        free = (
            ", the free energy TOTEN that the forces belong to"
            if self.format == "vasp" and self.energy_key == "free_energy"
            else ""
        )
        return f"Energies are '{self.energy_key}'{per}{free}, {words}"

    @property
    def unit_names(self) -> dict[str, str]:
        """Return the unit of length, energy, forces and stress in the file."""
        length, energy = CONVENTIONS[self.format]
        length, energy = self.units.length or length, self.units.energy or energy
        return {
            "length": length,
            "energy": energy,
            "forces": self.units.forces or f"{energy}/{length}",
            "stress": self.units.stress or "eV/Angstrom^3",
        }

    @property
    def factors(self) -> dict[str, float]:
        """Return what the numbers in the file are multiplied by: length, energy, forces, stress."""
        names = self.unit_names
        sign = -1.0 if self.forces_are == "gradient" else 1.0
        return {
            "length": LENGTHS[names["length"]],
            "energy": ENERGIES[names["energy"]],
            "forces": sign * FORCES[names["forces"]],
            "stress": STRESSES[names["stress"]],
        }


class FolderSource(ImportSettings):
    """Frames of the user's own: a folder, or one file, and how it is read."""

    path: str
    """The folder or file, relative to the working directory, or a pattern of such: runs/*.traj."""
    pattern: str = "*"
    """Which files of the folder are read, e.g. `*.xyz` or `**/OUTCAR`."""
    reference: Reference = "published"
    """What labels the frames: exact, published, dft or xtb, or words of your own, e.g. CCSD(T)."""
    level: str = ""
    """Level of theory, in words."""
    licence: str = ""
    """Under which the frames may be passed on."""
