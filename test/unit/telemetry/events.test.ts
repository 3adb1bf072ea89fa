/** The list of log events is complete and holds nothing that is never logged. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { Glob } from "bun";
import { EVENTS } from "../../../src/telemetry/events.ts";

const sources = join(import.meta.dir, "../../../src");

test("every event that is logged is in the list, and every listed one is logged", async () => {
  const logged = new Map<string, string>();
  for await (const path of new Glob("**/*.ts").scan(sources)) {
    const text = await Bun.file(join(sources, path)).text();
    for (const match of text.matchAll(/(?:logger|log)\??\.(?:debug|info|warn|error)\(\s*"([^"]+)"/g)) logged.set(match[1] ?? "", path);
  }
  const missing = [...logged].filter(([event]) => !(event in EVENTS)).map(([event, path]) => `${event} (${path})`);
  expect(missing).toEqual([]);
  // Some are logged through a variable: at least the name must stand somewhere.
  const everything = (
    await Promise.all(
      [...new Glob("**/*.ts").scanSync(sources)]
        .filter((path) => path !== "telemetry/events.ts")
        .map((path) => Bun.file(join(sources, path)).text()),
    )
  ).join("\n");
  const silent = Object.keys(EVENTS).filter((event) => !everything.includes(`"${event}"`));
  expect(silent).toEqual([]);
  for (const event of Object.keys(EVENTS)) expect(event).toMatch(/^[a-z][a-z-]*\.[a-z][a-z-]*$/);
});
