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
# # Results
#
# Load a model and judge it: images, numbers, the best and the worst, where it errs, what the discriminator thinks of
# it, sliders to look closely, and the other direction. Takes about 80 seconds on two CPU cores.

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

RUN = os.environ.get("P2P_RUN")  # the folder of a run of yours, to be shown; else a model is trained here
FULL = os.environ.get("P2P_FULL") == "1"  # the real thing: downloads facades, 30 MB; hours on a GPU, days on a CPU
DATA, DIRECTION = ("facades", "BtoA") if FULL else ("toy", "BtoA")  # from labels to photo, from map to satellite

# %% [markdown]
# The stored outputs are those of a small model on the toy set, which goes on from a generator that comes with p2plib:
# 128x128 pixels, a quarter of the filters. With `P2P_RUN` they show yours.

# %%
from dataclasses import replace

import numpy as np

from p2plib import TrainConfig, evaluate, load, train, translate
from p2plib.data import catalog, download
from p2plib.show import figures, widgets
from p2plib.training.discriminator import load_discriminator, patch_realness

if not RUN and catalog.find(DATA).url:
    download.get(DATA)
small = {"image_size": 128, "base_filters": 16, "precision": "float32", "epochs": 2}
config = TrainConfig(data=DATA, direction=DIRECTION, **({} if FULL else small | {"init": "toy-satellite"}))

# %% tags=["nbval-ignore-output"]
run = RUN or train(config, show=widgets.progress())

# %% [markdown]
# ## One argument
#
# A checkpoint says itself what it is: networks, size, direction, the names of both sides, how long it was trained. A
# run folder stands for its best generator, by the perceptual distance of the validation images.

# %% tags=["nbval-ignore-output"]
model = load(run)

# %%
info = model.info
print(f"{info.names[0]} to {info.names[1]}, {info.config.generator} at {model.size}x{model.size}")
print(f"trained on {info.config.data} for {info.step} steps, {info.epoch} epochs")

# %% [markdown]
# ## Results at a glance
#
# `evaluate` runs the generator over a split that it was not trained on, here over at most 200 images of it.

# %%
result = evaluate(model, split="val", limit=200)
print(", ".join(f"{name} {value}" for name, value in result.protocol.items() if name != "step"))

# %%
names = info.names
figures.result_grid(result.sources[:2], result.generated[:2], result.targets[:2], names)

# %% [markdown]
# Look for: streets, water and parks in their places, which the source determines; then roofs, trees and cars, which it
# does not. There, "as expected" is too much to ask; "could it be real?" is the question.
#
# ## The numbers
#
# L1 is the mean absolute error on [-1, 1], lower is better. PSNR (dB) and SSIM are higher for better images. The
# perceptual distance is lower for images that look more alike to a network that took no part in the training. `swd`,
# the sliced Wasserstein distance, belongs to all images together: it is low if the patches of all generated images look
# like those of all real ones, wherever they stand.
#
# **Guess: which images score best by SSIM, those with much water or those with many roofs?**

# %% tags=["nbval-ignore-output"]
lines = result.table().splitlines()
print(*lines[:6], "...", *lines[-1 - len(result.sets) :], sep="\n")

# %%
order = np.argsort(result.scores["ssim"])
best, worst = order[-1:], order[:1]
chosen = np.concatenate([best, worst])
figures.result_grid(
    *(images[chosen] for images in (result.sources, result.generated, result.targets)),
    names,
    [f"{result.images[i]}, SSIM {result.scores['ssim'][i]:.2f}" for i in chosen],
)

# %% [markdown]
# Look for: what the best (above) has that the worst lacks. Often it is not the generator: images with large
# calm areas, such as water, score high, and busy ones low.
#
# ## Where does it err?

# %%
figures.error_map(result.generated[worst], result.targets[worst], (f"generated {names[1]}", f"expected {names[1]}"))

# %% [markdown]
# Look for: whether errors lie along edges (something is displaced or blurred) or fill areas (something has the wrong
# color, or was taken for something else).
#
# ## What does the discriminator think?
#
# It judges patches, so its opinion can be laid over the image. It was saved with the training state.

# %%
discriminator = load_discriminator(run)
shown = best[:1]
columns = {}
for title, images in {"generated": result.generated[shown], "expected": result.targets[shown]}.items():
    columns[f"{title} {names[1]}"] = images, patch_realness(discriminator, result.sources[shown], images)
