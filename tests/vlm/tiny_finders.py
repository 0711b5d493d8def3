"""GroundingDINO and SAM 2 of transformers' own classes, tiny and with random weights."""

import torch

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "red", "regions", "circle", "##s")


def detector(seed=0):
    from transformers import (
        BertConfig,
        BertTokenizerFast,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    eyes = SwinConfig(image_size=128, patch_size=4, window_size=2, embed_dim=8, depths=[1] * 4,
                      num_heads=[1] * 4, out_indices=[2, 3, 4])
    words = BertConfig(vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1,
                       num_attention_heads=2, intermediate_size=16, max_position_embeddings=64)
    config = GroundingDinoConfig(
        backbone_config=eyes, text_config=words, d_model=32, encoder_layers=1, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16,
        decoder_ffn_dim=16, num_queries=6, max_text_len=16)
    torch.manual_seed(seed)
    tokenizer = BertTokenizerFast(vocab={word: place for place, word in enumerate(WORDS)})
    size = {"shortest_edge": 128, "longest_edge": 128}
    return GroundingDinoForObjectDetection(config), GroundingDinoProcessor(
        GroundingDinoImageProcessor(size=size), tokenizer)


def segmenter(seed=0):
    from transformers import (
        Sam2Config,
        Sam2HieraDetConfig,
        Sam2ImageProcessor,
        Sam2MaskDecoderConfig,
        Sam2Model,
        Sam2Processor,
        Sam2PromptEncoderConfig,
        Sam2VisionConfig,
    )

    eyes = Sam2HieraDetConfig(
        hidden_size=8, image_size=[64, 64], blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64], num_attention_heads=1,
        num_attention_heads_per_stage=[1, 1, 2, 2], window_size_per_stage=[8, 4, 4, 2],
        global_attention_blocks=[3], window_positional_embedding_background_size=[2, 2])
    config = Sam2Config(
        vision_config=Sam2VisionConfig(
            backbone_config=eyes, backbone_channel_list=[64, 32, 16, 8], fpn_hidden_size=16,
            backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]]),
        prompt_encoder_config=Sam2PromptEncoderConfig(hidden_size=16, image_size=64,
                                                      mask_input_channels=4),
        mask_decoder_config=Sam2MaskDecoderConfig(hidden_size=16, mlp_dim=16, num_hidden_layers=1,
                                                  num_attention_heads=2, iou_head_hidden_dim=16))
    torch.manual_seed(seed)
    images = Sam2ImageProcessor(size={"height": 64, "width": 64},
                                mask_size={"height": 16, "width": 16})
    return Sam2Model(config), Sam2Processor(images, target_size=64)
