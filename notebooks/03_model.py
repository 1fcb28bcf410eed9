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
# # The model
#
# Why pix2pix has two networks; the two, built step by step: their shapes, where the skips go, what the discriminator
# sees of an image; and the objective and the step that train both. Takes about 45 seconds on two CPU cores.

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

FULL = os.environ.get("P2P_FULL") == "1"  # the real thing: downloads facades, 30 MB
DATA = "facades" if FULL else "toy"  # any name that `python -m p2plib data list` shows

# %% [markdown]
# The networks that are built here are those of the paper (`recipe="paper"`), at full size: 256x256 pixels, 64 filters
# in the first layer. The images in the stored outputs are those of the toy set, and the trained networks are the small
# ones that come with p2plib.

# %%
import inspect
from dataclasses import replace

import numpy as np

from p2plib import TrainConfig, load, runtime, train, translate
from p2plib.data import catalog, download, toy
from p2plib.data.dataset import open_dataset
from p2plib.data.image import resize_image, to_float, to_uint8
from p2plib.show import figures
from p2plib.show.fields import fields

# %% [markdown]
# ## Why adversarial?
#
# Forget images for a moment. A network is to answer with one number, and two kinds of answers are right: a roof may be
# dark, near -2, or light, near 1. Light ones are a little more common. **Before you run: which number do you expect if
# the loss is the squared distance (L2) to the right answers? If it is the absolute distance (L1)?**
#
# Three learners take the same small steps. The third asks a judge. The judge is a table of scores for places on the
# line: it raises them where real answers lie, and lowers them where the learner's lie. The learner moves uphill.

# %%
rng = np.random.default_rng(0)
places, width = np.linspace(-4, 4, 81), 0.25


def near(values):
    """How near each value is to each place of the judge's table."""
    return np.exp(-((values[:, None] - places) ** 2) / (2 * width**2))


def judge(values):
    """The probability that a value is a real answer, as the judge sees it."""
    return 1 / (1 + np.exp(-near(values) @ scores))


# %%
l2, l1, gan, scores = 0.0, 0.0, -0.2, np.zeros(len(places))
for _ in range(4000):
    real = np.where(rng.random(64) < 0.4, -2, 1) + 0.3 * rng.normal(size=64)
    fake = gan + 0.3 * rng.normal(size=64)
    l2 += 0.02 * np.mean(real - l2)
    l1 += 0.02 * np.mean(np.sign(real - l1))
    scores += 0.4 * ((1 - judge(real)) @ near(real) - judge(fake) @ near(fake)) / 64
    uphill = (near(fake) * (places - fake[:, None]) / width**2) @ scores
    gan += 0.02 * np.mean((1 - judge(fake)) * uphill)
print(f"L2 {l2:.1f}, L1 {l1:.1f}, GAN {gan:.1f}")

# %%
many = np.where(rng.random(20000) < 0.4, -2, 1) + 0.3 * rng.normal(size=20000)
figures.answers(many, {"L2": l2, "L1": l1, "GAN": gan})

# %% [markdown]
# Look for: L2 ends at the mean, where no right answer lies: an image made of such pixels is a gray blur. L1 ends at the
# median, which lies at the edge of the larger hump. The GAN ends in the middle of a hump, an answer that could be
# real. It chose one and forgets the other: pix2pix, too, gives one answer for one source.
#
# ## What a judge sees that L1 does not
#
# Take a real image and spoil it in two ways: blur it, or shift it by two pixels. **Guess: which of the two is farther
# from the original by L1? Which would you rather get?** The judge is the discriminator that comes with p2plib beside
# the generator `toy-satellite`.

# %% tags=["nbval-ignore-output"]
runtime.start()  # chooses TensorFlow or JAX, before Keras is imported

# %%
from p2plib.training.discriminator import Discriminator, load_discriminator, patch_realness, wishes

critic = load_discriminator("toy-satellite")
pairs = [toy.city(100_000 + i, 128) for i in range(8)]  # numbers beyond those that it was trained on
photos, drawings = (np.stack([pair[side] for pair in pairs]) for side in (0, 1))
blurred = np.stack([resize_image(resize_image(photo, 32, 32), 128, 128) for photo in photos])
shifted = np.roll(photos, 2, axis=2)

# %%
spoiled = {"original": photos, "blurred": blurred, "shifted by 2 pixels": shifted}
for name, images in spoiled.items():
    far = np.abs(to_float(images) - to_float(photos)).mean()
    print(
        f"{name:20} L1 {far:.2f}   real, says the discriminator: {patch_realness(critic, drawings, images).mean():.0%}"
    )

