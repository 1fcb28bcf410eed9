# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Your own pairs
#
# From two folders of images to a trained model: look, check, decide, train, judge, use, export. Takes about 50 seconds
# on two CPU cores.

# %% jupyter={"source_hidden": true} tags=["setup"]
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

if importlib.util.find_spec("p2plib") is None:  # as on Kaggle and in Colab, until it is installed here
    inputs = Path(os.environ.get("P2PLIB_KAGGLE_ROOT", "/kaggle"), "input")
    folders = [Path.cwd(), *inputs.glob("*"), *inputs.glob("datasets/*/*")]
    wheels = [wheel for folder in folders for wheel in folder.glob("p2plib-*.whl")]
    if not wheels:
        raise ModuleNotFoundError("p2plib is not here. Put its wheel beside this notebook: docs/open_anywhere.md")
    source = wheels[0].as_uri()
    beside = [f"--find-links={wheel.parent}" for wheel in wheels]  # what else it needs may lie there, too
    pip = [sys.executable, "-m", "pip", "install", "--quiet", *beside]
    if subprocess.run([*pip, f"p2plib[export,features] @ {source}"]).returncode:  # offline: p2plib alone
        subprocess.run([*pip, "--no-deps", source], check=True)

# %% tags=["parameters"]
import os

FOLDER = os.environ.get("P2P_PAIRS")  # the full path of a folder of yours, with A/ and B/ in it, or with pairs
TRAIN_TIME = "30m"  # how long to train on yours

# %% [markdown]
# The stored outputs are those of the fast run, which makes two folders of its own: drawings of toy cities, and photos
# of these cities in winter. With `P2P_PAIRS` it shows yours. The page
# [Your own pairs](../docs/your_own_pairs.md) has the same for the terminal, and other ways to name and store pairs;
# [What the checker says](../docs/checker.md) explains every message of the checker.

# %%
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from p2plib import TrainConfig, evaluate, load, runtime, train, translate, translate_files
from p2plib.data import check, toy
from p2plib.data.dataset import open_dataset
from p2plib.data.image import read_rgb, save_image, to_float
from p2plib.show import figures, widgets

# %% [markdown]
# ## Two folders
#
# `A` holds what you have, `B` what you want. Partners have the same name (the endings may differ) and the same size,
# and show the same thing at the same place.
#
# Here, `A` gets the drawings and `B` the photos. It has snowed on everything but streets and water.


# %%
def in_winter(photo, drawing):
    """The photo with snow on everything that the drawing shows neither as a street nor as water."""
    far = [np.abs(drawing.astype(int) - toy.PALETTE[name]).sum(axis=-1) for name in ("street", "avenue", "water")]
    snow = np.min(far, axis=0)[..., None] >= 60
    return np.where(snow, 0.35 * photo + 0.65 * np.array((228, 234, 242)), photo).astype(np.uint8)


# %%
DATA = FOLDER or str(Path(os.environ.get("P2PLIB_RUNS", "runs"), "toy-winter"))
home = Path(DATA)
if not FOLDER:
    shutil.rmtree(home, ignore_errors=True)  # what an earlier call of this notebook left
    for i in range(62):
        photo, drawing = toy.city(200_000 + i, 128)
        save_image(home / "A" / f"{i}.png", drawing)
        save_image(home / "B" / f"{i}.jpg", in_winter(photo, drawing))

# %% [markdown]
# Three things go wrong, as they do: a photo gets another name, one is cropped, one is saved without its colors.

# %%
if not FOLDER:
    (home / "B" / "7.jpg").rename(home / "B" / "seven.jpg")
    save_image(home / "B" / "12.jpg", read_rgb(home / "B" / "12.jpg")[:, :120])
    Image.open(home / "B" / "20.jpg").convert("L").save(home / "B" / "20.jpg")

# %% [markdown]
# ## Check
#
# The checker opens every image; `python -m p2plib data check FOLDER` prints the same. **Before you run: which of the
# three does it find? Which of them would training accept all the same?**

# %% tags=["nbval-ignore-output"]
report = check.check(DATA)
print(report.table())
print(report.next_step())

# %%
print(f"broken: {len(report.broken)}, notes: {len(report.problems) - len(report.broken)}")

# %% [markdown]
# Look for: names. The renamed photo counts twice, since both halves lack their partner. The gray photo is a note:
# training would accept it, and learn that winter may be gray.
#
# Training refuses broken pairs before the first step, or leaves them out and names them (`skip_broken=True`). Mending
# is better: here, the name is put right, and the other two pairs go.

# %%
if not FOLDER:
    (home / "B" / "seven.jpg").rename(home / "B" / "7.jpg")
    for path in [*home.glob("*/12.*"), *home.glob("*/20.*")]:
        path.unlink()
