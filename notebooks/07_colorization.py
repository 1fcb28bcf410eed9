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
# # Black-and-white to color
#
# From plain photos, no pairs: what Lab is, a network that sees lightness and chooses colors, how bold these are, and
# colors for an image of any size. Takes about 2 minutes on two CPU cores.

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

FULL = os.environ.get("P2P_FULL") == "1"  # the real thing: downloads coco-sample, 3 GB; hours on a GPU
DATA = os.environ.get("P2P_PHOTOS") or ("coco-sample" if FULL else "toy")  # or a folder of photos of your own

# %% [markdown]
# Any folder of photos will do. The stored outputs are those of the fast run: aerial views of the toy city, 128x128
# pixels, a quarter of the filters; training goes on from a generator that comes with p2plib.

# %%
from dataclasses import replace

import numpy as np

from p2plib import TrainConfig, load, train, translate
from p2plib.data import catalog, color, download
from p2plib.data.dataset import open_dataset
from p2plib.data.image import resize_image, to_uint8
from p2plib.show import figures, widgets

if DATA in catalog.CATALOG and catalog.find(DATA).url:
    download.get(DATA)
full = TrainConfig(data=DATA, task="colorize", warmup_epochs=10)
small = {"image_size": 128, "base_filters": 16, "precision": "float32", "init": "toy-colors"}
fast = TrainConfig(data=DATA, task="colorize", **small, epochs=3, warmup_epochs=1)
config = full if FULL else fast

# %% [markdown]
# ## Pairs from photos
#
# Each photo makes a pair: itself in gray, and itself. Photos that have no colors are left out, and named: they would
# teach the network to paint gray.

# %%
grays, photos, names, left_out = open_dataset(config)["val"].load(2)
print(photos.shape, names, f"{len(left_out)} left out")

# %% [markdown]
# ## Lab: light and color apart
#
# RGB mixes both: a shadow changes all three channels. CIE Lab keeps them apart. L is how light a pixel is, from 0 to
# 100; a goes from green to red, b from blue to yellow, and both are 0 for gray.

# %%
lab = color.rgb_to_lab(photos / 255)
for name, plane in zip("Lab", np.moveaxis(lab, -1, 0), strict=True):
    print(f"{name}: {plane.min():6.1f} to {plane.max():6.1f}, mean {plane.mean():6.1f}")


# %% [markdown]
# Each plane as an image: L with a = b = 0, the others at one lightness. **Before you run: from which of the three would
# you still recognize the place?**


# %%
def image(lightness, a, b):
    planes = np.broadcast_arrays(lightness, a, b)
    return to_uint8(color.lab_to_rgb(np.stack(planes, -1)) * 2 - 1)


light, a, b = np.moveaxis(lab, -1, 0)
columns = {"photo": photos, "L": image(light, 0, 0), "a": image(65, a, 0)}
figures.image_grid(columns | {"b": image(65, 0, b), "a and b": image(65, a, b)})

# %% [markdown]
# Look for: every edge is in L; what is left in a and b is large and soft. So a colorizer keeps L as it is and only
# chooses a and b. These may even be coarse. Next are the photos with their own colors at a quarter of the size: a and b
# are averaged over squares of 4x4 pixels, L is not. **Guess: where will you see the difference?**


# %%
def averaged(step):
    """The colors of the photos, a and b, averaged over squares of step x step pixels."""
    count = lab.shape[1] // step
    return lab[..., 1:].reshape(len(lab), count, step, count, step, 2).mean(axis=(2, 4))


# %%
coarse = np.stack([color.recolor(photo, ab) for photo, ab in zip(photos, averaged(4), strict=True)])
change = np.abs(color.lightness(coarse / 255) - light).max()
print(f"lightness changed by at most {change:.2f} of 100")
figures.image_grid({"photo": photos, "colors at a quarter": coarse})

# %% [markdown]
# Look for: small things of a strong color, such as cars and small roofs, which grow paler. All else seems unchanged,
# since every edge comes from L.
#
# ## The network
#
# The same network as ever, between two layers without weights: the first takes L from the source, the last joins L and
# the network's a and b and turns them into RGB. So L1, the discriminator, metrics and exports see ordinary images.

# %%
from p2plib.models import build_generator

generator = build_generator(config)
for layer in generator.layers:
    if layer.name in ("source", "lightness", "up1_conv", "colored"):
        print(f"{layer.name:10} {layer.output.shape}")

# %% [markdown]
# ## Training
#
# `04_training` tells what a GAN is good for. With colors there is a special reason: gray does not say whether a car is
# red or blue. So a second training, the control, never meets a discriminator. **Before you run: which colors will its
# cars have?**
#
# `warmup_epochs` trains the generator without the GAN first, since a discriminator that meets noise learns only to tell
# noise from photos.

