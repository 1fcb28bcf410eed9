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
# # Beyond RGB
#
# Four bands of a satellite and the height of the land in meters; scans in Hounsfield units; images that are no squares.
# What such values become on their way into a network, and how they come back. Takes about 60 seconds on two CPU cores.

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

FULL = os.environ.get("P2P_FULL") == "1"  # the real thing: 256x256, an hour on a GPU
SIZE = 256 if FULL else 64
EPOCHS = 200 if FULL else 10

# %% [markdown]
# Both data sets here are made on the spot. The stored outputs are those of the fast run: 64x64 pixels, and a training
# that ends when it has just learned what is land and what is water.

# %%
import tempfile
from pathlib import Path

import numpy as np

from p2plib import TrainConfig, evaluate, load, train, translate
from p2plib.data.dataset import open_dataset
from p2plib.data.values import read_values, write_values
from p2plib.show import figures

small = {"image_size": SIZE, "base_filters": 64 if FULL else 16, "epochs": EPOCHS, "precision": "float32"}
config = TrainConfig(data="terrain", recipe="measured", augment="jitter", **small)
terrain = open_dataset(config)
for kind in terrain.kinds:
    print(kind.describe())

# %% [markdown]
# ## What the files hold
#
# An `ImageKind` says what one side of a data set is: how many channels, of which type, and which range of values the
# network sees. For files of your own it is found: the channels and the type in their headers, the range in the training
# images. It is one range for all images. If each had its own, equal heights would look different.
#
# **Before you run: which of the four bands is brightest over a forest?**

# %%
image, height = terrain["val"].read(15)
print(image.shape, image.dtype, "and", height.shape, height.dtype)
woods = (image[..., 3] > 2 * image[..., 0]) & (image[..., 3] > 1500)
for name, band in zip(("red", "green", "blue", "near infrared"), np.moveaxis(image[woods], -1, 0), strict=True):
    print(f"{name:14} {band.mean():5.0f}")

# %%
source, target = terrain.kinds
infrared = source.preview(image[..., [3, 0, 1, 2]])
figures.image_grid({"red, green, blue": [source.preview(image)], "infrared, red, green": [infrared]})

# %% [markdown]
# Look for: plants, which shine in the infrared, and water, which is black there. A screen shows three channels of 8
# bits, so every image here is a preview. The network gets the values themselves.

# %%
figures.value_maps({"height": height}, target)

# %% [markdown]
# ## What the network sees
#
# `to_float` maps the range to [-1, 1], and `to_values` maps it back. What would 8 bits have kept?

# %%
seen = target.to_float(height)
back = target.to_values(seen)
squeezed = np.rint(target.levels(height)) * target.span / 255 + target.low
print(f"the network sees {seen.min():.2f} to {seen.max():.2f}")
off, lost = (np.abs(values - height).max() for values in (back, squeezed))
print(f"there and back: {off:.4f} m off; by way of 8 bits: {lost:.1f} m")

# %% [markdown]
# Look for: nearly ten meters, gone before the training begins. That is what happens silently wherever a tool makes RGB
# of everything.
#
# ## Training
#
# Nothing changes but the channels of the network, and the recipe. `measured` suits values whose errors count:
#
# - No GAN and no perceptual loss, only L1, and no dropout, the noise of pix2pix. Heights are no matter of taste.
# - Batch normalization: instance normalization takes the mean of each image away, and with it how bright, and so how
#   high, all of it is.
# - `augment="jitter"`: the sun stands in the upper left of every image. A mirrored one would have its sun on the wrong
#   side.

# %% tags=["nbval-ignore-output"]
run = train(config)

# %% tags=["nbval-ignore-output"]
model = load(run)
result = evaluate(model)
heights = terrain["val"].load().targets
mean = np.abs(heights - terrain["train"].load(60).targets.mean()).mean()
print(f"mean error {result.mean['mae']:.0f} m; of the mean height everywhere: {mean:.0f} m")

# %%
print("half as far off as the mean height, or less:", bool(result.mean["mae"] < mean / 2))

# %% [markdown]
# The unit of the error is that of the target. PSNR and SSIM are there, too, over the stated range.
#
# ## Use
#
# `translate` takes the source's values and gives the target's.

