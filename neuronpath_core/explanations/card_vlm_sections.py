"""What is measured of a neuron of a vision-language model for its card, a function for each
section: numbers as JSON values, and pictures; ``ValueError`` where there is nothing to say, in
words for the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch.nn.functional as F

from neuronpath_core.explanations.card_images import png, small, strip
from neuronpath_core.explanations.card_pictures import map_tile
from neuronpath_core.explanations.card_vlm_evidence import VlmEvidence
from neuronpath_core.readings.memory_nulls import largest_cosine_below
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.vlm.explained import KINDS, MODALITIES
from neuronpath_core.vlm.explained_causes import VALUES, effect_rows, effects, named_values
from neuronpath_core.vlm.explained_neurons import EXPLAINED, SCORED, explain_all, score_all
from neuronpath_core.vlm.modality import TYPES, probabilities
from neuronpath_core.vlm.modality_nulls import permuted_labels
from neuronpath_core.vlm.offline_explainer import OfflineExplainer
from neuronpath_core.vlm.offline_simulators import offline
from neuronpath_core.vlm.tokens import SPECIAL

Measured = tuple[dict[str, Any], dict[str, str]]
SHOWN, LARGEST = 6, 3  # top scenes of a card, and words of each
DEALS = 99
MOVES = 3  # values that move the neuron most


def unit(evidence: VlmEvidence, block: int, neuron: int) -> Measured:
    """Where the neuron lives and how active it is, beside its layer."""
    records, number = evidence.records, evidence.number(block, neuron)
    own = records.layers == block
    return {"site": f"output {neuron} of the activation function of the decoder's block "
                    f"{block + 1}", "block": block + 1, "neuron": neuron, "neurons": int(own.sum()),
            "scenes": len(evidence.scenes), "mean": float(records.mean[number]),
            "largest": float(records.maxima[number]), "active": float(records.active[number]),
            "dead": not bool(records.live[number]),
            "rank": 1 + int((records.mean[own] > records.mean[number]).sum()),
            "block_median": {"mean": float(np.median(records.mean[own])),
                             "active": float(np.median(records.active[own]))}}, {}


def modality(evidence: VlmEvidence, block: int, neuron: int) -> Measured:
    """The probabilities of its types beside those with the labels of tokens dealt within each
    sample, and how often a deal has at least as much."""
    number = evidence.number(block, neuron)
    best, records = evidence.kind(number), evidence.alone(number)
    rng = np.random.default_rng(evidence.seed)
    dealt = np.stack([probabilities(records, evidence.criteria, "floor",
                                    *permuted_labels(records, rng))[0] for _ in range(DEALS)])
    rows = [{"type": name, "p": float(own), "dealt": float(null.mean()),
             "at_least": float((1 + (null >= own).sum()) / (1 + DEALS))}
            for name, own, null in zip(TYPES, evidence.p[number], dealt.T, strict=True)]
    return {"best": best, "samples": records.top, "deals": DEALS, "types": rows}, {}


def samples(evidence: VlmEvidence, block: int, neuron: int) -> Measured:
    """The scenes in which it is largest, with its map on the image tokens and the words at which it
    is largest; and the word that most often wins a sample, beside a word drawn at random from each.
    """
    number = evidence.number(block, neuron)
    evidence.kind(number)  # a dead neuron has no top scenes
    records = evidence.records
    scale, shown, maps, top = float(records.maxima[number]), [], [], []
    for slot in range(min(SHOWN, records.top)):
        scene = int(records.samples[number, slot])
        values = records.values[number, slot]
        patches = values[:len(records.visual[scene])][records.visual[scene]]
        side = int(len(patches) ** 0.5)
        at = int(patches.argmax())
        top.append({"image": int(evidence.scenes[scene].index), "value": float(patches[at]),
                    "row": at // side + 1, "column": at % side + 1, "name": "", "class": None,
                    "words": _words(evidence, scene, values)})
        shown.append(small(evidence.scenes[scene].pixels))
        maps.append(map_tile(patches.reshape(side, side), scale))
    return {"images": len(evidence.scenes), "scale": scale, "map_percent": [100, 100],
            "picture": list(shown[0].shape[:2]), "top": top, **_winner(evidence, number)}, {
                "images": png(strip(shown)), "maps": png(strip(maps))}


def _words(evidence: VlmEvidence, scene: int, values: np.ndarray) -> list[list]:
    said, mask = evidence.samples[scene].answer, evidence.records.text[scene]
    own = values[:len(mask)][mask]
    order = np.argsort(-own, kind="stable")[:LARGEST]
    return [[said[place], float(own[place])] for place in order if own[place] > 0]


def _winner(evidence: VlmEvidence, number: int) -> dict[str, Any]:
    """The word at which the neuron most often is largest in a top sample, the share of them, and
    the share that a word drawn at random from each caption would have."""
    records, wins, said = evidence.records, [], []
    for slot in range(records.top):
        scene = int(records.samples[number, slot])
        if found := _words(evidence, scene, records.values[number, slot]):
            wins.append(found[0][0])
        said.append(evidence.samples[scene].answer)
    if not wins:
        return {"word": "", "word_share": 0.0, "word_random": 0.0}
    word, count = Counter(wins).most_common(1)[0]
    return {"word": word, "word_share": count / records.top,
            "word_random": float(np.mean([own.count(word) / max(1, len(own)) for own in said]))}


def writes(evidence: VlmEvidence, block: int, neuron: int) -> Measured:
    """What its value vector adds to every word's logit before the final norm divides, beside the
    other neurons of the layer and random directions."""
    head = evidence.model.model.get_output_embeddings().weight.detach().double()
    norm = getattr(getattr(evidence.model.model.model, "language_model", None), "norm", None)
    if norm is None:
        raise ValueError("the decoder's last norm is not where Llama models have it; accepted: "
                         "models of Llama's kind")
    rows = head * norm.weight.detach().double()
    vectors = evidence.model.halves["decoder"][block].value_vectors.double()
    effect = (vectors @ rows.T).cpu().numpy()
    cosine = (F.normalize(vectors[neuron], dim=-1) @ F.normalize(rows, dim=-1).T).cpu().numpy()
    below = largest_cosine_below(cosine, 1, vectors.shape[1])
    tokens = evidence.model.processor.tokenizer.convert_ids_to_tokens(list(range(len(head))))
    order = [each for each in np.argsort(-effect[neuron], kind="stable")
             if tokens[each] not in SPECIAL]
    table = [{"word": tokens[each], "effective": float(effect[neuron, each]),
              "cosine": float(cosine[each]), "random_below": float(below[each]),
              "percentile": float((np.delete(effect[:, each], neuron)
                                   < effect[neuron, each]).mean())} for each in order]
    count = min(evidence.words, len(table))
    return {"length": float(evidence.lengths[evidence.number(block, neuron)]),
            "width": vectors.shape[1], "words": len(table), "top": table[:count],
            "bottom": table[::-1][:count],
            "block_below": float(largest_cosine_below(table[0]["cosine"], len(vectors),
                                                      vectors.shape[1]))}, {}


def _explained(evidence: VlmEvidence, number: int) -> tuple:
    """A neuron and others like it with an explanation of each.

    Raises:
        ValueError: neurons of unknown type, of which nothing is said.
    """
    if evidence.kind(number) not in KINDS:
        raise ValueError("the neuron is most probably of unknown type, with too few tokens near "
                         "its maximum to explain it from; accepted: other types")
    chosen = evidence.chosen(number)
    return chosen, explain_all(chosen, OfflineExplainer(patterns=chosen.patterns), EXPLAINED)


def explanation(evidence: VlmEvidence, block: int, neuron: int) -> Measured:
    """What it is said to fire for, from five top samples, and how well that predicts it on five
    others, beside the explanations of other neurons, a map of places and the best possible."""
    number = evidence.number(block, neuron)
    chosen, said = _explained(evidence, number)
    scores = score_all(chosen, said, offline(patterns=chosen.patterns), EXPLAINED,
                       seed=evidence.seed)
    own = scores[scores["neuron"] == number]
    gap = (own["own"] - own["swapped"]).to_numpy()
    return {"kind": evidence.kind(number), "text": said[0].text, "others": len(said) - 1,
            "scored": len(SCORED), **{name: float(own[name].mean()) for name in (
                "own", "swapped", "generic", "place")},
            "gap": interval_row(gap, seed=evidence.seed) if len(said) > 1 else None}, {}


def cause(evidence: VlmEvidence, block: int, neuron: int) -> Measured:
    """How far what its explanation names moves it when scenes are drawn again, beside what is named
    of other neurons; and the values that move it most."""
    number = evidence.number(block, neuron)
    chosen, said = _explained(evidence, number)
    found, kind = evidence.moved, evidence.kind(number)
    table = effect_rows(chosen, said, found, evidence.seed)
    own = table[table["neuron"] == number]
    values = []
    for where in MODALITIES[kind]:
        read = {"image": found.image, "text": found.text}[where][..., number]
        for place, (attribute, name) in enumerate(VALUES):
            moves = effects(read, np.arange(len(VALUES)) == place)
            if not np.isnan(moves).any():
                values.append({"where": where, "kind": attribute, "name": name,
                               **interval_row(moves, seed=evidence.seed)})
    if not values:
        raise ValueError("the neuron does not move when scenes are drawn again; accepted: one that "
                         "does")
    values.sort(key=lambda row: -abs(row["value"]))
    named = [VALUES[each][1] for each in np.flatnonzero(named_values(said[0], kind).any(0))]
    return {"scenes": len(found.image), "named": named, "tried": len(values),
            "own": interval_row(own["own"].to_numpy(), seed=evidence.seed) if len(own) else None,
            "swapped": float(own["swapped"].mean()) if len(own) else None,
            "gap": interval_row((own["own"] - own["swapped"]).to_numpy(), seed=evidence.seed)
            if len(own) else None, "values": values[:MOVES]}, {}


def removal(evidence: VlmEvidence, block: int, neuron: int) -> Measured:
    """The change of the probability of right answers when the neuron alone is removed, beside
    neurons of its layer that are about as active and write about as much."""
    clean, number = evidence.answered(), evidence.number(block, neuron)
    own = evidence.answered(number) - clean
    controls = evidence.matches(block, neuron)
    sizes = np.abs([evidence.answered(each) - clean for each in controls]).mean(0)
    first = evidence.number(block, 0)
    return {"questions": len(clean), "controls": [each - first for each in controls],
            "probability": interval_row(own, seed=evidence.seed),
            "size": float(np.abs(own).mean()), "control_size": float(sizes.mean()),
            "excess": interval_row(np.abs(own) - sizes, seed=evidence.seed)}, {}


def paths(evidence: VlmEvidence, block: int, neuron: int) -> Measured:
    """Nothing: paths are of words, not of scenes."""
    raise ValueError("paths of this model are of words that it is about to say, and none were "
                     "given; accepted: none here")


def synthetic(evidence: VlmEvidence, block: int, neuron: int) -> Measured:
    """Nothing: see what it says."""
    raise ValueError("images are made for neurons that read images alone, and this one reads words "
                     "too; accepted: neurons of a classifier")


SECTIONS: dict[str, Callable[[VlmEvidence, int, int], Measured]] = {
    "unit": unit, "modality": modality, "samples": samples, "explanation": explanation,
    "cause": cause, "writes": writes, "removal": removal, "paths": paths, "synthetic": synthetic}
