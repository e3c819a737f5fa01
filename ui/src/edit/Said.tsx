// The line that says what a change came to; runs that were not changed are listed with the reason.
import { Coded } from "../parts/Coded";
import { said } from "./edits";

export function SaidBar() {
  const now = said.value;
  if (!now) return null;
  return (
    <div class="said" role={now.failed || now.problems.length ? "alert" : "status"}>
      <div>
        <b>{now.text}</b>
        {now.problems.slice(0, 20).map((one) => (
          <p key={one.run}>
            {one.run && <b>{one.run}: </b>}
            <Coded text={one.error} />
          </p>
        ))}
        {now.problems.length > 20 && <p>and {now.problems.length - 20} more</p>}
      </div>
      {now.undo && <button onClick={now.undo}>undo</button>}
      <button aria-label="Close" onClick={() => (said.value = null)}>
        ✕
      </button>
    </div>
  );
}
