"""Answers that look right and are wrong: none is accepted, and each gets the sentence that helps."""

import torch
from torch.nn import functional as F

from xai_lessons.lessons import checks
from xai_lessons.lessons.checks import lesson4

ONE, TWO, THREE, FOUR = checks.lesson1, checks.lesson2, checks.lesson3, checks.lesson4
FIVE, SIX, SEVEN, EIGHT = checks.lesson5, checks.lesson6, checks.lesson7, checks.lesson8


def patience(epochs):
    def stops(train, validation):
        best = 0
        for t, loss in enumerate(validation):
            if loss < validation[best]:
                best = t
            elif t - best >= epochs:
                break
        return best + 1

    return stops


def two_rises(train, validation):
    for t in range(2, len(validation)):
        if validation[t] > validation[t - 1] > validation[t - 2]:
            return t - 1
    return len(validation)


def drops(ask, image, c, patch, stride):
    return lesson4.drops(ask, image, c, patch, stride)


def box_of(threshold):
    return lambda M, t: TWO.box.reference(M, threshold)


def dilated(heatmaps, masks):
    wider = F.max_pool2d(masks[:, None].float(), 3, stride=1, padding=1)[:, 0]
    return wider.flatten(1).gather(1, heatmaps.flatten(1).argmax(1, keepdim=True))[:, 0]


def row_only(heatmaps, masks):
    rows = heatmaps.flatten(1).argmax(1) // heatmaps.shape[2]
    return torch.stack([mask[i].any() for mask, i in zip(masks, rows, strict=True)]).float()


def best_fill(statistic):
    return lambda filled, redrawn: min(filled, key=lambda name: float(statistic(filled[name] - redrawn)))


def expected_by_halves(x, beta):
    here = x[:, :-1, :-1]
    energy = (x[:, :-1, 1:] - here) ** 2 + (x[:, 1:, :-1] - here) ** 2
    return (energy**beta / 2).mean()


def softmax_twice(model, x, t, epsilon):
    x = x.clone().requires_grad_()
    F.cross_entropy(F.softmax(model(x), 1), t).backward()
    return (x - epsilon * x.grad.sign()).clamp(0, 1)


