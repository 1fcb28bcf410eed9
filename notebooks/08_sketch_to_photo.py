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
# From plain photos again: a sketch of each is drawn, a network learns the way back, and then it is your turn to draw.
# Takes about 50 seconds on two CPU cores.

# %% tags=["parameters"]
import os

FULL = os.environ.get("P2P_FULL") == "1"  # the real thing: downloads coco-sample, 3 GB; hours on a GPU
DATA = os.environ.get("P2P_PHOTOS") or ("coco-sample" if FULL else "toy")  # or a folder of photos of your own

# %% [markdown]
# A folder of product photos is what this is best at: shoes, bags, chairs on white. The stored outputs are those of the
# fast run, which goes on from a small generator that comes with p2plib: the toy set's products are vases.

# %%
from dataclasses import replace

import numpy as np

from p2plib import TrainConfig, evaluate, load, train, translate
from p2plib.data import catalog, download
from p2plib.data.dataset import open_dataset
from p2plib.data.sketch import EDGES, PENCIL, augment_strokes, sketch
from p2plib.show import figures, widgets

if DATA in catalog.CATALOG and catalog.find(DATA).url:
    download.get(DATA)
full = TrainConfig(data=DATA, task="sketch")
small = {"image_size": 128, "base_filters": 16, "precision": "float32", "init": "vases", "epochs": 2}
fast = TrainConfig(data=DATA, task="sketch", **small)
config = full if FULL else fast

# %% [markdown]
# ## Photo to sketch
#
# No network draws here: Canny's edges (`EDGES`), or what is darker than its surroundings (`PENCIL`, a difference of
# Gaussians). A `Style` says how much is smoothed before, how strong an edge must be, how thick lines are.

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
# Look for: more smoothing leaves fewer lines, but it may draw the border of a light as if it were an edge, as in the
# second row. Training takes `EDGES`, tuned to look
# like those of the paper's `edges2shoes`, so that a model of either understands sketches of both.
#
# ## A hand is not a computer
#
# Computed edges are exact; drawn ones are not. A network that has seen only exact ones is lost before a drawing. So in
# every epoch strokes are bent, torn and thickened anew. The photo stays as it is.

# %%
first = drawn["EDGES"][:1]
hands = [np.stack([augment_strokes(image, seed) for image in first]) for seed in range(4)]
figures.image_grid({"computed": first} | {f"epoch {i + 1}": hand for i, hand in enumerate(hands)})

# %% [markdown]
# ## Training
#
# One word makes the pairs: `task="sketch"`. Of a folder of photos, sketches are drawn once and kept in the cache.

# %% tags=["nbval-ignore-output"]
run = train(config, show=widgets.progress())

# %%
model = load(run / "checkpoints/last.keras")
result = evaluate(model)
print(len(result.images), "images,", " -> ".join(model.info.names))

# %% tags=["nbval-ignore-output"]
figures.result_grid(result.sources[:3], result.generated[:3], result.targets[:3], model.info.names)

# %% [markdown]
# Look for: round bodies, lit from the left, inside the lines. A sketch does not say the color, but its shape may: slim
# vases of the toy set are blue, those between are green, and wide ones of terracotta. The third one here is taken for
# one between: a wrong guess, and a good-looking one. With real products, too, the network guesses.
#
# ## Your turn
#
# A drawing made here, with a pen three pixels wide, and what the model makes of it.

# %%
from PIL import Image, ImageDraw

paper = Image.new("RGB", (256, 256), "white")
pen = ImageDraw.Draw(paper)
left = [(100, 50), (112, 62), (110, 95), (75, 135), (68, 165), (90, 200), (104, 212)]
outline = [*left, *((256 - x, y) for x, y in reversed(left)), left[0]]
pen.line(outline, fill="black", width=3)
drawing = np.array(paper)
[imagined] = translate(model, [drawing], fit=True)
print(drawing.shape, "->", imagined.shape)

# %%
widgets.compare(drawing, imagined, ("drawing", "generated photo"))

# %% [markdown]
# Or take the sketch of a photo, erase here, add there. The web app does this with a mouse or a finger: upload a photo,
# press "Make a sketch", draw, translate.

# %%
changed = drawn["EDGES"][0].copy()
changed[130:] = drawn["EDGES"][1][130:]  # the lower half of another one
versions = [drawn["EDGES"][0], changed]
figures.image_grid({"sketch": np.stack(versions), "generated": np.stack(translate(model, versions, fit=True))})

# %% [markdown]
# ## What to try next
#
# - `python -m p2plib train --data FOLDER --task sketch` for product photos of yours.
# - `python -m p2plib train --data edges2shoes` for the paper's 50,000 shoes, with the edges that came with them.
# - `python -m p2plib web RUN` and draw.
# - `python -m p2plib translate RUN drawing.png --noise 1`, then `--noise 2`: does another guess come out?
