"""What each claim of Chapter 30 says, and what it is judged by."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from neuronpath_core.chapters.claims import OURS
from neuronpath_core.stats import rules

HOLM = "its p at most 0.05 after Holm's correction over models and methods"
# judged in a family of models and methods, or each by its interval alone
ABOVE = partial(rules.above, interval=rules.OVER_IMAGES,
                then=f" and {HOLM} (signs of images flipped), contradicts if below with such a p")
ALONE = partial(rules.above, interval=rules.OVER_IMAGES, then=rules.OR_BELOW)
OVER_CLASSES = ALONE("The difference of the shares of classes", interval=rules.OVER_CLASSES)
OVER_KINDS = ALONE("What path neurons have beyond matched ones, right images minus wrong ones",
                   interval=f"{rules.BOOTSTRAP} over the images of each kind")
RIGHTLY = "images that are classified rightly"
# the same rule, said of other readers
OVER_OTHERS = replace(OVER_CLASSES, sentence="The same of the mean over other architectures.")
AGAIN = ABOVE("The mean over trained models", interval="its 95 % jackknife interval over them",
              then=f" and {HOLM} (Student's t), contradicts if below with such a p")
ACTIVE = "the path of Activation"
# key: who says it, the sentence, unit, control, rule and the notebook's table
WORDS = {
    "writes": (
        OURS, "Path neurons write their image's class more than matched neurons", "neurons",
        "neurons of the block about as active over all images, with value vectors about as long",
        ABOVE("The share of the block that is aligned less with the label"), "written"),
    "writes here": (
        OURS,
        "Path neurons write their image's class more than neurons about as active in that image",
        "neurons",
        "neurons of the block about as active in the same image, with value vectors about as long",
        ABOVE("The same share"), "written"),
    "writes active": (
        OURS, "Path neurons write their image's class more than the most active neurons do",
        "neurons", "the path of the most active neurons",
        ABOVE("The same share"), "written"),
    "writes late": (
        OURS, "Path neurons write the class more in late blocks than in early ones", "neurons",
        "the first third of the blocks of the same paths",
        ABOVE("What path neurons have beyond matched ones in the last third of the blocks, minus "
              "in the first"), "depths"),
    "writes again": (
        OURS,
        "Models trained from other seeds have paths that write the class more than matched neurons",
        "neurons", "matched neurons of each trained model",
        AGAIN, "again", {"of": "trained models"}),
    "points": (
        OURS, "Path neurons point along their image's class more than matched neurons",
        "directions", "matched neurons of the block",
        ABOVE("The share of uniform directions that are aligned less with the label"), "written"),
    "key": (
        OURS, "Path neurons are among the five key neurons of their class more often than matched "
        "neurons", "neurons", "matched neurons of the block",
        ABOVE("The share of the path's neurons among the five of their block that are aligned most "
              "with the label"), "overlaps"),
    "key active": (
        OURS,
        "Path neurons are key neurons of their class more often than the most active neurons are",
        "neurons", "the path of the most active neurons",
        ABOVE("The same share"), "overlaps"),
    "used": (
        OURS, "Path neurons are among a token's five largest coefficients more often than matched "
        "neurons", "neurons", "matched neurons of the block",
        ABOVE("The share of the scope's tokens, mean over the path's neurons"), "overlaps"),
    "key again": (
        OURS, "Models trained from other seeds have paths that are key neurons of their class more "
        "often than matched neurons", "neurons", "matched neurons of each trained model", AGAIN,
        "again", {"of": "trained models"}),
    "used again": (
        OURS, "Models trained from other seeds have paths that are among a token's five largest "
        "coefficients more often than matched neurons", "neurons",
        "matched neurons of each trained model", AGAIN, "again", {"of": "trained models"}),
    "attributes": (
        OURS,
        "Path neurons tell their class's outline and fill from others better than matched neurons",
        "separation", "matched neurons of the block",
        ABOVE("The area under the ROC curve of the class's own outline and fill minus that of the "
              "other outlines and fills, on other scenes"), "detected"),
    "attributes here": (
        OURS, "Path neurons tell their class's outline and fill better than neurons about as "
        "active in the image", "separation",
        "neurons of the block about as active in the same image",
        ABOVE("The same difference of areas"), "detected"),
    "attributes of images": (
        OURS, "Path neurons tell images with their class's outline and fill from others better "
        "than matched neurons", "separation", "matched neurons of the block",
        ABOVE("The same of the activation at the path's own tokens, over images"), "detected"),
    "attributes of images here": (
        OURS, "Path neurons tell images with their class's outline and fill better than neurons "
        "about as active in the image", "separation",
        "neurons of the block about as active in the same image",
        ABOVE("The same over images"), "detected"),
    "overlap": (
        OURS, "The strongest patches of a path neuron overlap what decides the class more than "
        "those of matched neurons", "overlap", "matched neurons of the block",
        ABOVE("The intersection over union with the class's own outline and fill minus that with "
              "the other outlines and fills, on other scenes"), "detected"),
    "beyond colour": (
        OURS, "Path neurons tell what decides the class better than the colour, which does not",
        "separation", "the same of the image's colour, and matched neurons",
        ABOVE("That difference of areas over images minus the same of the colour"), "detected"),
    "evidence": (
        OURS, "Without the path, the tokens of the last blocks rank the class lower than without "
        "matched neurons", "identifiability", "removal of matched neurons",
        ABOVE("The loss of identifiability (0 to 1) in the last third of the blocks"), "without"),
    "evidence early": (
        OURS, "Without the path, the tokens of the first blocks rank the class lower than without "
        "matched neurons", "identifiability", "removal of matched neurons",
        ABOVE("The same in the first third of the blocks"), "without"),
    "wire": (
        OURS, "A path neuron reads what the one before it writes more than matched neurons do",
        "cosine", "matched neurons of the next block",
        ABOVE("The absolute cosine of value vector and key along the token's own stream"), "wired"),
    "wire percentile": (
        OURS, "A path neuron reads what the one before it writes more than most pairs of neurons "
        "of the two blocks fit, beyond matched neurons", "pairs", "matched neurons of the next "
        "block", ABOVE("The share of all pairs of the two blocks with a smaller absolute cosine"),
        "wired"),
    "wire again": (
        OURS, "Models trained from other seeds have path neurons that read what the one before "
        "writes more than matched neurons do", "cosine", "matched neurons of each trained model",
        AGAIN, "again", {"of": "trained models"}),
    "wire attention": (
        OURS, "A path neuron reads what the one before it writes through attention more than "
        "matched neurons do", "cosine", "matched neurons of the next block",
        ABOVE("The same through one attention layer, the largest over heads"), "wired"),
    "wire active": (
        OURS,
        "Neurons of a path fit each other more than those of the path of the most active neurons",
        "cosine", "the path of the most active neurons",
        ABOVE("The absolute cosine along the token's own stream"), "wired"),
    "looks": (
        OURS, "A path neuron is active where the image's own relevance map says, more than where "
        "another image's does", "correlation", "the relevance map of another image of the class",
        ABOVE("The difference of rank correlations over patches"), "looked"),
    "looks matched": (
        OURS, "A path neuron is active where the relevance map says more than matched neurons are",
        "correlation", "matched neurons of the block",
        ABOVE("The difference of rank correlations over patches"), "looked"),
    "pictures": (
        OURS, "An image that drives all path neurons of a class is named as it more often than one "
        "that drives its best value neuron", "classes", "the image of the best value neuron",
        OVER_CLASSES, "leads", {"of": "classes"}),
    "transfer": (
        OURS,
        "Other architectures name such an image more often than that of the best value neuron",
        "classes", "the image of the best value neuron", OVER_OTHERS, "leads", {"of": "classes"}),
    "random pictures": (
        OURS, "Other architectures name such an image more often than that of a random path",
        "classes", "the image of random paths", OVER_OTHERS, "leads", {"of": "classes"}),
    "fails": (
        OURS, "The path of the true class writes it less in images that are classified wrongly",
        "neurons", RIGHTLY, OVER_KINDS, "failed"),
    "fails key": (
        OURS, "The path of the true class has fewer key neurons of it in images that are "
        "classified wrongly", "neurons", RIGHTLY, OVER_KINDS, "failed"),
    "fails used": (
        OURS, "The path of the true class has fewer of a token's largest coefficients in images "
        "that are classified wrongly", "neurons", RIGHTLY, OVER_KINDS, "failed"),
    "fails attributes": (
        OURS, "The path of the true class tells its outline and fill less in images that are "
        "classified wrongly", "separation", RIGHTLY, OVER_KINDS, "failed"),
    "rival": (
        OURS, "In images that are classified wrongly, the path of the predicted class writes it "
        "more than that of the true class writes that", "neurons",
        "the path of the true class of the same images",
        ALONE("The difference of what path neurons have beyond matched ones"), "rivals"),
    "outline": (
        OURS, "The outline's own path costs it more than the fill's path does", "lost probability",
        "the fill's path of the same images",
        ALONE("The difference of the probability that the outline loses"), "apart"),
    "fill": (
        OURS, "The fill's own path costs it more than the outline's path does", "lost probability",
        "the outline's path of the same images",
        ALONE("The difference of the probability that the fill loses"), "apart"),
    "concepts": (
        OURS, "Paths of outline and fill dissociate more than those of groups of classes that mean "
        "nothing", "lost probability",
        "the same groupings with the classes dealt anew, whose two paths share more of their "
        "neurons, so that how much of the lead is the concept is open",
        ALONE("The sum of both differences minus that of the dealt groupings"), "apart"),
    "planted": (
        OURS, "The measures of this chapter find what was planted, and nothing where nothing was",
        "networks", "matched neurons of the planted networks",
        ALONE("The share of networks in which a measure says what is known", 0.5,
              interval="its 95 % Wilson interval"), "known", {"of": "networks", "statistic": ""}),
}
