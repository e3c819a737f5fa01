// Starts the page: state, news, keys, then what is seen.
import { batch, effect } from "@preact/signals";
import { render } from "preact";
import "uplot/dist/uPlot.min.css";
import "./page.css";
import * as data from "./cards/data";
import * as live from "./live/live";
import { Page } from "./parts/Page";
import * as media from "./media/news";
import * as keyboard from "./parts/keyboard";
import { dark } from "./parts/theme";
import * as keys from "./state/keys";
import { turn as runNews } from "./run/news";
import * as table from "./state/table";
import { startWith, view } from "./state/view";
import * as views from "./views/views";
import { open as openFile } from "./wire/file";
import type { News } from "./wire/types";

function onNews(news: News): void {
  batch(() => {
    if (news.reset || news.list) {
      table.refresh();
      views.heard();
    }
    if (news.reset) {
      keys.heard(null);
      data.heard(null);
      media.heard(null);
      return;
    }
    const { open } = view.peek();
    if (open !== null && (news.list || (news.runs && open in news.runs))) runNews.value += 1;
    const told = new Set<string>();
    let any = false;
    for (const [run, one] of Object.entries(news.runs ?? {})) {
      if (!table.shownSet.peek().has(run)) continue;
      if (one.keys === null) any = true;
      else for (const key of one.keys) told.add(key);
      keys.heard(one.keys);
    }
    if (!any && told.size === 0) return;
    data.heard(any ? null : told);
    media.heard(any ? null : told);
  });
}

/** Runs that may still grow: ended ones cost nothing. */
function running(): string[] {
  const { open } = view.value;
  const watched = open === null || table.shown.value.includes(open) ? table.shown.value : [...table.shown.value, open];
  return watched.filter((run) => ["running", ""].includes(table.known.value.get(run)?.state ?? ""));
}

const inDocument = document.getElementById("steno-data");
if (inDocument) startWith(openFile(inDocument.textContent ?? "").view);
effect(() => {
  document.documentElement.dataset["theme"] = dark.value ? "dark" : "light";
});
table.start();
keys.start();
data.start();
keyboard.listen();
if (!inDocument) live.start(running, onNews);
const root = document.getElementById("page");
if (root) render(<Page />, root);
