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
# The two networks of pix2pix, built step by step: their shapes, where the skips go, what the discriminator sees of an
# image, and the objective that trains both. Takes about 20 seconds on two CPU cores.

# %% tags=["parameters"]
import os

FULL = os.environ.get("P2P_FULL") == "1"  # the real thing: downloads facades, 30 MB
DATA = "facades" if FULL else "toy"  # any name that `python -m p2plib data list` shows

# %% [markdown]
# The networks here are those of the paper (`recipe="paper"`), at full size: 256x256 pixels, 64 filters in the first
# layer. Only the images are those of the toy set in the stored outputs.

# %%
import inspect
from dataclasses import replace

import numpy as np

from p2plib import TrainConfig, load, runtime, train
from p2plib.data import catalog, download
from p2plib.data.dataset import open_dataset
from p2plib.data.image import to_float, to_uint8
from p2plib.show import figures

# %% tags=["nbval-ignore-output"]
plan = runtime.start()  # chooses TensorFlow or JAX, before Keras is imported

# %%
import keras
from keras import layers

from p2plib.models import build_discriminator, build_generator, patchgan, stages
from p2plib.registry import GAN_LOSSES, GENERATORS, TERMS
from p2plib.training.discriminator import Discriminator, patch_realness
from p2plib.training.pix2pix import Pix2Pix

keras.utils.set_random_seed(0)

# %%
if catalog.find(DATA).url:
    download.get(DATA)
config = TrainConfig(data=DATA, recipe="paper")
dataset = open_dataset(config)
sources, targets = np.moveaxis(dataset["train"].load(limit=2).images, 1, 0)
names = dataset.names
print(f"{names[0]} to {names[1]}, {sources.shape}")

# %% [markdown]
# ## The generator: down to one pixel and back up
#
# An encoder halves the image again and again, by 4x4 convolutions with stride 2. What is left at the bottom is one
# pixel with 512 channels: what the image shows, with hardly any where.

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
# source can end up in the target at their exact place. The most weights sit where the image is smallest.
#
# Three things the bare network lacks:
#
# - **Normalization.** Instance normalization: each image by its own mean and spread. The paper trains with batch
#   size 1 and uses the batch's statistics in use too, which is the same thing. There is none at the 1x1 bottleneck,
#   where it would set everything to zero.
# - **Dropout** in the three innermost stages of the decoder: the paper's only source of noise. It is off in use, unless
#   a seed turns it on.
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
columns = {
    f"generated {names[1]}": (generated, patch_realness(untrained, sources, generated)),
    f"expected {names[1]}": (targets, patch_realness(untrained, sources, targets)),
}
figures.patch_map(columns)

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
# confident guess gains. In training, a discriminator that stays at 0.693 for good has learned nothing; one that falls
# to zero leaves the generator no usable gradient. In between, the two keep each other busy.
#
# ## What has been learned since 2017
#
# The default recipe, `modern`, keeps all of the above and changes a few settings. `TrainConfig(recipe="paper")` has the
# paper's.

# %%
from p2plib.config import RECIPES

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
small = {"image_size": 32, "base_filters": 8, "receptive_field": 16, "batch_size": 20}
mine = TrainConfig(data="toy", generator="tiny", epochs=2, decay_epochs=0, **small)
model = load(train(mine))
print(model.info.config.generator, model.generator.count_params(), "weights, epoch", model.info.epoch)

# %% [markdown]
# ## What to try next
#
# - `TrainConfig(generator="resnet9")`: no U, no skips, nine residual blocks. `stages.table` shows it.
# - `upsampling="resize"` replaces the transposed convolutions. Compare the untrained images: the grid is gone.
# - `receptive_field=16` or `286`: which mistakes could such a discriminator not see?
# - Next notebook: `04_training`, both networks at work.
