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
# # A first look at the data
#
# What a pair is, what a data set of pairs holds, and what to check before training on it. Takes about 15 seconds on two
# CPU cores.

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
    if subprocess.run([*pip, f"p2plib[features] @ {source}"]).returncode:  # offline: p2plib alone
        subprocess.run([*pip, "--no-deps", source], check=True)

# %% tags=["parameters"]
import os

FULL = os.environ.get("P2P_FULL") == "1"  # the real thing: downloads facades, 30 MB
DATA = "facades" if FULL else "toy"  # any name that `python -m p2plib data list` shows

# %% [markdown]
# The stored outputs are those of the fast run, on the toy set: a procedural city that the library draws itself.

# %%
import contextlib
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from p2plib import P2PError, TrainConfig
from p2plib.data import catalog, check, download, statistics, toy
from p2plib.data.dataset import open_dataset
from p2plib.data.image import read_rgb, resize_image, save_image, to_float
from p2plib.show import figures

# %% [markdown]
# ## What is a pair?
#
# Two images of the same thing, aligned: pixel (y, x) of side A and pixel (y, x) of side B show the same place.
# Pix2pix learns to make one from the other. The *direction* says which one is the source and which the target.

# %%
dataset = catalog.find(DATA)
if dataset.url:
    download.get(DATA)
print(dataset.title)
print(f"A is {dataset.names[0]}, B is {dataset.names[1]}; the usual direction is {dataset.direction}")
print(dataset.terms)

# %%
config = TrainConfig(data=DATA)
data = open_dataset(config)
train = data["train"]
a, b = train.pairs[0].read()
print(f"{train.name(0)}: A {a.shape} {a.dtype}, B {b.shape} {b.dtype}")

# %% [markdown]
# ## Counts, sizes, splits
#
# The model learns from `train`. `val` decides which epoch was the best one, so its scores are a little too good.
# `test`, where there is one, is for the last word. The checker opens every file of every split.

# %%
report = check.check(DATA)
print(report.table())

# %% [markdown]
# Look for: a single size, and no line that starts with BROKEN. Images of other sizes and shapes are allowed; training
# resizes them to a square.
#
# ## A sheet of pairs
#
# Sixty pairs, evenly spread over `train`, as source and target.

# %%
sources, targets, shown, _ = data["train"].load(limit=60)
names = data.names
print(names, sources.shape, sources.dtype)

# %%
figures.pair_sheet(sources[:6], targets[:6], names, shown[:6])

# %% [markdown]
# Look for: edges that run on from one half into the same place of the other. Then ask what the source cannot tell:
# cars, roofs and shadows on the way from map to satellite, for example. There the generator has to make something up.
#
# ## Colors
#
# Mean and standard deviation of red, green and blue, on [0, 255]. **Before you run: one side is a photo, the other a
# map. Which one spreads over many values, and which one sits on a few?**

# %%
for name, side in zip(names, (sources, targets), strict=True):
    mean, deviation = statistics.channel_statistics(side)
    print(f"{name:9}  mean {mean.round(1)}  deviation {deviation.round(1)}")

# %%
figures.color_histograms(sources, targets, names)

# %% [markdown]
# Look for: a broad hill on the side of photos, a few spikes on the side of labels. Spikes mean that few colors carry
# all the meaning, and a generator that is off by a little has invented a color that does not exist.
#
# ## Classes
#
# On label images a color is a class. The side with fewer distinct colors is the one with labels; the toy map's
# classes are known, those of other sets are found.


# %%
def distinct_colors(images):
    return len(np.unique(images.reshape(-1, 3), axis=0))


# %%
labels = min(sources, targets, key=lambda side: distinct_colors(side[:4]))
classes = toy.PALETTE if DATA == "toy" else statistics.palette(labels, 12)
shares = statistics.class_shares(labels, classes)
figures.palette_bars(shares, classes)

# %% [markdown]
# Look for: rare classes. A mean over all pixels, such as L1, hardly notices whether they are right: a generator that
# never draws water can still be right on 93 % of the toy map.
#
# When nobody tells you the palette, ask for the most common colors. It finds the toy map's classes to the last bit.

# %%
common = statistics.palette(labels, len(classes))
print(*common)
print("all of the classes above:", set(common.values()) == set(classes.values()))

# %% [markdown]
# ## What the checker finds
#
# A dozen good pairs in a folder of one's own: side by side in one file, A on the left.

# %%
work = tempfile.TemporaryDirectory()
train, val = (Path(work.name, "pairs", split) for split in ("train", "val"))
for i in range(12):
    save_image((train if i < 9 else val) / f"{i}.png", np.hstack(toy.city(i, 128)))

# %% [markdown]
# Now break four of them, as happens in real life.

