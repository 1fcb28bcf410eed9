"""Preflight finds each problem, says the mend, and keeps secrets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2plib.config import TrainConfig
from p2plib.kaggle import preflight
from p2plib.kaggle.accelerators import ACCELERATORS
from p2plib.kaggle.kernel import CODE_FILE, CONFIG, METADATA, Kernel, build
from p2plib.kaggle.mirrors import MIRRORS
from p2plib.kaggle.preflight import check, count_weights, disk_bytes, slug
from p2plib.models import build_discriminator, build_generator

SECRET = "0123456789abcdef-made-up"
SMALL = TrainConfig(image_size=32, base_filters=4, receptive_field=16, batch_size=8)
pytestmark = pytest.mark.once
KERNEL = Kernel("alice/my-run", "My run")
MIRROR = MIRRORS["maps"][0].slug


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A home of one's own, with a token."""
    folder = tmp_path / "home"
    (folder / ".kaggle").mkdir(parents=True)
    (folder / ".kaggle" / "access_token").write_text(SECRET)
    monkeypatch.setenv("HOME", str(folder))
    for name in ("API_TOKEN", "USERNAME", "KEY", "CONFIG_DIR"):
        monkeypatch.delenv(f"KAGGLE_{name}", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return folder


@pytest.fixture
def built(tmp_path) -> Path:
    return build(SMALL, KERNEL, tmp_path / "built")


def problems(folder: Path, config: TrainConfig = SMALL, kernel: Kernel = KERNEL) -> list[str]:
    return check(build(config, kernel, folder))


@pytest.mark.parametrize("accelerator", ACCELERATORS)
def test_a_good_folder_has_no_problems(tmp_path, accelerator):
    assert problems(tmp_path, kernel=replace(KERNEL, accelerator=accelerator)) == []
    assert problems(tmp_path, kernel=replace(KERNEL, accelerator=accelerator).next_part()) == []


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (replace(KERNEL, id="YOUR-NAME/my-run"), "'YOUR-NAME/my-run' is a placeholder"),
        (replace(KERNEL, dataset_sources=("INSERT_OWNER/pairs",)), "'INSERT_OWNER/pairs' is a placeholder"),
        (replace(KERNEL, id="alice/my-runs"), "'my-run' from the title 'My run', but the id ends in 'my-runs'"),
        (replace(KERNEL, id="alice/My-run"), "but the id ends in 'My-run'"),
        (Kernel("alice/run1", "Run1"), "need at least 5 characters"),
        (replace(KERNEL, kernel_sources=("alice/my-run",)), "cannot name itself"),
    ],
)
def test_problems_of_the_kernel(tmp_path, kernel, words):
    [problem] = problems(tmp_path, kernel=kernel)
    assert words in problem


@pytest.mark.parametrize(
    ("settings", "accelerator", "words"),
    [
        ({"batch_size": 3}, "t4x2", "batch_size 3 is not divisible by 2 devices"),
        ({"batch_size": 2}, "tpu", "by 8 devices; use a multiple of 8"),
        ({"backend": "tensorflow"}, "tpu", "TensorFlow cannot use"),
        ({"time_budget": "8.6h"}, "tpu", "time_budget 8.6h leaves less than 30 minutes of Kaggle's 9 hours"),
        ({"time_budget": "12h"}, "t4x2", "Kaggle's 12 hours"),
        ({"run_dir": "runs/mine"}, "t4x2", "run_dir 'runs/mine'"),
    ],
)
def test_problems_of_the_settings(tmp_path, settings, accelerator, words):
    [problem] = problems(tmp_path, replace(SMALL, **settings), replace(KERNEL, accelerator=accelerator))
    assert words in problem


@pytest.mark.parametrize(
    ("data", "sources", "internet"),
    [
        ("maps", (MIRROR,), False),
        ("maps", ("alice/my-maps",), False),
        ("maps", (), True),
        ("night2day", ("alice/night2day",), False),
        ("alice/my-pairs", ("alice/my-pairs",), False),
        ("alice/my-pairs/small", ("bob/other", "alice/my-pairs"), False),
        ("/kaggle/input/my-pairs", ("alice/my-pairs",), False),
        ("/kaggle/input/datasets/alice/my-pairs/small", ("alice/my-pairs",), False),
        ("../input/my-pairs/small", ("alice/my-pairs",), False),
    ],
)
def test_data_that_will_be_there(tmp_path, data, sources, internet):
    kernel = replace(KERNEL, dataset_sources=sources, internet=internet)
    assert problems(tmp_path, replace(SMALL, data=data), kernel) == []


