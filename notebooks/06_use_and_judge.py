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
# Images of any size, folders, video; then honest numbers: what the recipe adds to L1, whether another network
# recognizes what was generated, and an export for other programs with its model card. Takes about 100 seconds on two
# CPU cores.

# %% tags=["parameters"]
import os

FULL = os.environ.get("P2P_FULL") == "1"  # the real thing: downloads facades, 30 MB; hours on a GPU, days on a CPU
DATA = "facades" if FULL else "toy"  # from labels to photo, from map to satellite

# %% [markdown]
# Two models: one by the default recipe, and one with L1 alone, the control that shows what the rest is good for. The
# stored outputs are those of the fast run, 64x64 pixels and a quarter of the filters.

# %%
from dataclasses import replace
from pathlib import Path

import numpy as np

from p2plib import TrainConfig, load, train, translate, translate_files
from p2plib.data import catalog, download, toy
from p2plib.data.image import save_image
from p2plib.show import figures, widgets

if catalog.find(DATA).url:
    download.get(DATA)
full = TrainConfig(data=DATA, direction="BtoA")
small = {"image_size": 64, "base_filters": 16, "receptive_field": 16, "precision": "float32"}
small = {**small, "batch_size": 4, "learning_rate": 5e-4, "epochs": 6}  # few steps, so large ones
fast = replace(full, **small)
config = full if FULL else fast

# %% tags=["nbval-ignore-output"]
run = train(config)
control = train(TrainConfig(recipe="paper", gan_weight=0, data=DATA, direction="BtoA", **({} if FULL else small)))

# %%
model = load(run)
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
tried = Path(run) / "tried"  # what is made here goes into the run folder
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
with av.open(tried / "flight.mp4") as before, av.open(tried / "steady-False.mp4") as after:
    frames = [[frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)] for file in (before, after)]
figures.image_grid({f"frame {i}": np.stack([side[i] for side in frames]) for i in range(0, 24, 6)})

# %% [markdown]
# Look for: what moves with the ground, as it should, and what stays at its place in the frame or jumps. When the camera
# moves, as here, `steady` can do little; before a fixed camera it takes much of the flicker away.
#
# ## What do the GAN and the perceptual loss add?
#
# Several checkpoints on the same images: means, and in brackets the 95 % confidence interval that resampling the
# images gives (bootstrap).

# %%
from p2plib.evaluation.compare import compare

comparison = compare({"modern": model, "L1 alone": load(control)})
print(comparison.protocol["pictures"], "images at", comparison.protocol["size"], "pixels")

# %% tags=["nbval-ignore-output"]
print(comparison.table())

# %% tags=["nbval-ignore-output"]
figures.image_grid(comparison.columns(3))

# %% [markdown]
# Look for: L1, PSNR and SSIM prefer the control, whose images are blurred. They ask "how close, pixel by pixel?".
# `swd`, the sliced Wasserstein distance between all real and all generated patches, asks "do they look alike as a
# crowd?", and `perceptual` asks "do they look alike to a network that knows many things?" Lower is better in both. No
# single number says which image is better; together they tell the difference. A star marks means that differ by more
# than chance.
#
# ## Is it recognized?
#
# The paper's question for photos made from labels: does a network that was trained to label *real* photos find the
# classes in generated ones? Here that network is a small U-Net, trained on the pairs of the train split, so no weights
# come from outside, and the numbers do not compare with the paper's. Its score on the real photos is about the most
# that generated ones can reach.

# %% tags=["nbval-ignore-output"]
from p2plib.evaluation.fcn_score import fcn_score, prepare

segmenter = prepare(tried / "segmenter.keras", config, epochs=None if FULL else 4)
for name, checkpoint in {"modern": model, "L1 alone": load(control)}.items():
    print(name, fcn_score(checkpoint, segmenter).table(), sep="\n")

# %% [markdown]
# Look for: how far "generated" is from "real". After so short a training, the control's blurred photos are recognized
# about as well: the layout is in them. The paper's, fully trained, were told apart by far (cityscapes, per-pixel
# accuracy: .42 with L1 alone, .66 with the GAN, .80 for real photos).
#
# ## For other programs
#
# SavedModel, ONNX, LiteRT or OpenVINO. Every export is compared with Keras on 8 images, and refused where it differs.

# %% tags=["nbval-ignore-output"]
from p2plib.export.convert import export_model

exported = export_model(run, "onnx")
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
# ## What to try next
#
# - `python -m p2plib video RUN clip.mp4 out.mp4 --steady` with a clip of your own.
# - `python -m p2plib compare RUN RUN/checkpoints/last.keras`: is the last generator better than the best?
# - `python -m p2plib evaluate RUN --extractor inception` adds KID (and FID, from 2,048 images on).
# - `python -m p2plib export RUN --format litert --half` for a phone.