_, *lines = check.check(DATA).table().splitlines()
print(*lines, sep="\n")

# %% [markdown]
# ## Look
#
# The checker cannot know whether `B/3` shows what `A/3` shows. You can.

# %%
data = open_dataset(TrainConfig(data=DATA, image_size=128, skip_broken=True))
shown = data["train"].load(6)
figures.pair_sheet(shown.sources, shown.targets, data.names, shown.names)

# %% [markdown]
# Look for: each side where it belongs, and edges that are at the same place in both. Then look for what A cannot tell,
# such as roofs: there the generator will have to make something up.
#
# ## Some pairs to judge by
#
# An image that the model was trained on proves nothing. So some pairs are held out: they are never trained on, and all
# results below are theirs. **Guess: of 60 pairs, how many?**

# %%
for split in data.splits:
    print(f"{split:6}{len(data[split]):4} pairs, such as {data[split].name(0)}")

# %% [markdown]
# A tenth, drawn by the seed. It is your turn where several pairs show the same thing, as frames of one video do: if one
# of them is held out and its twin is not, the result looks better than it is. Then sort the pairs into `train/` and
# `val/` yourself.
#
# ## Decide
#
# | Question | Answer | Setting |
# |---|---|---|
# | Which way? | from A to B | nothing: it is the default |
# | | from B to A | `direction="BtoA"` |
# | What do you want to get? | photos, paintings: things with texture | nothing: the recipe `modern` |
# | | maps, labels: flat colors, thin lines | `recipe="maps"` |
# | What does one image show? | one thing as a whole: a house, a shoe | nothing: each image is resized |
# | | a cut-out of something larger, with fine detail: a map | `load="crop"` |
# | How large, and on what? | 256 pixels, on a GPU | nothing |
# | | a trial without a GPU | `image_size=128, base_filters=32` |
# | How long? | until the time is used up | `train_time="30m"` |
# | | a number of passes over the pairs | `epochs=200` |
# | Fewer than 1,000 pairs? | keep the discriminator from learning them by heart | `diff_augment=True` |
# | | a model has learned something alike | `init="RUN"`, or the name of one that comes with p2plib |
#
# 60 pairs are few, and a model that knows such cities comes with p2plib: `toy-satellite`. It has 16 filters in its
# first layer, so the new one must have as many. (For pairs of your own, this takes the table's answers: the trial if
# there is no GPU, and `diff_augment` if they are few.)

# %%
small = {"image_size": 128, "base_filters": 16, "precision": "float32"}
fast = TrainConfig(data=DATA, init="toy-satellite", epochs=8, **small)
config = fast
if FOLDER:
    trial = {"image_size": 128, "base_filters": 32} if runtime.start().device == "cpu" else {}
    few = len(data["train"]) < 1000
    config = TrainConfig(data=DATA, train_time=TRAIN_TIME, skip_broken=True, diff_augment=few, **trial)
for name, value in config.to_dict().items():
    if name != "data" and value != getattr(TrainConfig(), name):
        print(f"{name:14} {value}   (default: {getattr(TrainConfig(), name)})")

# %% [markdown]
# `toy-satellite` has never seen winter. **Before you run: what does it make of our drawings? What will training have to
# change, and what can stay?**

# %%
before = load("toy-satellite")
sources, targets, _, _ = data["val"].load(2)
figures.result_grid(sources, np.stack(translate(before, list(sources))), targets, data.names)

# %% [markdown]
# Look for: streets and water that fit already. The snow is missing. (For pairs of your own, this shows why a start must
# fit: they are no cities.)
#
# ## Train
#
# One call. The display follows; the button with the square stops the training, and `train(resume=run)` goes on.

# %% tags=["nbval-ignore-output"]
run = train(config, show=widgets.progress())

# %% [markdown]
# Look for: samples in which snow falls within the first epochs. When the validation curves have stopped falling, more
# time brings little.
#
# ## Judge
#
# `evaluate` translates the pairs that were held out. **Before you run: by how much does L1 fall with the snow?**

# %%
model = load(run)
result = evaluate(model, limit=200)
print(f"{len(result.images)} of {result.total} validation images, at {model.size}x{model.size}")

# %% tags=["nbval-ignore-output"]
started = np.stack(translate(before, list(result.sources), fit=True))
print(f"L1 before training: {np.abs(to_float(started) - to_float(result.targets)).mean():.3f}")
print(f"L1 after training:  {result.mean['l1']:.3f}")

# %% [markdown]
# A mean hides the failures, and so do images that somebody picked. Here are the best, the middle and the worst one, by
# the perceptual distance: how differently a network that recognizes things sees two images.