# %%
figures.image_grid({"source": drawings[:2]} | {name: images[:2] for name, images in spoiled.items()})

# %% [markdown]
# Look for: L1 prefers the blur, which nobody would take for a photo. The discriminator sees at once that it is none,
# and finds nothing wrong with the shifted one.
#
# ## Why the judge sees the source
#
# A judge that saw only the target would pass any realistic photo, whatever the source asks for. So the discriminator of
# pix2pix gets both, source and target, and judges the pair: the GAN is *conditional*. Here is the one of `toy-map`,
# with maps that belong to the photo, and with real maps of another place.

# %%
critic_of_maps = load_discriminator("toy-map")
for name, maps in {"its own map": drawings, "another's map": np.roll(drawings, 1, axis=0)}.items():
    print(f"{name:14} real: {patch_realness(critic_of_maps, photos, maps).mean():.0%}")

# %%
columns = {"its own map": drawings[:2], "another's map": np.roll(drawings, 1, axis=0)[:2]}
figures.patch_map({name: (maps, patch_realness(critic_of_maps, photos[:2], maps)) for name, maps in columns.items()})

# %% [markdown]
# Look for: every map here is a real one. In the first row, the discriminator notices that the other map does not belong
# to the photo. In the second row it does not, since it is small and a good-looking map goes a long way with it. A judge
# without the source could never notice.
#
# Now to the networks themselves.

# %%
import keras
from keras import layers

from p2plib.models import build_discriminator, build_generator, patchgan, stages
from p2plib.registry import GAN_LOSSES, GENERATORS, TERMS
from p2plib.training.pix2pix import Pix2Pix

keras.utils.set_random_seed(0)

# %%
if catalog.find(DATA).url:
    download.get(DATA)
config = TrainConfig(data=DATA, recipe="paper")
dataset = open_dataset(config)
sources, targets, _, _ = dataset["train"].load(limit=2)
names = dataset.names
print(f"{names[0]} to {names[1]}, {sources.shape}")

# %% [markdown]
# ## The generator: down to one pixel and back up
#
# An encoder halves the image again and again, by 4x4 convolutions with stride 2. What is left at the bottom is one
# pixel with 512 channels. It tells what the image shows, and hardly anything about where.

# %%
x = image = keras.Input((256, 256, 3))
encoder = []
for filters in (64, 128, 256, 512, 512, 512, 512, 512):
    x = layers.LeakyReLU(0.2)(layers.Conv2D(filters, 4, 2, "same")(x))
    encoder.append(x)
print(*[tensor.shape[1:] for tensor in encoder], sep="\n")

# %% [markdown]
# A decoder doubles it again, by transposed convolutions. Where things are comes back through the *skips*: each stage of
# the decoder is joined with the stage of the encoder that has its size. That is the U in U-Net.

# %%
for skip in reversed(encoder[:-1]):
    x = layers.Conv2DTranspose(skip.shape[-1], 4, 2, "same", activation="relu")(x)
    x = layers.Concatenate()([x, skip])
    print(x.shape[1:])
bare = keras.Model(image, layers.Conv2DTranspose(3, 4, 2, "same", activation="tanh")(x))
print(bare.output_shape[1:])

# %% [markdown]
# `p2plib`'s generator is this one, with normalization and dropout. The table is read from the built network.

# %%
generator = build_generator(config)
print(stages.table(generator))

# %%
figures.u_net(stages.stages(generator))

# %% [markdown]
# Look for: a skip at every size but the smallest. The outermost one carries half the resolution, so that edges of the
# source can end up in the target at their exact place. Most weights are at 4x4 to 16x16 pixels: the layers have 512 or
# 1,024 channels there, and at 1x1 there is only one such layer.
#
# Three things the bare network lacks:
#
# - **Normalization.** Instance normalization: each image by its own mean and spread. The paper trains with batch size 1
#   and uses the batch's statistics in use too, which is the same thing. There is none at the 1x1 bottleneck, where it
#   would set everything to zero. Keras has no layer of that name: it is `GroupNormalization` with one group for each
#   channel (`groups=-1`), and so the list below calls it.
# - **Dropout** in the three innermost stages of the decoder: the paper's only source of noise. The paper leaves it on
#   in use. Here it is off in use, so that one source gives one image, unless a seed turns it on.
# - **Weights** drawn from a normal distribution with standard deviation 0.02.

# %%
kinds = [type(layer).__name__ for layer in generator.layers]
for kind in sorted(set(kinds)):
    print(f"{kinds.count(kind):3} {kind}")

