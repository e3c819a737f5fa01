// Which labels of a card are shown, as the address has it.
import type { Labelled } from "../state/address";
import { change, view } from "../state/view";

const ALL: Labelled = { only: false, names: [], least: 0 };

export function chosenOf(card: string): Labelled {
  return view.value.labels[card] ?? ALL;
}

export function choose(card: string, chosen: Labelled, typed = false): void {
  const rest = Object.fromEntries(Object.entries(view.value.labels).filter(([one]) => one !== card));
  const plain = !chosen.only && chosen.names.length === 0 && chosen.least === 0;
  change({ labels: plain ? rest : { ...rest, [card]: chosen } }, typed);
}
