import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { CLI_DOCS_PATH, renderCliDocs } from "../../../scripts/generate-cli-docs.ts";

test("docs/cli.md is what the commands say", () => {
  expect(readFileSync(CLI_DOCS_PATH, "utf8") === renderCliDocs(), "run: bun scripts/generate-cli-docs.ts").toBe(true);
});
