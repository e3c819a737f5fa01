// Light or dark: what the system wants, until somebody says otherwise.
import { computed, signal } from "@preact/signals";

const asked = matchMedia("(prefers-color-scheme: dark)");
const system = signal(asked.matches);
asked.addEventListener("change", () => {
  system.value = asked.matches;
});

function stored(): string | null {
  try {
    return localStorage.getItem("steno:theme");
  } catch {
    return null; // Storage is closed in some frames.
  }
}

const own = signal<string | null>(stored());
export const dark = computed(() => (own.value === null ? system.value : own.value === "dark"));

export function toggle(): void {
  own.value = dark.value ? "light" : "dark";
  try {
    localStorage.setItem("steno:theme", own.value);
  } catch {
    // It lasts as long as the page.
  }
}
