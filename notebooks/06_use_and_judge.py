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
# # Use a model, and judge it
#
# Images of any size, folders, video; then honest numbers: is one model better than another, and does another network
# recognize what was generated; and an export for other programs with its model card. Takes about 80 seconds on two CPU
# cores.

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
    if subprocess.run([*pip, f"p2plib[export,features,video] @ {source}"]).returncode:  # offline: p2plib alone
        subprocess.run([*pip, "--no-deps", source], check=True)

# %% tags=["parameters"]
import os

RUN = os.environ.get("P2P_RUN")  # the folder of a run of yours, from labels or maps to photos

# %% [markdown]
# The stored outputs are those of a generator that comes with p2plib, from map to satellite photo. With `P2P_RUN` they
# show yours.

# %%
import shutil
from pathlib import Path

import numpy as np

from p2plib import TrainConfig, load, train, translate, translate_files
from p2plib.data import toy
from p2plib.data.image import save_image
from p2plib.show import figures, widgets

model = load(RUN or "toy-satellite")
source, target = model.info.names
print(f"{source} to {target}, {model.size}x{model.size}")

# %% [markdown]
# ## Images of any size
#
# The network knows one size, and one scale: that at which it saw its training images, whose size on disk the checkpoint
# keeps. An image up to the largest of these is resized as a whole. A larger one is brought to their scale and cut into
# overlapping tiles; what the network makes of them is blended by smooth weights and brought back. `fit=True` resizes an
# image of any size as a whole instead.

# %%
print(model.info.scale)
large = toy.city(3, 6 * model.size)[1]
tiled, fitted = translate(model, [large])[0], translate(model, [large], fit=True)[0]
print(large.shape, tiled.shape, fitted.shape)

# %% tags=["nbval-ignore-output"]
figures.image_grid({source: large[None], "in tiles": tiled[None], "fitted": fitted[None]})

# %% [markdown]
# Look for: no seam between the tiles. But which one is right? This image shows *one* city in finer detail, as every
# training image does. In tiles, the model sees streets three times as wide as those it learned; fitted, it sees what
# it knows, and the result is as coarse as it was trained. Tiles are right for what is larger than a training image at
# the same scale: a long strip of a map, say.

# %%
strip = np.hstack([toy.city(i, 2 * model.size)[1] for i in range(6)])
[seen] = translate(model, [strip])
print(strip.shape, "->", seen.shape)

# %%
widgets.compare(strip, seen, (source, f"generated {target}"))

# %% [markdown]
# ## Folders
#
# `translate_files` (on the command line: `python -m p2plib translate RUN FOLDER --out FOLDER`) goes through folders at
# any depth, goes on after a broken file, and skips what an earlier call has finished.

# %% tags=["nbval-ignore-output"]
tried = Path(os.environ.get("P2PLIB_RUNS", "runs"), "tried")  # for what is made here
shutil.rmtree(tried, ignore_errors=True)
for i in range(4):
    save_image(tried / "maps" / ("north" if i < 2 else "south") / f"{i}.png", toy.city(i, 80)[1])
(tried / "maps" / "north" / "broken.png").write_bytes(b"no image")
first = translate_files(model, [tried / "maps"], tried / "photos")
print(*first.written, *first.failed.values(), sep="\n")

# %%
again = translate_files(model, [tried / "maps"], tried / "photos")
print(f"{len(again.written)} written, {len(again.skipped)} skipped, {len(again.failed)} failed")

# %% [markdown]
# ## Video
#
# Frame by frame, times and sound kept. A network looks at each frame by itself, so its result may flicker. The figure
# says how much: the mean change between neighboring frames, as a multiple of the source's. `steady=True` blends each
# frame with the one before, where the source did not change.

# %%
import av

from p2plib.inference.video import translate_video

with av.open(tried / "flight.mp4", "w") as file:
    stream = file.add_stream("libx264", rate=12)
    stream.width, stream.height, stream.pix_fmt = model.size, model.size, "yuv420p"
    for shift in range(0, 48, 2):
        frame = np.ascontiguousarray(strip[:, shift : shift + model.size])
        file.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
    file.mux(stream.encode())

# %% tags=["nbval-ignore-output"]
for steady in (False, True):
    video = translate_video(model, tried / "flight.mp4", tried / f"steady-{steady}.mp4", steady=steady)
    print(f"{video.path.name}: {video.frames} frames, {video.rate:.0f} a second, flicker {video.flicker:.2f}")

# %% tags=["nbval-ignore-output"]
from p2plib.show.videos import videos

videos(tried / "flight.mp4", tried / "steady-False.mp4", labels=(source, f"generated {target}"))

# %% [markdown]
# Look for: what moves with the ground, as it should, and what stays at its place in the frame or jumps. When the camera
# moves, as here, `steady` can do little; before a fixed camera it takes much of the flicker away.
#
# ## Which model is better?
#
# The model is trained on for two more epochs. **Guess: does the perceptual distance fall by more than chance?** With a
# run of yours, its best generator and its last one are compared.