figures.patch_map(columns)

# %% [markdown]
# Look for: patches that give the generator away. The mean should be lower on the left: the discriminator of a finished
# training is usually a little ahead.
#
# ## Look closely
#
# Drag the divider, or use the arrow keys. This slider needs no kernel: it also works in a saved notebook and in its
# HTML.

# %%
widgets.compare(result.generated[best[0]], result.targets[best[0]], (f"generated {names[1]}", f"expected {names[1]}"))

# %% [markdown]
# Pick another image:

# %%
pairs = list(zip(result.generated, result.targets, strict=True))
widgets.browse(pairs, (f"generated {names[1]}", f"expected {names[1]}"), result.images)

# %% [markdown]
# And here the model runs again with every change. Dropout, switched on by a seed, is the only noise that pix2pix has.

# %%
widgets.explore(model, result.sources, result.targets, result.images)

# %% [markdown]
# Look for: how little the noise changes. The paper found the same: the generator learns to ignore it, and one source
# gives all but one image.

# %%
quiet, *noisy = (translate(model, list(result.sources[:8]), noise=seed) for seed in (None, 1, 2))
print("the same image every time without noise:", np.array_equal(quiet, translate(model, list(result.sources[:8]))))
print("another image with another seed:", not np.array_equal(*noisy))

# %% [markdown]
# ## The other direction
#
# Same pairs, same code, `direction` turned round. From satellite to map, the answer is determined by the source, and L1
# has more of it right; but the map must be *read* from the photo.

# %% tags=["nbval-ignore-output"]
other = "AtoB" if info.config.direction == "BtoA" else "BtoA"
begin = "toy-map" if config.init and other == "AtoB" else None
reverse = replace(config, data=info.config.data, direction=other, init=begin)
reverse = load(train(reverse))

# %%
back = evaluate(reverse, split="val", limit=2)
figures.result_grid(back.sources, back.generated, back.targets, reverse.info.names)

# %% [markdown]
# There and back again: what the reverse model makes of a *generated* image.

# %%
again = translate(reverse, list(result.generated[best]))
columns = {
    names[0]: result.sources[best],
    f"generated {names[1]}": result.generated[best],
    f"{names[0]} from that": np.stack(again),
}
figures.image_grid(columns)

# %% [markdown]
# Look for: what survives the round trip. Nobody trained the two models to fit each other (CycleGAN does), so what comes
# back tells how much of the source the generated image still holds.
#
# ## Exercises
#
# Guess first, then open the folded cell (in JupyterLab, click the bar at its left).
#
# **1.** Mirror the source. Is the result the mirrored result?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution", "nbval-ignore-output"]
[mirrored] = translate(model, [result.sources[0][:, ::-1].copy()])
difference = np.abs(mirrored[:, ::-1].astype(int) - result.generated[0]).mean()
print(f"the same places, other details: {difference:.0f} of 255 levels apart. Kernels are not symmetric.")

# %% [markdown]
# **2.** Blur the expected images until only every fourth pixel is left. Which gets the higher SSIM: these, or what the
# model generated from the source?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution", "nbval-ignore-output"]
from p2plib.data.image import resize_image
from p2plib.evaluation.metrics import ssim

size = model.size
blurred = np.stack([resize_image(resize_image(y, size // 4, size // 4), size, size) for y in result.targets])
print(f"blurred {ssim(result.targets, blurred).mean():.2f}, generated {result.scores['ssim'].mean():.2f}")

# %% [markdown]
# **3.** The model takes any image. What does it make of one that is of the wrong kind, an expected image?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution", "nbval-ignore-output"]
strange = translate(model, list(result.targets[:1]))
figures.image_grid({f"{names[1]}, as a source": result.targets[:1], "generated": np.stack(strange)})

# %% [markdown]
# ## What to try next
#
# - `P2P_RUN=runs/... ` with a run of yours, for example one of `make demo` (three minutes).
# - `06_use_and_judge`: larger images, folders, video, what the GAN adds in numbers, export.
# - `python -m p2plib report RUN` writes a page with grid, curves and sliders; `python -m p2plib translate RUN IMAGES
#   --out FOLDER` uses the model.
