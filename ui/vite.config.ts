// How the bundle is made: relative addresses only, names without a hash, no host of the machine in it.
import { type Plugin, defineConfig } from "vite";

/** The bundle names no other host, not even in the words of an error. */
const nameless: Plugin = {
  name: "no-other-host",
  transform: (code, id) => (id.includes("/node_modules/marked/") ? code.replaceAll(/https:\/\/github\.com\/markedjs\/marked/g, "marked") : null),
};
const output = { entryFileNames: "[name].js", chunkFileNames: "[name].js", assetFileNames: "[name][extname]" };

export default defineConfig({
  plugins: [nameless],
  worker: { format: "es", plugins: () => [nameless], rollupOptions: { output } },
  base: "./",
  build: {
    outDir: "build",
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    rollupOptions: {
      // The first page is one script: a view that is handed on as a file has it and no other.
      output: { ...output, codeSplitting: { groups: [{ name: "page", test: /preact|signals|src.main\.tsx/ }] } },
    },
  },
});
