"""The pages: what the checker says is quoted as the code says it, and every command is one."""

from __future__ import annotations

import ast
import functools
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from p2plib.cli import data as data_commands
from p2plib.cli import kaggle as kaggle_commands
from p2plib.cli import main as command_line
from p2plib.config import TrainConfig
from p2plib.data import check, combine, decoded, pack
from p2plib.data.dataset import open_dataset
from p2plib.data.image import read_rgb
from p2plib.data.problems import PairError, Problem
from p2plib.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
MESSAGES = (ROOT / "docs" / "checker.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def noise(seed: int, width: int, height: int) -> Image.Image:
    """Coarse enough to survive resizing; colorful, unless the seed is negative."""
    coarse = np.random.default_rng(abs(seed)).integers(0, 256, (16, 16, 3 if seed >= 0 else 1), np.uint8)
    return Image.fromarray(np.repeat(coarse, 1 if seed >= 0 else 3, axis=-1)).resize((width, height))


def put(path: Path, image: Image.Image, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> dict[str, str]:
    """The message of each kind, as the code says it about such files."""
    root = tmp_path_factory.mktemp("docs")
    _side_by_side(root / "files")
    _two_folders(root / "folders")
    put(root / "photos" / "train" / "14.png", noise(14, 512, 256))
    put(root / "photos" / "train" / "15.png", noise(-15, 90, 60))
    put(root / "photos" / "val" / "1.png", noise(16, 90, 60))
    problems = [problem for name in ("others", "files", "folders") for problem in check.check(root / name).problems]
    problems += check.check(root / "photos", "colorize").problems
    found = {problem.kind: str(problem) for problem in problems}
    found["colors"] = str(_colored_late(root / "late"))
    found["too large"] = str(_too_large(root / "large"))
    for side in "AB":
        put(root / "tall" / side / "16.png", noise(1, 200, 400))
    put(root / "tall" / "A" / "more" / "17.png", noise(1, 20, 20))
    with pytest.raises(DataError) as error:
        combine.combine(root / "tall" / "A", root / "tall" / "B", root / "out")
    found["outside"], found["too narrow"] = str(error.value).split("\n  ")[1:]
    return found


def _colored_late(root: Path) -> PairError:
    """The error about a colored target, where those that were checked are gray."""
    for number in range(22, 25):
        put(root / "train" / f"{number}.png", noise(number if number == 23 else -number, 64, 32))
    put(root / "val" / "25.png", noise(-25, 64, 32))
    config = TrainConfig(data=str(root), image_size=32)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(PairError) as error:
        patch.setattr(decoded, "CHECKED", 2)
        decoded.Decoded(open_dataset(config)["train"], config, True)[1]
    return error.value


def _too_large(root: Path) -> Problem:
    """What packing says of a file of 4 GB."""

    class Long(bytes):
        def __len__(self) -> int:
            return 1 << 32

    put(root / "26.png", noise(26, 64, 32))
    [pair] = open_dataset(TrainConfig(data=str(root), image_size=32)).listing.splits["train"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack, "_content", lambda path, kind: (".png", Long()))
        problem = pack._files(pair, SimpleNamespace(kinds=None))
    assert isinstance(problem, Problem)
    return problem


def _side_by_side(root: Path) -> None:
    train = root / "train"
    put(train / "2.png", noise(2, 513, 256))
    put(train / "3.png", noise(3, 640, 480))
    (train / "1.png").write_bytes(b"<html>")
    both = {number: noise(number, 64, 32) for number in (7, 8, 9, 10, 11, 12)}
    Image.fromarray(np.asarray(both[7].convert("L"), np.uint16) * 257).save(train / "7.png")
    put(train / "8.png", both[8].convert("RGBA"))
    put(train / "9.png", both[9].convert("RGB").convert("L"))
    put(train / "10.png", both[10].convert("P"))
    both[11].paste((9, 9, 9), (32, 0, 64, 32))
    put(train / "11.png", both[11])
    put(train / "13.png", noise(13, 256, 128))
    for split in ("train", "val"):
        put(root / split / "12.png", both[12])
    put(root / "val" / "13.png", noise(13, 256, 128).resize((200, 100)))
    put(
        train / "20.png",
        noise(20, 64, 32),
        icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes(),
    )
    put(
        root.parent / "others" / "train" / "21.gif", noise(21, 64, 32), save_all=True, append_images=[noise(22, 64, 32)]
    )
    Image.fromarray(np.arange(2048, dtype=np.uint8).reshape(32, 64) % 9).save(
        root.parent / "others" / "train" / "22.png"
    )


def _two_folders(root: Path) -> None:
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    put(root / "A" / "18.jpg", noise(18, 20, 20), exif=turned)
    put(root / "B" / "18.png", noise(19, 20, 20))
    put(root / "A" / "19.heic", noise(20, 20, 20), format="PNG")
    put(root / "A" / "4.png", noise(4, 300, 200))
    put(root / "B" / "4.png", noise(5, 256, 256))
    put(root / "A" / "5.png", noise(6, 20, 20))
    for name in ("A/6.png", "B/6.png", "B/6.jpg"):
        put(root / name, noise(7, 20, 20))


def kinds_in_code() -> set[str]:
    """Every kind of problem that a module of the data room can name, or a task find at fault in a photo."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "p2plib" / "data").rglob("*.py")]
    everything = [node for tree in trees for node in ast.walk(tree)]
    calls = [node for node in everything if isinstance(node, ast.Call)]
    names = {"Problem": 1, "_error": 0}  # where the kind stands among the arguments
    found = [(call, names.get(getattr(call.func, "id", getattr(call.func, "attr", "")))) for call in calls]
    kinds = [call.args[place] for call, place in found if place is not None and call.args]
    functions = {node.name: node for node in everything if isinstance(node, ast.FunctionDef)}
    faults = [node.body[-1] for node in everything if isinstance(node, ast.FunctionDef) and node.name == "fault"]
    yields = [node for node in ast.walk(functions["_unusual"]) if isinstance(node, ast.Yield)]
    kinds += [node.elts[0] for place in faults + yields for node in ast.walk(place) if isinstance(node, ast.Tuple)]
    return {kind.value for kind in kinds if isinstance(kind, ast.Constant)}


def test_every_kind_of_message_is_on_the_page_as_the_code_says_it(said):
    assert set(said) == kinds_in_code()
    quoted = dict(re.findall(r"^### (.*)\n\n```\n(.*)\n```", MESSAGES, flags=re.MULTILINE))
    assert quoted == said


def commands(page: Path) -> list[str]:
    """The commands of a page, in blocks and between backticks, without comments."""
    text = page.read_text(encoding="utf-8")
    blocks = [block for name, block in re.findall(r"^```(.*?)\n(.*?)^```$", text, re.M | re.S) if not name]
    inline = [" ".join(words.split()) for words in re.findall(r"(?<!`)`(python -m p2plib [^`]+)`(?!`)", text)]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    found = [re.sub(r" +#.*", "", line) for line in lines + inline if line.startswith("python -m p2plib ")]
    return [line for line in found if not re.search(r"\.\.\.|\||COMMAND|RUN RUN|help", line) and len(line.split()) > 4]


@pytest.mark.parametrize("command", sorted({line for page in PAGES for line in commands(page)}))
def test_every_command_is_one(command, monkeypatch):
    """Parsed by the real command line; what it would do is replaced."""
    called = []
    for table in (command_line.COMMANDS, data_commands.COMMANDS, kaggle_commands.COMMANDS):
        for name, function in list(table.items()):
            stub = functools.wraps(function)(lambda *_, **given: called.append(given))
            monkeypatch.setitem(table, name, stub)
    for name in ("build", "push"):
        monkeypatch.setattr(kaggle_commands, name, kaggle_commands.COMMANDS[name])
    monkeypatch.setattr(command_line.TrainConfig, "read", lambda path: TrainConfig())
    assert command_line.main(shlex.split(command)[3:]) == 0
    assert len(called) == 1


def test_the_way_from_two_folders_to_checked_splits(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for i in range(10):
        put(tmp_path / "drawings" / f"{i}.png", noise(i, 32, 32))
        put(tmp_path / "photos" / f"{i}.jpg", noise(i + 10, 32, 32))
    for command in commands(ROOT / "docs" / "your_own_pairs.md")[:3]:
        assert command_line.main(shlex.split(command)[3:]) == 0
    assert "10 usable pairs, 0 broken" in capsys.readouterr().out
    assert read_rgb(tmp_path / "pairs.png").size
    assert {path.name for path in tmp_path.iterdir()} == {"drawings", "photos", "pairs", "pairs-split", "pairs.png"}
