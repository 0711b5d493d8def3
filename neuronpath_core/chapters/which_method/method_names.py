"""What Chapter 21 calls its methods and replacements, and the settings that the names are of."""

from __future__ import annotations

# what a removed neuron is set to, as an adverbial
REPLACED = {"zero": "set to zero", "mean": "set to the mean over images",
            "resample": "set to the values on another image"}
BUDGETS = (1, 2, 3, 5, 10, 20)
PROPOSALS, SWEEPS = 16, 2  # of the refined search, that all are compared with
REFINED, PUBLISHED, DEFAULT = "refined search", "published search", "neuron path, default settings"
CONTROL, ONE_PASS, REMOVAL = "matched random neurons", "gradient × activation", "removal search"
EXACT, EXACT_IMAGES = "exact single-neuron effect", 4
# key in the registry -> name in tables
SCORES = {"relp": "RelP", "libragrad": "LibraGrad", "atp_graddrop": "AtP with GradDrop",
          "eap_ig_inputs": "EAP-IG along inputs", "knowledge": "single-neuron integrated gradients",
          "activation": "activation"}
SEARCHED = {"complete": "search by complete attribution"}
# two derivations that give the same numbers in every model whose FFN is a plain MLP
ALIKE = (SCORES["relp"], SCORES["libragrad"])


def conditional(passes: int) -> str:
    """The name of the conditional gradient with so many passes; with one it is gradient ×
    activation."""
    return ONE_PASS if passes == 1 else f"conditional gradient, {passes} gradients"


CONDITIONAL = tuple(conditional(passes) for passes in BUDGETS)
# how find_paths is asked for a method; those that are not here cannot be had by it
CALLED = {
    **{conditional(passes): f'"recommended", budget={passes}' for passes in BUDGETS},
    ONE_PASS: '"gradient_activation"', REMOVAL: '"ablation"', EXACT: '"exact"',
    DEFAULT: '"neuron_path"', PUBLISHED: 'settings="published"',
    **{name: f'"{key}"' for key, name in (SCORES | SEARCHED).items()},
    " = ".join(ALIKE): " or ".join(f'"{key}"' for key in ("relp", "libragrad")),
}
