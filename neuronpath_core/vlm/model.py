"""The embedded vision-language model: transformers' own Llava class with small numbers, its
processor and its weights.

A CLIP tower reads 8 by 8 patches, a projector takes them to the width of a Llama decoder, which
reads ``<bos> user : <image>… request assistant : answer <eos>``.  No class here is our own, so that
the way to ``llava-hf/llava-1.5-7b-hf`` is the same code.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from neuronpath_core.support.text import one_line, shown
from neuronpath_core.vlm.scenes import SIZE, Scene
from neuronpath_core.vlm.tokens import (
    ASSISTANT,
    BOS,
    COLON,
    EOS,
    IMAGE,
    PAD,
    POSITIONS,
    USER,
    check_installed,
    tokenizer,
    vocabulary,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float
    from transformers import LlavaForConditionalGeneration, LlavaProcessor

TOWER = {"image_size": SIZE, "patch_size": 8, "hidden_size": 72, "num_hidden_layers": 6,
         "num_attention_heads": 4, "intermediate_size": 288, "projection_dim": 72}
DECODER = {"hidden_size": 96, "num_hidden_layers": 8, "num_attention_heads": 4,
           "num_key_value_heads": 4, "intermediate_size": 320}
CHAT = ("{% for message in messages %}{% if message.role == 'user' %}" + f"{USER} {COLON} "
        "{% for part in message.content %}{% if part.type == 'image' %}" + f"{IMAGE} "
        "{% else %}{{ part.text }} {% endif %}{% endfor %}{% else %}" + f"{ASSISTANT} {COLON} "
        "{{ message.content[0].text }} " + f"{EOS} "
        "{% endif %}{% endfor %}{% if add_generation_prompt %}" + f"{ASSISTANT} {COLON}"
        "{% endif %}")


def build(seed: int = 0, tower: dict[str, Any] | None = None, decoder: dict[str, Any] | None = None
          ) -> LlavaForConditionalGeneration:
    """The model with random weights, in float32 on the CPU, as transformers draws them.

    Args:
        seed: of the weights; PyTorch's generator is left as it was.
        tower, decoder: other settings than ``TOWER`` and ``DECODER``, for smaller models.

    Raises:
        ValueError: transformers is not installed, or a setting that it refuses.
    """
    check_installed()
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )

    numbers, sizes = vocabulary(), {**TOWER, **(tower or {})}
    try:
        text = LlamaConfig(vocab_size=len(numbers), max_position_embeddings=POSITIONS,
                           tie_word_embeddings=False, pad_token_id=numbers[PAD],
                           bos_token_id=numbers[BOS], eos_token_id=numbers[EOS],
                           **{**DECODER, **(decoder or {})})
        config = LlavaConfig(vision_config=CLIPVisionConfig(**sizes), text_config=text,
                             image_token_id=numbers[IMAGE], projector_hidden_act="gelu",
                             vision_feature_select_strategy="default", vision_feature_layer=-1,
                             image_seq_length=(sizes["image_size"] // sizes["patch_size"]) ** 2,
                             tie_word_embeddings=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return LlavaForConditionalGeneration(config).eval()
    except Exception as error:  # what a setting raises is up to transformers
        raise ValueError(f"no model of tower {shown(tower)} and decoder {shown(decoder)}: "
                         f"{one_line(error, 160)}; accepted: settings of CLIPVisionConfig and "
                         "LlamaConfig that fit one another") from error


def processor(size: int = SIZE, patch: int = 8) -> LlavaProcessor:
    """What turns scenes and words into the model's input: transformers' LlavaProcessor.

    Pixels are scaled to [-1, 1]; an image token of the text becomes one for every patch.

    Raises:
        ValueError: transformers is not installed.
    """
    check_installed()
    from transformers import CLIPImageProcessor, LlavaProcessor

    middle = [0.5, 0.5, 0.5]
    images = CLIPImageProcessor(do_resize=False, do_center_crop=False, do_convert_rgb=True,
                                size={"height": size, "width": size}, image_mean=middle,
                                image_std=middle)
    return LlavaProcessor(image_processor=images, tokenizer=tokenizer(), patch_size=patch,
                          vision_feature_select_strategy="default", num_additional_image_tokens=1,
                          image_token=IMAGE, chat_template=CHAT)


def pixel_values(scenes: Sequence[Scene]) -> Float[Tensor, "scene 3 height width"]:
    """Scenes as the processor gives them to the tower, float32 in [-1, 1]."""
    pixels = torch.stack([torch.from_numpy(scene.pixels) for scene in scenes])
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def save_weights(model: nn.Module, file: Path, half: bool = True) -> None:
    """Write the weights as safetensors, in half precision unless told otherwise."""
    from safetensors.torch import save_file

    save_file({name: (value.half() if half else value).contiguous()
               for name, value in model.state_dict().items()}, file)


def load_weights(file: str | Path, tower: dict[str, Any] | None = None,
                 decoder: dict[str, Any] | None = None) -> LlavaForConditionalGeneration:
    """The model with the weights of a file, in float32.

    Raises:
        ValueError: no such file, one that is not safetensors, or weights of another model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    model = build(tower=tower, decoder=decoder)
    try:
        found = load_file(file)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{shown(str(file))} cannot be read: {one_line(error, 120)}; accepted: a "
                         "safetensors file of the vision-language model") from error
    own = model.state_dict()
    unlike = [name for name in {**own, **found} if name not in own or name not in found
              or own[name].shape != found[name].shape]
    if unlike or not all(value.isfinite().all() for value in found.values()):
        raise ValueError(f"{shown(str(file))} has other weights than the model"
                         f"{f', such as {sorted(unlike)[0]}' if unlike else ', some not finite'}; "
                         "accepted: finite ones for each of its parameters")
    model.load_state_dict({name: value.to(own[name].dtype) for name, value in found.items()})
    return model
