/** What verbs print: a table for people, JSON for programs. One form of both for all of them. */
import { Trouble } from "../base/trouble.ts";

export type OutputForm = "table" | "json";

/** Throws Trouble "usage". */
export function parseOutput(text: string): OutputForm {
  if (text === "table" || text === "json") return text;
  throw new Trouble({
    code: "usage",
    message: `--output ${text} is not known`,
    remedy: "--output must be table or json",
    retryable: false,
    exitCode: 2,
  });
}

export type Cell = string | number | bigint | boolean | null | undefined;

const show = (cell: Cell): string => (cell === null || cell === undefined || cell === "" ? "-" : String(cell));

/** Columns padded to their widest cell, numbers to the right. Empty rows leave the header, so that a table is never nothing. */
export function renderTable(header: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const widths = header.map((name, column) => Math.max(name.length, ...rows.map((row) => show(row[column]).length)));
  const isNumeric = header.map((_, column) => rows.length > 0 && rows.every((row) => /^(?:-|-?\d+)$/.test(show(row[column]))));
  const line = (cells: readonly string[]): string =>
    `${cells
      .map((cell, column) => (isNumeric[column] === true ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)))
      .join("  ")
      .trimEnd()}\n`;
  return line(header.map((name) => name.toUpperCase())) + rows.map((row) => line(row.map(show))).join("");
}

/** "name  value", a line each. */
export function renderFields(fields: readonly (readonly [string, Cell])[]): string {
  const width = Math.max(...fields.map(([name]) => name.length));
  return fields.map(([name, value]) => `${name.padEnd(width)}  ${show(value)}\n`).join("");
}

/** One line. Offsets that a number holds exactly are numbers, others strings. */
export function renderJson(value: unknown): string {
  return `${JSON.stringify(value, (_, each: unknown) => (typeof each === "bigint" ? (Number.isSafeInteger(Number(each)) ? Number(each) : String(each)) : each))}\n`;
}
