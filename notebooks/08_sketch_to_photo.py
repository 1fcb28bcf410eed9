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
# # Sketch to photo
#
# From plain photos, no pairs: a sketch of each is drawn, a network learns the way back, and then it is your turn to
# draw. Takes about 50 seconds on two CPU cores.

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
    if subprocess.run([*pip, f"p2plib[features,sketch] @ {source}"]).returncode:  # offline: p2plib alone
        subprocess.run([*pip, "--no-deps", source], check=True)

# %% tags=["parameters"]
import os

FULL = os.environ.get("P2P_FULL") == "1"  # the real thing: downloads coco-sample, 3 GB; hours on a GPU
DATA = os.environ.get("P2P_PHOTOS") or ("coco-sample" if FULL else "toy")  # or a folder of photos of your own

# %% [markdown]
# This works best with product photos: shoes, bags, chairs on white. The toy set has vases. The stored outputs are those
# of the fast run, which goes on from a small generator of vases that comes with p2plib.

# %%
from dataclasses import replace

import numpy as np

from p2plib import TrainConfig, evaluate, load, train, translate
from p2plib.data import catalog, download
from p2plib.data.dataset import open_dataset
from p2plib.data.sketch import EDGES, PENCIL, augment_strokes, sketch
from p2plib.show import figures, widgets
from p2plib.show.draw import draw

if DATA in catalog.CATALOG and catalog.find(DATA).url:
    download.get(DATA)
full = TrainConfig(data=DATA, task="sketch")
small = {"image_size": 128, "base_filters": 16, "precision": "float32", "init": "vases", "epochs": 2}
fast = TrainConfig(data=DATA, task="sketch", **small)
config = full if FULL else fast

# %% [markdown]
# ## Photo to sketch
#
# No network draws here. `EDGES` draws the edges that Canny's method (1986) finds; `PENCIL` draws what is darker than
# its surroundings. A `Style` says how much the photo is smoothed first, how strong an edge must be, and how thick lines
# are.
#
# **Before you run: what does more smoothing do to the drawing, and to the share of ink?**

# %%
val = open_dataset(replace(config, image_size=256))["val"]
photos = np.stack([val.resized(i)[1] for i in range(2)])
styles = {"EDGES": EDGES, "smoother": replace(EDGES, sigma=3.0), "thicker": replace(EDGES, thickness=3)}
drawn = {name: np.stack([sketch(photo, style) for photo in photos]) for name, style in styles.items()}
for name, sketches in drawn.items():
    print(f"{name:9} {(sketches < 128).mean():.1%} ink")

# %%
pencil = np.stack([sketch(photo, PENCIL) for photo in photos])
figures.image_grid({"photo": photos} | drawn | {"PENCIL": pencil})

# %% [markdown]
# Look for: more smoothing loses fine lines, such as the upper ring of the second vase. But the ink does not get less:
# the border of a highlight is now drawn as if it were an edge. Training takes `EDGES`, which is tuned to look like the
# paper's `edges2shoes`, so that a model of either understands sketches of both.
#
# ## A hand is not a computer
#
# Computed edges are exact; drawn ones are not. A network that has seen only exact ones knows none of a hand's mistakes.
# So in every epoch strokes are bent, torn and thickened anew. The photo stays as it is.

# %%
first = drawn["EDGES"][:1]
hands = [np.stack([augment_strokes(image, seed) for image in first]) for seed in range(4)]
figures.image_grid({"computed": first} | {f"epoch {i + 1}": hand for i, hand in enumerate(hands)})

# %% [markdown]
# ## Training
#
# One word makes the pairs: `task="sketch"`. Sketches of a folder of photos are drawn once and kept in the cache.

# %% tags=["nbval-ignore-output"]
run = train(config, show=widgets.progress())

# %%
model = load(run / "checkpoints/last.keras")
result = evaluate(model)
print(len(result.images), "images,", " -> ".join(model.info.names))

# %% [markdown]
# **Before you run: a sketch has no colors. From what, if from anything, can the network tell the color of a vase?**

