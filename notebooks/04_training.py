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
# # Training
#
# One configuration, one call, a display that follows; stopping and going on; how to read the curves of runs that go
# well, and of runs that go wrong; and what each part of the objective brings. Takes about 70 seconds on two CPU cores.

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

FULL = os.environ.get("P2P_FULL") == "1"  # the real thing: downloads facades, 30 MB; hours on a GPU, days on a CPU
DATA, DIRECTION = ("facades", "BtoA") if FULL else ("toy", "BtoA")  # from labels to photo, from map to satellite

# %% [markdown]
# The stored outputs are those of the fast run: 64x64 pixels, a quarter of the filters, 6 epochs, on the toy set. It
# shows how training goes. Its images are small and rough; what a finished training looks like is in `03_model` and
# `05_results`.

# %%
import signal
from dataclasses import replace

from p2plib import TrainConfig, runtime, train
from p2plib.data import catalog, download
from p2plib.show import figures, frames, lessons, widgets
from p2plib.show.report import read_log

if catalog.find(DATA).url:
    download.get(DATA)

# %% [markdown]
# ## One configuration
#
# Everything that a run depends on is a field of `TrainConfig`. The defaults are those of the recipe `modern`, which
# `03_model` explains. The fast run changes a few.

# %%
full = TrainConfig(data=DATA, direction=DIRECTION)
small = {
    "image_size": 64,
    "base_filters": 16,
    "receptive_field": 16,  # a quarter of the image, as 70 pixels are of 256
    "batch_size": 4,
    "learning_rate": 5e-4,  # few steps, so large ones
    "epochs": 6,
    "sample_every": 1,
    "precision": "float32",
}
config = full if FULL else replace(full, **small)
for name, value in config.to_dict().items():
    if value != getattr(TrainConfig(), name):
        print(f"{name:14} {value}   (default: {getattr(TrainConfig(), name)})")

# %% [markdown]
# ## One call, interrupted
#
# `train` returns the folder of the run. Somebody stops this one in its third epoch; the button with the square sends
# the same signal. Training ends after the step at hand, and saves all that going on takes. A line is printed for each
# epoch.
#
# **Before you run: guess. Which appears first in the samples: the colors, the streets, or the texture of roofs and
# trees?**

# %% tags=["nbval-ignore-output"]
runtime.start()  # chooses TensorFlow or JAX, before Keras is imported

# %%
import keras


def press_stop(epoch, logs):
    if epoch == 2:  # they count from 0
        signal.raise_signal(signal.SIGINT)


# %% tags=["nbval-ignore-output"]
stop = keras.callbacks.LambdaCallback(on_epoch_begin=press_stop)
run = train(config, callbacks=[stop])

# %%
print("\n".join(sorted(path.relative_to(run).as_posix() for path in run.rglob("*.*"))))

# %% [markdown]
# - `config.json`, `environment.json`, `log.csv`: what was trained, where, and how it went.
# - `samples/`: the same validation images again and again, source | generated | expected.
# - `checkpoints/best.keras` (by the perceptual distance of the validation images) and `last.keras`: generators that say
#   themselves what they are.
# - `checkpoints/state.npz`: every weight, the optimizer's moments and random states, to go on from.
#
# ## Going on
#
# The same batches, crops and dropout masks follow as if nothing had happened, from the middle of the epoch on. This
# time, `show=widgets.progress()` draws what happens.

# %% tags=["nbval-ignore-output"]
run = train(resume=run, show=widgets.progress())

# %%
rows = read_log(run / "log.csv")
print("epochs:", *[int(row["epoch"]) for row in rows])
print("steps: ", *[int(row["step"]) for row in rows])

# %% [markdown]
# Look for: no jump where the run was stopped. The curves begin at the first epoch, since the log is part of the state.
#
# And so the images came about. Drag the slider, or use the arrow keys:

# %%
frames.over_time(run)

# %% [markdown]
# Look for: streets first, then colors, then texture.
#
# ## Reading the curves
#
# Six trainings with the paper's objective, from map to satellite photo, at 64 pixels. `python tools/lesson_runs.py ill`
# makes them anew. Each curve has one value for every epoch; the dashed line at 0.693 is the loss of a discriminator
# $D$ that answers 1/2 to everything. Below: what each changes of the paper's settings (`few`: so many different
# training pairs, the others are copies).

# %%
ill = lessons.lesson("ill")
runs = {run.title: run for run in ill.runs}
for run_ in ill.runs:
    print(f"{run_.title:17} {run_.settings}")

# %% [markdown]
# ### Healthy

# %%
figures.symptoms(runs["healthy"], ill)

# %% [markdown]
# Look for: both GAN losses settle away from the dashed line and stay there: $D$ is a little ahead of $G$, and neither
# wins. L1 falls on training and validation images alike. From here on, look at images, not at losses.
#
# ### The discriminator is too strong

# %%
figures.symptoms(runs["D too strong"], ill)

# %% [markdown]
# Eight different training pairs, and a $D$ that is four times as wide and sees the whole image: it knows them by heart.
#
# Look for: the loss of $D$ goes to zero and that of $G$ climbs. Whatever $G$ does is found out, so it learns nothing
# from $D$: the image is noise. Remedies: more pairs or `diff_augment=True`, a smaller `discriminator_filters`,
# `discriminator_norm="spectral"`, more weight for L1 or a perceptual loss.
#
# ### The discriminator is lost

# %%
figures.symptoms(runs["D lost"], ill)

