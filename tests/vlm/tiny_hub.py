"""Folders in the shape of hub repositories with tiny random models of the very classes, their
processors, and photographs made of noise with captions."""

import json

import numpy as np
from PIL import Image

from neuronpath_core.vlm.model import build, processor
from neuronpath_core.vlm.tokens import BOS, EOS, PAD, UNKNOWN, vocabulary
from tests.vlm.planted import SMALL

TEXT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 2, "intermediate_size": 10}
CAPTIONS = ("a red striped star is at the top left .", "the background is plain and dark grey .",
            "there are two shapes .", "a blue solid circle is at the bottom right .")
HUBS = {"LlavaForConditionalGeneration": "llava-hf/llava-1.5-7b-hf",
        "InternVLForConditionalGeneration": "OpenGVLab/InternVL3-8B-hf",
        "Qwen2_5_VLForConditionalGeneration": "Qwen/Qwen2.5-VL-7B-Instruct"}
TURN = ("{% for message in messages %}user : {% for part in message.content %}"
        "{% if part.type == 'image' %}IMAGE {% else %}{{ part.text }} {% endif %}{% endfor %}"
        "{% endfor %}{% if add_generation_prompt %}assistant :{% endif %}")


def tokenizer(**special):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    numbers = {**vocabulary()}
    for token in special.values():
        numbers.setdefault(token, len(numbers))
    inner = Tokenizer(WordLevel(numbers, unk_token=UNKNOWN))
    inner.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token=PAD, bos_token=BOS,
                                   eos_token=EOS, unk_token=UNKNOWN, extra_special_tokens=special,
                                   padding_side="right")


def llava(folder):
    build(0, *SMALL).save_pretrained(folder)
    processor().save_pretrained(folder)


def internvl(folder):
    from transformers import (
        GotOcr2ImageProcessor,
        InternVLConfig,
        InternVLForConditionalGeneration,
        InternVLProcessor,
        InternVLVideoProcessor,
    )

    own = tokenizer(start_image_token="<img>", end_image_token="</img>",
                    context_image_token="<IMG_CONTEXT>", video_token="<video>")
    number = own.convert_tokens_to_ids("<IMG_CONTEXT>")
    config = InternVLConfig(
        vision_config={"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
                       "intermediate_size": 12, "image_size": [56, 56], "patch_size": [14, 14]},
        text_config={"model_type": "qwen2", "vocab_size": len(own), **TEXT},
        image_token_id=number, downsample_ratio=0.5)
    InternVLForConditionalGeneration(config).save_pretrained(folder)
    size = {"height": 56, "width": 56}
    InternVLProcessor(GotOcr2ImageProcessor(size=size, crop_to_patches=False), own,
                      InternVLVideoProcessor(size=size), image_seq_length=4,
                      chat_template=TURN.replace("IMAGE", "<IMG_CONTEXT>")).save_pretrained(folder)


def qwen(folder):
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    own = tokenizer(vision_start="<|vision_start|>", vision_end="<|vision_end|>",
                    image_token="<|image_pad|>", video_token="<|video_pad|>")
    start, number, video = own.convert_tokens_to_ids(["<|vision_start|>", "<|image_pad|>",
                                                      "<|video_pad|>"])
    config = Qwen2_5_VLConfig(
        vision_config={"hidden_size": 16, "depth": 2, "num_heads": 2, "intermediate_size": 12,
                       "patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2,
                       "out_hidden_size": 16, "window_size": 16, "fullatt_block_indexes": [1]},
        text_config={"vocab_size": len(own), **TEXT, "rope_parameters": {
            "rope_type": "default", "mrope_section": [2, 1, 1]}},
        image_token_id=number, vision_start_token_id=start, video_token_id=video)
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    sizes = {"patch_size": 4, "merge_size": 2, "temporal_patch_size": 2,
             "size": {"shortest_edge": 256, "longest_edge": 4096}}
    Qwen2_5_VLProcessor(Qwen2VLImageProcessor(**sizes), own, Qwen2VLVideoProcessor(**sizes),
                        chat_template=TURN.replace("IMAGE", "<|vision_start|> <|image_pad|> "
                                                            "<|vision_end|>")
                        ).save_pretrained(folder)


BUILDERS = dict(zip(HUBS, (llava, internvl, qwen), strict=True))


def weights(folder, family):
    """A tiny model of a family in ``folder``; its place below it."""
    place = folder / HUBS[family]
    place.mkdir(parents=True)
    BUILDERS[family](place)
    return place


def photographs(folder, count, layout="llava", size=(64, 64)):
    """So many images of noise in ``folder/images`` with captions in ``folder/captions.json``."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f"{number:03d}.png" for number in range(count)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(folder / "images" / name)
    said = [CAPTIONS[number % len(CAPTIONS)] for number in range(count)]
    if layout == "llava":
        content = [{"image": name, "conversations": [{"value": "?"}, {"value": caption}]}
                   for name, caption in zip(names, said, strict=True)]
    else:
        content = {"images": [{"id": number, "file_name": name}
                              for number, name in enumerate(names)],
                   "annotations": [{"id": 2 * number + turn, "image_id": number,
                                    "caption": caption if not turn else "another"}
                                   for number, caption in enumerate(said) for turn in (1, 0)]}
    (folder / "captions.json").write_text(json.dumps(content))
    return names, said


def entries(family, count, **changed):
    """A profile's entries for a tiny model."""
    return {"dataset": {"name": "captions", "images": "images", "captions": "captions.json",
                        "samples": count, "request": "describe the image .", "obtain": "noise"},
            "models": {"tiny": {"kind": "hub", "hub": HUBS[family], "family": family,
                                "dtype": "float32", "bytes": 1000, "parameters": 10_000,
                                "layers": 2, "neurons": 10, "tokens": 80, "obtain": "made here",
                                **changed}}}