# %% tags=["nbval-ignore-output"]
run = train(config, show=widgets.progress())
control = train(replace(config, gan_weight=0, warmup_epochs=0))

# %%
from p2plib.show.report import read_log

rows = read_log(run / "log.csv")
print("epochs without the GAN:", sum(np.isnan(row["gan"]) for row in rows), "of", len(rows))

# %% [markdown]
# ## How bold are the colors?
#
# The last generators of both. Two numbers are about color:
#
# - `ab`: how far a pixel's color is from the true one, in the (a, b) plane. `ab_grey` is what no color at all would
#   score.
# - `colourfulness` (Hasler and Suesstrunk 2003) of what was generated, beside `colourfulness_real`, that of the photos.

# %%
from p2plib.evaluation.compare import compare

models = {name: load(f / "checkpoints/last.keras") for name, f in {"without GAN": control, "with GAN": run}.items()}
comparison = compare(models)
print(comparison.protocol["pictures"], "images at", comparison.protocol["size"], "pixels")

# %% tags=["nbval-ignore-output"]
names, *lines = comparison.table().splitlines()
print(names, *[line for line in lines if line.startswith(("ab", "colour"))], sep="\n")

# %% tags=["nbval-ignore-output"]
figures.image_grid(comparison.columns(2))

# %% [markdown]
# Look for: both are well below `ab_grey`. Without the GAN, the network answers an open question with the color between,
# and its images are duller than photos are, although its `ab` is the better one. The GAN decides: it is about as
# colorful as the photos, and sometimes wrong. The toy's streets and roofs have few colors and are learned in minutes;
# photos of everything take hours.
#
# ## An image of any size
#
# The network sees the whole image at its own size; the colors are enlarged and joined with the source's own L. No
# tile, no seam, no lost detail. A source in color counts by its lightness.

# %%
from p2plib.data import toy

photo = resize_image(toy.city(3, 384)[0], 300, 384)
old = color.gray(photo)
[colored] = translate(models["with GAN"], [old])
difference = np.abs(color.lightness(colored / 255) - color.lightness(old / 255))
print(old.shape, "->", colored.shape, "| lightness kept:", difference.max() < 0.5)

# %%
widgets.compare(old, colored, ("gray", "colored"))

# %% [markdown]
# ## Exercises
#
# Guess first, then open the folded cell (in JupyterLab, click the bar at its left).
#
# **1.** A roof is red in half of all cities and blue in the others. Which color is the safest answer, the one with the
# smallest mean squared distance to both? And which one would the GAN refuse?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
red, blue = np.array((50.0, 60, 40)), np.array((50.0, 10, -60))  # L, a, b
answers = {"red": red, "blue": blue, "the safest": (red + blue) / 2}
figures.image_grid({name: np.tile(image(*values), (1, 64, 64, 1)) for name, values in answers.items()})

# %% [markdown]
# No roof has this color, and the discriminator, which has seen roofs, can tell.
#
# **2.** A field is red on its left and green on its right; L is the same. How does it look in a black-and-white photo?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
field = np.concatenate([np.tile(image(55, a, 30), (64, 64, 1)) for a in (45, -45)], axis=1)
grayed = color.gray(field)
print(f"the two sides differ by {np.ptp(grayed)} of 255 levels: no network can see which was which")
figures.image_grid({"field": field[None], "in gray": grayed[None]})

# %% [markdown]
# **3.** Colors at a quarter of the size still look right. What about an eighth, a thirty-second?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
columns = {"photo": photos}
for step in (4, 8, 32):
    given = np.stack([color.recolor(photo, ab) for photo, ab in zip(photos, averaged(step), strict=True)])
    off = np.linalg.norm((color.rgb_to_lab(given / 255) - lab)[..., 1:], axis=-1).mean()
    print(f"1/{step}: colors off by {off:.1f} on average")
    columns[f"1/{step}"] = given
figures.image_grid(columns)

# %% [markdown]
# ## What to try next
#
# - `P2P_PHOTOS=FOLDER` before this notebook, or `python -m p2plib train --data FOLDER --task colorize` for photos of
#   yours; `data check FOLDER --task colorize` names the gray ones.
# - `python -m p2plib translate RUN old_photos/ --out colored`: any size, any depth of folders.
# - `python -m p2plib video RUN old_film.mp4 colored.mp4 --steady`: blends colors over time; the light of each
#   frame stays.
# - `--l1-weight 1` lets the GAN dare more.
# - Next notebook: `08_sketch_to_photo`, the other way to make pairs of photos.
