"""Class masks: found in files or named by a table, one channel for each class, and back as they are stored."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from p2plib.config import TrainConfig
from p2plib.data import toy
from p2plib.data.check import check, sheet
from p2plib.data.classes import read_table
from p2plib.data.dataset import open_dataset
from p2plib.data.image import class_colors
from p2plib.data.kind import ImageKind
from p2plib.data.reading import read_as
from p2plib.errors import ConfigError, DataError


def photo(i: int) -> Image.Image:
    small = np.random.default_rng(i).integers(0, 255, (6, 6, 3), np.uint8)
    return Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC)


def numbers(i: int) -> np.ndarray:
    """Class numbers 0 to 4, as those of case C2."""
    return (np.asarray(photo(i).convert("L")) // 52).astype(np.uint8)


def mask(ids: np.ndarray, palette: np.ndarray | None = None) -> Image.Image:
    opened = Image.fromarray(ids)
    if palette is not None:
        opened.putpalette(palette.tobytes())
    return opened


def write(folder: Path, a, b, count: int = 6) -> Path:
    """Pairs in two folders; `a(i)` and `b(i)` make the sides."""
    for side, make in (("trainA", a), ("trainB", b)):
        (folder / side).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            make(i).save(folder / side / f"{i}.png")
    return folder


def opened(folder: Path | str, **fields):
    return open_dataset(TrainConfig(data=str(folder), image_size=32, **fields))


@st.composite
def masks(draw):
    """A kind of masks by number or by color, and a mask of it."""
    ids = draw(st.lists(st.integers(0, 255), min_size=2, max_size=20, unique=True))
    classes = {f"class {id}": tuple(class_colors()[id].tolist()) for id in ids}
    form = draw(st.sampled_from(["ids", "colors"]))
    kind = ImageKind("mask", classes, 1 if form == "ids" else 3, form=form, ids=tuple(ids) if form == "ids" else ())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return kind, kind.from_indices(rng.integers(0, len(ids), (5, 7)))


@given(masks())
def test_masks_come_back(given):
    kind, stored = given
    seen = kind.to_float(stored)
    assert seen.shape == (5, 7, kind.network_channels) and seen.dtype == np.float32
    assert set(np.unique(seen)) == {-1, 1} and (seen.sum(-1) == 2 - kind.network_channels).all()
    back = kind.to_values(seen)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, stored)
    np.testing.assert_array_equal(kind.to_values(0.1 * seen + 0.3), stored)  # the largest channel counts
    colors = kind.preview(stored)
    assert {tuple(color) for color in colors.reshape(-1, 3)} <= set(kind.classes.values())
    assert ImageKind.from_json(kind.to_json()) == kind


def test_class_numbers_as_sources_are_classes(tmp_path):
    """Case C2: they were near-constant images."""
    data = opened(write(tmp_path, lambda i: mask(numbers(i)), photo))
    assert data.source.describe() == "A: 5 classes by number (0, 1, 2, 3, 4)" and data.target.plain
    source, target = data["train"].read(0)
    assert source.shape == (64, 64, 1) and target.shape == (64, 64, 3)
    np.testing.assert_array_equal(source[..., 0], numbers(int(data["train"].name(0)[7])))
    assert set(np.unique(data["train"].load(size=48).sources)) <= set(range(5))
    as_images = opened(tmp_path, source="image")
    assert as_images.source.plain and as_images["train"].read(0)[0].max() == 4


def test_the_checker_says_which_classes(tmp_path):
    report = check(write(tmp_path, lambda i: mask(numbers(i)), photo))
    assert "A: 5 classes by number (0, 1, 2, 3, 4); training gives each a channel" in report.table()
    assert not report.problems
    shown = sheet(tmp_path, 2, 64)
    assert {tuple(color) for color in shown[:64, :64].reshape(-1, 3)} <= set(map(tuple, class_colors()[:5]))


def test_as_targets_they_are_classes_if_asked_for(tmp_path):
    write(tmp_path, photo, lambda i: mask(numbers(i)))
    assert opened(tmp_path).target.plain
    report = check(tmp_path)
    assert [problem.kind for problem in report.problems].count("label ids") == 6
    assert "differ too little as grays; train with --target classes" in report.table()
    assert opened(tmp_path, target="classes").target.ids == (0, 1, 2, 3, 4)
    assert opened(tmp_path, direction="BtoA").source.ids == (0, 1, 2, 3, 4)


def test_a_palette_gives_the_colors_and_photos_with_one_are_none(tmp_path):
    palette = class_colors()[::-1].copy()
    data = opened(write(tmp_path / "masks", lambda i: mask(numbers(i), palette), photo))
    assert data.source.form == "ids"
    assert list(data.source.classes.values()) == [tuple(color) for color in palette[:5].tolist()]
    some = write(tmp_path / "photos", lambda i: photo(i).quantize(30), photo)
    assert opened(some).source.plain


def test_palettes_that_differ_are_colors(tmp_path):
    colors = class_colors()

    def own_order(i: int) -> Image.Image:
        order = np.random.default_rng(i).permutation(5)
        palette = colors.copy()
        palette[order] = colors[:5]
        return mask(order[numbers(i)].astype(np.uint8), palette)

    data = opened(write(tmp_path, own_order, photo), source="classes")
    assert data.source.form == "colors" and set(data.source.classes.values()) == set(map(tuple, colors[:5].tolist()))
    for i in range(3):
        np.testing.assert_array_equal(read_as(tmp_path / "trainA" / f"{i}.png", data.source), colors[numbers(i)])


def test_a_table_names_the_classes(tmp_path):
    write(tmp_path, lambda i: mask(numbers(i)), lambda i: Image.fromarray(class_colors()[numbers(i)]))
    rows = [f"{i}, #{''.join(f'{part:02x}' for part in class_colors()[i])}, thing {i}" for i in range(7)]
    (tmp_path / "classes.csv").write_text("\n".join(["ID, Color, Name", *rows]))
    data = opened(tmp_path, target="classes")
    assert data.source.describe().startswith("A: 7 classes by number (0 thing 0, 1 thing 1")
    assert data.target.describe().startswith("B: 7 classes by color (thing 0, thing 1")
    source, target = data["train"].read(0)
    np.testing.assert_array_equal(data.source.indices(source), data.target.indices(target))


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ("id,name\n0,sky\n300,road", "line 3 has the id '300'; the columns are id"),
        ("color,name\nblue,sky", "line 2 has the color 'blue'"),
        ("name\nsky", "line 2 has neither id nor color"),
        ("id,name\n0,sky\n0,road", "two classes have the same id"),
        ("id,name\n0,sky\n1,sky", "two classes have the same name"),
    ],
)
def test_mistakes_in_a_table_are_named(tmp_path, table, why):
    (tmp_path / "classes.csv").write_text(table)
    with pytest.raises(DataError, match=f"classes.csv: {why}"):
        read_table(tmp_path / "classes.csv")


def test_an_unknown_class_is_refused_by_the_files_name(tmp_path):
    write(tmp_path, lambda i: mask(numbers(i)), photo)
    (tmp_path / "classes.csv").write_text("id,name\n0,a\n1,b\n2,c\n4,d\n")
    with pytest.raises(DataError, match=r"A/0.png.*holds class 3, and the known ones are 0, 1, 2, 4"):
        opened(tmp_path)["train"].load()


def test_colors_are_those_of_the_catalog_or_found_in_the_images(tmp_path):
    data = opened("toy", target="classes")
    assert data.target.form == "colors" and data.target.classes == toy.PALETTE
    folder = write(tmp_path, photo, lambda i: Image.fromarray(class_colors()[numbers(i)]))
    assert opened(folder).target.plain, "images unless asked for"
    assert set(opened(folder, target="classes").target.classes.values()) == set(map(tuple, class_colors()[:5].tolist()))
    with pytest.raises(DataError, match=r"A: no classes are found in these images; name them in classes.csv"):
        opened(folder, source="classes")


def test_settings_that_conflict():
    with pytest.raises(ConfigError, match="target is classes, which have no channels, range or window"):
        TrainConfig(target="classes", target_channels=1)
    with pytest.raises(ConfigError, match="The task colorize makes images of photos"):
        TrainConfig(target="classes", task="colorize")
