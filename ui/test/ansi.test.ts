import { describe, expect, it } from "vitest";
import { spans } from "../src/run/ansi";

const E = "\u001b";
const told = (text: string) => spans(text).map((one) => [one.text, one.classes.join(" "), one.colour]);

describe("printed text", () => {
  it("has its colours and weights", () => {
    expect(told(`${E}[31mred${E}[0m plain ${E}[1;92mgreen${E}[22m thin`)).toEqual([
      ["red", "c1", null],
      [" plain ", "", null],
      ["green", "bold c10", null],
      [" thin", "c10", null],
    ]);
  });

  it("has colours of the 256 and of the 16 million", () => {
    expect(told(`${E}[38;5;196ma${E}[38;2;1;2;300mb${E}[48;5;1;4mc${E}[39md`)).toEqual([
      ["a", "", "rgb(255,0,0)"],
      ["b", "", "rgb(1,2,255)"],
      ["c", "underline", "rgb(1,2,255)"],
      ["d", "underline", null],
    ]);
  });

  it("loses every other control sequence, and no text", () => {
    expect(told(`a${E}[2Kb${E}]0;title\u0007c${E}[?25ld${E}(e${E}`)).toEqual([
      ["a", "", null],
      ["b", "", null],
      ["c", "", null],
      ["d", "", null],
      ["(e", "", null],
    ]);
    expect(told("<b>x</b>")).toEqual([["<b>x</b>", "", null]]);
    expect(told("")).toEqual([]);
  });
});
