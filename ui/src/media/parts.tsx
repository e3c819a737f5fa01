// What tiles of several kinds say: that something is wrong, and how to have the file.
import type { ComponentChildren } from "preact";
import { bytes } from "../parts/words";
import { address } from "./data";
import type { Item } from "./types";

export function Broken({ children }: { children: ComponentChildren }) {
  return (
    <p class="broken" role="note">
      ⚠ {children}
    </p>
  );
}

export function Save({ item, what }: { item: Item; what: string }) {
  if (item.file === null) return null;
  return (
    <a class="save" href={address(item.run, item.file)} download={`${item.key.replaceAll("/", "_")}-${item.step}.${item.file.split(".").at(-1) ?? "bin"}`}>
      {what}
      {item.bytes !== null && ` (${bytes(item.bytes)})`}
    </a>
  );
}