# %%
metric = "perceptual" if "perceptual" in result.scores else "l1"
order = np.argsort(result.scores[metric])
chosen = order[[0, len(order) // 2, -1]]
captions = [f"{result.images[i]}, {metric} {result.scores[metric][i]:.2f}" for i in chosen]
images = (side[chosen] for side in (result.sources, result.generated, result.targets))
figures.result_grid(*images, data.names, captions)

# %% [markdown]
# Look for: what the worst one has that the best one lacks. Here it is a large park; and all of them lack the faint
# colors of roofs below the snow. What is wrong in all images may need a longer training, or pairs that fit better. What
# is wrong in few needs more pairs of that kind.
#
# Pick an image, and drag the divider. (`python -m p2plib report RUN` makes a page of all of them: `results.html`.)

# %%
widgets.browse(list(zip(result.sources, result.generated, strict=True)), ("A", "generated B"), result.images)

# %% [markdown]
# ## New images
#
# What is it for? Sources without a partner. `translate_files` takes files and folders, and images of any size. This
# drawing is four times as wide as those that were trained on, so it is translated in tiles, which are blended. (Of your
# own pairs, one that was held out stands in for it.)

# %% tags=["nbval-ignore-output"]
new, results = run / "new", run / "results"
wide = data["val"].read(0)[0] if FOLDER else np.hstack([toy.city(300_000 + i, 128)[1] for i in range(4)])
save_image(new / "wide.png", wide)
print(*[path.relative_to(run) for path in translate_files(model, [new], results).written])

# %%
widgets.compare(wide, read_rgb(results / "wide.png"), ("new", "generated"))

# %% [markdown]
# Look for: no seams but those of the drawing itself, where four cities meet.
#
# ## Export
#
# For programs without Keras: SavedModel, ONNX, LiteRT or OpenVINO. The export is compared with the model, and refused
# where it differs.

# %% tags=["nbval-ignore-output"]
from p2plib.export.convert import export_model

exported = export_model(run, "onnx")
print(exported)

# %%
print(*sorted(path.name for path in exported.folder.iterdir()), sep="\n")

# %% [markdown]
# `README.md` is the model card: what the model does, on what it was trained, how good it is, where its limits are. It
# is written from the run's own records. **Guess: what can it not know?**

# %% tags=["nbval-ignore-output"]
from IPython.display import Markdown

card = (exported.folder / "README.md").read_text(encoding="utf-8").split("\n## ")
Markdown("\n".join("### " + section for section in card if section.startswith(("Data", "Limits"))))

# %% [markdown]
# Look for: "unknown". Who made the images, and may a model that learned from them be passed on? Add that before you
# share it.
#
# ## The same in a terminal
#
# ```
# python -m p2plib data combine drawings photos pairs
# python -m p2plib data check pairs --sheet pairs.png
# python -m p2plib train --data pairs --train-time 30m
# python -m p2plib report RUN
# python -m p2plib translate RUN new-drawings --out results
# python -m p2plib export RUN --format onnx
# python -m p2plib web RUN
# ```
#
# `RUN` is the folder that training prints. The first line puts the pairs of two folders of any name side by side into
# one; the last one lets you draw and upload in a browser.
#
# ## Exercises
#
# Guess first, then open the folded cell (in JupyterLab, click the bar at its left).
#
# **1.** Every photo has moved to the drawing after its own. How many broken pairs does the checker find?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
for i, source in enumerate(shown.sources):
    save_image(run / "shifted" / f"{i}.png", np.hstack([source, shown.targets[i - 1]]))
print(len(check.check(run / "shifted").broken), "broken: each file is a good image. Only a look tells.")

# %% [markdown]
# **2.** You have 30 minutes on this machine. How many epochs is that?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution", "nbval-ignore-output"]
from p2plib.show.report import read_log

last = read_log(run / "log.csv")[-1]
print(f"{last['seconds'] / last['epoch']:.1f} seconds an epoch: {30 * 60 * last['epoch'] / last['seconds']:.0f} epochs")

# %% [markdown]
# **3.** You want the drawing of a photo instead. Which settings do you choose, and what else do they change?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
other = TrainConfig(data=DATA, direction="BtoA", recipe="maps", init="toy-map", epochs=8, **small)
for name, value in other.to_dict().items():
    if value != getattr(fast, name):
        print(f"{name:10} {value}   (photos: {getattr(fast, name)})")

# %% [markdown]
# ## What to try next
#
# - `P2P_PAIRS=FOLDER` before this notebook, with a folder of yours. No GPU? `09_kaggle`.
# - Train without `init`: how many epochs until the streets are there?
# - Exercise 3 for real: `train(other)`. Does it see the streets through the snow?
# - `P2P_RUN=RUN` in `05_results` looks closer at your run; `06_use_and_judge` has video and comparisons.
# - Photos but no pairs? `07_colorization` and `08_sketch_to_photo` make pairs of them.
