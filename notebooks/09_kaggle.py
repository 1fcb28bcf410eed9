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
# # Training on Kaggle
#
# No GPU at hand? Kaggle lends two T4 for about 30 hours a week, and TPUs. Build one notebook that holds library and
# settings, rehearse it here, push it, and bring the run home. The last of these notebooks. Takes about 30 seconds on
# two CPU cores.

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

OWNER = os.environ.get("KAGGLE_USERNAME", "YOUR-NAME")  # your name on Kaggle, as in the address of your page
PUSH = False  # really push: needs the kaggle package, an account with a verified phone number, and an API token

# %% [markdown]
# The stored outputs are those of a rehearsal: nothing was sent. The commands for a terminal stand beside each step.

# %%
import contextlib
import io
import tempfile
from dataclasses import replace
from pathlib import Path

from IPython.display import display

from p2plib import P2PError, TrainConfig
from p2plib.kaggle import client, manifest, mirrors, preflight, session, watch
from p2plib.kaggle.kernel import ACCELERATORS, Kernel, build

# %% [markdown]
# ## What to train, and where
#
# The same `TrainConfig` as everywhere. Two T4 share a batch, so its size must be even; eight TPU cores want a multiple
# of eight. The batch of the recipe is raised by itself where it must be; one that you choose is checked. A `Kernel`
# says what the notebook is called on Kaggle, where it runs, and which data sets are attached.

# %%
config = TrainConfig(data="maps", direction="BtoA")
kernel = Kernel(f"{OWNER}/pix2pix-maps", "Pix2Pix maps", "t4x2").with_data(config.data)
print("accelerators:", ACCELERATORS)
print("attached:", kernel.dataset_sources)

# %% [markdown]
# Sessions have no internet unless you ask for it, so the data must be on Kaggle. Some public data sets there mirror
# those of the paper:

# %%
for name, known in mirrors.MIRRORS.items():
    print(f"{name:12}", *[f"{mirror.slug} ({mirror.folder})" for mirror in known], sep="  ")

# %% [markdown]
# ## Build
#
# One notebook, since only one file travels: p2plib itself lies packed in its first code cell.
# In a terminal: `python -m p2plib kaggle build --data maps --direction BtoA`

# %%
work = tempfile.TemporaryDirectory()
folder = build(config, kernel, Path(work.name) / "kaggle")
print(*sorted(path.name for path in folder.iterdir()), sep="\n")
print("small enough:", (folder / "p2plib-training.ipynb").stat().st_size < preflight.MAX_NOTEBOOK)

# %% [markdown]
# ## Check
#
# Kaggle's command is quiet about mistakes: a wrong source is dropped, a title that does not fit the name is changed,
# and the exit status is 0. So what can be known before is checked before. In a terminal: `python -m p2plib kaggle
# check`

# %% tags=["nbval-ignore-output"]
print(*preflight.check(folder), sep="\n")

# %% [markdown]
# Look for: your credentials and your name, in the rehearsal's stored output. Here are three more ways to get it wrong.
# **Before you run: which of the three would show only after hours on Kaggle?**

# %%
wrong = {
    "odd batch": (replace(config, batch_size=5), kernel),
    "no data": (config, replace(kernel, dataset_sources=())),
    "too much": (replace(config, keep=0, checkpoint_every=1, epochs=400), kernel),
}
usual = set(preflight.check(folder))
for name, (settings, target) in wrong.items():
    found = preflight.check(build(settings, target, Path(work.name) / "wrong"))
    print(f"{name}: {next(problem for problem in found if problem not in usual)}")

# %% [markdown]
# Look for: the last one. The others would end the run in its first minutes; this one fills the disk, hours later.
#
# ## Rehearse
#
# What runs inside Kaggle is `session.train`. It finds what is attached, trains, leaves enough time to save everything,
# and seals the run folder with a manifest. In a folder laid out like Kaggle's, it does the same here.

# %% tags=["nbval-ignore-output", "timing"]
os.environ["P2PLIB_KAGGLE_ROOT"] = "."
small = {"image_size": 32, "base_filters": 8, "receptive_field": 16, "epochs": 2, "decay_epochs": 0}
with contextlib.chdir(work.name), contextlib.redirect_stdout(io.StringIO()) as printed:
    run = Path(work.name, session.train(TrainConfig(data="toy", batch_size=8, **small)))
lines = printed.getvalue().splitlines()
print(*lines, sep="\n")