# %% tags=["nbval-ignore-output"]
info = model.info.config
small = {"image_size": 128, "base_filters": 16, "precision": "float32", "epochs": 2}
more = TrainConfig(data="toy", direction="BtoA", init="toy-satellite", **small)
names = ("best", "last") if RUN else ("shipped", "two epochs more")
models = dict(zip(names, (model, load(Path(RUN or train(more)) / "checkpoints/last.keras")), strict=True))

# %%
from p2plib.evaluation.compare import compare

comparison = compare(models)
print(comparison.protocol["pictures"], "images at", comparison.protocol["size"], "pixels")

# %% [markdown]
# Several checkpoints on the same images: means, and in brackets the 95 % confidence interval that resampling the
# images gives (bootstrap).

# %% tags=["nbval-ignore-output"]
print(comparison.table())

# %% tags=["nbval-ignore-output"]
figures.image_grid(comparison.columns(2))

# %% [markdown]
# Look for: a star, which marks means that differ by more than chance. A difference without one may come out the other
# way round on other images.
#
# The metrics ask different questions. L1, PSNR and SSIM ask "how close, pixel by pixel?", and prefer blur. `swd`, the
# sliced Wasserstein distance between all real and all generated patches, asks "do they look alike as a crowd?", and
# `perceptual` asks "do they look alike to a network that knows many things?" Lower is better in both. No single number
# says which image is better; together they tell the difference.
#
# ## Is it recognized?
#
# The paper's question for photos made from labels: does a network that was trained to label *real* photos find the
# classes in generated ones? Here that network is a small U-Net, trained on the pairs of the train split, so no weights
# come from outside, and the numbers do not compare with the paper's. Its score on the real photos is about the most
# that generated ones can reach.

# %% tags=["nbval-ignore-output"]
from p2plib.evaluation.fcn_score import fcn_score, prepare

segmenter = prepare(tried / "segmenter.keras", info, epochs=2)
print(fcn_score(model, segmenter).table())

# %% [markdown]
# Look for: how far "generated" is from "real". In the paper, cityscapes' labels were found again with a per-pixel
# accuracy of .42 in photos by L1 alone, .66 with the GAN, and .80 in real photos.
#
# ## For other programs
#
# SavedModel, ONNX, LiteRT or OpenVINO. Every export is compared with Keras on 8 images, and refused where it differs.

# %% tags=["nbval-ignore-output"]
from p2plib.export.convert import export_model

exported = export_model(RUN or "toy-satellite", "onnx", out=tried / "onnx")
print(exported)

# %%
onnx = load(exported.folder)  # needs neither Keras nor TensorFlow
difference = np.abs(translate(onnx, [strip])[0].astype(int) - seen)
print("the same image within one level:", difference.max() <= 1)
print(sorted(path.name for path in exported.folder.iterdir()))

# %% [markdown]
# `README.md` is the model card, written from the run's own records: what the model does, on what data and under which
# terms it was trained, how long and on what, how good it is and where its limits are.

# %% tags=["nbval-ignore-output"]
from IPython.display import Markdown

card = (exported.folder / "README.md").read_text()
Markdown(card[card.index("## Use") : card.index("<details>")] + card[card.index("## Limits") :])

# %% [markdown]
# ## Exercises
#
# Guess first, then open the folded cell (in JupyterLab, click the bar at its left).
#
# **1.** The strip is six images long, and tiles overlap. How many times does the network run for it at least?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
height, width = strip.shape[:2]
print(f"{height // model.size * width // model.size} tiles without overlap, and some more with it")

# %% [markdown]
# **2.** A model against itself: what does the comparison say?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution", "nbval-ignore-output"]
print(compare({"one": model, "the same": model}, limit=10).table())

# %% [markdown]
# **3.** With weights in half precision (`half=True`): how much smaller is the file, and by how many of 255 levels do
# the images change at most?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution", "nbval-ignore-output"]
half = load(export_model(RUN or "toy-satellite", "onnx", half=True, out=tried / "half").folder)
sizes = [path.stat().st_size for path in sorted(tried.glob("*/*.onnx"))]
change = np.abs(translate(half, [strip])[0].astype(int) - seen).max()
print(f"{min(sizes) / max(sizes):.0%} of the size, at most {change} levels")

# %% [markdown]
# ## What to try next
#
# - `python -m p2plib video RUN clip.mp4 out.mp4 --steady` with a clip of your own.
# - `python -m p2plib compare RUN RUN/checkpoints/last.keras`: is the last generator better than the best?
# - `python -m p2plib evaluate RUN --extractor inception` adds KID (and FID, from 2,048 images on).
# - `python -m p2plib export RUN --format litert --half` for a phone.