# %% [markdown]
# ## The discriminator: a PatchGAN
#
# It sees the source and a target, real or generated, and answers for every patch of the pair by itself: does this look
# real? L1 already takes care of the large scale, so judging patches is enough, and takes far fewer weights.

# %%
discriminator = build_discriminator(config)
print(stages.table(discriminator))

# %% [markdown]
# How large is a patch? Each logit sees a square of the image: its *receptive field*. It follows from the kernels and
# strides of the layers, and the network can be asked.

# %%
patches = {}
for side in (286, 70, 16, 1):
    network = build_discriminator(replace(config, receptive_field=side, base_filters=1))
    middle = network.output_shape[1] // 2
    patches[f"{side}x{side}"] = patchgan.patch(network, middle, middle)
    print(f"{side:3} pixels: logits {network.output_shape[1:3]}, the middle one sees {patches[f'{side}x{side}']}")

# %%
figures.receptive_fields(targets[0], patches)

# %% [markdown]
# Look for: what fits into a 70x70 patch, the paper's choice. A pixel has no texture to judge; 16 pixels give sharp
# patches that do not go together; 286 pixels reach beyond the image, into its padding, and cost more weights.
#
# Is the arithmetic right? Change the image outside the square, then one corner pixel inside, and see whether the
# logit moves. (Without normalization: with it, every patch also knows the mean and spread of the whole image.)

# %%
network = build_discriminator(replace(config, norm="none"))
top, left, side = patchgan.patch(network, 15, 15)
source, target = to_float(sources[:1]), to_float(targets[:1])
outside, corner = -target, target.copy()
outside[:, top : top + side, left : left + side] = target[:, top : top + side, left : left + side]
corner[:, top, left] *= -1
before, far, near = (np.asarray(network([source, t]))[0, 15, 15, 0] for t in (target, outside, corner))
print("everything outside changed, the logit moves:", bool(far != before))
print("one corner pixel inside changed, it moves:", bool(near != before))

# %% [markdown]
# ## How many weights?
#
# The layers that the paper lists come to 54.4 and 2.77 million.

# %%
for network in (generator, discriminator):
    print(f"{network.name:13} {network.count_params():>12,}  {network.count_params() / 1e6:.2f} M")

# %% [markdown]
# ## Before training
#
# What do the untrained networks make of an image?

# %%
generated = to_uint8(generator.predict_on_batch(to_float(sources)))
figures.result_grid(sources, generated, targets, names)

# %%
untrained = Discriminator(discriminator, config)
columns = {f"generated {names[1]}": generated[:1], f"expected {names[1]}": targets[:1]}
figures.patch_map({name: (shown, patch_realness(untrained, sources[:1], shown)) for name, shown in columns.items()})

# %% [markdown]
# Look for: gray noise with the grid of the transposed convolutions in it, and opinions that mean nothing yet: the
# discriminator gives what is generated and what is real the same mean. Each square of the overlay is one logit; the
# patch that it judges is larger, so neighbors overlap.
#
# ## The objective
#
# The discriminator $D$ learns to tell real pairs from generated ones; the generator $G$ learns to deceive it and to
# stay close to the expected image (Isola et al. 2017, equations 1, 3 and 4):
#
# $$G^* = \arg\min_G \max_D \; \mathbb{E}_{x,y}[\log D(x, y)] + \mathbb{E}_x[\log(1 - D(x, G(x)))]
# + \lambda \, \mathbb{E}_{x,y}[\lVert y - G(x) \rVert_1], \quad \lambda = 100$$
#
# As in the paper, $G$ in fact maximizes $\log D(x, G(x))$, which gives stronger gradients while $D$ is ahead, and the
# loss of $D$ is halved. In the library this is one scalar, written once:

# %%
print(inspect.getsource(Pix2Pix.compute_loss))
print(inspect.getsource(Pix2Pix.discriminate))

# %% [markdown]
# Look for: `stop_gradient` around the generated image, so that the discriminator's loss does not train the generator,
# and around the discriminator's weights in `judged`, so that the generator's loss does not train the discriminator.
# With the two cut apart, a single optimizer step on the sum is one step for each.
#
# The paper's sum has three terms, each a function of this step:

# %%
for name in ("l1", "gan", "discriminator"):
    print(inspect.getsource(TERMS[name]))
print(inspect.getsource(GAN_LOSSES["vanilla"]))

# %% [markdown]
# What are the losses before the first step? A discriminator that says 1/2 to everything has $-\log 1/2 = 0.693$ in
# both GAN losses.