# %%
entries = manifest.read(run / manifest.MANIFEST)
print(*[entry.name for entry in entries], sep="\n")

# %% [markdown]
# Look for: name, size and hash of every file. What comes home is compared with them, since a page that says "403" is
# easily saved as a checkpoint. Below, a single byte of the log changes. **Before you run: does the size give it away?**

# %%
log = run / "log.csv"
log.write_text(log.read_text().replace("0", "O", 1))
try:
    manifest.check(log, next(entry for entry in entries if entry.name == "log.csv"))
except P2PError as error:
    print(error)

# %% [markdown]
# ## Push, watch, pull
#
# In a terminal: `kaggle push` with the options of `build`; `kaggle status --follow --samples`, which ends with a pull.
# A pull never replaces a good file by a wrong one, and fetches only what is not there yet.
#
# The session's log comes while it runs. `watch.watch` makes a panel of it: a bar with the remaining time and the
# losses, the newest sample grid, the last lines. Here it is fed with the log of the rehearsal, as far as the first
# epoch. **Before you run: from which of the printed lines does it know how much time is left?**

# %% tags=["nbval-ignore-output", "timing"]
panel = watch.Panel()
for line in lines:
    panel.line(line)
    if line.startswith("sample grid: "):
        panel.grid(run / line.removeprefix("sample grid: "))
        break
display(panel)

# %% [markdown]
# Look for: the line of an epoch has its number, how many there are, and the time so far; so half of it is left. Whether
# Kaggle gives the grids of a session that still runs is not known here: if not, `watch` says so, and shows the last one
# at the end.

# %%
if PUSH:
    print(client.push(folder))
    watch.watch(kernel.id, Path("runs/pix2pix-maps"), samples=True)

# %% [markdown]
# ## Go on
#
# A session ends after 12 hours (9 on a TPU). Training stops in time, and the next part goes on from the attached output
# of the one before, to the weights that one long run would have had. In a terminal: `python -m p2plib kaggle resume`

# %%
part = kernel.next_part()
print(part.id.partition("/")[2], "goes on from", *[source.partition("/")[2] for source in part.kernel_sources])
if PUSH:
    print(client.push(build(config, part, folder)))

# %% [markdown]
# ## In the browser, without this command
#
# 1. On kaggle.com: Create, New Notebook; then File, Import Notebook, and the built `p2plib-training.ipynb`.
# 2. At the right, Add Input: the data set that the check above names, or your own pairs as a data set.
# 3. Session options, Accelerator: GPU T4 x2.
# 4. Save Version, Save & Run All. What training makes is under Output when it has ended.
#
# What was never tried from here is Kaggle itself: no account was at hand. The notebook was run with Kaggle's versions,
# in folders laid out like Kaggle's, and the `kaggle` command against a server of the tests. How long an epoch takes on
# a T4 is not known; the log shows it after the first one.
#
# ## Exercises
#
# Guess first, then open the folded cell (in JupyterLab, click the bar at its left).
#
# **1.** The recipe has batches of 4. How large are they on one GPU, on two, on three, and on eight TPU cores?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
for devices in (1, 2, 3, 8):
    batch = config.for_devices(devices).batch_size
    print(f"{devices} devices: batches of {batch}, {batch // devices} pairs for each")

# %% [markdown]
# **2.** The whole library travels inside the notebook. How large is that file: 30 KB, 300 KB, 3 MB?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution", "nbval-ignore-output"]
import p2plib

size = (folder / "p2plib-training.ipynb").stat().st_size
source = sum(path.stat().st_size for path in Path(p2plib.__file__).parent.rglob("*.py"))
print(f"{size / 1000:.0f} KB; the library's source code alone is {source / 1000:.0f} KB, before it is packed")

# %% [markdown]
# **3.** A training needs 40 hours on two T4. How many parts does that make, and how many weeks of Kaggle's 30 hours?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
hours = session.HOURS - session.MARGIN / 3600  # of training in a session; the margin is for saving everything
print(f"{-(-40 // hours):.0f} parts of {hours} hours, in {-(-40 // 30)} weeks")

# %% [markdown]
# ## What to try next
#
# - Set `PUSH = True`, or use the terminal: `python -m p2plib kaggle push --data maps --direction BtoA`.
# - `--accelerator tpu`: the same run on eight TPU cores, through JAX.
# - When the run is home: `P2P_RUN=runs/pix2pix-maps` in `05_results` shows it.
