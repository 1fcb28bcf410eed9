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
# # From files to batches
#
# What happens to a pair on its way into training, why both halves must move together, and whether the pipeline keeps
# up. Takes about 20 seconds on two CPU cores.

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

FULL = os.environ.get("P2P_FULL") == "1"  # the real thing: downloads facades, 30 MB, and works at 256x256
DATA = "facades" if FULL else "toy"  # any name that `python -m p2plib data list` shows
SIZE = 256 if FULL else 128

# %% [markdown]
# The stored outputs are those of the fast run, on the toy set at 128x128.

# %%
import math
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from p2plib import TrainConfig
from p2plib.data import catalog, download, toy
from p2plib.data.batches import Batches
from p2plib.data.dataset import open_dataset
from p2plib.data.image import read_rgb, resize_image, save_image, to_float, to_uint8
from p2plib.show import figures

# %%
if catalog.find(DATA).url:
    download.get(DATA)
config = TrainConfig(data=DATA, image_size=SIZE, batch_size=4)
dataset = open_dataset(config)
names = dataset.names
print(f"{names[0]} to {names[1]}: load size {config.load_shape[0]}, image size {config.image_size}")

# %% [markdown]
# ## Decode
#
# The networks want upright RGB with 8 bits a channel. Files hold other things too. Here are three: a photo from a
# camera that was held sideways, a 16-bit scan, a cut-out with a transparent background. **Before you run: what happens
# to each if it is opened without care?**

# %%
work = tempfile.TemporaryDirectory()
folder = Path(work.name)
photo = Image.fromarray(toy.city(2)[0])
camera = Image.Exif()
camera[0x0112] = 6  # orientation: turn me to the right before showing me
photo.rotate(90).save(folder / "camera.jpg", exif=camera)
Image.fromarray(np.asarray(photo.convert("L"), np.uint16) * 257).save(folder / "scan.png")
disc = np.hypot(*np.mgrid[-128:128, -128:128]) < 120
photo.putalpha(Image.fromarray(disc))
photo.save(folder / "cut-out.png")

# %%
files = ["camera.jpg", "scan.png", "cut-out.png"]
careless = [np.asarray(Image.open(folder / name).convert("RGB")) for name in files]
careful = [read_rgb(folder / name) for name in files]
figures.pair_sheet(np.stack(careless), np.stack(careful), ("convert", "read_rgb"), files)

# %% [markdown]
# Look for: what Pillow's `convert("RGB")` alone makes of them, on the left of each pair. `read_rgb` turns the photo
# upright, scales 16 bits to 8, and lays transparent parts on white.
#
# ## The steps, one by one
#
# 1. **Decode** both halves.
# 2. **Load size**: resize to 286/256 of the image size, antialiased.
# 3. **Jitter**: crop a random square of the image size.
# 4. **Flip** left and right, half of the time.
# 5. **Normalise** from [0, 255] to [-1, 1], the range of the generator's tanh.

# %%
halves = dataset["train"].read(1)
loaded = np.stack([resize_image(half, *config.load_shape) for half in halves])
top, left = 4, 12
cropped = loaded[:, top : top + SIZE, left : left + SIZE]
flipped = cropped[:, :, ::-1]
normalized = to_float(flipped)

# %%
stages = {"decode": np.stack(halves), "load size": loaded}
stages |= {"jitter": cropped, "flip": flipped, "normalize": normalized}
figures.steps(stages, names, windows={"load size": (top, left, SIZE)})

# %% [markdown]
# Look for: the outlined square, which is at the same place in both halves, and what becomes of it. The last step
# changes only the numbers, and nothing is lost on the way back.

# %%
spare = config.load_shape[0] - SIZE
print("crops and flips of one pair:", 2 * (spare + 1) ** 2)
print("to [-1, 1] and back is exact:", np.array_equal(to_uint8(normalized), flipped))

# %% [markdown]
# Validation and use know neither jitter nor flip: there, images are resized to the image size, and that is all.
#
# ## Proof that both halves move together
#
# Pairs whose two halves are the same image must still be the same after any crop and flip.

# %%
for i in range(9):
    twin = toy.city(i)[0]
    save_image(folder / "twins" / ("train" if i < 8 else "val") / f"{i}.png", np.hstack([twin, twin]))
twins_config = TrainConfig(data=str(folder / "twins"), image_size=SIZE, batch_size=4)
twins = Batches(open_dataset(twins_config), twins_config)
batches = list(islice(twins.start(), 5 * twins.steps_per_epoch))
print(len(batches), "batches of", batches[0][0].shape)
print("source equals target in all:", all(np.array_equal(*batch) for batch in batches))

# %% [markdown]
# Now a folder with a single pair to train on, through six epochs.

# %%
for split in ("train", "val"):
    save_image(folder / "single" / split / "1.png", np.hstack(halves))
single_config = TrainConfig(data=str(folder / "single"), image_size=SIZE, batch_size=1)
single = Batches(open_dataset(single_config), single_config)
views = np.array(list(islice(single.start(), 6)))
views = to_uint8(views[:, :, 0])
print(views.shape)

# %% [markdown]
# Which crop did the pipeline draw? Try them all.


# %%
def draw(image, loaded):
    """Top, left and flip that make `image` from the image at load size."""
    for top, left, flip in np.ndindex(spare + 1, spare + 1, 2):
        crop = loaded[top : top + SIZE, left : left + SIZE]
        if np.array_equal(image, crop[:, ::-1] if flip else crop):
            return top, left, flip


