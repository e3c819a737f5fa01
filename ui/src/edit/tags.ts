// Tags as people type them, and what a change of them is.

/** Texts between commas; two that are the same are one. */
export function tagsOf(text: string): string[] {
  return [...new Set(text.split(",").map((one) => one.trim()))].filter(Boolean);
}

/** What makes `after` of `before`: two who edit at once lose neither's tags. */
export function tagChange(before: string[], after: string[]): { add: string[]; remove: string[] } | null {
  const add = after.filter((one) => !before.includes(one));
  const remove = before.filter((one) => !after.includes(one));
  return add.length || remove.length ? { add, remove } : null;
}
