"""What may be written where a network is asked for, and that networks from elsewhere show the same face as tench's own."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tench.config import Preprocessing
from tench.errors import DownloadError, NotFoundError, TableError, UsageError, WeightsError
from tench.networks.reference import from_table, load_pretrained, network, with_rows_replaced
from tench.networks.table import builtin_table, builtin_tables, parse

PX32 = Preprocessing(height_px=32, width_px=32, mean=(100.0, 110.0, 120.0), std=(50.0, 60.0, 70.0))

TABLE = """[mine]
ImageInput, 32x32
Conv, 3x3, 4
MaxPool, 2x2
FullyConnected, 7
SoftMax
ClassOutput, 7
"""

MODULE = """
from torch import nn

def make(classes):
    return nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.LazyLinear(5), nn.ReLU(), nn.Linear(5, classes))

def without():
    return nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, 10))

def convolutional(classes):
    return nn.Sequential(nn.Conv2d(3, classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())

class Pair(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.linear = nn.Linear(3, classes)

    def forward(self, x):
        y = self.linear(x.mean((2, 3)))
        return (y, y) if self.training else y

def broken(classes):
    raise RuntimeError("no such thing")

def no_module():
    return 3

number = 3
"""


@pytest.fixture
def module_file(tmp_path: Path) -> Path:
    path = tmp_path / "my module ł.py"
    path.write_text(MODULE, encoding="utf-8")
    return path


def pictures(n: int = 4, px: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, px, px), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_every_built_in_name_is_a_network() -> None:
    names = builtin_tables()
    assert "googlenet" in names and len(names) >= 16
    for name in names:
        found = network(name)
        assert (found.name, found.kind, found.table) == (name, "table", builtin_table(name))
        assert parse(found.text) == found.table


def test_counts_of_tables_are_the_published_ones() -> None:
    best = network("network_84_8153").counts(10, 224)
    assert (best.parameters, round(best.macs / 1e9, 3), best.counted) == (24_629_962, 4.962, "table")
    assert network("googlenet").counts(10, 224).parameters == 5_983_802


def test_a_table_is_built_for_the_classes_and_the_size_asked_for() -> None:
    built = network("network_84_8153").build(3, PX32, "he", 5)
    with torch.no_grad():
        assert built.eval()(pictures(2)).shape == (2, 3)
    assert built.head.out_features == 3


def test_a_users_table_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "my.net").write_text(TABLE)
    found = network(tmp_path / "my.net")
    assert (found.name, found.origin, found.input_px, found.reference) == ("mine", "own", 32, str(tmp_path / "my.net"))
    assert from_table(parse(found.text)).table == found.table


def test_a_users_table_with_a_fault_is_a_table_error(tmp_path: Path) -> None:
    (tmp_path / "my.net").write_text(TABLE.replace("Conv,", "Konv,"))
    with pytest.raises(TableError, match=r"my\.net"):
        network(tmp_path / "my.net")


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("network_84_8135", "did you mean network_84_8153"),
        ("gogglenet", "did you mean googlenet"),
        ("absent.net", "no network file absent.net"),
        ("absent.py:make", "no Python file absent.py"),
        ("torchvision:gogglenet", "did you mean googlenet"),
        ("torchvision:fcn_resnet50", "torchvision has no network"),
    ],
)
def test_names_that_are_not_there_suggest_near_ones(reference: str, said: str) -> None:
    with pytest.raises(NotFoundError, match=said):
        network(reference)


def test_a_users_callable_gets_the_number_of_classes(module_file: Path) -> None:
    found = network(f"{module_file}:make")
    assert (found.kind, found.origin, found.name, found.text) == ("module", "own", "my module ł:make", MODULE)
    built = found.build(7, PX32)
    assert built(pictures()).shape == (4, 7)
    assert built.head.out_features == 7
    assert built.preprocessing == PX32
    assert torch.equal(built.head(built.features(pictures())), built(pictures()))
    assert built.features(pictures()).shape == (4, 5)


def test_a_users_callable_sees_normalised_pictures(module_file: Path) -> None:
    built = network(f"{module_file}:make").build(7, PX32)
    by_hand = (pictures().float() - torch.tensor(PX32.mean).view(3, 1, 1)) / torch.tensor(PX32.std).view(3, 1, 1)
    assert torch.allclose(built(pictures()), built.module(by_hand), atol=1e-5)


def test_a_callable_without_classes_is_called_with_nothing(module_file: Path) -> None:
    assert network(f"{module_file}:without").build(10, PX32)(pictures()).shape == (4, 10)


@pytest.mark.parametrize(
    ("name", "classes", "said"),
    [
        ("without", 7, r"in evaluation mode, gave \(2, 10\); it must give plain logits of shape \(2, 7\)"),
        ("Pair", 7, r"in training mode, gave a tuple"),
        ("broken", 7, r"RuntimeError: no such thing \(my module ł\.py, line \d+\)"),
        ("no_module", 7, "gave a int; it must return a torch.nn.Module"),
    ],
)
def test_a_callable_that_makes_something_else_is_refused(module_file: Path, name: str, classes: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        network(f"{module_file}:{name}").build(classes, PX32)


def test_a_callable_that_is_not_there_or_none(module_file: Path) -> None:
    with pytest.raises(NotFoundError, match="did you mean make"):
        network(f"{module_file}:mak")
    with pytest.raises(UsageError, match=r"number in .* is a int, not a callable"):
        network(f"{module_file}:number")
    with pytest.raises(UsageError, match="say which callable"):
        network(str(module_file))


def test_a_file_that_cannot_be_run_says_where(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("x = 1\ny = z\n")
    with pytest.raises(UsageError, match=r"bad\.py cannot be run: NameError: .* \(bad\.py, line 2\)"):
        network(f"{tmp_path / 'bad.py'}:make")


def test_a_syntax_error_says_its_line(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("x = 1\ny = (\n")
    with pytest.raises(UsageError, match=r"SyntaxError: '\(' was never closed \(bad\.py, line 2\)\.$"):
        network(f"{tmp_path / 'bad.py'}:make")


def test_a_table_that_is_not_square_keeps_its_own_size(tmp_path: Path) -> None:
    (tmp_path / "wide.net").write_text(TABLE.replace("32x32", "16x40"))
    wide = network(tmp_path / "wide.net")
    built = wide.build(3, Preprocessing(height_px=16, width_px=40))
    assert built(torch.zeros(2, 3, 16, 40)).shape == (2, 3)
    with pytest.raises(UsageError, match="its own size or a square"):
        wide.build(3, Preprocessing(height_px=16, width_px=50))


def test_a_users_file_imports_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "tench_test_sibling.py").write_text("WIDTH = 9\n")
    source = "def make(classes):\n    import tench_test_sibling as s\n    from torch import nn\n"
    source += "    return nn.Sequential(nn.Flatten(), nn.LazyLinear(s.WIDTH), nn.Linear(s.WIDTH, classes))\n"
    (tmp_path / "mine.py").write_text(source)
    assert network(f"{tmp_path / 'mine.py'}:make").build(4, PX32).features(pictures()).shape == (4, 9)


def test_the_same_seed_starts_a_module_alike_and_leaves_the_global_state(module_file: Path) -> None:
    found = network(f"{module_file}:make")
    before = torch.random.get_rng_state()
    first, second, other = (found.build(4, PX32, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["module.4.weight"], other["module.4.weight"])


def test_a_network_without_a_last_linear_layer_trains_but_has_no_features(module_file: Path) -> None:
    built = network(f"{module_file}:convolutional").build(4, PX32)
    assert built(pictures()).shape == (4, 4)
    with pytest.raises(UsageError, match=r"does not end in an nn\.Linear with 4 outputs"):
        built.features(pictures())


def test_a_module_is_counted_by_running_it(module_file: Path) -> None:
    counts = network(f"{module_file}:make").counts(10, 32)
    linear = 3 * 4 * 4 * 5 + 5 * 10
    assert (counts.parameters, counts.macs, counts.counted) == (linear + 5 + 10, linear, "module")


def test_a_module_has_no_table(module_file: Path) -> None:
    with pytest.raises(UsageError, match="no layer table"):
        network(f"{module_file}:make").table_for(10, (32, 32))


@pytest.mark.parametrize("name", ["resnet18", "googlenet"])
def test_torchvision_counts_are_those_it_publishes(name: str) -> None:
    from torchvision import models

    published = models.get_model_weights(name).DEFAULT.meta
    counts = network(f"torchvision:{name}").counts(1000, 224)
    assert counts.parameters == published["num_params"]
    assert counts.macs / 1e9 == pytest.approx(published["_ops"], rel=0.01)


def test_torchvisions_googlenet_gives_plain_logits_and_features() -> None:
    found = network("torchvision:googlenet")
    assert (found.kind, found.origin, found.input_px) == ("torchvision", "torchvision", 224)
    built = found.build(10, PX32.model_copy(update={"height_px": 64, "width_px": 64}))
    assert built.train()(pictures(px=64)).shape == (4, 10)
    built.eval()
    with torch.no_grad():
        assert built.features(pictures(px=64)).shape == (4, 1024)
        assert torch.equal(built.head(built.features(pictures(px=64))), built(pictures(px=64)))


def test_timm_backbones() -> None:
    pytest.importorskip("timm")
    found = network("timm:resnet18")
    assert (found.kind, found.input_px) == ("timm", 224)
    built = found.build(10, PX32).eval()
    with torch.no_grad():
        assert built.features(pictures()).shape == (4, 512)
        assert torch.equal(built.head(built.features(pictures())), built(pictures()))


@pytest.mark.parametrize(
    ("name", "said"), [("resnet81", "did you mean .*resnet18"), ("resnet18.nope", "one of .*a1_in1k"), ("hf-hub:a/b", "no network")]
)
def test_timm_names_that_are_not_there(name: str, said: str) -> None:
    pytest.importorskip("timm")
    with pytest.raises(NotFoundError, match=said):
        network(f"timm:{name}")


def test_a_timm_network_of_a_fixed_size_says_so() -> None:
    pytest.importorskip("timm")
    with pytest.raises(UsageError, match=r"timm:deit_tiny_patch16_224, given 2 pictures of 32x32 .* failed: AssertionError"):
        network("timm:deit_tiny_patch16_224").build(10, PX32)


def test_torchvisions_weights_are_hash_checked_and_never_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import models

    asked: dict[str, Any] = {}
    source = models.googlenet(weights=None, aux_logits=True, init_weights=False)

    def get_state_dict(self: object, **how: Any) -> dict[str, torch.Tensor]:
        asked.update(how)
        return source.state_dict()

    monkeypatch.setattr(models.GoogLeNet_Weights, "get_state_dict", get_state_dict)
    loaded = load_pretrained("torchvision:googlenet")
    assert asked == {"progress": False, "check_hash": True, "weights_only": True}
    assert not loaded.training
    assert torch.equal(loaded.head.weight, source.fc.weight)
    source.aux_logits, source.transform_input = False, True  # as torchvision sets them with its weights
    by_torchvision = (pictures(px=64) / 255 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        3, 1, 1
    )
    with torch.no_grad():
        assert torch.allclose(loaded(pictures(px=64)), source.eval()(by_torchvision), atol=1e-5)


def test_torchvisions_older_densenet_files_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import models

    source = models.densenet121(weights=None).state_dict()
    older = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): tensor for name, tensor in source.items()}
    assert older.keys() != source.keys()
    monkeypatch.setattr(models.DenseNet121_Weights, "get_state_dict", lambda self, **how: older)
    loaded = load_pretrained("torchvision:densenet121")
    assert all(torch.equal(tensor, source[name]) for name, tensor in loaded.module.state_dict().items())
    assert loaded.preprocessing.mean == pytest.approx((123.675, 116.28, 103.53))
    assert loaded.preprocessing.std == pytest.approx((58.395, 57.12, 57.375))


def test_a_download_that_fails_is_a_download_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import models

    def refused(self: object, **how: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(models.ResNet18_Weights, "get_state_dict", refused)
    with pytest.raises(DownloadError, match=r"torchvision:resnet18 could not be had: OSError: no route to host"):
        load_pretrained("torchvision:resnet18")


def test_timms_pretrained_weights_come_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    asked: list[bool] = []
    make = timm.create_model

    def create_model(name: str, pretrained: bool = False, **how: Any) -> nn.Module:
        asked.append(pretrained)
        if pretrained:
            raise OSError("no route to host")
        made: nn.Module = make(name, **how)
        return made

    monkeypatch.setattr(timm, "create_model", create_model)
    network("timm:resnet18").build(10, PX32)
    assert asked == [False]
    with pytest.raises(DownloadError, match="no route to host"):
        load_pretrained("timm:resnet18")
    assert asked == [False, True]


def test_weights_of_a_package_from_a_file(tmp_path: Path) -> None:
    models = importlib.import_module("torchvision.models")
    source = models.squeezenet1_1(weights=None)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    loaded = load_pretrained("torchvision:squeezenet1_1", tmp_path / "w.safetensors")
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in loaded.module.state_dict().items())
    with pytest.raises(WeightsError, match=r"w\.safetensors does not fit"):
        load_pretrained("torchvision:mobilenet_v2", tmp_path / "w.safetensors")


def test_without_weights_googlenet_says_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENCH_CACHE", str(tmp_path))
    with pytest.raises(NotFoundError, match="tench weights get googlenet"):
        load_pretrained("googlenet")


def test_the_studys_networks_have_no_pretrained_weights() -> None:
    with pytest.raises(UsageError, match="network_84_8153 has no pretrained weights"):
        load_pretrained("network_84_8153")


def test_rows_of_a_table_are_replaced_taken_away_and_added() -> None:
    of = network("network_84_8153")
    changes = {"AvgPool, 2x2": "Resize, 14x14\nAvgPool, 2x2", "FullyConnected, 768": "FullyConnected, 4096", "Dropout, 0.35": ""}
    wide = with_rows_replaced(of, changes)
    assert wide.table is not None
    rows = [row.text for row in wide.table.layers()]
    assert rows.count("FullyConnected, 4096") == 2
    assert "Dropout, 0.35" not in rows
    small = wide.table.resized(48)
    first = next(row for row in small.layers() if row.kind == "FullyConnected")
    assert first.input_shape == (512, 7, 7), "as wide as at 224 pixels"
    assert wide.name != of.name
    with pytest.raises(TableError, match="no row 'Conv, 9x9, 1'"):
        with_rows_replaced(of, {"Conv, 9x9, 1": ""})
