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
# # Start here
#
# A first result in ten seconds, which notebook is for whom, and the words that all of them use. Takes about 10 seconds
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
    if subprocess.run([*pip, source]).returncode:  # offline: p2plib alone
        subprocess.run([*pip, "--no-deps", source], check=True)

# %% tags=["parameters"]
MODEL = "toy-satellite"  # or toy-map, toy-colors, vases: small generators that come with p2plib; or a run folder

# %% [markdown]
# ## A first result
#
# Pix2pix learns from images in pairs how to turn one kind into the other. This small generator has learned to turn
# street maps into aerial views, from pairs of a city that a program draws. The map below is one that it never saw.
#
# **Before you run: which parts of an aerial view does a map determine, and which must the generator make up?**

# %%
from p2plib import load, translate
from p2plib.data import toy
from p2plib.show import widgets

photo, drawing = toy.city(100_002, 256)

# %% tags=["nbval-ignore-output"]
model = load(MODEL)

# %%
[generated] = translate(model, [drawing])
print(f"{model.info.names[0]} to {model.info.names[1]}: {generated.shape[1]}x{generated.shape[0]} pixels")
widgets.compare(drawing, generated, model.info.names)

# %% [markdown]
# Drag the divider. And beside what really stands there:

# %%
widgets.compare(generated, photo, (f"generated {model.info.names[1]}", f"expected {model.info.names[1]}"))

# %% [markdown]
# Look for: streets, parks and water in their places, since the map says where they are. Roofs, trees and cars are the
# generator's own: they could be real, and they are others than the real ones.
#
# ## Which way?
#
# | You are | Take |
# |---|---|
# | a student who wants to understand pix2pix | 01 to 05, in this order: data, preprocessing, model, training, results |
# | in a hurry | this notebook, then 05: what a result looks like and how it is judged |
# | somebody with pairs of their own | `your_pairs`: from two folders to a trained model; then 05 with your run |
# | somebody with photos and no pairs | 07 for colors, 08 for sketches |
# | somebody with bands, depth or scans | 10, then `your_pairs` |
# | without a GPU | 09: Kaggle lends one for free |
# | a researcher | 03 for the objective and parts of your own, 06 for comparing models, `docs/results.md` for numbers |
# | here to use a model | 06: images of any size, folders, video, export |
#
# | Notebook | Question |
# |---|---|
# | `01_eda` | What is in my pairs, and can I trust them? |
# | `02_preprocessing` | What does the network get to see? |
# | `03_model` | Why two networks, and how are they built? |
# | `04_training` | How do they learn, and how do I read the curves? |
# | `05_results` | Is it any good? |
# | `06_use_and_judge` | How do I use it, and which model is better? |
# | `07_colorization` | How does gray become color? |
# | `08_sketch_to_photo` | How does a drawing become a photo? |
# | `09_kaggle` | Where do I get a GPU? |
# | `10_beyond_rgb` | What if my images are bands, depth or scans? |
# | `your_pairs` | How do my own images become a model? |
#
# Each runs in a minute or two on a laptop, with small images. `P2P_FULL=1` in the environment runs the real thing.
#
# ## The words
#
# | Word | Meaning here |
# |---|---|
# | pair | two images of the same thing at the same place: A and B |
# | source, target | what goes in, and what should come out; `direction` AtoB means that A is the source |
# | generated | what the generator makes of a source |
# | generator | the network that turns a source into an image, written $G$ |
# | discriminator | the network that judges a source together with a target, real or generated, written $D$ |
# | GAN | generative adversarial network: the two learn against each other |
# | patch, receptive field | the square of an image that one output of $D$ sees |
# | L1 | the mean absolute difference of two images, here on values from -1 to 1 |
# | perceptual distance | how differently a network that recognizes things sees two images |
# | skip | a connection from the encoder to the decoder at the same size |
# | epoch, step | once through all training pairs; one update of the weights |
# | split | `train` to learn from, `val` to choose by, `test` to be judged by at last |
# | run | one training, and its folder in `runs/` |
# | checkpoint | a file with a trained generator that says itself what it is |
# | recipe | a named set of defaults: `modern`, `maps`, `paper` |
#
# ## What to try next
#
# - Another number in `toy.city(...)`: another town. Is the generator as good everywhere?
# - `MODEL = "toy-map"` and `translate(model, [photo])`: the other direction.
# - Next notebook: `01_eda`, or the one that the table above names for you.