# %% tags=["nbval-ignore-output"]
model = Pix2Pix(generator, discriminator)
x, y = (keras.ops.convert_to_tensor(image) for image in (source, target))
model.compute_loss(x, y, model(x))
for name, mean in model.trackers.items():
    print(f"{name:13} {float(mean.result()):.3f}")

# %% [markdown]
# Look for: GAN losses above 0.693, since the untrained logits scatter, and a confident mistake costs more than a
# confident guess gains.
#
# Three things share this number, and it helps to have them in one table: the logit $z$ that the network puts out, the
# probability $D$ that it stands for, and the loss for a real pair, which is also the generator's.

# %%
print("logit z   D = sigmoid(z)   -log D   softplus(-z)")
for z in (-4.0, -2.0, 0.0, 2.0, 4.0):
    probability = 1 / (1 + np.exp(-z))
    print(f"{z:7.0f} {probability:16.3f} {-np.log(probability):8.3f} {np.log1p(np.exp(-z)):14.3f}")

# %% [markdown]
# Look for: the last two columns are equal: $-\log\,\mathrm{sigmoid}(z) = \mathrm{softplus}(-z)$. The library computes
# the last one, which loses no digits where $D$ is near 0 or 1.
#
# What does a loss of $D$ tell in training? At 0.693 for good, $D$ is undecided: it may have learned nothing, the
# generator may be winning, or, in theory, both are done, since nobody can tell real from generated. Near zero, $D$ is
# sure of everything. The generator still gets a gradient, because its loss is $-\log D$ and grows then; but it is a
# gradient away from being caught, from a judge whom no small change impresses, and so it helps little. Look at the
# images.
#
# ## One step, in stock Keras
#
# The training step of the paper, with nothing but `keras.Model`s. `both` is the generator with the discriminator behind
# it: only the generator learns there. The discriminator learns first, then the generator, in turns.

# %%
plain = TrainConfig(recipe="paper", image_size=32, base_filters=8, receptive_field=16)
G, D = build_generator(plain), build_discriminator(plain)
cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
D.compile(keras.optimizers.Adam(2e-4, beta_1=0.5), cross_entropy, loss_weights=0.5)
D.trainable = False
picture = keras.Input((32, 32, 3))
both = keras.Model(picture, [D([picture, G(picture)]), G(picture)])
losses = [cross_entropy, "mean_absolute_error"]
both.compile(keras.optimizers.Adam(2e-4, beta_1=0.5), losses, loss_weights=[1, 100])
real, fake = np.ones((1, *D.output_shape[1:])), np.zeros((1, *D.output_shape[1:]))


# %%
def one_step(source, target):
    pairs = [np.concatenate([source, source]), np.concatenate([target, G.predict_on_batch(source)])]
    D.trainable = True
    loss = D.train_on_batch(pairs, np.concatenate([real, fake]))
    D.trainable = False
    return loss, *both.train_on_batch(source, [real, target])[1:]


# %% tags=["nbval-ignore-output"]
little = [np.stack([resize_image(image, 32, 32) for image in images]) for images in (photos, drawings)]
for step in range(41):
    one = slice(step % 8, step % 8 + 1)
    numbers = one_step(*(to_float(images[one]) for images in little))
    if step % 10 == 0:
        print(f"step {step:2}: D's loss {numbers[0]:.3f}, G's GAN loss {numbers[1]:.3f}, L1 {numbers[2]:.3f}")

# %% [markdown]
# The library does the same, and this is what it adds:
#
# - **Both learn at once**, from the same generated images, in one pass. The paper takes turns, so that $G$ meets a $D$
#   that is one step ahead. One step of 0.0002 makes hardly a difference; what matters is that $G$ never learns from a
#   $D$ that is half updated, and a test watches over that.
# - It is a `keras.Model` with `compile` and `fit`: callbacks, several devices, mixed precision and XLA come with it.
# - Training stops at any step and goes on as if nothing had happened; validation, samples, checkpoints, records.
# - Further terms of the objective by name, and a moving average of the weights.
#
# ## What the discriminator tells the generator
#
# A loss reaches the generator as a gradient on the image that it made: how should each value change? Below, gray means
# no change. **Guess: L1 knows the expected image. The discriminator does not. Which of the two asks for a texture?**

# %% tags=["nbval-ignore-output"]
painter = load("toy-satellite")
made = np.stack(translate(painter, list(drawings[:1])))

# %%
change = wishes(critic, drawings[:1], photos[:1], made)
wanted = {"L1 asks for": change["l1"], "the GAN asks for": change["gan"]}
columns = {"generated": made, "expected": photos[:1]}
figures.image_grid(columns | {name: figures.as_colors(values) for name, values in wanted.items()})