# %% tags=["nbval-ignore-output"]
figures.result_grid(result.sources[:3], result.generated[:3], result.targets[:3], model.info.names)

# %% [markdown]
# Look for: round bodies, lit from the left, inside the lines. The shape tells the color: slim vases of the toy set are
# blue, wide ones terracotta, and those between green. The third vase is wide, but the network took it for one between:
# a wrong guess that looks right. So will its guesses about real products.
#
# ## Your turn
#
# A drawing to begin with: an outline and a pen three pixels wide. `vase_like` can draw it slimmer or wider, too.

# %%
from PIL import Image, ImageDraw

left = [(100, 50), (112, 62), (110, 95), (75, 135), (68, 165), (90, 200), (104, 212)]
outline = [*left, *((256 - x, y) for x, y in reversed(left)), left[0]]


def vase_like(width=1.0, pen=3):
    paper = Image.new("RGB", (256, 256), "white")
    points = [(128 + width * (x - 128), y) for x, y in outline]
    ImageDraw.Draw(paper).line(points, fill="black", width=pen)
    return np.array(paper)


drawing = vase_like()
print(drawing.shape, f"{(drawing < 128).mean():.1%} ink")

# %% [markdown]
# **Before you run: which of the three colors will it have?** Then draw on: a ring, a handle, or `Clear` and something
# of your own. Each stroke of mouse, pen or finger is translated at once. Rub out with `Eraser`, take back with `Undo`.

# %%
draw(model, drawing)

# %% [markdown]
# Without a running kernel, you see the drawing from above and its translation here; drag the divider.
#
# Or begin with the sketch of a photo, `draw(model, sketch(photos[0]))`, and change it. **Before you run: the second row
# is the first vase with the lower half of the second one. Blue or green?**

# %%
changed = drawn["EDGES"][0].copy()
changed[130:] = drawn["EDGES"][1][130:]  # the lower half of the second vase
versions = [drawn["EDGES"][0], changed]
figures.image_grid({"sketch": np.stack(versions), "generated": np.stack(translate(model, versions, fit=True))})

# %% [markdown]
# Look for: green, for the belly is what decides, and it came with the lower half.
#
# ## Exercises
#
# Guess first, then open the folded cell (in JupyterLab, click the bar at its left).
#
# **1.** The same outline, at 0.6, 1 and 1.4 times its width: which colors come out?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
# Blue, green, terracotta: the network goes by the width.
sheets = np.stack([vase_like(width) for width in (0.6, 1.0, 1.4)])
figures.image_grid({"drawing": sheets, "generated": np.stack(translate(model, list(sheets), fit=True))})

# %% [markdown]
# **2.** A pen of 1, 3, 6 and 12 pixels. The fast run made strokes thicker by at most two of its 128 pixels, which are
# four of these 256. Which pen is too thick?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
# None: even 12 pixels are taken for an outline, and only the rim gets a wrong color.
sheets = np.stack([vase_like(pen=pen) for pen in (1, 3, 6, 12)])
figures.image_grid({"drawing": sheets, "generated": np.stack(translate(model, list(sheets), fit=True))})

# %% [markdown]
# **3.** The outline is rubbed out on the right of the belly; then there is only an empty sheet. Does the color run out?
# And what does the network draw from nothing?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
# The color blurs at the gap, but stays near where a belly would end. From nothing comes the ghost of a vase.
open_outline = drawing.copy()
open_outline[110:190, 140:] = 255
sheets = np.stack([open_outline, np.full_like(drawing, 255)])
figures.image_grid({"drawing": sheets, "generated": np.stack(translate(model, list(sheets), fit=True))})

# %% [markdown]
# ## What to try next
#
# - `python -m p2plib train --data FOLDER --task sketch` for product photos of yours.
# - `python -m p2plib train --data edges2shoes` for the paper's 50,000 shoes, with the edges that came with them.
# - `python -m p2plib web RUN`: the same canvas as a web page, which also makes a sketch of a photo that you upload.
# - `python -m p2plib translate RUN drawing.png --noise 1`, then `--noise 2`: does another guess come out?