@pytest.mark.parametrize(
    ("data", "sources", "internet", "words"),
    [
        ("maps", (), False, f"add {MIRROR} or "),
        ("facades", ("alincijov/pix2pix-maps",), False, f"add {MIRROR} or "),
        ("night2day", (MIRROR,), False, "no public one is known"),
        ("my/pairs", (), True, "'my/pairs', neither"),
        ("my-pairs", ("alice/my-pairs",), False, "OWNER/SLUG"),
        ("/home/alice/my-pairs", ("alice/my-pairs",), False, "OWNER/SLUG"),
        ("alice/my-pairs-2", ("alice/my-pairs",), False, "OWNER/SLUG"),
    ],
)
def test_data_that_will_not_be_there(tmp_path, data, sources, internet, words):
    kernel = replace(KERNEL, dataset_sources=sources, internet=internet)
    [problem] = problems(tmp_path, replace(SMALL, data=data), kernel)
    assert words in problem


def test_data_that_does_not_suit_the_task(tmp_path):
    kernel = replace(KERNEL, internet=True)
    [problem] = problems(tmp_path, replace(SMALL, data="coco-sample"), kernel)
    assert "coco-sample holds photos, not pairs; add --task colorize" in problem
    assert problems(tmp_path, replace(SMALL, data="coco-sample", task="colorize"), kernel) == []


# The files.


def edit(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (CODE_FILE, lambda nb: nb["metadata"].pop("kernelspec"), "kernelspec"),
        (CODE_FILE, lambda nb: nb["cells"].pop(), "build it again"),
        (CODE_FILE, lambda nb: nb.pop("cells"), "cannot be read as a notebook"),
        (METADATA, lambda values: values.update(dataset_sources=["alice/late"]), "build it again"),
        (METADATA, lambda values: values.update(machine_shape="NvidiaTeslaP100"), "NvidiaTeslaP100"),
        (METADATA, lambda values: values.update(docker_image="x"), "docker_image"),
        (CONFIG, lambda values: values.update(epochs=300), "build it again"),
        (CONFIG, lambda values: values.update(epochs=0), "epochs"),
    ],
)
def test_edited_files(built, name, change, words):
    edit(built / name, change)
    [problem] = check(built)
    assert words in problem


@pytest.mark.parametrize("name", [CODE_FILE, METADATA, CONFIG])
def test_missing_and_damaged_files(built, name):
    (built / name).write_text('{"cells": [')
    [damaged] = check(built)
    (built / name).unlink()
    [missing] = check(built)
    assert name in damaged and name in missing


def test_only_what_travels_counts(built):
    """Outputs do not: Kaggle's command leaves them out."""
    path, text = built / CODE_FILE, "x" * preflight.MAX_NOTEBOOK
    output = {"output_type": "stream", "name": "stdout", "text": text}
    edit(path, lambda content: content["cells"][-1].update(outputs=[output]))
    assert check(built) == []
    extra = {"cell_type": "markdown", "id": "extra", "metadata": {}, "source": text}
    edit(path, lambda content: content["cells"].append(extra))
    [problem] = check(built)
    assert "Kaggle takes less than 900,000" in problem


# The disk.


@pytest.mark.keras
def test_weights_are_counted_exactly():
    networks = build_generator(SMALL), build_discriminator(SMALL)
    assert count_weights(SMALL) == tuple(network.count_params() for network in networks)


@pytest.mark.keras
def test_the_control_has_no_discriminator():
    config = replace(SMALL, generator="resnet6", norm="batch", upsampling="resize", gan_weight=0)
    assert count_weights(config) == (build_generator(config).count_params(), 0)


def test_weights_of_the_paper():
    assert count_weights(TrainConfig(recipe="paper")) == (54_414_531, 2_768_705)


def test_networks_that_fit_in_no_memory_are_counted(tmp_path):
    huge = replace(SMALL, image_size=256, base_filters=2048)
    [problem] = problems(tmp_path, huge)
    assert "20 GB" in problem and "base_filters (2048)" in problem


@pytest.mark.keras
def test_the_size_of_a_real_run_folder(tiny_run, tiny_config):
    """Files have headers, which count here, where weights are few."""
    generator, discriminator = count_weights(tiny_config)
    sizes = {path.name: path.stat().st_size for path in (tiny_run / "checkpoints").iterdir()}
    assert 0 < sizes["state.npz"] - 12 * (generator + discriminator) < 60_000
    assert 0 < sizes["last.keras"] - 4 * generator < 200_000
    assert sum(sizes.values()) < disk_bytes(tiny_config)


