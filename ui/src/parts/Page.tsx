// The page: header, table, charts; or what to do next where there are no runs.
import { Cards } from "../cards/Cards";
import { FullSize } from "../cards/FullSize";
import { Toolbar } from "../cards/Toolbar";
import { SaidBar } from "../edit/Said";
import { all, alone, problem, server, total } from "../state/table";
import { Table } from "../table/Table";
import { view } from "../state/view";
import { inFile } from "../wire/file";
import { Header } from "./Header";
import { useModal } from "./focus";
import { KEYS, help } from "./keyboard";
import { lazy } from "./lazy";

const Compare = lazy(() => import("../compare/Compare").then((one) => one.Compare));
const RunPage = lazy(() => import("../run/RunPage").then((one) => one.RunPage));

const FIRST = `import steno

run = steno.init(project="demo", config={"lr": 0.1})
for step in range(1000):
    run.log({"loss": 1 / (step + 1)})
run.finish()`;

function Empty() {
  return (
    <main class="empty">
      <h2>No runs in {server.value?.dir ?? "this directory"} yet</h2>
      <p>Record one; it appears here within three seconds:</p>
      <pre>{FIRST}</pre>
      <p>
        Runs go to <code>runs/</code> below the directory that the program is started in, or where <code>STENO_DIR</code> says. To look at another
        directory, start <code>steno view DIR</code>.
      </p>
    </main>
  );
}

function Help() {
  const dialog = useModal(help.value);
  if (!help.value) return null;
  return (
    <dialog class="help" ref={dialog} aria-label="Keys" onClose={() => (help.value = false)} onClick={() => (help.value = false)}>
      <h2>Keys</h2>
      <dl>
        {KEYS.map(([key, does]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
      <p>Drag in a chart to zoom: along it for x, up or down for y, across for both. A double click shows all.</p>
    </dialog>
  );
}

export function Page() {
  const empty = total.value === 0 && all.value === 0 && view.value.where === "" && problem.value === null;
  return (
    <>
      <Header />
      {empty ? (
        <Empty />
      ) : (
        <main class="both">
          <Table />
          <section class="charts" aria-label="Charts">
            {alone.value === null && (
              <>
                <Toolbar />
                <Cards />
              </>
            )}
          </section>
        </main>
      )}
      <FullSize />
      {view.value.plot !== "" && !inFile() && <Compare />}
      {view.value.open !== null && !inFile() && <RunPage />}
      <Help />
      {view.value.open === null && <SaidBar />}
    </>
  );
}
