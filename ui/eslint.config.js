// The rules of the page's source. Text of a run never becomes markup: what could do that is an error here.
import js from "@eslint/js";
import ts from "typescript-eslint";

const MARKUP = ["innerHTML", "outerHTML", "insertAdjacentHTML", "dangerouslySetInnerHTML", "srcdoc"];

export default ts.config(
  { ignores: ["build/", "node_modules/"] },
  js.configs.recommended,
  ...ts.configs.strict,
  {
    files: ["src/**/*.ts", "src/**/*.tsx", "test/**/*.ts"],
    rules: {
      eqeqeq: "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-restricted-properties": ["error", ...MARKUP.map((property) => ({ property })), { object: "document", property: "write" }],
      "no-restricted-syntax": [
        "error",
        { selector: `JSXAttribute[name.name=/^(${MARKUP.join("|")})$/]`, message: "Text of a run never becomes markup." },
      ],
    },
  },
);