# %% [markdown]
# Look for: L1 asks every value for the same, one step up or down, wherever it is wrong: it follows the expected image,
# grain by grain, which no generator can know in advance. The GAN asks for fine texture, more of it in some places than
# in others, and leaves the colors of large areas alone. It has no expected image to copy from; it asks for what real
# photos look like.
#
# Point at the right image: which part of both images does one logit see, and what does it say? (Tab moves on, a touch
# is a point. This needs no kernel.)

# %%
fields(critic, drawings[0], made[0])

# %% [markdown]
# ## What has been learned since 2017
#
# The default recipe, `modern`, keeps all of the above and changes a few settings. `TrainConfig(recipe="paper")` has the
# paper's.

# %%
from p2plib.recipes import RECIPES

for name, value in RECIPES["modern"].items():
    print(f"{name:12} {value!s:22} (paper: {RECIPES['paper'][name]})")

# %% [markdown]
# - **A perceptual loss** (Zhang et al. 2018): a small network that was trained to recognize things, and stays as it is,
#   looks at the generated and at the expected image. The term is the distance of what it sees. It asks for edges and
#   textures in the right places, where L1 asks for the mean color and so for blur.
# - **A moving average** of the generator's weights, `ema`: training jumps about, since the two players push each other.
#   The average is calmer, and it is what is validated, saved and used.
# - **Resize-convolutions** (Odena et al. 2016): enlarge, then convolve. The grid of the untrained images above is gone.
# - **`lean`**: a U-Net that stops at 8x8, with residual blocks there. The stages below hold most of the paper's weights
#   and little of its work.
# - A **learning rate** that falls to zero over the second half of the training. Both recipes do that, as the authors'
#   code did.

# %%
print(inspect.getsource(TERMS["perceptual"]))
lean = build_generator(TrainConfig(data=DATA))
print(stages.table(lean))

# %% [markdown]
# Look for: a third of the weights. Which part brings what? `python benchmarks/quality.py` trains with and without each
# for equal time; `docs/results.md` has the table.
#
# ## A generator of your own
#
# A function that builds a `keras.Model` becomes a generator by its name: for `TrainConfig`, checkpoints, the web app.
# Loss terms, discriminators, tasks and metrics are registered the same way (`p2plib.registry`).


# %%
@GENERATORS.register("tiny")
def tiny(*, image_size, base_filters, **settings):
    source = keras.Input((image_size, image_size, 3))
    x = layers.Conv2D(base_filters, 9, padding="same", activation="relu", name="see")(source)
    return keras.Model(source, layers.Conv2D(3, 1, activation="tanh", dtype="float32", name="paint")(x))


# %% tags=["nbval-ignore-output"]
small = {"image_size": 32, "base_filters": 8, "receptive_field": 16, "batch_size": 16}
mine = TrainConfig(data="toy", generator="tiny", epochs=2, decay_epochs=0, **small)
model = load(train(mine))
print(model.info.config.generator, model.generator.count_params(), "weights, epoch", model.info.epoch)

# %% [markdown]
# ## Exercises
#
# Guess first, then open the folded cell (in JupyterLab, click the bar at its left).
#
# **1.** How many weights has the first layer of the paper's generator: 4x4 kernels from 3 channels to 64?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
4 * 4 * 3 * 64 + 64, generator.get_layer("down1_conv").count_params()  # 64 are the biases

# %% [markdown]
# **2.** The 70-pixel discriminator has three layers of stride 2 and two of stride 1, all with 4x4 kernels. How large is
# the field if one of the strided layers is left out?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
for strided in (1, 2, 3):
    field = 1
    for stride in [1, 1] + [2] * strided:  # from the logit back to the image
        field = (field - 1) * stride + 4
    print(f"{strided} layers of stride 2: {field} pixels")

# %% [markdown]
# **3.** L1 is 0.1 and the generator's GAN loss 0.7. Which share of the paper's objective is L1? And what does that say
# about a run whose total loss falls?

# %% jupyter={"outputs_hidden": true, "source_hidden": true} tags=["solution"]
share = 100 * 0.1 / (100 * 0.1 + 1 * 0.7)
print(f"{share:.0%}: the total follows L1, and says next to nothing about the GAN")

# %% [markdown]
# ## What to try next
#
# - `TrainConfig(generator="resnet9")`: no U, no skips, nine residual blocks. `stages.table` shows it.
# - `upsampling="resize"` replaces the transposed convolutions. Compare the untrained images: the grid is gone.
# - `receptive_field=16` or `286`: which mistakes could such a discriminator not see?
# - Next notebook: `04_training`, both networks at work.
