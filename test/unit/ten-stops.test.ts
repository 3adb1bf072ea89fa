/** Keeps "One produce, ten stops" of src/README.md true: each file has the function named, that function calls what leads to the next stop, and files exist. */
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const SOURCE = join(import.meta.dir, "../../src");

interface Stop {
  readonly number: number;
  readonly file: string;
  readonly read: string;
  readonly goesOnBy: string;
}

function readStops(): Stop[] {
  const rows = readFileSync(join(SOURCE, "README.md"), "utf8").matchAll(/^\| (\d+) +\| `([^`]+)` +\| `([^`]+)` +\| `([^`]+)` +\|/gm);
  return [...rows].map(([, number, file = "", read = "", goesOnBy = ""]) => ({ number: Number(number), file, read, goesOnBy }));
}

const declares = (text: string, name: string): boolean =>
  new RegExp(`^\\s*(export )?(private |protected |readonly )?(async )?(function )?#?${name}(<[^>]*>)?\\(`, "m").test(text);
const uses = (text: string, name: string): boolean => new RegExp(`[.#]${name}\\b|\\b${name}\\(`).test(text);

const stops = readStops();

test("there are ten stops, in order", () => {
  expect(stops.map((stop) => stop.number)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

for (const stop of stops) {
  test(`stop ${stop.number}: ${stop.file} has ${stop.read} and goes on by ${stop.goesOnBy}`, () => {
    const path = join(SOURCE, stop.file);
    expect(existsSync(path)).toBe(true);
    const text = readFileSync(path, "utf8");
    expect(declares(text, stop.read)).toBe(true);
    expect(uses(text, stop.goesOnBy)).toBe(true);
  });
}

test("every file that the README names exists", () => {
  const text = readFileSync(join(SOURCE, "README.md"), "utf8");
  const named = [...text.matchAll(/`((?:[a-z]+\/)+[0-9a-z-]+\.ts)`/g)].map(([, path = ""]) => path);
  const missing = named.filter((path) => !existsSync(join(SOURCE, path)) && !existsSync(join(SOURCE, "..", path)));
  expect(missing).toEqual([]);
});
