// Reads Markdown in a worker: a text can be written so that this takes for ever, and the page must go on.
import { marked } from "marked";

addEventListener("message", (event: MessageEvent<{ turn: number; text: string }>) => {
  const { turn, text } = event.data;
  postMessage({ turn, html: marked.parse(text, { async: false, gfm: true }) });
});