def test_a_moving_average_is_one_copy_more():
    paper = TrainConfig(recipe="paper")
    weights = sum(count_weights(paper))
    assert disk_bytes(replace(paper, ema=0.99)) - disk_bytes(paper) == 8 * weights


@pytest.mark.parametrize(("keep", "generators"), [(3, 5), (20, 22), (99, 22), (0, 22)])
def test_kept_checkpoints_add_up(keep, generators):
    config = TrainConfig(recipe="paper", keep=keep, epochs=195, checkpoint_every=10)
    weights, others = 54_414_531, 2_768_705
    file = 4 * weights + 2 * others
    assert disk_bytes(config) == 24 * (weights + others) + file * generators + preflight.SMALL_FILES


def test_keeping_everything_is_too_much(tmp_path):
    [problem] = problems(tmp_path, TrainConfig(recipe="paper", batch_size=2, keep=0, checkpoint_every=1))
    assert "47.5 GB" in problem and "all of them" in problem


# Credentials.


def test_no_credentials(built, home):
    (home / ".kaggle" / "access_token").write_text("")
    [problem] = check(built)
    assert "~/.kaggle/access_token" in problem and "KAGGLE_API_TOKEN" in problem


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".kaggle/access_token", SECRET),
        (".kaggle/access_token.txt", SECRET),
        (".kaggle/credentials.json", json.dumps({"refresh_token": SECRET})),
        (".kaggle/kaggle.json", json.dumps({"username": "alice", "key": SECRET})),
        (".config/kaggle/kaggle.json", json.dumps({"username": "alice", "key": SECRET})),
        ("elsewhere/kaggle.json", json.dumps({"username": "alice", "key": SECRET})),
    ],
)
def test_files_with_credentials(built, home, monkeypatch, name, content):
    (home / ".kaggle" / "access_token").unlink()
    (home / ".kaggle").rmdir()
    assert len(check(built)) == 1
    (home / name).parent.mkdir(parents=True)
    (home / name).write_text(content)
    if name.startswith("elsewhere"):
        monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(home / "elsewhere"))
    assert check(built) == []


@pytest.mark.parametrize(
    ("variables", "count"),
    [
        ({"API_TOKEN": SECRET}, 0),
        ({"USERNAME": "alice", "KEY": SECRET}, 0),
        ({"KEY": SECRET}, 1),
        ({"USERNAME": "alice"}, 1),
    ],
)
def test_credentials_in_the_environment(built, home, monkeypatch, variables, count):
    (home / ".kaggle" / "access_token").unlink()
    for name, value in variables.items():
        monkeypatch.setenv(f"KAGGLE_{name}", value)
    assert len(check(built)) == count


@pytest.mark.parametrize("content", [SECRET, "{", f'["{SECRET}"]', f'{{"key": "{SECRET}"}}', f'{{"key": "{SECRET}'])
def test_secrets_stay_secret(built, home, monkeypatch, content):
    """Whatever is wrong with them, and with all the rest."""
    (home / ".kaggle" / "access_token").unlink()
    (home / ".kaggle" / "kaggle.json").write_text(content)
    edit(built / METADATA, lambda values: values.update(title="Another", kernel_sources=["alice/my-run"]))
    found = check(built)
    assert len(found) == 4
    monkeypatch.setenv("KAGGLE_API_TOKEN", SECRET)
    found += check(built)
    assert SECRET not in "".join(found)
    assert SECRET not in "".join(path.read_text() for path in built.iterdir())


# The slug of a title.


@pytest.mark.parametrize(
    ("title", "expected"),
    [("My run", "my-run"), (" A  B_c: (d)! ", "a-b-c-d"), ("1,000 pairs", "1000-pairs"), ("Über Café", "uber-cafe")],
)
def test_slugs(title, expected):
    assert slug(title) == expected


@settings(deadline=None)
@given(st.text())
def test_a_slug_is_its_own_slug(title):
    assert slug(slug(title)) == slug(title)


@settings(deadline=None)
@given(st.text(st.characters(codec="ascii", exclude_characters="&")))
def test_slugs_are_those_of_kaggles_command(title):
    slugify = pytest.importorskip("slugify").slugify  # comes with the kaggle package; & begins an HTML entity there
    assert slug(title) == slugify(title)