# %% [markdown]
# A $D$ of one filter that sees single pixels.
#
# Look for: both losses stay at the dashed line (mind the scale). $D$ finds no difference and so has nothing to say, and
# the image is what L1 alone gives: right in its places and blurred. The numbers are the best of all six. Remedies: a
# larger `receptive_field`, more `discriminator_filters`, more `gan_weight`.
#
# ### Learned by heart
#
# **Guess: with eight training pairs, what does the L1 of the validation images do while that of training falls?**

# %%
figures.symptoms(runs["learned by heart"], ill)

# %% [markdown]
# Look for: L1 of the training images goes on falling, that of the validation images stays where it was after the first
# epochs. The gap between them is what was learned by heart. Remedies: more pairs, `diff_augment=True`, `warp`, fewer
# steps; `patience` ends such a run by itself.
#
# ### Collapsed

# %%
figures.symptoms(runs["collapsed"], ill)

# %% [markdown]
# No L1 and no skips: nothing ties the image to its source but $D$.
#
# Look for: L1 rises on training and validation images alike, and $D$ is sure of everything. The images have one motif
# in common, whatever the source. A GAN that has found one way to please $D$ repeats it: mode collapse. Remedies: skips,
# L1 or a perceptual loss, a lower `learning_rate`; and begin anew, since such a run does not come back.
#
# ### Checkerboards

# %%
figures.symptoms(runs["checkerboards"], ill)

# %% [markdown]
# Little L1, and an early end: 400 steps.
#
# Look for: a regular pattern of dots. Transposed convolutions reach neighboring pixels through different weights, and
# the pattern of that shows until training has evened it out. Remedies: `upsampling="resize"`, which the default recipe
# has; a longer training; more weight for L1.
#
# ## What each part brings
#
# The paper's ablations, and those of the default recipe: one thing changes, all else stays. 600 steps at 128
# pixels with 16 filters, from map to satellite photo; `python tools/lesson_runs.py` makes them anew. The numbers are
# means over 50 validation images; lower is better.
#
# ### Lambda: how much L1?
#
# **Guess: what does the GAN alone make of a map? And L1 alone?**

# %%
weights = lessons.lesson("lambda")
frames.runs(weights, "weight of L1", start=1)

# %% [markdown]
# Look for: L1 alone answers with the median of all that could be there: trees, cars and roofs average out to a blur,
# and its numbers are the best of all. With the paper's weight of 100 there is texture. With less, the GAN has more of a
# say than it has learned to use in 600 steps, and the source is lost. The GAN alone knows from its source what is
# water, and not much more. Which weight is best depends on the length of the training, too: a $D$ that has learned
# longer deserves more of a say.
#
# ### Skips
#
# The same network with and without its skips.

# %%
skips = lessons.lesson("skips")
frames.runs(skips, "skips", start=2)

# %% [markdown]
# Look for: without skips, all that the decoder knows of the source has to pass through one pixel. After 600 steps it
# draws the same carpet for every source, with a little more blue where there is water.
#
# ### How much does the discriminator see at once?
#
# Patches of 1, 16, 70 and 286 pixels, in images of 128.

# %%
patches = lessons.lesson("patch")
frames.runs(patches, "side of the patches", start=1)

# %% [markdown]
# Look for: a $D$ that sees single pixels can only ask for the right colors: the blur stays. With 16 pixels there is a
# fine grain, with 70 there are patterns of the size of trees and roofs. 286 pixels, more than the image has, bring
# nothing that 70 do not. By both numbers, the blur wins; your eyes know better.
#
# ### From the paper's recipe to today's
#
# Each adds one part to the one before.

# %%
recipe = lessons.lesson("recipe")
frames.runs(recipe, "parts of the recipe", start=1)

# %% [markdown]
# Look for: the moving average calms the grain. Resize-convolutions take the dots away and leave clean areas and lines,
# though this number says otherwise. `lean` costs nothing that the eye would miss, and has far fewer weights. With the
# perceptual loss there are roofs, and gray ones among red ones; the number follows at last. All of it in 600 steps.
#
# ## Exercises
#
# Guess first, then open the folded cell (in JupyterLab, click the bar at its left).
#
# **1.** 400 pairs, batches of 4, 6 epochs: how many times were the weights updated?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
400 // 4 * 6, int(rows[-1]["step"])

# %% [markdown]
# **2.** Which of the runs with the paper's objective has the lowest L1, and which the lowest perceptual distance? Are
# they the same?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
for metric in ("l1", "perceptual"):
    best = min(weights.runs, key=lambda run: run.scores[metric])
    print(f"{metric:10} {best.label}")

# %% [markdown]
# **3.** What would PSNR be if every pixel were off by a tenth of the range?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
import numpy as np

print(f"{20 * np.log10(1 / 0.1):.0f} dB: few of the validation images do much better, and they look better than that")

# %% [markdown]
# ## What to try next
#
# - The real thing: `P2P_FULL=1`, on a GPU. Or in a terminal: `python -m p2plib train --data facades`.
# - `train_time="30m"` instead of epochs: the learning rate reaches zero when the time is used up.
# - `time_budget="8h"` ends a run politely before a session does; `train(resume=run)` goes on another day.
# - `gan_loss="lsgan"` or `"hinge"`; `l1_weight=10`, where the GAN has more of a say.
# - More epochs: how much of the roughness goes away with 20?
# - `diff_augment=True`, where there are fewer than about 1,000 pairs.
# - Next notebook: `05_results`. Note the run's folder for it.