# %%
draws = [[draw(half, whole) for half, whole in zip(view, loaded, strict=True)] for view in views]
for epoch, (source, target) in enumerate(draws):
    print(f"epoch {epoch}: source {source}, target {target}")

# %%
captions = [f"({top}, {left}), {'flipped' if flip else 'not flipped'}" for (top, left, flip), _ in draws]
figures.pair_sheet(views[:, 0], views[:, 1], names, captions)

# %% [markdown]
# Look for: another view in every epoch, and the same one in both halves. So the pipeline does the steps above and
# nothing else; it has TensorFlow do them, in parallel.
#
# ## What goes wrong when they don't
#
# A common mistake is to crop the two halves each by itself. Then the source no longer says where things are in the
# target, up to the jitter's range. The best answer under L1 is the median of all that the target may be, pixel by
# pixel.

# %%
crops = [loaded[1, y : y + SIZE, x : x + SIZE] for y, x in np.ndindex(spare + 1, spare + 1)]
median = np.median(crops, axis=0).astype(np.uint8)
error = np.mean([np.abs(to_float(crop) - to_float(median)).mean() for crop in crops])
print(f"the best L1 on this pair: {error:.3f} when cropped apart, 0 when cropped alike")

# %%
source = loaded[0, :SIZE, :SIZE]
columns = {"cropped alike": crops[0], "each by itself": crops[-1], "best under L1": median}
columns = {title: np.stack([target, target // 2 + source // 2]) for title, target in columns.items()}
figures.image_grid(columns, [names[1], f"{names[1]} laid over {names[0]}"])

# %% [markdown]
# Look for: in the middle, edges that are doubled once the halves lie on each other. On the right, what the L1 loss then
# teaches: a blur, and an error that no training can get below. (`make demo` prints what three minutes of training reach
# with well-aligned pairs.) The GAN loss does not help here: the discriminator, too, sees source and target that do not
# fit.
#
# ## Batches can be repeated
#
# Order, crops and flips follow from (seed, epoch, position) alone. A run that was stopped goes on with the very batches
# it would have seen. **Before you run: which of the three lines below say True?**

# %%
data = Batches(dataset, config)
print(f"{data.count} pairs, {data.steps_per_epoch} steps an epoch, in memory: {data.in_memory}")


# %%
def take(epoch, step=0):
    return np.array(list(islice(data.start(epoch, step), 4)))


# %%
once = take(epoch=3)
print(f"(steps, sides, batch, height, width, channels) = {once.shape}, {once.dtype}")
print("epoch 3 again is the same:", np.array_equal(take(epoch=3), once))
print("epoch 4 is the same:", np.array_equal(take(epoch=4), once))
print("epoch 3 from step 2 on is its rest:", np.array_equal(take(epoch=3, step=2)[:2], once[2:]))

# %% [markdown]
# ## Does it keep up?
#
# Pairs a second, from memory, and when they do not fit there (`memory_budget`): then each is read from its file again
# in every epoch.


# %%
def pairs_a_second(data, batches):
    start = time.perf_counter()
    count = sum(len(source) for source, _ in islice(data.start(), batches))
    return count / (time.perf_counter() - start)


# %% tags=["nbval-ignore-output", "timing"]
from_disk = TrainConfig(data=str(folder / "twins"), image_size=SIZE, batch_size=4, memory_budget=0)
print(f"from memory: {pairs_a_second(data, 500):6.0f} pairs a second")
print(f"from files:  {pairs_a_second(Batches(open_dataset(from_disk), from_disk), 50):6.0f} pairs a second")

# %% [markdown]
# Look for: far more than training uses up. On two CPU cores a step takes 34.6 pairs a second at 128x128 with 32
# filters, and 3.2 at full size (256x256 with 64 filters; `make bench`, batches of 4). The pipeline prepares the next
# batches while the networks compute. These numbers depend on the machine, so they are not compared when this notebook
# is tested.
#
# ## Exercises
#
# Guess first, then open the folded cell (in JupyterLab, click the bar at its left).
#
# **1.** Crops and flips are drawn at random, so some come twice. How many different views of one pair does a training
# of 200 epochs see?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
views = 2 * (spare + 1) ** 2
print(f"about {views * (1 - (1 - 1 / views) ** 200):.0f} of {views}")

# %% [markdown]
# **2.** One half of a pair is a single pixel out of place. Does that cost more L1 if the shifted half is the photo, or
# if it is the map?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
for name, half in zip(names, to_float(loaded), strict=True):
    print(f"{name:9} L1 {np.abs(half[:, 1:] - half[:, :-1]).mean():.3f}")

# %% [markdown]
# A photo changes at every pixel, a map only at edges. Training asks for exact edges, so alignment matters for both.
#
# **3.** Pairs stay in memory, at load size and in 8 bits, if they fit into 4 GiB. How many pairs is that at 256x256,
# and how many at 512x512?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
for size in (256, 512):
    pair = 2 * math.prod(TrainConfig(image_size=size).load_shape) * 3  # bytes
    print(f"{size}x{size}: {4 * 2**30 // pair:,} pairs")

# %% [markdown]
# ## What to try next
#
# - Set `augment="none"` in `TrainConfig`: `load_shape` becomes that of the image, and every epoch sees the same views.
# - Would a flip up and down suit your images? For aerial photos it does no harm; a house front has its sky above.
# - Next notebook: `03_model`, the networks that these batches feed.