# %% tags=["nbval-ignore-output"]
bands = terrain["val"].resized(15)
[made] = translate(model, [bands[0]])
print(made.shape, made.dtype, f"{made.min():.0f} to {made.max():.0f} m")
figures.value_maps({"generated": made, "expected": bands[1]}, target)

# %%
figures.value_maps({"generated - expected": made - bands[1]}, target, difference=True)

# %% [markdown]
# Look for: lakes and valleys, and the whole level. How high a single mountain is takes longer to learn.
#
# A float image becomes a TIFF file. From a GeoTIFF, the result keeps its place on Earth and its no-data value, and a
# scene of 30,000 x 30,000 pixels is translated row by row: `python -m p2plib translate RUN scene.tif --out DIR`.

# %%
with tempfile.TemporaryDirectory() as folder:
    write_values(Path(folder, "height.tif"), made)
    print("as written:", np.array_equal(read_values(Path(folder, "height.tif")), made))

# %% [markdown]
# ## Hounsfield units
#
# `scan` has slices like those of a CT scanner, without and with contrast agent, in int16. Air is -1000, water 0, bone
# 700 and more. A doctor looks at them through a window. The network gets them whole, or through a window of its own:
# `source_range` and `target_range` clip.

# %%
wide = open_dataset(TrainConfig(data="scan", image_size=128))
narrow = open_dataset(TrainConfig(data="scan", image_size=128, source_range=(-160, 240), target_range=(-160, 240)))
plain, contrast = wide["val"].resized(1)
for name, data in {"wide": wide, "narrow": narrow}.items():
    a, b = data.source.to_float(plain), data.target.to_float(contrast)
    limits = f"{data.target.low:5.0f} to {data.target.high:4.0f}"
    print(f"{name:6} {limits}: the agent changes {np.abs(a - b).mean():.4f} on [-1, 1]")
figures.value_maps({"without agent": plain, "with agent": contrast}, wide.target)

# %% [markdown]
# Look for: vessels, kidneys and the heart. In the narrow window the same change is four times as large for the loss,
# and bones and lungs are clipped.
#
# ## No squares
#
# `image_size="256x512"` is height and width, both multiples of 32. `load="crop"` takes windows of that shape.

# %%
wide_images = open_dataset(TrainConfig(data="terrain", image_size="64x128", load="crop"))
figures.image_grid({"64 x 128": [source.preview(wide_images["val"].resized(i)[0]) for i in (15, 28)]})

# %% [markdown]
# ## Exercises
#
# Guess first, then open the folded cell (in JupyterLab, click the bar at its left).

# %% [markdown]
# **1.** A depth camera writes 12-bit values into 16-bit files. Which range does p2plib choose, and how many values
# would be left if 65535 became white?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
depth = np.arange(4096)
print("0 to", 2 ** int(depth.max()).bit_length() - 1, "and", len(np.unique(depth // 257)), "of 4096 values")

# %% [markdown]
# **2.** What does a logarithmic scale (`target_scale="log"`) do to a step of one meter at the shore, and to one at the
# top?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
steps = np.array([0, 1, 3000, 3001], np.float32)
log = open_dataset(TrainConfig(data="terrain", target_scale="log")).target
for name, kind in {"linear": target, "log": log}.items():
    low, high = np.diff(kind.to_float(steps))[[0, 2]]
    print(f"{name:6} shore {low:.5f}, top {high:.5f}")

# %% [markdown]
# **3.** Infrared tells water from shadow. How far apart are the two in red, and how far in the infrared?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
levels, counts = np.unique(height, return_counts=True)
level = height[..., 0] == levels[counts.argmax()]  # only water lies flat
dark = (image[..., 0] < 300) & ~level & (image[..., 3] > 300)
for name, band in {"red": 0, "near infrared": 3}.items():
    print(f"{name:14} water {np.median(image[level][:, band]):5.0f}, dark land {np.median(image[dark][:, band]):5.0f}")

# %% [markdown]
# ## What to try next
#
# - Your own files: `python -m p2plib data check DATA` says what it found, and what training will use.
# - [Bands, depth, measured values](../docs/bands.md) has the settings: channels, ranges, windows, scales.
# - With the GAN (`gan_weight=1`), heights become sharper and errors larger. When would you want that?
