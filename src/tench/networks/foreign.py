"""Networks from elsewhere behind the same face as tench's own, and the user's own callables."""

import difflib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from tench.config import Preprocessing
from tench.errors import NotFoundError, UsageError
from tench.networks.build import Normalise

Make = Callable[[int], nn.Module]
"""Makes a network with that many classes."""


class ForeignNetwork(nn.Module):
    """A module from elsewhere after tench's normalisation: pictures (n, 3, height, width), RGB 0-255, to logits (n, classes)."""

    def __init__(self, module: nn.Module, preprocessing: Preprocessing, classes: int) -> None:
        super().__init__()
        self.normalise = Normalise(preprocessing)
        self.module = module
        self.preprocessing = preprocessing
        self.classes = classes
        self.table = None

    def forward(self, x: Tensor) -> Tensor:
        """Pictures, uint8 or float (n, 3, height, width), to logits (n, classes)."""
        logits: Tensor = self.module(self.normalise(x))
        return logits

    @property
    def head(self) -> nn.Linear:
        """The last nn.Linear, which gives the classes. Raises UsageError where the network does not end in one."""
        linears = [module for module in self.module.modules() if isinstance(module, nn.Linear)]
        if not linears or linears[-1].out_features != self.classes:
            raise UsageError(
                f"{type(self.module).__name__} does not end in an nn.Linear with {self.classes} outputs, so its features cannot be taken"
                " and its head cannot be replaced; train it whole, or take another network."
            )
        return linears[-1]

    def features(self, x: Tensor) -> Tensor:
        """What enters the head, (n, d), for pictures (n, 3, height, width)."""
        seen: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            self(x)
        finally:
            hook.remove()
        if not seen or seen[-1].ndim != 2:
            shape = tuple(seen[-1].shape) if seen else "nothing"
            raise UsageError(f"The head of {type(self.module).__name__} is given {shape} and not one vector a picture; train it whole.")
        return seen[-1]

    def answers(self, features: Tensor) -> Tensor:
        """Logits (n, classes) from what enters the head, (n, d)."""
        logits: Tensor = self.head(features)
        return logits


def wrapped(make: Make, classes: int, preprocessing: Preprocessing, seed: int, where: str) -> ForeignNetwork:
    """A network by `make`, its own random start drawn from `seed`, checked by `check_output`.

    Raises UsageError where it does not give logits of shape (n, classes). The global random state stays as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ForeignNetwork(make(classes), preprocessing, classes)
        check_output(network, where)
    return network


def check_output(network: ForeignNetwork, where: str) -> None:
    """Raise UsageError unless `network` gives (n, classes), tried on two black pictures in evaluation and in training mode."""
    _try(network.eval(), where)  # the network itself, because a lazy module gets its weights by its first call
    _try(deepcopy(network).train(), where)  # a copy, because training moves the statistics of batch norm
    network.train()


def _try(network: ForeignNetwork, where: str) -> None:
    height, width = network.preprocessing.height_px, network.preprocessing.width_px
    tried = f"{where}, given 2 pictures of {height}x{width} in {'training' if network.training else 'evaluation'} mode,"
    try:
        with torch.no_grad():
            given = network(torch.zeros(2, 3, height, width, dtype=torch.uint8))
    except Exception as error:
        raise UsageError(f"{tried} failed: {said(error)}.") from error
    shape = tuple(given.shape) if isinstance(given, Tensor) else f"a {type(given).__name__}"
    if shape != (2, network.classes):
        raise UsageError(
            f"{tried} gave {shape}; it must give plain logits of shape {(2, network.classes)}, a row a picture and a column a class."
        )


def said(error: Exception) -> str:
    """An exception of foreign code in one line, with the place it came from."""
    places = [] if isinstance(error, SyntaxError) else traceback.extract_tb(error.__traceback__)  # a SyntaxError says it itself
    place = f" ({Path(places[-1].filename).name}, line {places[-1].lineno})" if places else ""
    return f"{type(error).__name__}: {error}{place}"


def near(name: str, names: list[str]) -> str:
    """A half sentence that suggests those of `names` that resemble `name`."""
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else "."


def user_make(path: Path, callable_name: str) -> Make:
    """The callable of that name in the user's Python file `path`, which is run once; it can import from its folder.

    It is called with the keyword `classes` if it takes it, else with nothing. Raises NotFoundError for a missing file or name.
    """
    module = _run_file(path)
    make = getattr(module, callable_name, None)
    if make is None:
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise NotFoundError(f"{path} has no {callable_name}{near(callable_name, names)}")
    if not callable(make):
        raise UsageError(f"{callable_name} in {path} is a {type(make).__name__}, not a callable that makes a network.")
    return lambda classes: _called(make, classes, path)


def _called(make: Callable[..., Any], classes: int, path: Path) -> nn.Module:
    where = f"{path}:{getattr(make, '__name__', 'callable')}"
    try:
        with _imports_from(path.parent):
            made = make(classes=classes) if _takes_classes(make) else make()
    except Exception as error:
        raise UsageError(f"{where} failed: {said(error)}.") from error
    if not isinstance(made, nn.Module):
        raise UsageError(f"{where} gave a {type(made).__name__}; it must return a torch.nn.Module.")
    return made


def _takes_classes(make: Callable[..., Any]) -> bool:
    parameters = inspect.signature(make).parameters
    return "classes" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _run_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise NotFoundError(f"There is no Python file {path}; check the path.")
    # A name of its own, so that a user's `torch.py` hides nothing; listed in sys.modules, as dataclasses need it.
    name = f"tench_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file; its name must end in .py.")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        with _imports_from(path.parent):
            spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UsageError(f"{path} cannot be run: {said(error)}.") from error
    return module


@contextmanager
def _imports_from(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        sys.path.remove(str(folder.resolve()))
