// Which way of a value is better, as far as its name says it, and which of several values is best.
const LESS = /(^|[^a-z])(loss|losses|err|error|errors|ppl|perplexity|rmse|mse|mae|wer|cer|fid|nll|bpb|bpc|latency|duration|time|secs|seconds|regret|eer)([^a-z]|$)/i;
const MORE = /(^|[^a-z])(acc|accuracy|auc|auroc|f1|score|reward|return|returns|bleu|rouge|map|iou|miou|dice|precision|recall|r2|psnr|ssim|throughput|success|win_?rate|em|top_?[15])([^a-z0-9]|$)/i;

/** +1: more is better, −1: less is; 0: nobody can say. `chosen` holds what somebody said: "+NAME", "-NAME". */
export function direction(name: string, chosen: string[]): 1 | -1 | 0 {
  if (chosen.includes(`+${name}`)) return 1;
  if (chosen.includes(`-${name}`)) return -1;
  if (chosen.includes(`=${name}`)) return 0;
  if (LESS.test(name)) return -1;
  return MORE.test(name) ? 1 : 0;
}

/** The next of better up, better down, nobody can say. */
export function turned(name: string, chosen: string[]): string[] {
  const next = { "1": "-", "-1": "=", "0": "+" }[String(direction(name, chosen)) as "1" | "-1" | "0"];
  return [...chosen.filter((one) => one.slice(1) !== name), next + name];
}

/** By value: "best", "worst" or "": only where two finite ones differ. Several may share a mark. */
export function marks(values: number[], way: 1 | -1 | 0): ("best" | "worst" | "")[] {
  const finite = values.filter(Number.isFinite);
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  if (way === 0 || finite.length < 2 || low === high) return values.map(() => "");
  return values.map((value) => (value === (way > 0 ? high : low) ? "best" : value === (way > 0 ? low : high) ? "worst" : ""));
}
