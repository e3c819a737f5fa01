"""Records a few runs and takes pictures of the viewer that shows them; see scripts/pictures."""

from __future__ import annotations

import math
import os
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import steno

OUT = Path(__file__).resolve().parents[1] / "docs" / "pictures"
MEDIA = "#where=config.lr%20in%20[0.03,%200.01]&filter=samples|weights&media=2000"
VIEW = "#runs=all&column=config.lr&column=val/accuracy.max&sort=-val/accuracy.max&smooth=ema~40"
SIZES = {"wide": (1440, 900), "phone": (390, 844)}


def media(rng: np.random.Generator, step: int) -> dict[str, Any]:
    """A drawn digit with what is found in it, and weights that spread."""
    y, x = np.mgrid[0:56, 0:56]
    far = np.hypot(y - 28, (x - 28) * (1.2 + 0.3 * rng.random()))
    ink = (np.abs(far - 17) < 4 + 2 * rng.random()).astype(int)
    pixels = np.clip(235 - 200 * ink + rng.normal(0, 12, ink.shape), 0, 255).astype(np.uint8)
    box = {"box": (10, 8, 46, 48), "label": "zero", "score": min(0.99, 0.4 + step / 4000 + 0.1 * rng.random())}
    mask = {"data": ink, "classes": {1: "ink"}}
    return {
        "val/samples": steno.Image(pixels, f"predicted 0 at step {step}", boxes=[box], masks={"segments": mask}),
        "weights/layer1": steno.Histogram(rng.normal(0.2 * step / 3000, 0.3 + step / 4000, 4000)),
    }


def record(place: Path) -> None:
    """Six runs of two optimizers, one of which diverges."""
    random.seed(0)
    rng = np.random.default_rng(0)
    for number, lr in enumerate((0.3, 0.1, 0.03, 0.01, 0.003, 0.001)):
        name = f"{'adam' if number % 2 else 'sgd'}-{lr:g}"
        config = {"lr": lr, "optimizer": name.partition("-")[0]}
        with steno.init(project="digits", name=name, dir=str(place), config=config, quiet=True) as run:
            speed = 0.0006 + 0.004 * math.exp(-((math.log10(lr) + 2) ** 2))
            for step in range(3000):
                left = math.exp(-step * speed)
                noise = random.gauss(0, 0.04 + 0.1 * left)
                loss = 0.15 + 2.2 * left + noise + (0.002 * max(step - 1200, 0) if lr == 0.3 else 0)
                run.log({"train/loss": loss, "train/grad_norm": abs(random.gauss(1 + 3 * left, 0.12))}, step=step)
                if step % 50 == 0:
                    accuracy = 0.98 - 0.85 * left + random.gauss(0, 0.006) - (0.0002 * step if lr == 0.3 else 0)
                    run.log({"val/accuracy": max(accuracy, 0.05), "val/loss": loss + 0.1}, step=step)
                    run.log(media(rng, step), step=step)
            assert run.finish(60)


def main() -> None:
    from playwright.sync_api import sync_playwright

    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="steno-pictures-") as folder, sync_playwright() as playwright:
        os.chdir(folder)  # the page shows the directory as it is named here
        record(Path("runs"))
        viewer = steno.view("runs", browser=False)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            for name, (width, height) in SIZES.items():
                for scheme in ("light", "dark"):
                    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
                    page = context.new_page()
                    page.goto(viewer.url + VIEW)
                    page.locator("article canvas").first.wait_for()
                    page.wait_for_function("() => !document.querySelector('article.loading')")
                    page.wait_for_timeout(300)
                    page.screenshot(path=str(OUT / f"viewer-{name}-{scheme}.png"))
                    if name == "wide":
                        page.goto(viewer.url + MEDIA)
                        page.reload()
                        page.locator(".tile .fitted canvas").first.wait_for()
                        page.locator(".heat canvas").first.wait_for()
                        page.wait_for_timeout(500)
                        page.screenshot(path=str(OUT / f"viewer-media-{scheme}.png"))
                    context.close()
        finally:
            browser.close()
            viewer.close()


if __name__ == "__main__":
    main()
