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
# One configuration, one call, a display that follows; stopping and going on; and two more trainings, to see what the
# GAN and today's recipe add. Takes about two minutes on two CPU cores.

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

from p2plib import TrainConfig, evaluate, load, train
from p2plib.data import catalog, download
from p2plib.show import figures, widgets
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
    "sample_every": 2,
    "precision": "float32",
}
fast = replace(full, **small)
config = full if FULL else fast
for name, value in config.to_dict().items():
    if value != getattr(TrainConfig(), name):
        print(f"{name:14} {value}   (default: {getattr(TrainConfig(), name)})")

# %% [markdown]
# ## One call, interrupted
#
# `train` returns the folder of the run. Somebody stops this one in its third epoch; the button with the square sends
# the same signal. Training ends after the step at hand, and saves all that going on takes.

# %%
import keras


def press_stop(epoch, logs):
    if epoch == 2:  # they count from 0
        signal.raise_signal(signal.SIGINT)


# %% tags=["nbval-ignore-output"]
stop = keras.callbacks.LambdaCallback(on_epoch_begin=press_stop)
run = train(config, show=widgets.progress(), callbacks=[stop])

# %% [markdown]
# Look for: sample images that get streets first, then colors, then texture. L1 on training images falls. On validation
# images it soon stays where it is, because a texture in the wrong place counts as an error, and the perceptual distance
# goes on falling. The dashed line marks a discriminator that is undecided: where its loss is below the line, it tells
# real from generated more often than not.

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
# The same batches, crops and dropout masks follow as if nothing had happened, from the middle of the epoch on.

# %% tags=["nbval-ignore-output"]
run = train(resume=run, show=widgets.progress())

# %%
rows = read_log(run / "log.csv")
print("epochs:", *[int(row["epoch"]) for row in rows])
print("steps: ", *[int(row["step"]) for row in rows])

# %% [markdown]
# Look for: no jump where the run was stopped. The curves begin at the first epoch, since the log is part of the state.
#
# ## What does the GAN add, and what came after?
#
# Two more trainings with the paper's settings: L1 alone (`gan_weight=0`), as in its table 1, and L1 with the GAN.

# %% tags=["nbval-ignore-output"]
paper = TrainConfig(recipe="paper", data=DATA, direction=DIRECTION, **({} if FULL else small))
alone = train(replace(paper, gan_weight=0), show=widgets.progress())
gan = train(paper, show=widgets.progress())

# %%
runs = {"L1": alone, "L1 + GAN": gan, "modern": run}
models = {name: load(folder / "checkpoints" / "last.keras") for name, folder in runs.items()}
results = {name: evaluate(model) for name, model in models.items()}
print(
    *[f"{name}: {len(result.images)} images of {result.protocol['data']}" for name, result in results.items()],
    sep="\n",
)

# %%
modern = results["modern"]
source, target = models["modern"].info.names
columns = {source: modern.sources} | {name: result.generated for name, result in results.items()}
columns |= {f"expected {target}": modern.targets}
figures.image_grid({title: images[:3] for title, images in columns.items()})

# %% [markdown]
# Look for: L1 alone answers with the median of all that could be there: roofs, trees and cars average out to a blur.
# The GAN makes the generator choose, and after so few steps its choices are rough. The modern recipe has edges where
# there are edges: the perceptual loss asks for them from the first step on.

# %% tags=["nbval-ignore-output"]
for name, result in results.items():
    print(f"{name:9}", *[f"{metric} {value:6.3f} " for metric, value in result.mean.items()])

# %% [markdown]
# Look for: which number agrees with your eyes. L1 and PSNR compare pixel by pixel and punish a car in the wrong place
# more than no car at all, so a blur does well by them. The perceptual distance (lower is better) compares what a
# network sees that took no part in any of these trainings; after so few steps, even that is close.

# %%
widgets.compare(columns["L1"][0], columns["modern"][0], ("L1", "modern"))

# %% [markdown]
# ## Exercises
#
# Guess first, then open the folded cell (in JupyterLab, click the bar at its left).
#
# **1.** 400 pairs, batches of 4, 6 epochs: how many times were the weights updated?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
400 // 4 * 6, int(rows[-1]["step"])

# %% [markdown]
# **2.** Which run has the surest discriminator in its last epoch, the paper's or the modern one? Does the surer judge
# go with the better images here?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution", "nbval-ignore-output"]
for name, folder in {"L1 + GAN": gan, "modern": run}.items():
    last = read_log(folder / "log.csv")[-1]
    print(f"{name:9} D's loss {last['discriminator']:.2f}, perceptual distance {last['val_perceptual']:.2f}")

# %% [markdown]
# **3.** What would PSNR be if every pixel were off by a tenth of the range?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
import numpy as np

print(f"{20 * np.log10(1 / 0.1):.0f} dB: most of the images above are not much nearer, and look far better than that")

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
