// Printed text with its colours: SGR sequences become styles, all other control sequences are left out.
export interface Span {
  text: string;
  /** Names of classes, such as `c1` for red. */
  classes: string[];
  /** A colour of the 256 or of the 16 million. */
  colour: string | null;
}

// Control sequences of terminals: CSI … letter, OSC … BEL or ST, and the short ones.
// eslint-disable-next-line no-control-regex
const CONTROL = /\u001b\[([0-?]*)([ -/]*[@-~])|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|\u001b[@-Z\\-_]|\u001b/g;

const WORDS: Record<number, string> = { 1: "bold", 2: "dim", 3: "italic", 4: "underline" };

function of256(index: number): string | null {
  if (index < 16) return null;
  if (index >= 232) return `rgb(${Array(3).fill(8 + 10 * (index - 232)).join(",")})`;
  const part = (at: number) => (at === 0 ? 0 : 55 + 40 * at);
  const at = index - 16;
  return `rgb(${part(Math.floor(at / 36))},${part(Math.floor(at / 6) % 6)},${part(at % 6)})`;
}

class Style {
  private words = new Set<string>();
  private basic: string | null = null;
  colour: string | null = null;

  apply(codes: number[]): void {
    for (let at = 0; at < codes.length; at++) {
      const code = codes[at] ?? 0;
      const word = WORDS[code];
      if (code === 0) {
        this.words.clear();
        this.basic = this.colour = null;
      } else if (word) this.words.add(word);
      else if (code === 22) ["bold", "dim"].forEach((one) => this.words.delete(one));
      else if (code === 23) this.words.delete("italic");
      else if (code === 24) this.words.delete("underline");
      else if (code === 39) this.basic = this.colour = null;
      else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) {
        this.basic = `c${code >= 90 ? code - 82 : code - 30}`;
        this.colour = null;
      } else if (code === 38 || code === 48) {
        const [kind, a, b, c] = codes.slice(at + 1, at + 5);
        at += kind === 5 ? 2 : kind === 2 ? 4 : 0;
        if (code === 48) continue;
        if (kind === 5 && a !== undefined) {
          this.basic = a < 16 ? `c${a}` : null;
          this.colour = of256(a);
        } else if (kind === 2 && c !== undefined) {
          this.basic = null;
          this.colour = `rgb(${[a, b, c].map((one) => Math.min(255, one ?? 0)).join(",")})`;
        }
      }
    }
  }

  get classes(): string[] {
    return [...this.words, ...(this.basic ? [this.basic] : [])];
  }
}

export function spans(text: string): Span[] {
  const style = new Style();
  const found: Span[] = [];
  let from = 0;
  const put = (to: number) => {
    if (to > from) found.push({ text: text.slice(from, to), classes: style.classes, colour: style.colour });
  };
  for (const match of text.matchAll(CONTROL)) {
    put(match.index);
    from = match.index + match[0].length;
    if (match[2] === "m") style.apply((match[1] ?? "").split(/[;:]/).map(Number));
  }
  put(text.length);
  return found;
}