# %%
whole = (train / "1.png").read_bytes()
(train / "1.png").write_bytes(whole[: len(whole) // 2])  # a copy that broke off
(train / "2.png").write_text("<html>404 Not Found</html>")  # a web page under an image's name
save_image(train / "3.png", np.hstack(toy.city(3, 128))[:, :-1])  # a column of pixels is missing
save_image(train / "4.png", toy.city(4, 128)[0])  # half a pair

# %% [markdown]
# And make five that training accepts, but you should know of. **Before you run: two of the five are about the split
# and not about a file. Which ones, and will the checker see both?**

# %%
pair = np.hstack(toy.city(5, 128))
Image.fromarray(pair[..., 1].astype(np.uint16) * 257).save(train / "5.png")  # 16-bit gray
Image.fromarray(np.dstack([pair, np.full((128, 256), 200, np.uint8)])).save(train / "6.png")  # transparent
save_image(train / "7.png", np.hstack([toy.city(7, 128)[0], np.full((128, 128, 3), 240, np.uint8)]))  # an empty map
shutil.copy(train / "8.png", val / "9.png")  # the same image in two splits
Image.open(train / "0.png").resize((200, 100)).save(val / "10.jpg", quality=60)  # a smaller, recompressed copy

# %%
with contextlib.chdir(work.name):
    print(check.check("pairs").table())

# %% [markdown]
# Look for: every file by its name. `python -m p2plib data check FOLDER` prints the same. Training refuses the broken
# ones before the first step rather than after hours, or leaves them out when told to.

# %%
try:
    with contextlib.chdir(work.name):
        open_dataset(TrainConfig(data="pairs", image_size=128))["train"].load()
except P2PError as error:
    print(error)

# %% [markdown]
# ## Leakage
#
# Two images of `val` above are images of `train`. One is a copy to the bit; of the other no pixel is the same, so
# the checker compares what small images of both look like (a perceptual hash).

# %%
twins = [(train / "8.png", val / "9.png"), (train / "0.png", val / "10.jpg")]
images = np.array([[resize_image(read_rgb(path), 128, 256) for path in twin] for twin in twins])
figures.pair_sheet(images[:, 0], images[:, 1], ("in train", "in val"), ["8.png, 9.png", "0.png, 10.jpg"], columns=2)

# %% [markdown]
# Look for: how little shows. The smaller copy is a bit softer; among thousands of pairs nobody would find it by eye.
#
# Why it matters: here is a "model" that has learned nothing. It looks for the training source that is most like the
# question and answers with that pair's target. **Guess: if it has seen half of the questions before, by how much does
# its error fall?**


# %%
def thumbnails(images):
    return to_float(images[:, ::16, ::16]).reshape(len(images), -1)


def look_up(questions):
    distances = np.abs(thumbnails(questions)[:, None] - thumbnails(sources)).mean(axis=-1)
    return targets[distances.argmin(axis=1)]


# %%
questions, answers, _, _ = data["val"].load(limit=20)
honest = questions, answers
leaky = np.concatenate([sources[:10], questions[10:]]), np.concatenate([targets[:10], answers[10:]])
for name, (asked, expected) in {"honest": honest, "half leaked": leaky}.items():
    errors = np.abs(to_float(look_up(asked)) - to_float(expected))
    print(f"{name:12} L1 {errors.mean():.3f}")

# %% [markdown]
# Look for: an error that halves, and not because the model is any better. A large network can do the same, since it has
# room to remember a few hundred pairs. Split by place or by building before cutting images into pieces, and keep
# frames of one film in one split.
#
# ## Exercises
#
# Guess first, then open the folded cell (in JupyterLab, click the bar at its left).
#
# **1.** Three more copies of a training image in `val`: brighter, cut at the border, mirrored. Which of them does the
# checker recognize?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
source, target = toy.city(0, 128)
copies = {
    "brighter": np.hstack([source, target]).astype(np.uint16) * 11 // 10,
    "cut": np.hstack([source[4:-4, 4:-4], target[4:-4, 4:-4]]),
    "mirrored": np.hstack([source[:, ::-1], target[:, ::-1]]),
}
for name, copy in copies.items():
    save_image(val / f"{name}.png", np.minimum(copy, 255).astype(np.uint8))
with contextlib.chdir(work.name):
    found = {Path(problem.name).stem for problem in check.check("pairs").problems}
for name in copies:
    print(f"{name:9} {'found' if name in found else 'not found'}")

# %% [markdown]
# Do not rely on being found out: split before you make copies.
#
# **2.** A generator paints every pixel in the most common color of the labels. Which share of the pixels is right, and
# how many of the classes?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
most = max(shares, key=shares.get)
print(f"all {most}: {shares[most]:.0%} of the pixels, 1 of {len(shares)} classes")

# %% [markdown]
# **3.** The "model" above looks its answers up among 60 pairs. How much better is it with three times as many?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
for count in (60, 180):
    memory = data["train"].load(limit=count)
    distances = np.abs(thumbnails(questions)[:, None] - thumbnails(memory.sources)).mean(axis=-1)
    found = memory.targets[distances.argmin(axis=1)]
    print(f"{count} pairs: L1 {np.abs(to_float(found) - to_float(answers)).mean():.3f}")

# %% [markdown]
# Looking up does not learn: no stored map fits a new place, however many there are.
#
# ## What to try next
#
# - Run this notebook on a real set: `P2P_FULL=1`, or set `DATA` to "maps", where aerial photos meet Google's maps.
# - Point `check.check` at a folder of your own images, and look at them with `figures.pair_sheet`.
# - Next notebook: `02_preprocessing`, from these files to the batches that training sees.
