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
# One configuration, one call, a display that follows; stopping and going on; and the same training without the GAN, to
# see what the GAN adds. Takes about 70 seconds on two CPU cores.

# %% tags=["parameters"]
import os

FULL = os.environ.get("P2P_FULL") == "1"  # the real thing: downloads facades, 30 MB; hours on a GPU, days on a CPU
DATA, DIRECTION = ("facades", "BtoA") if FULL else ("toy", "BtoA")  # from labels to photo, from map to satellite

# %% [markdown]
# The stored outputs are those of the fast run: 64x64 pixels, a quarter of the filters, 4 epochs, on the toy set. Its
# images are small and rough, but the story is the same.

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
# Everything that a run depends on is a field of `TrainConfig`; the defaults are the paper's. The fast run changes a
# few.

# %%
full = TrainConfig(data=DATA, direction=DIRECTION)
small = {"image_size": 64, "base_filters": 16, "precision": "float32"}
fast = replace(full, **small, batch_size=2, epochs=4, decay_epochs=2, sample_every=2)
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
# Look for: L1 that falls on validation images too, and sample images that get streets first, then colors, then
# texture. The dashed line is where the losses are while the discriminator is undecided. Below it, it is ahead.

# %%
print("\n".join(sorted(path.relative_to(run).as_posix() for path in run.rglob("*.*"))))

# %% [markdown]
# - `config.json`, `environment.json`, `log.csv`: what was trained, where, and how it went.
# - `samples/`: the same validation images again and again, source | generated | expected.
# - `checkpoints/best.keras` (by validation SSIM) and `last.keras`: generators that say themselves what they are.
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
# ## What does the GAN add?
#
# The control: the same training with L1 alone (`gan_weight=0`), as in table 1 of the paper.

# %% tags=["nbval-ignore-output"]
control = train(replace(config, gan_weight=0), show=widgets.progress())

# %%
models = {
    name: load(folder / "checkpoints" / "last.keras") for name, folder in {"L1": control, "L1 + GAN": run}.items()
}
results = {name: evaluate(model) for name, model in models.items()}
print(
    *[f"{name}: {len(result.images)} images of {result.protocol['data']}" for name, result in results.items()],
    sep="\n",
)

# %%
both = results["L1 + GAN"]
source, target = models["L1"].info.names
columns = {source: both.sources} | {name: result.generated for name, result in results.items()}
columns |= {f"expected {target}": both.targets}
figures.image_grid({title: images[:3] for title, images in columns.items()})

# %% [markdown]
# Look for: L1 alone answers with the median of all that could be there: roofs, trees and cars average out to a blur.
# The GAN makes it choose. It puts roofs, trees and cars where they could be, though not where they are.

# %% tags=["nbval-ignore-output"]
for name, result in results.items():
    print(f"{name:9}", *[f"{metric} {value:6.3f} " for metric, value in result.mean.items()])

# %%
print("L1 alone has the lower L1:", results["L1"].mean["l1"] < both.mean["l1"])

# %% [markdown]
# Look for: the blur wins. L1 and PSNR compare pixel by pixel, SSIM small windows, and each punishes a car in the wrong
# place more than no car at all. They measure what was trained, not what people see. That is why results are looked at.

# %%
widgets.compare(columns["L1"][0], columns["L1 + GAN"][0], ("L1", "L1 + GAN"))

# %% [markdown]
# ## What to try next
#
# - The real thing: `P2P_FULL=1`, on a GPU. Or in a terminal: `python -m p2plib train --data facades`.
# - `time_budget="8h"` ends a run politely before a session does; `train(resume=run)` goes on another day.
# - `gan_loss="lsgan"` or `"hinge"`; `l1_weight=10`, where the GAN has more of a say.
# - More epochs: how much of the roughness goes away with 20?
# - Next notebook: `05_results`. Note the run's folder for it.