NEAR_MISSES = [
    (ONE.softmax_top_k, lambda z, k: torch.softmax(z, 0).topk(k), "Write the formula yourself"),
    (ONE.softmax_top_k, lambda z, k: F.softmax(z, dim=0).topk(k), "Write the formula yourself"),
    (ONE.softmax_top_k, lambda z, k: z.argsort(descending=True)[:k], "return their probabilities"),
    (ONE.softmax_top_k, lambda z, k: (z - z.max()).exp() / (z - z.max()).exp().sum(), "return the k largest"),
    (ONE.output_shape, lambda s, f, k, t, p: (f, *((n + p - k) // t for n in s[1:])), "padding is added on both sides"),
    (ONE.output_shape, lambda s, f, k, t, p: tuple((n + 2 * p - k) // t + 1 for n in s[1:]), "put the number of maps"),
    (ONE.overfitting_starts, two_rises, "a better epoch comes later"),
    (ONE.overfitting_starts, patience(2), "a better epoch comes later"),
    (ONE.overfitting_starts, patience(3), "a better epoch comes later"),
    (ONE.overfitting_starts, patience(5), "a better epoch comes later"),
    (ONE.overfitting_starts, lambda t, v: 1, "whatever it is given"),
    (ONE.precision_recall, lambda C, c: 2 * C[c, c] / (C[c].sum() + C[:, c].sum()), "F1"),
    (TWO.grad_cam_weights, lambda A, g: g.sum((1, 2)) / g.shape[0], "You divide by K"),
    (TWO.class_on_part, lambda M, m: M.sum((1, 2)).argmin(), "the faintest map"),
    (TWO.class_on_part, lambda M, m: M[:, ~m].sum(1).argmin(), "least outside the part"),
    (TWO.class_on_part, lambda M, m: (M[:, ~m].sum(1) / M.sum((1, 2))).argmax(), "inverted mask"),
    (TWO.box, box_of(0.2), "wrote 0.2 into the code"),
    (TWO.box, lambda M, t: (lambda b: (b[:2], b[2:]))(TWO.box.reference(M, t)), "not two pairs"),
    (THREE.integrated_gradients, lambda g, x, b, m: (x - b) * sum(g(b + (k - 0.5 / m) * (x - b))
     for k in range(1, m + 1)) / m, "the division comes first"),
    (THREE.integrated_gradients, lambda g, x, b, m: (x - b) * g(b + torch.linspace(0, 1, m + 1, dtype=x.dtype)
     .view(-1, 1, 1, 1) * (x - b)).mean(0), "m + 1 points"),
    (THREE.integrated_gradients, lambda g, x, b, m: (x - b) * sum(g((k - 0.5) / m * (x - b))
     for k in range(1, m + 1)) / m, "only the distance covered"),
    (FOUR.occlusion_loop, lambda *given: drops(*given).abs(), "You take absolute values"),
    (FOUR.occlusion_loop, lambda *given: drops(*given).clamp(min=0), "set negative drops to 0"),
    (FOUR.occlusion_loop, lesson4._colors_and_rows, "cuts out colors and rows"),
    (FOUR.occlusion_loop, lambda *given: lesson4.drops(*given, transposed=True), "along the wrong axis"),
    (FOUR.honest_fill, best_fill(lambda d: d.abs().max()), "its worst pair"),
    (FOUR.honest_fill, best_fill(lambda d: d.abs().median()), "take the median"),
    (FOUR.honest_fill, best_fill(lambda d: (d**2).mean()), "mean square"),
    (FIVE.targeted_fgsm, softmax_twice, "you apply it twice"),
    (FIVE.targeted_fgsm, lambda f, x, t, e: FIVE.targeted_fgsm.reference(f, x, t, 255 * e), "255 times too large"),
    (FIVE.best_step, lambda g, e: (g.clamp(-e, e), (g * g.clamp(-e, e)).sum()), "You clamp the gradient"),
    (FIVE.best_step, lambda g, e: (e * g.sign(), e * g.abs()), "add them up to one number"),
    (FIVE.normalized_fgsm, lambda z, g, e, m, s: (z + e / s[:, None, None] * g.sign()).clamp(-m[:, None, None],
     1 - m[:, None, None]), "also divides by std"),
    (SIX.total_variation, expected_by_halves, "binds more tightly"),
    (SIX.two_layers, lambda A, A0, B, B0: max(((A - A0) ** 2).sum() / (A0**2).sum(),
     ((B - B0) ** 2).sum() / (B0**2).sum()), "the larger of the two"),
    (SIX.color_gone, lambda n, c, t: n[max(i for i, v in enumerate(c) if v > t) + 1], "not below it"),
    (SEVEN.pointing_game, row_only, "only the row"),
    (SEVEN.pointing_game, dilated, "a pixel beside the object is a miss"),
    (EIGHT.suppress, lambda b, s, c, t: EIGHT.suppress.reference(b, s, 0 * c, t), "Compare labels"),
    (EIGHT.holds, lambda b, after, e: max(after, key=lambda k: sum(abs(x - y) for x, y in zip(b, after[k], strict=True))
     ), "Only the named edge counts"),
]  # fmt: skip


def test_a_near_miss_is_never_accepted_and_gets_its_hint():
    for check, answer, words in NEAR_MISSES:
        for seed in range(4):
            verdict = check.judge(answer, seed)
            assert verdict.kind in ("mistake", "wrong"), f"{check.__name__}, {words}, seed {seed}: {verdict}"
            assert words in verdict.message, f"{check.__name__}, seed {seed}: {verdict}"


def test_a_constant_is_no_answer_to_any_exercise():
    for lesson in (ONE, TWO, THREE, FOUR, FIVE, SIX, SEVEN, EIGHT):
        for check in (value for value in vars(lesson).values() if hasattr(value, "mistakes")):
            for constant in (0, 1, -1, 2, True, "", "black", [], 0.5, (1.0, 1.0)):
                verdict = check.judge(lambda *_, constant=constant: constant, 0)
                assert not verdict.right, (check.__name__, constant)


def test_a_batch_that_asks_for_the_original_again_is_told_so():
    def again(ask, image, c, boxes, size):
        found = []
        for start in range(0, len(boxes), size):
            hidden = lesson4._hidden(image, boxes[start : start + size])
            found.append(ask(image[None])[0, c] - ask(hidden)[:, c])
        return torch.cat(found)

    def window_by_window(ask, image, c, boxes, size):
        whole = ask(image[None])[0, c]
        return torch.stack([whole - ask(lesson4._hidden(image, [box]))[0, c] for box in boxes])

    for seed in range(6):
        assert "run the original picture once" in FOUR.occlusion_batches.judge(again, seed).message
        assert "fill each batch" in FOUR.occlusion_batches.judge(window_by_window, seed).message


def test_the_windows_of_a_batch_in_each_of_its_pictures_are_told_so():
    def all_of_the_batch(ask, image, c, boxes, size):
        whole, found = ask(image[None])[0, c], []
        for start in range(0, len(boxes), size):
            some = boxes[start : start + size]
            pictures = image.repeat(len(some), 1, 1, 1)
            for x0, y0, x1, y1 in some:
                pictures[:, :, y0:y1, x0:x1] = 0
            found.append(whole - ask(pictures)[:, c])
        return torch.cat(found)

    assert "Picture k of the batch gets window k alone" in FOUR.occlusion_batches.judge(all_of_the_batch, 0).message


def test_a_natural_expand_and_whole_tensors_in_an_if_are_explained():
    assert "`repeat`" in FOUR.occlusion_batches.judge(lesson4._expanded, 0).message
    parts = FOUR.flipping_parts.judge(lambda before, after: [part for part, p in after.items() if p != before], 0)
    fills = FOUR.honest_fill.judge(lambda filled, redrawn: min(filled, key=lambda name: filled[name] - redrawn), 0)
    for verdict in (parts, fills):
        assert verdict.kind == "error"
        assert "single True or False" in verdict.message
        assert "shapes" not in verdict.message
