"""Images with objects, what was predicted in them, and the facts of that."""

import random

from coordexp_metrics.rollouts import (
    DetectedObject,
    ImageObjects,
    ParsedRollout,
    match_objects,
    rollout_facts,
)

NAMES = ["cat", "dog", "traffic light", "чашка"]


def box(x1, y1, x2, y2, desc="cat", score=None):
    return DetectedObject("bbox_2d", [x1, y1, x2, y2], desc, score)


def thing(rng, polygons):
    x, y = rng.randint(0, 900), rng.randint(0, 900)
    w, h = rng.randint(1, 400), rng.randint(1, 400)
    if rng.random() < polygons:
        points = []
        for _ in range(rng.randint(3, 7)):
            points += [min(x + rng.randint(0, w), 999), min(y + rng.randint(0, h), 999)]
        return DetectedObject("poly", points, rng.choice(NAMES))
    return box(x, y, min(x + w, 999), min(y + h, 999), rng.choice(NAMES))


def shifted(rng, one, score=None):
    points = [min(max(c + rng.randint(-25, 25), 0), 999) for c in one.points]
    if one.kind == "bbox_2d":
        xs, ys = sorted(points[::2]), sorted(points[1::2])
        points = [xs[0], ys[0], xs[1], ys[1]]
    return DetectedObject(one.kind, points, one.desc, score)


def scenes(seed, images=12, polygons=0.0, scored=True):
    """Some images without truth, some without predictions, some predictions beside the truth."""
    rng = random.Random(seed)
    found = []
    for image in range(images):
        truths = [thing(rng, polygons) for _ in range(rng.randint(0, 6))]
        near = [shifted(rng, one) for one in truths if rng.random() < 0.8]
        predictions = near + [thing(rng, polygons) for _ in range(rng.randint(0, 4))]
        predictions = [
            DetectedObject(p.kind, p.points, p.desc, round(rng.random(), 1) if scored else None)
            for p in predictions
        ]
        found.append(ImageObjects(image * 7 + 3, predictions, truths))
    return found


def samples(seed, **options):
    """(objects, facts) of each image, parse failures included."""
    rng = random.Random(seed)
    found = []
    for image in scenes(seed, **options):
        match = match_objects(image.predictions, image.ground_truth, resolution=64)
        pairs = len(match.pairs)
        exact = rng.randint(0, pairs)
        similar = rng.randint(exact, pairs)
        parsed = ParsedRollout(
            tuple(image.predictions),
            (bad := rng.randint(0, 2)),
            {"other": bad},
            rng.randint(0, 1),
            truncated=rng.random() < 0.3,
        )
        facts = rollout_facts(
            parsed,
            match,
            gen_new_tokens=rng.randint(1, 500),
            desc_pairs=pairs,
            desc_exact=exact,
            desc_semantic=similar,
            desc_sim_sum=0.5 * pairs,
            desc_sim_count=pairs,
        )
        found.append((image, facts))
    return found
